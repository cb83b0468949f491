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

template <class Product, int R, int P>
LINKCAST_INLINE void dense_block(const DenseArgs& args, std::size_t panel, std::size_t row) {
  using V = typename Product::Vec;
  typename V::Float sum[R][P];
  LINKCAST_UNROLL
  for (int v = 0; v < P; ++v) {
    const auto bias = V::load(args.bias + (panel * 4 + static_cast<std::size_t>(v)) * V::lanes);
    LINKCAST_UNROLL
    for (int r = 0; r < R; ++r) sum[r][v] = bias;
  }
  Product::template add<R, P, false>(sum, args.matrix, panel, args.x, row);
  LINKCAST_UNROLL
  for (int r = 0; r < R; ++r) {
    float* y = args.y + (row + static_cast<std::size_t>(r)) * args.y_stride;
    LINKCAST_UNROLL
    for (int v = 0; v < P; ++v) {
      const std::size_t first = (panel * 4 + static_cast<std::size_t>(v)) * V::lanes;
      const auto value = V::max(args.low, V::min(args.high, sum[r][v]));
      if (first + V::lanes <= args.outputs) {
        V::store(y + first, value);
      } else {
        V::store_first(y + first, value, args.outputs - first);
      }
    }
  }
}

template <class Product, int P>
void dense_panel(const DenseArgs& args, std::size_t panel) {
  for_row_blocks<Product::max_rows>(args.rows,
                                    [&]<int R>(std::size_t row) { dense_block<Product, R, P>(args, panel, row); });
}

/// Panels are the outer loop: one panel's weights stay in the first-level cache while all rows pass.
template <class Product>
void dense(const DenseArgs& args) {
  const std::size_t whole = args.matrix.vectors / 4;
  for (std::size_t panel = 0; panel < whole; ++panel) dense_panel<Product, 4>(args, panel);
  switch (args.matrix.vectors % 4) {
    case 1:
      dense_panel<Product, 1>(args, whole);
      break;
    case 2:
      dense_panel<Product, 2>(args, whole);
      break;
    case 3:
      dense_panel<Product, 3>(args, whole);
      break;
    default:
      break;
  }
  if (args.activation == Activation::tanh || args.activation == Activation::sigmoid) {
    activate_rows<typename Product::Vec>(args.y, args.y_stride, args.rows, args.outputs, args.activation);
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
