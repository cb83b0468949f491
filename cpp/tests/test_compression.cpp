// Expected times by hand: 1,000,000 bytes are 8 Mbit.
#include "engine/compression.h"

#include <array>
#include <cmath>
#include <limits>

#include "check.h"

using namespace linkcast;

namespace {

constexpr double kBytes = 1e6;
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
// 8 Mbit take 0.04, 0.2 and 2 s to compress, and 0.01, 0.01 and 0.04 s to decompress.
constexpr std::array<Codec, 3> kCodecs{{{0.5, 200, 800}, {0.4, 40, 800}, {0.25, 4, 200}}};

CompressionChoice choose(const Band& band, const CompressionOptions& options = {}) {
  return choose_compression(kCodecs.data(), kCodecs.size(), kBytes, band, options);
}

CompressionChoice at(double mbps, bool overlap) {
  return choose({mbps, kNone, kNone, kNone}, {Quantile::p10, overlap});
}

}  // namespace

TEST(one_after_the_other_the_times_add_up) {
  CHECK_NEAR(transfer_seconds(kCodecs[0], kBytes, 10, false), 0.04 + 0.4 + 0.01, 1e-12);
  CHECK_NEAR(transfer_seconds(kCodecs[2], kBytes, 10, false), 2 + 0.2 + 0.04, 1e-12);
}

TEST(overlapped_the_slowest_stage_is_the_time) {
  CHECK_NEAR(transfer_seconds(kCodecs[0], kBytes, 10, true), 0.4, 1e-12);
  CHECK_NEAR(transfer_seconds(kCodecs[2], kBytes, 10, true), 2, 1e-12);
  CHECK_NEAR(transfer_seconds({0.5, 1000, 10}, kBytes, 100, true), 0.8, 1e-12);  // decompression
}

TEST(the_slower_the_link_the_more_is_compressed) {
  // One after the other, at 1000 Mbit/s: 0.008 as it is, 0.054 with the first. At 10: 0.8, 0.45, 0.53, 2.24.
  // At 2: 4, 2.05, 1.81, 3.04. At 0.5: 16, 8.05, 6.61, 6.04.
  CHECK_EQ(at(1000, false).codec, -1);
  CHECK_NEAR(at(1000, false).seconds, 0.008, 1e-12);
  CHECK_EQ(at(10, false).codec, 0);
  CHECK_EQ(at(2, false).codec, 1);
  CHECK_NEAR(at(2, false).seconds, 0.2 + 1.6 + 0.01, 1e-12);
  CHECK_EQ(at(0.5, false).codec, 2);
}

TEST(overlapped_the_choice_is_another) {
  // At 100 Mbit/s: 0.08 as it is; 0.04 (both stages of the first); 0.2. At 10: 0.8, 0.4, 0.32, 2.
  CHECK_EQ(at(100, true).codec, 0);
  CHECK_EQ(at(10, true).codec, 1);
  CHECK_EQ(at(1, true).codec, 2);  // 8, 4, 3.2, 2
}

TEST(the_quantile_of_the_band_decides) {
  const Band band{5, 0.5, 10, 1000};
  const CompressionChoice careful = choose(band, {Quantile::p10, false});
  CHECK_EQ(careful.codec, 2);
  CHECK_NEAR(careful.seconds, 2 + 4 + 0.04, 1e-12);
  CHECK_NEAR(careful.seconds_p10, 2 + 4 + 0.04, 1e-12);
  CHECK_NEAR(careful.seconds_p50, 2 + 0.2 + 0.04, 1e-12);
  CHECK_NEAR(careful.seconds_p90, 2 + 0.002 + 0.04, 1e-12);
  const CompressionChoice median = choose(band, {Quantile::p50, false});
  CHECK_EQ(median.codec, 0);
  CHECK_NEAR(median.seconds, 0.45, 1e-12);
}

TEST(ties_go_to_none_and_then_to_the_earlier) {
  constexpr std::array<Codec, 3> same{{{1, 1000, 1000}, {0.5, 1000, 1000}, {0.5, 500, 500}}};
  const Band band{10, 10, 10, 10};
  CHECK_EQ(choose_compression(same.data(), 1, kBytes, band, {}).codec, -1);
  CHECK_EQ(choose_compression(same.data(), 3, kBytes, band, {}).codec, 1);
  CHECK_EQ(choose_compression(nullptr, 0, kBytes, band, {}).codec, -1);
}

TEST(an_answer_without_a_band_decides_with_its_value) {
  CHECK_EQ(at(10, true).codec, 1);
  CHECK_NEAR(at(10, true).seconds_p90, 0.32, 1e-12);
}

TEST(where_nothing_is_known_nothing_is_compressed_and_no_time_is_named) {
  const CompressionChoice choice = at(kNone, true);
  CHECK_EQ(choice.codec, -1);
  CHECK(std::isnan(choice.seconds));
}

TEST(where_the_quantile_is_nothing_the_next_higher_decides_and_at_the_end_the_ratio) {
  const CompressionChoice choice = choose({0, 0, 10, 20}, {Quantile::p10, true});
  CHECK_EQ(choice.codec, 1);
  CHECK(std::isinf(choice.seconds));
  CHECK_NEAR(choice.seconds_p50, 0.32, 1e-12);
  const CompressionChoice dead = choose({0, 0, 0, 0});
  CHECK_EQ(dead.codec, 2);
  CHECK(std::isinf(dead.seconds_p90));
}

TEST(a_codec_has_a_ratio_and_speeds_above_0) {
  CHECK(is_codec({1.1, 5, std::numeric_limits<double>::infinity()}));
  CHECK(!is_codec({0, 5, 5}));
  CHECK(!is_codec({0.5, kNone, 5}));
  CHECK(!is_codec({0.5, 5, -1}));
}
