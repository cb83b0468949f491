// When an answer has to be there.
#pragma once

#include <time.h>

#include <cstdint>

namespace linkcast {

/// Nanoseconds of the monotonic clock (Linux reads it without a system call).
inline std::uint64_t monotonic_ns() noexcept {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(now.tv_nsec);
}

/// A point on the monotonic clock; the default never passes, and never reads the clock.
struct Deadline {
  std::uint64_t at_ns = 0;  ///< of monotonic_ns(); 0: none

  static Deadline in(std::uint64_t budget_ns) noexcept { return {monotonic_ns() + budget_ns}; }
  bool set() const noexcept { return at_ns != 0; }
  bool passed() const noexcept { return at_ns != 0 && monotonic_ns() >= at_ns; }
};

}  // namespace linkcast
