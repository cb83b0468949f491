// Expected states by hand, from latency less the least latency, and RFC 6298's mean and deviation.
#include "engine/congestion.h"

#include <cmath>
#include <random>

#include "check.h"

using namespace linkcast;

namespace {

constexpr double kAllocation = 50;  // Mbit/s
constexpr double kFull = 49;
constexpr double kQuarter = 12;

/// A detector that has seen `seconds` of a latency of 40 ms, a sample each second from 0 on.
CongestionDetector settled(int seconds, double bandwidth_mbps = kQuarter) {
  CongestionDetector detector({30, 0.9});
  for (int s = 0; s < seconds; ++s) CHECK(detector.observe(40, bandwidth_mbps, kAllocation, s) == LinkState::clear);
  return detector;
}

}  // namespace

TEST(a_queue_on_a_full_link_is_congestion_until_it_has_halved) {
  auto detector = settled(20, kFull);
  CHECK(detector.observe(60, kFull, kAllocation, 20) == LinkState::clear);  // 20 ms of queue
  CHECK(detector.observe(70, kFull, kAllocation, 21) == LinkState::clear);  // 30 ms is not above 30 ms
  CHECK(detector.observe(71, kFull, kAllocation, 22) == LinkState::congested);
  CHECK_NEAR(detector.queue_ms(), 31, 1e-12);
  CHECK(detector.observe(56, kFull, kAllocation, 23) == LinkState::congested);
  CHECK(detector.observe(55, kFull, kAllocation, 24) == LinkState::clear);
}

TEST(a_full_link_starts_at_its_share_of_the_allocation) {
  auto detector = settled(20);
  CHECK(detector.observe(80, 45, kAllocation, 20) == LinkState::congested);
  detector = settled(20);
  CHECK(detector.observe(80, 44.9, kAllocation, 20) == LinkState::stalled);
}

TEST(a_jump_of_the_latency_without_a_queue_before_is_a_stall_until_it_is_usual_again) {
  auto detector = settled(20);
  CHECK(detector.observe(400, 0, kAllocation, 20) == LinkState::stalled);
  CHECK(!detector.full());
  CHECK(detector.observe(900, 0, kAllocation, 21) == LinkState::stalled);
  CHECK(detector.observe(41, kQuarter, kAllocation, 22) == LinkState::clear);
}

TEST(a_link_that_goes_silent_with_a_queue_on_it_stays_congested_for_four_samples) {
  auto detector = settled(20, kFull);
  CHECK(detector.observe(60, kFull, kAllocation, 20) == LinkState::clear);  // more than half a queue, on a full link
  CHECK(detector.observe(400, 0, kAllocation, 21) == LinkState::congested);
  for (int s = 22; s < 25; ++s) CHECK(detector.observe(400, 0, kAllocation, s) == LinkState::congested);
  CHECK(detector.observe(400, 0, kAllocation, 25) != LinkState::congested);
}

TEST(the_backlog_that_a_stall_leaves_is_congestion) {
  auto detector = settled(20);
  CHECK(detector.observe(400, 0, kAllocation, 20) == LinkState::stalled);
  CHECK(detector.observe(300, kFull, kAllocation, 21) == LinkState::congested);
  CHECK(detector.observe(45, kFull, kAllocation, 22) == LinkState::clear);
}

TEST(an_idle_link_is_in_no_trouble) {
  auto detector = settled(20);
  for (int s = 20; s < 40; ++s) CHECK(detector.observe(40, 0, kAllocation, s) == LinkState::clear);
}

TEST(latency_that_always_varies_is_rarely_a_stall) {
  CongestionDetector detector({30, 0.9});
  std::mt19937_64 random(3);
  std::uniform_real_distribution<double> latency(20, 120);
  int stalled = 0;
  for (int s = 0; s < 2000; ++s)
    stalled += detector.observe(latency(random), kQuarter, kAllocation, s) == LinkState::stalled;
  CHECK(stalled < 20);
}

TEST(the_base_delay_is_forgotten_after_ten_minutes) {
  auto detector = settled(20);
  CHECK_EQ(detector.base_ms(), 40.0);
  for (int s = 20; s < 600; ++s) {
    detector.observe(60, kQuarter, kAllocation, s);
    CHECK_EQ(detector.base_ms(), 40.0);
  }
  detector.observe(60, kQuarter, kAllocation, 600);
  CHECK_EQ(detector.base_ms(), 60.0);
  detector.observe(90, kQuarter, kAllocation, 10000);  // hours later
  CHECK_EQ(detector.base_ms(), 90.0);
}

TEST(minutes_without_a_sample_count) {
  auto detector = settled(20);
  detector.observe(60, kQuarter, kAllocation, 200);  // its fourth minute
  CHECK_EQ(detector.base_ms(), 40.0);
  detector.observe(70, kQuarter, kAllocation, 590);  // the tenth
  CHECK_EQ(detector.base_ms(), 40.0);
  detector.observe(70, kQuarter, kAllocation, 610);
  CHECK_EQ(detector.base_ms(), 60.0);
}

TEST(a_stall_of_more_than_a_minute_is_the_path_as_it_is_now) {
  auto detector = settled(20);
  for (int s = 20; s <= 80; ++s) CHECK(detector.observe(150, kQuarter, kAllocation, s) == LinkState::stalled);
  CHECK(detector.observe(150, kQuarter, kAllocation, 81) == LinkState::clear);
  CHECK_EQ(detector.base_ms(), 150.0);
}

TEST(after_telemetry_was_lost_a_high_latency_is_no_jump_and_the_base_delay_is_known) {
  auto detector = settled(20);
  CHECK(detector.observe(400, 0, kAllocation, 20) == LinkState::stalled);
  detector.lost();
  CHECK(detector.state() == LinkState::clear);
  CHECK(detector.observe(200, kQuarter, kAllocation, 60) == LinkState::clear);
  CHECK_EQ(detector.base_ms(), 40.0);
  detector.reset();
  CHECK(std::isinf(detector.base_ms()));
}

TEST(numbers_that_no_detector_has_are_refused_and_change_nothing) {
  CongestionDetector detector({});
  for (int k = 0; k < 90; ++k) detector.observe(20 + k % 7, 10, 50, k);
  const auto numbers = detector.snapshot();
  const auto refused = [&](std::size_t at, double value, double now_s = 90) {
    auto changed = numbers;
    changed[at] = value;
    CHECK(!detector.restore(changed, now_s));
    CHECK(detector.snapshot() == numbers);
  };
  refused(0, 11);   // minutes
  refused(0, 1.5);  // minutes
  refused(1, 91);   // the newest began in the future
  refused(2, std::nan(""));
  refused(7, 2);   // a flag
  refused(10, 3);  // a state
  refused(12, std::nan(""));
  CongestionDetector other({});
  CHECK(other.restore(numbers, 90));
  for (int k = 90; k < 200; ++k) {
    CHECK(other.observe(20 + k % 9 * 9, 45, 50, k) == detector.observe(20 + k % 9 * 9, 45, 50, k));
    CHECK_EQ(other.queue_ms(), detector.queue_ms());
  }
}
