#include "engine/stats.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace linkcast {

std::size_t LatencyHistogram::bucket_of(std::uint64_t latency_ns) noexcept {
  if (latency_ns < kPerOctave) return static_cast<std::size_t>(latency_ns);
  // The leading bit chooses the octave, the three bits behind it the bucket in it.
  const auto octave = static_cast<std::size_t>(std::bit_width(latency_ns)) - 4;
  const auto within = static_cast<std::size_t>(latency_ns >> octave) - kPerOctave;
  return std::min((octave + 1) * kPerOctave + within, kBuckets - 1);
}

std::uint64_t LatencyHistogram::upper_edge_ns(std::size_t bucket) noexcept {
  if (bucket < kPerOctave) return bucket;
  const std::size_t octave = bucket / kPerOctave - 1;
  return ((kPerOctave + bucket % kPerOctave + 1) << octave) - 1;
}

void LatencyHistogram::record(std::uint64_t latency_ns) noexcept {
  buckets_[bucket_of(latency_ns)].add();
  count_.add();
  if (latency_ns > max_ns()) max_ns_.store(latency_ns, std::memory_order_relaxed);
}

std::uint64_t LatencyHistogram::percentile_ns(double share) const noexcept {
  std::uint64_t total = 0;
  for (const Counter& bucket : buckets_) total += bucket.value();
  if (total == 0) return 0;
  const double rank = std::ceil(std::clamp(share, 0.0, 1.0) * static_cast<double>(total));
  std::uint64_t below = 0;
  for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
    below += buckets_[bucket].value();
    if (below > 0 && static_cast<double>(below) >= rank) return std::min(upper_edge_ns(bucket), max_ns());
  }
  return max_ns();
}

}  // namespace linkcast
