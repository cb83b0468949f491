// Eight floats in an AVX register. For translation units compiled with AVX2 and FMA.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace linkcast::kernels {
namespace {

struct VecAvx2 {
  using Float = __m256;
  static constexpr std::size_t lanes = 8;
  static constexpr int registers = 16;
  static constexpr int max_rows = 3;  // 3 rows x 4 gates, a weight and the inputs fill the 16 registers

  static Float zero() { return _mm256_setzero_ps(); }
  static Float set(float x) { return _mm256_set1_ps(x); }
  static Float load(const float* p) { return _mm256_loadu_ps(p); }
  /// Of bfloat16 in pairs, the first ones, which stand in the low halves, and the second ones.
  static Float load_first_bf16(const std::uint32_t* pairs) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(pairs)), 16));
  }
  static Float load_second_bf16(const std::uint32_t* pairs) {
    const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(pairs));
    return _mm256_castsi256_ps(_mm256_and_si256(words, _mm256_set1_epi32(-65536)));
  }
  static Float load_int8(const std::int8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  static Float load_first(const float* p, std::size_t n) { return _mm256_maskload_ps(p, first(n)); }
  static Float load_first(const float* p, std::size_t n, float rest) {
    const __m256i mask = first(n);
    return _mm256_blendv_ps(_mm256_set1_ps(rest), _mm256_maskload_ps(p, mask), _mm256_castsi256_ps(mask));
  }
  static void store(float* p, Float x) { _mm256_storeu_ps(p, x); }
  static void store_first(float* p, Float x, std::size_t n) { _mm256_maskstore_ps(p, first(n), x); }
  /// All bits set in the first n lanes, n <= 8.
  static __m256i first(std::size_t n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane);
  }

  static Float add(Float a, Float b) { return _mm256_add_ps(a, b); }
  static Float sub(Float a, Float b) { return _mm256_sub_ps(a, b); }
  static Float mul(Float a, Float b) { return _mm256_mul_ps(a, b); }
  static Float fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
  static Float fnma(Float a, Float b, Float c) { return _mm256_fnmadd_ps(a, b, c); }
  /// The limit comes first: the instruction returns its second operand when either is NaN.
  static Float min(float limit, Float x) { return _mm256_min_ps(_mm256_set1_ps(limit), x); }
  static Float max(float limit, Float x) { return _mm256_max_ps(_mm256_set1_ps(limit), x); }
  static Float larger(Float a, Float b) { return _mm256_max_ps(a, b); }
  static float sum_of(Float x) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
  }
  static float largest_of(Float x) {
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
  }
  static Float reciprocal(Float x) { return _mm256_div_ps(_mm256_set1_ps(1.0f), x); }
  static Float times_power_of_two(Float x, Float shifted) {
    const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
    return mul(x, _mm256_castsi256_ps(_mm256_add_epi32(exponent, _mm256_set1_epi32(0x3f800000))));
  }
};

}  // namespace
}  // namespace linkcast::kernels
