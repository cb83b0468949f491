// What a value from outside may be: finite, and of its feature's unit. The one check of it, at every door.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace linkcast {

struct Feature {
  std::string name;
  std::string unit;
};

/// The values that a feature can have, both ends included.
struct Bounds {
  double least = 0;
  double most = 0;           ///< finite, so that no infinity is in bounds
  double capacity_mbps = 0;  ///< of the link whose bandwidth this is; 0: not known, or no bandwidth
};

/// A bandwidth beyond this many times the link's capacity is no bandwidth in Mbit/s.
inline constexpr double kMostCapacities = 10;

/// Whether float32, in which models compute, has the value.
inline bool is_finite(double value) noexcept { return std::fabs(value) <= std::numeric_limits<float>::max(); }

/// By the feature's unit: a fraction is in 0..1, ms and Mbit/s are not negative; anything is finite in float32.
Bounds bounds_of(const Feature& feature);
std::vector<Bounds> bounds_of(const std::vector<Feature>& features);

/// Bounds a feature in Mbit/s by kMostCapacities times the capacity; others stay as they are.
Bounds on_link(const Bounds& bounds, const Feature& feature, double capacity_mbps);

/// A value that is not finite or not of its unit.
struct UnitError : std::invalid_argument {
  UnitError(const std::string& text, bool finite_) : std::invalid_argument(text), finite(finite_) {}
  bool finite;  ///< so it is the unit that is wrong
};

/// The position of the first value that is out of its bounds, or `count`.
/// @param bounds  (features); values are rows of so many
template <class Real>
std::size_t first_out_of_bounds(const std::vector<Bounds>& bounds, const Real* values, std::size_t count) noexcept;

/// "packet_loss: expected a fraction 0..1, got 5 (percent?)"; "expected finite values, got nan for packet_loss"
std::string bounds_text(const Feature& feature, const Bounds& bounds, double value);
/// The same into `size` characters, cut off there; allocates nothing.
void write_bounds_text(const Feature& feature, const Bounds& bounds, double value, char* text,
                       std::size_t size) noexcept;

/// @param what    "window", "state", "sample": how an error calls a row of steps * features values
/// @param rows    of `values`; an error names the row when there are several, and the step
/// @param present (rows) 0: the row is not read; null: all are
/// @throws UnitError  naming the feature, what was expected, what came, and the unit that it looks like
template <class Real>
void check_units(const char* what, const std::vector<Feature>& features, const std::vector<Bounds>& bounds,
                 const Real* values, std::size_t rows, std::size_t steps, const std::uint8_t* present = nullptr);

}  // namespace linkcast
