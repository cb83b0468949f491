#include "side_by_side.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <thread>

#include "base/error.h"
#include "engine/proof.h"
#include "machine.h"
#include "roofline.h"

namespace linkcast::bench {
namespace {

constexpr std::size_t kUsualWeights = std::size_t{512} << 10;  // bytes: of the shipped forecasters
using Clock = std::chrono::steady_clock;

struct Contender {
  std::string name;
  std::function<void()> call;
  std::function<const float*()> output;
  bool two_cores = false;
  bool exact = true;              // float32: to be within its tolerance on every window
  double tolerance = 0.0;         // against TensorFlow Lite, relative where outputs are larger than one
  double error = 0.0;             // what was seen
  std::size_t multiply_adds = 0;  // of a call; 0: unknown
  std::size_t weight_bytes = 0;
  std::size_t bytes_read = 0;                 // of them by one window
  const kernels::Kernels* kernels = nullptr;  // whose roof stands beside it; null: none
  std::vector<double> us;                     // samples, of one call each
};

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
std::vector<Contender> contenders_of(const std::string& path, const SideBySideOptions& options) {
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
      std::printf("%s: refused, %s\n", precision_name(precision), error.what());
      continue;
    }
    if (const std::string notice = model->network()->notice(); !notice.empty())
      std::printf("%s: %s\n", precision_name(precision), notice.c_str());
    std::vector<Contender> ours;
    ours.push_back(model_contender(precision_name(precision), model, options.batch));
    if (options.second_core.wanted()) {
      Model::Options helped = how;
      helped.second_core = options.second_core;
      const auto on_two = std::make_shared<Model>(path, helped);
      std::printf("%s: %s\n", precision_name(precision), on_two->second_core().c_str());
      ours.push_back(model_contender(std::string(precision_name(precision)) + " 2 cores", on_two, options.batch));
      ours.back().two_cores = true;
    }
    if (options.kernels) {
      // A model of its own: a network is used by one contender at a time, but its caches should not be shared.
      ours.push_back(kernel_contender(std::string(precision_name(precision)) + " kernels",
                                      std::make_shared<Model>(path, how), options.batch));
    }
    for (Contender& contender : ours) {
      contender.exact = precision == Precision::float32;
      contender.tolerance = proof_tolerance(precision);
      contender.multiply_adds = model->network()->multiply_adds() * options.batch;
      contender.weight_bytes = model->network()->weight_bytes();
      contender.bytes_read = model->network()->bytes_read();
      if (!contender.two_cores)  // the roof is one core's
        contender.kernels = model->network()->choices()[static_cast<std::size_t>(class_of_run(options.batch))].kernels;
      contenders.push_back(std::move(contender));
    }
  }
  return contenders;
}

/// Takes out what is further from TensorFlow Lite than its tolerance, and says so: on windows that the proof at load has not
/// seen, reduced precision may be.
/// @throws std::runtime_error  float32 is
void check_results(std::vector<Contender>& contenders, std::size_t outputs) {
  contenders.front().call();
  const float* first = contenders.front().output();
  const std::vector<float> expected(first, first + outputs);
  const auto is_far = [&](Contender& contender) {
    contender.call();
    const float* got = contender.output();
    for (std::size_t i = 0; i < outputs; ++i) {
      const double error = std::fabs(static_cast<double>(got[i]) - static_cast<double>(expected[i]));
      const double relative = error / std::max(1.0, std::fabs(static_cast<double>(expected[i])));
      if (!(relative <= contender.error)) contender.error = relative;
    }
    if (contender.error <= contender.tolerance) return false;
    const std::string far = contender.name + ": " + std::to_string(contender.error) +
                            " from TensorFlow Lite, tolerance " + std::to_string(contender.tolerance);
    if (contender.exact) throw std::runtime_error(far);
    std::printf("%s: not timed\n", far.c_str());
    return true;
  };
  contenders.erase(std::remove_if(contenders.begin(), contenders.end(), is_far), contenders.end());
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

/// The least that a call can take: to read the weights from where so many lie, and to multiply with the kernels' own
/// instruction, where its peak is known.
double least_us(const Contender& contender, Isa isa) {
  if (!contender.kernels) return 0.0;
  const Roofline roofline = measure_roofline(isa, contender.weight_bytes);
  const double reading = static_cast<double>(contender.bytes_read) / roofline.weight_bytes_per_s;
  const double peak = measure_multiply_adds(*contender.kernels);
  const double multiplying = peak > 0.0 ? static_cast<double>(contender.multiply_adds) / peak : 0.0;
  return std::max(reading, multiplying) * 1e6;
}

void print_table(const std::string& path, std::vector<Contender>& contenders, const Roofline& roofline, Isa isa,
                 std::size_t batch) {
  const std::size_t multiply_adds = contenders.back().multiply_adds;  // 0 when TensorFlow Lite stands alone
  const double at_peak_us = static_cast<double>(multiply_adds) / roofline.multiply_adds_per_s * 1e6;
  std::printf("\n%s, batch %zu: %zu multiply-adds, %.3g us at peak\n", path.c_str(), batch, multiply_adds, at_peak_us);
  std::printf("  %-18s %10s %10s %10s %10s %10s %9s %9s %9s %9s\n", "us per call", "p50", "p90", "p99", "p99.9", "max",
              "/ tflite", "/ peak", "/ roof", "error");
  double tflite = 0.0;
  for (Contender& contender : contenders) {
    std::sort(contender.us.begin(), contender.us.end());
    const double p50 = percentile(contender.us, 50.0);
    if (tflite == 0.0) tflite = p50;
    char roof[32] = "";
    const double least = least_us(contender, isa);
    if (least > 0.0) std::snprintf(roof, sizeof roof, "%.2f", p50 / least);
    char peak[32] = "";
    if (at_peak_us > 0.0) std::snprintf(peak, sizeof peak, "%.2f", p50 / at_peak_us);
    std::printf("  %-18s %10.3f %10.3f %10.3f %10.3f %10.3f %9.3f %9s %9s %9.1e\n", contender.name.c_str(), p50,
                percentile(contender.us, 90.0), percentile(contender.us, 99.0), percentile(contender.us, 99.9),
                contender.us.back(), p50 / tflite, peak, roof, contender.error);
  }
}

}  // namespace

void time_side_by_side(const SideBySideOptions& options) {
  const std::size_t iterations = options.iterations > 0 ? options.iterations : options.paced_hz > 0.0 ? 300 : 2000;
  const Isa isa = default_isa();
  const Roofline roofline = measure_roofline(isa, kUsualWeights);
  std::printf("%s: %.1f G multiply-adds/s, %.0f GB/s of 512 KB of weights\n", describe_machine().c_str(),
              roofline.multiply_adds_per_s * 1e-9, roofline.weight_bytes_per_s * 1e-9);
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
      time_paced(contenders, iterations, options.paced_hz);
    } else {
      time_back_to_back(contenders, iterations);
    }
    print_table(path, contenders, roofline, isa, options.batch);
  }
}

}  // namespace linkcast::bench
