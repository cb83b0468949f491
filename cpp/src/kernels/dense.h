// y = activation(W x + b) for rows, and the element-wise layers that could not be folded into one.
#pragma once

#include "product.h"

namespace linkcast::kernels {
namespace {

/// The activations that limits don't describe, in place.
template <class V>
__attribute__((noinline)) void activate_rows(float* y, std::size_t stride, std::size_t rows, std::size_t width,
                                             Activation activation) {
  for (std::size_t row = 0; row < rows; ++row, y += stride) {
    for (std::size_t i = 0; i < width; i += V::lanes) {
      const std::size_t n = width - i < V::lanes ? width - i : V::lanes;
      V::store_first(y + i, activate<V>(V::load_first(y + i, n), activation), n);
    }
  }
}

struct DenseOutput {
  float* y;
  std::size_t stride;   // floats
  std::size_t outputs;  // floats of each row
};

template <class Product, int R, int P>
LINKCAST_INLINE void dense_store(const DenseLayer& layer, const typename Product::Float (&sum)[R][P],
                                 const DenseOutput& out, std::size_t panel, std::size_t row) {
  using V = typename Product::Vec;
  const std::size_t begin = panel * 4 * V::lanes;
  const bool whole = begin + P * V::lanes <= out.outputs;
  const auto store = [&](const auto& value_of) {
    LINKCAST_UNROLL
    for (int r = 0; r < R; ++r) {
      float* y = out.y + (row + static_cast<std::size_t>(r)) * out.stride;
      LINKCAST_UNROLL
      for (int v = 0; v < P; ++v) {
        const std::size_t first = begin + static_cast<std::size_t>(v) * V::lanes;
        if (whole || first + V::lanes <= out.outputs) {
          V::store(y + first, value_of(sum[r][v]));
        } else {
          V::store_first(y + first, value_of(sum[r][v]), out.outputs - first);
        }
      }
    }
  };
  if (whole && !layer.bounded())
    store([](auto value) { return value; });
  else
    store([&](auto value) { return V::max(layer.low, V::min(layer.high, value)); });
}

/// P vectors of outputs from `panel` on, for R rows.
template <class Product, int R, int P>
LINKCAST_INLINE void dense_block(const DenseLayer& layer, const Operand& x, const DenseOutput& out, std::size_t panel,
                                 std::size_t row) {
  using V = typename Product::Vec;
  typename V::Float sum[R][P];
  LINKCAST_UNROLL
  for (int v = 0; v < P; ++v) {
    const auto bias = V::load(layer.bias + (panel * 4 + static_cast<std::size_t>(v)) * V::lanes);
    LINKCAST_UNROLL
    for (int r = 0; r < R; ++r) sum[r][v] = bias;
  }
  Product::template add<R, P, false>(sum, layer.matrix, panel, x, row);
  dense_store<Product, R, P>(layer, sum, out, panel, row);
}

/// One whole panel for one row, its inputs in two halves that are summed by themselves: either half may come first and
/// the bits are the same. Calls that take turns find the half that the call before read last in the first-level cache.
template <class Product>
LINKCAST_INLINE void dense_halves(const DenseLayer& layer, const Operand& x, const DenseOutput& out, std::size_t panel,
                                  bool second_first) {
  using V = typename Product::Vec;
  constexpr std::size_t group = Product::group;
  const std::size_t half = layer.matrix.depth / 2 / group * group;
  const auto group_bytes = 4 * static_cast<std::size_t>(Product::Ops::vector_bytes);
  Matrix first = layer.matrix;
  first.weights = static_cast<const char*>(first.weights) + panel * ((first.depth + group - 1) / group) * group_bytes;
  if (first.scale != nullptr) first.scale += panel * 4 * V::lanes;
  Matrix second = first;
  first.depth = half;
  second.depth -= half;
  second.weights = static_cast<const char*>(second.weights) + half / group * group_bytes;
  const Operand later{static_cast<const char*>(x.data) + half * sizeof(float), x.stride, nullptr};
  typename V::Float sum[1][4], later_sum[1][4];
  LINKCAST_UNROLL
  for (int v = 0; v < 4; ++v) {
    sum[0][v] = V::load(layer.bias + (panel * 4 + static_cast<std::size_t>(v)) * V::lanes);
    later_sum[0][v] = V::zero();
  }
  if (second_first) {
    Product::template add<1, 4, false>(later_sum, second, 0, later, 0);
    Product::template add<1, 4, false>(sum, first, 0, x, 0);
  } else {
    Product::template add<1, 4, false>(sum, first, 0, x, 0);
    Product::template add<1, 4, false>(later_sum, second, 0, later, 0);
  }
  LINKCAST_UNROLL
  for (int v = 0; v < 4; ++v) sum[0][v] = V::add(sum[0][v], later_sum[0][v]);
  dense_store<Product, 1, 4>(layer, sum, out, panel, 0);
}

/// One row: two panels at a time while there are two.
template <class Product>
LINKCAST_INLINE void dense_row(const DenseLayer& layer, const Operand& x, const DenseOutput& out, bool second_first) {
  constexpr std::size_t long_enough = 64;  // inputs; a shorter panel is too small for the order to matter
  const std::size_t whole = layer.matrix.vectors / 4;
  std::size_t panel = 0;
  for (; panel + 2 <= whole; panel += 2) dense_block<Product, 1, 8>(layer, x, out, panel, 0);
  if constexpr (!Product::encoded) {
    if (panel < whole && layer.matrix.depth >= long_enough) {
      dense_halves<Product>(layer, x, out, panel++, second_first);
    }
  }
  if (panel < whole) dense_block<Product, 1, 4>(layer, x, out, panel++, 0);
  switch (layer.matrix.vectors % 4) {
    case 1:
      return dense_block<Product, 1, 1>(layer, x, out, panel, 0);
    case 2:
      return dense_block<Product, 1, 2>(layer, x, out, panel, 0);
    case 3:
      return dense_block<Product, 1, 3>(layer, x, out, panel, 0);
    default:
      return;
  }
}

template <class Product, int P>
void dense_panel(const DenseLayer& layer, const Operand& x, std::size_t rows, const DenseOutput& out,
                 std::size_t panel) {
  for_row_blocks<Product::max_rows>(
      rows, [&]<int R>(std::size_t row) { dense_block<Product, R, P>(layer, x, out, panel, row); });
}

/// Panels are the outer loop: one panel's weights stay in the first-level cache while all rows pass.
template <class Product>
void dense_rows(const DenseLayer& layer, const Operand& x, std::size_t rows, const DenseOutput& out) {
  const std::size_t whole = layer.matrix.vectors / 4;
  for (std::size_t panel = 0; panel < whole; ++panel) dense_panel<Product, 4>(layer, x, rows, out, panel);
  switch (layer.matrix.vectors % 4) {
    case 1:
      return dense_panel<Product, 1>(layer, x, rows, out, whole);
    case 2:
      return dense_panel<Product, 2>(layer, x, rows, out, whole);
    case 3:
      return dense_panel<Product, 3>(layer, x, rows, out, whole);
    default:
      return;
  }
}

template <class Product>
void dense(const DenseLayer& layer, const Operand& x, std::size_t rows, float* y, std::size_t y_stride,
           std::size_t outputs, bool second_first) {
  const DenseOutput out{y, y_stride, outputs};
  if (rows == 1) {
    dense_row<Product>(layer, x, out, second_first);
  } else {
    dense_rows<Product>(layer, x, rows, out);
  }
  if (layer.activation == Activation::tanh || layer.activation == Activation::sigmoid) {
    activate_rows<typename Product::Vec>(y, y_stride, rows, outputs, layer.activation);
  }
}

template <class V>
void affine(float* x, std::size_t stride, std::size_t rows, std::size_t width, const float* scale, const float* offset,
            Activation activation) {
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t i = 0; i < width; i += V::lanes) {
      float* at = x + row * stride + i;
      V::store(at, V::fma(V::load(at), V::load(scale + i), V::load(offset + i)));
    }
  }
  if (activation != Activation::none) activate_rows<V>(x, stride, rows, width, activation);
}

}  // namespace
}  // namespace linkcast::kernels
