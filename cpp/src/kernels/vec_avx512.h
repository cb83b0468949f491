// Sixteen floats in an AVX-512 register. For translation units compiled with AVX-512 F, BW, DQ and VL.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace linkcast::kernels {
namespace {

struct VecAvx512 {
  using Float = __m512;
  static constexpr std::size_t lanes = 16;
  static constexpr int registers = 32;
  static constexpr int max_rows = 6;  // 6 rows x 4 gates, four weights and an input take 29 of the 32 registers

  static Float zero() { return _mm512_setzero_ps(); }
  static Float set(float x) { return _mm512_set1_ps(x); }
  static Float load(const float* p) { return _mm512_loadu_ps(p); }
  /// Of bfloat16 in pairs, the first ones, which stand in the low halves, and the second ones.
  static Float load_first_bf16(const std::uint32_t* pairs) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(pairs), 16));
  }
  static Float load_second_bf16(const std::uint32_t* pairs) {
    return _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(0xaaaaaaaau, pairs));  // the load does it
  }
  static Float load_int8(const std::int8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static Float load_first(const float* p, std::size_t n) { return _mm512_maskz_loadu_ps(first(n), p); }
  static Float load_first(const float* p, std::size_t n, float rest) {
    return _mm512_mask_loadu_ps(_mm512_set1_ps(rest), first(n), p);
  }
  static void store(float* p, Float x) { _mm512_storeu_ps(p, x); }
  static void store_first(float* p, Float x, std::size_t n) { _mm512_mask_storeu_ps(p, first(n), x); }
  /// The mask of the first n lanes, n <= 16.
  static __mmask16 first(std::size_t n) { return static_cast<__mmask16>((1u << n) - 1u); }

  static Float add(Float a, Float b) { return _mm512_add_ps(a, b); }
  static Float sub(Float a, Float b) { return _mm512_sub_ps(a, b); }
  static Float mul(Float a, Float b) { return _mm512_mul_ps(a, b); }
  static Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  static Float fnma(Float a, Float b, Float c) { return _mm512_fnmadd_ps(a, b, c); }
  /// The limit comes first: the instruction returns its second operand when either is NaN.
  static Float min(float limit, Float x) { return _mm512_min_ps(_mm512_set1_ps(limit), x); }
  static Float max(float limit, Float x) { return _mm512_max_ps(_mm512_set1_ps(limit), x); }
  static Float larger(Float a, Float b) { return _mm512_max_ps(a, b); }
  static float sum_of(Float x) { return _mm512_reduce_add_ps(x); }
  static float largest_of(Float x) { return _mm512_reduce_max_ps(x); }
  /// One Newton step on the 14-bit estimate: within 2 units in the last place, and cheaper than the division.
  static Float reciprocal(Float x) {
    const Float estimate = _mm512_rcp14_ps(x);
    return _mm512_fmadd_ps(estimate, _mm512_fnmadd_ps(x, estimate, _mm512_set1_ps(1.0f)), estimate);
  }
  /// x less the nearest integer; 0 of an infinite one.
  static Float fraction(Float x) { return _mm512_reduce_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static Float times_power_of_two(Float x, Float whole) { return _mm512_scalef_ps(x, whole); }
};

/// Where weights and rows are rounded to three digits anyhow: reciprocals to four and powers to five, in fewer instructions.
struct CoarseAvx512 : VecAvx512 {
  static constexpr bool coarse = true;
  static Float reciprocal(Float x) { return _mm512_rcp14_ps(x); }
};

}  // namespace
}  // namespace linkcast::kernels
