// Sums that the parts of the mixture share. Every source that includes it is compiled without contraction to fused
// operations (CMakeLists.txt), and the order of each sum is fixed: the same bits on every machine.
#pragma once

#include <array>
#include <cstddef>

namespace linkcast {

/// In chains that compilers put side by side.
template <std::size_t N>
double sum_of(const std::array<double, N>& values) noexcept {
  std::array<double, 2> sums{};
  for (std::size_t k = 0; k < N / 2 * 2; k += 2)
    for (std::size_t lane = 0; lane < 2; ++lane) sums[lane] += values[k + lane];
  return sums[0] + sums[1] + (N % 2 ? values[N - 1] : 0);
}

template <std::size_t N>
double dot(const std::array<double, N>& a, const std::array<double, N>& b) noexcept {
  static_assert(N % 4 == 0);
  std::array<double, 4> sums{};  // four chains, which compilers put side by side
  for (std::size_t k = 0; k < N; k += 4)
    for (std::size_t lane = 0; lane < 4; ++lane) sums[lane] += a[k + lane] * b[k + lane];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace linkcast
