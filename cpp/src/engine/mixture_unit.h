// Fills a mixture's arithmetic for one width of registers; included by the unit of each instruction set.
#pragma once

#include "engine/mixture_regressions.h"
#include "engine/mixture_targets.h"

namespace linkcast::mixing {
namespace {

/// Of the experts of a target beyond one step, those that it does not share with the others.
constexpr std::array<std::size_t, 4> kOwn = {12, 13, 15, 16};

/// As in_packs, of lanes that `are` alone.
template <std::size_t L, class Act>
void where_all(std::size_t lanes, const std::array<bool, L>& are, const Act& act) noexcept {
  in_packs(lanes, [&]<class V>(std::size_t lane) {
    bool whole = true;
    for (std::size_t k = 0; k < kWidth<V>; ++k) whole = whole && are[lane + k];
    if (whole) return act.template operator()<V>(lane);
    for (std::size_t k = lane; k < lane + kWidth<V>; ++k)
      if (are[k]) act.template operator()<double>(k);
  });
}

struct Unit {
  static void expect(const Moment& now, const Order& order, double slower, const Targets<kLanes>& of,
                     const std::array<SharedGram, kAhead>& grams, bool peaks, std::size_t lanes,
                     Expectations<kLanes>& to) {
    in_packs(lanes, [&]<class V>(std::size_t lane) {
      for (std::size_t g = 0; g < kAhead; ++g)
        store(&to.expert[g][lane], regress<V>(grams[g].sides[peaks].weights, now, lane));
      const auto median = [&](const auto& weights, const auto& experts) {
        return weighted_median(weights, experts, order, kOwn, lane);
      };
      expect_pack<V>(now, slower, of, median, lane, to);
    });
  }

  static void expect_next(const Moment& now, double slower, const Link& link, Expectations<1>& to) {
    for (std::size_t g = 0; g < kFirst; ++g)
      to.expert[g][0] = regress<double>(link.regression[g].sides.weights, now, 0);
    const auto median = [](const auto& weights, const auto& experts) { return weighted_median(weights, experts); };
    expect_pack<double>(now, slower, link.next, median, 0, to);
  }

  static void score(const Due<kLanes>& due, const std::array<bool, kLanes>& came,
                    const std::array<double, kLevels>& levels, std::size_t turn, std::size_t lanes,
                    Targets<kLanes>& of) {
    where_all(lanes, came, [&]<class V>(std::size_t lane) { score_pack<V>(of, due, lane); });
    constexpr std::size_t kQuantiles = kLevels * kLanes, kSomeQuantiles = kQuantiles / 2;
    std::array<bool, kQuantiles> judged;
    for (std::size_t k = 0; k < kQuantiles; ++k) judged[k] = came[k % kLanes];
    where_all(kQuantiles, judged, [&, all = Judged<kQuantiles>(due, levels)]<class V>(std::size_t lane) {
      track_quantiles<V>(of, all, lane);
    });
    const auto weigh_inputs = [&]<class V>(std::size_t lane) {
      weigh<V>(of.worth[turn].inputs, kLogInputs, kInputsFloor, lane);
    };
    const auto weigh_spreads = [&]<class V>(std::size_t lane) {
      weigh<V>(of.spreads, kLogSpreads, kSpreadsFloor, lane);
    };
    if (turn < 2)
      in_packs(lanes, weigh_inputs);
    else if (turn == 2)
      in_packs(kSomeQuantiles, weigh_spreads);
    else
      in_packs(kQuantiles, weigh_spreads, kSomeQuantiles);
  }

  static void score_next(const Due<1>& due, const std::array<double, kLevels>& levels, bool weigh_spreads,
                         Targets<1>& of) {
    score_pack<double>(of, due, 0);
    weigh<double>(of.worth[due.busy[0] != 0].inputs, kLogInputs, kInputsFloor, 0);
    in_packs(kLevels, [&, all = Judged<kLevels>(due, levels)]<class V>(std::size_t lane) {
      track_quantiles<V>(of, all, lane);
      if (weigh_spreads) weigh<V>(of.spreads, kLogSpreads, kSpreadsFloor, lane);
    });
  }

  static void solve_next(Regression& regression) {
    const double ridge = ridge_of(regression.gram);
    Triangle factor;
    if (factor_of(regression.gram, ridge, factor)) substitute<double>(factor, ridge, regression.sides, 0);
  }

  static void factorise(SharedGram& gram) {
    gram.ridge = ridge_of(gram.gram);
    gram.factored = factor_of(gram.gram, gram.ridge, gram.factor);
  }

  static void solve(SharedGram& gram, std::size_t group, std::size_t lanes) {
    in_packs(lanes,
             [&]<class V>(std::size_t lane) { substitute<V>(gram.factor, gram.ridge, gram.sides[group], lane); });
  }

  static constexpr Arithmetic table(const char* name) {
    return {name, expect, expect_next, score, score_next, learn_next, learn, solve_next, factorise, solve};
  }
};

}  // namespace
}  // namespace linkcast::mixing
