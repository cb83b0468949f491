// Four floats in an Advanced SIMD register of AArch64.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace linkcast::kernels {
namespace {

struct VecNeon {
  using Float = float32x4_t;
  static constexpr std::size_t lanes = 4;
  static constexpr int max_rows = 6;  // 6 rows x 4 gates, four weights and an input take 29 of the 32 registers

  static Float zero() { return vdupq_n_f32(0.0f); }
  static Float set(float x) { return vdupq_n_f32(x); }
  static Float load(const float* p) { return vld1q_f32(p); }
  static Float load_bf16(const std::uint16_t* p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); }
  static Float load_int8(const std::int8_t* p) {
    std::uint32_t bytes;
    std::memcpy(&bytes, p, sizeof bytes);
    const int8x8_t narrow = vreinterpret_s8_u32(vdup_n_u32(bytes));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(narrow))));
  }
  static Float load_first(const float* p, std::size_t n, float rest = 0.0f) {
    float all[lanes] = {rest, rest, rest, rest};
    for (std::size_t i = 0; i < n; ++i) all[i] = p[i];
    return vld1q_f32(all);
  }
  static void store(float* p, Float x) { vst1q_f32(p, x); }
  static void store_first(float* p, Float x, std::size_t n) {
    float all[lanes];
    vst1q_f32(all, x);
    for (std::size_t i = 0; i < n; ++i) p[i] = all[i];
  }

  static Float add(Float a, Float b) { return vaddq_f32(a, b); }
  static Float sub(Float a, Float b) { return vsubq_f32(a, b); }
  static Float mul(Float a, Float b) { return vmulq_f32(a, b); }
  static Float fma(Float a, Float b, Float c) { return vfmaq_f32(c, a, b); }
  static Float fnma(Float a, Float b, Float c) { return vfmsq_f32(c, a, b); }
  /// NaN in either operand gives NaN.
  static Float min(float limit, Float x) { return vminq_f32(vdupq_n_f32(limit), x); }
  static Float max(float limit, Float x) { return vmaxq_f32(vdupq_n_f32(limit), x); }
  static Float larger(Float a, Float b) { return vmaxq_f32(a, b); }
  static float sum_of(Float x) { return vaddvq_f32(x); }
  static float largest_of(Float x) { return vmaxvq_f32(x); }
  static Float reciprocal(Float x) { return vdivq_f32(vdupq_n_f32(1.0f), x); }
  static Float times_power_of_two(Float x, Float shifted) {
    const uint32x4_t exponent = vshlq_n_u32(vreinterpretq_u32_f32(shifted), 23);
    return mul(x, vreinterpretq_f32_u32(vaddq_u32(exponent, vdupq_n_u32(0x3f800000u))));
  }
};

}  // namespace
}  // namespace linkcast::kernels
