// The product of packed weights and a few rows: sum[r][v] += sum over k of w[k][v] * x[r][k], all sums in registers.
#pragma once

#include "activation.h"
#include "kernels.h"

namespace linkcast::kernels {
namespace {

/// The FMA has a latency of about four and one or two start each cycle: keep about eight sums in flight, by splitting
/// k.
constexpr int split_of(int sums) { return sums >= 8 ? 1 : sums >= 4 ? 2 : sums >= 2 ? 4 : 8; }

/// One group of k: R rows by P vectors of outputs. `w` and `rows` are offset by whole groups. One row of inputs reads weights
/// of whole cache lines in the direction of k, which prefetchers follow.
template <class Ops, int R, int P, bool Reverse>
LINKCAST_INLINE void multiply_group(typename Ops::Sum (&sum)[R][P], const char* w, std::ptrdiff_t panel_bytes,
                                    const char* const (&rows)[R], std::ptrdiff_t row_offset) {
  if constexpr (requires { Ops::template multiply_group<R, P>(sum, w, panel_bytes, rows, row_offset); }) {
    Ops::template multiply_group<R, P>(sum, w, panel_bytes, rows, row_offset);
  } else if constexpr (R == 1 && Ops::vector_bytes == 64) {
    const typename Ops::Input x = Ops::load_input(rows[0] + row_offset);
    LINKCAST_UNROLL
    for (int i = 0; i < P; ++i) {
      const int v = Reverse ? P - 1 - i : i;
      Ops::multiply_add(sum[0][v], Ops::load_weight(w + v / 4 * panel_bytes + v % 4 * Ops::vector_bytes), x);
    }
  } else if constexpr (requires { Ops::inputs_first; }) {
    // Where the weights of a group would take more registers than that.
    typename Ops::Input inputs[R];
    LINKCAST_UNROLL
    for (int r = 0; r < R; ++r) inputs[r] = Ops::load_input(rows[r] + row_offset);
    LINKCAST_UNROLL
    for (int v = 0; v < P; ++v) {
      const typename Ops::Weight weight = Ops::load_weight(w + v / 4 * panel_bytes + v % 4 * Ops::vector_bytes);
      LINKCAST_UNROLL
      for (int r = 0; r < R; ++r) Ops::multiply_add(sum[r][v], weight, inputs[r]);
    }
  } else {
    typename Ops::Weight weights[P];
    LINKCAST_UNROLL
    for (int v = 0; v < P; ++v) weights[v] = Ops::load_weight(w + v / 4 * panel_bytes + v % 4 * Ops::vector_bytes);
    LINKCAST_UNROLL
    for (int r = 0; r < R; ++r) {
      const typename Ops::Input x = Ops::load_input(rows[r] + row_offset);
      LINKCAST_UNROLL
      for (int v = 0; v < P; ++v) Ops::multiply_add(sum[r][v], weights[v], x);
    }
  }
}

/// The inner loop of every kernel. `Ops` says how a vector of weights and a row's inputs are read and multiplied.
/// P is the width of one panel, or 8 or 16 for two or four whole panels beside each other.
/// @param w        the panel's weights, (groups, P, vector)
/// @param x, row   the first of R rows
/// @tparam S       sums that k is split into; how many decides the last bits
template <class Ops, int R, int P, bool Reverse, int S = split_of(R * P)>
LINKCAST_INLINE void accumulate(typename Ops::Sum (&sum)[R][P], const char* w, std::ptrdiff_t panel_bytes,
                                std::size_t groups, const Operand& x, std::size_t row) {
  constexpr std::ptrdiff_t width = P < 4 ? P : 4;
  constexpr std::ptrdiff_t w_step = (Reverse ? -1 : 1) * width * Ops::vector_bytes;
  constexpr std::ptrdiff_t x_step = (Reverse ? -1 : 1) * Ops::input_bytes;
  const std::ptrdiff_t first = Reverse ? static_cast<std::ptrdiff_t>(groups) - 1 : 0;
  w += first * width * Ops::vector_bytes;
  const char* rows[R];
  LINKCAST_UNROLL
  for (int r = 0; r < R; ++r) {
    rows[r] =
        static_cast<const char*>(x.data) + (row + static_cast<std::size_t>(r)) * x.stride + first * Ops::input_bytes;
  }
  typename Ops::Sum split[S][R][P];
  LINKCAST_UNROLL
  for (int r = 0; r < R; ++r) {
    LINKCAST_UNROLL
    for (int v = 0; v < P; ++v) {
      split[0][r][v] = sum[r][v];
      LINKCAST_UNROLL
      for (int s = 1; s < S; ++s) split[s][r][v] = Ops::zero();
    }
  }
  std::size_t g = 0;
  for (; g + S <= groups; g += S) {
    LINKCAST_UNROLL
    for (int s = 0; s < S; ++s)
      multiply_group<Ops, R, P, Reverse>(split[s], w + s * w_step, panel_bytes, rows, s * x_step);
    w += S * w_step;
    LINKCAST_UNROLL
    for (int r = 0; r < R; ++r) rows[r] += S * x_step;
  }
  for (; g < groups; ++g) {
    multiply_group<Ops, R, P, Reverse>(split[0], w, panel_bytes, rows, 0);
    w += w_step;
    LINKCAST_UNROLL
    for (int r = 0; r < R; ++r) rows[r] += x_step;
  }
  LINKCAST_UNROLL
  for (int r = 0; r < R; ++r) {
    LINKCAST_UNROLL
    for (int v = 0; v < P; ++v) {
      if constexpr (S == 8) {
        LINKCAST_UNROLL
        for (int s = 0; s < 4; ++s) split[s][r][v] = Ops::add(split[s][r][v], split[s + 4][r][v]);
      }
      if constexpr (S >= 4) {
        split[0][r][v] = Ops::add(split[0][r][v], split[2][r][v]);
        split[1][r][v] = Ops::add(split[1][r][v], split[3][r][v]);
      }
      if constexpr (S >= 2) split[0][r][v] = Ops::add(split[0][r][v], split[1][r][v]);
      sum[r][v] = split[0][r][v];
    }
  }
}

/// One panel, or two beside each other, times R rows.
template <class Ops, int R, int P, bool Reverse, int S = split_of(R * P)>
LINKCAST_INLINE void multiply_panel(typename Ops::Sum (&sum)[R][P], const Matrix& matrix, std::size_t panel,
                                    std::size_t groups, const Operand& x, std::size_t row) {
  const std::ptrdiff_t panel_bytes = static_cast<std::ptrdiff_t>(groups) * 4 * Ops::vector_bytes;
  const char* w = static_cast<const char*>(matrix.weights) + static_cast<std::ptrdiff_t>(panel) * panel_bytes;
  accumulate<Ops, R, P, Reverse, S>(sum, w, panel_bytes, groups, x, row);
}

template <class V>
LINKCAST_INLINE typename V::Float load_stored(const float* p) {
  return V::load(p);
}
template <class V>
LINKCAST_INLINE typename V::Float load_stored(const std::uint16_t* p) {
  return V::load_bf16(p);
}
template <class V>
LINKCAST_INLINE typename V::Float load_stored(const std::int8_t* p) {
  return V::load_int8(p);
}

constexpr WeightFormat format_of(float) { return WeightFormat::float32; }
constexpr WeightFormat format_of(std::uint16_t) { return WeightFormat::bfloat16; }
constexpr WeightFormat format_of(std::int8_t) { return WeightFormat::int8; }

/// Weights stored as float, bfloat16 (uint16_t) or int8; rows and arithmetic in float32. bfloat16 in pairs: see
/// product_bf16.h.
template <class V, class Stored>
struct Product {
  using Vec = V;
  using Float = typename V::Float;
  static constexpr int max_rows = V::max_rows;
  static constexpr WeightFormat format = format_of(Stored{});
  static constexpr std::size_t group = 1;
  static constexpr bool encoded = false;

  struct Ops {
    using Sum = Float;
    using Weight = Float;
    using Input = Float;
    static constexpr std::ptrdiff_t vector_bytes = V::lanes * sizeof(Stored);
    static constexpr std::ptrdiff_t input_bytes = sizeof(float);
    static LINKCAST_INLINE Sum zero() { return V::zero(); }
    static LINKCAST_INLINE Sum add(Sum a, Sum b) { return V::add(a, b); }
    static LINKCAST_INLINE Weight load_weight(const char* p) {
      return load_stored<V>(reinterpret_cast<const Stored*>(p));
    }
    static LINKCAST_INLINE Input load_input(const char* p) { return V::set(*reinterpret_cast<const float*>(p)); }
    static LINKCAST_INLINE void multiply_add(Sum& sum, Weight w, Input x) { sum = V::fma(w, x, sum); }
  };

  template <int R, int P, bool Reverse, int S = split_of(R * P)>
  static LINKCAST_INLINE void add(Float (&sum)[R][P], const Matrix& matrix, std::size_t panel, const Operand& x,
                                  std::size_t row) {
    if constexpr (format == WeightFormat::int8) {
      Float integers[R][P];
      LINKCAST_UNROLL
      for (int r = 0; r < R; ++r) {
        LINKCAST_UNROLL
        for (int v = 0; v < P; ++v) integers[r][v] = V::zero();
      }
      multiply_panel<Ops, R, P, Reverse, S>(integers, matrix, panel, matrix.depth, x, row);
      LINKCAST_UNROLL
      for (int v = 0; v < P; ++v) {
        const Float scale = V::load(matrix.scale + (panel * 4 + static_cast<std::size_t>(v)) * V::lanes);
        LINKCAST_UNROLL
        for (int r = 0; r < R; ++r) sum[r][v] = V::fma(integers[r][v], scale, sum[r][v]);
      }
    } else {
      multiply_panel<Ops, R, P, Reverse, S>(sum, matrix, panel, matrix.depth, x, row);
    }
  }
};

/// See Kernels::state_scale.
template <class Product>
constexpr float fixed_scale() {
  if constexpr (requires { Product::largest; }) return 1.0f / Product::largest;
  return 0.0f;
}

/// Calls body.template operator()<R>(row) for blocks of rows, as even as they come, none larger than MaxRows.
template <int MaxRows, class Body>
LINKCAST_INLINE void for_row_blocks(std::size_t rows, const Body& body) {
  std::size_t blocks = (rows + MaxRows - 1) / MaxRows;
  for (std::size_t row = 0; row < rows; --blocks) {
    const std::size_t left = rows - row;
    const std::size_t count = (left + blocks - 1) / blocks;
    switch (count) {
      case 1:
        body.template operator()<1>(row);
        break;
      case 2:
        if constexpr (MaxRows >= 2) body.template operator()<2>(row);
        break;
      case 3:
        if constexpr (MaxRows >= 3) body.template operator()<3>(row);
        break;
      case 4:
        if constexpr (MaxRows >= 4) body.template operator()<4>(row);
        break;
      case 5:
        if constexpr (MaxRows >= 5) body.template operator()<5>(row);
        break;
      default:
        if constexpr (MaxRows >= 6) body.template operator()<6>(row);
        break;
    }
    row += count;
  }
}

}  // namespace
}  // namespace linkcast::kernels
