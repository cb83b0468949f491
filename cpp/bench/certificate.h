// The latency certificate of a machine: every workload back to back and paced, alone and beside noisy neighbours, on
// linkcast and on TensorFlow Lite, in rounds that are spread over the run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "counters.h"
#include "histogram.h"
#include "machine.h"
#include "workloads.h"

namespace linkcast::bench {

struct CertificateOptions {
  std::string folder;
  std::string profile = "internet";
  bool quick = false;  ///< workloads without a budget are paced at one rate only, the reference not at the slowest
  double seconds = 0;  ///< the whole run, about; 0: 38 when quick, else 600
  std::size_t rounds = 10;
  std::vector<std::size_t> workloads;  ///< indices of workload_infos(); empty: all
  std::vector<double> rates_hz = {1000, 100, 10};
  bool reference = true;  ///< TensorFlow Lite beside
  bool hogs = true;
  std::vector<int> hog_cpus;
  std::optional<int> cpu;       ///< of the measuring thread
  std::optional<int> priority;  ///< of the measuring thread, SCHED_FIFO
  Precision precision = Precision::float32;
  SecondCore second_core;  ///< of one window of a forecaster
  std::string tflite_library;
};

/// What is measured in one place: how calls of one workload follow each other, what runs them, and what else runs.
struct Cell {
  const WorkloadInfo* workload = nullptr;  // null: the empty loop, which only wakes up
  bool reference = false;                  // on TensorFlow Lite
  std::optional<double> rate_hz;           // of the ticks; nothing: back to back
  bool hogs = false;

  Histogram call;                            // start of the call to its end
  Histogram tick;                            // scheduled start of the tick to the end of the call; paced only
  std::uint64_t missed_calls = 0;            // as long as the workload's budget
  std::uint64_t preempted_misses = 0;        // of these, how many lost the CPU meanwhile
  std::uint64_t missed_ticks = 0;            // not over when the next one was due
  std::uint64_t missed_deadlines = 0;        // beyond the workload's budget, counted from the tick when paced
  std::optional<std::uint64_t> allocations;  // during the calls
  Counters counters;                         // during the slices
  std::vector<double> p50_us;                // of each round
  std::vector<double> p99_us;                // of each round; NaN where a round has fewer than 100 calls
};

/// The first call of a fresh engine, in each round.
struct ColdCall {
  const WorkloadInfo* workload = nullptr;
  bool reference = false;
  std::vector<double> us;
};

struct Skipped {
  std::string workload;
  bool reference = false;
  double rate_hz = 0;
  bool hogs = false;
  std::string reason;
};

enum class Verdict { pass, late, fail };
const char* verdict_name(Verdict verdict) noexcept;

/// Of one budget.
/// fail: too many calls take as long as the budget while they have the CPU.
/// late: calls keep the budget, but this machine starts them too late, counted from the tick, or takes the CPU away in
///       the middle; an empty loop there shows how late it starts anything.
struct BudgetVerdict {
  const WorkloadInfo* workload = nullptr;
  Verdict verdict = Verdict::pass;
  const Cell* call_at = nullptr;  // where the call is slowest
  double call_us = 0;
  const Cell* tick_at = nullptr;  // where the answer is latest; null when nothing was paced
  double tick_us = 0;
  std::optional<double> empty_tick_us;  // the same percentile of the empty loop there
};

struct ModelFacts {
  std::string name, file, sha256, backend, backend_reason, isa, precision;
  double proof_error = 0;
  std::string second_core;  // what came of it; "": not asked for
};

struct Certificate {
  CertificateOptions options;
  double elapsed_s = 0;
  std::string created;  // UTC
  MachineState begin, end;
  std::string tflite_version, tflite_sha256;
  std::vector<ModelFacts> models;
  std::vector<Cell> cells;
  std::vector<ColdCall> cold;
  std::vector<double> load_ms, reference_load_ms;  // of an engine, each round
  std::vector<Skipped> skipped;
};

/// A percentile, at most the exact maximum, to which a bucket's upper end does not keep.
double percentile_us(const Histogram& histogram, double percent);

/// A percentile that enough values stand behind: 10 for p90, 100 for p99, 1000 for p99.9, 10,000 for p99.99.
std::optional<double> supported_percentile_us(const Histogram& histogram, double percent);

/// The budget's percentile, or the longest where too few values stand behind it.
double judged_us(const Histogram& histogram, double percent);

/// A verdict for each workload that has a budget and was measured; cells beside hogs are not judged.
std::vector<BudgetVerdict> judge(const std::vector<Cell>& cells);

/// Takes about options.seconds. @throws LoadError, std::invalid_argument, std::runtime_error (a wrong result)
Certificate certify(const CertificateOptions& options);

}  // namespace linkcast::bench
