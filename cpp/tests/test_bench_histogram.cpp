// Expected values: the PyPI package hdrhistogram 0.10.8, HdrHistogram(1, 60_000_000_000, 3), given the same values.
#include <cstdint>
#include <utility>
#include <vector>

#include "check.h"
#include "histogram.h"

using linkcast::bench::Histogram;

namespace {

/// Whole numbers of 1 to 36 bits: each bit length is as likely as another.
class Values {
 public:
  std::uint64_t next() {
    const std::uint64_t bits = 1 + (draw() >> 33) % 36;
    return (draw() >> 20) % (std::uint64_t{1} << bits);
  }

 private:
  std::uint64_t draw() { return state_ = state_ * 6364136223846793005U + 1442695040888963407U; }
  std::uint64_t state_ = 1;
};

}  // namespace

TEST(percentiles_are_those_of_the_published_histogram) {
  Histogram histogram;
  Values values;
  for (int i = 0; i < 20000; ++i) histogram.record(values.next());
  const std::vector<std::pair<double, std::uint64_t>> expected = {
      {0.1, 0U},
      {1, 0U},
      {10, 6U},
      {25, 257U},
      {50, 139391U},
      {75, 65699839U},
      {90, 2923429887U},
      {95, 10729029631U},
      {99, 39963328511U},
      {99.9, 60028878847U},
      {99.99, 60028878847U},
      {100, 60028878847U},
  };
  for (const auto& [percent, value] : expected) CHECK_EQ(histogram.percentile(percent), value);
}

TEST(neighbours_share_a_bucket_from_2048_on) {
  const std::vector<std::uint64_t> values = {2047, 2048, 2049, 2050, 4095, 4096, 4097, 4100, 123456789};
  const std::vector<std::uint64_t> expected = {2047, 2049, 2049, 2051, 4095, 4099, 4099, 4103, 123469823};
  Histogram histogram;
  for (const std::uint64_t value : values) histogram.record(value);
  for (std::size_t i = 0; i < values.size(); ++i)
    CHECK_EQ(histogram.percentile(100.0 * static_cast<double>(i + 1) / 9.0), expected[i]);
  CHECK_EQ(histogram.max(), 123456789U);
  CHECK_EQ(histogram.min(), 2047U);
}

TEST(a_rank_is_rounded_to_the_nearest) {
  Histogram histogram;
  for (std::uint64_t i = 1; i <= 1600; ++i) histogram.record(i * 1000);
  const std::vector<std::pair<double, std::uint64_t>> expected = {
      {50, 800255U}, {90, 1440767U}, {99, 1584127U}, {99.9, 1598463U}, {99.99, 1600511U}};
  for (const auto& [percent, value] : expected) CHECK_EQ(histogram.percentile(percent), value);
}

TEST(adding_is_recording_both) {
  Histogram both, first, second;
  Values values;
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t value = values.next();
    both.record(value);
    (i % 3 == 0 ? first : second).record(value);
  }
  first.add(second);
  for (double percent = 0; percent <= 100; percent += 0.5)
    CHECK_EQ(first.percentile(percent), both.percentile(percent));
  CHECK_EQ(first.count(), both.count());
  CHECK_EQ(first.max(), both.max());
  CHECK_EQ(first.min(), both.min());
}

TEST(an_empty_histogram_has_only_zeros) {
  Histogram histogram;
  histogram.record(5);
  histogram.clear();
  CHECK_EQ(histogram.count(), 0U);
  CHECK_EQ(histogram.max(), 0U);
  CHECK_EQ(histogram.min(), 0U);
  CHECK_EQ(histogram.percentile(50), 0U);
}
