// linkcast-bench: the latency certificate of this machine, or, given .tflite files, each beside TensorFlow Lite.
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "certificate.h"
#include "machine.h"
#include "report.h"
#include "side_by_side.h"

namespace linkcast::bench {
namespace {

constexpr const char* kUsage =
    "usage: linkcast-bench [options]                   the latency certificate of this machine\n"
    "       linkcast-bench [options] model.tflite...   models beside TensorFlow Lite and the core's limit\n"
    "  --isa NAME        scalar, neon, avx2 or avx512 (LINKCAST_ISA, or the fastest there is)\n"
    "  --precision P     float32, bfloat16 or int8 (float32); a list of them with models\n"
    "  --second-core CPU one window of a forecaster on two cores where that gains: the helper's CPU, or any\n"
    "  --helper-spin US  how long the helper stays awake after a window (1000): more than a tick, where calls are "
    "paced\n"
    "  --tflite PATH     the TensorFlow Lite C library\n"
    "certificate:\n"
    "  --models FOLDER   holds models/ and metadata/ (beside the program, or in ../share/linkcast, or here)\n"
    "  --quick           less than a minute: 40 s, and not every pace for every call\n"
    "  --seconds N       the whole run, about (600)\n"
    "  --rounds N        that it is spread over (10)\n"
    "  --only LIST       of lstm,ddqn,batch100,groups,push,advance,\n"
    "                    push_prepared,lstm_prepared,push_ordinary_pages,\n"
    "                    lstm_ordinary_pages (all)\n"
    "  --rates LIST      ticks per second (1000,100,10)\n"
    "  --profile NAME    whose link (internet)\n"
    "  --no-reference    without TensorFlow Lite beside\n"
    "  --no-hogs         without the part beside noisy neighbours\n"
    "  --cpu N           run on this CPU only\n"
    "  --priority N      run with this real-time priority (SCHED_FIFO, 1 to 99)\n"
    "  --hog-cpus A,B    pin the two neighbours: one computes, one streams through memory\n"
    "  --json FILE       write JSON; - is standard output, without the table then\n"
    "  --machine         only what is known of this machine, as JSON\n"
    "exit status: 0 every budget is kept, 1 a call takes too long or an error, 2 wrong usage, 3 calls keep the "
    "budgets\n"
    "but this machine starts them too late\n"
    "models:\n"
    "  --batch N         windows in a call (1)\n"
    "  --paced HZ        one call in each tick of this rate, caches cold, and not back to back\n"
    "  --iterations N    samples of each contender (2000; 300 when paced)\n"
    "  --kernels         also the kernels alone, without the TensorFlow Lite interpreter around them\n";

struct Options {
  CertificateOptions certificate;
  SideBySideOptions models;
  std::string json;
  bool machine = false;
};

double number_of(const std::string& option, const std::string& text) {
  std::size_t used = 0;
  double value = 0.0;
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  if (used == 0 || used != text.size() || !(value > 0.0)) {
    throw std::invalid_argument(option + ": expected a positive number, got '" + text + "'");
  }
  return value;
}

std::size_t count_of(const std::string& option, const std::string& text) {
  const double value = number_of(option, text);
  if (value != static_cast<double>(static_cast<std::size_t>(value)))
    throw std::invalid_argument(option + ": expected a whole number, got '" + text + "'");
  return static_cast<std::size_t>(value);
}

int cpu_of(const std::string& option, const std::string& text) {
  if (text.empty() || text.find_first_not_of("0123456789") != std::string::npos || text.size() > 4)
    throw std::invalid_argument(option + ": expected the number of a CPU, got '" + text + "'");
  return std::stoi(text);
}

std::vector<std::string> items_of(std::string list) {
  std::vector<std::string> items;
  list += ",";
  for (std::size_t comma; (comma = list.find(',')) != std::string::npos; list.erase(0, comma + 1))
    items.push_back(list.substr(0, comma));
  return items;
}

std::size_t workload_of(const std::string& name) {
  std::string known;
  for (std::size_t i = 0; i < workload_infos().size(); ++i) {
    if (name == workload_infos()[i].name) return i;
    known += std::string(i == 0 ? "" : ", ") + workload_infos()[i].name;
  }
  throw std::invalid_argument("--only: expected some of " + known + ", got '" + name + "'");
}

Options parse(int argc, char** argv) {
  Options options;
  CertificateOptions& certificate = options.certificate;
  SideBySideOptions& models = options.models;
  std::string only_certificate;  // the last option that only one of the two modes knows
  std::string only_models;
  std::size_t precisions = 1;
  std::string second_core;
  std::uint64_t helper_spin_us = SecondCore().spin_us;
  int i = 1;
  std::string option;
  const auto value = [&]() -> std::string {
    if (i + 1 >= argc) throw std::invalid_argument(option + ": expected a value");
    return argv[++i];
  };
  // What each option does, by name; those of both modes stand first.
  const std::map<std::string, std::function<void()>> both = {
      {"--isa", [&] { setenv("LINKCAST_ISA", value().c_str(), 1); }},
      {"--precision",
       [&] {
         models.precisions.clear();
         for (const std::string& name : items_of(value())) models.precisions.push_back(precision_from_name(name));
         certificate.precision = models.precisions.front();
         precisions = models.precisions.size();
       }},
      {"--second-core", [&] { second_core = value(); }},
      {"--helper-spin", [&] { helper_spin_us = count_of(option, value()); }},
      {"--tflite", [&] { certificate.tflite_library = models.tflite_library = value(); }},
      {"--machine", [&] { options.machine = true; }},
  };
  const std::map<std::string, std::function<void()>> of_certificate = {
      {"--models", [&] { certificate.folder = value(); }},
      {"--quick", [&] { certificate.quick = true; }},
      {"--seconds", [&] { certificate.seconds = number_of(option, value()); }},
      {"--rounds", [&] { certificate.rounds = count_of(option, value()); }},
      {"--only",
       [&] {
         for (const std::string& name : items_of(value())) certificate.workloads.push_back(workload_of(name));
       }},
      {"--rates",
       [&] {
         certificate.rates_hz.clear();
         for (const std::string& rate : items_of(value())) certificate.rates_hz.push_back(number_of(option, rate));
       }},
      {"--profile", [&] { certificate.profile = value(); }},
      {"--no-reference", [&] { certificate.reference = false; }},
      {"--no-hogs", [&] { certificate.hogs = false; }},
      {"--cpu", [&] { certificate.cpu = cpu_of(option, value()); }},
      {"--priority", [&] { certificate.priority = static_cast<int>(count_of(option, value())); }},
      {"--hog-cpus",
       [&] {
         for (const std::string& cpu : items_of(value())) certificate.hog_cpus.push_back(cpu_of(option, cpu));
         if (certificate.hog_cpus.size() != 2) throw std::invalid_argument(option + ": expected two CPUs, such as 2,3");
       }},
      {"--json", [&] { options.json = value(); }},
  };
  const std::map<std::string, std::function<void()>> of_models = {
      {"--batch", [&] { models.batch = count_of(option, value()); }},
      {"--paced", [&] { models.paced_hz = number_of(option, value()); }},
      {"--iterations", [&] { models.iterations = count_of(option, value()); }},
      {"--kernels", [&] { models.kernels = true; }},
  };
  for (; i < argc; ++i) {
    option = argv[i];
    if (const auto known = both.find(option); known != both.end()) {
      known->second();
    } else if (const auto of_this = of_certificate.find(option); of_this != of_certificate.end()) {
      of_this->second();
      only_certificate = option;
    } else if (const auto of_that = of_models.find(option); of_that != of_models.end()) {
      of_that->second();
      only_models = option;
    } else if (option.rfind("--", 0) == 0) {
      throw std::invalid_argument("unknown option '" + option + "'");
    } else {
      models.models.push_back(option);
    }
  }
  certificate.second_core = models.second_core = SecondCore::from(second_core, helper_spin_us);
  if (models.models.empty() && !only_models.empty()) throw std::invalid_argument(only_models + ": no model given");
  if (models.models.empty() && precisions > 1) throw std::invalid_argument("--precision: expected one, got a list");
  if (!models.models.empty() && !only_certificate.empty())
    throw std::invalid_argument(only_certificate + ": has no meaning with models");
  return options;
}

bool has_bundle(const std::filesystem::path& folder) {
  return std::filesystem::is_regular_file(folder / "metadata" / "manifest.json");
}

/// Where the program finds models/ and metadata/ when it is not told: beside itself (a wheel), where an installation
/// puts them, or in the current folder (a source tree).
std::string default_folder() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  for (const std::filesystem::path& folder :
       {self, self.parent_path() / "share" / "linkcast", std::filesystem::path(".")})
    if (has_bundle(folder)) return folder.string();
  throw std::runtime_error("no models/ and metadata/ beside the program or here; name their folder with --models");
}

int certify_and_report(Options& options) {
  if (options.certificate.folder.empty()) options.certificate.folder = default_folder();
  std::ofstream file;
  if (!options.json.empty() && options.json != "-") {  // now, and not after ten minutes
    file.open(options.json);
    if (!file) throw std::runtime_error(options.json + ": " + std::strerror(errno));
  }
  const Certificate certificate = certify(options.certificate);
  if (options.json == "-") {
    std::fputs(to_json(certificate).c_str(), stdout);
  } else {
    print(certificate, stdout);
  }
  if (file.is_open() && !(file << to_json(certificate)).flush())
    throw std::runtime_error(options.json + ": cannot be written");
  return exit_status(judge(certificate.cells));
}

int run(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--help") == 0 || std::strcmp(argv[i], "-h") == 0) {
      std::fputs(kUsage, stdout);
      return 0;
    }
  }
  Options options = parse(argc, argv);
  if (options.machine) {
    const MachineState state = MachineState::now();
    JsonWriter json;
    json.object([&] { write_machine(json, state, state); });
    std::fputs(json.text().c_str(), stdout);
    return 0;
  }
  if (options.models.models.empty()) return certify_and_report(options);
  time_side_by_side(options.models);
  return 0;
}

}  // namespace
}  // namespace linkcast::bench

int main(int argc, char** argv) {
  try {
    return linkcast::bench::run(argc, argv);
  } catch (const std::invalid_argument& error) {
    // One line: `linkcast bench` shows it, whose options are others.
    std::fprintf(stderr, "linkcast-bench: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "linkcast-bench: %s\n", error.what());
    return 1;
  }
}
