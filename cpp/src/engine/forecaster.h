// From scaled windows to answers: a model's rows are run by a deadline, judged, and rescued where they can't be used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"
#include "engine/answer.h"
#include "engine/engine.h"
#include "engine/safeguard.h"

namespace linkcast {

enum class ForecastStatus : std::uint8_t {
  ok,          ///< every row has an answer; `source` says whose
  bad_window,  ///< a value of the windows is not finite: nothing was run, and no row has an answer
  no_answer,   ///< at least one row has no answer: nothing to fall back to
  wrong_unit   ///< a value is not of its feature's unit: as bad_window
};

/// A call's way out: asked between two parts of a large batch.
struct GoOn {
  bool (*ask)(void* context) noexcept = nullptr;  ///< false: stop; null: there is none to ask
  void* context = nullptr;

  bool operator()() const noexcept { return !ask || ask(context); }
};

/// One model with a target, for rows: row r is the same link or group from call to call. What windows, pools, streams
/// and, through them, controllers answer with.
///
/// Not thread-safe; it uses the engine's model, and settle() its fallback model.
class Forecaster {
 public:
  /// @param model  index of a forecaster, or of a fallback, which is asked by its own name then
  /// @param stats  where it is counted; null: the engine's
  /// @throws std::invalid_argument  a model without a target, or an option out of range
  Forecaster(Engine& engine, std::size_t model, std::size_t rows, const Safeguard::Options& options,
             ModelStats* stats = nullptr);

  const ModelSpec& spec() const noexcept { return spec_; }
  Model& model() const noexcept { return model_; }
  std::size_t rows() const noexcept { return safeguard_.rows(); }

  /// Model::Kept for the model and its fallback: around a forecast that is nobody's.
  class Kept {
   public:
    Kept(const Forecaster& forecaster, std::size_t rows) : model_(forecaster.model_, rows) {
      if (Model* fallback = forecaster.safeguard_.fallback()) fallback_.emplace(*fallback);
    }

   private:
    Model::Kept model_;
    std::optional<Model::Kept> fallback_;
  };

  /// Grows to `rows`; earlier rows keep what they know. Off the hot path.
  void reserve(std::size_t rows);
  /// The same, with room for whole windows: what windows(), scale() and run() need. Off the hot path.
  void reserve_windows(std::size_t rows);

  float* windows() noexcept { return windows_.get(); }  ///< (rows, row inputs) scaled
  float* outputs() noexcept { return outputs_.get(); }  ///< (rows) scaled

  /// @param windows  (batch, row inputs), physical units
  /// @return bad_window, when a value is not finite, also when scaled; wrong_unit, when it is not of its unit; or ok
  template <class Real>
  ForecastStatus scale(const Real* windows, std::size_t batch) noexcept;

  /// windows() -> outputs(). A native LSTM looks at the clock before each time step of each layer, and gives up when the
  /// deadline has passed. A model of TensorFlow Lite can't be interrupted: it is not started when less time is left than
  /// it took before. @return why there are no outputs; what it is after go_on has said no does not matter
  Cause run(std::size_t batch, Deadline deadline, const GoOn& go_on = {}) noexcept;

  /// The answers of outputs(), counted.
  /// @param windows  as in scale()  @param run  what run() returned
  /// @return (batch) until the next call
  template <class Real>
  std::span<const Answer> answer(const Real* windows, std::size_t batch, Cause run) noexcept;

  /// The answer of one row: the model's, or what stands in where that can't be used. Not counted.
  /// @param mbps       the model's forecast, physical units; not read when there is none
  /// @param run        why there is none
  /// @param last_step  (features) of the window's newest step, physical units
  template <class Real>
  Answer settle(std::size_t row, float mbps, Cause run, const Real* last_step) noexcept;

  /// An answer without a window, or in place of the row's earlier forecasts: the moving average of what was measured.
  /// Nobody's where Safeguard::Options::measured_weight is 0, or nothing was measured yet.
  Answer measured_answer(std::size_t row, Cause cause = Cause::none) const noexcept;

  void count(const Answer& answer) noexcept { stats_.count(answer.source, answer.cause); }
  /// Ends a call in the statistics. @return how long it took, ns
  std::uint64_t count_call(std::uint64_t start_ns, Deadline deadline) noexcept;

  /// Brings what a forecast of one window reads and writes of this forecaster alone into the caches.
  void touch() const noexcept;

  /// What is wrong with a forecast; Cause::none when it can be used.
  Cause judge(float mbps) const noexcept { return safeguard_.judge(mbps); }
  /// Takes in what the row's target was measured to be.
  void observe(std::size_t row, double mbps) noexcept { safeguard_.observe(row, mbps); }
  double measured(std::size_t row) const noexcept { return safeguard_.measured(row); }
  void remember_measured(std::size_t row, double mbps) noexcept { safeguard_.remember_measured(row, mbps); }
  /// Forgets the earlier forecasts and measurements of a row.
  void forget(std::size_t row) noexcept { safeguard_.forget(row); }
  Safeguard::Earlier earlier(std::size_t row) const noexcept { return safeguard_.earlier(row); }
  void remember(std::size_t row, Safeguard::Earlier earlier) noexcept { safeguard_.remember(row, earlier); }

 private:
  void invoke(std::size_t batch, const GoOn& go_on = {});
  void time_whole_run();

  const ModelSpec& spec_;
  Model& model_;
  ModelStats& stats_;
  Safeguard safeguard_;
  std::size_t window_rows_ = 0;       // that windows_ has room for
  std::shared_ptr<float[]> windows_;  // (window rows, row inputs) scaled
  std::shared_ptr<float[]> outputs_;  // (rows) scaled
  std::vector<float> mbps_;           // (rows) the same in the target's unit
  std::vector<Answer> answers_;       // (rows)
  std::uint64_t run_ns_ = 0;          // of one window; on TensorFlow Lite, which can't be interrupted
};

}  // namespace linkcast
