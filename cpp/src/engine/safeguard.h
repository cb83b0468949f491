// Some answer, always: judges what a forecaster gave, and answers in its place where it can't be used.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "engine/answer.h"
#include "engine/engine.h"

namespace linkcast {

/// Guards the rows of one forecaster; row r is the same link or group from call to call. When the model has no usable
/// answer for a row, these are asked in turn: the service group's fallback model (given the calendar of the step after
/// the window), then what the row's earlier forecasts say, then nobody. What was measured can be asked instead of the
/// last two, and before there is a window: measured().
///
/// Not thread-safe; it uses the engine's fallback model.
class Safeguard {
 public:
  /// What a row's earlier forecasts say: the last good one, or their moving average.
  enum class StandIn : std::uint8_t { last, forecast_mean };

  struct Options {
    /// A forecast is plausible from the lowest to the highest target that training has seen (trained_on.target_range in
    /// manifest.json), or to the service group's maximum in service_group_stats.json where that is larger; widened at
    /// either end by this share of that range. Without target_range every finite forecast is plausible.
    double plausible_margin = 0.5;
    StandIn stand_in = StandIn::last;  ///< what answers where neither the model nor a fallback can
    double stand_in_weight = 0.3;      ///< of the newest forecast in their average, above 0 and at most 1
    double measured_weight = 0;        ///< of the newest measurement in their average, 0..1; 0: it is not kept
  };

  /// @throws std::invalid_argument  an option out of range
  Safeguard(Engine& engine, std::size_t forecaster, std::size_t rows, const Options& options);

  /// What is wrong with a forecast; Cause::none when it can be used. @param mbps  physical units
  Cause judge(float mbps) const noexcept;

  /// Remembers a forecast that was used.
  void keep(std::size_t row, float mbps) noexcept;

  /// An answer without the model.
  /// @param last_step  (features) of the window's newest step, physical units; null: there is none, so no fallback
  /// @param mbps       the answer; NaN with Source::none
  template <class Real>
  Source rescue(std::size_t row, const Real* last_step, float* mbps) noexcept;

  /// Takes in what the row's target was measured to be.
  void observe(std::size_t row, double mbps) noexcept;
  /// The moving average of what was measured; NaN without any.
  double measured(std::size_t row) const noexcept { return measured_[row]; }
  void remember_measured(std::size_t row, double mbps) noexcept { measured_[row] = mbps; }

  std::size_t rows() const noexcept { return last_.size(); }
  /// Grows to `rows`; earlier rows keep what they know.
  void reserve(std::size_t rows);
  /// Forgets the earlier forecasts and measurements of a row.
  void forget(std::size_t row) noexcept;

  /// What a row's earlier forecasts say; NaN without any.
  struct Earlier {
    float last, mean;
  };
  Earlier earlier(std::size_t row) const noexcept { return {last_[row], mean_[row]}; }
  /// The model that stands in; null without one.
  Model* fallback() const noexcept { return fallback_ ? &engine_.model(*fallback_) : nullptr; }

  void remember(std::size_t row, Earlier earlier) noexcept { last_[row] = earlier.last, mean_[row] = earlier.mean; }

 private:
  bool find_fallback(std::size_t forecaster);

  Engine& engine_;
  Options options_;
  double least_mbps_ = -std::numeric_limits<double>::infinity();
  double most_mbps_ = std::numeric_limits<double>::infinity();
  double step_s_ = 0;
  std::optional<std::size_t> fallback_;
  std::array<std::size_t, 4> columns_{};   // of hour_sin, hour_cos, weekday_sin, weekday_cos in the forecaster's input
  std::vector<std::size_t> calendar_;      // (fallback features) which of those four each one is
  std::vector<double> fallback_features_;  // (fallback features)
  std::vector<float> last_;                // (rows) NaN: none yet
  std::vector<float> mean_;                // (rows) NaN: none yet
  std::vector<double> measured_;           // (rows) NaN: none yet
};

}  // namespace linkcast
