// What the kernel and the heap had to do for this thread: allocations, page faults, context switches.
#pragma once

#include <cstdint>
#include <optional>

namespace linkcast::bench {

/// Calls of malloc and its kin by this thread since it started, from any library; nothing where they can't be counted
/// (a sanitizer's own malloc, or a C library other than glibc).
std::optional<std::uint64_t> allocations() noexcept;

struct Counters {
  std::uint64_t minor_faults = 0;
  std::uint64_t major_faults = 0;
  std::uint64_t voluntary_switches = 0;    // the thread slept
  std::uint64_t involuntary_switches = 0;  // another one took the CPU

  /// Of this thread, since it started (getrusage).
  static Counters now() noexcept;
  void add(const Counters& begin, const Counters& end) noexcept;
};

}  // namespace linkcast::bench
