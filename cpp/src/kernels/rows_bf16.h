// Rows rounded to bfloat16, two neighbouring k beside each other. For translation units compiled with AVX512-BF16.
#pragma once

#include "product.h"
#include "vec_avx512.h"

namespace linkcast::kernels {
namespace {

struct RowsBf16 {
  using Vec = CoarseAvx512;
  using Float = __m512;
  static constexpr WeightFormat format = WeightFormat::bfloat16;
  static constexpr std::size_t group = 2;
  static constexpr bool encoded = true;

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
};

}  // namespace
}  // namespace linkcast::kernels
