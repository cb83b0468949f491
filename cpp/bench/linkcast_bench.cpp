// linkcast-bench: what a model costs on this machine, beside TensorFlow Lite in the same run and beside the core's
// limit.
//
// Every contender is checked against TensorFlow Lite's own kernels before anything is timed. Contenders take turns, so
// that what disturbs the machine disturbs all of them, and ratios are those of one run.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "engine/model.h"
#include "engine/proof.h"
#include "roofline.h"

namespace linkcast::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* usage =
    "usage: linkcast-bench [options] model.tflite...\n"
    "  --batch N         windows in a call (1)\n"
    "  --precision LIST  of float32,bfloat16,int8 (float32)\n"
    "  --isa NAME        scalar, neon, avx2 or avx512 (LINKCAST_ISA, or the fastest there is)\n"
    "  --paced HZ        one call in each tick of this rate, caches cold, and not back to back\n"
    "  --iterations N    samples of each contender (2000; 300 when paced)\n"
    "  --kernels         also the kernels alone, without the TensorFlow Lite interpreter around them\n"
    "  --tflite PATH     the TensorFlow Lite C library\n";

struct Options {
  std::vector<std::string> models;
  std::vector<Precision> precisions = {Precision::float32};
  std::size_t batch = 1;
  double paced_hz = 0.0;
  std::size_t iterations = 0;
  bool kernels = false;
  std::string tflite_library;
};

struct Contender {
  std::string name;
  std::function<void()> call;
  std::function<const float*()> output;
  double tolerance = 0.0;         // against TensorFlow Lite, relative where outputs are larger than one
  double error = 0.0;             // what was seen
  std::size_t multiply_adds = 0;  // of a call; 0: unknown
  std::vector<double> us;         // samples, of one call each
};

const char* name_of(Precision precision) {
  return precision == Precision::float32 ? "float32" : precision == Precision::bfloat16 ? "bfloat16" : "int8";
}

Precision precision_from_name(const std::string& name) {
  for (const Precision precision : {Precision::float32, Precision::bfloat16, Precision::int8}) {
    if (name == name_of(precision)) return precision;
  }
  throw std::invalid_argument("--precision: expected float32, bfloat16 or int8, got '" + name + "'");
}

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

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 >= argc) throw std::invalid_argument(option + ": expected a value");
      return argv[++i];
    };
    if (option == "--batch") {
      options.batch = static_cast<std::size_t>(number_of(option, value()));
    } else if (option == "--precision") {
      options.precisions.clear();
      std::string list = value() + ",";
      for (std::size_t comma; (comma = list.find(',')) != std::string::npos; list.erase(0, comma + 1)) {
        options.precisions.push_back(precision_from_name(list.substr(0, comma)));
      }
    } else if (option == "--isa") {
      setenv("LINKCAST_ISA", value().c_str(), 1);
    } else if (option == "--paced") {
      options.paced_hz = number_of(option, value());
    } else if (option == "--iterations") {
      options.iterations = static_cast<std::size_t>(number_of(option, value()));
    } else if (option == "--kernels") {
      options.kernels = true;
    } else if (option == "--tflite") {
      options.tflite_library = value();
    } else if (option.rfind("--", 0) == 0) {
      throw std::invalid_argument("unknown option '" + option + "'");
    } else {
      options.models.push_back(option);
    }
  }
  if (options.models.empty()) throw std::invalid_argument("no model given");
  if (options.iterations == 0) options.iterations = options.paced_hz > 0.0 ? 300 : 2000;
  return options;
}

/// The same windows for every contender, uniform in 0..1 as scaled features are.
void fill(float* values, std::size_t count) {
  std::mt19937 generator(1);
  std::uniform_real_distribution<float> uniform(0.0f, 1.0f);
  for (std::size_t i = 0; i < count; ++i) values[i] = uniform(generator);
}

Contender model_contender(std::string name, const std::shared_ptr<Model>& model, std::size_t batch) {
  Contender contender;
  contender.name = std::move(name);
  if (batch == model->own_batch()) {
    fill(model->input().get(), batch * model->row_inputs());
    contender.call = [model] { model->invoke(); };
    contender.output = [model] { return model->output().get(); };
  } else {
    fill(model->batch_input(batch).get(), batch * model->row_inputs());
    const auto last = std::make_shared<const float*>(nullptr);
    contender.call = [model, batch, last] { *last = model->invoke_batch(batch).get(); };
    contender.output = [last] { return *last; };
  }
  return contender;
}

Contender kernel_contender(std::string name, const std::shared_ptr<Model>& model, std::size_t batch) {
  const auto input = std::make_shared<std::vector<float>>(batch * model->row_inputs());
  const auto output = std::make_shared<std::vector<float>>(batch * model->row_outputs());
  fill(input->data(), input->size());
  model->network()->reserve(batch);
  Contender contender;
  contender.name = std::move(name);
  contender.call = [=] { model->network()->run(input->data(), batch, output->data()); };
  contender.output = [=] { return output->data(); };
  return contender;
}

/// TensorFlow Lite first: the others are compared with it.
std::vector<Contender> contenders_of(const std::string& path, const Options& options) {
  std::vector<Contender> contenders;
  Model::Options how;
  how.tflite_library = options.tflite_library;
  how.backend = Backend::tflite;
  contenders.push_back(model_contender("tflite", std::make_shared<Model>(path, how), options.batch));
  for (const Precision precision : options.precisions) {
    how.backend = Backend::native;
    how.precision = precision;
    std::shared_ptr<Model> model;
    try {
      model = std::make_shared<Model>(path, how);
    } catch (const LoadError& error) {
      std::printf("%s: refused, %s\n", name_of(precision), error.what());
      continue;
    }
    std::vector<Contender> ours;
    ours.push_back(model_contender(name_of(precision), model, options.batch));
    if (options.kernels) {
      // A model of its own: a network is used by one contender at a time, but its caches should not be shared.
      ours.push_back(kernel_contender(std::string(name_of(precision)) + " kernels", std::make_shared<Model>(path, how),
                                      options.batch));
    }
    for (Contender& contender : ours) {
      contender.tolerance = proof_tolerance(precision, false);
      contender.multiply_adds = model->network()->multiply_adds() * options.batch;
      contenders.push_back(std::move(contender));
    }
  }
  return contenders;
}

/// @throws std::runtime_error  a contender is further from TensorFlow Lite than its tolerance
void check_results(std::vector<Contender>& contenders, std::size_t outputs) {
  contenders.front().call();
  const float* first = contenders.front().output();
  const std::vector<float> expected(first, first + outputs);
  for (Contender& contender : contenders) {
    contender.call();
    const float* got = contender.output();
    for (std::size_t i = 0; i < outputs; ++i) {
      const double error = std::fabs(static_cast<double>(got[i]) - static_cast<double>(expected[i]));
      const double relative = error / std::max(1.0, std::fabs(static_cast<double>(expected[i])));
      if (!(relative <= contender.error)) contender.error = relative;
    }
    if (!(contender.error <= contender.tolerance)) {
      throw std::runtime_error(contender.name + ": " + std::to_string(contender.error) +
                               " from TensorFlow Lite, tolerance " + std::to_string(contender.tolerance));
    }
  }
}

double microseconds(Clock::duration duration) { return std::chrono::duration<double, std::micro>(duration).count(); }

/// Calls in a sample, so that reading the clock (some 25 ns) does not count: 1 from 5 us on.
std::size_t calls_in_a_sample(const Contender& contender) {
  const auto start = Clock::now();
  for (int i = 0; i < 50; ++i) contender.call();
  const double us = microseconds(Clock::now() - start) / 50.0;
  return us >= 5.0 ? 1 : static_cast<std::size_t>(std::ceil(5.0 / us));
}

void time_back_to_back(std::vector<Contender>& contenders, std::size_t iterations) {
  std::vector<std::size_t> calls;
  for (const Contender& contender : contenders) calls.push_back(calls_in_a_sample(contender));
  constexpr std::size_t turn = 20;  // samples in a row: the first call after another contender finds cold caches
  for (std::size_t done = 0; done < iterations; done += turn) {
    for (std::size_t c = 0; c < contenders.size(); ++c) {
      contenders[c].call();
      for (std::size_t i = 0; i < turn; ++i) {
        const auto start = Clock::now();
        for (std::size_t call = 0; call < calls[c]; ++call) contenders[c].call();
        contenders[c].us.push_back(microseconds(Clock::now() - start) / static_cast<double>(calls[c]));
      }
    }
  }
}

void time_paced(std::vector<Contender>& contenders, std::size_t iterations, double hz) {
  const auto period = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(1.0 / hz));
  auto tick = Clock::now();
  for (std::size_t i = 0; i < iterations; ++i) {
    for (Contender& contender : contenders) {
      tick += period;
      std::this_thread::sleep_until(tick);
      const auto start = Clock::now();
      contender.call();
      contender.us.push_back(microseconds(Clock::now() - start));
    }
  }
}

/// Nearest rank; `sorted` is not empty.
double percentile(const std::vector<double>& sorted, double percent) {
  const auto rank = static_cast<std::size_t>(std::ceil(percent / 100.0 * static_cast<double>(sorted.size())));
  return sorted[std::min(sorted.size(), std::max<std::size_t>(rank, 1)) - 1];
}

void print(const std::string& path, std::vector<Contender>& contenders, const Roofline& roofline, std::size_t batch) {
  const std::size_t multiply_adds = contenders.back().multiply_adds;  // 0 when TensorFlow Lite stands alone
  const double at_peak_us = static_cast<double>(multiply_adds) / roofline.multiply_adds_per_s * 1e6;
  std::printf("\n%s, batch %zu: %zu multiply-adds, %.3g us at peak\n", path.c_str(), batch, multiply_adds, at_peak_us);
  std::printf("  %-18s %10s %10s %10s %10s %10s %9s %9s %9s\n", "us per call", "p50", "p90", "p99", "p99.9", "max",
              "/ tflite", "/ peak", "error");
  double tflite = 0.0;
  for (Contender& contender : contenders) {
    std::sort(contender.us.begin(), contender.us.end());
    const double p50 = percentile(contender.us, 50.0);
    if (tflite == 0.0) tflite = p50;
    std::printf("  %-18s %10.3f %10.3f %10.3f %10.3f %10.3f %9.3f %9.2f %9.1e\n", contender.name.c_str(), p50,
                percentile(contender.us, 90.0), percentile(contender.us, 99.0), percentile(contender.us, 99.9),
                contender.us.back(), p50 / tflite, p50 / at_peak_us, contender.error);
  }
}

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (line.rfind("model name", 0) == 0 && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

int run(int argc, char** argv) {
  const Options options = parse(argc, argv);
  const Isa isa = default_isa();
  const Roofline roofline = measure_roofline(isa);
  std::printf("%s, %s: %.1f G multiply-adds/s, %.0f GB/s from L2\n", processor().c_str(), isa_name(isa),
              roofline.multiply_adds_per_s * 1e-9, roofline.l2_bytes_per_s * 1e-9);
  if (options.paced_hz > 0.0) {
    std::printf("one call in each tick of %g Hz\n", options.paced_hz);
  } else {
    std::printf("back to back\n");
  }
  for (const std::string& path : options.models) {
    std::vector<Contender> contenders = contenders_of(path, options);
    Model::Options how;
    how.backend = Backend::tflite;
    how.tflite_library = options.tflite_library;
    check_results(contenders, options.batch * Model(path, how).row_outputs());
    if (options.paced_hz > 0.0) {
      time_paced(contenders, options.iterations, options.paced_hz);
    } else {
      time_back_to_back(contenders, options.iterations);
    }
    print(path, contenders, roofline, options.batch);
  }
  return 0;
}

}  // namespace
}  // namespace linkcast::bench

int main(int argc, char** argv) {
  try {
    return linkcast::bench::run(argc, argv);
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "linkcast-bench: %s\n%s", error.what(), linkcast::bench::usage);
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "linkcast-bench: %s\n", error.what());
    return 1;
  }
}
