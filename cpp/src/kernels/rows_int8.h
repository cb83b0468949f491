// Rows rounded to 16 bits, x = scale * q with q in -32767..32767, that go through a product of bytes as two unsigned
// ones: q = 256 * (high - 128) + low. Both read the same weights from memory, so the finer inputs cost no bandwidth.
#pragma once

#include "product.h"
#include "vec_avx512.h"

namespace linkcast::kernels {
namespace {

struct RowsInt8 {
  using Vec = CoarseAvx512;
  using Float = __m512;
  static constexpr WeightFormat format = WeightFormat::int8;
  static constexpr std::size_t group = 4;
  static constexpr bool encoded = true;
  static constexpr float largest = 32767.0f;

  /// High bytes in the first half of a row's stride, low bytes in the second.
  static std::size_t encoded_bytes(std::size_t depth) { return 2 * ((depth + 15) / 16 * 16); }

  /// @param q  sixteen integers -32767..32767
  static LINKCAST_INLINE void store_bytes(__m512i q, char* row, std::size_t stride, std::size_t k) {
    const __m512i high = _mm512_add_epi32(_mm512_srai_epi32(q, 8), _mm512_set1_epi32(128));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(row + k), _mm512_cvtepi32_epi8(high));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(row + stride / 2 + k), _mm512_cvtepi32_epi8(q));
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
        store_bytes(_mm512_cvtps_epi32(_mm512_mul_ps(values, _mm512_set1_ps(inverse))), to, out_stride, k);
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

  static LINKCAST_INLINE void encode_hidden(__m512 h, char* row, std::size_t stride, std::size_t block) {
    store_bytes(_mm512_cvtps_epi32(_mm512_mul_ps(h, _mm512_set1_ps(largest))), row, stride, block * 16);
  }

  /// What the sums of products with high bytes start from: 128 each of the inputs has too much.
  static LINKCAST_INLINE __m512i first_of_high(const Matrix& matrix, std::size_t panel, int v) {
    return _mm512_loadu_si512(matrix.offset + (panel * 4 + static_cast<std::size_t>(v)) * 16);
  }

  /// sum + step * scale * (256 * high + low), from the sums of products with a row's two halves, those of the high bytes
  /// from first_of_high() on.
  /// @param first  of sixteen outputs
  /// @param step   the row's scale
  static LINKCAST_INLINE __m512 add_integers(__m512 sum, __m512i high_bytes, __m512i low_bytes, const Matrix& matrix,
                                             std::size_t first, float step) {
    const __m512 scale = _mm512_loadu_ps(matrix.scale + first);
    const __m512 high = _mm512_cvtepi32_ps(high_bytes);
    const __m512 total = _mm512_fmadd_ps(high, _mm512_set1_ps(256.0f), _mm512_cvtepi32_ps(low_bytes));
    return _mm512_fmadd_ps(total, _mm512_mul_ps(scale, _mm512_set1_ps(step)), sum);
  }
};

}  // namespace
}  // namespace linkcast::kernels
