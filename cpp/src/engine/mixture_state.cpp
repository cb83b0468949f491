// What a mixture holds: made new, forgotten, read and kept.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "base/finite.h"
#include "base/text.h"
#include "engine/mixture.h"

namespace linkcast {

using namespace mixing;

namespace {

template <std::size_t N, std::size_t L>
void fill(Rows<N, L>& rows, double value) noexcept {
  for (auto& row : rows) row.fill(value);
}

template <std::size_t N, std::size_t L>
void start(Aggregation<N, L>& aggregation) noexcept {
  aggregation = {};
  fill(aggregation.weight, 1.0 / N);
}

template <std::size_t L>
void start(Targets<L>& of, const std::array<double, kLevels>& levels) noexcept {
  of = {};
  for (auto* weights : {&of.steady, &of.quick, &of.patient}) fill(*weights, 1.0 / kExperts);
  for (Worth<L>& worth : of.worth) {
    for (auto* weights : {&worth.steady, &worth.patient}) fill(*weights, 1.0 / kExperts);
    start(worth.inputs);
  }
  start(of.spreads);
  for (std::size_t at = 0; at < kLevels * L; ++at) {
    // Where a Laplace distribution has its quantiles, in mean absolute errors.
    const double level = levels[at / L], tail = std::min(level, 1 - level);
    for (auto& factor : of.factor) factor[at] = level < 0.5 ? std::log(2 * tail) : -std::log(2 * tail);
  }
}

}  // namespace

Mixture::Mixture(std::size_t rows, std::size_t window, const Options& options, const Arithmetic& arithmetic)
    : options_(options),
      rows_(rows),
      window_(window),
      beyond_(options.horizon - 1),
      depth_(options.horizon + 1),
      levels_{0.1, 0.5, 0.9, options.level},
      arithmetic_(arithmetic) {
  if (options.horizon < 1 || options.horizon > kMostHorizon)
    throw std::invalid_argument("horizon: expected 1 to " + std::to_string(kMostHorizon) + " steps, got " +
                                std::to_string(options.horizon));
  if (!(options.level > 0 && options.level < 1))
    throw std::invalid_argument("level: expected above 0 and below 1, got " + text_of(options.level));
  if (window < kLeastWindow)
    throw std::invalid_argument("mixture: expected a window of at least " + std::to_string(kLeastWindow) +
                                " time steps, got " + std::to_string(window));
  filters_ = {};
  for (std::size_t of = 0; of < filters_[0].size(); ++of) {
    constexpr std::array<double, 4> kRates = {0, 0.2, 0.5, 0.8};
    double left = 1;  // of the weight, for this value and those before it
    for (std::size_t k = std::min(window, kLags); k-- > 0; left *= 1 - kRates[of])
      filters_[k][of] = of > 0 && k > 0 ? kRates[of] * left : left;
  }
  links_.resize(rows);
  moments_.resize(rows * depth_);
  if (beyond_ > 0) {
    ahead_.resize(rows * 2);
    grams_.resize(rows);
    forecasts_.resize(rows * depth_ * 2);
  }
  for (std::size_t row = 0; row < rows; ++row) forget(row);
}

void Mixture::forget(std::size_t row) noexcept {
  Link& link = links_[row];
  link = {};
  link.outcome.fill(kUnknown);
  link.error.fill(kUnknown);
  start(link.next, levels_);
  for (Regression& regression : link.regression) {
    regression.sides.weights[kModelFeature].fill(1);
    regression.error = 0.1;
  }
  for (std::size_t tick = 0; tick < depth_; ++tick) moment(row, tick) = {};
  if (beyond_ == 0) return;
  for (const Group group : {kValues, kPeaks}) {
    start(ahead_[row * 2 + group].most, levels_);
    start(ahead_[row * 2 + group].last, levels_);
    for (std::size_t tick = 0; tick < depth_; ++tick) forecasts(row, tick, group) = {};
  }
  for (SharedGram& gram : grams_[row]) {
    gram = {};
    gram.error = 0.1;
    for (auto& sides : gram.sides) {
      sides.most.weights[kModelFeature].fill(1);
      sides.last.weights[kModelFeature].fill(1);
    }
  }
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
  const double scored = links_[row].next.count[0];
  return scored > 0 ? links_[row].above / scored : kUnknown;
}

std::uint64_t Mixture::scored(std::size_t row) const noexcept {
  return static_cast<std::uint64_t>(links_[row].next.count[0]);
}

// ---- Snapshots: the arrays as they are ----

std::size_t Mixture::snapshot_size() const noexcept {
  std::size_t size = 0;
  each_array(*this, [&size](const auto& values) { size += values.size() * sizeof(values[0]); });
  return size;
}

void Mixture::snapshot(std::byte* bytes) const noexcept {
  each_array(*this, [&bytes](const auto& values) {
    static_assert(std::is_trivially_copyable_v<typename std::decay_t<decltype(values)>::value_type>);
    const std::size_t size = values.size() * sizeof(values[0]);
    if (size > 0) std::memcpy(bytes, values.data(), size);
    bytes += size;
  });
}

namespace {

constexpr double kMost = 1e100;  // of any number: squares, and products of three, are finite then
constexpr double kMostTicks = 9007199254740992.0;

bool is_size(double value) noexcept { return value >= 0 && value <= kMost; }
bool is_flag(double value) noexcept { return value == 0 || value == 1; }

/// Whether `sound` holds for each number of an array, of arrays of them, and so on.
template <class Sound>
bool each(double value, const Sound& sound) noexcept {
  return sound(value);
}
template <class Values, class Sound>
bool each(const Values& values, const Sound& sound) noexcept {
  return std::all_of(values.begin(), values.end(), [&sound](const auto& part) { return each(part, sound); });
}

template <class Values>
bool all_sizes(const Values& values) noexcept {
  return each(values, is_size);
}

template <class Values>
bool all_within(const Values& values, double most) noexcept {
  return each(values, [most](double value) { return std::fabs(value) <= most; });
}

/// Of numbers that did not come, NaN stands in an array.
template <class Values>
bool all_within_or_none(const Values& values, double most) noexcept {
  return each(values, [most](double value) { return std::isnan(value) || std::fabs(value) <= most; });
}

template <std::size_t N, std::size_t L>
bool are_weights(const Rows<N, L>& weights) noexcept {
  for (std::size_t lane = 0; lane < L; ++lane) {
    double sum = 0;
    for (const auto& weight : weights) sum += weight[lane];
    if (!(std::fabs(sum - 1) < 1e-6)) return false;
  }
  return all_sizes(weights);
}

template <std::size_t N, std::size_t L>
bool is_sound(const Aggregation<N, L>& of) noexcept {
  const auto finite = [](double value) { return std::isfinite(value); };
  const auto positive = [](double value) { return value >= 0 && std::isfinite(value); };
  return are_weights(of.weight) && all_sizes(of.most) && each(of.regret, finite) && each(of.variance, positive) &&
         each(of.rate, positive);
}

template <std::size_t L>
bool is_sound(const Targets<L>& of) noexcept {
  for (const Worth<L>& worth : of.worth)
    if (!are_weights(worth.steady) || !are_weights(worth.patient) || !is_sound(worth.inputs)) return false;
  return are_weights(of.steady) && are_weights(of.quick) && are_weights(of.patient) && all_sizes(of.scale) &&
         each(of.count, [](double value) { return value >= 0 && value <= kMostTicks; }) && all_sizes(of.error) &&
         all_within(of.factor, kMostFactor) && is_sound(of.spreads) && all_within(of.shift, kMostShift);
}

template <std::size_t L>
bool is_sound(const Expectations<L>& of) noexcept {
  return all_within(of.expert, kMost) && all_within(of.inputs, kMost) && all_sizes(of.spread) && all_sizes(of.answer);
}

template <std::size_t L>
bool is_sound(const Sides<L>& of) noexcept {
  return all_within(of.right, kMost) && all_within(of.weights, kMost);
}

template <template <std::size_t> class Of>
bool is_sound(const Beyond<Of>& of) noexcept {
  return is_sound(of.most) && is_sound(of.last);
}

bool is_sound(const Regression& of) noexcept {
  return all_within(of.gram, kMost) && is_sound(of.sides) && is_size(of.error);
}

bool is_sound(const SharedGram& of) noexcept {
  return all_within(of.gram, kMost) && all_within(of.factor, kMost) && is_size(of.error) && is_size(of.ridge) &&
         is_flag(of.factored) && is_sound(of.sides[0]) && is_sound(of.sides[1]);
}

bool is_sound(const Link& link) noexcept {
  return std::fabs(link.slow) <= kMost && std::fabs(link.slower) <= kMost && is_size(link.level) &&
         is_flag(link.started) && is_flag(link.resumed) && is_flag(link.answered) && is_flag(link.looked_ahead) &&
         is_flag(link.advanced) && is_size(link.above) && all_within_or_none(link.outcome, kMost) &&
         all_within_or_none(link.error, kMost) && is_sound(link.next) &&
         std::all_of(link.regression.begin(), link.regression.end(),
                     [](const Regression& of) { return is_sound(of); }) &&
         link.on_off.is_sound(kMost) && link.newest.is_sound(kMost);
}

/// @param ticks  of its link
bool is_sound(const Moment& then, std::uint64_t ticks) noexcept {
  return then.tick <= ticks && all_within(then.features, kMostFeature) && all_within(then.naive, kMost) &&
         std::fabs(then.last) <= kMost && std::fabs(then.highest) <= kMost && is_size(then.range) &&
         is_size(then.change) && is_flag(then.busy) && is_sound(then.next) &&
         (then.tick == 0 ? is_size(then.unit) : then.unit >= 1e-6 && then.unit <= kMost);
}

}  // namespace

bool Mixture::is_snapshot(const std::byte* bytes, std::size_t size) const {
  if (size != snapshot_size()) return false;
  Mixture read(rows_, window_, options_);
  read.restore(bytes);
  for (std::size_t row = 0; row < rows_; ++row)
    for (std::size_t k = 0; k < depth_; ++k)
      if (!is_sound(read.moments_[row * depth_ + k], read.links_[row].ticks)) return false;
  const auto sound = [](const auto& of) { return is_sound(of); };
  return std::all_of(read.links_.begin(), read.links_.end(), sound) &&
         std::all_of(read.ahead_.begin(), read.ahead_.end(), sound) &&
         std::all_of(read.forecasts_.begin(), read.forecasts_.end(), sound) &&
         std::all_of(read.grams_.begin(), read.grams_.end(),
                     [&sound](const auto& grams) { return std::all_of(grams.begin(), grams.end(), sound); });
}

void Mixture::restore(const std::byte* bytes) noexcept {
  each_array(*this, [&bytes](auto& values) {
    const std::size_t size = values.size() * sizeof(values[0]);
    if (size > 0) std::memcpy(values.data(), bytes, size);
    bytes += size;
  });
}

void Mixture::snapshot_row(std::size_t row, std::byte* bytes) const noexcept {
  each_array(*this, [&](const auto& values) {
    const std::size_t each = values.size() / rows_;
    const std::size_t size = each * sizeof(values[0]);
    if (size > 0) std::memcpy(bytes, values.data() + row * each, size);
    bytes += size;
  });
}

void Mixture::copy_row(std::size_t row, const Mixture& from, std::size_t from_row) noexcept {
  const auto copy = [&](auto& values, const auto& others) {
    const std::size_t each = values.size() / rows_;
    std::copy_n(others.begin() + static_cast<std::ptrdiff_t>(from_row * each), each,
                values.begin() + static_cast<std::ptrdiff_t>(row * each));
  };
  copy(links_, from.links_), copy(moments_, from.moments_), copy(ahead_, from.ahead_), copy(grams_, from.grams_);
  copy(forecasts_, from.forecasts_);
}

}  // namespace linkcast
