// What happened to a model's calls: counters and a latency histogram, in fixed memory, without locks.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "engine/answer.h"

namespace linkcast {

/// One thread writes, any thread reads.
class Counter {
 public:
  void add(std::uint64_t n = 1) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// Counts latencies in buckets of which eight span a factor of two: a percentile is at most 1/8 above the true one.
class LatencyHistogram {
 public:
  static constexpr std::size_t kPerOctave = 8;
  static constexpr std::size_t kBuckets = 40 * kPerOctave;  // up to 2^42 ns, 73 minutes; longer ones count there

  void record(std::uint64_t latency_ns) noexcept;
  std::uint64_t count() const noexcept { return count_.value(); }
  std::uint64_t max_ns() const noexcept { return max_ns_.load(std::memory_order_relaxed); }
  /// The upper edge of the bucket that holds the given share of the calls, at most max_ns(); 0 without calls.
  /// @param share  0..1: 0.5 is the median
  std::uint64_t percentile_ns(double share) const noexcept;

  static std::size_t bucket_of(std::uint64_t latency_ns) noexcept;
  static std::uint64_t upper_edge_ns(std::size_t bucket) noexcept;  ///< the largest latency that falls into the bucket

 private:
  std::array<Counter, kBuckets> buckets_;
  Counter count_;
  std::atomic<std::uint64_t> max_ns_{0};
};

/// Written by the thread that uses the model, read by any.
struct ModelStats {
  LatencyHistogram latency;               ///< one record for each call
  std::array<Counter, kSources> sources;  ///< answers, by who gave them: one for each row of a batch
  std::array<Counter, kCauses> causes;    ///< answers that have a cause, by it; causes[none] stays 0
  Counter late;                           ///< calls whose answer came after their deadline

  void count(Source source, Cause cause) noexcept {
    sources[static_cast<std::size_t>(source)].add();
    if (cause != Cause::none) causes[static_cast<std::size_t>(cause)].add();
  }
};

}  // namespace linkcast
