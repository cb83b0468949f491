#include "engine/units.h"

#include <algorithm>
#include <cstdio>
#include <sstream>

namespace linkcast {
namespace {

constexpr double kLargest = std::numeric_limits<float>::max();
// A share that was computed may lie beside the interval by its rounding, in float32 or by a difference.
constexpr double kRounding = 1e-6;

/// " (percent?)": what the value is likely to be in, "" where nothing fits.
const char* likely_unit(const Feature& feature, const Bounds& bounds, double value) {
  if (feature.unit == "fraction" && value > 1 && value <= 100) return " (percent?)";
  if (bounds.capacity_mbps > 0 && value > bounds.most) {
    if (value <= 1e3 * bounds.capacity_mbps) return " (kbit/s? or another link's capacity?)";
    if (value <= 1e6 * bounds.capacity_mbps) return " (bit/s?)";
    return " (a counter of bytes?)";
  }
  return "";
}

}  // namespace

Bounds bounds_of(const Feature& feature) {
  if (feature.unit == "fraction") return {-kRounding, 1 + kRounding, 0};
  if (feature.unit == "ms" || feature.unit == "Mbit/s") return {0, kLargest, 0};
  return {-kLargest, kLargest, 0};
}

std::vector<Bounds> bounds_of(const std::vector<Feature>& features) {
  std::vector<Bounds> bounds;
  for (const Feature& feature : features) bounds.push_back(bounds_of(feature));
  return bounds;
}

Bounds on_link(const Bounds& bounds, const Feature& feature, double capacity_mbps) {
  if (feature.unit != "Mbit/s") return bounds;
  return {bounds.least, std::min(bounds.most, kMostCapacities * capacity_mbps * (1 + kRounding)), capacity_mbps};
}

template <class Real>
std::size_t first_out_of_bounds(const std::vector<Bounds>& bounds, const Real* values, std::size_t count) noexcept {
  const std::size_t features = bounds.size();
  for (std::size_t row = 0; row < count; row += features)
    for (std::size_t f = 0; f < features; ++f) {
      const auto value = static_cast<double>(values[row + f]);
      if (!(value >= bounds[f].least && value <= bounds[f].most)) return row + f;  // NaN too
    }
  return count;
}

template std::size_t first_out_of_bounds(const std::vector<Bounds>&, const float*, std::size_t) noexcept;
template std::size_t first_out_of_bounds(const std::vector<Bounds>&, const double*, std::size_t) noexcept;

void write_bounds_text(const Feature& feature, const Bounds& bounds, double value, char* text,
                       std::size_t size) noexcept {
  const char* name = feature.name.c_str();
  const char* likely = likely_unit(feature, bounds, value);
  if (!is_finite(value))
    std::snprintf(text, size, "expected finite values, got %g for %s", value, name);
  else if (feature.unit == "fraction")
    std::snprintf(text, size, "%s: expected a fraction 0..1, got %g%s", name, value, likely);
  else if (bounds.capacity_mbps > 0 && value > bounds.most)
    std::snprintf(text, size, "%s: expected at most %g times the link's capacity of %g Mbit/s, got %g%s", name,
                  kMostCapacities, bounds.capacity_mbps, value, likely);
  else
    std::snprintf(text, size, "%s: expected %s, 0 or more, got %g", name, feature.unit.c_str(), value);
}

std::string bounds_text(const Feature& feature, const Bounds& bounds, double value) {
  char text[512];
  write_bounds_text(feature, bounds, value, text, sizeof text);
  return text;
}

template <class Real>
void check_units(const char* what, const std::vector<Feature>& features, const std::vector<Bounds>& bounds,
                 const Real* values, std::size_t rows, std::size_t steps, const std::uint8_t* present) {
  const std::size_t size = steps * bounds.size();
  for (std::size_t row = 0; row < rows; ++row) {
    if (present && !present[row]) continue;
    const std::size_t at = first_out_of_bounds(bounds, values + row * size, size);
    if (at == size) continue;
    const std::size_t f = at % bounds.size();
    const auto value = static_cast<double>(values[row * size + at]);
    std::ostringstream text;
    text << what << ": " << bounds_text(features[f], bounds[f], value);
    if (steps > 1) text << " at time step " << at / bounds.size();
    if (rows > 1) text << " of row " << row;
    throw UnitError(text.str(), is_finite(value));
  }
}

template void check_units(const char*, const std::vector<Feature>&, const std::vector<Bounds>&, const float*,
                          std::size_t, std::size_t, const std::uint8_t*);
template void check_units(const char*, const std::vector<Feature>&, const std::vector<Bounds>&, const double*,
                          std::size_t, std::size_t, const std::uint8_t*);

}  // namespace linkcast
