// What is timed: the calls that a controller makes, on one backend, each with telemetry of its own.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/forecaster_pool.h"
#include "engine/stream.h"

namespace linkcast::bench {

/// A call has to take less: p99.9 of it, or another percentile.
struct Budget {
  double us = 0;
  double percentile = 99.9;
};

/// What is known of a workload before anything is loaded.
struct WorkloadInfo {
  const char* name;
  const char* title;
  Budget budget;                  // 0 us: none
  const char* plain = nullptr;    // the name of the workload that this one is to be set beside; null: it has none
  const char* differs = nullptr;  // by what: "without / with prepare"
  bool ordinary_pages = false;    // its weights lie on pages of the usual size
};

/// In the order in which they are measured and shown.
const std::vector<WorkloadInfo>& workload_infos();

/// One kind of call, ready to be repeated. Each call moves on to other telemetry.
struct Workload {
  const WorkloadInfo* info = nullptr;
  std::function<void()> prepare;  // a moment before the tick, where calls are paced; may be empty
  std::function<void()> lead_in;  // what has to come first in each tick, not part of the call; may be empty
  std::function<void()> call;     // what is timed
  std::function<void()> after;    // what can wait; may be empty
  std::function<std::vector<double>()> result;  // of the last call
};

/// An engine and every workload on it. On TensorFlow Lite a stream has no steps to save: a push and an advance are
/// compared with what replaces them there, a full window.
class Workloads {
 public:
  /// @param folder   holds models/ and metadata/
  /// @param profile  whose link is forecast and decided on, "internet"
  /// @throws LoadError, std::invalid_argument
  Workloads(const std::string& folder, const std::string& profile, const Model::Options& options);
  ~Workloads();
  Workloads(const Workloads&) = delete;
  Workloads& operator=(const Workloads&) = delete;

  /// Adds what wants ordinary pages: loads the engine once more without huge ones, which this process is not given from
  /// then on, as long as this lives. What has been loaded before keeps its own.
  /// @throws std::system_error  the system can't be asked for that
  void add_on_ordinary_pages(const std::string& folder, const Model::Options& options);

  Workload& at(std::size_t index) { return all_[index]; }  ///< as workload_infos()
  Engine& engine() noexcept { return engine_; }
  double load_ms() const noexcept { return load_ms_; }  ///< what opening the engine took

 private:
  void name_all();
  Workload forecast(Engine& engine, std::size_t batch);
  Workload q_values();
  Workload groups();
  enum class Timed { push, prepared_push, advance };
  Workload stream(Engine& engine, Timed timed);

  double load_ms_;  // before engine_: the clock's reading until that is open
  Engine engine_;
  std::unique_ptr<Engine> on_ordinary_pages_;
  std::size_t forecaster_;
  std::size_t allocator_;
  std::vector<std::shared_ptr<void>> owned_;  // what the calls refer to
  std::vector<Workload> all_;
};

/// How far the results of the two may lie apart, relative where they are larger than 1: the proof's own tolerance is
/// 1e-4 of scaled outputs, and undoing the scaling of a target can make ten times as much of it.
constexpr double kResultTolerance = 1e-3;

/// @throws std::runtime_error  the results differ by more, or are not finite
void check_same_result(const Workload& ours, const Workload& reference, double tolerance);

}  // namespace linkcast::bench
