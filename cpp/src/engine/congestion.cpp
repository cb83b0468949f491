#include "engine/congestion.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace linkcast {
namespace {

constexpr double kMinute = 60;        // seconds
constexpr double kLongestStall = 60;  // seconds; a path that is slower for longer is another path
constexpr int kAfterFull = 4;         // samples for which congestion outlasts the full link
// RFC 6298, section 2: the gains of average and deviation, and how many deviations are too many.
constexpr double kMeanGain = 1.0 / 8;
constexpr double kDeviationGain = 1.0 / 4;
constexpr double kDeviations = 4;

}  // namespace

double CongestionDetector::base_ms() const noexcept {
  if (minutes_ == 0) return std::numeric_limits<double>::infinity();
  return *std::min_element(least_ms_.begin(), least_ms_.begin() + static_cast<std::ptrdiff_t>(minutes_));
}

void CongestionDetector::move_base(double latency_ms, double now_s) noexcept {
  const double passed = minutes_ == 0 ? 0 : std::floor((now_s - minute_s_) / kMinute);
  if (minutes_ == 0 || passed >= static_cast<double>(kMinutes)) {
    minutes_ = 1;
    minute_s_ = now_s;
    least_ms_[0] = latency_ms;
    return;
  }
  // A minute without a sample has no minimum.
  for (auto count = static_cast<std::size_t>(passed); count > 0; --count) {
    std::copy_backward(least_ms_.begin(), least_ms_.end() - 1, least_ms_.end());
    least_ms_[0] = std::numeric_limits<double>::infinity();
    minutes_ = std::min(minutes_ + 1, kMinutes);
  }
  minute_s_ += passed * kMinute;
  least_ms_[0] = std::min(least_ms_[0], latency_ms);
}

LinkState CongestionDetector::observe(double latency_ms, double bandwidth_mbps, double allocation_mbps,
                                      double now_s) noexcept {
  if (state_ == LinkState::stalled && now_s - stalled_since_s_ > kLongestStall) reset();
  move_base(latency_ms, now_s);
  queue_ms_ = latency_ms - base_ms();
  full_ = bandwidth_mbps >= options_.full * allocation_mbps;
  since_full_ = full_ ? 0 : std::min(since_full_ + 1, kAfterFull + 1);
  const LinkState before = state_;
  state_ = judge(latency_ms);
  if (state_ == LinkState::stalled) {
    if (before != LinkState::stalled) stalled_since_s_ = now_s;
  } else {
    learn_usual(latency_ms);  // of a stall, nothing is usual
  }
  queued_ = full_ && queue_ms_ > options_.queue_ms / 2;
  return state_;
}

LinkState CongestionDetector::judge(double latency_ms) const noexcept {
  const bool queue = queue_ms_ > options_.queue_ms;
  if (queue && (full_ || queued_)) return LinkState::congested;
  if (state_ == LinkState::congested && queue_ms_ > options_.queue_ms / 2 && since_full_ <= kAfterFull)
    return LinkState::congested;
  const bool unusual = usual_known_ && latency_ms > mean_ms_ + kDeviations * deviation_ms_;
  return queue && unusual ? LinkState::stalled : LinkState::clear;
}

void CongestionDetector::learn_usual(double latency_ms) noexcept {
  if (!usual_known_) {
    mean_ms_ = latency_ms;
    deviation_ms_ = latency_ms / 2;
    usual_known_ = true;
    return;
  }
  deviation_ms_ += kDeviationGain * (std::fabs(mean_ms_ - latency_ms) - deviation_ms_);
  mean_ms_ += kMeanGain * (latency_ms - mean_ms_);
}

void CongestionDetector::lost() noexcept {
  usual_known_ = queued_ = full_ = false;
  since_full_ = kAfterFull + 1;
  queue_ms_ = 0;
  state_ = LinkState::clear;
}

CongestionDetector::Numbers CongestionDetector::snapshot() const noexcept {
  Numbers numbers = {static_cast<double>(minutes_),
                     minute_s_,
                     mean_ms_,
                     deviation_ms_,
                     queue_ms_,
                     stalled_since_s_,
                     static_cast<double>(since_full_),
                     static_cast<double>(usual_known_),
                     static_cast<double>(full_),
                     static_cast<double>(queued_),
                     static_cast<double>(state_)};
  std::copy_n(least_ms_.begin(), kMinutes, numbers.end() - kMinutes);
  return numbers;
}

bool CongestionDetector::restore(const Numbers& numbers, double now_s) noexcept {
  std::array<double, kNumbers - kMinutes> head;
  std::copy_n(numbers.begin(), head.size(), head.begin());
  const auto [minutes, minute_s, mean, deviation, queue, since_s, since_full, usual, full, queued, state] = head;
  const auto whole = [](double value, double most) {
    return value >= 0 && value <= most && value == std::floor(value);
  };
  if (!std::all_of(head.begin(), head.end(), [](double value) { return std::isfinite(value); }) ||
      std::any_of(numbers.end() - kMinutes, numbers.end(), [](double value) { return std::isnan(value); }) ||
      !whole(minutes, kMinutes) || (minutes > 0 && minute_s > now_s) || !whole(since_full, kAfterFull + 1) ||
      !whole(usual, 1) || !whole(full, 1) || !whole(queued, 1) ||
      !whole(state, static_cast<double>(LinkState::congested)))
    return false;
  minutes_ = static_cast<std::size_t>(minutes);
  minute_s_ = minute_s;
  mean_ms_ = mean;
  deviation_ms_ = deviation;
  queue_ms_ = queue;
  stalled_since_s_ = since_s;
  since_full_ = static_cast<int>(since_full);
  usual_known_ = usual != 0;
  full_ = full != 0;
  queued_ = queued != 0;
  state_ = static_cast<LinkState>(static_cast<int>(state));
  std::copy_n(numbers.end() - kMinutes, kMinutes, least_ms_.begin());
  return true;
}

}  // namespace linkcast
