// What every forecast comes back as: a value with its band, who gave it, and why it was not the model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

namespace linkcast {

/// Who gave an answer.
enum class Source : std::uint8_t {
  none,           ///< nobody: NaN
  model,          ///< the forecaster
  mixture,        ///< the forecaster and naive rules, each weighted by how well it has done on this link
  fallback,       ///< the service group's fallback model
  last,           ///< the row's last good forecast
  forecast_mean,  ///< a moving average of the row's good forecasts
  measured_mean   ///< a moving average of what was measured: a controller's, until its window is full
};
inline constexpr std::size_t kSources = 7;
/// "none", "model", ...
const char* source_name(Source source) noexcept;

/// The one of two that is the later resort, in the order of Source, and nobody last.
constexpr Source later_resort(Source a, Source b) noexcept {
  if (a == Source::none || b == Source::none) return Source::none;
  return a < b ? b : a;
}

/// Why an answer is not the model's; or, of a decision, what is special about it.
enum class Cause : std::uint8_t {
  none,
  deadline,
  failed,
  not_finite,
  implausible,
  // Of a decision, which the allocator gave all the same (see Allocation):
  outside_training,  ///< a feature lies outside what training has seen, and was held to it
  over_capacity      ///< the bandwidth is beyond the link's capacity: all of the link
};
inline constexpr std::size_t kCauses = 7;
/// "none", "deadline", ...
const char* cause_name(Cause cause) noexcept;

/// One row's answer, in the target's unit (Mbit/s). NaN where there is none: `mbps` with Source::none, the band where
/// none is known (yet).
struct Answer {
  float mbps = std::numeric_limits<float>::quiet_NaN();
  float p10 = std::numeric_limits<float>::quiet_NaN();  ///< a tenth of the outcomes lie below
  float p50 = std::numeric_limits<float>::quiet_NaN();
  float p90 = std::numeric_limits<float>::quiet_NaN();
  float reserve = std::numeric_limits<float>::quiet_NaN();  ///< the quantile of Stream::Options::level: what to reserve
  Source source = Source::none;
  Cause cause = Cause::none;
};

}  // namespace linkcast
