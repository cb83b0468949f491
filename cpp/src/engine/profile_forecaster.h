// A service group's forecasts for times that have no telemetry: its windows come from an hour-of-week profile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/engine.h"

namespace linkcast {

inline constexpr std::size_t kHoursPerWeek = 168;
inline constexpr std::size_t kProfileTelemetry = 4;  // latency_ms, bandwidth_mbps, packet_loss, reliability
inline constexpr std::size_t kProfileFeatures = 8;   // those, then hour_sin, hour_cos, weekday_sin, weekday_cos
/// Of a typical bandwidth that another is measured by, Mbit/s.
inline constexpr double kLeastTypicalMbps = 1e-6;

/// Builds, scales and runs windows in one go. Not thread-safe, as its engine.
class ProfileForecaster {
 public:
  /// @param model             a forecaster of the engine, which has to outlive this
  /// @param profile           (168, 4) telemetry by hour of the week, Monday 0:00 first
  /// @param columns           (features of the model) which of the eight features each is
  /// @param bandwidth_factor  what the profile's bandwidths are multiplied with
  /// @param most_mbps         no bandwidth of a window is above it
  /// @throws std::invalid_argument  another shape, or a column that is not there
  ProfileForecaster(Engine& engine, std::size_t model, std::vector<double> profile, std::vector<std::size_t> columns,
                    double bandwidth_factor, double most_mbps);

  std::size_t model() const noexcept { return model_; }
  std::size_t window_size() const noexcept { return steps_ * columns_.size(); }

  /// The window before each time: every step has the profile's values at its hour of the week.
  /// @param seconds      (count) whole seconds of the wall clock since 1970
  /// @param in_use_mbps  what the newest step has, and the others in proportion; NaN: what is typical
  /// @param windows      (count, steps, features), physical units
  void build(const std::int64_t* seconds, std::size_t count, double in_use_mbps, double* windows) const noexcept;

  /// What the model gives for those windows, not judged and not counted, as Engine::forecast_raw.
  /// @param mbps  (count)  @throws as Engine::forecast_raw
  void forecast_raw(const std::int64_t* seconds, std::size_t count, double in_use_mbps, float* mbps);

 private:
  Engine& engine_;
  std::size_t model_;
  std::size_t steps_;
  std::int64_t step_s_;               // less whole weeks
  std::vector<double> profile_;       // (168, 4)
  std::vector<std::size_t> columns_;  // (features)
  double bandwidth_factor_;
  double most_mbps_;
  std::vector<double> windows_;  // (up to kPart, steps, features)
};

}  // namespace linkcast
