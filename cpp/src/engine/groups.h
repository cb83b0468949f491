// Forecasts of several groups in one call: each group's own model and batch, on one thread or several, by a deadline.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <variant>
#include <vector>

#include "engine/answer.h"
#include "engine/engine.h"
#include "engine/safeguard.h"
#include "engine/workers.h"
#include "kernels/deadline.h"

namespace linkcast {

/// What one group asks for. Row r of the batch is taken as the same series in each call: it is what "last" is of.
struct GroupRequest {
  std::size_t model = 0;                              ///< index of a forecaster in the engine
  std::variant<const float*, const double*> windows;  ///< (batch, time steps, features), physical units
  std::size_t batch = 0;
};

enum class GroupStatus : std::uint8_t {
  ok,          ///< every row has an answer; `source` says whose
  bad_window,  ///< a value of the windows is not finite: nothing was run, and no row has an answer
  no_answer    ///< at least one row has no answer: nothing to fall back to
};
const char* group_status_name(GroupStatus status) noexcept;

struct GroupResult {
  GroupStatus status = GroupStatus::ok;
  Source source = Source::none;     ///< the last resort that was needed for any row
  Cause cause = Cause::none;        ///< why the first such row was not answered by the model
  std::uint64_t latency_ns = 0;     ///< spent on this group
  std::span<const Answer> answers;  ///< (batch) until the next call
};

/// Not thread-safe, and it uses the engine's models: one thread at a time for both.
class GroupForecaster {
 public:
  struct Options {
    std::size_t threads = 1;    ///< the caller's included; more than one keeps that many less one asleep between calls
    std::vector<int> cpus;      ///< CPU of each worker thread, to pin them; empty: not pinned
    std::uint32_t spin_us = 0;  ///< workers, and the caller that waits for them, look this long before they sleep
    std::size_t batch = 1;      ///< rows for each group that memory is reserved for; larger ones make it grow
    Safeguard::Options safeguard;
  };

  /// @throws std::invalid_argument  an option out of range;  std::system_error  no thread, or no such CPU
  GroupForecaster(Engine& engine, const Options& options);
  ~GroupForecaster();

  /// Runs every request. In order when threads is 1: what matters most stands first when there is a deadline.
  ///
  /// A native LSTM looks at the clock before each time step of each layer, and gives up when the deadline has passed. A
  /// model of TensorFlow Lite can't be interrupted: it is not started when less time is left than it took at load. The
  /// fallback runs behind the deadline then, so an answer is late by about one time step's work and the fallback's.
  /// @param results  as many as requests
  /// @throws std::invalid_argument  not a forecaster, the same model twice, no rows, or fewer results than requests
  void forecast(std::span<const GroupRequest> requests, std::span<GroupResult> results, Deadline deadline = {});

  /// Makes room for larger batches of one model, off the hot path.
  void reserve(std::size_t model, std::size_t batch);

 private:
  struct Group;

  void check(std::span<const GroupRequest> requests, std::span<GroupResult> results);
  void run_model(const GroupRequest& request, GroupResult& result, Deadline deadline) noexcept;
  void settle(const GroupRequest& request, GroupResult& result, std::uint64_t start_ns, Deadline deadline) noexcept;

  Engine& engine_;
  Options options_;
  std::vector<std::unique_ptr<Group>> groups_;  // as the engine's models; null for what is no forecaster
  std::vector<std::uint8_t> asked_;             // (models) whether this call asks for it
  std::unique_ptr<Workers> workers_;            // null with one thread
};

}  // namespace linkcast
