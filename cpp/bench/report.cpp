#include "report.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "hogs.h"

#ifndef LINKCAST_VERSION
#define LINKCAST_VERSION "unknown"
#endif

namespace linkcast::bench {
namespace {

constexpr double kUs = 1e-3;

const char* contender(bool reference) { return reference ? "tflite" : "linkcast"; }
const char* name_of(const WorkloadInfo* workload) { return workload ? workload->name : "empty"; }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
}

/// "back to back", "100 Hz", with ", hogs".
std::string scenario_of(const Cell& cell) {
  char text[48];
  if (cell.rate_hz) {
    std::snprintf(text, sizeof text, "%g Hz%s", *cell.rate_hz, cell.hogs ? ", hogs" : "");
  } else {
    std::snprintf(text, sizeof text, "back to back%s", cell.hogs ? ", hogs" : "");
  }
  return text;
}

/// Percentiles for a plot: each step halves what lies beyond, cut in four.
std::vector<double> curve_percentiles(std::uint64_t count) {
  std::vector<double> percentiles = {0};
  for (double beyond = 1; beyond * static_cast<double>(count) >= 1; beyond /= 2)
    for (int part = 1; part <= 4; ++part) percentiles.push_back(100 * (1 - beyond * (1 - part / 8.0)));
  percentiles.push_back(100);
  return percentiles;
}

void write_percentiles(JsonWriter& json, const Histogram& histogram) {
  json.member("p50", percentile_us(histogram, 50));
  json.member("p90", supported_percentile_us(histogram, 90));
  json.member("p99", supported_percentile_us(histogram, 99));
  json.member("p99.9", supported_percentile_us(histogram, 99.9));
  json.member("p99.99", supported_percentile_us(histogram, 99.99));
  json.member("max", static_cast<double>(histogram.max()) * kUs);
  std::vector<std::vector<double>> curve;
  for (const double percent : curve_percentiles(histogram.count())) {
    curve.push_back({percent, percentile_us(histogram, percent)});
  }
  json.member("curve", curve);
}

void write_key(JsonWriter& json, const Cell& cell) {
  json.member("workload", name_of(cell.workload));
  json.member("contender", contender(cell.reference));
  json.member("rate_hz", cell.rate_hz);
  json.member("hogs", cell.hogs);
}

void write_cell(JsonWriter& json, const Cell& cell) {
  write_key(json, cell);
  json.member("samples", cell.call.count());
  json.object("call_us", [&] { write_percentiles(json, cell.call); });
  json.key("tick_us");
  if (cell.rate_hz) {
    json.object([&] { write_percentiles(json, cell.tick); });
  } else {
    json.value(std::nullopt);
  }
  const bool has_budget = cell.workload && cell.workload->budget.us > 0;
  json.member("missed_ticks", cell.rate_hz ? std::optional(cell.missed_ticks) : std::nullopt);
  json.member("missed_budget", has_budget ? std::optional(cell.missed_calls) : std::nullopt);
  json.member("missed_budget_preempted", has_budget ? std::optional(cell.preempted_misses) : std::nullopt);
  json.member("allocations", cell.allocations);
  json.object("page_faults", [&] {
    json.member("minor", cell.counters.minor_faults);
    json.member("major", cell.counters.major_faults);
  });
  json.object("context_switches", [&] {
    json.member("voluntary", cell.counters.voluntary_switches);
    json.member("involuntary", cell.counters.involuntary_switches);
  });
  json.object("rounds", [&] {
    json.member("p50_us", cell.p50_us);
    json.member("p99_us", cell.p99_us);
  });
}

void write_verdict(JsonWriter& json, const BudgetVerdict& verdict) {
  const Budget& budget = verdict.workload->budget;
  json.member("workload", verdict.workload->name);
  json.member("verdict", verdict_name(verdict.verdict));
  json.member("budget_us", budget.us);
  json.member("percentile", budget.percentile);
  json.object("call", [&] {
    json.member("us", verdict.call_us);
    json.member("rate_hz", verdict.call_at->rate_hz);
    json.member("samples", verdict.call_at->call.count());
    json.member("missed", verdict.call_at->missed_calls);
    json.member("missed_preempted", verdict.call_at->preempted_misses);
  });
  json.key("tick");
  if (verdict.tick_at) {
    json.object([&] {
      json.member("us", verdict.tick_us);
      json.member("rate_hz", verdict.tick_at->rate_hz);
      json.member("samples", verdict.tick_at->tick.count());
      json.member("empty_loop_us", verdict.empty_tick_us);
    });
  } else {
    json.value(std::nullopt);
  }
}

void write_settings(JsonWriter& json, const CertificateOptions& options) {
  json.member("quick", options.quick);
  json.member("rounds", options.rounds);
  json.member("profile", options.profile);
  json.member("rates_hz", options.rates_hz);
  json.member("cpu", options.cpu);
  json.member("hog_threads", options.hogs ? Hogs::kThreads : 0);
  json.member("hog_memory_bytes", options.hogs ? Hogs::memory_bytes() : 0);
  json.member("hog_cpus", options.hog_cpus);
}

std::string microseconds(std::optional<double> us) {
  if (!us) return "-";
  char text[32];
  std::snprintf(text, sizeof text, *us < 10 ? "%.2f" : *us < 1000 ? "%.1f" : "%.0f", *us);
  return text;
}

void print_times(std::FILE* out, const std::string& title, const Histogram& histogram) {
  std::fprintf(out, "%-28s %7llu", title.c_str(), static_cast<unsigned long long>(histogram.count()));
  for (const double percent : {50.0, 90.0, 99.0, 99.9, 99.99})
    std::fprintf(out, " %7s", microseconds(supported_percentile_us(histogram, percent)).c_str());
  std::fprintf(out, " %7s", microseconds(static_cast<double>(histogram.max()) * kUs).c_str());
}

const Cell* reference_of(const Cell& cell, const std::vector<Cell>& cells) {
  for (const Cell& other : cells)
    if (other.reference && other.workload == cell.workload && other.rate_hz == cell.rate_hz && other.hogs == cell.hogs)
      return &other;
  return nullptr;
}

/// "of TensorFlow Lite's": its median, and the median over rounds of ours / its.
void print_reference(std::FILE* out, const Cell& cell, const Cell* reference) {
  if (!reference || reference->p50_us.size() != cell.p50_us.size()) {
    std::fprintf(out, " %7s %5s", "", "");
    return;
  }
  std::vector<double> ratios;
  for (std::size_t r = 0; r < cell.p50_us.size(); ++r) ratios.push_back(cell.p50_us[r] / reference->p50_us[r]);
  std::fprintf(out, " %7s %5.2f", microseconds(percentile_us(reference->call, 50)).c_str(), median(ratios));
}

void print_cell(std::FILE* out, const Cell& cell, const Cell* reference) {
  const std::string scenario = "  " + scenario_of(cell);
  if (cell.workload) {
    print_times(out, scenario, cell.call);
    print_reference(out, cell, reference);
    const auto faults = cell.counters.minor_faults + cell.counters.major_faults;
    std::fprintf(
        out, " %6s %5s %6llu %6llu\n", cell.workload->budget.us > 0 ? std::to_string(cell.missed_calls).c_str() : "",
        cell.allocations ? std::to_string(*cell.allocations).c_str() : "-", static_cast<unsigned long long>(faults),
        static_cast<unsigned long long>(cell.counters.involuntary_switches));
  }
  if (cell.rate_hz) {
    print_times(out, cell.workload ? "    from the tick" : scenario, cell.tick);
    std::fprintf(out, " %7s %5s %6llu\n", "", "", static_cast<unsigned long long>(cell.missed_ticks));
  }
}

void print_cells(std::FILE* out, const Certificate& certificate) {
  std::fprintf(out, "%-28s %7s %7s %7s %7s %7s %7s %7s %7s %5s %6s %5s %6s %6s\n", "us", "samples", "p50", "p90", "p99",
               "p99.9", "p99.99", "max", "tflite", "ratio", "missed", "alloc", "faults", "lost");
  std::vector<const WorkloadInfo*> workloads;
  for (const WorkloadInfo& info : workload_infos()) workloads.push_back(&info);
  workloads.push_back(nullptr);
  for (const WorkloadInfo* workload : workloads) {
    bool titled = false;
    for (const Cell& cell : certificate.cells) {
      if (cell.workload != workload || cell.reference) continue;
      if (!titled) std::fprintf(out, "%s\n", workload ? workload->title : "empty loop, from the tick");
      titled = true;
      print_cell(out, cell, reference_of(cell, certificate.cells));
    }
  }
  std::fprintf(out,
               "tflite: median of TensorFlow Lite, interleaved. missed: calls as long as the budget, or ticks not over "
               "when the next was due.\nlost: times that another process got the CPU. hogs: beside a CPU hog and a "
               "memory hog. -: too few samples.\n");
}

const Cell* plain_of(const Cell& cell, const std::vector<Cell>& cells) {
  if (!cell.workload || !cell.workload->plain || cell.reference || !cell.rate_hz) return nullptr;
  for (const Cell& other : cells)
    if (other.workload && other.workload->name == std::string_view(cell.workload->plain) && !other.reference &&
        other.rate_hz == cell.rate_hz && other.hogs == cell.hogs)
      return &other;
  return nullptr;
}

/// What prepare and huge pages do for a call, where calls are paced.
void print_differences(std::FILE* out, const std::vector<Cell>& cells) {
  std::string_view titled;
  for (const Cell& cell : cells) {
    const Cell* plain = plain_of(cell, cells);
    if (!plain) continue;
    if (titled != cell.workload->differs) {
      titled = cell.workload->differs;
      const std::string title = "us a call " + std::string(titled);
      std::fprintf(out, "\n%-34s %14s %14s %14s %10s\n", title.c_str(), "p50", "p90", "p99", "p50 ratio");
    }
    std::fprintf(out, "%s, %-28s", plain->workload->name, scenario_of(cell).c_str());
    for (const double percent : {50.0, 90.0, 99.0})
      std::fprintf(out, " %6s /%6s", microseconds(supported_percentile_us(plain->call, percent)).c_str(),
                   microseconds(supported_percentile_us(cell.call, percent)).c_str());
    std::fprintf(out, " %10.2f\n", percentile_us(cell.call, 50) / percentile_us(plain->call, 50));
  }
}

void print_verdicts(std::FILE* out, const std::vector<BudgetVerdict>& verdicts) {
  for (const BudgetVerdict& verdict : verdicts) {
    const Budget& budget = verdict.workload->budget;
    std::fprintf(out, "%-4s  %s: p%g of the call %s us (%s), budget %s us", verdict_name(verdict.verdict),
                 verdict.workload->title, budget.percentile, microseconds(verdict.call_us).c_str(),
                 scenario_of(*verdict.call_at).c_str(), microseconds(budget.us).c_str());
    if (verdict.tick_at)
      std::fprintf(out, "; from the tick %s us (%s), an empty loop %s us", microseconds(verdict.tick_us).c_str(),
                   scenario_of(*verdict.tick_at).c_str(), microseconds(verdict.empty_tick_us).c_str());
    std::fprintf(out, "\n");
    if (verdict.verdict == Verdict::late)
      std::fprintf(
          out,
          "      calls that have the CPU keep the budget; this machine starts some too late, or takes the CPU away\n");
  }
}

}  // namespace

std::string to_json(const Certificate& certificate) {
  JsonWriter json;
  json.object([&] {
    json.member("schema_version", 1);
    json.member("created", certificate.created);
    json.member("elapsed_s", certificate.elapsed_s);
    json.object("program", [&] {
      json.member("linkcast", LINKCAST_VERSION);
      json.member("compiler", "g++ " __VERSION__);
      json.object("tflite", [&] {
        json.member("version", certificate.tflite_version);
        json.key("sha256");
        if (certificate.tflite_sha256.empty()) {
          json.value(std::nullopt);
        } else {
          json.value(certificate.tflite_sha256);
        }
      });
    });
    json.object("settings", [&] { write_settings(json, certificate.options); });
    json.object("machine", [&] { write_machine(json, certificate.begin, certificate.end); });
    json.object("models", [&] {
      for (const ModelFacts& model : certificate.models) {
        json.object(model.name, [&] {
          json.member("file", model.file);
          json.member("sha256", model.sha256);
          json.member("backend", model.backend);
          json.member("backend_reason", model.backend_reason);
          json.member("isa", model.isa);
          json.member("precision", model.precision);
          json.member("proof_error", model.proof_error);
          json.member("second_core", model.second_core);
        });
      }
    });
    json.object("workloads", [&] {
      for (const WorkloadInfo& info : workload_infos()) json.member(info.name, info.title);
      json.member("empty", "empty loop");
    });
    json.object("variants", [&] {
      for (const WorkloadInfo& info : workload_infos())
        if (info.plain)
          json.object(info.name, [&] {
            json.member("of", info.plain);
            json.member("by", info.differs);
          });
    });
    json.array("verdicts", [&] {
      for (const BudgetVerdict& verdict : judge(certificate.cells)) json.object([&] { write_verdict(json, verdict); });
    });
    json.array("cells", [&] {
      for (const Cell& cell : certificate.cells) json.object([&] { write_cell(json, cell); });
    });
    json.array("cold", [&] {
      for (const ColdCall& call : certificate.cold) {
        json.object([&] {
          json.member("workload", call.workload->name);
          json.member("contender", contender(call.reference));
          json.member("first_call_us", call.us);
        });
      }
    });
    json.object("load_ms", [&] {
      json.member("linkcast", certificate.load_ms);
      json.member("tflite", certificate.reference_load_ms);
    });
    json.array("skipped", [&] {
      for (const Skipped& skipped : certificate.skipped) {
        json.object([&] {
          json.member("workload", skipped.workload);
          json.member("contender", contender(skipped.reference));
          json.member("rate_hz", skipped.rate_hz);
          json.member("hogs", skipped.hogs);
          json.member("reason", skipped.reason);
        });
      }
    });
  });
  return json.text();
}

void print(const Certificate& certificate, std::FILE* out) {
  const auto verdicts = judge(certificate.cells);
  std::fprintf(out, "%s\n", describe_machine().c_str());
  std::fprintf(out, "linkcast %s, TensorFlow Lite %s, %zu rounds in %.0f s, load average %s\n\n", LINKCAST_VERSION,
               certificate.tflite_version.c_str(), certificate.options.rounds, certificate.elapsed_s,
               microseconds(certificate.end.load_average).c_str());
  for (const ModelFacts& model : certificate.models)
    if (!model.second_core.empty()) std::fprintf(out, "%s: %s\n", model.name.c_str(), model.second_core.c_str());
  print_cells(out, certificate);
  print_differences(out, certificate.cells);
  std::fprintf(out, "\nfirst call of a fresh engine, us: median and longest of %zu, and TensorFlow Lite's\n",
               certificate.options.rounds);
  for (const ColdCall& call : certificate.cold) {
    if (!call.reference)
      std::fprintf(out, "%s%-30s", &call == certificate.cold.data() ? "" : "\n", call.workload->title);
    std::fprintf(out, " %9s %9s", microseconds(median(call.us)).c_str(),
                 microseconds(*std::max_element(call.us.begin(), call.us.end())).c_str());
  }
  std::fprintf(out, "\n");
  for (const Skipped& skipped : certificate.skipped)
    std::fprintf(out, "skipped: %s on %s at %g Hz%s: %s\n", skipped.workload.c_str(), contender(skipped.reference),
                 skipped.rate_hz, skipped.hogs ? ", hogs" : "", skipped.reason.c_str());
  std::fprintf(out, "\n");
  print_verdicts(out, verdicts);
}

int exit_status(const std::vector<BudgetVerdict>& verdicts) noexcept {
  int status = 0;
  for (const BudgetVerdict& verdict : verdicts) {
    if (verdict.verdict == Verdict::fail) return 1;
    if (verdict.verdict == Verdict::late) status = 3;
  }
  return status;
}

}  // namespace linkcast::bench
