#include "engine/mixture.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/finite.h"

namespace linkcast {

using namespace mixing;

namespace {

constexpr double kBias = 0.02;  // the constant feature: small, so that it costs more than the others
constexpr std::size_t kWeighEvery = 4;
constexpr std::size_t kSolveEvery = 16;  // ticks: each regression is solved once in so many

/// Whether the values ahead learn on this tick, or the peaks: in turns, since what neighbouring ticks teach about several
/// steps ahead is nearly the same. The turns repeat with no period (Thue and Morse): by even and odd ticks, a link that
/// repeats itself every 2, 4 or 8 would teach a target in one of its states alone.
bool is_turn_of_values(std::uint64_t tick) noexcept { return std::popcount(tick) % 2 == 0; }

enum Naive { kModel, kLast, kMean, kHarmonic, kMedian, kEwma2, kEwma5, kEwma8, kSlow, kSlower, kMaximum, kMedianLong };

/// By a network of 29 exchanges (Knuth, The Art of Computer Programming, 5.3.4): no branches.
void sort_ten(std::array<double, 10>& values) noexcept {
  constexpr std::array<std::array<std::uint8_t, 2>, 29> kExchanges = {
      {{0, 8}, {1, 9}, {2, 7}, {3, 5}, {4, 6}, {0, 2}, {1, 4}, {5, 8}, {7, 9}, {0, 3},
       {2, 4}, {5, 7}, {6, 9}, {0, 1}, {3, 6}, {8, 9}, {1, 5}, {2, 3}, {4, 8}, {6, 7},
       {1, 2}, {3, 5}, {4, 6}, {7, 8}, {2, 3}, {4, 5}, {6, 7}, {3, 4}, {5, 6}}};
#pragma GCC unroll 29
  for (std::size_t k = 0; k < kExchanges.size(); ++k) {
    double &low = values[kExchanges[k][0]], &high = values[kExchanges[k][1]];
    const double less = std::min(low, high);
    high = std::max(low, high);
    low = less;
  }
}

}  // namespace

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
  if (const Moment* before = made(row, 1)) score_next(link, *before, measured);
}

/// What was expected of one step ahead is scored.
void Mixture::score_next(Link& link, const Moment& then, double measured) noexcept {
  link.above += measured > quantiles(link.next, then.next, 0)[2];
  Due<1> due;
  due.came[0] = true;
  due.steps = 1;
  for (std::size_t k = 0; k < kNaive; ++k) due.expert[k][0] = then.naive[k];
  std::copy(then.next.expert.begin(), then.next.expert.end(), due.expert.begin() + kNaive);
  due.inputs = then.next.inputs;
  due.spread = then.next.spread;
  due.answer = then.next.answer;
  due.outcome[0] = measured;
  due.busy[0] = then.busy;
  const bool first = link.next.count[0] == 0;
  for (std::size_t k = 0; k < kExperts; ++k) {
    const double loss = std::fabs(due.expert[k][0] - measured);
    link.error[k] = first ? loss : link.error[k] + 0.01 * (loss - link.error[k]);
  }
  arithmetic_.score_next(due, levels_, link.ticks % kWeighEvery == 0, link.next);
}

Outlook Mixture::answer(std::size_t row, const double* values, double model) noexcept {
  look(row, values, model);
  Link& link = links_[row];
  Moment& now = moment(row, link.ticks);
  now.next.expert[3][0] = 0.5 * (now.last + now.naive[kModel]);
  now.next.expert[4][0] = link.on_off.ends_next() ? link.on_off.level[now.busy == 0] : now.last;
  arithmetic_.expect_next(now, link.slower, link, now.next);
  link.answered = 1;
  return outlook(link.next, now.next, 0);
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
  sorted.fill(std::numeric_limits<double>::infinity());
  std::array<double, 4> sums{};  // of all, and the moving averages
  double change = 0, inverse = 0, recent = 0;
  for (std::size_t k = 0; k < lags; ++k) {
    sorted[k] = w[k];
    for (std::size_t of = 0; of < sums.size(); ++of) sums[of] += filters_[k][of] * w[k];
    if (k > 0) change += std::fabs(w[k] - w[k - 1]);
  }
  sort_ten(sorted);
  const double mean = sums[0] / static_cast<double>(lags);
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
  now.naive[kEwma2] = sums[1];
  now.naive[kEwma5] = sums[2];
  now.naive[kEwma8] = sums[3];
  now.naive[kSlow] = link.slow;
  now.naive[kSlower] = link.slower;
  now.naive[kMaximum] = highest;
  now.naive[kMedianLong] = link.newest.median(last);
  now.last = last;
  now.busy = link.on_off.busy;
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

/// What the other targets are expected to be, values first: a peak is no lower than what is expected on its way.
void Mixture::look_ahead(std::size_t row) noexcept {
  Link& link = links_[row];
  if (link.answered == 0 || link.looked_ahead != 0) return;
  link.looked_ahead = 1;
  if (beyond_ == 0) return;
  const Moment& now = moment(row, link.ticks);
  const double next = now.next.answer[0];
  std::array<double, Order::kSize> shared;
  std::copy(now.naive.begin(), now.naive.end(), shared.begin());
  shared.back() = next;
  const Order order({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, kNaive + 2}, shared);
  const auto ends = link.on_off.ends();
  const double other = link.on_off.level[now.busy == 0];
  double reached = next;
  for (const Group group : {kValues, kPeaks}) {
    Forecasts& to = forecasts(row, link.ticks, group);
    const Forecasts& values = forecasts(row, link.ticks, kValues);
    const bool stays = group == kPeaks && now.busy != 0;  // a peak that has been stays one
    for (std::size_t target = 0; target < beyond_; ++target) {
      if (group == kPeaks)
        reached = std::max(reached, target < kLanes ? values.most.answer[target] : values.last.answer[0]);
      const auto set = [&](auto& part, std::size_t lane) {
        part.expert[2][lane] = next;
        part.expert[3][lane] = reached;
        part.expert[4][lane] = ends[target + 2] && !stays ? other : now.last;
      };
      target < kLanes ? set(to.most, target) : set(to.last, 0);
    }
    arithmetic_.expect(now, order, link.slower, ahead_[row * 2 + group], grams_[row], group == kPeaks, beyond_, to);
  }
}

/// Not below 0, as what is answered.
template <std::size_t L>
std::array<double, kLevels> Mixture::quantiles(const Targets<L>& of, const Expectations<L>& expected,
                                               std::size_t lane) const noexcept {
  std::array<double, kLevels> q;
  for (std::size_t level = 0; level < kLevels; ++level) {
    const std::size_t at = level * L + lane;
    q[level] = of.shift[at] * expected.spread[0][lane];
    for (std::size_t k = 0; k < kSpreads; ++k)
      q[level] += of.spreads.weight[k][at] * of.factor[k][at] * expected.spread[k][lane];
    q[level] = std::max(expected.answer[lane] + q[level], 0.0);
  }
  return q;
}

template <std::size_t L>
Outlook Mixture::outlook(const Targets<L>& of, const Expectations<L>& expected, std::size_t lane) const noexcept {
  const std::array<double, kLevels> q = quantiles(of, expected, lane);
  // Quantiles are followed one by one and may cross; what is answered is in order, and the forecast within its band.
  const double p10 = std::min(q[0], q[1]), p50 = q[1], p90 = std::max(q[2], q[1]);
  double reserve = q[3];
  if (levels_[3] >= levels_[2])
    reserve = std::max(reserve, p90);
  else if (levels_[3] <= levels_[0])
    reserve = std::min(reserve, p10);
  else
    reserve = std::clamp(reserve, levels_[3] >= levels_[1] ? p50 : p10, levels_[3] >= levels_[1] ? p90 : p50);
  return {std::clamp(expected.answer[lane], p10, p90), p10, p50, p90, reserve};
}

Outlook Mixture::at(std::size_t row, std::size_t steps) noexcept { return outlook_ahead(row, kValues, steps); }
Outlook Mixture::peak(std::size_t row, std::size_t steps) noexcept { return outlook_ahead(row, kPeaks, steps); }

Outlook Mixture::outlook_ahead(std::size_t row, Group group, std::size_t steps) noexcept {
  const Link& link = links_[row];
  if (steps == 1) return outlook(link.next, moment(row, link.ticks).next, 0);
  look_ahead(row);
  const Values& of = ahead_[row * 2 + group];
  const Forecasts& expected = forecasts(row, link.ticks, group);
  return steps - 2 < kLanes ? outlook(of.most, expected.most, steps - 2) : outlook(of.last, expected.last, 0);
}

const Moment* Mixture::made(std::size_t row, std::size_t ago) noexcept {
  const std::uint64_t ticks = links_[row].ticks;
  if (ticks <= ago) return nullptr;
  const Moment& then = moment(row, ticks - ago);
  return then.tick == ticks - ago ? &then : nullptr;
}

void Mixture::advance(std::size_t row) noexcept {
  Link& link = links_[row];
  if (link.advanced != 0 || link.ticks == 0) return;
  link.advanced = 1;
  look_ahead(row);
  const double measured = outcome(link, link.ticks);
  if (!std::isfinite(measured)) return;
  if (const Moment* before = made(row, 1)) arithmetic_.learn_next(*before, measured, link.regression);
  if (beyond_ > 0) {
    score_ahead(row);
    if (const Moment* first = made(row, options_.horizon)) learn_ahead(row, *first);
  }
  solve(row);
}

/// What was expected of this tick some steps ago is scored.
void Mixture::score_ahead(std::size_t row) noexcept {
  const Link& link = links_[row];
  const Group group = is_turn_of_values(link.ticks) ? kValues : kPeaks;
  Beyond<Due> due{};
  due.most.came.fill(true);  // beyond the horizon nothing came, as was expected
  due.most.steps = 2;
  due.last.steps = kMostHorizon;
  const double measured = outcome(link, link.ticks);
  double peak = measured;
  for (std::size_t target = 0; target < beyond_; ++target) {
    const std::size_t steps = target + 2;
    const double reached = outcome(link, link.ticks - steps + 1);
    peak = std::isnan(reached) ? kUnknown : std::max(peak, reached);
    const Moment* then = made(row, steps);
    const auto set = [&](auto& part, const auto& expected, std::size_t lane) {
      for (std::size_t k = 0; k < kNaive; ++k) part.expert[k][lane] = then->naive[k];
      for (std::size_t k = kNaive; k < kExperts; ++k) part.expert[k][lane] = expected.expert[k - kNaive][lane];
      for (std::size_t k = 0; k < kInputs; ++k) part.inputs[k][lane] = expected.inputs[k][lane];
      for (std::size_t k = 0; k < kSpreads; ++k) part.spread[k][lane] = expected.spread[k][lane];
      part.answer[lane] = expected.answer[lane];
      part.outcome[lane] = group == kValues ? measured : peak;
      part.busy[lane] = then->busy;
    };
    const bool came = then && (group == kValues || std::isfinite(peak));
    (target < kLanes ? due.most.came[target] : due.last.came[0]) = came;
    if (!came) continue;
    const Forecasts& expected = forecasts(row, then->tick, group);
    target < kLanes ? set(due.most, expected.most, target) : set(due.last, expected.last, 0);
  }
  arithmetic_.score(due, levels_, link.ticks / 2 % kWeighEvery, beyond_, ahead_[row * 2 + group]);
}

/// The regressions of the targets beyond one step learn the tick whose outcomes are all in.
void Mixture::learn_ahead(std::size_t row, const Moment& then) noexcept {
  const Link& link = links_[row];
  mixing::Rows<2, kBeyond> step{};  // of the values, of the peaks: what came, in units
  double peak = outcome(link, then.tick + 1);
  for (std::size_t target = 0; target < beyond_; ++target) {
    const double reached = outcome(link, then.tick + target + 2);
    if (!std::isfinite(reached) || !std::isfinite(peak)) return;
    peak = std::max(peak, reached);
    step[kValues][target] = (reached - then.last) / then.unit;
    step[kPeaks][target] = (peak - then.last) / then.unit;
  }
  arithmetic_.learn(then, step, beyond_, grams_[row]);
}

/// A part of the solving in each tick: no tick takes much longer than another.
void Mixture::solve(std::size_t row) noexcept {
  Link& link = links_[row];
  const std::size_t turn = link.ticks % kSolveEvery;
  if (turn < kFirst) {
    if (made(row, 1)) arithmetic_.solve_next(link.regression[turn]);
    return;
  }
  const std::size_t g = (turn - kFirst) / 3, part = (turn - kFirst) % 3;
  if (beyond_ == 0 || g >= kAhead) return;
  mixing::SharedGram& gram = grams_[row][g];
  if (part == 0)
    arithmetic_.factorise(gram);
  else if (gram.factored != 0)
    arithmetic_.solve(gram, part - 1, beyond_);
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
  const Targets<1>& of = links_[row].next;
  const mixing::Worth<1>& worth = of.worth[links_[row].on_off.busy != 0];
  const auto inputs = [&worth](std::size_t k) { return worth.inputs.weight[k][0]; };
  const double direct = expert == kLast ? inputs(3) : 0;
  // What the median picks changes with each tick: its share goes to all by the weights that it is of.
  return inputs(0) * of.steady[expert][0] + inputs(1) * of.quick[expert][0] +
         (inputs(2) + inputs(4)) * of.patient[expert][0] + inputs(5) * worth.steady[expert][0] +
         inputs(6) * worth.patient[expert][0] + direct;
}

}  // namespace linkcast
