// One time step of an LSTM layer: gates, cell and hidden state of a block of units in one pass over its weights.
#pragma once

#include "product.h"

namespace linkcast::kernels {
namespace {

template <class Product, int R, bool Reverse>
LINKCAST_INLINE void lstm_block(const LstmArgs& args, std::size_t block, std::size_t row) {
  using V = typename Product::Vec;
  using Float = typename V::Float;
  Float gates[R][4];
  LINKCAST_UNROLL
  for (int r = 0; r < R; ++r) {
    const float* start = args.gates + (row + static_cast<std::size_t>(r)) * args.gates_stride + block * 4 * V::lanes;
    LINKCAST_UNROLL
    for (int v = 0; v < 4; ++v) gates[r][v] = V::load(start + static_cast<std::size_t>(v) * V::lanes);
  }
  if (args.x.data != nullptr) Product::template add<R, 4, false>(gates, args.input, block, args.x, row);
  if (args.h.data != nullptr) Product::template add<R, 4, Reverse>(gates, args.recurrent, block, args.h, row);
  LINKCAST_UNROLL
  for (int r = 0; r < R; ++r) {
    const std::size_t at = row + static_cast<std::size_t>(r);
    float* state = args.c + at * args.c_stride + block * V::lanes;
    Float c = args.h.data != nullptr ? V::load(state) : V::zero();
    const Float h = lstm_cell<V>(gates[r], c);
    V::store(state, c);
    V::store(args.h_out + at * args.h_out_stride + block * V::lanes, h);
    if constexpr (Product::encoded) {
      Product::encode_hidden(h, static_cast<char*>(args.h_encoded) + at * args.h_encoded_stride, block);
    }
  }
}

template <class Product, bool Reverse>
void lstm_blocks(const LstmArgs& args) {
  const std::size_t blocks = args.recurrent.vectors / 4;
  for (std::size_t i = 0; i < blocks; ++i) {
    const std::size_t block = Reverse ? blocks - 1 - i : i;
    for_row_blocks<Product::max_rows>(
        args.rows, [&]<int R>(std::size_t row) { lstm_block<Product, R, Reverse>(args, block, row); });
  }
}

template <class Product>
void lstm_step(const LstmArgs& args) {
  if (args.reverse) {
    lstm_blocks<Product, true>(args);
  } else {
    lstm_blocks<Product, false>(args);
  }
}

}  // namespace
}  // namespace linkcast::kernels
