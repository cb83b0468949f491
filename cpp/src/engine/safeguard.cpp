#include "engine/safeguard.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>
#include <string>

#include "base/finite.h"
#include "base/text.h"

namespace linkcast {
namespace {

constexpr std::array<const char*, 4> kCalendar = {"hour_sin", "hour_cos", "weekday_sin", "weekday_cos"};
constexpr long kMinutesOfDay = 24 * 60;

void check(const Safeguard::Options& options) {
  if (!(options.plausible_margin >= 0))
    throw std::invalid_argument("plausible_margin: expected 0 or more, got " + text_of(options.plausible_margin));
  if (!(options.stand_in_weight > 0 && options.stand_in_weight <= 1))
    throw std::invalid_argument("stand_in_weight: expected above 0 and at most 1, got " +
                                text_of(options.stand_in_weight));
  if (!(options.measured_weight >= 0 && options.measured_weight <= 1))
    throw std::invalid_argument("measured_weight: expected 0..1, got " + text_of(options.measured_weight));
}

/// Position on a circle of `parts` of the angle with this sine and cosine, rounded to a whole one.
long position(double sine, double cosine, long parts) {
  const double turns = std::atan2(sine, cosine) / (2 * std::numbers::pi);
  return (std::lround(turns * static_cast<double>(parts)) + parts) % parts;
}

/// The calendar features `step_s` seconds after the given ones: the time that a window which ends there forecasts.
std::array<double, 4> next_calendar(const std::array<double, 4>& now, double step_s) {
  const long step_min = std::lround(step_s / 60);  // the calendar counts minutes
  const long minute = position(now[0], now[1], kMinutesOfDay) + step_min;
  const long weekday = (position(now[2], now[3], 7) + minute / kMinutesOfDay) % 7;
  const double hour_angle = 2 * std::numbers::pi * static_cast<double>(minute % kMinutesOfDay) / kMinutesOfDay;
  const double weekday_angle = 2 * std::numbers::pi * static_cast<double>(weekday) / 7;
  return {std::sin(hour_angle), std::cos(hour_angle), std::sin(weekday_angle), std::cos(weekday_angle)};
}

}  // namespace

Safeguard::Safeguard(Engine& engine, std::size_t forecaster, std::size_t rows, const Options& options)
    : engine_(engine), options_(options) {
  check(options);
  const ModelSpec& spec = engine.spec(forecaster);
  if (!spec.target) throw std::invalid_argument("model: expected a forecaster, got " + spec.name);
  if (spec.target_range) {
    const auto [least, most] = *spec.target_range;
    const double margin = options.plausible_margin * (most - least);
    least_mbps_ = least - margin;
    most_mbps_ = most + margin;
    for (const ServiceGroup& group : engine.metadata().groups)
      if (group.model == spec.name) most_mbps_ = std::max(most_mbps_, group.max_bandwidth_mbps + margin);
  }
  step_s_ = spec.step_s;
  if (!find_fallback(forecaster)) fallback_.reset();
  reserve(rows);
}

/// Whether the forecaster serves a group whose fallback model can be given its features from the window.
bool Safeguard::find_fallback(std::size_t forecaster) {
  const ModelSpec& spec = engine_.spec(forecaster);
  const auto& groups = engine_.metadata().groups;
  const auto group = std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return g.model == spec.name; });
  if (group == groups.end()) return false;
  fallback_ = engine_.find(group->fallback);
  for (std::size_t c = 0; c < kCalendar.size(); ++c) {
    const auto column = std::find_if(spec.features.begin(), spec.features.end(),
                                     [&](const Feature& feature) { return feature.name == kCalendar[c]; });
    if (column == spec.features.end()) return false;
    columns_[c] = static_cast<std::size_t>(column - spec.features.begin());
  }
  for (const Feature& feature : engine_.spec(*fallback_).features) {
    const auto wanted = std::find(kCalendar.begin(), kCalendar.end(), feature.name);
    if (wanted == kCalendar.end()) return false;
    calendar_.push_back(static_cast<std::size_t>(wanted - kCalendar.begin()));
  }
  fallback_features_.resize(calendar_.size());
  return engine_.model(*fallback_).own_batch() == 1;
}

void Safeguard::reserve(std::size_t rows) {
  if (rows <= last_.size()) return;
  last_.resize(rows, kUnknown);
  mean_.resize(rows, kUnknown);
  measured_.resize(rows, kUnknown);
}

void Safeguard::forget(std::size_t row) noexcept {
  last_[row] = mean_[row] = kUnknown;
  measured_[row] = kUnknown;
}

void Safeguard::observe(std::size_t row, double mbps) noexcept {
  if (options_.measured_weight == 0) return;
  double& mean = measured_[row];
  mean = std::isnan(mean) ? mbps : mean + options_.measured_weight * (mbps - mean);
}

Cause Safeguard::judge(float mbps) const noexcept {
  if (!std::isfinite(mbps)) return Cause::not_finite;
  const auto value = static_cast<double>(mbps);
  return value < least_mbps_ || value > most_mbps_ ? Cause::implausible : Cause::none;
}

void Safeguard::keep(std::size_t row, float mbps) noexcept {
  last_[row] = mbps;
  const auto weight = static_cast<float>(options_.stand_in_weight);
  mean_[row] = std::isnan(mean_[row]) ? mbps : mean_[row] + weight * (mbps - mean_[row]);
}

template <class Real>
Source Safeguard::rescue(std::size_t row, const Real* last_step, float* mbps) noexcept {
  if (fallback_ && last_step) {
    std::array<double, 4> calendar{};
    for (std::size_t c = 0; c < calendar.size(); ++c) calendar[c] = static_cast<double>(last_step[columns_[c]]);
    calendar = next_calendar(calendar, step_s_);
    for (std::size_t f = 0; f < calendar_.size(); ++f) fallback_features_[f] = calendar[calendar_[f]];
    try {
      engine_.forecast_raw(*fallback_, fallback_features_.data(), 1, mbps);
      if (judge(*mbps) == Cause::none) return Source::fallback;
    } catch (const std::exception&) {  // it can't be run: the next one answers
    }
  }
  const bool is_last = options_.stand_in == StandIn::last;
  *mbps = is_last ? last_[row] : mean_[row];
  if (std::isnan(*mbps)) return Source::none;
  return is_last ? Source::last : Source::forecast_mean;
}

template Source Safeguard::rescue(std::size_t, const float*, float*) noexcept;
template Source Safeguard::rescue(std::size_t, const double*, float*) noexcept;

}  // namespace linkcast
