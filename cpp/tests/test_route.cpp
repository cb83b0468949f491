// Expected paths by hand.
#include "engine/route.h"

#include <cmath>
#include <limits>
#include <vector>

#include "check.h"

using namespace linkcast;

namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

struct Chooser {
  RouteChooser chooser;
  std::size_t steps = 1;

  const RouteChoice& operator()(double second, const std::vector<double>& p10_mbps) {
    CHECK_EQ(p10_mbps.size(), chooser.paths() * steps);
    return chooser.choose(p10_mbps.data(), steps, static_cast<std::uint64_t>(second * 1e9));
  }
};

Chooser two_paths(double margin = 0.1, double stay_s = 10, double gone_s = 3) {
  return {{2, {margin, stay_s, gone_s}}};
}

}  // namespace

TEST(the_first_choice_is_the_best_p10_at_once_and_of_a_tie_the_first) {
  auto choose = two_paths();
  const RouteChoice& first = choose(0, {8, 9});
  CHECK_EQ(first.path, 1);
  CHECK_EQ(first.mbps, 9.0);
  CHECK(first.changed);
  auto tie = two_paths();
  CHECK_EQ(tie(0, {9, 9}).path, 0);
}

TEST(the_value_of_a_path_is_its_least_p10_over_the_horizon) {
  auto choose = two_paths();
  choose.steps = 3;
  const RouteChoice& choice = choose(0, {20, 3, 20, 5, 4, kNone});
  CHECK_EQ(choice.path, 1);
  CHECK_EQ(choice.mbps, 4.0);
}

TEST(a_path_is_left_for_one_that_is_better_by_more_than_the_margin) {
  auto choose = two_paths(0.25, 0);
  CHECK_EQ(choose(0, {8, 4}).path, 0);
  CHECK_EQ(choose(1, {8, 10}).path, 0);  // 8 * 1.25
  CHECK(!choose(2, {8, 10}).staying);
  CHECK_EQ(choose(3, {8, 10.01}).path, 1);
  CHECK_EQ(choose(4, {10, 10.01}).path, 1);  // and back only by the margin again
  CHECK_EQ(choose(5, {13, 10.01}).path, 0);
}

TEST(values_that_cross_within_the_margin_change_nothing) {
  auto choose = two_paths(0.1, 0);
  int changes = 0;
  for (int s = 0; s < 100; ++s)
    changes += choose(s, s % 2 ? std::vector<double>{10, 10.9} : std::vector<double>{10.9, 10}).changed;
  CHECK_EQ(changes, 1);  // the first choice
}

TEST(a_path_is_not_left_before_the_minimum_stay) {
  auto choose = two_paths(0.1, 10);
  choose(0, {8, 4});
  const RouteChoice& waiting = choose(9.9, {8, 40});
  CHECK_EQ(waiting.path, 0);
  CHECK(waiting.staying);
  CHECK(!waiting.changed);
  const RouteChoice& left = choose(10, {8, 40});
  CHECK_EQ(left.path, 1);
  CHECK(left.changed);
  CHECK(!left.staying);
  CHECK_EQ(choose(19.9, {800, 40}).path, 1);  // the stay starts anew
  CHECK_EQ(choose(20, {800, 40}).path, 0);
}

TEST(a_tie_and_no_margin_stay) {
  auto choose = two_paths(0, 0);
  CHECK_EQ(choose(0, {8, 9}).path, 1);
  CHECK_EQ(choose(1, {9, 9}).path, 1);
  CHECK_EQ(choose(2, {9.001, 9}).path, 0);
}

TEST(answers_that_are_not_finite_are_ignored_until_the_path_is_gone) {
  auto choose = two_paths(0.1, 10, 3);
  choose(0, {8, 4});
  CHECK_EQ(choose(1, {kNone, 4}).path, 0);
  CHECK_EQ(choose(1, {std::numeric_limits<double>::infinity(), 4}).path, 0);
  const RouteChoice& kept = choose(3, {kNone, 4});
  CHECK_EQ(kept.path, 0);
  CHECK_EQ(kept.mbps, 8.0);  // the last answer
  const RouteChoice& gone = choose(3.1, {kNone, 4});
  CHECK_EQ(gone.path, 1);  // whatever the minimum stay
  CHECK(gone.changed);
  CHECK_EQ(choose(4, {8, 4}).path, 1);  // back: within the stay on the other
  CHECK_EQ(choose(13.1, {8, 4}).path, 0);
}

TEST(a_path_that_carries_nothing_is_left_at_once) {
  auto choose = two_paths(0.1, 10);
  choose(0, {8, 1});
  CHECK_EQ(choose(1, {0, 1}).path, 1);
  CHECK_EQ(choose(2, {0, 0}).path, 1);  // no better one
}

TEST(when_all_paths_are_gone_none_is_chosen_and_the_first_to_answer_again_is) {
  auto choose = two_paths(0.1, 10, 3);
  CHECK_EQ(choose(0, {kNone, kNone}).path, -1);
  CHECK(!choose(0, {kNone, kNone}).changed);
  CHECK_EQ(choose(1, {8, 4}).path, 0);
  const RouteChoice& gone = choose(5, {kNone, kNone});
  CHECK_EQ(gone.path, -1);
  CHECK_EQ(gone.mbps, 0.0);
  CHECK(gone.changed);
  CHECK_EQ(choose(6, {kNone, 2}).path, 1);
}

TEST(what_makes_no_sense_is_refused) {
  CHECK_THROWS(RouteChooser(0, {}), "paths: expected 1 to 65536, got 0");
  CHECK_THROWS(RouteChooser(2, {-1, 0, 0}), "margin: expected 0 or more");
  CHECK_THROWS(RouteChooser(2, {0, std::nan(""), 0}), "stay_s");
  auto choose = two_paths();
  choose(2, {1, 1});
  CHECK_THROWS(choose(1, {1, 1}), "does not go back");
  CHECK_EQ(choose(2, {1, 1}).path, 0);
}
