// Expected switches from sums made anew at every tick.
#include "engine/skill.h"

#include <cmath>
#include <deque>
#include <limits>
#include <random>

#include "check.h"

using linkcast::SkillSwitch;

namespace {

constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

/// One link: a model that is off by `model`, an EWMA that is off by `ewma`.
bool tick(SkillSwitch& skill, double model, double ewma, std::size_t link = 0) {
  const double measured = 10;
  skill.expect(link, static_cast<float>(measured + model), measured - ewma);
  return skill.score(link, measured);
}

}  // namespace

TEST(the_ewma_answers_when_its_errors_over_the_last_ticks_are_smaller_by_the_margin) {
  SkillSwitch skill(1, 4);
  for (int k = 0; k < 3; ++k) CHECK(!tick(skill, 2, 1));  // no decision on fewer ticks than four
  CHECK(std::isnan(skill.skill(0)));
  CHECK(tick(skill, 2, 1));
  CHECK(skill.switched(0));
  CHECK_NEAR(skill.skill(0), -1, 1e-12);
  SkillSwitch close(1, 4);
  for (int k = 0; k < 40; ++k) CHECK(!tick(close, 1.03125, 1));  // within 5 %
  for (int k = 0; k < 2; ++k) CHECK(!tick(close, 1.0625, 1));    // (1.03125 + 1.0625) / 2 = 1.0469
  CHECK(tick(close, 1.0625, 1));                                 // (1.03125 + 3 * 1.0625) / 4 = 1.0547
}

TEST(the_model_answers_again_when_it_is_better_and_no_sooner_than_the_ticks_after_a_switch) {
  SkillSwitch skill(1, 4);
  for (int k = 0; k < 4; ++k) tick(skill, 2, 1);
  for (int k = 0; k < 3; ++k) {
    CHECK(!tick(skill, 0.5, 1));
    CHECK(skill.switched(0));
  }
  tick(skill, 0.5, 1);
  CHECK(!skill.switched(0));
  for (int k = 0; k < 4; ++k) tick(skill, 2, 1);
  CHECK(skill.switched(0));
  for (int k = 0; k < 10; ++k) tick(skill, 1, 1);  // as good is not better
  CHECK(skill.switched(0));
}

TEST(every_switch_is_where_sums_made_anew_say) {
  for (const std::size_t ticks : {1U, 7U, 60U}) {
    SkillSwitch skill(2, ticks);
    std::mt19937 random(static_cast<unsigned>(ticks));
    std::exponential_distribution<double> error(1);
    std::deque<double> model;
    std::deque<double> ewma;
    bool switched = false;
    std::size_t since = 0;
    int switches = 0;
    for (int k = 0; k < 20'000; ++k) {
      // The model's errors wander between half and twice the EWMA's; now and then one is huge.
      const double scale = std::exp(0.7 * std::sin(k / 150.0)) * (random() % 1000 == 0 ? 1e6 : 1);
      const auto off = static_cast<double>(static_cast<float>(10 + error(random) * scale)) - 10;
      const double average = error(random);
      model.push_back(off);
      ewma.push_back(average);
      if (model.size() > ticks) {
        model.pop_front();
        ewma.pop_front();
      }
      double of_model = 0;
      double of_ewma = 0;
      for (std::size_t i = 0; i < model.size(); ++i) {
        of_model += std::fabs(model[i]);
        of_ewma += std::fabs(ewma[i]);
      }
      bool went_over = false;
      if (++since >= ticks && (switched ? of_model < of_ewma : of_model > 1.05 * of_ewma)) {
        switched = !switched;
        since = 0;
        went_over = switched;
        switches += went_over;
      }
      CHECK_EQ(tick(skill, off, average, 1), went_over);
      CHECK_EQ(skill.switched(1), switched);
      if (model.size() == ticks) CHECK_NEAR(skill.skill(1), 1 - of_model / of_ewma, 1e-6 * of_model / of_ewma);
    }
    CHECK(switches > 10);
    CHECK(!skill.switched(0));
  }
}

TEST(a_tick_without_a_value_or_without_a_forecast_does_not_count) {
  SkillSwitch skill(1, 2);
  tick(skill, 2, 1);
  skill.expect(0, 12, 11);
  CHECK(!skill.score(0, std::nan("")));
  CHECK(!skill.score(0, 10));  // nothing was expected of this tick
  skill.expect(0, kNone, 11);
  CHECK(!skill.score(0, 10));
  CHECK(tick(skill, 2, 1));
}

TEST(forgotten_scores_start_anew) {
  SkillSwitch skill(1, 3);
  for (int k = 0; k < 3; ++k) tick(skill, 2, 1);
  CHECK(skill.switched(0));
  skill.forget(0);
  CHECK(!skill.switched(0));
  CHECK(std::isnan(skill.skill(0)));
  for (int k = 0; k < 2; ++k) CHECK(!tick(skill, 2, 1));
  CHECK(tick(skill, 2, 1));
}

TEST(a_snapshot_goes_on_with_the_same_scores_and_one_of_other_ticks_starts_anew) {
  SkillSwitch skill(2, 5);
  SkillSwitch other(2, 5);
  std::mt19937 random(3);
  std::exponential_distribution<double> error(1);
  std::vector<std::byte> bytes(skill.snapshot_size());
  for (int k = 0; k < 500; ++k) {
    const double model = error(random);
    const double ewma = error(random);
    const bool went_over = tick(skill, model, ewma, k % 2);
    if (k > 0) CHECK_EQ(tick(other, model, ewma, k % 2), went_over);
    for (const std::size_t link : {0U, 1U}) CHECK_EQ(k > 0 && other.switched(link), k > 0 && skill.switched(link));
    skill.snapshot(bytes.data());
    CHECK(SkillSwitch::is_snapshot(bytes.data(), bytes.size(), 2));
    for (int before = 0; before < k % 7; ++before) tick(other, 3, 1, before % 2);
    other.restore(bytes.data(), bytes.size());
  }
  CHECK(!SkillSwitch::is_snapshot(bytes.data(), bytes.size() - 1, 2));
  CHECK(!SkillSwitch::is_snapshot(bytes.data(), bytes.size(), 1));
  CHECK(!SkillSwitch::is_snapshot(bytes.data(), 3, 2));
  SkillSwitch longer(2, 6);
  for (int k = 0; k < 6; ++k) tick(longer, 2, 1);
  longer.restore(bytes.data(), bytes.size());
  CHECK(!longer.switched(0));
  other.restore(nullptr, 0);
  CHECK(!other.switched(0) && !other.switched(1));
}

TEST(off_there_is_nothing) {
  const SkillSwitch off(3, 0);
  CHECK(!off.on());
  CHECK(!off.switched(2));
  CHECK(std::isnan(off.skill(2)));
  CHECK_EQ(off.snapshot_size(), 0U);
  CHECK_THROWS(SkillSwitch(1, 100'001), "switch_to_ewma: expected 0 (off) to 100000 ticks, got 100001");
}
