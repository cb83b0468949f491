// What a mixture holds: made new, forgotten, read and kept.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "engine/mixture.h"

namespace linkcast {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

}  // namespace

template <std::size_t N>
void Mixture::Aggregation<N>::start() noexcept {
  regret = variance = most = rate = {};
  weight.fill(1.0 / N);
}

Mixture::Mixture(std::size_t rows, std::size_t window, const Options& options)
    : options_(options),
      rows_(rows),
      window_(window),
      count_(2 * options.horizon - 1),
      depth_(options.horizon + 1),
      levels_{0.1, 0.5, 0.9, options.level} {
  if (options.horizon < 1 || options.horizon > kMostHorizon)
    throw std::invalid_argument("horizon: expected 1 to " + std::to_string(kMostHorizon) + " steps, got " +
                                std::to_string(options.horizon));
  if (!(options.level > 0 && options.level < 1))
    throw std::invalid_argument("level: expected above 0 and below 1, got " + std::to_string(options.level));
  if (window < kLeastWindow)
    throw std::invalid_argument("mixture: expected a window of at least " + std::to_string(kLeastWindow) +
                                " time steps, got " + std::to_string(window));
  links_.resize(rows);
  targets_.resize(rows * count_);
  if (count_ > 1) grams_.resize(rows * kAhead);
  sides_.resize(rows * (count_ - 1));
  moments_.resize(rows * depth_);
  expectations_.resize(rows * depth_ * count_);
  for (std::size_t row = 0; row < rows; ++row) forget(row);
}

void Mixture::forget(std::size_t row) noexcept {
  Link& link = links_[row];
  link = {};
  link.outcome.fill(kNone);
  link.error.fill(kNone);
  for (Regression& regression : link.regression) {
    regression.weights[kModelFeature] = 1;
    regression.error = 0.1;
  }
  for (std::size_t index = 0; index < count_; ++index) {
    Target& of = target(row, index);
    of = {};
    for (auto* weights : {&of.steady, &of.quick, &of.patient}) weights->fill(1.0 / kExperts);
    of.inputs.start();
    for (std::size_t level = 0; level < kLevels; ++level) {
      of.spreads[level].start();
      // Where a Laplace distribution has its quantiles, in mean absolute errors.
      const double tail = std::min(levels_[level], 1 - levels_[level]);
      const double factor = -std::log(2 * tail);
      of.factor[level].fill(levels_[level] < 0.5 ? -factor : factor);
    }
  }
  if (count_ > 1)
    for (std::size_t g = 0; g < kAhead; ++g) {
      grams_[row * kAhead + g] = {};
      grams_[row * kAhead + g].error = 0.1;
    }
  for (std::size_t index = 1; index < count_; ++index) {
    AheadSides& sides = sides_[row * (count_ - 1) + index - 1];
    sides = {};
    for (auto& weights : sides.weights) weights[kModelFeature] = 1;
  }
  for (std::size_t tick = 0; tick < depth_; ++tick) moment(row, tick) = {};
  std::fill_n(expectations_.begin() + static_cast<std::ptrdiff_t>(row * depth_ * count_), depth_ * count_,
              Expectation{});
}

void Mixture::interrupt(std::size_t row) noexcept {
  Link& link = links_[row];
  if (link.ticks > 0) advance(row);
  link.outcome.fill(kNone);
  for (std::size_t tick = 0; tick < depth_; ++tick) moment(row, tick).tick = 0;
  link.resumed = link.started;  // a link on which nothing has been measured has nothing to resume
  link.answered = 0;
}

double Mixture::error(std::size_t row, std::size_t expert) const noexcept { return links_[row].error[expert]; }

double Mixture::exceeded(std::size_t row) const noexcept {
  const double scored = targets_[row * count_].count;
  return scored > 0 ? links_[row].above / scored : kNone;
}

std::uint64_t Mixture::scored(std::size_t row) const noexcept {
  return static_cast<std::uint64_t>(targets_[row * count_].count);
}

// ---- Snapshots: the arrays as they are ----

std::size_t Mixture::snapshot_size() const noexcept {
  return links_.size() * sizeof(Link) + targets_.size() * sizeof(Target) + grams_.size() * sizeof(SharedGram) +
         sides_.size() * sizeof(AheadSides) + moments_.size() * sizeof(Moment) +
         expectations_.size() * sizeof(Expectation);
}

void Mixture::snapshot(std::byte* bytes) const noexcept {
  const auto put = [&bytes](const auto& values) {
    static_assert(std::is_trivially_copyable_v<typename std::decay_t<decltype(values)>::value_type>);
    const std::size_t size = values.size() * sizeof(values[0]);
    if (size > 0) std::memcpy(bytes, values.data(), size);
    bytes += size;
  };
  put(links_), put(targets_), put(grams_), put(sides_), put(moments_), put(expectations_);
}

bool Mixture::is_snapshot(const std::byte* bytes, std::size_t size) const {
  if (size != snapshot_size()) return false;
  Mixture read(rows_, window_, options_);
  read.restore(bytes);
  // Numbers that are none by design (ticks, what did not come) are set to 0; everything else has to be finite.
  for (Link& link : read.links_) {
    for (const Moment& then : read.moments_)
      if (then.tick > link.ticks && rows_ == 1) return false;
    link.ticks = 0;
    for (double& value : link.outcome)
      if (std::isnan(value)) value = 0;
    for (double& value : link.error)
      if (std::isnan(value)) value = 0;
  }
  for (Moment& then : read.moments_) then.tick = 0;
  const auto finite = [](const auto& values) {
    static_assert(sizeof(values[0]) % sizeof(double) == 0);
    const auto* numbers = reinterpret_cast<const double*>(values.data());
    return std::all_of(numbers, numbers + values.size() * (sizeof(values[0]) / sizeof(double)),
                       [](double value) { return std::isfinite(value); });
  };
  return finite(read.links_) && finite(read.targets_) && finite(read.grams_) && finite(read.sides_) &&
         finite(read.moments_) && finite(read.expectations_);
}

void Mixture::restore(const std::byte* bytes) noexcept {
  const auto take = [&bytes](auto& values) {
    const std::size_t size = values.size() * sizeof(values[0]);
    if (size > 0) std::memcpy(values.data(), bytes, size);
    bytes += size;
  };
  take(links_), take(targets_), take(grams_), take(sides_), take(moments_), take(expectations_);
}

void Mixture::snapshot_row(std::size_t row, std::byte* bytes) const noexcept {
  const auto put = [&](const auto& values) {
    const std::size_t each = values.size() / rows_;
    const std::size_t size = each * sizeof(values[0]);
    if (size > 0) std::memcpy(bytes, values.data() + row * each, size);
    bytes += size;
  };
  put(links_), put(targets_), put(grams_), put(sides_), put(moments_), put(expectations_);
}

void Mixture::copy_row(std::size_t row, const Mixture& from, std::size_t from_row) noexcept {
  const auto copy = [&](auto& values, const auto& others) {
    const std::size_t each = values.size() / rows_;
    std::copy_n(others.begin() + static_cast<std::ptrdiff_t>(from_row * each), each,
                values.begin() + static_cast<std::ptrdiff_t>(row * each));
  };
  copy(links_, from.links_), copy(targets_, from.targets_), copy(grams_, from.grams_), copy(sides_, from.sides_);
  copy(moments_, from.moments_), copy(expectations_, from.expectations_);
}

}  // namespace linkcast
