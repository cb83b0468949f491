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

/// The pre-activations of P / 4 blocks of R rows.
template <class Product, int R, int P, bool Reverse, int S>
LINKCAST_INLINE void lstm_gates(const LstmArgs& args, std::size_t block, std::size_t row,
                                typename Product::Float (&gates)[R][P]) {
  using V = typename Product::Vec;
  LINKCAST_UNROLL
  for (int r = 0; r < R; ++r) {
    const float* start = args.gates + (row + static_cast<std::size_t>(r)) * args.gates_stride + block * 4 * V::lanes;
    LINKCAST_UNROLL
    for (int v = 0; v < P; ++v) gates[r][v] = V::load(start + static_cast<std::size_t>(v) * V::lanes);
  }
  if (args.x.data != nullptr) Product::template add<R, P, false, S>(gates, args.input, block, args.x, row);
  if (args.h.data != nullptr) Product::template add<R, P, Reverse, S>(gates, args.recurrent, block, args.h, row);
}

/// The same for products that read what they are added to when they are there. `between`: see their add_to.
template <class Product, int R, int P, bool Reverse, class... Between>
LINKCAST_INLINE void late_gates(const LstmArgs& args, std::size_t block, std::size_t row,
                                typename Product::Float (&gates)[R][P], const Between&... between) {
  using V = typename Product::Vec;
  alignas(64) float with_input[R][P][V::lanes];
  const float* start[R];
  LINKCAST_UNROLL
  for (int r = 0; r < R; ++r)
    start[r] = args.gates + (row + static_cast<std::size_t>(r)) * args.gates_stride + block * 4 * V::lanes;
  if (args.x.data != nullptr) {
    Product::template add_to<R, P, false>(start, gates, args.input, block, args.x, row);
    if (args.h.data == nullptr) return;
    LINKCAST_UNROLL
    for (int r = 0; r < R; ++r) {
      LINKCAST_UNROLL
      for (int v = 0; v < P; ++v) V::store(with_input[r][v], gates[r][v]);
      start[r] = with_input[r][0];
    }
  }
  if (args.h.data != nullptr) {
    Product::template add_to<R, P, Reverse>(start, gates, args.recurrent, block, args.h, row, between...);
  } else {
    LINKCAST_UNROLL
    for (int r = 0; r < R; ++r) {
      LINKCAST_UNROLL
      for (int v = 0; v < P; ++v) gates[r][v] = V::load(start[r] + static_cast<std::size_t>(v) * V::lanes);
    }
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
  if constexpr (requires { Product::adds_late; })
    late_gates<Product, R, P, Reverse>(args, block, row, gates);
  else
    lstm_gates<Product, R, P, Reverse, S>(args, block, row, gates);
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

/// Two blocks of one row whose cells wait for the products of the next two, and are worked out in between: neither the
/// products nor the cells, which are long chains, leave the other's units of the CPU idle.
template <class Product>
class WaitingCells {
 public:
  using V = typename Product::Vec;

  explicit WaitingCells(const LstmArgs& args) : args_(args) {}

  /// The third part of the work after the `part`th product.
  LINKCAST_INLINE void operator()(int part) const {
    if (!waiting_) return;
    if (part == 0) {
      LINKCAST_UNROLL
      for (int v = 0; v < 8; ++v) V::store(gates_[v], exp2_clamped<V>(V::load(gates_[v])));
    } else if (part == 1) {
      LINKCAST_UNROLL
      for (int b = 0; b < 2; ++b) {
        float* state = args_.c + (block_ + static_cast<std::size_t>(b)) * V::lanes;
        const auto before = args_.h.data != nullptr ? V::load(state) : V::zero();
        V::store(state, lstm_cell_state<V>(V::load(gates_[4 * b]), V::load(gates_[4 * b + 1]),
                                           V::load(gates_[4 * b + 2]), before, args_.cell_limit));
      }
    } else {
      LINKCAST_UNROLL
      for (int b = 0; b < 2; ++b) {
        const std::size_t block = block_ + static_cast<std::size_t>(b);
        const auto h = lstm_hidden_state<V>(V::load(gates_[4 * b + 3]), V::load(args_.c + block * V::lanes));
        V::store(args_.h_out + block * V::lanes, h);
        Product::encode_hidden(h, static_cast<char*>(args_.h_encoded), args_.h_encoded_stride, block);
      }
    }
  }

  LINKCAST_INLINE void wait(std::size_t block, const typename V::Float (&gates)[1][8]) {
    LINKCAST_UNROLL
    for (int v = 0; v < 8; ++v) V::store(gates_[v], gates[0][v]);
    block_ = block;
    waiting_ = true;
  }

 private:
  const LstmArgs& args_;
  alignas(64) mutable float gates_[8][V::lanes];  // i, f, c, o of one block, then of the other
  std::size_t block_ = 0;
  bool waiting_ = false;
};

template <class Product, bool Reverse>
[[gnu::noinline]] void lstm_pairs(const LstmArgs& args, std::size_t pairs) {
  WaitingCells<Product> cells(args);
  for (std::size_t i = 0; i < pairs; ++i) {
    const std::size_t block = 2 * (Reverse ? i : pairs - 1 - i);
    typename Product::Float gates[1][8];
    late_gates<Product, 1, 8, Reverse>(args, block, 0, gates, cells);
    cells.wait(block, gates);
  }
  for (int part = 0; part < 3; ++part) cells(part);
}

/// Blocks of units from which on one row takes four at once: more streams of weights are under way where they come from the
/// second-level cache, and more sums where a product takes long. 0: never.
template <class Product>
consteval std::size_t four_blocks_from() {
  if constexpr (requires { Product::four_blocks_from; }) return Product::four_blocks_from;
  return Product::format == WeightFormat::float32 && Product::Vec::lanes == 16 ? 8 : 0;
}

/// One row: several blocks of units at once hide the latency of the sums and of the cell.
template <class Product, bool Reverse>
void lstm_row(const LstmArgs& args) {
  const std::size_t blocks = args.recurrent.vectors / 4;
  constexpr std::size_t four_from = four_blocks_from<Product>();
  // A step by itself finds nothing in the first-level cache, and reads floats faster in fewer streams.
  const bool four = four_from != 0 && blocks >= four_from && (Product::encoded || !args.as_one_of_many);
  const std::size_t fours = four ? blocks / 4 : 0;
  const std::size_t pairs = (blocks - 4 * fours) / 2;
  if (!Reverse && blocks % 2 == 1) lstm_last_block<Product, Reverse>(args, blocks - 1);
  if constexpr (requires { Product::adds_late; }) {
    if (args.h.data != nullptr && pairs > 1) {
      lstm_pairs<Product, Reverse>(args, pairs);
      if (Reverse && blocks % 2 == 1) lstm_last_block<Product, Reverse>(args, blocks - 1);
      return;
    }
  }
  if constexpr (!Reverse) {
    for (std::size_t i = pairs; i-- > 0;) lstm_block<Product, 1, 2, Reverse>(args, 4 * fours + 2 * i, 0);
  }
  if constexpr (four_from != 0) {
    for (std::size_t i = 0; i < fours; ++i)
      lstm_block<Product, 1, 4, Reverse>(args, 4 * (Reverse ? i : fours - 1 - i), 0);
  }
  if constexpr (Reverse) {
    for (std::size_t i = 0; i < pairs; ++i) lstm_block<Product, 1, 2, Reverse>(args, 4 * fours + 2 * i, 0);
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
