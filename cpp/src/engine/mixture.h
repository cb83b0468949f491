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
// Arithmetic is +, -, *, / and square roots in float64, without contraction to fused operations and with one order of each
// sum: the same bits on every machine. It is compiled for each width of registers (mixture_arithmetic.h); the targets beyond
// one step lie side by side in them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/mixture_arithmetic.h"
#include "engine/mixture_parts.h"

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
  static constexpr std::size_t kMostHorizon = mixing::kMostHorizon;
  static constexpr std::size_t kExperts = mixing::kExperts;
  static constexpr std::size_t kLeastWindow = 2;

  struct Options {
    std::size_t horizon = kMostHorizon;  ///< steps ahead that are forecast, 1 to kMostHorizon
    double level = 0.95;                 ///< of Outlook::reserve: the share of outcomes that it is to hold
  };

  /// @param rows    links, each with weights of its own
  /// @param window  values in a window, at least kLeastWindow; the newest ten are looked at
  /// @param arithmetic  of whichever registers: the answers are the same
  /// @throws std::invalid_argument  an option out of range
  Mixture(std::size_t rows, std::size_t window, const Options& options,
          const mixing::Arithmetic& arithmetic = mixing::arithmetic());

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
  static constexpr std::size_t kLags = 10;  // values of a window that are looked at

  using Link = mixing::Link;
  using Moment = mixing::Moment;
  using Values = mixing::Beyond<mixing::Targets>;  // or peaks
  using Forecasts = mixing::Beyond<mixing::Expectations>;
  enum Group { kValues, kPeaks };  // of targets beyond one step

  Moment& moment(std::size_t row, std::uint64_t tick) noexcept { return moments_[row * depth_ + tick % depth_]; }
  Forecasts& forecasts(std::size_t row, std::uint64_t tick, Group group) noexcept {
    return forecasts_[(row * depth_ + tick % depth_) * 2 + group];
  }
  double outcome(const Link& link, std::uint64_t tick) const noexcept {
    return link.outcome[tick % link.outcome.size()];
  }
  /// What a mixture holds, array after array, as snapshots have it.
  template <class Self, class Act>
  static void each_array(Self& self, const Act& act) {
    act(self.links_), act(self.moments_), act(self.ahead_), act(self.grams_), act(self.forecasts_);
  }
  /// The moment so many ticks ago; null where there was none.
  const Moment* made(std::size_t row, std::size_t ago) noexcept;

  void look(std::size_t row, const double* values, double model) noexcept;
  void look_ahead(std::size_t row) noexcept;
  void score_next(Link& link, const Moment& then, double measured) noexcept;
  void score_ahead(std::size_t row) noexcept;
  void learn_ahead(std::size_t row, const Moment& then) noexcept;
  void solve(std::size_t row) noexcept;
  template <std::size_t L>
  std::array<double, mixing::kLevels> quantiles(const mixing::Targets<L>& of, const mixing::Expectations<L>& expected,
                                                std::size_t lane) const noexcept;
  template <std::size_t L>
  Outlook outlook(const mixing::Targets<L>& of, const mixing::Expectations<L>& expected,
                  std::size_t lane) const noexcept;
  Outlook outlook_ahead(std::size_t row, Group group, std::size_t steps) noexcept;

  Options options_;
  std::size_t rows_;
  std::size_t window_;
  std::size_t beyond_;  // horizons beyond one step
  std::size_t depth_;   // ticks that are remembered: Options::horizon and this one
  std::array<double, mixing::kLevels> levels_;
  std::array<std::array<double, 4>, kLags>
      filters_;  // of a window: sums over it, exponential averages by 0.2, 0.5, 0.8
  const mixing::Arithmetic& arithmetic_;
  std::vector<Link> links_;      // (rows)
  std::vector<Moment> moments_;  // (rows, depth)
  // None for a horizon of 1:
  std::vector<Values> ahead_;                                          // (rows, 2): values, peaks
  std::vector<std::array<mixing::SharedGram, mixing::kAhead>> grams_;  // (rows)
  std::vector<Forecasts> forecasts_;                                   // (rows, depth, 2)
};

}  // namespace linkcast
