// bfloat16 weights and inputs with the CPU's dot product: two neighbouring k of a unit in each lane, summed in float32.
#include "table.h"
#include "vec_avx512.h"

namespace linkcast::kernels {
namespace {

struct ProductBf16Dot {
  using Vec = VecAvx512;
  using Float = __m512;
  static constexpr int max_rows = VecAvx512::max_rows;
  static constexpr WeightFormat format = WeightFormat::bfloat16;
  static constexpr std::size_t group = 2;
  static constexpr bool encoded = true;

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

  static std::size_t encoded_bytes(std::size_t depth) { return (depth + 1) / 2 * 4; }

  /// (rows, depth) as bfloat16, the odd one out beside a zero. No scale.
  static void encode(const float* x, std::size_t stride, std::size_t rows, std::size_t depth, void* out,
                     std::size_t out_stride, float* /*scale*/) {
    for (std::size_t row = 0; row < rows; ++row) {
      auto* to = reinterpret_cast<std::uint16_t*>(static_cast<char*>(out) + row * out_stride);
      const float* from = x + row * stride;
      std::size_t k = 0;
      for (; k + 16 <= depth; k += 16) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + k), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from + k)));
      }
      if (k < depth) {
        const std::size_t left = depth - k;
        const __m512 values = _mm512_maskz_loadu_ps(VecAvx512::first(left), from + k);
        _mm256_mask_storeu_epi16(to + k, VecAvx512::first(left + left % 2), (__m256i)_mm512_cvtneps_pbh(values));
      }
    }
  }

  static LINKCAST_INLINE void encode_hidden(__m512 h, char* row, std::size_t /*stride*/, std::size_t block) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(row + block * 32), (__m256i)_mm512_cvtneps_pbh(h));
  }

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
