// Fills a mixture's arithmetic for one width of registers; included by the unit of each instruction set.
#pragma once

#include <algorithm>

#include "engine/mixture_regressions.h"
#include "engine/mixture_targets.h"

namespace linkcast::mixing {
namespace {

/// Of the experts of a target beyond one step, those that it does not share with the others.
constexpr std::array<std::size_t, 4> kOwn = {12, 13, 15, 16};

/// As in_packs, of lanes that `are` alone.
template <std::size_t L, class Act>
void where_all(std::size_t lanes, const std::array<bool, L>& are, const Act& act) noexcept {
  in_packs<std::min(kWidest, L)>(lanes, [&]<class V>(std::size_t lane) {
    bool whole = true;
    for (std::size_t k = 0; k < kWidth<V>; ++k) whole = whole && are[lane + k];
    if (whole) return act.template operator()<V>(lane);
    for (std::size_t k = lane; k < lane + kWidth<V>; ++k)
      if (are[k]) act.template operator()<double>(k);
  });
}

/// @tparam next  one step ahead
template <bool next, std::size_t L>
void score_all(const Due<L>& due, const std::array<double, kLevels>& levels, std::size_t lanes,
               Targets<L>& of) noexcept {
  where_all(lanes, due.came, [&]<class V>(std::size_t lane) { score_pack<V, next>(of, due, lane); });
  std::array<bool, kLevels * L> judged;
  for (std::size_t k = 0; k < judged.size(); ++k) judged[k] = due.came[k % L];
  const Judged<kLevels * L> all(due, levels);
  where_all(judged.size(), judged, [&]<class V>(std::size_t lane) { track_quantiles<V>(of, all, lane); });
}

inline void expect_one(const Moment& now, double slower, const Targets<1>& of, Expectations<1>& to) noexcept {
  const auto median = [](const auto& weights, const auto& experts) { return weighted_median(weights, experts); };
  expect_pack<double>(now, slower, of, median, 0, to);
}

/// A fourth of what is to be weighed.
template <std::size_t L>
void weigh_part(std::size_t turn, std::size_t lanes, Targets<L>& of) noexcept {
  const auto weigh_inputs = [&]<class V>(std::size_t lane) {
    weigh<V>(of.worth[turn].inputs, kLogInputs, kInputsFloor, lane);
  };
  const auto weigh_spreads = [&]<class V>(std::size_t lane) { weigh<V>(of.spreads, kLogSpreads, kSpreadsFloor, lane); };
  constexpr std::size_t kQuantiles = kLevels * L;
  if (turn < 2)
    in_packs<std::min(kWidest, L)>(lanes, weigh_inputs);
  else if (turn == 2)
    in_packs(kQuantiles / 2, weigh_spreads);
  else
    in_packs(kQuantiles, weigh_spreads, kQuantiles / 2);
}

inline void expect(const Moment& now, const Order& order, double slower, const Beyond<Targets>& of,
                   const std::array<SharedGram, kAhead>& grams, bool peaks, std::size_t count,
                   Beyond<Expectations>& to) {
  in_packs(std::min(count, kLanes), [&]<class V>(std::size_t lane) {
    for (std::size_t g = 0; g < kAhead; ++g)
      store(&to.most.expert[g][lane], regress<V>(grams[g].sides[peaks].most.weights, now, lane));
    const auto median = [&](const auto& weights, const auto& experts) {
      return weighted_median(weights, experts, order, kOwn, lane);
    };
    expect_pack<V>(now, slower, of.most, median, lane, to.most);
  });
  if (count <= kLanes) return;
  for (std::size_t g = 0; g < kAhead; ++g)
    to.last.expert[g][0] = regress<double>(grams[g].sides[peaks].last.weights, now, 0);
  expect_one(now, slower, of.last, to.last);
}

inline void expect_next(const Moment& now, double slower, const Link& link, Expectations<1>& to) {
  for (std::size_t g = 0; g < kFirst; ++g) to.expert[g][0] = regress<double>(link.regression[g].sides.weights, now, 0);
  expect_one(now, slower, link.next, to);
}

inline void score(const Beyond<Due>& due, const std::array<double, kLevels>& levels, std::size_t turn,
                  std::size_t count, Beyond<Targets>& of) {
  const std::size_t lanes = std::min(count, kLanes);
  score_all<false>(due.most, levels, lanes, of.most);
  weigh_part(turn, lanes, of.most);
  if (count <= kLanes) return;
  score_all<false>(due.last, levels, 1, of.last);
  weigh_part(turn, 1, of.last);
}

inline void score_next(const Due<1>& due, const std::array<double, kLevels>& levels, bool weigh_spreads,
                       Targets<1>& of) {
  score_all<true>(due, levels, 1, of);
  weigh<double>(of.worth[due.busy[0] != 0].inputs, kLogInputs, kInputsFloor, 0);
  if (weigh_spreads) weigh_part(2, 1, of), weigh_part(3, 1, of);
}

inline void solve_next(Regression& regression) {
  const double ridge = ridge_of(regression.gram);
  Triangle factor;
  if (factor_of(regression.gram, ridge, factor)) substitute<double>(factor, ridge, regression.sides, 0);
}

inline void factorise(SharedGram& gram) {
  gram.ridge = ridge_of(gram.gram);
  gram.factored = factor_of(gram.gram, gram.ridge, gram.factor);
}

inline void solve(SharedGram& gram, std::size_t group, std::size_t count) {
  auto& sides = gram.sides[group];
  in_packs(std::min(count, kLanes),
           [&]<class V>(std::size_t lane) { substitute<V>(gram.factor, gram.ridge, sides.most, lane); });
  if (count > kLanes) substitute<double>(gram.factor, gram.ridge, sides.last, 0);
}

constexpr Arithmetic kArithmetic = {expect, expect_next, score,     score_next, learn_next,
                                    learn,  solve_next,  factorise, solve};

}  // namespace
}  // namespace linkcast::mixing
