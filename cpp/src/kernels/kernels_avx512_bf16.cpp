// bfloat16 weights and inputs with the CPU's dot product: two neighbouring k of a unit in each lane, summed in float32.
#include "rows_bf16.h"
#include "table.h"

namespace linkcast::kernels {
namespace {

struct ProductBf16Dot : RowsBf16 {
  static constexpr int max_rows = VecAvx512::max_rows;
  static constexpr std::size_t four_blocks_from = 4;  // the dot product takes longer than a float's

  struct Ops {
    using Sum = __m512;
    using Weight = __m512bh;
    using Input = __m512bh;
    static constexpr std::ptrdiff_t vector_bytes = 64;
    static constexpr std::ptrdiff_t input_bytes = 4;
    static LINKCAST_INLINE Sum zero() { return _mm512_setzero_ps(); }
    static LINKCAST_INLINE Sum add(Sum a, Sum b) { return _mm512_add_ps(a, b); }
    static LINKCAST_INLINE Weight load_weight(const char* p) { return (__m512bh)_mm512_loadu_si512(p); }
    static LINKCAST_INLINE Input load_input(const char* p) {
      return (__m512bh)_mm512_set1_epi32(*reinterpret_cast<const std::int32_t*>(p));
    }
    static LINKCAST_INLINE void multiply_add(Sum& sum, Weight w, Input x) { sum = _mm512_dpbf16_ps(sum, w, x); }
  };

  template <int R, int P, bool Reverse, int S = split_of(R * P)>
  static LINKCAST_INLINE void add(Float (&sum)[R][P], const Matrix& matrix, std::size_t panel, const Operand& x,
                                  std::size_t row) {
    const std::size_t groups = (matrix.depth + 1) / 2;
    multiply_panel<Ops, R, P, Reverse, S>(sum, matrix, panel, groups, x, row);
  }
};

}  // namespace

const Kernels& kernels_bf16_avx512_dot() {
  static constexpr Kernels table = make_kernels<ProductBf16Dot>(Isa::avx512, "bf16_avx512_dot");
  return table;
}

}  // namespace linkcast::kernels
