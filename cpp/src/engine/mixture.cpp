#include "engine/mixture.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/finite.h"
#include "engine/sums.h"

namespace linkcast {
namespace {

// Chosen on the first 70 % of public traces (3G commutes, lines, video, ships, satellite): see docs/accuracy.md.
constexpr double kPatientRate = 0.05;   // one step ahead; the other sets of weights are 8 and 16 times as quick
constexpr double kPatientAhead = 0.02;  // further
constexpr double kSteadyShare = 1e-3;   // fixed shares
constexpr double kQuickShare = 1e-2;
constexpr double kPatientShare = 1e-4;
constexpr double kMostLoss = 50;         // of the loss scale
constexpr double kBias = 0.02;           // the constant feature: small, so that it costs more than the others
constexpr double kPace = 0.03;           // gradient steps of the quantiles' factors and shifts
constexpr double kMemory = 0.999;        // of the aggregation of answers, a tick
constexpr double kSpreadMemory = 0.999;  // of the aggregation of spreads
constexpr std::size_t kWeighEvery = 4;

/// Whether the values ahead learn on this tick, or the peaks: in turns, since what neighbouring ticks teach about several
/// steps ahead is nearly the same. The turns repeat with no period (Thue and Morse): by even and odd ticks, a link that
/// repeats itself every 2, 4 or 8 would teach a target in one of its states alone.
bool is_turn_of_values(std::uint64_t tick) noexcept { return std::popcount(tick) % 2 == 0; }

enum Naive { kModel, kLast, kMean, kHarmonic, kMedian, kEwma2, kEwma5, kEwma8, kSlow, kSlower, kMaximum, kMedianLong };

/// exp(x) for -40 <= x <= 0, relative error below 1e-9; the same bits everywhere, which libm does not promise.
double exp_of(double x) noexcept {
  // exp(x) = exp(x / 64)^64, with a Taylor polynomial for |x / 64| <= 0.625.
  const double y = x * (1.0 / 64);
  double p = 1 + y * (1.0 / 10);
  for (const double divisor : {1.0 / 9, 1.0 / 8, 1.0 / 7, 1.0 / 6, 1.0 / 5, 1.0 / 4, 1.0 / 3, 1.0 / 2, 1.0})
    p = 1 + y * divisor * p;
  for (int k = 0; k < 6; ++k) p *= p;
  return p;
}

/// exp(-x) for 0 <= x <= 2.5, relative error below 1e-6.
double decay_of(double x) noexcept {
  const double y = x * (-1.0 / 64);
  double p = 1 + y * (1 + y * (0.5 + y * (1.0 / 6 + y * (1.0 / 24))));
  p *= p, p *= p, p *= p;
  p *= p, p *= p, p *= p;
  return p;
}

/// Fixed share: the weights times their factors, brought to a sum of 1, of which `share` goes to all alike.
template <std::size_t N>
void decay(std::array<double, N>& weights, const std::array<double, N>& factors, double share) noexcept {
  for (std::size_t k = 0; k < N; ++k) weights[k] *= factors[k];
  const double kept = (1 - share) / sum_of(weights);
  for (double& weight : weights) weight = kept * weight + share / N;
}

template <std::size_t N>
double weighted(const std::array<double, N>& weights, const std::array<double, N>& values) noexcept {
  std::array<double, N> products;
  for (std::size_t k = 0; k < N; ++k) products[k] = weights[k] * values[k];
  return sum_of(products);
}

/// Brings `order`, whose first `sorted` entries are in order already, into the order of the values.
template <std::size_t N>
void sort_order(std::array<std::uint8_t, N>& order, const std::array<double, N>& values, std::size_t sorted) noexcept {
  for (std::size_t k = sorted; k < N; ++k) {
    std::size_t at = k;
    for (; at > 0 && values[order[at - 1]] > values[k]; --at) order[at] = order[at - 1];
    order[at] = static_cast<std::uint8_t>(k);
  }
}

/// The least value that has half of the weight at or below it. The margin is for rounding: equal weights halve exactly.
template <std::size_t N>
double weighted_median(const std::array<double, N>& weights, const std::array<double, N>& values,
                       const std::array<std::uint8_t, N>& order) noexcept {
  double below = 0;
  for (const std::uint8_t k : order) {
    below += weights[k];
    if (below >= 0.5 - 1e-9) return values[k];
  }
  return values[order[N - 1]];
}

}  // namespace

// ---- Aggregation ----

template <std::size_t N>
double Mixture::Aggregation<N>::mix(const std::array<double, N>& values) const noexcept {
  return weighted(weight, values);
}

/// @param slope  of the loss at `mixed`
template <std::size_t N>
void Mixture::Aggregation<N>::learn(const std::array<double, N>& values, double mixed, double slope,
                                    double memory) noexcept {
  for (std::size_t k = 0; k < N; ++k) {
    const double gain = slope * (mixed - values[k]);
    most[k] = std::max(memory * most[k], std::fabs(gain));
    variance[k] = memory * variance[k] + gain * gain;
    // The rate was set before this gain was seen, and may be far too large for it: after hours in which all agreed, the
    // first tick of traffic would count as a loss of thousands.
    const double fitting = most[k] > 0 ? std::min(rate[k], 0.5 / most[k]) : 0;
    regret[k] = memory * regret[k] + gain - fitting * gain * gain;
  }
}

template <std::size_t N>
void Mixture::Aggregation<N>::weigh(double floor) noexcept {
  static const double log_n = std::log(static_cast<double>(N));
  double best = -std::numeric_limits<double>::infinity();
  for (std::size_t k = 0; k < N; ++k) {
    rate[k] = most[k] > 0 ? std::min(0.5 / most[k], std::sqrt(log_n / variance[k])) : 0;
    best = std::max(best, rate[k] * regret[k]);
  }
  double sum = 0;
  for (std::size_t k = 0; k < N; ++k) {
    weight[k] = (rate[k] > 0 ? rate[k] : 1e-300) * exp_of(std::max(rate[k] * regret[k] - best, -40.0));
    sum += weight[k];
  }
  if (!(sum > 1e-290)) {
    weight.fill(1.0 / N);
    return;
  }
  for (double& w : weight) w = (1 - floor) * w / sum + floor / N;
}

// ---- Mixture ----

void Mixture::observe(std::size_t row, double measured) noexcept {
  Link& link = links_[row];
  if (link.ticks > 0) advance(row);
  ++link.ticks;
  link.answered = link.looked_ahead = link.advanced = 0;
  link.outcome[link.ticks % link.outcome.size()] = measured;
  if (!std::isfinite(measured)) {
    link.on_off.miss();
    return;
  }
  if (link.started == 0) {
    link.slow = link.slower = measured;
    link.level = std::fabs(measured);
    link.started = 1;
  }
  link.slow += 0.1 * (measured - link.slow);
  link.slower += 0.01 * (measured - link.slower);
  link.level += 0.01 * (std::fabs(measured) - link.level);
  link.on_off.observe(measured);
  link.newest.add(measured);
  const Moment& before = moment(row, link.ticks - 1);
  if (before.tick != link.ticks - 1 || before.tick == 0) return;
  const Expectation& expected = expectation(row, before.tick, 0);
  link.above += measured > std::max(quantile(target(row, 0), expected, 2), 0.0);
  score(row, 0, before, expected, measured);
}

Outlook Mixture::answer(std::size_t row, const double* values, double model) noexcept {
  look(row, values, model);
  expect(row, 0, order_of(moment(row, links_[row].ticks)));
  links_[row].answered = 1;
  return outlook(row, 0);
}

/// What this tick's window shows: the naive experts and the regressions' features.
void Mixture::look(std::size_t row, const double* values, double model) noexcept {
  Link& link = links_[row];
  Moment& now = moment(row, link.ticks);
  now.tick = link.ticks;
  const std::size_t lags = std::min(window_, kLags);
  const double* w = values + (window_ - lags);
  const double last = w[lags - 1];
  if (!std::isfinite(model)) model = last;
  std::array<double, kLags> sorted;
  double sum = 0, change = 0, inverse = 0, recent = 0;
  double ewma2 = w[0], ewma5 = w[0], ewma8 = w[0];
  for (std::size_t k = 0; k < lags; ++k) {
    sum += w[k];
    std::size_t at = k;  // insertion: ten values
    for (; at > 0 && sorted[at - 1] > w[k]; --at) sorted[at] = sorted[at - 1];
    sorted[at] = w[k];
    if (k == 0) continue;
    change += std::fabs(w[k] - w[k - 1]);
    ewma2 += 0.2 * (w[k] - ewma2);
    ewma5 += 0.5 * (w[k] - ewma5);
    ewma8 += 0.8 * (w[k] - ewma8);
  }
  const double mean = sum / static_cast<double>(lags);
  const std::size_t few = std::min<std::size_t>(lags, 5);
  for (std::size_t k = lags - few; k < lags; ++k) recent += w[k];
  recent /= static_cast<double>(few);
  const double floor = std::max(1e-3 * recent, 1e-300);
  for (std::size_t k = lags - few; k < lags; ++k) inverse += 1 / std::max(w[k], floor);
  if (link.resumed != 0 || link.started == 0) {  // another stretch of this link: its level may be another one
    link.slow = mean;
    link.slower = 0.5 * link.slower + 0.5 * mean;
    link.resumed = 0;
  }
  const double highest = sorted[lags - 1], lowest = sorted[0];
  now.naive[kModel] = model;
  now.naive[kLast] = last;
  now.naive[kMean] = mean;
  now.naive[kHarmonic] = recent > 0 ? static_cast<double>(few) / inverse : 0;
  now.naive[kMedian] = 0.5 * (sorted[(lags - 1) / 2] + sorted[lags / 2]);
  now.naive[kEwma2] = ewma2;
  now.naive[kEwma5] = ewma5;
  now.naive[kEwma8] = ewma8;
  now.naive[kSlow] = link.slow;
  now.naive[kSlower] = link.slower;
  now.naive[kMaximum] = highest;
  now.naive[kMedianLong] = link.newest.median(last);
  now.last = last;
  now.busy = link.on_off.busy;
  const auto ends = link.on_off.ends();
  const auto& level = link.on_off.level;
  for (std::size_t h = 1; h <= kMostHorizon; ++h) {
    now.on_off[h - 1] = ends[h] ? level[now.busy == 0] : last;
    now.on_off_peak[h - 1] = ends[h] && now.busy == 0 ? level[1] : last;  // a peak that has been stays one
  }
  now.unit = std::max(0.5 * link.level + 0.5 * mean, 1e-6);
  now.highest = 1.5 * std::max(highest, link.slow);
  now.range = highest - lowest;
  now.change = change / static_cast<double>(lags - 1);
  now.features.fill(0);
  for (std::size_t k = 0; k + 1 < lags; ++k) now.features[kLags - lags + k] = w[k] - last;
  now.features[9] = link.slow - last;
  now.features[10] = link.slower - last;
  now.features[12] = mean - last;
  now.features[kModelFeature] = model - last;
  now.features[14] = highest - last;
  now.features[15] = lowest - last;
  const double scale = 1 / now.unit;
  for (double& feature : now.features) feature = std::min(std::max(feature * scale, -kMostFeature), kMostFeature);
  now.features[11] = kBias;
}

Mixture::NaiveOrder Mixture::order_of(const Moment& now) noexcept {
  NaiveOrder order;
  sort_order(order, now.naive, 0);
  return order;
}

/// What this tick expects of one target; those before it are expected already.
void Mixture::expect(std::size_t row, std::size_t index, const NaiveOrder& naive_order) noexcept {
  const Link& link = links_[row];
  const Moment& now = moment(row, link.ticks);
  Target& of = target(row, index);
  const Worth& worth = of.worth[state_of(now)];
  Expectation& expected = expectation(row, link.ticks, index);
  const auto regress = [&](const std::array<double, kFeatures>& weights) {
    return std::min(std::max(now.last + dot(weights, now.features) * now.unit, 0.0), now.highest);
  };
  if (index == 0) {
    for (std::size_t g = 0; g < kFirst; ++g) expected.expert[g] = regress(link.regression[g].weights);
    expected.expert[3] = 0.5 * (now.last + now.naive[kModel]);
    expected.expert[4] = now.on_off[0];
  } else {
    const AheadSides& sides = sides_[row * (count_ - 1) + index - 1];
    for (std::size_t g = 0; g < kAhead; ++g) expected.expert[g] = regress(sides.weights[g]);
    double reached = expectation(row, link.ticks, 0).answer;
    expected.expert[2] = reached;
    if (is_peak(index))
      for (std::size_t h = 1; h < steps_of(index); ++h)
        reached = std::max(reached, expectation(row, link.ticks, h).answer);
    expected.expert[3] = reached;
    expected.expert[4] = (is_peak(index) ? now.on_off_peak : now.on_off)[steps_of(index) - 1];
  }
  std::array<double, kExperts> experts;
  std::copy(now.naive.begin(), now.naive.end(), experts.begin());
  std::copy(expected.expert.begin(), expected.expert.end(), experts.begin() + kNaive);
  std::array<std::uint8_t, kExperts> order;
  std::copy(naive_order.begin(), naive_order.end(), order.begin());
  sort_order(order, experts, kNaive);
  expected.inputs = {weighted(of.steady, experts),
                     weighted(of.quick, experts),
                     weighted(of.patient, experts),
                     now.last,
                     weighted_median(of.patient, experts, order),
                     weighted(worth.steady, experts),
                     weighted(worth.patient, experts)};
  expected.answer = std::max(worth.inputs.mix(expected.inputs), 0.0);  // a model may say what no link can carry

  auto [quick, medium, slow] = of.error;
  if (of.count == 0) quick = medium = slow = now.change + 0.05 * now.range + 1e-9;
  expected.spread = {0.5 * medium + 0.25 * quick + 0.25 * slow,
                     0.3 * medium + 0.3 * now.range + 0.2 * now.change + 0.2 * slow,
                     expected.answer * slow / std::max(link.slower, 1e-9) + 0.5 * medium, slow};
}

void Mixture::look_ahead(std::size_t row) noexcept {
  Link& link = links_[row];
  if (link.answered == 0 || link.looked_ahead != 0) return;
  link.looked_ahead = 1;
  const NaiveOrder order = order_of(moment(row, link.ticks));
  for (std::size_t index = 1; index < count_; ++index) expect(row, index, order);
}

double Mixture::quantile(const Target& of, const Expectation& expected, std::size_t level) const noexcept {
  double above = of.shift[level] * expected.spread[0];
  for (std::size_t k = 0; k < kSpreads; ++k)
    above += of.spreads[level].weight[k] * of.factor[level][k] * expected.spread[k];
  return expected.answer + above;
}

Outlook Mixture::outlook(std::size_t row, std::size_t index) const noexcept {
  const Target& of = targets_[row * count_ + index];
  const Expectation& expected = expectations_[(row * depth_ + links_[row].ticks % depth_) * count_ + index];
  std::array<double, kLevels> q;
  for (std::size_t level = 0; level < kLevels; ++level) q[level] = std::max(quantile(of, expected, level), 0.0);
  // Quantiles are followed one by one and may cross; what is answered is in order, and the forecast within its band.
  const double p10 = std::min(q[0], q[1]), p50 = q[1], p90 = std::max(q[2], q[1]);
  double reserve = q[3];
  if (levels_[3] >= levels_[2])
    reserve = std::max(reserve, p90);
  else if (levels_[3] <= levels_[0])
    reserve = std::min(reserve, p10);
  else
    reserve = std::clamp(reserve, levels_[3] >= levels_[1] ? p50 : p10, levels_[3] >= levels_[1] ? p90 : p50);
  return {std::clamp(expected.answer, p10, p90), p10, p50, p90, reserve};
}

Outlook Mixture::at(std::size_t row, std::size_t steps) noexcept {
  look_ahead(row);
  return outlook(row, steps - 1);
}

Outlook Mixture::peak(std::size_t row, std::size_t steps) noexcept {
  look_ahead(row);
  return outlook(row, steps == 1 ? 0 : options_.horizon + steps - 2);
}

/// Weights and quantiles of one target learn from its outcome.
void Mixture::score(std::size_t row, std::size_t index, const Moment& then, const Expectation& expected,
                    double outcome) noexcept {
  Target& of = target(row, index);
  Worth& worth = of.worth[state_of(then)];
  std::array<double, kExperts> loss;
  double mean = 0;
  for (std::size_t k = 0; k < kExperts; ++k) {
    loss[k] = std::fabs((k < kNaive ? then.naive[k] : expected.expert[k - kNaive]) - outcome);
  }
  mean = sum_of(loss) / kExperts;
  if (index == 0) {
    Link& link = links_[row];
    for (std::size_t k = 0; k < kExperts; ++k)
      link.error[k] = std::isnan(link.error[k]) ? loss[k] : link.error[k] + 0.01 * (loss[k] - link.error[k]);
  }
  // A single absurd value must not set the scale of all that follows.
  if (of.count > 0) mean = std::min(mean, 100 * of.scale + 1e-9);
  of.scale += std::max(1e-3, 1 / (of.count + 1)) * (mean - of.scale);

  const double rate = index == 0 ? kPatientRate : kPatientAhead;
  const double per_loss = 1 / (of.scale + 1e-9);
  std::array<double, kExperts> patient, steady, quick;  // factors of the weights; loops that compilers put side by side
  for (std::size_t k = 0; k < kExperts; ++k) patient[k] = decay_of(rate * std::min(loss[k] * per_loss, kMostLoss));
  for (std::size_t k = 0; k < kExperts; ++k) {
    const double fourth = (patient[k] * patient[k]) * (patient[k] * patient[k]);
    const double eighth = fourth * fourth;
    steady[k] = index == 0 ? eighth : eighth * eighth * fourth;  // the same speed from either rate
    quick[k] = steady[k] * steady[k];
  }
  decay(of.patient, patient, kPatientShare);
  decay(of.steady, steady, kSteadyShare);
  decay(of.quick, quick, kQuickShare);
  decay(worth.patient, patient, kPatientShare);
  decay(worth.steady, steady, kSteadyShare);
  worth.inputs.learn(expected.inputs, expected.answer, expected.answer > outcome ? 1 : -1, kMemory);
  const bool weigh = index == 0 || (links_[row].ticks / 2 + index) % kWeighEvery == 0;
  if (index == 0)
    worth.inputs.weigh(1e-3);
  else if (weigh)  // both: the other state may never be the one of such a tick
    for (Worth& either : of.worth) either.inputs.weigh(1e-3);

  track_quantiles(of, expected, outcome, index == 0 ? kPace : 2 * kPace / static_cast<double>(steps_of(index)));
  if (index == 0 ? links_[row].ticks % kWeighEvery == 0 : weigh)
    for (auto& spreads : of.spreads) spreads.weigh(1e-2);

  double error = std::fabs(outcome - expected.answer);
  if (of.count > 20) error = std::min(error, 50 * of.error[2] + 1e-9);  // as for the scale
  of.count += 1;
  const double least = 1 / of.count;
  of.error[0] += std::max(0.3, least) * (error - of.error[0]);
  of.error[1] += std::max(0.05, least) * (error - of.error[1]);
  of.error[2] += std::max(0.005, least) * (error - of.error[2]);
  of.error[2] = std::min(of.error[2], 100 * of.error[1]);  // a link that has become steady is not wide for long
}

/// @param pace  of the gradient steps: slower where outcomes come late, since several are judged before one is seen
void Mixture::track_quantiles(Target& of, const Expectation& expected, double outcome, double pace) noexcept {
  for (std::size_t level = 0; level < kLevels; ++level) {
    // What is answered is never below 0, so that is what is judged. An outcome that meets its bound asks for no step: or
    // else hours of 0 Mbit/s would drive every factor to its limit, and the band would be wrong when traffic is back.
    const double below = -levels_[level], over = 1 - levels_[level];
    const auto slope = [&](double bound) {
      bound = std::max(bound, 0.0);
      return outcome > bound ? below : outcome < bound ? over : 0.0;
    };
    std::array<double, kSpreads> above;
    for (std::size_t k = 0; k < kSpreads; ++k) above[k] = of.factor[level][k] * expected.spread[k];
    const double mixed = of.spreads[level].mix(above);
    of.spreads[level].learn(above, mixed, slope(expected.answer + mixed), kSpreadMemory);
    double& shift = of.shift[level];
    const double whole = slope(expected.answer + mixed + shift * expected.spread[0]);
    for (std::size_t k = 0; k < kSpreads; ++k) {
      double& factor = of.factor[level][k];
      factor = std::min(std::max(factor - pace * slope(expected.answer + above[k]), -kMostFactor), kMostFactor);
    }
    shift = std::clamp(shift - pace * whole, -kMostShift, kMostShift);
  }
}

void Mixture::advance(std::size_t row) noexcept {
  Link& link = links_[row];
  if (link.advanced != 0 || link.ticks == 0) return;
  link.advanced = 1;
  look_ahead(row);
  const double outcome_now = outcome(link, link.ticks);
  if (!std::isfinite(outcome_now)) return;
  const auto made = [&](std::size_t ago) -> const Moment* {
    if (link.ticks < ago) return nullptr;
    const Moment& then = moment(row, link.ticks - ago);
    return then.tick != 0 && then.tick == link.ticks - ago ? &then : nullptr;
  };
  if (const Moment* before = made(1)) learn_first(link, *before, outcome_now);
  double peak = outcome_now;
  for (std::size_t steps = 2; steps <= options_.horizon; ++steps) {
    peak = std::max(peak, outcome(link, link.ticks - steps + 1));
    if (std::isnan(outcome(link, link.ticks - steps + 1))) peak = kUnknown;
    const Moment* then = made(steps);
    if (!then) continue;
    if (is_turn_of_values(link.ticks)) {
      score(row, steps - 1, *then, expectation(row, then->tick, steps - 1), outcome_now);
    } else if (std::isfinite(peak)) {
      const std::size_t index = options_.horizon + steps - 2;
      score(row, index, *then, expectation(row, then->tick, index), peak);
    }
  }
  if (count_ == 1) return;
  if (made(options_.horizon)) learn_ahead(row);
  solve_ahead(row);
}

// ---- What can be read ----

const std::array<const char*, Mixture::kExperts>& Mixture::expert_names() noexcept {
  static constexpr std::array<const char*, kExperts> kNames{"model",
                                                            "last",
                                                            "mean",
                                                            "harmonic_mean",
                                                            "median",
                                                            "ewma_0.2",
                                                            "ewma_0.5",
                                                            "ewma_0.8",
                                                            "ewma_0.1_long",
                                                            "ewma_0.01_long",
                                                            "maximum",
                                                            "median_long",
                                                            "regression_0.9999",
                                                            "regression_0.999",
                                                            "regression_0.99",
                                                            "damped_model",
                                                            "on_off"};
  return kNames;
}

double Mixture::weight(std::size_t row, std::size_t expert) const noexcept {
  const Target& of = targets_[row * count_];
  const Worth& worth = of.worth[links_[row].on_off.busy != 0];
  const auto& inputs = worth.inputs.weight;
  const double direct = expert == kLast ? inputs[3] : 0;
  // What the median picks changes with each tick: its share goes to all by the weights that it is of.
  return inputs[0] * of.steady[expert] + inputs[1] * of.quick[expert] + (inputs[2] + inputs[4]) * of.patient[expert] +
         inputs[5] * worth.steady[expert] + inputs[6] * worth.patient[expert] + direct;
}

}  // namespace linkcast
