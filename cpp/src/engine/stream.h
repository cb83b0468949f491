// Sliding windows: a sample comes in at every tick, the forecast of the window that ends with it goes out.
//
// A forecast starts from zero LSTM state, so moving a window by one sample would mean to run all of it again. Instead,
// window - 1 staggered states are kept: one of them has consumed the last window - 1 samples, and one time step of work
// gives the full window's answer; the others take the sample in afterwards, as one batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/safeguard.h"
#include "engine/skill.h"
#include "engine/stats.h"
#include "kernels/deadline.h"

namespace linkcast {

/// Many sliding windows of one model that tick together: each push and each advance is one batch.
///
/// A tick without a sample: the stream's last sample is held in its place, and forecasts go on; held() says how many of
/// the window's samples are held ones. After more than Options::most_held such ticks in a row the window says nothing
/// about the link any more: it is dropped, and forecasts come back when a whole window of samples is in again. Before a
/// stream's first sample, ticks without one leave it empty. For the scores of switch_to_ewma such a tick does not
/// count.
///
/// All memory is sized at construction: push() and advance() allocate nothing, lock nothing, and make no system call.
/// Not thread-safe, and it uses the engine's model: one thread at a time for both.
class StreamFleet {
 public:
  struct Options {
    std::size_t most_held = 3;  ///< ticks in a row for which a missing sample is held
    Safeguard::Options safeguard;
    /// Answer with the moving average of the window's measured values (kEwmaAlpha) when it has been better than the
    /// model over this many ticks, and until the model is better again: see SkillSwitch. 0: off
    std::size_t switch_to_ewma = 0;
  };

  /// @param engine      must outlive the fleet
  /// @param forecaster  index of a model with a window
  /// @throws std::invalid_argument  not such a model, no streams, or an option out of range
  StreamFleet(Engine& engine, std::size_t forecaster, std::size_t streams, const Options& options);
  StreamFleet(const StreamFleet&) = delete;
  StreamFleet& operator=(const StreamFleet&) = delete;
  ~StreamFleet();

  std::size_t streams() const noexcept { return streams_; }
  std::size_t window() const noexcept { return window_; }
  std::size_t features() const noexcept { return features_; }
  std::size_t model() const noexcept { return model_; }

  /// "incremental": one time step of work for each push. "window": the native kernels don't run this model step by
  /// step, so each push runs the full window; mode_reason() says why.
  const char* mode() const noexcept { return network_ ? "incremental" : "window"; }
  const std::string& mode_reason() const noexcept { return mode_reason_; }

  /// One tick of every stream.
  /// @param samples    (streams, features), physical units
  /// @param present    (streams) 0 where a stream has no sample in this tick (its row is not read); null: all have one
  /// @param forecasts  (streams) out, the target's unit; NaN where the window is not full
  /// @param sources    (streams) out, who gave each; Source::none where the window is not full; may be null
  /// @param deadline   only counts: a push that ends behind it is `late` in the model's stats
  /// @return how many streams have a forecast
  /// @throws std::invalid_argument  a value is not finite; no stream has ticked then
  template <class Real>
  std::size_t push(const Real* samples, const std::uint8_t* present, float* forecasts, Source* sources = nullptr,
                   Deadline deadline = {});

  /// The rest of the last push's work. push() does it first when it was not called.
  void advance() noexcept;

  /// Empties one stream, or all: forecasts come back when a whole window of samples is in again.
  void reset(std::size_t stream) noexcept;
  void reset() noexcept;

  bool ready(std::size_t stream) const noexcept { return counts_[stream] >= window_; }
  std::size_t samples_in(std::size_t stream) const noexcept { return counts_[stream]; }  ///< at most window()
  std::size_t held(std::size_t stream) const noexcept;                                   ///< held samples in the window
  std::uint64_t ticks() const noexcept { return ticks_; }
  std::uint64_t missing(std::size_t stream) const noexcept {
    return missing_[stream];
  }  ///< ticks without a sample, ever
  Cause cause(std::size_t stream) const noexcept { return causes_[stream]; }  ///< why the last answer isn't the model's
  /// The moving average answers: see Options::switch_to_ewma.
  bool switched(std::size_t stream) const noexcept { return skill_.switched(stream); }
  /// 1 - the model's absolute errors / the moving average's over the last Options::switch_to_ewma ticks; NaN without.
  double skill(std::size_t stream) const noexcept { return skill_.skill(stream); }

  /// The windows in physical units, the scores of switch_to_ewma, and the hash of the model: what restore() takes, on
  /// any machine and instruction set.
  std::vector<std::byte> snapshot() const;
  std::size_t snapshot_size() const noexcept;  ///< bytes

  /// Goes on where the snapshot was taken: the next forecasts are those that would have come. The scores of another
  /// model, or over another number of ticks, are not taken over: the model answers then, and they start anew.
  /// @param same_model  refuse the snapshot of another model file; false carries windows over to a new model
  /// @throws std::invalid_argument  damaged, of another shape, or of another model; the streams are as before then
  void restore(const std::byte* bytes, std::size_t size, bool same_model = true);

 private:
  template <class Real>
  void take(const Real* samples, const std::uint8_t* present);
  Cause answer() noexcept;
  double ewma(std::size_t stream) noexcept;
  std::size_t windows_size() const noexcept;
  void replay(std::uint64_t ticks);
  void scale_newest(std::size_t first, float* rows) noexcept;
  double* sample_at(std::size_t stream, std::size_t position) noexcept;
  double* level_at(std::size_t stream, std::size_t position) noexcept;

  Engine& engine_;
  std::size_t model_;
  std::size_t streams_;
  std::size_t window_;
  std::size_t features_;
  Options options_;
  Network* network_ = nullptr;  // null in mode "window"
  std::string mode_reason_;
  Safeguard safeguard_;
  SkillSwitch skill_;

  std::shared_ptr<float[]> states_;     // (window - 1, streams, state size); slot ticks % (window - 1) is the oldest
  std::shared_ptr<float[]> samples_;    // (window - 1, streams, features) the last tick's, scaled for each slot's state
  std::shared_ptr<float[]> windows_;    // (streams, window, features) scaled; mode "window"
  std::shared_ptr<float[]> answers_;    // (streams) scaled
  std::vector<double> history_;         // (streams, window, features) physical units; ring in the second dimension
  std::vector<double> levels_;          // as history_; each sample before it is scaled: see Scaler::level
  std::vector<std::uint8_t> is_held_;   // (streams, window) as history_
  std::vector<std::size_t> counts_;     // (streams) samples in the window
  std::vector<std::size_t> gaps_;       // (streams) ticks in a row without a sample
  std::vector<std::uint64_t> missing_;  // (streams)
  std::vector<Cause> causes_;           // (streams)
  std::uint64_t ticks_ = 0;
  bool pending_ = false;  // the last push's advance() is still to do
};

/// One sliding window: a fleet of one.
class Stream {
 public:
  using Options = StreamFleet::Options;

  /// As StreamFleet.
  Stream(Engine& engine, std::size_t forecaster, const Options& options) : fleet_(engine, forecaster, 1, options) {}

  /// One tick. @param sample (features), physical units @param forecast out, NaN when false is returned
  /// @return whether the window is full @throws std::invalid_argument a value is not finite
  template <class Real>
  bool push(const Real* sample, float* forecast, Deadline deadline = {}) {
    return fleet_.push(sample, nullptr, forecast, &source_, deadline) == 1;
  }

  /// One tick without a sample: see StreamFleet.
  bool push_missing(float* forecast, Deadline deadline = {}) {
    constexpr std::uint8_t kAbsent = 0;
    return fleet_.push(static_cast<const float*>(nullptr), &kAbsent, forecast, &source_, deadline) == 1;
  }

  void advance() noexcept { fleet_.advance(); }
  void reset() noexcept { fleet_.reset(); }
  Source source() const noexcept { return source_; }  ///< of the last push
  Cause cause() const noexcept { return fleet_.cause(0); }
  bool switched() const noexcept { return fleet_.switched(0); }
  double skill() const noexcept { return fleet_.skill(0); }
  bool ready() const noexcept { return fleet_.ready(0); }
  std::size_t samples_in() const noexcept { return fleet_.samples_in(0); }
  std::size_t held() const noexcept { return fleet_.held(0); }
  std::uint64_t ticks() const noexcept { return fleet_.ticks(); }
  std::uint64_t missing() const noexcept { return fleet_.missing(0); }
  std::size_t window() const noexcept { return fleet_.window(); }
  std::size_t features() const noexcept { return fleet_.features(); }
  std::size_t model() const noexcept { return fleet_.model(); }
  const char* mode() const noexcept { return fleet_.mode(); }
  const std::string& mode_reason() const noexcept { return fleet_.mode_reason(); }
  std::vector<std::byte> snapshot() const { return fleet_.snapshot(); }
  void restore(const std::byte* bytes, std::size_t size, bool same_model = true) {
    fleet_.restore(bytes, size, same_model);
  }

 private:
  StreamFleet fleet_;
  Source source_ = Source::none;
};

}  // namespace linkcast
