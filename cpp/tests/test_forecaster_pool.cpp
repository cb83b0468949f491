// Expected values come from single forecasts of the engine, and for fallbacks from the calendar by hand.
#include "engine/forecaster_pool.h"

#include <array>
#include <cmath>
#include <numbers>

#include "bundle.h"
#include "check.h"

using namespace linkcast;

namespace {

const std::vector<std::string> kGroups = {"streaming", "gaming", "social_media", "shopping", "software"};
const Deadline kPassed{1};  // on the monotonic clock: soon after the machine was started

/// Windows and requests for several groups.
struct Call {
  Call(const std::vector<std::string>& names, std::size_t batch, unsigned seed = 1) {
    for (const std::string& name : names) {
      const std::size_t model = bundle().find(name, Role::forecaster);
      windows.push_back(telemetry(bundle(), model, batch * bundle().spec(model).window, seed++));
      requests.push_back({model, windows.back().data(), batch});
    }
    results.resize(names.size());
  }

  std::vector<std::vector<double>> windows;
  std::vector<ForecastRequest> requests;
  std::vector<ForecastResult> results;

  std::vector<float> mbps(std::size_t k) const {
    std::vector<float> mbps;
    for (const Answer& answer : results[k].answers) mbps.push_back(answer.mbps);
    return mbps;
  }
};

/// The answer that stands in where the model is late: the last good one.
Answer late(ForecasterPool& pool, Call& call) {
  pool.forecast(call.requests, call.results, kPassed);
  return call.results[0].answers[0];
}

std::vector<float> one_by_one(const Call& call, std::size_t k) {
  std::vector<float> mbps(call.requests[k].batch);
  bundle().forecast_raw(call.requests[k].model, call.windows[k].data(), mbps.size(), mbps.data());
  return mbps;
}

std::array<double, 4> calendar(double hour, double weekday) {
  const double h = 2 * std::numbers::pi * hour / 24;
  const double d = 2 * std::numbers::pi * weekday / 7;
  return {std::sin(h), std::cos(h), std::sin(d), std::cos(d)};
}

/// Sets the calendar of the last step of a window of a group's forecaster.
void set_calendar(std::vector<double>& windows, std::size_t row, double hour, double weekday) {
  const auto values = calendar(hour, weekday);
  std::copy(values.begin(), values.end(), windows.begin() + static_cast<std::ptrdiff_t>(row * 80 + 9 * 8 + 4));
}

float fallback(const std::string& group, double hour, double weekday) {
  const auto features = calendar(hour, weekday);
  float mbps = 0;
  bundle().forecast_raw(bundle().find(group, Role::fallback), features.data(), 1, &mbps);
  return mbps;
}

}  // namespace

TEST(each_group_gets_what_its_model_gives_alone) {
  for (const std::size_t threads : {1U, 2U, 3U})
    for (const std::size_t batch : {1U, 3U, 60U}) {
      ForecasterPool::Options options;
      options.threads = threads;
      ForecasterPool groups(bundle(), options);
      auto names = kGroups;
      names.push_back("internet");
      Call call(names, batch);
      groups.forecast(call.requests, call.results);
      for (std::size_t k = 0; k < names.size(); ++k) {
        CHECK(call.results[k].status == ForecastStatus::ok);
        CHECK(call.results[k].source == Source::model);
        CHECK(call.results[k].cause == Cause::none);
        CHECK(call.results[k].latency_ns > 0);
        CHECK(call.mbps(k) == one_by_one(call, k));
        for (const Answer& answer : call.results[k].answers) CHECK(answer.source == Source::model);
      }
    }
}

TEST(a_fallback_that_is_asked_by_its_own_name_answers_for_the_time_given) {
  ForecasterPool pool(bundle(), {});
  const auto features = calendar(18, 2);
  const ForecastRequest request{bundle().find("gaming", Role::fallback), features.data(), 1};
  ForecastResult result;
  pool.forecast({&request, 1}, {&result, 1});
  CHECK(result.source == Source::fallback && result.cause == Cause::none);
  CHECK_EQ(result.answers[0].mbps, fallback("gaming", 18, 2));
}

TEST(windows_may_be_float32) {
  ForecasterPool groups(bundle(), {});
  Call call({"gaming"}, 2);
  const std::vector<float> windows(call.windows[0].begin(), call.windows[0].end());
  call.requests[0].windows = windows.data();
  groups.forecast(call.requests, call.results);
  std::vector<float> expected(2);
  bundle().forecast_raw(call.requests[0].model, windows.data(), 2, expected.data());
  CHECK(call.mbps(0) == expected);
}

TEST(behind_the_deadline_the_fallback_answers_for_the_step_after_the_window) {
  for (const std::size_t threads : {1U, 2U}) {
    ForecasterPool::Options options;
    options.threads = threads;
    ForecasterPool groups(bundle(), options);
    Call call(kGroups, 2);
    for (auto& windows : call.windows) {
      set_calendar(windows, 0, 18.5, 2);
      set_calendar(windows, 1, 23, 6);  // the next hour is Monday's first
    }
    groups.forecast(call.requests, call.results, kPassed);
    for (std::size_t k = 0; k < kGroups.size(); ++k) {
      CHECK(call.results[k].status == ForecastStatus::ok);
      CHECK(call.results[k].source == Source::fallback);
      CHECK(call.results[k].cause == Cause::deadline);
      CHECK_NEAR(call.results[k].answers[0].mbps, fallback(kGroups[k], 19.5, 2), 1e-4);
      CHECK_NEAR(call.results[k].answers[1].mbps, fallback(kGroups[k], 0, 0), 1e-4);
      CHECK(call.results[k].answers[1].source == Source::fallback);
    }
  }
}

TEST(a_deadline_that_passes_while_the_model_runs_gives_it_up) {
  const std::size_t model = bundle().find("streaming", Role::forecaster);
  if (!bundle().model(model).network()) return;  // TensorFlow Lite can't be interrupted
  ChosenNetwork& network = *bundle().model(model).network();
  const std::vector<float> window(bundle().model(model).row_inputs(), 0.5f);
  float answer = 0;
  CHECK(network.run(window.data(), 1, &answer));
  CHECK(!network.run(window.data(), 1, &answer, kPassed));
  float again = 0;
  CHECK(network.run(window.data(), 1, &again, Deadline::in(60'000'000'000)));
  float expected = 0;
  CHECK(network.run(window.data(), 1, &expected));
  CHECK_EQ(again, expected);
}

TEST(a_model_that_cannot_be_interrupted_is_not_started_behind_the_deadline) {
  Engine tflite = open_bundle(Backend::tflite);
  ForecasterPool groups(tflite, {});
  Call call({"shopping"}, 1);
  groups.forecast(call.requests, call.results, Deadline::in(1'000));
  CHECK(call.results[0].source == Source::fallback);
  CHECK(call.results[0].cause == Cause::deadline);
  groups.forecast(call.requests, call.results, Deadline::in(60'000'000'000));
  CHECK(call.results[0].source == Source::model);
}

TEST(without_a_fallback_the_last_good_value_of_the_row_answers) {
  ForecasterPool groups(bundle(), {});
  Call call({"internet"}, 3);
  groups.forecast(call.requests, call.results, kPassed);
  CHECK(call.results[0].status == ForecastStatus::no_answer);
  CHECK(call.results[0].source == Source::none);
  CHECK(std::isnan(call.results[0].answers[2].mbps));
  groups.forecast(call.requests, call.results);
  const auto good = call.mbps(0);
  groups.forecast(call.requests, call.results, kPassed);
  CHECK(call.results[0].status == ForecastStatus::ok);
  CHECK(call.results[0].source == Source::last);
  CHECK(call.mbps(0) == good);
}

TEST(the_moving_average_answers_when_asked_for) {
  ForecasterPool::Options options;
  options.safeguard.stand_in = Safeguard::StandIn::forecast_mean;
  options.safeguard.stand_in_weight = 0.25;
  ForecasterPool groups(bundle(), options);
  double average = 0;
  for (unsigned round = 0; round < 4; ++round) {
    Call call({"internet"}, 1, round);
    groups.forecast(call.requests, call.results);
    const auto mbps = static_cast<double>(call.results[0].answers[0].mbps);
    average = round == 0 ? mbps : 0.75 * average + 0.25 * mbps;
  }
  Call call({"internet"}, 1);
  groups.forecast(call.requests, call.results, kPassed);
  CHECK(call.results[0].source == Source::forecast_mean);
  CHECK_NEAR(call.results[0].answers[0].mbps, average, 1e-4);
}

TEST(a_window_that_is_not_finite_is_a_status_and_the_other_groups_answer) {
  for (const double bad : {std::nan(""), HUGE_VAL, 1e300}) {
    ForecasterPool groups(bundle(), {});
    Call call({"streaming", "gaming", "software"}, 2);
    call.windows[1][100] = bad;
    groups.forecast(call.requests, call.results);
    CHECK(call.results[1].status == ForecastStatus::bad_window);
    CHECK(call.results[1].source == Source::none);
    CHECK(call.results[1].answers.empty());
    CHECK(call.mbps(0) == one_by_one(call, 0));
    CHECK(call.mbps(2) == one_by_one(call, 2));
  }
}

TEST(a_call_that_makes_no_sense_is_refused) {
  ForecasterPool groups(bundle(), {});
  Call twice({"gaming", "gaming"}, 1);
  CHECK_THROWS(groups.forecast(twice.requests, twice.results), "gaming_model stands twice");
  Call call({"gaming"}, 1);
  call.requests[0].batch = 0;
  CHECK_THROWS(groups.forecast(call.requests, call.results), "at least 1 window");
  call.requests[0].batch = 1;
  CHECK_THROWS(groups.forecast(call.requests, {}), "a result for each of 1");
  call.requests[0].model = bundle().find("internet_ddqn");
  CHECK_THROWS(groups.forecast(call.requests, call.results), "not a forecaster");
  call.requests[0].model = 1000;
  CHECK_THROWS(groups.forecast(call.requests, call.results), "not a forecaster");
  ForecasterPool::Options options;
  options.threads = 0;
  CHECK_THROWS(ForecasterPool(bundle(), options), "threads");
  options.threads = 1;
  options.safeguard.stand_in_weight = 0;
  CHECK_THROWS(ForecasterPool(bundle(), options), "stand_in_weight");
}

TEST(prepare_leaves_what_a_row_remembers_and_what_is_counted) {
  Engine engine = open_bundle();
  ForecasterPool pool(engine, {});
  Call call({"internet"}, 1);
  const std::size_t model = call.requests[0].model;
  pool.forecast(call.requests, call.results);
  const float good = call.mbps(0)[0];
  for (int k = 0; k < 3; ++k) pool.prepare(model);
  // A late answer is the last good one: not that of the window which prepare() has run.
  CHECK(late(pool, call).mbps == good);
  CHECK(late(pool, call).source == Source::last);
  CHECK_EQ(engine.stats(model).latency.count(), 3U);
  CHECK_THROWS(pool.prepare(bundle().find("internet_ddqn")), "not a forecaster");
}

TEST(calls_sources_causes_and_lateness_are_counted) {
  Engine engine = open_bundle();
  ForecasterPool groups(engine, {});
  Call call({"internet"}, 3);
  const ModelStats& stats = engine.stats(call.requests[0].model);
  groups.forecast(call.requests, call.results);
  groups.forecast(call.requests, call.results, kPassed);
  CHECK_EQ(stats.latency.count(), 2U);
  CHECK_EQ(stats.sources[static_cast<std::size_t>(Source::model)].value(), 3U);
  CHECK_EQ(stats.sources[static_cast<std::size_t>(Source::last)].value(), 3U);
  CHECK_EQ(stats.causes[static_cast<std::size_t>(Cause::deadline)].value(), 3U);
  CHECK_EQ(stats.late.value(), 1U);
}

TEST(a_forecast_outside_the_widened_range_of_the_target_is_implausible) {
  const std::size_t model = bundle().find("internet", Role::forecaster);
  const double least = bundle().spec(model).target_range->at(0);
  const double width = bundle().spec(model).target_range->at(1) - least;
  Safeguard::Options options;
  options.plausible_margin = 0.25;
  const Safeguard safeguard(bundle(), model, 1, options);
  const auto judge = [&](double share) { return safeguard.judge(static_cast<float>(least + share * width)); };
  CHECK(judge(-0.24) == Cause::none);
  CHECK(judge(1.24) == Cause::none);
  CHECK(judge(-0.26) == Cause::implausible);
  CHECK(judge(1.26) == Cause::implausible);
  CHECK(safeguard.judge(std::nanf("")) == Cause::not_finite);
  CHECK(safeguard.judge(HUGE_VALF) == Cause::not_finite);
}
