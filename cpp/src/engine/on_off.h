// Whether a link is quiet or busy, and how long it has stayed so before.
//
// Much traffic goes between two levels: probes, bursts, chunks of video with pauses, a night without anybody. Two
// envelopes follow a link's highest and lowest values and come back slowly. Above half way between them a link is busy,
// until it falls below three tenths. How long its last stays in either were says when the present one is likely to end
// (a renewal process, with the empirical distribution of the stays).
#pragma once

#include <array>
#include <cstddef>

namespace linkcast {

/// Of one link. Plain numbers alone, since snapshots carry it over as bytes.
struct OnOff {
  static constexpr std::size_t kStays = 32;  // remembered of quiet and of busy ones
  static constexpr std::size_t kMostSteps = 10;

  double lowest, highest;                          // envelopes
  std::array<double, 2> level;                     // what it has of late when it is quiet, when it is busy
  double busy;                                     // 0 or 1
  double age;                                      // ticks since it became so
  double started;                                  // flag: a value has come
  double whole;                                    // flag: the present stay has been seen from its beginning
  std::array<double, 2> ended;                     // stays that have ended
  std::array<std::array<double, kStays>, 2> stay;  // how many ticks each had, by `ended` % kStays

  void observe(double measured) noexcept;
  /// The value of a tick is missing: the present stay goes on.
  void miss() noexcept;
  /// Values are missing: how long the present stay is will not be known.
  void interrupt() noexcept { whole = 0; }

  /// For each number of steps up to kMostSteps, counted from 1 (at 0 stands nothing): whether most of the earlier stays
  /// that were longer than the present one is now had ended by then. All false with fewer than 3 of them on record.
  std::array<bool, kMostSteps + 1> ends() const noexcept;
  /// The same of one step.
  bool ends_next() const noexcept;

  /// Whether bytes from outside are one. @param most  of any value
  bool is_sound(double most) const noexcept;
};

}  // namespace linkcast
