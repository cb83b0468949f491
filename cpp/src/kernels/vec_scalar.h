// One float as a vector of one lane: the portable specification that every other ISA matches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace linkcast::kernels {
namespace {

struct VecScalar {
  using Float = float;
  static constexpr std::size_t lanes = 1;
  static constexpr int registers = 16;
  static constexpr int max_rows = 3;

  static Float zero() { return 0.0f; }
  static Float set(float x) { return x; }
  static Float load(const float* p) { return *p; }
  /// Of bfloat16 in pairs, the first one, which stands in the low half, and the second one.
  static Float load_first_bf16(const std::uint32_t* pair) { return from_bits(*pair << 16); }
  static Float load_second_bf16(const std::uint32_t* pair) { return from_bits(*pair & 0xffff0000u); }
  static Float load_int8(const std::int8_t* p) { return static_cast<float>(*p); }
  static Float load_first(const float* p, std::size_t /*n*/) { return *p; }
  /// The first n, and `rest` in the lanes behind them.
  static Float load_first(const float* p, std::size_t /*n*/, float /*rest*/) { return *p; }
  static void store(float* p, Float x) { *p = x; }
  static void store_first(float* p, Float x, std::size_t /*n*/) { *p = x; }

  static Float add(Float a, Float b) { return a + b; }
  static Float sub(Float a, Float b) { return a - b; }
  static Float mul(Float a, Float b) { return a * b; }
  static Float fma(Float a, Float b, Float c) { return a * b + c; }
  static Float fnma(Float a, Float b, Float c) { return c - a * b; }
  /// The limit comes first: a NaN in x stays.
  static Float min(float limit, Float x) { return limit < x ? limit : x; }
  static Float max(float limit, Float x) { return limit > x ? limit : x; }
  static Float larger(Float a, Float b) { return a > b ? a : b; }
  static float sum_of(Float x) { return x; }
  static float largest_of(Float x) { return x; }
  static Float reciprocal(Float x) { return 1.0f / x; }
  /// x * 2^n, where n is an integer in -126..127 and `shifted` is n + 1.5 * 2^23.
  static Float times_power_of_two(Float x, Float shifted) { return x * from_bits((bits(shifted) << 23) + 0x3f800000u); }

 private:
  static std::uint32_t bits(float x) {
    std::uint32_t u;
    std::memcpy(&u, &x, sizeof u);
    return u;
  }
  static float from_bits(std::uint32_t u) {
    float x;
    std::memcpy(&x, &u, sizeof x);
    return x;
  }
};

}  // namespace
}  // namespace linkcast::kernels
