// What the latency says about a link that is in trouble: a queue on it that more bandwidth drains, or a silence that it
// does not.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace linkcast {

enum class LinkState : std::uint8_t {
  clear,
  stalled,  ///< the latency has jumped, with no queue before it and the link not full: radio silence, an outage, a move
  congested  ///< a queue stands, and the link is or has just been full
};

/// Tells congestion from a stall, one telemetry sample after another.
///
/// The queueing delay is the latency less the base delay, which is the least latency of the last ten minutes: ten
/// minima of a minute each, as in LEDBAT (RFC 6817, section 3.4.2), so that it forgets a path that has changed.
///
/// Congested: the queueing delay is above `queue_ms` and the link is full: it carries `full` of what was allocated to
/// it. Delay grows before anything is lost, so this comes early; it stays until the delay has halved, or the link has
/// not been full for four samples.
///
/// Stalled: the delay is above `queue_ms`, the link is not full, there was no queue before, and the latency lies
/// outside what is usual here: beyond its moving average by four times its mean deviation (the retransmission timer of
/// RFC 6298, section 2). On a link whose latency always varies, that is rare. It ends when the latency is usual again.
/// One that lasts for a minute is the path as it is now, and all is learned anew.
///
/// Of two samples with the same latency, the one with the larger bandwidth is never the one taken as less in trouble
/// with the allocation: congestion asks for the larger bandwidth, a stall does not.
///
/// Fixed memory; allocates nothing, throws nothing. Not thread-safe.
class CongestionDetector {
 public:
  struct Options {
    double queue_ms = 30;  ///< queueing delay that is one: the order of what shapers act on; above 0
    double full = 0.9;     ///< share of the allocation that a full link carries; above 0 and at most 1
  };

  explicit CongestionDetector(const Options& options) noexcept : options_(options) {}

  /// One sample. @param now_s  of a clock that does not go back
  LinkState observe(double latency_ms, double bandwidth_mbps, double allocation_mbps, double now_s) noexcept;

  /// Telemetry has stopped: what was usual just now says nothing any more, while the base delay stays.
  void lost() noexcept;

  /// As at the start.
  void reset() noexcept { *this = CongestionDetector(options_); }

  /// All that it has learnt, as numbers; restore() gives false, and changes nothing, where they are not such.
  /// @param now_s  of the last sample or later
  static constexpr std::size_t kNumbers = 21;
  using Numbers = std::array<double, kNumbers>;
  Numbers snapshot() const noexcept;
  bool restore(const Numbers& numbers, double now_s) noexcept;

  LinkState state() const noexcept { return state_; }
  bool full() const noexcept { return full_; }            ///< the newest sample's link
  double queue_ms() const noexcept { return queue_ms_; }  ///< the newest queueing delay; 0 before any
  double base_ms() const noexcept;                        ///< infinite before any sample

 private:
  static constexpr std::size_t kMinutes = 10;

  void move_base(double latency_ms, double now_s) noexcept;
  LinkState judge(double latency_ms) const noexcept;
  void learn_usual(double latency_ms) noexcept;

  Options options_;
  std::array<double, kMinutes> least_ms_{};  // least latency of each of the last minutes, newest first
  std::size_t minutes_ = 0;                  // of those, in use
  double minute_s_ = 0;                      // when the newest began
  double mean_ms_ = 0;                       // of the latency: moving average
  double deviation_ms_ = 0;                  // from it: moving average
  bool usual_known_ = false;
  double queue_ms_ = 0;
  bool full_ = false;
  bool queued_ = false;  // the last sample had half a queue on a full link
  int since_full_ = 0;   // samples
  double stalled_since_s_ = 0;
  LinkState state_ = LinkState::clear;
};

}  // namespace linkcast
