// The closed loop of one link: telemetry in, an allocation out, within the limits that keep such a loop safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/answer.h"
#include "engine/congestion.h"
#include "engine/engine.h"
#include "engine/stream.h"

namespace linkcast {

/// What a controller decided in one tick.
struct Decision {
  double allocation_mbps = 0;            ///< allocation_fraction of the link's capacity
  double allocation_fraction = 0;        ///< 0..1
  Answer forecast;                       ///< its cause says why it was not the model, once the window is full
  std::int32_t action = -1;              ///< the allocator's, 0-based; -1 without telemetry
  Cause allocation_cause = Cause::none;  ///< what is special about the action: see Allocation; failed: there is none
  bool clamped = false;                  ///< the minimum or the maximum set the allocation
  bool slewed = false;                   ///< the slew limit keeps it from its target still
  bool holding = false;                  ///< the hold time kept the target as it was
  bool stalled = false;                  ///< telemetry has stopped: the allocation goes to the safe one
  std::uint64_t latency_ns = 0;          ///< of this tick, the stream's advance not included
  bool congested = false;                ///< a queue stands on a full link: the allocation rises, a bounded step a tick
  bool silent = false;                   ///< telemetry comes, of a link that holds back: the allocation falls no faster
  double queue_ms = 0;                   ///< the newest queueing delay; 0 before any
};

/// telemetry -> forecast (a Stream) -> state -> the allocator's action -> limits -> allocation.
///
/// The allocator sees the newest telemetry, with the forecast in place of the bandwidth where that is larger, both
/// scaled from the link's capacity to that of the link that the allocator was trained on. Its action a asks for
/// (a + 1) / actions of the capacity; less than `headroom` times the forecast, or than the quantile that `risk` names,
/// is raised to that. What is so asked for has Allocation's guarantees: with the same forecast, more bandwidth never asks
/// for less; a link measured full asks for all; never is it less than one action below what the link carries. They hold
/// before the limits, which come next; a maximum, a hold time or a slew limit may keep the allocation below. Should the
/// allocator fail, all of the link is asked for.
/// Then, in this order: minimum and maximum; hold time, in which the target stays (an increase waits too); slew limit,
/// which moves the allocation towards the target. When telemetry stops, the safe allocation is the target, whatever the
/// hold time; when it comes back, the window and the average start anew. Until the window is full, or when neither the
/// model's forecast nor a fallback's can be used, the forecast is a moving average of the measured bandwidth
/// (Source::measured_mean).
///
/// Trouble is answered within bounds (CongestionDetector tells which it is), before the limits above and only ever
/// with more than was asked for, so that what the allocator promises for every state holds:
/// - congestion: while the link is full, each tick asks for `congestion_step` more than is allocated, until the queue
///   is drained. More bandwidth is what drains it.
/// - a stall, be it a silent link or telemetry that has stopped: what is measured says nothing about the demand that
///   comes back. The allocation falls by at most `stall_cut`, and by as much again for each `stall_s` that it lasts.
///
/// All memory is sized at construction; tick() and advance() allocate nothing, lock nothing, and make no system call.
/// Not thread-safe, and it uses the engine's models: one thread at a time for both.
class Controller {
 public:
  struct Options {
    double capacity_mbps = 0;     ///< of the link; above 0, no default
    double least_fraction = 0.1;  ///< of the capacity that is always allocated
    double most_fraction = 1.0;
    double safe_fraction = 1.0;  ///< where the allocation goes when telemetry stops, and where it starts
    double headroom = 1.0;       ///< the allocation is at least this times the forecast; 0: the allocator alone decides
    double slew_per_s = 0;       ///< largest change of the fraction in a second; 0: no limit
    double hold_s = 0;           ///< after a change of the target, it stays for this long
    double stall_s = 0;          ///< telemetry older than this has stopped; 0: four time steps of the forecaster
    double measured_weight = 0.3;  ///< of the newest measurement in their average, above 0 and at most 1
    /// Share of the ticks in which the allocation may be short of the demand: at least the quantile of 1 - risk is
    /// allocated, held to that share by what comes (Mixture). Where a Mbit/s short costs r times one too many, the
    /// cheapest risk is 1 / (1 + r) (the newsvendor's critical ratio). 0: the forecast itself is the least
    double risk = 0.05;
    std::uint64_t deadline_ns = 0;                             ///< a tick that takes longer is counted as late; 0: none
    double queue_ms = CongestionDetector::Options{}.queue_ms;  ///< queueing delay that is one; 0: latency says nothing
    double congestion_step = 0.1;  ///< of the capacity, that a tick adds while the link is congested
    double stall_cut = 0.2;        ///< of the capacity, that a stall takes at most, in each stall_s
    Stream::Options stream;
  };

  struct Counts {
    std::uint64_t ticks = 0;
    std::uint64_t missing = 0;  ///< without telemetry
    std::uint64_t stalls = 0;   ///< times that telemetry stopped
    std::uint64_t changes = 0;  ///< of the allocation
    std::uint64_t late = 0;     ///< behind the deadline
  };

  /// @param profile  what the forecaster and the allocator serve: "internet"
  /// @throws std::invalid_argument  an unknown profile, an option out of range, or models whose features do not match
  Controller(Engine& engine, const std::string& profile, const Options& options)
      : Controller(engine, profile, options, nullptr) {}
  ~Controller();

  /// One tick, to be called once for each time step of the forecaster.
  /// @param telemetry  (features), physical units; null: none came
  /// @param now_ns     of a clock that does not go back
  /// @throws UnitError              a value is not finite, or not of its unit; a bandwidth beyond ten times the capacity
  /// @throws std::invalid_argument  the clock went back
  template <class Real>
  const Decision& tick(const Real* telemetry, std::uint64_t now_ns);

  /// The work that can wait until the decision is applied; tick() does it when it was not called.
  void advance() noexcept { stream_.advance(); }

  /// Stream::prepare(), and the same of the decision: to be called shortly before the next tick. The first call
  /// allocates.
  void prepare();

  /// As at the start: no telemetry, the safe allocation.
  void reset() noexcept;

  /// All that the next decisions depend on, the stream's snapshot included: what restore() takes.
  std::vector<std::byte> snapshot() const;
  std::size_t snapshot_size() const noexcept;  ///< bytes

  /// Goes on where the snapshot was taken: with the same models, options and kernels, what comes decides the same, bit
  /// for bit. The clock goes on, too: on another one, reset() keeps what was learnt. Options hold from the next tick on.
  /// @param same_model  refuse the snapshot of another forecaster; false carries over what was learnt to a new one
  /// @throws std::invalid_argument  damaged, of other features, of another risk, or of another model; all is as before
  ///                                then
  void restore(const std::byte* bytes, std::size_t size, bool same_model = true);

  const Decision& last() const noexcept { return decision_; }
  const Counts& counts() const noexcept { return counts_; }
  const Options& options() const noexcept { return options_; }  ///< with the stall_s that a 0 stands for
  const Stream& stream() const noexcept { return stream_; }
  std::size_t features() const noexcept { return stream_.features(); }
  const std::vector<Feature>& feature_list() const noexcept { return engine_.spec(stream_.model()).features; }
  const std::vector<Bounds>& bounds() const noexcept { return bounds_; }  ///< of telemetry; (features)

 private:
  struct Stats;
  struct Rehearsal;
  Controller(Engine& engine, const std::string& profile, const Options& options, Stats* stats);
  void stall() noexcept;
  template <class Real>
  void watch(const Real* telemetry, std::uint64_t now_ns) noexcept;
  double bound(double asked, bool measured, std::uint64_t now_ns) noexcept;
  static Stream::Options stream_options(const Options& options);
  double decide();
  void apply(double asked, std::uint64_t now_ns) noexcept;

  Engine& engine_;
  Options options_;
  std::size_t allocator_;
  ModelStats& allocator_stats_;
  Stream stream_;
  std::size_t bandwidth_ = 0;         // column of the forecaster's target among its features
  std::vector<std::size_t> columns_;  // (allocator features) each one's column among the forecaster's features
  std::vector<Bounds> bounds_;        // (forecaster's features) on a link of this capacity
  std::vector<double> telemetry_;     // (features) newest
  std::vector<double> state_;         // (allocator features)
  CongestionDetector detector_;
  std::size_t latency_ = 0;             // column of latency_ms
  bool watches_latency_ = false;        // there is one, and queue_ms is above 0
  bool in_trouble_ = false;             // congested or stalled
  double fraction_before_trouble_ = 0;  // the allocation when that began
  std::uint64_t trouble_ns_ = 0;        // when that was
  double to_trained_capacity_ = 1;      // from this link's bandwidth to that of the link that the allocator knows
  double target_fraction_ = 0;          // where the allocation goes
  bool has_telemetry_ = false;          // since the start or the last stall
  bool started_ = false;                // there was a tick
  bool retargeted_ = false;             // target_ns_ is set
  std::uint64_t telemetry_ns_ = 0;      // when the newest came
  std::uint64_t tick_ns_ = 0;           // of the last tick
  std::uint64_t target_ns_ = 0;         // of the last change of the target
  Decision decision_;
  Counts counts_;
  std::unique_ptr<Rehearsal> rehearsal_;  // made by the first prepare()
};

}  // namespace linkcast
