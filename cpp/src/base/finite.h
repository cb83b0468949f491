// Whether numbers are finite: the one check, for every edge that numbers come in at; and what stands for no number.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>

namespace linkcast {

/// What stands where a number is not known.
inline constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

/// The position of the first value that is not finite; `count` when all are.
template <class Real>
std::size_t first_not_finite(const Real* values, std::size_t count) noexcept {
  // x * 0 is 0 for finite x, and NaN for the others; a sum, so that the loop needs no branch.
  Real sum = 0;
  for (std::size_t k = 0; k < count; ++k) sum += values[k] * Real{0};
  if (sum == 0) return count;
  std::size_t first = 0;
  while (std::isfinite(values[first])) ++first;
  return first;
}

template <class Real>
bool all_finite(const Real* values, std::size_t count) noexcept {
  return first_not_finite(values, count) == count;
}

/// Of values that are finite or NaN; in a loop that compilers put side by side.
inline bool any_nan(const float* values, std::size_t count) noexcept {
  unsigned found = 0;
  for (std::size_t k = 0; k < count; ++k) found |= static_cast<unsigned>(values[k] != values[k]);
  return found != 0;
}

}  // namespace linkcast
