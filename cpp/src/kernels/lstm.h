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
  const auto h = lstm_cell<V>(gates, c, args.cell_limit);
  V::store(state, c);
  V::store(args.h_out + row * args.h_out_stride + block * V::lanes, h);
  if constexpr (Product::encoded) {
    Product::encode_hidden(h, static_cast<char*>(args.h_encoded) + row * args.h_encoded_stride, args.h_encoded_stride,
                           block);
  }
}

/// `Blocks` blocks of units for R rows, from weights to hidden state.
/// Blocks go the other way than the hidden state that they read, and the next step turns both round: so it first reads the
/// weights that were read last, and last the part of the hidden state that was written last.
template <class Product, int R, int Blocks, bool Reverse, int S = split_of(R * 4 * Blocks)>
LINKCAST_INLINE void lstm_block(const LstmArgs& args, std::size_t block, std::size_t row) {
  using V = typename Product::Vec;
  using Float = typename V::Float;
  constexpr int P = 4 * Blocks;
  Float gates[R][P];
  LINKCAST_UNROLL
  for (int r = 0; r < R; ++r) {
    const float* start = args.gates + (row + static_cast<std::size_t>(r)) * args.gates_stride + block * 4 * V::lanes;
    LINKCAST_UNROLL
    for (int v = 0; v < P; ++v) gates[r][v] = V::load(start + static_cast<std::size_t>(v) * V::lanes);
  }
  if (args.x.data != nullptr) Product::template add<R, P, false, S>(gates, args.input, block, args.x, row);
  if (args.h.data != nullptr) Product::template add<R, P, Reverse, S>(gates, args.recurrent, block, args.h, row);
  if constexpr (R == 1) {
    LINKCAST_UNROLL
    for (int b = 0; b < Blocks; ++b) {
      const Float one[4] = {gates[0][4 * b], gates[0][4 * b + 1], gates[0][4 * b + 2], gates[0][4 * b + 3]};
      lstm_state<Product>(args, block + static_cast<std::size_t>(b), row, one);
    }
  } else {
    // One copy of the cell's code for all rows: their gates take a turn through memory.
    alignas(64) float staged[R * Blocks][4][V::lanes];
    LINKCAST_UNROLL
    for (int r = 0; r < R; ++r) {
      LINKCAST_UNROLL
      for (int v = 0; v < P; ++v) V::store(staged[r * Blocks + v / 4][v % 4], gates[r][v]);
    }
    LINKCAST_NO_UNROLL
    for (int i = 0; i < R * Blocks; ++i) {
      const Float one[4] = {V::load(staged[i][0]), V::load(staged[i][1]), V::load(staged[i][2]), V::load(staged[i][3])};
      lstm_state<Product>(args, block + static_cast<std::size_t>(i % Blocks),
                          row + static_cast<std::size_t>(i / Blocks), one);
    }
  }
}

/// The block that an odd number of them leaves over, of one row.
template <class Product, bool Reverse>
[[gnu::noinline]] void lstm_last_block(const LstmArgs& args, std::size_t block) {
  if (args.as_one_of_many)
    lstm_block<Product, 1, 1, Reverse, 1>(args, block, 0);
  else
    lstm_block<Product, 1, 1, Reverse>(args, block, 0);
}

/// One row: two blocks of units at once hide the latency of the sums and of the cell.
template <class Product, bool Reverse>
void lstm_row(const LstmArgs& args) {
  const std::size_t blocks = args.recurrent.vectors / 4;
  const std::size_t pairs = blocks / 2;
  if (!Reverse && blocks % 2 == 1) lstm_last_block<Product, Reverse>(args, blocks - 1);
  for (std::size_t i = 0; i < pairs; ++i) {
    lstm_block<Product, 1, 2, Reverse>(args, 2 * (Reverse ? i : pairs - 1 - i), 0);
  }
  if (Reverse && blocks % 2 == 1) lstm_last_block<Product, Reverse>(args, blocks - 1);
}

template <class Product, bool Reverse>
void lstm_rows(const LstmArgs& args) {
  const std::size_t blocks = args.recurrent.vectors / 4;
  for (std::size_t i = 0; i < blocks; ++i) {
    const std::size_t block = Reverse ? i : blocks - 1 - i;
    for_row_blocks<Product::max_rows>(
        args.rows, [&]<int R>(std::size_t row) { lstm_block<Product, R, 1, Reverse>(args, block, row); });
  }
}

template <class Product>
void lstm_step(const LstmArgs& args) {
  if (args.rows == 1) {
    args.reverse ? lstm_row<Product, true>(args) : lstm_row<Product, false>(args);
  } else {
    args.reverse ? lstm_rows<Product, true>(args) : lstm_rows<Product, false>(args);
  }
}

}  // namespace
}  // namespace linkcast::kernels
