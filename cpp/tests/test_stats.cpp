// Expected percentiles by hand.
#include "engine/stats.h"

#include "check.h"

using linkcast::LatencyHistogram;

TEST(every_latency_falls_into_a_bucket_that_is_at_most_an_eighth_wide) {
  for (std::uint64_t ns = 0; ns < 100'000; ++ns) {
    const std::size_t bucket = LatencyHistogram::bucket_of(ns);
    const std::uint64_t edge = LatencyHistogram::upper_edge_ns(bucket);
    CHECK(ns <= edge);
    CHECK(edge <= ns + ns / 8);
    CHECK(bucket == 0 || LatencyHistogram::upper_edge_ns(bucket - 1) < ns);
  }
}

TEST(latencies_beyond_the_last_bucket_count_in_it) {
  CHECK_EQ(LatencyHistogram::bucket_of((std::uint64_t{1} << 42) - 1), LatencyHistogram::kBuckets - 1);
  CHECK_EQ(LatencyHistogram::bucket_of(~std::uint64_t{0}), LatencyHistogram::kBuckets - 1);
}

TEST(percentiles_are_the_upper_edges_and_never_above_the_largest) {
  LatencyHistogram histogram;
  CHECK_EQ(histogram.percentile_ns(0.5), 0U);
  for (int k = 0; k < 99; ++k) histogram.record(1000);  // 960..1023
  histogram.record(5'000'000);
  CHECK_EQ(histogram.count(), 100U);
  CHECK_EQ(histogram.percentile_ns(0), 1023U);
  CHECK_EQ(histogram.percentile_ns(0.5), 1023U);
  CHECK_EQ(histogram.percentile_ns(0.99), 1023U);
  CHECK_EQ(histogram.percentile_ns(1), 5'000'000U);
  CHECK_EQ(histogram.max_ns(), 5'000'000U);
}
