#include "engine/mixture.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace linkcast {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// Chosen on the first 70 % of public traces (3G commutes, lines, video, ships, satellite): see docs/accuracy.md.
constexpr double kQuickPower = 16;      // rates of the three sets of weights: 0.05 (0.02 further ahead) times 1, 8, 16
constexpr double kPatientRate = 0.05;   // one step ahead
constexpr double kPatientAhead = 0.02;  // further
constexpr double kSteadyShare = 1e-3;   // fixed shares
constexpr double kQuickShare = 1e-2;
constexpr double kPatientShare = 1e-4;
constexpr double kMostLoss = 50;  // of the loss scale
constexpr double kForgetFirst[] = {0.9999, 0.999, 0.99};
constexpr double kForgetAhead[] = {0.9999, 0.999};
constexpr double kRidge = 5e-4;  // of the mean of the Gram matrix' diagonal
constexpr double kLeastRidge = 0.021;
constexpr double kBias = 0.02;  // the constant feature: small, so that it costs more than the others
constexpr double kMostFeature = 3;
constexpr double kPace = 0.03;  // gradient steps of the quantiles' factors and shifts
constexpr double kMostFactor = 10;
constexpr double kMostShift = 5;
constexpr double kMemory = 0.999;         // of the aggregation of answers, a tick
constexpr double kSpreadMemory = 0.999;   // of the aggregation of spreads
constexpr std::size_t kSolveEvery = 16;   // ticks: each regression is solved once in so many
constexpr std::size_t kSolveTargets = 4;  // targets solved in one tick
constexpr std::size_t kWeighEvery = 4;
constexpr std::size_t kModelFeature = 13;  // what regressions shrink to: 1 for the model's step, 0 for the others

enum Naive { kModel, kLast, kMean, kHarmonic, kMedian, kEwma2, kEwma5, kEwma8, kSlow, kSlower, kMaximum };

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

/// In chains that compilers put side by side.
template <std::size_t N>
double sum_of(const std::array<double, N>& values) noexcept {
  std::array<double, 2> sums{};
  for (std::size_t k = 0; k < N / 2 * 2; k += 2)
    for (std::size_t lane = 0; lane < 2; ++lane) sums[lane] += values[k + lane];
  return sums[0] + sums[1] + (N % 2 ? values[N - 1] : 0);
}

template <std::size_t N>
double dot(const std::array<double, N>& a, const std::array<double, N>& b) noexcept {
  static_assert(N % 4 == 0);
  std::array<double, 4> sums{};  // four chains, which compilers put side by side
  for (std::size_t k = 0; k < N; k += 4)
    for (std::size_t lane = 0; lane < 4; ++lane) sums[lane] += a[k + lane] * b[k + lane];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

template <std::size_t N>
double trace_of(const std::array<double, N>& packed, std::size_t size) noexcept {
  double trace = 0;
  for (std::size_t row = 0, at = 0; row < size; ++row, at += row + 1) trace += packed[at];
  return trace;
}

/// Cholesky factor of gram + ridge * identity, both lower triangles row after row. @return false: not positive definite
bool factorise(const double* gram, double ridge, std::size_t size, double* factor) noexcept {
  for (std::size_t j = 0, row_j = 0; j < size; ++j, row_j += j)
    for (std::size_t k = 0, row_k = 0; k <= j; ++k, row_k += k) {
      double value = gram[row_j + k] + (j == k ? ridge : 0);
      for (std::size_t m = 0; m < k; ++m) value -= factor[row_j + m] * factor[row_k + m];
      if (k < j) {
        factor[row_j + k] = value / factor[row_k + k];
      } else {
        if (!(value > 1e-12)) return false;
        factor[row_j + k] = std::sqrt(value);
      }
    }
  return true;
}

/// Solves factor * factor^T * weights = right, with the ridge's pull on `kModelFeature` to 1.
template <std::size_t N>
void substitute(const double* factor, double ridge, const std::array<double, N>& right,
                std::array<double, N>& weights) noexcept {
  std::array<double, N> x;
  for (std::size_t j = 0, row = 0; j < N; ++j, row += j) {
    double value = right[j] + (j == kModelFeature ? ridge : 0);
    for (std::size_t m = 0; m < j; ++m) value -= factor[row + m] * x[m];
    x[j] = value / factor[row + j];
  }
  // Column by column from the last, so that the factor is read along its rows.
  for (std::size_t j = N; j-- > 0;) {
    const std::size_t row = j * (j + 1) / 2;
    x[j] /= factor[row + j];
    for (std::size_t m = 0; m < j; ++m) x[m] -= factor[row + m] * x[j];
  }
  for (const double value : x)
    if (!std::isfinite(value)) return;
  weights = x;
}

/// gram = forget * gram + weight * features * features^T
template <std::size_t N, std::size_t P>
void add_outer(std::array<double, P>& gram, double forget, double weight,
               const std::array<double, N>& features) noexcept {
  double* row = gram.data();
  for (std::size_t j = 0; j < N; ++j) {
    const double weighted = weight * features[j];
    for (std::size_t k = 0; k <= j; ++k) row[k] = forget * row[k] + weighted * features[k];
    row += j + 1;
  }
}

/// Weight of one sample in a least-squares fit that follows an L1 fit (iteratively reweighted least squares).
double robust_weight(double error, double usual) noexcept { return std::min(1 / (error + 0.3 * usual + 1e-4), 50.0); }

void follow_error(double& usual, double error) noexcept { usual += 0.01 * (std::min(error, 5 * usual + 1e-6) - usual); }

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

}  // namespace

// ---- Aggregation ----

template <std::size_t N>
void Mixture::Aggregation<N>::start() noexcept {
  regret = variance = most = rate = {};
  weight.fill(1.0 / N);
}

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
    regret[k] = memory * regret[k] + gain - rate[k] * gain * gain;
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

void Mixture::observe(std::size_t row, double measured) noexcept {
  Link& link = links_[row];
  if (link.ticks > 0) advance(row);
  ++link.ticks;
  link.answered = link.looked_ahead = link.advanced = 0;
  link.outcome[link.ticks % link.outcome.size()] = measured;
  if (!std::isfinite(measured)) return;
  if (link.started == 0) {
    link.slow = link.slower = measured;
    link.level = std::fabs(measured);
    link.started = 1;
  }
  link.slow += 0.1 * (measured - link.slow);
  link.slower += 0.01 * (measured - link.slower);
  link.level += 0.01 * (std::fabs(measured) - link.level);
  const Moment& before = moment(row, link.ticks - 1);
  if (before.tick != link.ticks - 1 || before.tick == 0) return;
  const Expectation& expected = expectation(row, before.tick, 0);
  link.above += measured > std::max(quantile(target(row, 0), expected, 2), 0.0);
  score(row, 0, before, expected, measured);
}

Outlook Mixture::answer(std::size_t row, const double* values, double model) noexcept {
  look(row, values, model);
  expect(row, 0);
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
  now.last = last;
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

/// What this tick expects of one target; those before it are expected already.
void Mixture::expect(std::size_t row, std::size_t index) noexcept {
  const Link& link = links_[row];
  const Moment& now = moment(row, link.ticks);
  Target& of = target(row, index);
  Expectation& expected = expectation(row, link.ticks, index);
  const auto regress = [&](const std::array<double, kFeatures>& weights) {
    return std::min(std::max(now.last + dot(weights, now.features) * now.unit, 0.0), now.highest);
  };
  if (index == 0) {
    for (std::size_t g = 0; g < kFirst; ++g) expected.expert[g] = regress(link.regression[g].weights);
    expected.expert[3] = 0.5 * (now.last + now.naive[kModel]);
  } else {
    const AheadSides& sides = sides_[row * (count_ - 1) + index - 1];
    for (std::size_t g = 0; g < kAhead; ++g) expected.expert[g] = regress(sides.weights[g]);
    double reached = expectation(row, link.ticks, 0).answer;
    expected.expert[2] = reached;
    if (is_peak(index))
      for (std::size_t h = 1; h < steps_of(index); ++h)
        reached = std::max(reached, expectation(row, link.ticks, h).answer);
    expected.expert[3] = reached;
  }
  std::array<double, kExperts> experts;
  std::copy(now.naive.begin(), now.naive.end(), experts.begin());
  std::copy(expected.expert.begin(), expected.expert.end(), experts.begin() + kNaive);
  expected.inputs = {weighted(of.steady, experts), weighted(of.quick, experts), weighted(of.patient, experts),
                     now.last};
  expected.answer = std::max(of.inputs.mix(expected.inputs), 0.0);  // a model may say what no link can carry

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
  for (std::size_t index = 1; index < count_; ++index) expect(row, index);
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
  of.inputs.learn(expected.inputs, expected.answer, expected.answer > outcome ? 1 : -1, kMemory);
  const bool weigh = index == 0 || (links_[row].ticks / 2 + index) % kWeighEvery == 0;
  if (weigh) of.inputs.weigh(1e-3);

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
    // What is answered is never below 0, so that is what is judged.
    const double below = -levels_[level], over = 1 - levels_[level];
    const auto slope = [&](double bound) { return outcome > std::max(bound, 0.0) ? below : over; };
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
    if (std::isnan(outcome(link, link.ticks - steps + 1))) peak = kNone;
    const Moment* then = made(steps);
    if (!then) continue;
    // In turns: what neighbouring ticks teach about several steps ahead is nearly the same.
    if (link.ticks % 2 == 0) {
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

/// The regressions of one step ahead.
void Mixture::learn_first(Link& link, const Moment& then, double outcome) noexcept {
  const double step = (outcome - then.last) / then.unit;
  for (std::size_t g = 0; g < kFirst; ++g) {
    Regression& regression = link.regression[g];
    const double error = std::fabs(step - dot(regression.weights, then.features));
    const double weight = robust_weight(error, regression.error);
    follow_error(regression.error, error);
    add_outer(regression.gram, kForgetFirst[g], weight, then.features);
    for (std::size_t k = 0; k < kFeatures; ++k)
      regression.right[k] = kForgetFirst[g] * regression.right[k] + weight * step * then.features[k];
  }
  const std::size_t turn = link.ticks % kSolveEvery;
  if (turn >= kFirst) return;
  Regression& regression = link.regression[turn];
  const double ridge = kRidge * trace_of(regression.gram, kFeatures) / kFeatures + kLeastRidge;
  std::array<double, kPacked> factor;
  if (factorise(regression.gram.data(), ridge, kFeatures, factor.data()))
    substitute(factor.data(), ridge, regression.right, regression.weights);
}

/// The regressions of the other targets learn the tick whose outcomes are all in.
void Mixture::learn_ahead(std::size_t row) noexcept {
  const Link& link = links_[row];
  const std::uint64_t tick = link.ticks - options_.horizon;
  const Moment& then = moment(row, tick);
  std::array<double, 2 * kMostHorizon - 1> step;  // (count) of each target, in units
  double peak = outcome(link, tick + 1);
  for (std::size_t h = 1; h <= options_.horizon; ++h) {
    const double reached = outcome(link, tick + h);
    if (!std::isfinite(reached)) return;
    peak = std::max(peak, reached);
    step[h - 1] = (reached - then.last) / then.unit;
    if (h > 1) step[options_.horizon + h - 2] = (peak - then.last) / then.unit;
  }
  for (std::size_t g = 0; g < kAhead; ++g) {
    SharedGram& shared = grams_[row * kAhead + g];
    double error = 0;
    for (std::size_t index = 1; index < count_; ++index)
      error += std::fabs(step[index] - dot(sides_[row * (count_ - 1) + index - 1].weights[g], then.features));
    error /= static_cast<double>(count_ - 1);
    const double weight = robust_weight(error, shared.error);
    follow_error(shared.error, error);
    add_outer(shared.gram, kForgetAhead[g], weight, then.features);
    for (std::size_t index = 1; index < count_; ++index) {
      auto& right = sides_[row * (count_ - 1) + index - 1].right[g];
      for (std::size_t k = 0; k < kFeatures; ++k)
        right[k] = kForgetAhead[g] * right[k] + weight * step[index] * then.features[k];
    }
  }
}

/// A part of the solving in each tick: no tick takes much longer than another.
void Mixture::solve_ahead(std::size_t row) noexcept {
  constexpr std::size_t kTurns =
      (2 * kMostHorizon - 2 + kSolveTargets - 1) / kSolveTargets;  // substitutions of one Gram
  static_assert(kFirst + kAhead * kTurns <= kSolveEvery);
  const std::size_t turn = links_[row].ticks % kSolveEvery;
  if (turn < kFirst) return;
  const std::size_t g = (turn - kFirst) / kTurns, part = (turn - kFirst) % kTurns;
  if (g >= kAhead) return;
  SharedGram& shared = grams_[row * kAhead + g];
  if (part == 0) {
    shared.ridge = kRidge * trace_of(shared.gram, kFeatures) / kFeatures + kLeastRidge;
    shared.factored = factorise(shared.gram.data(), shared.ridge, kFeatures, shared.factor.data());
  }
  if (shared.factored == 0) return;
  const std::size_t end = std::min(1 + (part + 1) * kSolveTargets, count_);
  for (std::size_t index = 1 + part * kSolveTargets; index < end; ++index) {
    AheadSides& sides = sides_[row * (count_ - 1) + index - 1];
    substitute(shared.factor.data(), shared.ridge, sides.right[g], sides.weights[g]);
  }
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
                                                            "regression_0.9999",
                                                            "regression_0.999",
                                                            "regression_0.99",
                                                            "damped_model"};
  return kNames;
}

double Mixture::weight(std::size_t row, std::size_t expert) const noexcept {
  const Target& of = targets_[row * count_];
  const auto& inputs = of.inputs.weight;
  const double direct = expert == kLast ? inputs[3] : 0;
  return inputs[0] * of.steady[expert] + inputs[1] * of.quick[expert] + inputs[2] * of.patient[expert] + direct;
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
