// Which of several paths to send over, from what each is forecast to carry.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace linkcast {

/// What a RouteChooser chose in one tick.
struct RouteChoice {
  std::int32_t path = -1;  ///< 0-based; -1: none has an answer
  double mbps = 0;         ///< what the path is forecast to carry at the least (its value, below); 0 with -1
  bool changed = false;    ///< another one than before
  bool staying = false;    ///< a better one is passed by, for the minimum stay
};

/// Chooses the path with the best P10 over the horizon: a path's value is the least P10 of its steps, which it carries
/// through the whole horizon nine times out of ten, step by step.
///
/// - Hysteresis: the present path is left for one whose value is more than (1 + margin) times its own. Ties stay, and
///   at the first choice go to the lower number.
/// - Minimum stay: it is not left within `stay_s` of the change to it.
/// - A value that is not finite is no answer: of a step, it is ignored; of all steps, the path keeps its last answer,
///   for `gone_s`. Then the path is gone until it answers again.
/// - A path that is gone, or carries nothing (a value of 0 or less), is left at once for the best one that carries
///   something: there is nothing to stay for. When all are gone, none is chosen; the first to answer again is.
///
/// All memory is sized at construction; choose() allocates nothing. Not thread-safe.
class RouteChooser {
 public:
  static constexpr std::size_t kMostPaths = 65536;

  struct Options {
    double margin = 0.1;  ///< by how much another path has to be better; 0 or more
    double stay_s = 10;   ///< on a path, before it is left for a better one; 0 or more
    double gone_s = 3;    ///< without an answer, a path is gone; 0 or more
  };

  /// @throws std::invalid_argument  no path, more than kMostPaths, or an option out of range
  RouteChooser(std::size_t paths, const Options& options);

  /// @param p10_mbps  (paths, steps) the P10 of each path for each step ahead, NaN where there is none
  /// @param steps     of the horizon, 1 or more; may differ from call to call
  /// @param now_ns    of a clock that does not go back
  /// @throws std::invalid_argument  the clock went back
  template <class Real>
  const RouteChoice& choose(const Real* p10_mbps, std::size_t steps, std::uint64_t now_ns);

  std::size_t paths() const noexcept { return values_.size(); }
  const RouteChoice& last() const noexcept { return choice_; }

 private:
  template <class Real>
  void take(const Real* p10_mbps, std::size_t steps, std::uint64_t now_ns) noexcept;
  std::int32_t best(std::uint64_t now_ns) const noexcept;
  bool is_gone(std::size_t path, std::uint64_t now_ns) const noexcept;

  Options options_;
  std::vector<double> values_;              // (paths) last answer, Mbit/s; NaN: never one
  std::vector<std::uint64_t> answered_ns_;  // (paths) when that came
  std::uint64_t changed_ns_ = 0;            // when the present path was chosen
  std::uint64_t tick_ns_ = 0;
  RouteChoice choice_;
};

}  // namespace linkcast
