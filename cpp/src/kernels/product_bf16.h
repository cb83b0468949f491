// bfloat16 weights, rows and arithmetic in float32: half of float32's bytes, for one shift and one mask in two products.
//
// A lane's word holds the weights of two neighbouring k, the first one in its low half: shifted up it is the first weight
// as a float32, without its low half the second one. A pair takes fewer instructions than two halves that are widened,
// and with AVX-512 the load masks. NEON widens a half in one instruction: there pairs save nothing with several rows.
#pragma once

#include "product.h"

namespace linkcast::kernels {
namespace {

template <class V>
struct ProductBf16 {
  using Vec = V;
  using Float = typename V::Float;
  static constexpr int max_rows = V::max_rows;
  static constexpr WeightFormat format = WeightFormat::bfloat16;
  static constexpr std::size_t group = 2;
  static constexpr bool encoded = false;

  struct Ops {
    using Sum = Float;
    static constexpr std::ptrdiff_t vector_bytes = V::lanes * sizeof(float);
    static constexpr std::ptrdiff_t input_bytes = 2 * sizeof(float);
    static LINKCAST_INLINE Sum zero() { return V::zero(); }
    static LINKCAST_INLINE Sum add(Sum a, Sum b) { return V::add(a, b); }

    /// The first weights of a group, then the second ones, so that a sum is met twice with others in between. The words
    /// stay in registers meanwhile, those of four vectors at a time where there are few; else they are read twice.
    template <int R, int P>
    static LINKCAST_INLINE void multiply_group(Sum (&sum)[R][P], const char* w, std::ptrdiff_t panel_bytes,
                                               const char* const (&rows)[R], std::ptrdiff_t row_offset) {
      constexpr int together = fits(R, P, P) || P <= 4 ? P : 4;
      LINKCAST_UNROLL
      for (int v = 0; v < P; v += together) {
        multiply_half<R, P, together, true>(sum, v, w, panel_bytes, rows, row_offset);
        if constexpr (!fits(R, P, together)) __asm__("" : "+r"(w));
        multiply_half<R, P, together, false>(sum, v, w, panel_bytes, rows, row_offset);
      }
    }

    template <int R, int P, int Count, bool First>
    static LINKCAST_INLINE void multiply_half(Sum (&sum)[R][P], int from, const char* w, std::ptrdiff_t panel_bytes,
                                              const char* const (&rows)[R], std::ptrdiff_t row_offset) {
      Float x[R];
      LINKCAST_UNROLL
      for (int r = 0; r < R; ++r)
        x[r] = V::set(*reinterpret_cast<const float*>(rows[r] + row_offset + (First ? 0 : sizeof(float))));
      LINKCAST_UNROLL
      for (int v = from; v < from + Count; ++v) {
        const auto* pairs = reinterpret_cast<const std::uint32_t*>(w + v / 4 * panel_bytes + v % 4 * vector_bytes);
        const Float weight = First ? V::load_first_bf16(pairs) : V::load_second_bf16(pairs);
        LINKCAST_UNROLL
        for (int r = 0; r < R; ++r) sum[r][v] = V::fma(weight, x[r], sum[r][v]);
      }
    }

   private:
    /// Whether the sums, the inputs of a half, `words` and one weight fit into the registers.
    static constexpr bool fits(int rows, int vectors, int words) {
      return rows * vectors + rows + words + 1 <= V::registers;
    }
  };

  template <int R, int P, bool Reverse, int S = split_of(R * P)>
  static LINKCAST_INLINE void add(Float (&sum)[R][P], const Matrix& matrix, std::size_t panel, const Operand& x,
                                  std::size_t row) {
    const std::size_t groups = (matrix.depth + 1) / 2;
    const std::ptrdiff_t panel_bytes = static_cast<std::ptrdiff_t>(groups) * 4 * Ops::vector_bytes;
    const char* w = static_cast<const char*>(matrix.weights) + static_cast<std::ptrdiff_t>(panel) * panel_bytes;
    if (matrix.depth > 1) accumulate<Ops, R, P, Reverse, S>(sum, w, panel_bytes, matrix.depth / 2, x, row);
    if (matrix.depth % 2 == 0) return;
    // An odd depth's last weight has no neighbour, and its row no further input.
    constexpr std::ptrdiff_t width = P < 4 ? P : 4;
    const char* rows[R];
    LINKCAST_UNROLL
    for (int r = 0; r < R; ++r)
      rows[r] = static_cast<const char*>(x.data) + (row + static_cast<std::size_t>(r)) * x.stride;
    const auto pairs = static_cast<std::ptrdiff_t>(matrix.depth / 2);
    Ops::template multiply_half<R, P, P, true>(sum, 0, w + pairs * width * Ops::vector_bytes, panel_bytes, rows,
                                               pairs * Ops::input_bytes);
  }
};

}  // namespace
}  // namespace linkcast::kernels
