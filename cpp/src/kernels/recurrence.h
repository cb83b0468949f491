// One time step of a GRU, or of an LSTM of any activations: products of whole matrices as a dense layer's, then the cell.
//
// The plain LSTM keeps its gates in registers from weights to hidden state (lstm.h). These take them through memory, in
// which the two products of a GRU's candidate have to meet anyhow.
#pragma once

#include "dense.h"
#include "gru.h"

namespace linkcast::kernels {
namespace {

/// R rows of one panel, or of two beside each other. Sums are not split, so that a row has its bits whatever rows are
/// computed with it.
template <class Product, int R, int P>
LINKCAST_INLINE void whole_panel(const DenseLayer& layer, const Operand& x, float* y, std::size_t stride,
                                 std::size_t panel, std::size_t row) {
  using V = typename Product::Vec;
  typename V::Float sum[R][P];
  LINKCAST_UNROLL
  for (int v = 0; v < P; ++v) {
    const auto bias = V::load(layer.bias + (panel * 4 + static_cast<std::size_t>(v)) * V::lanes);
    LINKCAST_UNROLL
    for (int r = 0; r < R; ++r) sum[r][v] = bias;
  }
  Product::template add<R, P, false, 1>(sum, layer.matrix, panel, x, row);
  LINKCAST_UNROLL
  for (int r = 0; r < R; ++r) {
    float* to = y + (row + static_cast<std::size_t>(r)) * stride + panel * 4 * V::lanes;
    LINKCAST_UNROLL
    for (int v = 0; v < P; ++v) V::store(to + static_cast<std::size_t>(v) * V::lanes, sum[r][v]);
  }
}

/// y = W x + b in whole panels, which read the weights in either order. (rows, stride) floats are written.
template <class Product>
void multiply_panels(const DenseLayer& layer, const Operand& x, std::size_t rows, float* y, std::size_t stride,
                     bool reverse) {
  const std::size_t panels = layer.matrix.vectors / 4;
  if (rows == 1) {
    const std::size_t pairs = panels / 2;
    if (reverse && panels % 2 == 1) whole_panel<Product, 1, 4>(layer, x, y, stride, panels - 1, 0);
    for (std::size_t i = 0; i < pairs; ++i)
      whole_panel<Product, 1, 8>(layer, x, y, stride, 2 * (reverse ? pairs - 1 - i : i), 0);
    if (!reverse && panels % 2 == 1) whole_panel<Product, 1, 4>(layer, x, y, stride, panels - 1, 0);
    return;
  }
  for (std::size_t i = 0; i < panels; ++i) {
    const std::size_t panel = reverse ? panels - 1 - i : i;
    for_row_blocks<Product::max_rows>(
        rows, [&]<int R>(std::size_t row) { whole_panel<Product, R, 4>(layer, x, y, stride, panel, row); });
  }
}

/// Rows of states as the products read them.
template <class Product>
Operand state_operand(const RecurrenceArgs& args, const float* rows, std::size_t stride, std::size_t units) {
  if constexpr (Product::encoded) {
    Product::encode(rows, stride, args.rows, units, args.encoded, args.encoded_stride, args.encoded_scale);
    return {args.encoded, args.encoded_stride, args.encoded_scale};
  } else {
    return {rows, stride * sizeof(float), nullptr};
  }
}

template <class Product, bool Plain, auto Multiply>
void gru_step(const RecurrenceArgs& args, const float* products, std::size_t products_stride) {
  using V = typename Product::Vec;
  const auto sums_of = [&](std::size_t row) {
    return GateSums<V>{args.gates + row * args.gates_stride, products + row * products_stride, args.padded};
  };
  if (args.h != nullptr && args.cell == RecurrenceArgs::Cell::gru_reset_before) {
    float* reset = args.products + products_stride - args.padded;
    for (std::size_t row = 0; row < args.rows; ++row)
      gru_reset_row<V, Plain>(args, sums_of(row), args.h + row * args.h_stride, reset + row * products_stride);
    Multiply(args.candidate, state_operand<Product>(args, reset, products_stride, args.candidate.matrix.depth),
             args.rows, args.products + 2 * args.padded, products_stride, args.reverse);
  }
  for (std::size_t row = 0; row < args.rows; ++row)
    gru_row<V, Plain>(args, sums_of(row), args.h != nullptr ? args.h + row * args.h_stride : nullptr,
                      args.h_out + row * args.h_out_stride);
}

/// @tparam Multiply  what does the work of multiply_panels
template <class Product, auto Multiply = multiply_panels<Product>>
void recurrence_step(const RecurrenceArgs& args) {
  using V = typename Product::Vec;
  if (args.x.data != nullptr) Multiply(args.input, args.x, args.rows, args.gates, args.gates_stride, args.reverse);
  // The product of a state of zeros is the bias alone.
  const float* products = args.recurrent.bias;
  std::size_t products_stride = 0;
  if (args.h != nullptr) {
    const Operand h = state_operand<Product>(args, args.h, args.h_stride, args.recurrent.matrix.depth);
    Multiply(args.recurrent, h, args.rows, args.products, args.products_stride, args.reverse);
    products = args.products;
    products_stride = args.products_stride;
  }
  if (args.cell == RecurrenceArgs::Cell::lstm) {
    for (std::size_t row = 0; row < args.rows; ++row) {
      const GateSums<V> sums{args.gates + row * args.gates_stride, products + row * products_stride, args.padded};
      lstm_row<V>(args, sums, args.h == nullptr, args.c + row * args.c_stride, args.h_out + row * args.h_out_stride);
    }
  } else if (args.activation == Activation::tanh && args.gate_activation == Activation::sigmoid) {
    gru_step<Product, true, Multiply>(args, products, products_stride);
  } else {
    gru_step<Product, false, Multiply>(args, products, products_stride);
  }
}

}  // namespace
}  // namespace linkcast::kernels
