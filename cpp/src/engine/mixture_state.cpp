// What a mixture holds: made new, forgotten, read and kept.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "base/finite.h"
#include "engine/mixture.h"

namespace linkcast {
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
  link.outcome.fill(kUnknown);
  link.error.fill(kUnknown);
  for (Regression& regression : link.regression) {
    regression.weights[kModelFeature] = 1;
    regression.error = 0.1;
  }
  for (std::size_t index = 0; index < count_; ++index) {
    Target& of = target(row, index);
    of = {};
    for (auto* weights : {&of.steady, &of.quick, &of.patient}) weights->fill(1.0 / kExperts);
    for (Worth& worth : of.worth) {
      for (auto* weights : {&worth.steady, &worth.patient}) weights->fill(1.0 / kExperts);
      worth.inputs.start();
    }
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
  link.outcome.fill(kUnknown);
  for (std::size_t tick = 0; tick < depth_; ++tick) moment(row, tick).tick = 0;
  link.on_off.interrupt();
  link.newest = {};
  link.resumed = link.started;  // a link on which nothing has been measured has nothing to resume
  link.answered = 0;
}

double Mixture::error(std::size_t row, std::size_t expert) const noexcept { return links_[row].error[expert]; }

double Mixture::exceeded(std::size_t row) const noexcept {
  const double scored = targets_[row * count_].count;
  return scored > 0 ? links_[row].above / scored : kUnknown;
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

namespace {

constexpr double kMost = 1e100;  // of any number: squares, and products of three, are finite then
constexpr double kMostTicks = 9007199254740992.0;

bool is_size(double value) noexcept { return value >= 0 && value <= kMost; }
bool is_flag(double value) noexcept { return value == 0 || value == 1; }

template <class Values>
bool all_sizes(const Values& values) noexcept {
  return std::all_of(values.begin(), values.end(), is_size);
}

template <class Values>
bool all_within(const Values& values, double most) noexcept {
  return std::all_of(values.begin(), values.end(), [most](double value) { return std::fabs(value) <= most; });
}

/// Of numbers that did not come, NaN stands in an array.
template <class Values>
bool all_within_or_none(const Values& values, double most) noexcept {
  return std::all_of(values.begin(), values.end(),
                     [most](double value) { return std::isnan(value) || std::fabs(value) <= most; });
}

template <std::size_t N>
bool are_weights(const std::array<double, N>& weights) noexcept {
  double sum = 0;
  for (const double weight : weights) sum += weight;
  return all_sizes(weights) && std::fabs(sum - 1) < 1e-6;
}

}  // namespace

template <std::size_t N>
bool Mixture::Aggregation<N>::is_sound() const noexcept {
  const auto finite = [](double value) { return std::isfinite(value); };
  const auto positive = [](double value) { return value >= 0 && std::isfinite(value); };
  return are_weights(weight) && all_sizes(most) && std::all_of(regret.begin(), regret.end(), finite) &&
         std::all_of(variance.begin(), variance.end(), positive) && std::all_of(rate.begin(), rate.end(), positive);
}

bool Mixture::Worth::is_sound() const noexcept {
  return are_weights(steady) && are_weights(patient) && inputs.is_sound();
}

bool Mixture::is_sound(const Target& of) const noexcept {
  const auto within = [](const auto& factors) { return all_within(factors, kMostFactor); };
  const auto sound = [](const auto& part) { return part.is_sound(); };
  return are_weights(of.steady) && are_weights(of.quick) && are_weights(of.patient) &&
         std::all_of(of.worth.begin(), of.worth.end(), sound) && is_size(of.scale) && of.count >= 0 &&
         of.count <= kMostTicks && all_sizes(of.error) && std::all_of(of.factor.begin(), of.factor.end(), within) &&
         std::all_of(of.spreads.begin(), of.spreads.end(), sound) && all_within(of.shift, kMostShift);
}

bool Mixture::is_sound(const Link& link) const noexcept {
  const auto sound = [](const Regression& of) {
    return all_within(of.gram, kMost) && all_within(of.right, kMost) && all_within(of.weights, kMost) &&
           is_size(of.error);
  };
  return std::fabs(link.slow) <= kMost && std::fabs(link.slower) <= kMost && is_size(link.level) &&
         is_flag(link.started) && is_flag(link.resumed) && is_flag(link.answered) && is_flag(link.looked_ahead) &&
         is_flag(link.advanced) && is_size(link.above) && all_within_or_none(link.outcome, kMost) &&
         all_within_or_none(link.error, kMost) && std::all_of(link.regression.begin(), link.regression.end(), sound) &&
         link.on_off.is_sound(kMost) && link.newest.is_sound(kMost);
}

/// @param ticks  of its link
bool Mixture::is_sound(const Moment& then, std::uint64_t ticks) const noexcept {
  return then.tick <= ticks && all_within(then.features, kMostFeature) && all_within(then.naive, kMost) &&
         std::fabs(then.last) <= kMost && std::fabs(then.highest) <= kMost && is_size(then.range) &&
         is_size(then.change) && is_flag(then.busy) && all_within(then.on_off, kMost) &&
         all_within(then.on_off_peak, kMost) &&
         (then.tick == 0 ? is_size(then.unit) : then.unit >= 1e-6 && then.unit <= kMost);
}

bool Mixture::is_snapshot(const std::byte* bytes, std::size_t size) const {
  if (size != snapshot_size()) return false;
  Mixture read(rows_, window_, options_);
  read.restore(bytes);
  const auto each = [](const auto& values, const auto& sound) {
    return std::all_of(values.begin(), values.end(), sound);
  };
  for (std::size_t row = 0; row < rows_; ++row)
    for (std::size_t k = 0; k < depth_; ++k)
      if (!is_sound(read.moments_[row * depth_ + k], read.links_[row].ticks)) return false;
  return each(read.links_, [this](const Link& link) { return is_sound(link); }) &&
         each(read.targets_, [this](const Target& of) { return is_sound(of); }) &&
         each(read.grams_,
              [](const SharedGram& of) {
                return all_within(of.gram, kMost) && all_within(of.factor, kMost) && is_size(of.error) &&
                       is_size(of.ridge) && is_flag(of.factored);
              }) &&
         each(read.sides_,
              [&each](const AheadSides& of) {
                const auto within = [](const auto& values) { return all_within(values, kMost); };
                return each(of.right, within) && each(of.weights, within);
              }) &&
         each(read.expectations_, [](const Expectation& of) {
           return all_within(of.expert, kMost) && all_within(of.inputs, kMost) && all_sizes(of.spread) &&
                  is_size(of.answer);
         });
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
