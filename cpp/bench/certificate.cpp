#include "certificate.h"

#include <dlfcn.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>

#include "base/clock.h"
#include "base/sha256.h"
#include "hogs.h"

namespace linkcast::bench {
namespace {

constexpr std::uint64_t kPrepareAheadNs = 300'000;  // of a tick: the CPU sleeps in between, as a loop does
constexpr double kNs = 1e9;
constexpr std::size_t kTurns = 4;      // in which ours and the reference alternate when back to back
constexpr double kMostBusy = 0.8;      // share of a period that work may take for a pace to make sense
constexpr double kFirstStretch = 0.6;  // of the planned times in the first round, before it is known what it takes

void sleep_until(std::uint64_t at_ns) {
  const timespec until{static_cast<time_t>(at_ns / 1'000'000'000), static_cast<long>(at_ns % 1'000'000'000)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) != 0) {
  }
}

/// Records calls of one workload into a cell. `round` takes the calls of this round alone.
class Recorder {
 public:
  Recorder(Cell& cell, Histogram& round) : cell_(cell), round_(round) {
    if (cell.workload && cell.workload->budget.us > 0) budget_ns_ = to_ns(cell.workload->budget.us * 1e-6);
  }

  /// Calls one after the other, `least` of them or more. @return seconds that one took with everything around it
  double back_to_back(const Workload& workload, double seconds, std::size_t least) {
    once(workload);  // finds the caches as another contender left them
    begin();
    const std::uint64_t start = monotonic_ns();
    const std::uint64_t end = start + to_ns(seconds);
    std::size_t calls = 0;
    do {
      once(workload);
      record();
      ++calls;
    } while (monotonic_ns() < end || calls < least);
    const double elapsed = static_cast<double>(monotonic_ns() - start) / kNs;
    finish();
    return elapsed / static_cast<double>(calls);
  }

  /// One call in each tick of an absolute schedule. A tick that is over late makes the next one start late, and its
  /// time counts from when it should have started.
  void paced(const Workload& workload, std::size_t ticks) {
    const std::uint64_t period = to_ns(1.0 / *cell_.rate_hz);
    begin();
    std::uint64_t scheduled = monotonic_ns() + period;
    for (std::size_t tick = 0; tick < ticks; ++tick, scheduled += period) {
      if (workload.prepare) {
        if (monotonic_ns() + kPrepareAheadNs < scheduled) sleep_until(scheduled - kPrepareAheadNs);
        workload.prepare();
      }
      if (monotonic_ns() < scheduled) sleep_until(scheduled);
      once(workload);
      record();
      cell_.tick.record(end_ns_ - scheduled);
      if (end_ns_ - scheduled >= period) ++cell_.missed_ticks;
    }
    finish();
  }

 private:
  static std::uint64_t to_ns(double seconds) { return static_cast<std::uint64_t>(seconds * kNs); }

  void begin() {
    begin_ = Counters::now();
    switches_ = begin_.involuntary_switches;
  }
  void finish() { cell_.counters.add(begin_, Counters::now()); }

  void once(const Workload& workload) {
    if (workload.lead_in) workload.lead_in();
    const auto allocated = allocations();
    start_ns_ = monotonic_ns();
    workload.call();
    end_ns_ = monotonic_ns();
    if (allocated) allocated_ = *allocations() - *allocated;
    if (workload.after) workload.after();
  }

  void record() {
    round_.record(end_ns_ - start_ns_);
    if (allocated_) cell_.allocations = cell_.allocations.value_or(0) + *allocated_;
    if (budget_ns_ == 0 || end_ns_ - start_ns_ < budget_ns_) return;
    // Rare, so that asking the kernel costs nothing. A call that loses the CPU is a long one: what was lost since the
    // last look was lost by this call, or by the few microseconds between two calls.
    ++cell_.missed_calls;
    const std::uint64_t switches = Counters::now().involuntary_switches;
    if (switches > switches_) ++cell_.preempted_misses;
    switches_ = switches;
  }

  Cell& cell_;
  Histogram& round_;
  std::uint64_t budget_ns_ = 0;  // 0: none
  std::uint64_t start_ns_ = 0;   // of the last call
  std::uint64_t end_ns_ = 0;
  std::optional<std::uint64_t> allocated_;  // by the last call
  std::uint64_t switches_ = 0;              // when last looked at
  Counters begin_;
};

/// What is done in each round for one cell and its reference.
struct Slice {
  Cell* ours = nullptr;
  Cell* reference = nullptr;  // null: none
  std::size_t workload = 0;   // index of workload_infos(); of no use for the empty loop
  double weight = 0;          // of the round's time
  double reference_weight = 0;
};

class Run {
 public:
  explicit Run(const CertificateOptions& options) : options_(options) {
    certificate_.options = options;
    for (std::size_t i = 0; i < workload_infos().size(); ++i)
      if (options.workloads.empty() || std::count(options.workloads.begin(), options.workloads.end(), i) > 0)
        chosen_.push_back(i);
    plan();
  }

  Certificate go() {
    if (options_.cpu) pin_this_thread(*options_.cpu);
    if (options_.priority) make_realtime(*options_.priority);
    const std::uint64_t start = monotonic_ns();
    std::time_t seconds = std::time(nullptr);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&seconds));
    certificate_.created = text;
    certificate_.begin = MachineState::now();
    for (std::size_t r = 0; r < options_.rounds; ++r) {
      if (isatty(STDERR_FILENO)) std::fprintf(stderr, "\rround %zu of %zu ", r + 1, options_.rounds);
      const std::uint64_t round_start = monotonic_ns();
      round();
      adapt(monotonic_ns() - start, monotonic_ns() - round_start, options_.rounds - r - 1);
    }
    if (isatty(STDERR_FILENO)) std::fprintf(stderr, "\r                  \r");
    certificate_.end = MachineState::now();
    certificate_.elapsed_s = static_cast<double>(monotonic_ns() - start) / kNs;
    describe_programs();
    keep_cells();
    return std::move(certificate_);
  }

 private:
  Cell* add_cell(const WorkloadInfo* workload, bool reference, std::optional<double> rate_hz, bool hogs) {
    auto cell = std::make_unique<Cell>();
    cell->workload = workload;
    cell->reference = reference;
    cell->rate_hz = rate_hz;
    cell->hogs = hogs;
    cell->p50_us.reserve(options_.rounds);
    cell->p99_us.reserve(options_.rounds);
    cells_.push_back(std::move(cell));
    return cells_.back().get();
  }

  void add_slice(std::size_t workload, std::optional<double> rate_hz, bool hogs, double weight,
                 double reference_weight) {
    const WorkloadInfo* info = &workload_infos()[workload];
    Slice slice;
    slice.workload = workload;
    slice.weight = weight;
    slice.ours = add_cell(info, false, rate_hz, hogs);
    if (options_.reference && reference_weight > 0) {
      slice.reference = add_cell(info, true, rate_hz, hogs);
      slice.reference_weight = reference_weight;
    }
    total_weight_ += slice.weight + slice.reference_weight;
    slices_.push_back(slice);
  }

  void add_empty_loop(double rate_hz, bool hogs, double weight) {
    Slice slice;
    slice.ours = add_cell(nullptr, false, rate_hz, hogs);
    slice.weight = weight;
    total_weight_ += weight;
    slices_.push_back(slice);
  }

  /// Seconds of a round for each, before they are stretched to the run. Slow rates get more time for few ticks.
  static double paced_weight(double rate_hz) { return rate_hz >= 500 ? 0.15 : rate_hz >= 50 ? 0.07 : 0.2; }

  void plan() {
    for (const std::size_t w : chosen_) {
      const bool judged = workload_infos()[w].budget.us > 0;
      add_slice(w, std::nullopt, false, 0.06, 0.04);
      for (const double rate : options_.rates_hz) {
        const bool slow = rate < 50;
        if (options_.quick && !judged && (slow || rate > 500)) continue;
        const double weight = paced_weight(rate) * (judged && rate > 500 ? 2 : 1);  // p99.9 wants 1000 ticks
        add_slice(w, rate, false, weight, options_.quick && slow ? 0 : 0.4 * paced_weight(rate));
      }
    }
    for (const double rate : options_.rates_hz) add_empty_loop(rate, false, paced_weight(rate));
    if (!options_.hogs) return;
    for (const std::size_t w : chosen_) {
      if (options_.quick && workload_infos()[w].budget.us == 0) continue;
      add_slice(w, std::nullopt, true, 0.05, options_.quick ? 0 : 0.03);
      for (const double rate : options_.rates_hz)
        if (rate >= 50) add_slice(w, rate, true, 0.7 * paced_weight(rate), 0);
    }
    for (const double rate : options_.rates_hz)
      if (rate >= 50) add_empty_loop(rate, true, 0.7 * paced_weight(rate));
  }

  void load() {
    Model::Options how;
    how.tflite_library = options_.tflite_library;
    how.precision = options_.precision;
    how.second_core = options_.second_core;
    ours_.reset();
    theirs_.reset();
    ours_ = std::make_unique<Workloads>(options_.folder, options_.profile, how);
    certificate_.load_ms.push_back(ours_->load_ms());
    if (options_.reference) {
      Model::Options theirs = how;
      theirs.backend = Backend::tflite;
      theirs.precision = Precision::float32;
      theirs.second_core = {};
      theirs_ = std::make_unique<Workloads>(options_.folder, options_.profile, theirs);
      certificate_.reference_load_ms.push_back(theirs_->load_ms());
    }
    for (const std::size_t w : chosen_) {
      if (!workload_infos()[w].ordinary_pages) continue;
      ours_->add_on_ordinary_pages(options_.folder, how);
      break;
    }
  }

  void cold_call(std::size_t workload, bool reference, std::size_t slot) {
    Workload& what = (reference ? theirs_ : ours_)->at(workload);
    if (what.lead_in) what.lead_in();
    const std::uint64_t start = monotonic_ns();
    what.call();
    const std::uint64_t end = monotonic_ns();
    busy_s(workload, reference) = static_cast<double>(end - start) / kNs;
    if (certificate_.cold.size() <= slot) certificate_.cold.push_back({what.info, reference, {}});
    certificate_.cold[slot].us.push_back(static_cast<double>(end - start) * 1e-3);
  }

  /// The first call of each, whose results are compared before anything else is timed.
  void cold_calls() {
    std::size_t slot = 0;
    for (const std::size_t w : chosen_) {
      cold_call(w, false, slot++);
      if (!theirs_) continue;
      cold_call(w, true, slot++);
      const double tolerance = options_.precision == Precision::float32 ? kResultTolerance : 0.5;
      check_same_result(ours_->at(w), theirs_->at(w), tolerance);
      for (Workloads* both : {ours_.get(), theirs_.get()})
        if (both->at(w).after) both->at(w).after();
    }
  }

  void round() {
    load();
    cold_calls();
    std::unique_ptr<Hogs> hogs;
    for (Slice& slice : slices_) {
      if (slice.ours->hogs && !hogs) hogs = std::make_unique<Hogs>(options_.hog_cpus);
      if (slice.ours->rate_hz) {
        run_paced(slice, *slice.ours, false, slice.weight);
        if (slice.reference) run_paced(slice, *slice.reference, true, slice.reference_weight);
      } else {
        run_back_to_back(slice);
      }
    }
  }

  double planned_s() const { return options_.seconds > 0 ? options_.seconds : options_.quick ? 38.0 : 600.0; }

  double seconds_of(double weight) const {
    return stretch_ * weight / total_weight_ * planned_s() / static_cast<double>(options_.rounds);
  }

  /// Makes the rounds that are left fit into the time that is left, by what the last one took with all its loading.
  void adapt(std::uint64_t elapsed_ns, std::uint64_t round_ns, std::size_t rounds_left) {
    if (rounds_left == 0) return;
    const double left_s = std::max(0.0, planned_s() - static_cast<double>(elapsed_ns) / kNs);
    const double wanted = left_s / static_cast<double>(rounds_left) / (static_cast<double>(round_ns) / kNs);
    stretch_ = std::clamp(stretch_ * std::clamp(wanted, 0.5, 1.5), 0.05, 1.0);
  }

  void run_back_to_back(Slice& slice) {
    const double busy = busy_s(slice.workload, slice.reference != nullptr);  // the slower one's
    // Few long calls can't take turns without spending the round on warming up.
    const std::size_t turns = busy > 0.2 * seconds_of(slice.weight) / kTurns ? 1 : kTurns;
    for (std::size_t turn = 0; turn < turns; ++turn) {
      for (Cell* cell : {slice.ours, slice.reference}) {
        if (!cell) continue;
        const double weight = cell->reference ? slice.reference_weight : slice.weight;
        Recorder recorder(*cell, cell->reference ? reference_scratch_ : scratch_);
        const Workload& workload = (cell->reference ? theirs_ : ours_)->at(slice.workload);
        const double seconds = seconds_of(weight) / static_cast<double>(turns);
        // Another process may take the CPU for a whole turn; a median wants calls all the same, if they are short.
        const std::size_t least = busy_s(slice.workload, cell->reference) < 1e-3 ? 10 : 1;
        const double took = recorder.back_to_back(workload, seconds, least);
        if (!cell->hogs) {  // of several turns the quickest: another process may have had the CPU in one
          double& known = busy_s(slice.workload, cell->reference);
          known = turn == 0 ? took : std::min(known, took);
        }
      }
    }
    keep(*slice.ours, scratch_);
    if (slice.reference) keep(*slice.reference, reference_scratch_);
  }

  void run_paced(Slice& slice, Cell& cell, bool reference, double weight) {
    const double rate = *cell.rate_hz;
    const std::size_t ticks =
        std::max<std::size_t>(2, static_cast<std::size_t>(std::lround(seconds_of(weight) * rate)));
    if (!cell.workload) {
      Recorder(cell, scratch_).paced(empty_, ticks);
    } else {
      if (is_skipped(cell)) return;
      const double busy = busy_s(slice.workload, reference);
      if (cell.p50_us.empty() && busy > kMostBusy / rate) {
        char reason[96];
        std::snprintf(reason, sizeof reason, "takes %.3g ms back to back, and a tick is %.3g ms", busy * 1e3,
                      1e3 / rate);
        certificate_.skipped.push_back({cell.workload->name, reference, rate, cell.hogs, reason});
        skipped_.push_back(&cell);
        return;
      }
      Recorder(cell, scratch_).paced((reference ? theirs_ : ours_)->at(slice.workload), ticks);
    }
    keep(cell, scratch_);
  }

  bool is_skipped(const Cell& cell) const { return std::count(skipped_.begin(), skipped_.end(), &cell) > 0; }

  double& busy_s(std::size_t workload, bool reference) { return busy_s_[2 * workload + (reference ? 1 : 0)]; }

  /// The round's calls: into the cell, with the round's own percentiles.
  static void keep(Cell& cell, Histogram& round) {
    cell.call.add(round);
    cell.p50_us.push_back(static_cast<double>(round.percentile(50)) * 1e-3);
    cell.p99_us.push_back(supported_percentile_us(round, 99).value_or(std::numeric_limits<double>::quiet_NaN()));
    round.clear();
  }

  void describe_programs() {
    Engine& engine = ours_->engine();
    for (std::size_t i = 0; i < engine.metadata().models.size(); ++i) {
      const ModelSpec& spec = engine.spec(i);
      const Model& model = engine.model(i);
      certificate_.models.push_back({spec.name, spec.file, spec.sha256, model.backend(), model.backend_reason(),
                                     model.isa(), precision_name(model.precision()), model.proof_error(),
                                     model.second_core()});
    }
    const tflite::Runtime& runtime = engine.model(0).runtime();
    certificate_.tflite_version = runtime.version();
    Dl_info library{};  // the loader may have found it in another folder
    if (dladdr(reinterpret_cast<const void*>(runtime.api().Version), &library) == 0 || !library.dli_fname) return;
    if (std::ifstream file(library.dli_fname, std::ios::binary); file) {
      const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
      certificate_.tflite_sha256 = sha256(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size());
    }
  }

  void keep_cells() {
    for (auto& cell : cells_)
      if (cell->call.count() > 0) certificate_.cells.push_back(std::move(*cell));
  }

  CertificateOptions options_;
  Certificate certificate_;
  std::vector<std::size_t> chosen_;
  std::vector<std::unique_ptr<Cell>> cells_;
  std::vector<Slice> slices_;  // of a round, in order; those beside hogs stand last
  std::vector<const Cell*> skipped_;
  double total_weight_ = 0;
  double stretch_ = kFirstStretch;
  std::vector<double> busy_s_ = std::vector<double>(2 * workload_infos().size());
  Workload empty_{nullptr, {}, {}, [] {}, {}, {}};
  Histogram scratch_;
  Histogram reference_scratch_;
  std::unique_ptr<Workloads> ours_;    // of this round
  std::unique_ptr<Workloads> theirs_;  // TensorFlow Lite
};

}  // namespace

const char* verdict_name(Verdict verdict) noexcept {
  return verdict == Verdict::pass ? "pass" : verdict == Verdict::late ? "late" : "fail";
}

double percentile_us(const Histogram& histogram, double percent) {
  return static_cast<double>(std::min(histogram.percentile(percent), histogram.max())) * 1e-3;
}

std::optional<double> supported_percentile_us(const Histogram& histogram, double percent) {
  // 1 % of what lies beyond is rounding: 100 - 99.9 is not quite 0.1.
  if (static_cast<double>(histogram.count()) * (100.0 - percent) / 100.0 < 0.99) return std::nullopt;
  return percentile_us(histogram, percent);
}

double judged_us(const Histogram& histogram, double percent) {
  return supported_percentile_us(histogram, percent).value_or(static_cast<double>(histogram.max()) * 1e-3);
}

std::vector<BudgetVerdict> judge(const std::vector<Cell>& cells) {
  std::vector<BudgetVerdict> verdicts;
  for (const WorkloadInfo& info : workload_infos()) {
    if (info.budget.us == 0) continue;
    BudgetVerdict verdict;
    verdict.workload = &info;
    bool too_slow = false;
    for (const Cell& cell : cells) {
      if (cell.workload != &info || cell.reference || cell.hogs) continue;
      // The percentile is below the budget when no larger share than the rest of the calls is as long as that.
      const double rest = (100.0 - info.budget.percentile) / 100.0;
      const double may_miss = std::floor(static_cast<double>(cell.call.count()) * rest + 1e-6);
      too_slow |= static_cast<double>(cell.missed_calls - cell.preempted_misses) > may_miss;
      const double call_us = judged_us(cell.call, info.budget.percentile);
      if (!verdict.call_at || call_us > verdict.call_us) {
        verdict.call_at = &cell;
        verdict.call_us = call_us;
      }
      if (!cell.rate_hz) continue;
      const double tick_us = judged_us(cell.tick, info.budget.percentile);
      if (!verdict.tick_at || tick_us > verdict.tick_us) {
        verdict.tick_at = &cell;
        verdict.tick_us = tick_us;
      }
    }
    if (!verdict.call_at) continue;
    for (const Cell& cell : cells)
      if (!cell.workload && !cell.hogs && verdict.tick_at && cell.rate_hz == verdict.tick_at->rate_hz)
        verdict.empty_tick_us = judged_us(cell.tick, info.budget.percentile);
    const bool missed = verdict.call_us >= info.budget.us || verdict.tick_us >= info.budget.us;
    verdict.verdict = too_slow ? Verdict::fail : missed ? Verdict::late : Verdict::pass;
    verdicts.push_back(verdict);
  }
  return verdicts;
}

Certificate certify(const CertificateOptions& options) { return Run(options).go(); }

}  // namespace linkcast::bench
