// Expected allocations by hand, from the allocator's own action and the limits.
#include "engine/controller.h"

#include <array>
#include <cmath>
#include <random>

#include "bundle.h"
#include "check.h"

using namespace linkcast;

namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::size_t kFeatures = 4;

/// The forecaster alone, nothing reserved beyond its forecast, and the latency not looked at.
Controller::Options link(double capacity_mbps) {
  Controller::Options options;
  options.capacity_mbps = capacity_mbps;
  options.risk = 0;
  options.queue_ms = 0;
  options.stream.mixture = false;
  return options;
}

std::size_t forecaster() { return bundle().find("internet", Role::forecaster); }

/// Random telemetry of a link with latencies up to 100 ms, that carries up to 40 Mbit/s.
std::vector<double> samples(std::size_t count) {
  auto values = telemetry(bundle(), forecaster(), count, 21);
  const std::array<double, 2> most{100, 40};
  for (std::size_t f = 0; f < most.size(); ++f) {
    double highest = 0;
    for (std::size_t k = 0; k < count; ++k) highest = std::max(highest, values[k * kFeatures + f]);
    for (std::size_t k = 0; k < count; ++k) values[k * kFeatures + f] *= most[f] / highest;
  }
  return values;
}

double fraction_of(std::int32_t action) { return (action + 1) / 10.0; }

}  // namespace

TEST(the_allocation_is_the_allocators_action_for_telemetry_with_the_larger_of_measured_and_forecast_bandwidth) {
  auto options = link(50);
  options.headroom = 0;
  options.least_fraction = 0;
  Controller controller(bundle(), "internet", options);
  Stream::Options alone;
  alone.mixture = false;
  Stream stream(bundle(), forecaster(), alone);
  const auto telemetry = samples(60);
  for (std::size_t k = 0; k < 60; ++k) {
    const double* sample = telemetry.data() + k * kFeatures;
    Answer forecast;
    const bool full = stream.push(sample, nullptr, &forecast) == 1;
    const Decision& decision = controller.tick(sample, k * kSecond);
    controller.advance();
    CHECK(decision.forecast.source == (full ? Source::model : Source::measured_mean));
    if (full) CHECK_EQ(decision.forecast.mbps, forecast.mbps);
    double state[kFeatures];
    std::copy_n(sample, kFeatures, state);
    state[1] = std::max(state[1], static_cast<double>(decision.forecast.mbps)) * 2;  // it learned on 100 Mbit/s
    std::int32_t action = -1;
    bundle().decide(bundle().find("internet_ddqn"), state, 1, &action);
    CHECK_EQ(decision.action, action);
    CHECK_NEAR(decision.allocation_fraction, fraction_of(action), 1e-12);
    CHECK_NEAR(decision.allocation_mbps, 50 * fraction_of(action), 1e-9);
  }
  CHECK_EQ(controller.counts().ticks, 60U);
}

TEST(until_the_window_is_full_the_forecast_is_the_average_of_measured_bandwidth) {
  auto options = link(50);
  options.measured_weight = 0.5;
  Controller controller(bundle(), "internet", options);
  const auto telemetry = samples(3);
  double average = 0;
  for (std::size_t k = 0; k < 3; ++k) {
    const double measured = telemetry[k * kFeatures + 1];
    average = k == 0 ? measured : 0.5 * (average + measured);
    const Decision& decision = controller.tick(telemetry.data() + k * kFeatures, k * kSecond);
    CHECK(decision.forecast.source == Source::measured_mean);
    CHECK_NEAR(decision.forecast.mbps, average, 1e-4);
  }
}

TEST(the_allocation_carries_the_forecast_with_its_headroom) {
  auto options = link(1000);
  options.headroom = 2;
  options.least_fraction = 0;
  Controller controller(bundle(), "internet", options);
  const auto telemetry = samples(30);
  for (std::size_t k = 0; k < 30; ++k) {
    const Decision& decision = controller.tick(telemetry.data() + k * kFeatures, k * kSecond);
    const double asked = std::max(fraction_of(decision.action), 2 * static_cast<double>(decision.forecast.mbps) / 1000);
    CHECK_NEAR(decision.allocation_fraction, asked, 1e-12);
  }
}

TEST(the_allocation_stays_within_minimum_and_maximum) {
  auto options = link(50);
  options.least_fraction = 0.55;
  options.most_fraction = 0.65;
  options.safe_fraction = 0.6;
  options.headroom = 0;
  Controller controller(bundle(), "internet", options);
  const auto telemetry = samples(40);
  for (std::size_t k = 0; k < 40; ++k) {
    const Decision& decision = controller.tick(telemetry.data() + k * kFeatures, k * kSecond);
    const double asked = fraction_of(decision.action);
    CHECK_NEAR(decision.allocation_fraction, std::clamp(asked, 0.55, 0.65), 1e-12);
    CHECK_EQ(decision.clamped, asked < 0.55 || asked > 0.65);
  }
}

TEST(the_slew_limit_bounds_the_change_in_a_second) {
  auto options = link(50);
  options.slew_per_s = 0.05;
  options.headroom = 0;
  Controller controller(bundle(), "internet", options);
  const auto telemetry = samples(60);
  double before = options.safe_fraction;
  std::uint64_t now = 0;
  for (std::size_t k = 0; k < 60; ++k) {
    const std::uint64_t step = k == 0 ? 0 : kSecond / 2 * (1 + k % 2);
    now += step;
    const Decision& decision = controller.tick(telemetry.data() + k * kFeatures, now);
    const double most = 0.05 * static_cast<double>(step) * 1e-9;
    const double target = std::clamp(fraction_of(decision.action), 0.1, 1.0);
    CHECK_NEAR(decision.allocation_fraction, std::clamp(target, before - most, before + most), 1e-12);
    CHECK_EQ(decision.slewed, decision.allocation_fraction != target);
    before = decision.allocation_fraction;
  }
}

TEST(within_the_hold_time_the_target_stays) {
  auto options = link(50);
  options.hold_s = 5;
  options.headroom = 0;
  Controller controller(bundle(), "internet", options);
  auto telemetry = samples(80);
  for (std::size_t k = 0; k < 80; ++k) telemetry[k * kFeatures + 1] = k % 4 < 2 ? 5 : 40;  // asks for a change at once
  double before = options.safe_fraction;
  std::uint64_t changed = 0;
  bool held_back = false;
  for (std::size_t k = 0; k < 80; ++k) {
    const Decision& decision = controller.tick(telemetry.data() + k * kFeatures, k * kSecond);
    held_back |= decision.holding;
    if (decision.holding) CHECK_EQ(decision.allocation_fraction, before);
    if (decision.allocation_fraction == before) continue;
    CHECK(changed == 0 || k - changed >= 5);
    changed = k;
    before = decision.allocation_fraction;
  }
  CHECK(held_back);
}

TEST(when_telemetry_stops_the_safe_allocation_is_taken_and_the_window_starts_anew) {
  auto options = link(50);
  options.safe_fraction = 0.75;
  options.stall_s = 3;
  options.stall_cut = 1;
  options.hold_s = 1000;
  options.headroom = 0;
  Controller controller(bundle(), "internet", options);
  const auto telemetry = samples(40);
  std::uint64_t now = 0;
  const auto tick = [&](const double* sample) -> const Decision& { return controller.tick(sample, now += kSecond); };
  for (std::size_t k = 0; k < 15; ++k) tick(telemetry.data() + k * kFeatures);
  for (int k = 0; k < 3; ++k) {
    const Decision& decision = tick(nullptr);
    CHECK(!decision.stalled);
    CHECK(decision.forecast.source == Source::model);  // samples are held
  }
  for (int k = 0; k < 4; ++k) {
    const Decision& decision = tick(nullptr);
    CHECK(decision.stalled);
    CHECK(decision.forecast.source == Source::none);
    CHECK(std::isnan(decision.forecast.mbps));
    CHECK_EQ(decision.action, -1);
    CHECK_EQ(decision.allocation_fraction, 0.75);  // whatever the hold time
  }
  CHECK_EQ(controller.counts().stalls, 1U);
  CHECK_EQ(controller.counts().missing, 7U);
  for (std::size_t k = 15; k < 25; ++k) {
    const Decision& decision = tick(telemetry.data() + k * kFeatures);
    CHECK(!decision.stalled);
    CHECK(decision.forecast.source == (k == 24 ? Source::model : Source::measured_mean));
  }
}

TEST(a_controller_that_was_not_called_for_long_starts_its_window_anew) {
  Controller controller(bundle(), "internet", link(50));
  const auto telemetry = samples(13);
  for (std::size_t k = 0; k < 12; ++k) controller.tick(telemetry.data() + k * kFeatures, k * kSecond);
  CHECK(controller.last().forecast.source == Source::model);
  controller.tick(telemetry.data() + 12 * kFeatures, 100 * kSecond);
  CHECK(controller.last().forecast.source == Source::measured_mean);
  CHECK(!controller.last().stalled);
  CHECK_EQ(controller.counts().stalls, 1U);
}

TEST(before_the_first_telemetry_the_allocation_is_the_safe_one) {
  auto options = link(50);
  options.safe_fraction = 0.4;
  Controller controller(bundle(), "internet", options);
  CHECK_EQ(controller.last().allocation_mbps, 20.0);
  const Decision& decision = controller.tick(static_cast<const double*>(nullptr), 0);
  CHECK_EQ(decision.allocation_fraction, 0.4);
  CHECK(!decision.stalled);
  CHECK(decision.forecast.source == Source::none);
  CHECK_EQ(controller.counts().stalls, 0U);
}

TEST(reset_goes_back_to_the_start) {
  auto options = link(50);
  options.hold_s = 1000;
  Controller controller(bundle(), "internet", options);
  const auto telemetry = samples(30);
  std::vector<double> first;
  for (const int round : {0, 1}) {
    for (std::size_t k = 0; k < 30; ++k) {
      const double mbps = controller.tick(telemetry.data() + k * kFeatures, k * kSecond).allocation_mbps;
      if (round == 0) first.push_back(mbps);
      CHECK_EQ(mbps, first[k]);
    }
    controller.reset();
    CHECK_EQ(controller.last().allocation_fraction, options.safe_fraction);
  }
}

TEST(what_makes_no_sense_is_refused) {
  CHECK_THROWS(Controller(bundle(), "internet", {}), "capacity_mbps: expected a number above 0, got 0");
  CHECK_THROWS(Controller(bundle(), "moon", link(50)), "internet");
  auto options = link(50);
  options.least_fraction = 0.9;
  options.most_fraction = 0.8;
  CHECK_THROWS(Controller(bundle(), "internet", options), "most_fraction");
  options = link(50);
  options.slew_per_s = -1;
  CHECK_THROWS(Controller(bundle(), "internet", options), "slew_per_s");
  Controller controller(bundle(), "internet", link(50));
  const auto telemetry = samples(1);
  controller.tick(telemetry.data(), kSecond);
  CHECK_THROWS(controller.tick(telemetry.data(), 0), "does not go back");
  const double bad[kFeatures] = {std::nan(""), 1, 0, 1};
  CHECK_THROWS(controller.tick(bad, 2 * kSecond), "got nan for latency_ms");
  CHECK_EQ(controller.counts().ticks, 1U);
}

namespace {

/// The allocator alone, with the defaults for trouble.
Controller::Options watched_link(double capacity_mbps) {
  auto options = link(capacity_mbps);
  options.headroom = 0;
  options.queue_ms = Controller::Options{}.queue_ms;
  return options;
}

const Decision& tick(Controller& controller, double latency_ms, double mbps, std::uint64_t second) {
  const std::array<double, 4> sample{latency_ms, mbps, 0, 1};
  return controller.tick(sample.data(), second * kSecond);
}

}  // namespace

TEST(on_a_congested_link_each_tick_adds_a_step_until_the_queue_is_drained) {
  Controller controller(bundle(), "internet", watched_link(50));
  std::uint64_t second = 0;
  for (; second < 20; ++second) tick(controller, 40, 10, second);
  double before = controller.last().allocation_fraction;
  CHECK(before < 0.6);
  for (; second < 24; ++second) {
    const Decision& decision = tick(controller, 75, 50 * before, second);
    CHECK(decision.congested);
    CHECK(!decision.silent);
    CHECK_NEAR(decision.queue_ms, 35, 1e-9);
    CHECK_NEAR(decision.allocation_fraction, std::min(1.0, std::max(fraction_of(decision.action), before + 0.1)), 1e-9);
    before = decision.allocation_fraction;
  }
  const Decision& drained = tick(controller, 50, 10, second);
  CHECK(!drained.congested);
  CHECK_NEAR(drained.allocation_fraction, fraction_of(drained.action), 1e-12);
}

TEST(a_tick_without_telemetry_adds_no_step) {
  auto options = watched_link(50);
  options.congestion_step = 0.05;
  Controller controller(bundle(), "internet", options);
  std::uint64_t second = 0;
  for (; second < 20; ++second) tick(controller, 40, 10, second);
  const double before = tick(controller, 75, 50 * controller.last().allocation_fraction, second).allocation_fraction;
  const Decision& missing = controller.tick(static_cast<const double*>(nullptr), ++second * kSecond);
  CHECK(missing.congested);
  CHECK(missing.allocation_fraction <= before + 1e-12);
}

TEST(a_silent_link_is_cut_by_a_bound_for_each_stall_time_and_no_faster) {
  auto options = watched_link(50);
  options.least_fraction = 0;
  options.stall_s = 4;
  options.stall_cut = 0.1;
  Controller controller(bundle(), "internet", options);
  std::uint64_t second = 0;
  for (; second < 20; ++second) tick(controller, 40, 30, second);
  const double before = controller.last().allocation_fraction;
  bool bound = false;
  for (std::uint64_t silent = 0; silent < 14; ++silent) {
    const Decision& decision = tick(controller, 900, 0, second + silent);
    CHECK(decision.silent);
    CHECK(!decision.congested);
    CHECK(!decision.stalled);
    const double least = before - 0.1 * static_cast<double>(1 + silent / 4);
    CHECK_NEAR(decision.allocation_fraction, std::max(fraction_of(decision.action), least), 1e-9);
    bound |= least > fraction_of(decision.action);
  }
  CHECK(bound);
  CHECK(!tick(controller, 41, 30, second + 14).silent);
}

TEST(telemetry_that_stops_takes_no_more_than_the_bound_on_the_way_to_the_safe_allocation) {
  auto options = watched_link(50);
  options.safe_fraction = 0.1;
  options.stall_s = 2;
  Controller controller(bundle(), "internet", options);
  std::uint64_t second = 0;
  for (; second < 20; ++second) tick(controller, 40, 30, second);
  double before = 0;
  for (int missing = 0; missing < 2; ++missing)
    before = controller.tick(static_cast<const double*>(nullptr), second++ * kSecond).allocation_fraction;
  CHECK(before > 0.5);
  for (std::uint64_t stalled = 0; stalled < 10; ++stalled) {
    const Decision& decision = controller.tick(static_cast<const double*>(nullptr), second++ * kSecond);
    CHECK(decision.stalled);
    const double least = before - 0.2 * static_cast<double>(1 + stalled / 2);
    CHECK_NEAR(decision.allocation_fraction, std::max(0.1, least), 1e-9);
  }
  CHECK_EQ(controller.last().allocation_fraction, 0.1);
}

TEST(trouble_never_lowers_an_allocation_and_a_full_link_keeps_all) {
  auto plain = watched_link(50);
  plain.queue_ms = 0;
  Controller with(bundle(), "internet", watched_link(50));
  Controller without(bundle(), "internet", plain);
  std::mt19937_64 random(8);
  std::uniform_real_distribution<double> latency(20, 200), mbps(0, 55);
  int raised = 0;
  for (std::uint64_t second = 0; second < 500; ++second) {
    const double latency_ms = second % 20 < 10 ? 20 : latency(random);
    const double carried = mbps(random);
    const double more = tick(with, latency_ms, carried, second).allocation_fraction;
    const double plainly = tick(without, latency_ms, carried, second).allocation_fraction;
    CHECK(more >= plainly - 1e-12);
    raised += more > plainly + 1e-12;
  }
  CHECK(raised > 10);
}

TEST(in_trouble_more_bandwidth_never_means_a_smaller_allocation) {
  auto plain = watched_link(50);
  plain.queue_ms = 0;
  std::mt19937_64 random(9);
  std::uniform_real_distribution<double> latency(20, 250), mbps(0, 50);
  int compared = 0;
  for (int history = 0; history < 40; ++history) {
    std::vector<std::array<double, 2>> samples;
    for (int second = 0; second < 15; ++second)
      samples.push_back({second < 12 ? 20 + latency(random) / 50 : latency(random), mbps(random)});
    const double last_ms = latency(random);
    double before = 0, plain_before = 0;
    bool rises = true, watched_rises = true, troubled = false;
    for (double carried = 0; carried <= 55; carried += 2.5) {
      Controller with(bundle(), "internet", watched_link(50));
      Controller without(bundle(), "internet", plain);
      for (std::uint64_t second = 0; second < samples.size(); ++second) {
        tick(with, samples[second][0], samples[second][1], second);
        tick(without, samples[second][0], samples[second][1], second);
      }
      const Decision& decision = tick(with, last_ms, carried, samples.size());
      const double plainly = tick(without, last_ms, carried, samples.size()).allocation_fraction;
      troubled |= decision.congested || decision.silent;
      rises &= plainly >= plain_before - 1e-12;
      watched_rises &= decision.allocation_fraction >= before - 1e-12;
      before = decision.allocation_fraction;
      plain_before = plainly;
    }
    if (!rises || !troubled) continue;  // the network itself, without a say of trouble
    CHECK(watched_rises);
    ++compared;
  }
  CHECK(compared >= 10);
}

namespace {

bool same_decision(const Decision& a, const Decision& b) {
  const auto same = [](auto x, auto y) { return x == y || (std::isnan(x) && std::isnan(y)); };
  return a.allocation_mbps == b.allocation_mbps && a.allocation_fraction == b.allocation_fraction &&
         same(a.forecast.mbps, b.forecast.mbps) && same(a.forecast.p10, b.forecast.p10) &&
         same(a.forecast.p90, b.forecast.p90) && same(a.forecast.reserve, b.forecast.reserve) &&
         a.forecast.source == b.forecast.source && a.forecast.cause == b.forecast.cause && a.action == b.action &&
         a.clamped == b.clamped && a.slewed == b.slewed && a.holding == b.holding && a.stalled == b.stalled &&
         a.congested == b.congested && a.silent == b.silent && a.queue_ms == b.queue_ms;
}

/// Every limit is at work, and the latency is looked at.
Controller::Options limited() {
  Controller::Options options;
  options.capacity_mbps = 45;
  options.hold_s = 3;
  options.slew_per_s = 0.07;
  options.queue_ms = 20;
  return options;
}

}  // namespace

TEST(a_restored_controller_decides_the_same_bit_for_bit_wherever_it_was_taken) {
  constexpr std::size_t kTicks = 90;
  const auto telemetry = samples(kTicks);
  // Some ticks are missing, from 50 to 56 for long enough to be a stall.
  const auto sample_of = [&](std::size_t k) {
    return (k >= 50 && k < 57) || k % 23 == 5 ? nullptr : telemetry.data() + k * kFeatures;
  };
  for (const std::size_t at : {0UL, 5UL, 10UL, 29UL, 52UL, 58UL}) {
    Controller controller(bundle(), "internet", limited());
    Controller restored(bundle(), "internet", limited());
    for (std::size_t k = 0; k < at; ++k) {
      controller.tick(sample_of(k), k * kSecond);
      if (k + 1 < at || at % 2 == 0) controller.advance();  // a snapshot may be taken before it, too
    }
    restored.tick(telemetry.data(), 7 * kSecond);  // what it was before is gone
    const auto bytes = controller.snapshot();
    CHECK_EQ(bytes.size(), controller.snapshot_size());
    restored.restore(bytes.data(), bytes.size());
    CHECK_EQ(restored.last().allocation_mbps, controller.last().allocation_mbps);
    for (std::size_t k = at; k < kTicks; ++k) {
      const Decision expected = controller.tick(sample_of(k), k * kSecond);
      CHECK(same_decision(restored.tick(sample_of(k), k * kSecond), expected));
    }
    CHECK_EQ(restored.counts().changes, controller.counts().changes);
    CHECK_EQ(restored.counts().stalls, controller.counts().stalls);
  }
}

TEST(a_damaged_snapshot_of_a_controller_is_refused_and_changes_nothing) {
  const auto telemetry = samples(60);
  Controller controller(bundle(), "internet", limited());
  Controller reference(bundle(), "internet", limited());
  for (std::size_t k = 0; k < 30; ++k) {
    controller.tick(telemetry.data() + k * kFeatures, k * kSecond);
    reference.tick(telemetry.data() + k * kFeatures, k * kSecond);
  }
  const auto bytes = controller.snapshot();
  const auto refused = [&](std::vector<std::byte> damaged, const char* why) {
    CHECK_THROWS(controller.restore(damaged.data(), damaged.size()), why);
  };
  refused({bytes.begin(), bytes.begin() + 20}, "bytes, got 20");
  refused({bytes.begin(), bytes.end() - 1}, "bytes, got");
  for (std::size_t at = 0; at < bytes.size(); at += 97) {
    auto damaged = bytes;
    damaged[at] ^= std::byte{0x10};
    refused(damaged, "snapshot: ");
  }
  auto other_risk = limited();
  other_risk.risk = 0.2;
  Controller another(bundle(), "internet", other_risk);
  CHECK_THROWS(another.restore(bytes.data(), bytes.size()), "expected a level of");
  Controller datacenter(bundle(), "datacenter", limited());
  CHECK_THROWS(datacenter.restore(bytes.data(), bytes.size()), "another model file");
  datacenter.restore(bytes.data(), bytes.size(), false);
  for (std::size_t k = 30; k < 60; ++k) {
    const Decision expected = reference.tick(telemetry.data() + k * kFeatures, k * kSecond);
    CHECK(same_decision(controller.tick(telemetry.data() + k * kFeatures, k * kSecond), expected));
  }
}
