// One time step of an LSTM layer: gates, cell and hidden state of a block of units in one pass over its weights.
#pragma once

#include "product.h"

namespace linkcast::kernels {
namespace {

/// Cell and hidden state of one block of units of one row, from its gates.
template <class Product>
LINKCAST_INLINE void lstm_state(const LstmArgs& args, std::size_t block, std::size_t row,
                                const typename Product::Float (&gates)[4]) {
  using V = typename Product::Vec;
  float* state = args.c + row * args.c_stride + block * V::lanes;
  auto c = args.h.data != nullptr ? V::load(state) : V::zero();
  const auto h = lstm_cell<V>(gates, c);
  V::store(state, c);
  V::store(args.h_out + row * args.h_out_stride + block * V::lanes, h);
  if constexpr (Product::encoded) {
    Product::encode_hidden(h, static_cast<char*>(args.h_encoded) + row * args.h_encoded_stride, args.h_encoded_stride,
                           block);
  }
}

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
  if constexpr (R == 1) {
    lstm_state<Product>(args, block, row, gates[0]);
  } else {
    // One copy of the cell's code for all rows: their gates take a turn through memory.
    alignas(64) float staged[R][4][V::lanes];
    LINKCAST_UNROLL
    for (int r = 0; r < R; ++r) {
      LINKCAST_UNROLL
      for (int v = 0; v < 4; ++v) V::store(staged[r][v], gates[r][v]);
    }
    LINKCAST_NO_UNROLL
    for (int r = 0; r < R; ++r) {
      Float one[4];
      LINKCAST_UNROLL
      for (int v = 0; v < 4; ++v) one[v] = V::load(staged[r][v]);
      lstm_state<Product>(args, block, row + static_cast<std::size_t>(r), one);
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
