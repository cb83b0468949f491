// What a mixture holds of each link, as plain numbers: arrays in which those of several targets lie side by side, since the
// arithmetic (mixture_arithmetic.h) does the same to all of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "engine/on_off.h"
#include "engine/rolling_median.h"

namespace linkcast::mixing {

inline constexpr std::size_t kMostHorizon = 10;
inline constexpr std::size_t kBeyond = kMostHorizon - 1;  // targets beyond one step, of the values or of the peaks
inline constexpr std::size_t kLanes = 8;  // of these, side by side: as many as the widest register holds
inline constexpr std::size_t kExperts = 17;
inline constexpr std::size_t kNaive = 12;         // experts that every target shares
inline constexpr std::size_t kFirst = 3;          // regressions of one step ahead
inline constexpr std::size_t kAhead = 2;          // of each other target
inline constexpr std::size_t kFeatures = 16;      // of a regression
inline constexpr std::size_t kModelFeature = 13;  // what they shrink to: 1 for the model's step, 0 for the others
inline constexpr std::size_t kInputs = 7;         // of the aggregation: see Expectations::inputs
inline constexpr std::size_t kSpreads = 4;
inline constexpr std::size_t kLevels = 4;  // P10, P50, P90, Mixture::Options::level
inline constexpr std::size_t kLong = 64;   // values of the long median
// What numbers are held to.
inline constexpr double kMostFeature = 3;
inline constexpr double kMostFactor = 10;
inline constexpr double kMostShift = 5;

/// A number of each of L targets.
template <std::size_t L>
using Lanes = std::array<double, L>;
template <std::size_t N, std::size_t L>
using Rows = std::array<Lanes<L>, N>;

/// Of the targets beyond one step. The last stands by itself, where its experts lie side by side: a ninth lane would cost as
/// much as eight.
template <template <std::size_t> class Of>
struct Beyond {
  Of<kLanes> most;  // 2 to 9 steps ahead
  Of<1> last;       // 10
};
static_assert(kBeyond == kLanes + 1);

/// Bernstein online aggregation of N numbers, for each of L targets.
template <std::size_t N, std::size_t L>
struct Aggregation {
  Rows<N, L> regret, variance, most, rate, weight;
};

/// What experts and inputs are worth in one state of the link.
template <std::size_t L>
struct Worth {
  Rows<kExperts, L> steady, patient;  // weights
  Aggregation<kInputs, L> inputs;
};

/// What L targets have learnt.
template <std::size_t L>
struct Targets {
  Rows<kExperts, L> steady, quick, patient;  // weights, whatever the state
  std::array<Worth<L>, 2> worth;             // when the link is quiet, when it is busy
  Lanes<L> scale;                            // of the experts' losses
  Lanes<L> count;                            // outcomes scored
  Rows<3, L> error;                          // mean absolute errors of the answer: quick, medium, slow
  // Of the quantiles, level after level: kLevels * L lanes.
  Rows<kSpreads, kLevels * L> factor;
  Aggregation<kSpreads, kLevels * L> spreads;
  Lanes<kLevels * L> shift;
};

/// What a tick expects of L targets.
template <std::size_t L>
struct Expectations {
  Rows<kExperts - kNaive, L> expert;  // regressions, and those that the target adds
  // Means by the steady, quick and patient weights; the last value; the median by the patient ones; means by the state's
  // own two.
  Rows<kInputs, L> inputs;
  Rows<kSpreads, L> spread;
  Lanes<L> answer;
};

/// What a tick looked at, and what it expects one step ahead.
struct Moment {
  std::uint64_t tick;  // 0: none
  std::array<double, kFeatures> features;
  std::array<double, kNaive> naive;
  double unit, last, highest, range, change;  // of the window; highest: what a regression may answer at most
  double busy;                                // OnOff::busy
  Expectations<1> next;
};

/// Upper triangle of a symmetric matrix, row after row. Each row begins at a multiple of four columns, at or before the
/// diagonal, so that rows are whole packs.
using Triangle = std::array<double, kFeatures*(kFeatures + 4) / 2>;

/// A regression's right-hand sides and solutions, for L targets.
template <std::size_t L>
struct Sides {
  Rows<kFeatures, L> right, weights;
};

/// One step ahead.
struct Regression {
  Triangle gram;
  Sides<1> sides;
  double error;  // recent mean absolute error, in units
};

/// What the targets beyond one step share: a Gram matrix, and its factor from the last time that it was solved.
struct SharedGram {
  Triangle gram, factor;
  double error, ridge, factored;       // factored: 1 when `factor` can be used
  std::array<Beyond<Sides>, 2> sides;  // of the values, of the peaks
};

struct Link {
  double slow, slower, level;                                 // averages of what was measured, by 0.1, 0.01 and 0.01
  double started, resumed, answered, looked_ahead, advanced;  // flags: 0 or 1
  double above;                                               // outcomes above P90, one step ahead
  std::uint64_t ticks;
  std::array<double, kMostHorizon + 1> outcome;  // of the last ticks, by ticks % size; NaN: none came
  std::array<double, kExperts> error;
  Targets<1> next;
  std::array<Regression, kFirst> regression;
  OnOff on_off;
  RollingMedian<kLong> newest;
};

}  // namespace linkcast::mixing
