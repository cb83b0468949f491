// An online mixture of forecasts for each link of a stream: the model's forecast beside naive rules and online
// regressions, weighted by what has been measured since, with a calibrated band, for one step ahead and for several.
//
// Nothing here is trained. For each target (the value h steps ahead, or the peak of the next k steps):
// - experts forecast it: see Mixture::expert_names
// - three sets of weights follow their absolute errors at different speeds: exponential weights with a fixed share
//   (Herbster and Warmuth, Tracking the Best Expert, 1998)
// - two more sets do so for each state of the link alone, which is quiet or busy (OnOff)
// - their means of the experts, the median by the slowest of the first three, and the last value are aggregated by BOA on
//   linearised losses (Wintenberger, Optimal learning with Bernstein online aggregation, 2017), for each state by itself:
//   the answer
// - quantiles are the answer plus factors times several measures of spread. Each factor follows its quantile by online
//   gradient steps on the pinball loss, BOA mixes them, and a last shift holds the share of outcomes above the quantile
//   (Gibbs and Candes, Adaptive conformal inference under distribution shift, 2021).
//
// The regressions are online ridge regressions of the step from the last value, weighted to an L1 fit, with several
// forgetting factors; they shrink towards the model. One step ahead has its own, the other targets share their Gram
// matrices, which learn a tick when all its outcomes are in.
//
// Regret. With weights that start alike at 1/K, no expert k is better than exponential weights by more than
//     ln(K) / eta + eta T C^2 / 8
// in units of the loss scale, where a loss counts at most C = 50 (Cesa-Bianchi and Lugosi, Prediction, Learning, and
// Games, 2006, theorem 2.2); with the fixed share, no sequence of experts with S changes by more than that and
// (S ln(K / share) + T share) / eta. On the ticks of either state BOA is within 2 sqrt(V_k ln(N)) + 4 E ln(N) of its
// input k, where V_k sums the squares of the linearised differences and E is the largest.
//
// Arithmetic is +, -, *, / and square roots in float64, without contraction to fused operations: the same bits on every
// machine.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/on_off.h"
#include "engine/rolling_median.h"

namespace linkcast {

/// What is expected of one target. Units of the forecaster's target (Mbit/s).
struct Outlook {
  double mbps = 0;  ///< of least expected absolute error
  double p10 = 0;   ///< exceeded by nine outcomes in ten
  double p50 = 0;
  double p90 = 0;      ///< exceeded by one outcome in ten
  double reserve = 0;  ///< the quantile of Mixture::Options::level
};

/// Not thread-safe. All memory is sized at construction; nothing allocates, throws or locks after it.
class Mixture {
 public:
  static constexpr std::size_t kMostHorizon = 10;
  static constexpr std::size_t kExperts = 17;
  static constexpr std::size_t kLeastWindow = 2;

  struct Options {
    std::size_t horizon = kMostHorizon;  ///< steps ahead that are forecast, 1 to kMostHorizon
    double level = 0.95;                 ///< of Outlook::reserve: the share of outcomes that it is to hold
  };

  /// @param rows    links, each with weights of its own
  /// @param window  values in a window, at least kLeastWindow; the newest ten are looked at
  /// @throws std::invalid_argument  an option out of range
  Mixture(std::size_t rows, std::size_t window, const Options& options);

  const Options& options() const noexcept { return options_; }

  /// A tick of one row begins. What was expected of it one step ahead is scored.
  /// @param measured  what came; not finite: nothing did, and this tick scores and teaches nothing
  void observe(std::size_t row, double measured) noexcept;

  /// The answer of this tick, whose window is full.
  /// @param values  (window) oldest first, this tick's last
  /// @param model   the forecaster's forecast of the next value; not finite where it has none: the last value stands in
  Outlook answer(std::size_t row, const double* values, double model) noexcept;

  /// The rest of the tick's work: the other targets' forecasts, and learning. observe() does it first when it was not
  /// called.
  void advance(std::size_t row) noexcept;

  /// Of this tick, after answer(): the value `steps` ahead, 1 to Options::horizon, and the peak of the next `steps`.
  Outlook at(std::size_t row, std::size_t steps) noexcept;
  Outlook peak(std::size_t row, std::size_t steps) noexcept;

  /// The window was dropped: what is under way is not scored any more. What was learnt stays.
  void interrupt(std::size_t row) noexcept;
  /// As new.
  void forget(std::size_t row) noexcept;

  /// Of one step ahead.
  static const std::array<const char*, kExperts>& expert_names() noexcept;
  double weight(std::size_t row, std::size_t expert) const noexcept;  ///< share of the answer; they sum to 1
  double error(std::size_t row,
               std::size_t expert) const noexcept;  ///< mean absolute error of the last 100 or so; NaN before any
  /// Share of the scored outcomes that lay above the P90 of one step ahead; NaN before any.
  double exceeded(std::size_t row) const noexcept;
  std::uint64_t scored(std::size_t row) const noexcept;  ///< ticks that one step ahead was scored on

  /// All that was learnt and is under way, as bytes for the same rows, window and horizon on a machine of the same byte order.
  std::size_t snapshot_size() const noexcept;
  void snapshot(std::byte* bytes) const noexcept;
  /// Whether restore() may take these bytes: each number is one that its place can hold (weights sum to 1, flags are 0 or
  /// 1, sizes are not below 0), none lies beyond 1e100, and nothing points outside.
  bool is_snapshot(const std::byte* bytes, std::size_t size) const;
  void restore(const std::byte* bytes) noexcept;
  /// One row, as the bytes of a mixture of one row.
  void snapshot_row(std::size_t row, std::byte* bytes) const noexcept;
  /// Makes `row` what a row of another mixture with the same options is.
  void copy_row(std::size_t row, const Mixture& from, std::size_t from_row) noexcept;

 private:
  static constexpr std::size_t kNaive = 12;         // experts that every target shares
  static constexpr std::size_t kFirst = 3;          // regressions of one step ahead
  static constexpr std::size_t kAhead = 2;          // of each other target
  static constexpr std::size_t kFeatures = 16;      // of a regression
  static constexpr std::size_t kModelFeature = 13;  // what they shrink to: 1 for the model's step, 0 for the others
  static constexpr std::size_t kPacked = kFeatures * (kFeatures + 1) / 2;  // lower triangle, row after row
  static constexpr std::size_t kInputs = 7;  // of the aggregation: see Expectation::inputs
  static constexpr std::size_t kSpreads = 4;
  static constexpr std::size_t kLevels = 4;  // P10, P50, P90, Options::level
  static constexpr std::size_t kLags = 10;   // values of a window that are looked at
  static constexpr std::size_t kLong = 64;   // values of the long median
  // What numbers are held to.
  static constexpr double kMostFeature = 3;
  static constexpr double kMostFactor = 10;
  static constexpr double kMostShift = 5;

  /// Bernstein online aggregation of N numbers.
  template <std::size_t N>
  struct Aggregation {
    std::array<double, N> regret, variance, most, rate, weight;
    void start() noexcept;
    double mix(const std::array<double, N>& values) const noexcept;
    void learn(const std::array<double, N>& values, double mixed, double slope, double memory) noexcept;
    void weigh(double floor) noexcept;
    bool is_sound() const noexcept;
  };

  struct Regression {
    std::array<double, kPacked> gram;
    std::array<double, kFeatures> right, weights;
    double error;  // recent mean absolute error, in units
  };

  /// What the targets beyond one step share: a Gram matrix, and its factor from the last time that it was solved.
  struct SharedGram {
    std::array<double, kPacked> gram, factor;
    double error, ridge, factored;  // factored: 1 when `factor` can be used
  };

  /// What experts and inputs are worth in one state of the link.
  struct Worth {
    std::array<double, kExperts> steady, patient;  // weights
    Aggregation<kInputs> inputs;
    bool is_sound() const noexcept;
  };

  struct Target {
    std::array<double, kExperts> steady, quick, patient;  // weights, whatever the state
    std::array<Worth, 2> worth;                           // when the link is quiet, when it is busy
    double scale;                                         // of the experts' losses
    double count;                                         // outcomes scored
    std::array<double, 3> error;                          // mean absolute errors of the answer: quick, medium, slow
    std::array<std::array<double, kSpreads>, kLevels> factor;
    std::array<Aggregation<kSpreads>, kLevels> spreads;
    std::array<double, kLevels> shift;
  };

  /// Per target beyond one step: right-hand sides and solutions for each SharedGram.
  struct AheadSides {
    std::array<std::array<double, kFeatures>, kAhead> right, weights;
  };

  struct Link {
    double slow, slower, level;                                 // averages of what was measured, by 0.1, 0.01 and 0.01
    double started, resumed, answered, looked_ahead, advanced;  // flags: 0 or 1
    double above;                                               // outcomes above P90, one step ahead
    std::uint64_t ticks;
    std::array<double, kMostHorizon + 1> outcome;  // of the last ticks, by ticks % size; NaN: none came
    std::array<double, kExperts> error;
    std::array<Regression, kFirst> regression;
    OnOff on_off;
    RollingMedian<kLong> newest;
  };

  /// What a tick looked at.
  struct Moment {
    std::uint64_t tick;  // 0: none
    std::array<double, kFeatures> features;
    std::array<double, kNaive> naive;
    double unit, last, highest, range, change;  // of the window; highest: what a regression may answer at most
    double busy;                                // OnOff::busy
    std::array<double, kMostHorizon> on_off;    // 1 to kMostHorizon steps ahead
    std::array<double, kMostHorizon> on_off_peak;
  };

  /// What a tick expects of one target.
  struct Expectation {
    std::array<double, kExperts - kNaive> expert;  // regressions, and those that the target adds
    // Means by the steady, quick and patient weights; the last value; the median by the patient ones; means by the state's
    // own two.
    std::array<double, kInputs> inputs;
    std::array<double, kSpreads> spread;
    double answer;
  };

  /// The naive experts by their forecasts, least first: sorted once a tick for the medians of all targets.
  using NaiveOrder = std::array<std::uint8_t, kNaive>;

  bool is_peak(std::size_t target) const noexcept { return target >= options_.horizon; }
  std::size_t steps_of(std::size_t target) const noexcept {
    return is_peak(target) ? target - options_.horizon + 2 : target + 1;
  }
  static std::size_t state_of(const Moment& moment) noexcept { return moment.busy != 0; }
  Target& target(std::size_t row, std::size_t index) noexcept { return targets_[row * count_ + index]; }
  Moment& moment(std::size_t row, std::uint64_t tick) noexcept { return moments_[row * depth_ + tick % depth_]; }
  Expectation& expectation(std::size_t row, std::uint64_t tick, std::size_t index) noexcept {
    return expectations_[(row * depth_ + tick % depth_) * count_ + index];
  }
  double outcome(const Link& link, std::uint64_t tick) const noexcept {
    return link.outcome[tick % link.outcome.size()];
  }

  void look(std::size_t row, const double* values, double model) noexcept;
  static NaiveOrder order_of(const Moment& now) noexcept;
  void expect(std::size_t row, std::size_t index, const NaiveOrder& naive_order) noexcept;
  void look_ahead(std::size_t row) noexcept;
  double quantile(const Target& target, const Expectation& expected, std::size_t level) const noexcept;
  Outlook outlook(std::size_t row, std::size_t index) const noexcept;
  void score(std::size_t row, std::size_t index, const Moment& moment, const Expectation& expected,
             double outcome) noexcept;
  void track_quantiles(Target& target, const Expectation& expected, double outcome, double pace) noexcept;
  void learn_first(Link& link, const Moment& moment, double outcome) noexcept;
  void learn_ahead(std::size_t row) noexcept;
  void solve_ahead(std::size_t row) noexcept;
  bool is_sound(const Target& of) const noexcept;
  bool is_sound(const Link& link) const noexcept;
  bool is_sound(const Moment& then, std::uint64_t ticks) const noexcept;

  Options options_;
  std::size_t rows_;
  std::size_t window_;
  std::size_t count_;  // targets: the horizons, then the peaks of 2 steps and more
  std::size_t depth_;  // ticks that are remembered: Options::horizon and this one
  std::array<double, kLevels> levels_;
  std::vector<Link> links_;                // (rows)
  std::vector<Target> targets_;            // (rows, count)
  std::vector<SharedGram> grams_;          // (rows, kAhead); none for a horizon of 1
  std::vector<AheadSides> sides_;          // (rows, count - 1)
  std::vector<Moment> moments_;            // (rows, depth)
  std::vector<Expectation> expectations_;  // (rows, depth, count)
};

}  // namespace linkcast
