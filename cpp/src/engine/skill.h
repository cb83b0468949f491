// Whether a forecaster earns its place on a link: its errors beside those of an exponentially weighted moving average
// (EWMA) of the measured values, over the last ticks, and who should answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace linkcast {

/// Of the newest value in the EWMA: linkcast.baselines.EWMA_ALPHA.
inline constexpr double kEwmaAlpha = 0.3;

/// For each of some links, the sums of the absolute errors of both forecasts over the last `ticks` ticks that had both
/// and were followed by a measured value. The EWMA is to answer from the tick on at which the model's sum is more than
/// kMargin above the EWMA's; the model again from the one at which its sum is below the EWMA's. Each decision waits for
/// `ticks` scored ticks since the last one (or since the start), so that it rests on errors of its own and does not
/// flap. The model is scored whoever answers.
///
/// All memory is sized at construction, and a tick is a few additions, however many ticks are looked at.
class SkillSwitch {
 public:
  static constexpr double kMargin = 0.05;
  static constexpr std::size_t kMostTicks = 100'000;

  /// @param ticks  0: off, the model always answers
  /// @throws std::invalid_argument  more than kMostTicks
  SkillSwitch(std::size_t links, std::size_t ticks);

  bool on() const noexcept { return ticks_ > 0; }

  /// What both say about the next tick. @param model  NaN: it has no usable answer
  void expect(std::size_t link, float model, double ewma) noexcept;
  /// The next tick has come. @param measured  NaN: without a value @return whether the answers went over to the EWMA
  bool score(std::size_t link, double measured) noexcept;

  /// The EWMA is to answer.
  bool switched(std::size_t link) const noexcept { return on() && links_[link].switched; }
  /// 1 - the model's errors / the EWMA's over the last ticks; NaN until there are as many, or when the EWMA's are 0.
  double skill(std::size_t link) const noexcept;
  /// As at the start.
  void forget(std::size_t link) noexcept;

  /// All scores as bytes, of this machine's byte order; none when off.
  std::size_t snapshot_size() const noexcept;
  void snapshot(std::byte* bytes) const noexcept;
  /// Whether these are the bytes of as many links, of however many ticks.
  static bool is_snapshot(const std::byte* bytes, std::size_t size, std::size_t links) noexcept;
  /// Takes the scores over when they are of as many ticks; starts anew when not, or when there are none.
  /// @param size  0, or bytes that are a snapshot of as many links
  void restore(const std::byte* bytes, std::size_t size) noexcept;

 private:
  struct Errors {
    double model = 0;
    double ewma = 0;
  };
  struct Link {
    Errors sum;                   // over the last ticks
    Errors since_start;           // of the ring up to `position`: becomes the sum when the ring is once round, so that
                                  // rounding does not add up
    double expected_model = 0;    // NaN: none
    double expected_ewma = 0;     // Mbit/s
    std::uint64_t position = 0;   // of the next errors in the ring
    std::uint64_t scored = 0;     // ticks in the ring
    std::uint64_t undecided = 0;  // scored ticks since the last switch
    std::uint64_t switched = 0;   // 1: the EWMA answers
  };

  std::size_t ticks_;
  std::vector<Link> links_;     // empty when off
  std::vector<Errors> errors_;  // (links, ticks) ring in the second dimension
};

}  // namespace linkcast
