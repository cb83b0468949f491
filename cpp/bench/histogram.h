// Counts of durations in fixed memory: the layout of HdrHistogram (log-linear buckets, three significant digits).
//
// Values below 2048 ns are counted one by one; above, each doubling of the value is cut in 1024 equal parts, so that a
// percentile read back is at most 0.1 % too large. Gil Tene, HdrHistogram, http://hdrhistogram.org.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace linkcast::bench {

class Histogram {
 public:
  static constexpr std::uint64_t kHighest = 60'000'000'000;  ///< ns; longer ones are counted as this

  Histogram() : counts_(index_of(kHighest) + 1) {}

  /// Allocates nothing.
  void record(std::uint64_t ns) noexcept {
    ++counts_[index_of(std::min(ns, kHighest))];
    ++count_;
    smallest_ = std::min(smallest_, ns);
    largest_ = std::max(largest_, ns);
  }

  void add(const Histogram& other) noexcept {
    for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    count_ += other.count_;
    smallest_ = std::min(smallest_, other.smallest_);
    largest_ = std::max(largest_, other.largest_);
  }

  void clear() noexcept {
    std::fill(counts_.begin(), counts_.end(), 0U);
    count_ = 0;
    smallest_ = std::numeric_limits<std::uint64_t>::max();
    largest_ = 0;
  }

  std::uint64_t count() const noexcept { return count_; }
  std::uint64_t min() const noexcept { return count_ ? smallest_ : 0; }  ///< exact
  std::uint64_t max() const noexcept { return largest_; }                ///< exact

  /// The value that `percent` of the recorded ones don't exceed: the rank is rounded to the nearest as HdrHistogram
  /// does, and the answer is the largest value of its bucket. 0 when nothing was recorded.
  std::uint64_t percentile(double percent) const noexcept {
    const double exact_rank = std::min(percent, 100.0) / 100.0 * static_cast<double>(count_);
    const std::uint64_t rank = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(exact_rank + 0.5));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen >= rank) return largest_of(i);
    }
    return 0;
  }

 private:
  static constexpr unsigned kHalfBits = 10;  // 2 * 10^3 values need 11 bits; half of them are new in each bucket
  static constexpr std::uint64_t kHalf = 1U << kHalfBits;

  static unsigned bucket_of(std::uint64_t value) noexcept {
    return static_cast<unsigned>(std::bit_width(value | (2 * kHalf - 1))) - (kHalfBits + 1);
  }
  static std::size_t index_of(std::uint64_t value) noexcept {
    const unsigned bucket = bucket_of(value);
    return bucket * kHalf + static_cast<std::size_t>(value >> bucket);
  }
  static std::uint64_t largest_of(std::size_t index) noexcept {
    const std::size_t bucket = index < 2 * kHalf ? 0 : index / kHalf - 1;
    return ((static_cast<std::uint64_t>(index - bucket * kHalf) + 1) << bucket) - 1;
  }

  std::vector<std::uint32_t> counts_;
  std::uint64_t count_ = 0;
  std::uint64_t smallest_ = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t largest_ = 0;
};

}  // namespace linkcast::bench
