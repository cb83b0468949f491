// int8 weights with the CPU's byte dot product: four neighbouring k of a unit in each lane, summed exactly in integers.
//
// Inputs are rounded to 16 bits, x = scale * q with q in -32767..32767, and go through the product as two unsigned
// bytes: q = 256 * (high - 128) + low. Both read the same weights from memory, so the finer inputs cost no bandwidth.
#include "table.h"
#include "vec_avx512.h"

namespace linkcast::kernels {
namespace {

struct ProductInt8Vnni {
  using Vec = VecAvx512;
  using Float = __m512;
  static constexpr int max_rows = 3;  // two sums each
  static constexpr WeightFormat format = WeightFormat::int8;
  static constexpr std::size_t group = 4;
  static constexpr bool encoded = true;
  static constexpr float largest = 32767.0f;

  struct Ops {
    struct Sum {
      __m512i high, low;
    };
    using Weight = __m512i;
    struct Input {
      __m512i high, low;
    };
    static constexpr int sums = 2;
    static constexpr std::ptrdiff_t vector_bytes = 64;
    static constexpr std::ptrdiff_t input_bytes = 8;
    static LINKCAST_INLINE Sum zero() { return {_mm512_setzero_si512(), _mm512_setzero_si512()}; }
    static LINKCAST_INLINE Sum add(Sum a, Sum b) {
      return {_mm512_add_epi32(a.high, b.high), _mm512_add_epi32(a.low, b.low)};
    }
    static LINKCAST_INLINE Weight load_weight(const char* p) { return _mm512_loadu_si512(p); }
    static LINKCAST_INLINE Input load_input(const char* p) {
      const auto* bytes = reinterpret_cast<const std::int32_t*>(p);
      return {_mm512_set1_epi32(bytes[0]), _mm512_set1_epi32(bytes[1])};
    }
    static LINKCAST_INLINE void multiply_add(Sum& sum, Weight w, Input x) {
      sum.high = _mm512_dpbusd_epi32(sum.high, x.high, w);
      sum.low = _mm512_dpbusd_epi32(sum.low, x.low, w);
    }
  };

  static std::size_t encoded_bytes(std::size_t depth) { return (depth + 3) / 4 * 8; }

  /// Sixteen integers -32767..32767 as four groups of four high bytes, four low bytes.
  static LINKCAST_INLINE __m256i split_bytes(__m512i q) {
    const __m128i high = _mm512_cvtepi32_epi8(_mm512_add_epi32(_mm512_srai_epi32(q, 8), _mm512_set1_epi32(128)));
    const __m128i low = _mm512_cvtepi32_epi8(q);
    return _mm256_set_m128i(_mm_unpackhi_epi32(high, low), _mm_unpacklo_epi32(high, low));
  }

  /// @param scale  (rows): largest magnitude of the row / 32767, NaN when a value is not finite. Null: it is 1 / 32767.
  static void encode(const float* x, std::size_t stride, std::size_t rows, std::size_t depth, void* out,
                     std::size_t out_stride, float* scale) {
    for (std::size_t row = 0; row < rows; ++row) {
      const float* from = x + row * stride;
      char* to = static_cast<char*>(out) + row * out_stride;
      float step = 1.0f / largest;
      float inverse = largest;
      if (scale != nullptr) {
        step = row_step(from, depth);
        inverse = step > 1e-37f ? 1.0f / step : 0.0f;
        scale[row] = step;
      }
      for (std::size_t k = 0; k < depth; k += 16) {
        const std::size_t left = depth - k < 16 ? depth - k : 16;
        const __m512 values = _mm512_maskz_loadu_ps(VecAvx512::first(left), from + k);
        const __m256i bytes = split_bytes(_mm512_cvtps_epi32(_mm512_mul_ps(values, _mm512_set1_ps(inverse))));
        const auto groups = static_cast<unsigned>((left + 3) / 4);
        _mm256_mask_storeu_epi64(to + k * 2, static_cast<__mmask8>((1u << groups) - 1u), bytes);
      }
    }
  }

  static LINKCAST_INLINE float row_step(const float* x, std::size_t depth) {
    __m512 most = _mm512_setzero_ps();
    __m512 not_finite = _mm512_setzero_ps();  // a sum of zeros, unless a value is not finite
    for (std::size_t k = 0; k < depth; k += 16) {
      const std::size_t left = depth - k < 16 ? depth - k : 16;
      const __m512 values = _mm512_maskz_loadu_ps(VecAvx512::first(left), x + k);
      most = _mm512_max_ps(most, _mm512_abs_ps(values));
      not_finite = _mm512_fmadd_ps(values, _mm512_setzero_ps(), not_finite);
    }
    return _mm512_reduce_max_ps(most) * (1.0f / largest) + _mm512_reduce_add_ps(not_finite);
  }

  static LINKCAST_INLINE void encode_hidden(__m512 h, char* row, std::size_t block) {
    const __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(h, _mm512_set1_ps(largest)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(row + block * 32), split_bytes(q));
  }

  template <int R, int P, bool Reverse>
  static LINKCAST_INLINE void add(Float (&sum)[R][P], const Matrix& matrix, std::size_t panel, const Operand& x,
                                  std::size_t row) {
    const std::size_t groups = (matrix.depth + 3) / 4;
    typename Ops::Sum integers[R][P];
    LINKCAST_UNROLL
    for (int r = 0; r < R; ++r) {
      LINKCAST_UNROLL
      for (int v = 0; v < P; ++v) integers[r][v] = Ops::zero();
    }
    accumulate<Ops, R, P, Reverse>(integers, panel_weights(matrix, panel, groups, Ops::vector_bytes), groups, x, row);
    LINKCAST_UNROLL
    for (int v = 0; v < P; ++v) {
      const std::size_t first = (panel * 4 + static_cast<std::size_t>(v)) * 16;
      const __m512i offset = _mm512_loadu_si512(matrix.offset + first);
      const __m512 scale = _mm512_loadu_ps(matrix.scale + first);
      LINKCAST_UNROLL
      for (int r = 0; r < R; ++r) {
        const __m512 high = _mm512_cvtepi32_ps(_mm512_sub_epi32(integers[r][v].high, offset));
        const __m512 total = _mm512_fmadd_ps(high, _mm512_set1_ps(256.0f), _mm512_cvtepi32_ps(integers[r][v].low));
        const float step = x.scale == nullptr ? 1.0f / largest : x.scale[row + static_cast<std::size_t>(r)];
        sum[r][v] = _mm512_fmadd_ps(total, _mm512_mul_ps(scale, _mm512_set1_ps(step)), sum[r][v]);
      }
    }
  }
};

}  // namespace

const Kernels& kernels_int8_avx512_vnni() {
  static constexpr Kernels table = make_kernels<ProductInt8Vnni>(Isa::avx512, "int8_avx512_vnni");
  return table;
}

}  // namespace linkcast::kernels
