// Expected values: by hand, and the median by sorting.
#include "engine/on_off.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "check.h"
#include "engine/rolling_median.h"

using namespace linkcast;

namespace {

/// Values of `quiet` ticks at 1 and `busy` ticks at 9, by turns.
double switched(int tick, int quiet, int busy) { return tick % (quiet + busy) < quiet ? 1 : 9; }

}  // namespace

TEST(a_stay_is_expected_to_last_as_long_as_those_before) {
  OnOff link{};
  for (int k = 0; k < 200; ++k) {
    link.observe(switched(k, 13, 7));
    if (k < 100) continue;
    const int into = k % 20;  // 0 to 12: quiet
    CHECK_EQ(link.busy, into >= 13 ? 1.0 : 0.0);
    CHECK_EQ(link.age, into >= 13 ? into - 13 : into);
    const int left = (into >= 13 ? 20 : 13) - into;  // values until it changes
    const auto ends = link.ends();
    for (int steps = 1; steps <= 10; ++steps) CHECK_EQ(ends[static_cast<std::size_t>(steps)], steps >= left);
    CHECK_NEAR(link.level[0], 1, 0.01);
    CHECK_NEAR(link.level[1], 9, 0.1);
  }
}

TEST(the_next_step_is_the_first_of_all_steps) {
  std::mt19937 random(5);
  OnOff link{};
  int ending = 0;
  for (int k = 0, left = 0, busy = 0; k < 3000; ++k, --left) {
    if (left == 0) busy = !busy, left = 1 + static_cast<int>(random() % 6);
    link.observe(busy ? 9 : 1);
    CHECK_EQ(link.ends_next(), link.ends()[1]);
    ending += link.ends_next();
  }
  CHECK(ending > 100);
  CHECK(ending < 2900);
}

TEST(nothing_is_expected_of_a_link_before_three_whole_stays_have_ended) {
  OnOff link{};
  int whole = 0;  // stays at 1 Mbit/s that have ended; the first one was not seen from its beginning
  for (int k = 0; k < 200 && whole < 3; ++k) {
    link.observe(switched(k, 4, 3));
    if (k >= 7 && k % 7 == 4) ++whole;
    const auto ends = link.ends();
    if (link.busy == 0) CHECK(whole >= 3 || std::none_of(ends.begin(), ends.end(), [](bool end) { return end; }));
  }
  CHECK_EQ(link.ended[0], 3.0);
}

TEST(a_tick_without_a_value_counts_to_its_stay) {
  OnOff all{}, some{};
  some.miss();  // before the first value there is no stay
  CHECK_EQ(some.age, 0.0);
  for (int k = 0; k < 200; ++k) {
    const int into = k % 20;
    all.observe(switched(k, 13, 7));
    if (into == 3 || into == 4 || into == 9 || into == 15)
      some.miss();
    else
      some.observe(switched(k, 13, 7));
    CHECK_EQ(some.age, all.age);
    CHECK(some.ends() == all.ends());
  }
  CHECK(some.stay == all.stay);
  CHECK(some.ended[0] > 3);
}

TEST(a_stay_with_a_gap_in_it_is_not_counted) {
  OnOff link{};
  for (int k = 0; k < 105; ++k) link.observe(switched(k, 13, 7));
  const auto before = link.ended;
  link.interrupt();
  for (int k = 105; k < 113; ++k) link.observe(switched(k, 13, 7));
  CHECK(link.ended == before);
  link.observe(9);
  CHECK_EQ(link.busy, 1.0);
  CHECK(link.ended == before);
  for (int k = 114; k < 121; ++k) link.observe(switched(k, 13, 7));
  CHECK_EQ(link.ended[1], before[1] + 1);
}

TEST(levels_of_any_size_are_told_apart) {
  for (const double scale : {1e-300, 1e-3, 1e6, 1e38}) {
    OnOff link{};
    for (int k = 0; k < 400; ++k) {
      link.observe(scale * switched(k, 13, 7));
      if (k > 100) CHECK_EQ(link.busy, k % 20 >= 13 ? 1.0 : 0.0);
    }
    CHECK(link.is_sound(1e100));
  }
  OnOff constant{};
  for (int k = 0; k < 100'000; ++k) constant.observe(7);
  CHECK_EQ(constant.ended[0] + constant.ended[1], 0.0);
}

TEST(the_median_is_that_of_the_newest_values) {
  std::mt19937_64 random(3);
  std::uniform_int_distribution<int> values(-20, 20);  // many are alike
  RollingMedian<16> median{};
  std::vector<double> all;
  CHECK_EQ(median.median(5), 5.0);
  for (int k = 0; k < 500; ++k) {
    all.push_back(values(random));
    median.add(all.back());
    std::vector<double> newest(all.end() - std::min<std::ptrdiff_t>(16, std::ssize(all)), all.end());
    std::sort(newest.begin(), newest.end());
    CHECK_EQ(median.median(5), 0.5 * (newest[(newest.size() - 1) / 2] + newest[newest.size() / 2]));
    CHECK(median.is_sound(20));
  }
}

TEST(bytes_that_are_no_median_are_refused) {
  RollingMedian<4> median{};
  for (const double value : {3, 1, 2}) median.add(value);
  CHECK(median.is_sound(3));
  CHECK(!median.is_sound(2));
  auto other = median;
  other.sorted[0] = 2;  // not one of those that came
  CHECK(!other.is_sound(3));
  for (const double wrong : {-1.0, 0.5, 5.0, std::numeric_limits<double>::quiet_NaN()}) {
    other = median, other.count = wrong;
    CHECK(!other.is_sound(3));
    other = median, other.next = wrong;
    CHECK(!other.is_sound(3));
  }
}
