// Expected values by hand; equality with scikit-learn's MinMaxScaler and with NumPy is tested from Python.
#include "engine/scaler.h"

#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "check.h"

using linkcast::Range;
using linkcast::Reference;
using linkcast::Scaler;

namespace {

constexpr double kE = std::numbers::e;
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kRounding = 1e-6;  // of float32, for values up to 10

std::vector<float> transformed(const Scaler& scaler, const std::vector<double>& features, std::size_t steps) {
  std::vector<float> scaled(features.size());
  scaler.transform(features.data(), features.size() / scaler.features() / steps, steps, scaled.data());
  return scaled;
}

float restored(const Range& range, float scaled, double reference = 0) {
  float value = 0;
  Scaler({range}).inverse_transform(&scaled, 1, &value, &reference, 1);
  return value;
}

}  // namespace

TEST(the_range_maps_to_zero_and_one_and_back) {
  const Scaler scaler({{.offset = 10, .scale = 1.0 / 20}, {.offset = -1, .scale = 1.0 / 4}});  // 10..30 and -1..3
  const std::vector<double> features = {10, -1, 30, 3, 20, 7};
  const std::vector<float> expected = {0, 0, 1, 1, 0.5f, 2};
  for (const std::size_t steps : {1U, 3U}) CHECK(transformed(scaler, features, steps) == expected);
  std::vector<float> back = expected;
  scaler.inverse_transform(back.data(), 3, back.data(), static_cast<const float*>(nullptr), 0);
  for (std::size_t k = 0; k < 6; ++k) CHECK_NEAR(back[k], features[k], kRounding);
}

TEST(large_offsets_do_not_lose_the_difference) {
  // float32 arithmetic would give 0 or 8 here: its step at 1e8 is 8.
  CHECK_EQ(transformed(Scaler({Range{.offset = 1e8}}), {1e8 + 3}, 1)[0], 3.0f);
  const Scaler relative({Range{.relative_to = Reference::first}});
  CHECK(transformed(relative, {1e8, 1e8 + 3}, 2) == std::vector<float>({0, 3}));
}

TEST(a_logarithm_is_taken_of_the_value_and_its_offset) {
  const Range range{.offset = 1, .scale = 0.5, .log_offset = 0.5};  // ln(x + 0.5) in 1..3
  const auto scaled = transformed(Scaler({range}), {kE - 0.5, kE * kE * kE - 0.5, 0.5, 0, -7}, 1);
  const double zero = (std::log(0.5) - 1) / 2;
  const std::vector<double> expected = {0, 1, -0.5, zero, zero};  // a value below 0 counts as 0
  for (std::size_t k = 0; k < expected.size(); ++k) CHECK_NEAR(scaled[k], expected[k], kRounding);
  CHECK_NEAR(restored(range, 1), kE * kE * kE - 0.5, 20 * kRounding);
  CHECK_NEAR(restored(range, 0.25f), std::exp(1.5) - 0.5, kRounding);
  CHECK_EQ(restored(range, -2), 0.0f);  // exp(-3) - 0.5
}

TEST(a_relative_feature_is_so_to_the_first_step_of_its_own_window) {
  const Scaler scaler({{.offset = -1, .scale = 0.5, .relative_to = Reference::first},
                       {.log_offset = 1, .relative_to = Reference::first},
                       {.offset = 2}});
  const auto scaled = transformed(scaler,
                                  {
                                      5, 0, 3, 6, kE - 1, 4, 4, kE * kE - 1, 5,  // one window of three steps
                                      7, kE - 1, 2, 7, 0, 2, 9, kE - 1, 2        // another
                                  },
                                  3);
  const std::vector<double> expected = {0.5, 0, 1, 1, 1, 2, 0, 2, 3, 0.5, 0, 0, 0.5, -1, 0, 1.5, 0, 0};
  for (std::size_t k = 0; k < expected.size(); ++k) CHECK_NEAR(scaled[k], expected[k], kRounding);
}

TEST(a_share_of_the_first_steps_level_may_be_taken_off) {
  const Scaler scaler({Range{.offset = -1, .scale = 0.5, .relative_to = Reference::first, .share = 0.75}});
  const auto scaled = transformed(scaler, {4, 8, 3}, 3);
  CHECK(scaled == std::vector<float>({1, 3, 0.5}));  // (4 - 3 + 1) / 2, (8 - 3 + 1) / 2, (3 - 3 + 1) / 2
  for (const double share : {0.0, -0.5, 1.5})
    CHECK_THROWS(Scaler({Range{.share = share}}), "feature 0: expected a share above 0 and at most 1");
}

TEST(a_window_taken_step_by_step_is_scaled_to_the_same_bits) {
  const Scaler scaler(
      {{.offset = -1.3, .scale = 0.37, .log_offset = 0.01, .relative_to = Reference::first, .share = 0.7},
       {.offset = 0.1, .scale = 3.1, .log_offset = 0.7},
       {.offset = 0.1, .scale = 3.1, .relative_to = Reference::first, .bound = 9},
       {.offset = -7.7, .scale = 0.013}});
  constexpr std::size_t kSteps = 50;
  std::vector<double> window;
  for (std::size_t k = 0; k < kSteps * 4; ++k) window.push_back(10 + 9 * std::sin(static_cast<double>(k)));
  const auto whole = transformed(scaler, window, kSteps);
  std::vector<double> first(4);
  std::vector<double> level(4);
  std::vector<float> scaled(4);
  scaler.level(window.data(), first.data());
  for (std::size_t step = 0; step < kSteps; ++step) {
    scaler.level(window.data() + step * 4, level.data());
    scaler.scale(level.data(), first.data(), scaled.data());
    for (std::size_t f = 0; f < 4; ++f) CHECK_EQ(scaled[f], whole[step * 4 + f]);
  }
}

TEST(a_relative_target_is_added_to_the_value_that_is_given) {
  const Range difference{.offset = -2, .scale = 0.25, .relative_to = Reference::last};
  CHECK_NEAR(restored(difference, 0.75f, 10), 11, kRounding);
  const Range ratio{.offset = -1, .scale = 0.5, .log_offset = 0.5, .relative_to = Reference::last};
  CHECK_NEAR(restored(ratio, 1, 1.5), kE * 2 - 0.5, kRounding);  // e times (1.5 + 0.5), less 0.5
  CHECK_NEAR(restored(ratio, 0.5f, 1.5), 1.5, kRounding);
  CHECK_EQ(restored(ratio, -3, 1.5), 0.0f);
  // References may stand apart: the last samples of windows.
  const std::vector<float> scaled = {1, 0.5f};
  const std::vector<float> windows = {0, 0, 1.5f, 0, 0, 7};
  std::vector<float> values(2);
  Scaler({ratio}).inverse_transform(scaled.data(), 2, values.data(), windows.data() + 2, 3);
  CHECK_NEAR(values[0], kE * 2 - 0.5, kRounding);
  CHECK_NEAR(values[1], 7, kRounding);
}

TEST(a_bound_cuts_what_is_scaled_either_way) {
  const Range plain{.offset = 2, .scale = 0.5, .bound = 1.5};
  CHECK(transformed(Scaler({plain}), {2, 4, 5, 6, -10}, 1) == std::vector<float>({0, 1, 1.5, 1.5, -1.5}));
  const Range ratio{.scale = 2, .log_offset = 0.5, .relative_to = Reference::first, .bound = 2};
  const auto scaled = transformed(Scaler({ratio}), {kE - 0.5, 0, kE - 0.5, kE * kE * kE - 0.5}, 4);
  CHECK_EQ(scaled[0], 0.0f);
  CHECK_EQ(scaled[1], -2.0f);  // 2 (ln 0.5 - 1) is below it
  CHECK_EQ(scaled[2], 0.0f);
  CHECK_EQ(scaled[3], 2.0f);                                                              // 2 (3 - 1) is above it
  CHECK_NEAR(restored(Range{.offset = 2, .scale = 0.5, .bound = 1.5}, 7), 5, kRounding);  // 1.5 / 0.5 + 2
  CHECK_NEAR(restored(plain, -7), -1, kRounding);
  CHECK_THROWS(Scaler({Range{.bound = -1}}), "feature 0: expected a finite bound of 0 or more, got -1");
}

TEST(what_is_not_finite_stays_so) {
  for (const double bound : {0.0, 3.0}) {
    const Range range{.log_offset = 0.5, .bound = bound};
    for (const double value : {kInfinity, -kInfinity, std::nan("")})
      CHECK(!std::isfinite(transformed(Scaler({range}), {value}, 1)[0]));
    CHECK(std::isnan(restored(range, std::nanf(""))));
  }
  CHECK(std::isinf(restored(Range{.log_offset = 0.5}, 1e4f)));
}

TEST(the_slope_is_the_change_of_the_value_for_one_of_what_is_scaled) {
  for (const Range& range : {Range{.offset = 1, .scale = 0.5, .log_offset = 0.5}, Range{.offset = 1, .scale = 0.5}}) {
    const double difference = static_cast<double>(restored(range, 0.501f)) - static_cast<double>(restored(range, 0.5f));
    CHECK_NEAR(difference / 0.001 / range.slope(restored(range, 0.5f)), 1, 0.002);
  }
}

TEST(no_rows_are_no_work) { Scaler({Range{}}).transform(static_cast<const float*>(nullptr), 0, 10, nullptr); }

TEST(a_range_that_cannot_be_inverted_is_refused) {
  CHECK_THROWS(Scaler({Range{.scale = 0}}), "scale that is not zero");
  CHECK_THROWS(Scaler({Range{.scale = kInfinity}}), "finite");
  CHECK_THROWS(Scaler({{}, {.log_offset = -0.5}}), "feature 1: expected a finite log_offset of 0 or more, got -0.5");
  CHECK_THROWS(Scaler(std::vector<Range>{}), "got none");
}
