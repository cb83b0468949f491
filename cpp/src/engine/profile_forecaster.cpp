#include "engine/profile_forecaster.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <stdexcept>
#include <string>

namespace linkcast {
namespace {

constexpr std::int64_t kHourSeconds = 3'600;
constexpr std::int64_t kDaySeconds = 86'400;
constexpr std::int64_t kWeekSeconds = 7 * kDaySeconds;
constexpr std::int64_t kEpochWeekday = 3;  // 1970-01-01 was a Thursday; Monday is 0
constexpr std::size_t kCalendarMinutes = 24 * 60;
constexpr std::size_t kBandwidth = 1;  // its column in a profile
constexpr std::size_t kPart = 512;     // windows built at a time: they stay in the cache, and memory is bounded

/// Hour and weekday as points on a circle. The hour counts minutes, so a day has 1,440 of them.
struct Calendar {
  std::array<std::array<double, 2>, kCalendarMinutes> hour;  // (minute of the day, {sine, cosine})
  std::array<std::array<double, 2>, 7> weekday;              // (weekday, {sine, cosine})

  Calendar() {
    for (std::size_t minute = 0; minute < kCalendarMinutes; ++minute) {
      const double angle = 2.0 * std::numbers::pi * (static_cast<double>(minute) / 60.0) / 24.0;
      hour[minute] = {std::sin(angle), std::cos(angle)};
    }
    for (std::size_t day = 0; day < 7; ++day) {
      const double angle = 2.0 * std::numbers::pi * static_cast<double>(day) / 7.0;
      weekday[day] = {std::sin(angle), std::cos(angle)};
    }
  }
};

const Calendar& calendar() {
  static const Calendar table;
  return table;
}

/// Seconds since Monday 0:00, for times before 1970 too.
std::int64_t second_of_week(std::int64_t seconds) noexcept {
  const std::int64_t rest = (seconds % kWeekSeconds + kEpochWeekday * kDaySeconds) % kWeekSeconds;
  return rest < 0 ? rest + kWeekSeconds : rest;
}

}  // namespace

ProfileForecaster::ProfileForecaster(Engine& engine, std::size_t model, std::vector<double> profile,
                                     std::vector<std::size_t> columns, double bandwidth_factor, double most_mbps)
    : engine_(engine),
      model_(model),
      steps_(engine.spec(model).steps()),
      step_s_(static_cast<std::int64_t>(std::fmod(std::trunc(engine.spec(model).step_s), kWeekSeconds))),
      profile_(std::move(profile)),
      columns_(std::move(columns)),
      bandwidth_factor_(bandwidth_factor),
      most_mbps_(most_mbps) {
  const ModelSpec& spec = engine.spec(model);
  if (!spec.target) throw std::invalid_argument("model: expected a forecaster, got " + spec.name);
  if (profile_.size() != kHoursPerWeek * kProfileTelemetry)
    throw std::invalid_argument("profile: expected (168, 4) values, got " + std::to_string(profile_.size()));
  if (columns_.size() != spec.features.size())
    throw std::invalid_argument("columns: expected one for each of " + std::to_string(spec.features.size()) +
                                " features, got " + std::to_string(columns_.size()));
  for (const std::size_t column : columns_)
    if (column >= kProfileFeatures)
      throw std::invalid_argument("columns: expected 0 to 7, got " + std::to_string(column));
  static_cast<void>(calendar());  // not at the first forecast
  windows_.resize(window_size());
}

void ProfileForecaster::build(const std::int64_t* seconds, std::size_t count, double in_use_mbps,
                              double* windows) const noexcept {
  const Calendar& table = calendar();
  std::array<double, kProfileFeatures> features;
  for (std::size_t row = 0; row < count; ++row) {
    const std::int64_t now = seconds[row] % kWeekSeconds;
    double factor = bandwidth_factor_;
    if (!std::isnan(in_use_mbps)) {
      const auto newest = static_cast<std::size_t>(second_of_week(now - step_s_) / kHourSeconds);
      const double typical = profile_[newest * kProfileTelemetry + kBandwidth];
      factor *= in_use_mbps / std::max(typical, kLeastTypicalMbps);
    }
    for (std::size_t step = 0; step < steps_; ++step) {
      const std::int64_t time = second_of_week(now - static_cast<std::int64_t>(steps_ - step) * step_s_);
      const double* typical = profile_.data() + static_cast<std::size_t>(time / kHourSeconds) * kProfileTelemetry;
      std::copy_n(typical, kProfileTelemetry, features.begin());
      features[kBandwidth] = std::min(typical[kBandwidth] * factor, most_mbps_);
      const auto& hour = table.hour[static_cast<std::size_t>(time % kDaySeconds / 60)];
      const auto& weekday = table.weekday[static_cast<std::size_t>(time / kDaySeconds)];
      std::copy(hour.begin(), hour.end(), features.begin() + kProfileTelemetry);
      std::copy(weekday.begin(), weekday.end(), features.begin() + kProfileTelemetry + 2);
      for (const std::size_t column : columns_) *windows++ = features[column];
    }
  }
}

void ProfileForecaster::forecast_raw(const std::int64_t* seconds, std::size_t count, double in_use_mbps, float* mbps) {
  const std::size_t part = std::min(count, kPart);
  if (windows_.size() < part * window_size()) windows_.resize(part * window_size());
  for (std::size_t row = 0; row < count; row += part) {
    const std::size_t rows = std::min(part, count - row);
    build(seconds + row, rows, in_use_mbps, windows_.data());
    engine_.forecast_raw(model_, windows_.data(), rows, mbps + row);
  }
}

}  // namespace linkcast
