// What a mixture does with its experts: forecasts, weights, quantiles. Included by the unit of each instruction set.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <type_traits>

#include "engine/lanes.h"
#include "engine/mixture_arithmetic.h"

namespace linkcast::mixing {
namespace {

// Chosen on the first 70 % of public traces (3G commutes, lines, video, ships, satellite): see docs/accuracy.md.
constexpr double kPatientRate = 0.05;   // one step ahead; the other sets of weights are 8 and 16 times as quick
constexpr double kPatientAhead = 0.02;  // further
constexpr double kSteadyShare = 1e-3;   // fixed shares
constexpr double kQuickShare = 1e-2;
constexpr double kPatientShare = 1e-4;
constexpr double kMostLoss = 50;         // of the loss scale
constexpr double kPace = 0.03;           // gradient steps of the quantiles' factors and shifts
constexpr double kMemory = 0.999;        // of the aggregation of answers, a tick
constexpr double kSpreadMemory = 0.999;  // of the aggregation of spreads
constexpr double kInputsFloor = 1e-3;    // of their weights, for all alike
constexpr double kSpreadsFloor = 1e-2;
constexpr double kLogInputs = 1.9459101490553132;   // ln(kInputs)
constexpr double kLogSpreads = 1.3862943611198906;  // ln(kSpreads)
static_assert(kInputs == 7 && kSpreads == 4);
constexpr double kNone = std::numeric_limits<double>::infinity();  // where no forecast is meant
constexpr double kHalf = 0.5 - 1e-9;  // of weights, with a margin for rounding: equal ones halve exactly

/// exp(x) for -40 <= x <= 0, relative error below 1e-9; the same bits everywhere, which libm does not promise.
template <class V>
V exp_of(V x) noexcept {
  // exp(x) = exp(x / 64)^64, with a Taylor polynomial for |x / 64| <= 0.625.
  const V y = x * (1.0 / 64);
  V p = 1 + y * (1.0 / 10);
  for (const double divisor : {1.0 / 9, 1.0 / 8, 1.0 / 7, 1.0 / 6, 1.0 / 5, 1.0 / 4, 1.0 / 3, 1.0 / 2, 1.0})
    p = 1 + y * divisor * p;
  for (int k = 0; k < 6; ++k) p = p * p;
  return p;
}

/// exp(-x) for 0 <= x <= 2.5, relative error below 1e-6.
template <class V>
V decay_of(V x) noexcept {
  const V y = x * (-1.0 / 64);
  V p = 1 + y * (1 + y * (0.5 + y * (1.0 / 6 + y * (1.0 / 24))));
  for (int k = 0; k < 6; ++k) p = p * p;
  return p;
}

/// Numbers of one pack of targets.
template <class V>
struct At {
  std::size_t lane;
  template <class Row>
  V operator()(const Row& row) const noexcept {
    return load<V>(&row[lane]);
  }
  template <class Row>
  void put(Row& row, V value) const noexcept {
    store(&row[lane], value);
  }
};

/// The same of Worth, where each target has a state of its own. Rows are given of the quiet state; those of the busy one are
/// as far behind them as one Worth is behind the other.
template <class V, std::size_t L>
struct AtEither {
  decltype(V{} != 0) busy;
  std::size_t lane;
  template <class Row>
  V operator()(const Row& row) const noexcept {
    const double* const quiet = &row[lane];
    return busy ? load<V>(quiet + kApart) : load<V>(quiet);
  }
  template <class Row>
  void put(Row& row, V value) const noexcept {
    double* const quiet = &row[lane];
    store(quiet, busy ? load<V>(quiet) : value);
    store(quiet + kApart, busy ? value : load<V>(quiet + kApart));
  }
  static constexpr std::size_t kApart = sizeof(Worth<L>) / sizeof(double);
};

/// Of the experts of each of L targets; of one target alone they stand side by side themselves.
template <std::size_t L, class V>
V sum_of_experts(const std::array<V, kExperts>& values) noexcept {
  if constexpr (L == 1)
    return sum_across(values);
  else
    return sum_of(values);
}

template <class V, std::size_t N, std::size_t L>
V weighted(const Rows<N, L>& weights, const std::array<V, N>& values, std::size_t lane) noexcept {
  std::array<V, N> products;
  for (std::size_t k = 0; k < N; ++k) products[k] = load<V>(&weights[k][lane]) * values[k];
  if constexpr (N == kExperts)
    return sum_of_experts<L>(products);
  else
    return sum_of(products);
}

/// Fixed share: the weights times their factors, brought to a sum of 1, of which `share` goes to all alike.
template <class V, std::size_t L, class Place>
void decay(Rows<kExperts, L>& weights, const std::array<V, kExperts>& factors, double share, const Place& at) noexcept {
  std::array<V, kExperts> decayed;
  for (std::size_t k = 0; k < kExperts; ++k) decayed[k] = at(weights[k]) * factors[k];
  const V kept = (1 - share) / sum_of_experts<L>(decayed);
  for (std::size_t k = 0; k < kExperts; ++k) at.put(weights[k], kept * decayed[k] + share / kExperts);
}

/// The median of one target: of the experts that have half of the weight at or below them, the least.
inline double weighted_median(const Rows<kExperts, 1>& weights, const std::array<double, kExperts>& experts) noexcept {
  double median = kNone;
  in_packs(kExperts, [&]<class V>(std::size_t lane) {
    const V here = load<V>(&experts[lane]);
    V below{};
    for (std::size_t k = 0; k < kExperts; ++k) below = below + (experts[k] - V{} <= here ? all<V>(weights[k][0]) : V{});
    const V candidate = below >= kHalf ? here : all<V>(kNone);
    median = std::min(median, least_of(candidate));
  });
  return median;
}

/// The medians of targets that share most experts.
/// @param own  experts that are not in `order`
template <class V, std::size_t L, std::size_t N>
V weighted_median(const Rows<kExperts, L>& weights, const std::array<V, kExperts>& experts, const Order& order,
                  const std::array<std::size_t, N>& own, std::size_t lane) noexcept {
  std::array<V, N> value, weight;
  for (std::size_t k = 0; k < N; ++k) value[k] = experts[own[k]], weight[k] = load<V>(&weights[own[k]][lane]);
  // Of the shared experts, the first that has half of the weight; and the weight of those before it.
  V first = all<V>(kNone), before{}, sum{};
  for (std::size_t at = 0; at < Order::kSize; ++at) {
    sum = sum + load<V>(&weights[order.expert[at]][lane]);
    const V here = all<V>(order.value[at]);
    V below = sum;
    for (std::size_t k = 0; k < N; ++k) below = below + (value[k] <= here ? weight[k] : V{});
    first = least(first, below >= kHalf ? here : all<V>(kNone));
    before = below >= kHalf ? before : sum;
  }
  // One of its own may come before it.
  for (std::size_t k = 0; k < N; ++k) {
    V below = before + weight[k];
    for (std::size_t j = 0; j < N; ++j)
      if (j != k) below = below + (value[j] <= value[k] ? weight[j] : V{});
    first = least(first, below >= kHalf ? value[k] : all<V>(kNone));
  }
  return first;
}

// ---- Aggregation ----

/// @param slope  of the loss at `mixed`
template <class V, std::size_t N, std::size_t L, class Place>
void learn_values(Aggregation<N, L>& of, const std::array<V, N>& values, V mixed, V slope, double memory,
                  const Place& at) noexcept {
  for (std::size_t k = 0; k < N; ++k) {
    const V gain = slope * (mixed - values[k]);
    const V largest = most(memory * at(of.most[k]), size_of(gain));
    at.put(of.most[k], largest);
    at.put(of.variance[k], memory * at(of.variance[k]) + gain * gain);
    // The rate was set before this gain was seen, and may be far too large for it: after hours in which all agreed, the
    // first tick of traffic would count as a loss of thousands.
    const V fitting = largest > 0 ? least(at(of.rate[k]), 0.5 / largest) : V{};
    at.put(of.regret[k], memory * at(of.regret[k]) + gain - fitting * gain * gain);
  }
}

template <class V, std::size_t N, std::size_t L>
void weigh(Aggregation<N, L>& of, double log_n, double floor, std::size_t lane) noexcept {
  std::array<V, N> rate, score, weight;
  V best = all<V>(-kNone);
  for (std::size_t k = 0; k < N; ++k) {
    const V largest = load<V>(&of.most[k][lane]);
    rate[k] = largest > 0 ? least(0.5 / largest, root_of(log_n / load<V>(&of.variance[k][lane]))) : V{};
    score[k] = rate[k] * load<V>(&of.regret[k][lane]);
    best = most(best, score[k]);
    store(&of.rate[k][lane], rate[k]);
  }
  V sum{};
  for (std::size_t k = 0; k < N; ++k) {
    weight[k] = (rate[k] > 0 ? rate[k] : all<V>(1e-300)) * exp_of(most(score[k] - best, -40.0));
    sum = sum + weight[k];
  }
  for (std::size_t k = 0; k < N; ++k)
    store(&of.weight[k][lane], sum > 1e-290 ? (1 - floor) * weight[k] / sum + floor / N : all<V>(1.0 / N));
}

// ---- What is expected ----

/// The experts are in `to`.
template <class V, std::size_t L, class Median>
void expect_pack(const Moment& now, double slower, const Targets<L>& of, const Median& median, std::size_t lane,
                 Expectations<L>& to) noexcept {
  const Worth<L>& worth = of.worth[now.busy != 0];
  std::array<V, kExperts> experts;
  for (std::size_t k = 0; k < kNaive; ++k) experts[k] = all<V>(now.naive[k]);
  for (std::size_t k = kNaive; k < kExperts; ++k) experts[k] = load<V>(&to.expert[k - kNaive][lane]);
  const std::array<V, kInputs> inputs = {weighted(of.steady, experts, lane),    weighted(of.quick, experts, lane),
                                         weighted(of.patient, experts, lane),   all<V>(now.last),
                                         median(of.patient, experts),           weighted(worth.steady, experts, lane),
                                         weighted(worth.patient, experts, lane)};
  for (std::size_t k = 0; k < kInputs; ++k) store(&to.inputs[k][lane], inputs[k]);
  const V answer = most(weighted(worth.inputs.weight, inputs, lane), 0.0);  // a model may say what no link can carry
  store(&to.answer[lane], answer);

  const auto none = load<V>(&of.count[lane]) == 0;
  const V presumed = all<V>(now.change + 0.05 * now.range + 1e-9);
  const V quick = none ? presumed : load<V>(&of.error[0][lane]);
  const V medium = none ? presumed : load<V>(&of.error[1][lane]);
  const V slow = none ? presumed : load<V>(&of.error[2][lane]);
  store(&to.spread[0][lane], 0.5 * medium + 0.25 * quick + 0.25 * slow);
  store(&to.spread[1][lane], 0.3 * medium + 0.3 * now.range + 0.2 * now.change + 0.2 * slow);
  store(&to.spread[2][lane], answer * slow * (1 / std::max(slower, 1e-9)) + 0.5 * medium);
  store(&to.spread[3][lane], slow);
}

// ---- What is learnt of an outcome ----

/// Targets and outcomes as the quantiles see them: for each level, one after another.
template <std::size_t M>
struct Judged {
  Lanes<M> outcome, answer, level, pace;
  Rows<kSpreads, M> spread;

  template <std::size_t L>
  Judged(const Due<L>& due, const std::array<double, kLevels>& levels) noexcept {
    for (std::size_t at = 0, of = 0; of < kLevels; ++of)
      for (std::size_t lane = 0; lane < L; ++lane, ++at) {
        outcome[at] = due.outcome[lane];
        answer[at] = due.answer[lane];
        level[at] = levels[of];
        // Slower where outcomes come late, since several are judged before one is seen.
        pace[at] = due.steps == 1 ? kPace : 2 * kPace / static_cast<double>(due.steps + lane);
        for (std::size_t k = 0; k < kSpreads; ++k) spread[k][at] = due.spread[k][lane];
      }
  }
};

template <class V, std::size_t L, std::size_t M>
void track_quantiles(Targets<L>& of, const Judged<M>& due, std::size_t lane) noexcept {
  const V outcome = load<V>(&due.outcome[lane]), answer = load<V>(&due.answer[lane]);
  const V below = -load<V>(&due.level[lane]), over = 1 + below, pace = load<V>(&due.pace[lane]);
  // What is answered is never below 0, so that is what is judged. An outcome that meets its bound asks for no step: or else
  // hours of 0 Mbit/s would drive every factor to its limit, and the band would be wrong when traffic is back.
  const auto slope = [&](V bound) -> V {
    bound = most(bound, 0.0);
    return outcome > bound ? below : (outcome < bound ? over : V{});
  };
  std::array<V, kSpreads> factor, above;
  for (std::size_t k = 0; k < kSpreads; ++k) {
    factor[k] = load<V>(&of.factor[k][lane]);
    above[k] = factor[k] * load<V>(&due.spread[k][lane]);
  }
  const V mixed = weighted(of.spreads.weight, above, lane);
  learn_values(of.spreads, above, mixed, slope(answer + mixed), kSpreadMemory, At<V>{lane});
  for (std::size_t k = 0; k < kSpreads; ++k)
    store(&of.factor[k][lane], least(most(factor[k] - pace * slope(answer + above[k]), -kMostFactor), kMostFactor));
  const V shift = load<V>(&of.shift[lane]);
  const V whole = slope(answer + mixed + shift * load<V>(&due.spread[0][lane]));
  store(&of.shift[lane], least(most(shift - pace * whole, -kMostShift), kMostShift));
}

/// @tparam next  one step ahead
template <class V, bool next, std::size_t L>
void score_pack(Targets<L>& of, const Due<L>& due, std::size_t lane) noexcept {
  const V outcome = load<V>(&due.outcome[lane]), answer = load<V>(&due.answer[lane]);
  const V count = load<V>(&of.count[lane]), lightest = 1 / (count + 1);
  std::array<V, kExperts> loss;
  for (std::size_t k = 0; k < kExperts; ++k) loss[k] = size_of(load<V>(&due.expert[k][lane]) - outcome);
  V mean = sum_of_experts<L>(loss) / kExperts, scale = load<V>(&of.scale[lane]);
  // A single absurd value must not set the scale of all that follows.
  mean = count > 0 ? least(mean, 100 * scale + 1e-9) : mean;
  scale = scale + most(lightest, 1e-3) * (mean - scale);
  store(&of.scale[lane], scale);

  constexpr double kRate = next ? kPatientRate : kPatientAhead;
  const V per_loss = 1 / (scale + 1e-9);
  std::array<V, kExperts> patient, steady, quick;  // factors of the weights
  for (std::size_t k = 0; k < kExperts; ++k) {
    patient[k] = decay_of(kRate * least(loss[k] * per_loss, kMostLoss));
    const V fourth = (patient[k] * patient[k]) * (patient[k] * patient[k]);
    const V eighth = fourth * fourth;
    steady[k] = next ? eighth : eighth * eighth * fourth;  // the same speed from either rate
    quick[k] = steady[k] * steady[k];
  }
  const At<V> at{lane};
  decay(of.patient, patient, kPatientShare, at);
  decay(of.steady, steady, kSteadyShare, at);
  decay(of.quick, quick, kQuickShare, at);
  const auto learn_worth = [&](Worth<L>& worth, const auto& its) {
    decay(worth.patient, patient, kPatientShare, its);
    decay(worth.steady, steady, kSteadyShare, its);
    std::array<V, kInputs> inputs;
    for (std::size_t k = 0; k < kInputs; ++k) inputs[k] = at(due.inputs[k]);
    learn_values(worth.inputs, inputs, answer, answer > outcome ? all<V>(1) : all<V>(-1), kMemory, its);
  };
  if constexpr (kWidth<V> == 1)
    learn_worth(of.worth[due.busy[lane] != 0], at);
  else
    learn_worth(of.worth[0], AtEither<V, L>{at(due.busy) != 0, lane});

  V error = size_of(outcome - answer);
  V quickly = load<V>(&of.error[0][lane]), medium = load<V>(&of.error[1][lane]), slow = load<V>(&of.error[2][lane]);
  error = count > 20 ? least(error, 50 * slow + 1e-9) : error;  // as for the scale
  store(&of.count[lane], count + 1);
  quickly = quickly + most(lightest, 0.3) * (error - quickly);
  medium = medium + most(lightest, 0.05) * (error - medium);
  slow = slow + most(lightest, 0.005) * (error - slow);
  slow = least(slow, 100 * medium);  // a link that has become steady is not wide for long
  store(&of.error[0][lane], quickly);
  store(&of.error[1][lane], medium);
  store(&of.error[2][lane], slow);
}

}  // namespace
}  // namespace linkcast::mixing
