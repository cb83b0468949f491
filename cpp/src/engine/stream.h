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

#include "base/clock.h"
#include "engine/answer.h"
#include "engine/engine.h"
#include "engine/forecaster.h"
#include "engine/mixture.h"

namespace linkcast {

/// One sliding window, or many of one model that tick together: one row each, and each push and advance is one batch.
///
/// A tick without a sample: the row's last sample is held in its place, and forecasts go on; held() says how many of the
/// window's samples are held ones. After more than Options::most_held such ticks in a row the window says nothing about
/// the link any more: it is dropped, and forecasts come back when a whole window of samples is in again. Before a row's
/// first sample, ticks without one leave it empty.
///
/// All memory is sized at construction: push() and advance() allocate nothing, lock nothing, and make no system call.
/// Not thread-safe, and it uses the engine's model: one thread at a time for both.
class Stream {
 public:
  static constexpr std::size_t kMostRows = 65536;

  struct Options {
    std::size_t most_held = 3;  ///< ticks in a row for which a missing sample is held
    Safeguard::Options safeguard;
    /// Answer with a mixture of the model and naive rules, each weighted by how well it has done on the row's link, and
    /// with a band: see Mixture. A model whose target is not one of its features has none.
    bool mixture = true;
    Mixture::Options outlook;
  };

  /// @param engine      must outlive the stream
  /// @param forecaster  index of a model with a window
  /// @param rows        windows, 1 to kMostRows
  /// @param stats       where pushes are counted; null: the engine's
  /// @throws std::invalid_argument  not such a model, no rows, or an option out of range
  Stream(Engine& engine, std::size_t forecaster, const Options& options, std::size_t rows = 1,
         ModelStats* stats = nullptr);
  ~Stream();

  std::size_t rows() const noexcept { return rows_; }
  std::size_t window() const noexcept { return window_; }
  std::size_t features() const noexcept { return features_; }
  std::size_t model() const noexcept { return model_; }

  /// "incremental": one time step of work for each push. "window": the native kernels don't run this model step by
  /// step, so each push runs the full window; mode_reason() says why.
  const char* mode() const noexcept { return network_ ? "incremental" : "window"; }
  const std::string& mode_reason() const noexcept { return mode_reason_; }

  /// One tick of every row.
  /// @param samples   (rows, features), physical units; null: no row has a sample in this tick
  /// @param present   (rows) 0 where a row has no sample in this tick (it is not read); null: all have one
  /// @param answers   (rows) out; where the window is not full: NaN and Source::none, or with
  ///                  Safeguard::Options::measured_weight the moving average of what was measured
  /// @param deadline  only counts: a push that ends behind it is `late` in the model's stats
  /// @return how many windows are full
  /// @throws std::invalid_argument  a value is not finite; no row has ticked then
  template <class Real>
  std::size_t push(const Real* samples, const std::uint8_t* present, Answer* answers, Deadline deadline = {});

  /// The rest of the last push's work. push() does it first when it was not called.
  void advance() noexcept;

  /// Brings weights, code and this stream's memory into the caches, shortly before the next push: after a pause of ten
  /// milliseconds it then takes 0.2 to 0.6 of the time. What is run for it is a stream of its own; nothing here changes,
  /// and nothing is counted. The first call allocates.
  void prepare();

  /// Of that, this stream's memory alone.
  void touch() const noexcept;

  /// Empties one row, or all: forecasts come back when a whole window of samples is in again. What the mixture has learnt
  /// of the link stays.
  void reset(std::size_t row) noexcept;
  void reset() noexcept;
  /// The same, and the mixture is as new: the row is another link from here on.
  void forget(std::size_t row) noexcept;

  /// After a push whose window was full: the value `steps` ahead, or the peak of the next `steps`. Answers without a
  /// mixture have Source::none. `steps` runs from 1 to Options::outlook.horizon.
  Answer horizon(std::size_t row, std::size_t steps) noexcept;
  Answer peak(std::size_t row, std::size_t steps) noexcept;
  const Forecaster& forecaster() const noexcept { return forecaster_; }

  /// What the rows have learnt; null without one.
  const Mixture* mixture() const noexcept { return mixture_.get(); }

  /// The moving average of what was measured of a row's target; NaN without any, or where it is not kept.
  double measured(std::size_t row = 0) const noexcept { return forecaster_.measured(row); }
  void remember_measured(std::size_t row, double mbps) noexcept { forecaster_.remember_measured(row, mbps); }

  bool ready(std::size_t row = 0) const noexcept { return counts_[row] >= window_; }
  std::size_t samples_in(std::size_t row = 0) const noexcept { return counts_[row]; }  ///< at most window()
  std::size_t held(std::size_t row = 0) const noexcept;                                ///< held samples in the window
  std::uint64_t ticks() const noexcept { return ticks_; }
  std::uint64_t missing(std::size_t row = 0) const noexcept { return missing_[row]; }  ///< ticks without a sample, ever

  /// The windows in physical units, what the mixture has learnt, and the hash of the model: what restore() takes, on any
  /// machine and instruction set.
  std::vector<std::byte> snapshot() const;
  std::size_t snapshot_size() const noexcept { return snapshot_size(rows_); }  ///< bytes
  std::size_t row_snapshot_size() const noexcept { return snapshot_size(1); }  ///< bytes

  /// Goes on where the snapshot was taken: the next forecasts are those that would have come.
  /// @param same_model  refuse the snapshot of another model file; false carries windows over to a new model
  /// @throws std::invalid_argument  damaged, of another shape, or of another model; the rows are as before then
  void restore(const std::byte* bytes, std::size_t size, bool same_model = true);

  /// One row as the snapshot of a stream of one row, and back into any row of a stream with the same options: a link
  /// moves between streams, and goes on bit for bit as it would have.
  std::vector<std::byte> snapshot_row(std::size_t row) const;
  void restore_row(std::size_t row, const std::byte* bytes, std::size_t size, bool same_model = true);

 private:
  template <class Real>
  void take(const Real* samples, const std::uint8_t* present);
  Cause run() noexcept;
  Answer settle(std::size_t row, Cause run) noexcept;
  void mix(std::size_t row, Answer& answer) noexcept;
  Answer ahead(std::size_t row, bool peak, std::size_t steps) noexcept;
  void move_states() noexcept;
  bool newest(std::size_t row, double* sample) noexcept;
  std::size_t snapshot_size(std::size_t rows) const noexcept;
  std::vector<std::byte> snapshot_of(std::size_t first, std::size_t rows) const;
  void replay(std::uint64_t ticks);
  void scale_newest(std::size_t first, float* rows) noexcept;
  double* sample_at(std::size_t row, std::size_t position) noexcept;
  double* level_at(std::size_t row, std::size_t position) noexcept;

  Engine& engine_;
  std::size_t model_;
  std::size_t rows_;
  std::size_t window_;
  std::size_t features_;
  Options options_;
  ChosenNetwork* network_ = nullptr;  // null in mode "window"
  std::string mode_reason_;
  Forecaster forecaster_;
  std::unique_ptr<Mixture> mixture_;  // null without one

  std::shared_ptr<float[]> states_;     // (window - 1, rows, state size); slot ticks % (window - 1) is the oldest
  std::shared_ptr<float[]> samples_;    // (window - 1, rows, features) the last tick's, scaled for each slot's state
  std::vector<float> mbps_;             // (rows) the same in the target's unit
  std::vector<double> history_;         // (rows, window, features) physical units; ring in the second dimension
  std::vector<double> levels_;          // as history_; each sample before it is scaled: see Scaler::level
  std::vector<std::uint8_t> is_held_;   // (rows, window) as history_
  std::vector<std::size_t> counts_;     // (rows) samples in the window
  std::vector<std::size_t> gaps_;       // (rows) ticks in a row without a sample
  std::vector<std::uint64_t> missing_;  // (rows)
  std::vector<double> targets_;         // (window) the target's values in a row's window, oldest first
  std::vector<Cause> causes_;           // (rows) of the last push
  std::uint64_t ticks_ = 0;
  bool pending_ = false;       // the last push's advance() is still to do
  bool states_moved_ = false;  // but for the states: a restore has brought them up

  struct Rehearsal;
  std::unique_ptr<Rehearsal> rehearsal_;  // made by the first prepare()
};

}  // namespace linkcast
