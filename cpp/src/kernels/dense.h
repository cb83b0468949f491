// y = activation(W x + b) for rows, and the element-wise layers that could not be folded into one.
#pragma once

#include "product.h"

namespace linkcast::kernels {
namespace {

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
      const auto value = activate<V>(sum[r][v], args.activation);
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
}

template <class V>
void affine(float* x, std::size_t stride, std::size_t rows, std::size_t width, const float* scale, const float* offset,
            Activation activation) {
  for (std::size_t row = 0; row < rows; ++row, x += stride) {
    for (std::size_t i = 0; i < width; i += V::lanes) {
      const auto y = V::fma(V::load(x + i), V::load(scale + i), V::load(offset + i));
      V::store(x + i, activate<V>(y, activation));
    }
  }
}

}  // namespace
}  // namespace linkcast::kernels
