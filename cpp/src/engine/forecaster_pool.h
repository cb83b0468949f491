// Forecasts of several models in one call: each with its own batch, on one thread or several, by a deadline.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "engine/answer.h"
#include "engine/engine.h"
#include "engine/forecaster.h"
#include "engine/workers.h"

namespace linkcast {

/// What is asked of one model. Row r of the batch is taken as the same link or group in each call.
struct ForecastRequest {
  std::size_t model = 0;                              ///< index of a forecaster, or of a fallback, in the engine
  std::variant<const float*, const double*> windows;  ///< (batch, time steps, features), physical units
  std::size_t batch = 0;
};

struct ForecastResult {
  ForecastStatus status = ForecastStatus::ok;
  Source source = Source::none;     ///< the last resort that was needed for any row
  Cause cause = Cause::none;        ///< why the first such row was not answered by the model
  std::uint64_t latency_ns = 0;     ///< spent on this model
  std::span<const Answer> answers;  ///< (batch) until the next call; empty with bad_window, wrong_unit
};

/// Not thread-safe, and it uses the engine's models: one thread at a time for both.
class ForecasterPool {
 public:
  static constexpr std::size_t kMostThreads = 64;  // as Model::Limits

  struct Options {
    std::size_t threads = 1;    ///< the caller's included; more than one keeps that many less one asleep between calls
    std::vector<int> cpus;      ///< CPU of each worker thread, to pin them; empty: not pinned
    std::uint32_t spin_us = 0;  ///< workers, and the caller that waits for them, look this long before they sleep
    std::size_t batch = 1;      ///< rows of each model that memory is reserved for; larger ones make it grow
    Safeguard::Options safeguard;
  };

  /// @throws std::invalid_argument  an option out of range, or no such CPU;  std::system_error  no thread
  ForecasterPool(Engine& engine, const Options& options);
  ~ForecasterPool();

  /// Runs every request. In order when threads is 1: what matters most stands first when there is a deadline. Fallbacks
  /// run behind the deadline, so an answer is late by about one time step's work and the fallback's.
  /// @param results  as many as requests
  /// @param go_on    asked between parts of large batches, by the threads that run them. Once it says no, the call ends:
  ///                 of what was not done, nothing is counted or kept, and the results are not to be read
  /// @throws std::invalid_argument  a model without a target, the same twice, no rows, or fewer results than requests
  void forecast(std::span<const ForecastRequest> requests, std::span<ForecastResult> results, Deadline deadline = {},
                const GoOn& go_on = {});

  /// Brings weights and code into the caches, shortly before the next forecast of one window: after a pause of ten
  /// milliseconds it then takes about half of the time. What is run for it is a forecaster of its own on a golden
  /// window; nothing here changes, and nothing is counted. The first call for a model allocates.
  /// @throws std::invalid_argument  a model without a target
  void prepare(std::size_t model);

  /// What runs a model of the engine. @throws std::invalid_argument  a model without a target
  const Forecaster& forecaster(std::size_t model) const;

  /// Makes room for larger batches of one model, off the hot path.
  void reserve(std::size_t model, std::size_t batch);

 private:
  void check(std::span<const ForecastRequest> requests, std::span<ForecastResult> results);
  void run_model(const ForecastRequest& request, ForecastResult& result, Deadline deadline, const GoOn& go_on) noexcept;
  void settle(const ForecastRequest& request, ForecastResult& result, std::uint64_t start_ns,
              Deadline deadline) noexcept;

  struct Rehearsal;

  Engine& engine_;
  Options options_;
  std::vector<std::unique_ptr<Forecaster>> forecasters_;  // as the engine's models; null without a target
  std::vector<std::uint8_t> asked_;                       // (models) whether this call asks for it
  std::vector<std::unique_ptr<Rehearsal>> rehearsals_;    // as the engine's models; null until the first prepare()
  std::unique_ptr<Workers> workers_;                      // null with one thread
};

}  // namespace linkcast
