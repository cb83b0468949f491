// Numbers of several targets beside each other, for code that is compiled once per instruction set (mixture_*.cpp): what is
// written for one number runs on as many as a register holds. Everything here is local to its unit, since units for other
// CPUs hold the same functions.
//
// Each operation rounds as it does on one double, and nothing is contracted to fused operations (CMakeLists.txt): the same
// bits on every machine, whatever the width.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace linkcast {
namespace {

/// Doubles in a register.
#if defined(__AVX512F__)
constexpr std::size_t kWidest = 8;
#elif defined(__AVX2__)
constexpr std::size_t kWidest = 4;
#else
constexpr std::size_t kWidest = 2;  // SSE2, Advanced SIMD
#endif

template <std::size_t W>
struct PackOf {
  typedef double Numbers __attribute__((vector_size(W * sizeof(double))));
  typedef std::int64_t Bits __attribute__((vector_size(W * sizeof(double))));
};
template <>
struct PackOf<1> {
  using Numbers = double;
};

/// W doubles; of 1, a double.
template <std::size_t W>
using Pack = typename PackOf<W>::Numbers;

template <class V>
constexpr std::size_t kWidth = sizeof(V) / sizeof(double);

template <class V>
V load(const double* from) noexcept {
  V value;
  std::memcpy(&value, from, sizeof(V));
  return value;
}

template <class V>
void store(double* to, V value) noexcept {
  std::memcpy(to, &value, sizeof(V));
}

/// x in every lane.
template <class V>
V all(double x) noexcept {
  return x - V{};  // and not +: -0 stays -0
}

/// @param x  of each lane, or one number for all
template <class V, class X>
V least(V a, X x) noexcept {
  const V b = x - V{};
  return b < a ? b : a;
}
template <class V, class X>
V most(V a, X x) noexcept {
  const V b = x - V{};
  return a < b ? b : a;
}

inline double size_of(double x) noexcept { return std::fabs(x); }
template <class V>
V size_of(V x) noexcept {
  using Bits = typename PackOf<kWidth<V>>::Bits;
  return reinterpret_cast<V>(reinterpret_cast<Bits>(x) & INT64_MAX);
}

inline double root_of(double x) noexcept { return std::sqrt(x); }
template <class V>
V root_of(V x) noexcept {
  for (std::size_t k = 0; k < kWidth<V>; ++k) x[k] = std::sqrt(x[k]);
  return x;
}

inline double least_of(double x) noexcept { return x; }
template <class V>
double least_of(V x) noexcept {
  double least = x[0];
  for (std::size_t k = 1; k < kWidth<V>; ++k) least = x[k] < least ? x[k] : least;
  return least;
}

/// In two chains, which leaves registers for what packs do beside it.
template <class V, std::size_t N>
V sum_of(const std::array<V, N>& values) noexcept {
  V even = values[0], odd = values[1];
  for (std::size_t k = 2; k + 1 < N; k += 2) even = even + values[k], odd = odd + values[k + 1];
  return N % 2 ? even + odd + values[N - 1] : even + odd;
}

/// In eight chains, as many as the widest register holds, whatever this one does.
template <std::size_t N>
double sum_across(const std::array<double, N>& values) noexcept {
  std::array<double, 8> sums;
  for (std::size_t k = 0; k < 8; k += kWidest) {
    auto sum = load<Pack<kWidest>>(&values[k]);
    for (std::size_t next = k + 8; next + 8 <= k + N; next += 8) sum = sum + load<Pack<kWidest>>(&values[next]);
    store(&sums[k], sum);
  }
  double sum = ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
  for (std::size_t k = N / 8 * 8; k < N; ++k) sum += values[k];
  return sum;
}

/// Calls act.template operator()<V>(lane) for the lanes from `lane` to `lanes` in packs as wide as they can be.
template <std::size_t W = kWidest, class Act>
void in_packs(std::size_t lanes, const Act& act, std::size_t lane = 0) noexcept {
  for (; lane + W <= lanes; lane += W) act.template operator()<Pack<W>>(lane);
  if constexpr (W > 1) in_packs<W / 2>(lanes, act, lane);
}

}  // namespace
}  // namespace linkcast
