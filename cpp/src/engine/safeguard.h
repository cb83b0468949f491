// Some answer, always: judges what a forecaster gave, and answers in its place where it can't be used.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "engine/engine.h"
#include "engine/stats.h"

namespace linkcast {

/// Guards the rows of one forecaster; row r is the same link or group from call to call. When the model has no usable
/// answer for a row, these are asked in turn: the service group's fallback model (given the calendar of the step after
/// the window), then what the row's earlier forecasts say, then nobody.
///
/// Not thread-safe; it uses the engine's fallback model.
class Safeguard {
 public:
  enum class Held { last, ewma };

  struct Options {
    /// A forecast is plausible from the lowest to the highest target that training has seen (trained_on.target_range in
    /// manifest.json), or to the service group's maximum in service_group_stats.json where that is larger; widened at
    /// either end by this share of that range. Without target_range every finite forecast is plausible.
    double plausible_margin = 0.5;
    Held held = Held::last;    ///< what the row's earlier forecasts say: the last good one, or their moving average
    double ewma_weight = 0.3;  ///< of the newest value, above 0 and at most 1
  };

  /// @throws std::invalid_argument  an option out of range
  Safeguard(Engine& engine, std::size_t forecaster, std::size_t rows, const Options& options);

  /// What is wrong with a forecast; Cause::none when it can be used. @param mbps  physical units
  Cause judge(float mbps) const noexcept;

  /// Remembers a forecast that was used.
  void keep(std::size_t row, float mbps) noexcept;

  /// An answer without the model.
  /// @param last_step  (features) of the window's newest step, physical units; null when there is none: no fallback
  /// then
  /// @param mbps       the answer; NaN with Source::none
  template <class Real>
  Source rescue(std::size_t row, const Real* last_step, float* mbps) noexcept;

  bool has_fallback() const noexcept { return fallback_.has_value(); }
  std::size_t rows() const noexcept { return last_.size(); }
  /// Grows to `rows`; earlier rows keep what they know.
  void reserve(std::size_t rows);
  /// Forgets the earlier forecasts of a row.
  void forget(std::size_t row) noexcept;

 private:
  bool find_fallback(std::size_t forecaster);

  Engine& engine_;
  Options options_;
  double least_mbps_ = -std::numeric_limits<double>::infinity();
  double most_mbps_ = std::numeric_limits<double>::infinity();
  double step_s_ = 0;
  std::optional<std::size_t> fallback_;
  std::array<std::size_t, 4>
      columns_{};  // of hour_sin, hour_cos, weekday_sin, weekday_cos among the forecaster's features
  std::vector<std::size_t> calendar_;      // (fallback features) which of those four each one is
  std::vector<double> fallback_features_;  // (fallback features)
  std::vector<float> last_;                // (rows) NaN: none yet
  std::vector<float> ewma_;                // (rows) NaN: none yet
};

}  // namespace linkcast
