// Expected values by hand; equality with scikit-learn's MinMaxScaler is tested from Python.
#include "engine/scaler.h"

#include <limits>

#include "check.h"

using linkcast::Scaler;

TEST(the_range_maps_to_zero_and_one_and_back) {
  const Scaler scaler({10, -1}, {1.0 / 20, 1.0 / 4});  // 10..30 and -1..3
  const std::vector<double> features = {10, -1, 30, 3, 20, 7};
  std::vector<float> scaled(6);
  scaler.transform(features.data(), 3, scaled.data());
  const std::vector<float> expected = {0, 0, 1, 1, 0.5f, 2};
  CHECK(scaled == expected);
  scaler.inverse_transform(scaled.data(), 3, scaled.data());
  for (std::size_t k = 0; k < 6; ++k) CHECK_NEAR(scaled[k], features[k], 1e-6);
}

TEST(large_offsets_do_not_lose_the_difference) {
  // float32 arithmetic would give 0 or 8 here: its step at 1e8 is 8.
  const Scaler scaler({1e8}, {1});
  const double feature = 1e8 + 3;
  float scaled = 0;
  scaler.transform(&feature, 1, &scaled);
  CHECK_EQ(scaled, 3.0f);
}

TEST(no_rows_are_no_work) { Scaler({0}, {1}).transform(static_cast<const float*>(nullptr), 0, nullptr); }

TEST(a_scale_that_cannot_be_inverted_is_refused) {
  CHECK_THROWS(Scaler({0}, {0}), "scale that is not zero");
  CHECK_THROWS(Scaler({0}, {std::numeric_limits<double>::infinity()}), "finite");
  CHECK_THROWS(Scaler({0, 1}, {1}), "got 2 and 1");
  CHECK_THROWS(Scaler({}, {}), "got 0 and 0");
}
