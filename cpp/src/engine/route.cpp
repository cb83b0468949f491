#include "engine/route.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace linkcast {
namespace {

double seconds(std::uint64_t from_ns, std::uint64_t to_ns) { return static_cast<double>(to_ns - from_ns) * 1e-9; }

void require(double value, const char* option) {
  if (value >= 0 && std::isfinite(value)) return;
  throw std::invalid_argument(std::string(option) + ": expected 0 or more, got " + std::to_string(value));
}

}  // namespace

RouteChooser::RouteChooser(std::size_t paths, const Options& options) : options_(options) {
  if (paths == 0 || paths > kMostPaths)
    throw std::invalid_argument("paths: expected 1 to " + std::to_string(kMostPaths) + ", got " +
                                std::to_string(paths));
  require(options.margin, "margin");
  require(options.stay_s, "stay_s");
  require(options.gone_s, "gone_s");
  values_.resize(paths, std::numeric_limits<double>::quiet_NaN());
  answered_ns_.resize(paths);
}

template <class Real>
const RouteChoice& RouteChooser::choose(const Real* p10_mbps, std::size_t steps, std::uint64_t now_ns) {
  if (now_ns < tick_ns_)
    throw std::invalid_argument("now_ns: expected a clock that does not go back, got " + std::to_string(now_ns) +
                                " after " + std::to_string(tick_ns_));
  tick_ns_ = now_ns;
  take(p10_mbps, steps, now_ns);
  const std::int32_t before = choice_.path;
  const std::int32_t leader = best(now_ns);
  std::int32_t next = leader;
  choice_.staying = false;
  if (before >= 0 && !is_gone(static_cast<std::size_t>(before), now_ns)) {
    const double present = values_[static_cast<std::size_t>(before)];
    const double offered = values_[static_cast<std::size_t>(leader)];
    const bool better = offered > present && (present <= 0 || offered > (1 + options_.margin) * present);
    choice_.staying = better && present > 0 && seconds(changed_ns_, now_ns) < options_.stay_s;
    if (!better || choice_.staying) next = before;
  }
  choice_.changed = next != before;
  if (choice_.changed) changed_ns_ = now_ns;
  choice_.path = next;
  choice_.mbps = next < 0 ? 0 : values_[static_cast<std::size_t>(next)];
  return choice_;
}

template const RouteChoice& RouteChooser::choose(const float*, std::size_t, std::uint64_t);
template const RouteChoice& RouteChooser::choose(const double*, std::size_t, std::uint64_t);

/// The value of each path that has one now.
template <class Real>
void RouteChooser::take(const Real* p10_mbps, std::size_t steps, std::uint64_t now_ns) noexcept {
  for (std::size_t path = 0; path < values_.size(); ++path) {
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t step = 0; step < steps; ++step) {
      const auto p10 = static_cast<double>(p10_mbps[path * steps + step]);
      if (std::isfinite(p10)) least = std::min(least, p10);
    }
    if (!std::isfinite(least)) continue;
    values_[path] = least;
    answered_ns_[path] = now_ns;
  }
}

/// The path with the largest value, the first of several; -1: all are gone.
std::int32_t RouteChooser::best(std::uint64_t now_ns) const noexcept {
  std::int32_t best = -1;
  for (std::size_t path = 0; path < values_.size(); ++path) {
    if (is_gone(path, now_ns)) continue;
    if (best < 0 || values_[path] > values_[static_cast<std::size_t>(best)]) best = static_cast<std::int32_t>(path);
  }
  return best;
}

bool RouteChooser::is_gone(std::size_t path, std::uint64_t now_ns) const noexcept {
  return std::isnan(values_[path]) || seconds(answered_ns_[path], now_ns) > options_.gone_s;
}

}  // namespace linkcast
