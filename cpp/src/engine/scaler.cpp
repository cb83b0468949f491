#include "engine/scaler.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "base/names.h"

namespace linkcast {
namespace {

/// A value below 0 has the level of 0; one that is not finite keeps its level from being so.
double level_of(const Range& range, double value) noexcept {
  if (range.log_offset == 0) return value;
  return std::log((value < 0 && std::isfinite(value) ? 0 : value) + range.log_offset);
}

double value_of(const Range& range, double level) noexcept {
  if (range.log_offset == 0) return level;
  return std::max(std::exp(level) - range.log_offset, 0.0);  // in this order NaN stays NaN
}

/// What is not finite stays so.
double bounded(const Range& range, double scaled) noexcept {
  if (range.bound == 0 || !std::isfinite(scaled)) return scaled;
  return std::clamp(scaled, -range.bound, range.bound);
}

float scaled_of(const Range& range, double level, double first) noexcept {
  const double reference = range.relative_to == Reference::none ? 0 : range.share * first;
  return static_cast<float>(bounded(range, (level - reference - range.offset) * range.scale));
}

}  // namespace

const char* reference_name(Reference reference) noexcept {
  static constexpr const char* kNames[] = {"none", "first", "last"};
  return name_of(kNames, reference);
}

Scaler::Scaler(std::vector<Range> ranges) : ranges_(std::move(ranges)) {
  if (ranges_.empty()) throw std::invalid_argument("scaler: expected at least one feature, got none");
  for (std::size_t f = 0; f < ranges_.size(); ++f) {
    const Range& range = ranges_[f];
    const std::string feature = "scaler: feature " + std::to_string(f) + ": ";
    if (!std::isfinite(range.offset) || !std::isfinite(range.scale) || range.scale == 0)
      throw std::invalid_argument(feature + "expected a finite offset and a finite scale that is not zero");
    if (!std::isfinite(range.log_offset) || range.log_offset < 0)
      throw std::invalid_argument(feature + "expected a finite log_offset of 0 or more, got " +
                                  std::to_string(range.log_offset));
    if (!(range.share > 0 && range.share <= 1))
      throw std::invalid_argument(feature + "expected a share above 0 and at most 1, got " +
                                  std::to_string(range.share));
    if (!std::isfinite(range.bound) || range.bound < 0)
      throw std::invalid_argument(feature + "expected a finite bound of 0 or more, got " + std::to_string(range.bound));
    relative_ |= range.relative_to != Reference::none;
    plain_ &= range.log_offset == 0 && range.bound == 0;
  }
  plain_ &= !relative_;
}

template <class Real>
void Scaler::transform(const Real* features, std::size_t windows, std::size_t steps, float* scaled) const noexcept {
  const std::size_t n = ranges_.size();
  const Range* ranges = ranges_.data();
  if (plain_) {
    for (std::size_t row = 0; row < windows * steps; ++row)
      for (std::size_t f = 0; f < n; ++f)
        scaled[row * n + f] =
            static_cast<float>((static_cast<double>(features[row * n + f]) - ranges[f].offset) * ranges[f].scale);
    return;
  }
  for (std::size_t window = 0; window < windows; ++window, features += steps * n, scaled += steps * n)
    for (std::size_t f = 0; f < n; ++f) {
      const double first = level_of(ranges[f], static_cast<double>(features[f]));
      for (std::size_t step = 0; step < steps; ++step) {
        const double level = step == 0 ? first : level_of(ranges[f], static_cast<double>(features[step * n + f]));
        scaled[step * n + f] = scaled_of(ranges[f], level, first);
      }
    }
}

template void Scaler::transform(const float*, std::size_t, std::size_t, float*) const noexcept;
template void Scaler::transform(const double*, std::size_t, std::size_t, float*) const noexcept;

template <class Real>
void Scaler::level(const Real* features, double* levels) const noexcept {
  for (std::size_t f = 0; f < ranges_.size(); ++f) levels[f] = level_of(ranges_[f], static_cast<double>(features[f]));
}

template void Scaler::level(const float*, double*) const noexcept;
template void Scaler::level(const double*, double*) const noexcept;

void Scaler::scale(const double* levels, const double* first, float* scaled) const noexcept {
  for (std::size_t f = 0; f < ranges_.size(); ++f) scaled[f] = scaled_of(ranges_[f], levels[f], first[f]);
}

template <class Real>
void Scaler::inverse_transform(const float* scaled, std::size_t rows, float* features, const Real* reference,
                               std::size_t stride) const noexcept {
  const std::size_t n = ranges_.size();
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t f = 0; f < n; ++f) {
      const Range& range = ranges_[f];
      double level = bounded(range, static_cast<double>(scaled[r * n + f])) / range.scale + range.offset;
      if (range.relative_to != Reference::none)
        level += range.share * level_of(range, static_cast<double>(reference[r * stride + f]));
      features[r * n + f] = static_cast<float>(value_of(range, level));
    }
}

template void Scaler::inverse_transform(const float*, std::size_t, float*, const float*, std::size_t) const noexcept;
template void Scaler::inverse_transform(const float*, std::size_t, float*, const double*, std::size_t) const noexcept;

}  // namespace linkcast
