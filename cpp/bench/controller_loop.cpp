// Times what a controller calls: push and advance beside full windows and TensorFlow Lite, groups in one call beside
// single calls, a deadline that is too short, and a paced loop. Each result is checked before its time is printed.
//
//   linkcast-loop [folder of models/ and metadata/, .] [seconds of the paced loop, 10]
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "engine/controller.h"
#include "engine/forecaster_pool.h"
#include "engine/stream.h"

using namespace linkcast;

namespace {

constexpr int kRounds = 3000;

/// Times of one thing, in ns.
class Times {
 public:
  template <class Call>
  void add(Call call) {
    const std::uint64_t start = monotonic_ns();
    call();
    values_.push_back(static_cast<double>(monotonic_ns() - start));
  }
  double us(double share) {
    std::sort(values_.begin(), values_.end());
    return values_[static_cast<std::size_t>(share * static_cast<double>(values_.size() - 1))] * 1e-3;
  }
  void print(const char* name) {
    std::printf("%-44s p50 %8.2f  p90 %8.2f  p99 %8.2f  max %8.2f us\n", name, us(0.5), us(0.9), us(0.99), us(1));
  }

 private:
  std::vector<double> values_;
};

Engine open(const std::string& folder, Backend backend) {
  Model::Options options;
  options.backend = backend;
  return Engine(folder, options);
}

std::vector<double> telemetry(const Engine& engine, std::size_t model, std::size_t count) {
  const Scaler& scaler = engine.spec(model).scaler;
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(0, 1);
  std::vector<float> samples(count * scaler.features());
  for (float& sample : samples) sample = uniform(random);
  const std::vector<double> around(scaler.features(), 20.0);  // what relative features are relative to
  scaler.inverse_transform(samples.data(), count, samples.data(), around.data(), 0);
  return {samples.begin(), samples.end()};
}

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "wrong result: %s\n", what);
  std::exit(1);
}

/// push and advance against the full window, interleaved.
void time_stream(Engine& engine, Engine& tflite) {
  const std::size_t model = engine.find("internet", Role::forecaster);
  const std::size_t features = engine.spec(model).features.size();
  const std::size_t window = engine.spec(model).window;
  const auto samples = telemetry(engine, model, kRounds + window);
  const Range& range = engine.spec(model).target_scaler->range(0);
  Stream stream(engine, model, {});
  Answer answer;
  for (std::size_t k = 0; k + 1 < window; ++k) stream.push(samples.data() + k * features, nullptr, &answer);
  Times push;
  Times advance;
  Times both;
  Times full;
  Times reference;
  double worst = 0;
  for (int k = 0; k < kRounds; ++k) {
    const double* begin = samples.data() + static_cast<std::size_t>(k) * features;
    const double* newest = begin + (window - 1) * features;
    float expected = 0;
    float by_tflite = 0;
    // Whole windows run twice and the second is timed, so that each is met warm; push finds what they left in the
    // caches.
    tflite.forecast_raw(model, begin, 1, &by_tflite);
    reference.add([&] { tflite.forecast_raw(model, begin, 1, &by_tflite); });
    engine.forecast_raw(model, begin, 1, &expected);
    full.add([&] { engine.forecast_raw(model, begin, 1, &expected); });
    both.add([&] {
      push.add([&] { stream.push(newest, nullptr, &answer); });
      advance.add([&] { stream.advance(); });
    });
    const double difference = std::fabs(static_cast<double>(answer.mbps - by_tflite)) / range.slope(by_tflite);
    worst = std::max(worst, difference);
    require(difference < 2e-6, "push differs from the full window");
  }
  std::printf("stream of %s: %s; worst difference from TensorFlow Lite %.1e of the range\n",
              engine.spec(model).name.c_str(), stream.mode(), worst);
  reference.print("TensorFlow Lite, full window");
  full.print("full window");
  push.print("push");
  advance.print("advance");
  both.print("push and advance");
  std::printf("push / TensorFlow Lite %.4f   (push + advance) / full window %.3f\n\n", push.us(0.5) / reference.us(0.5),
              both.us(0.5) / full.us(0.5));
}

struct Groups {
  explicit Groups(Engine& engine) {
    for (const ServiceGroup& group : engine.metadata().groups) {
      const std::size_t model = engine.find(group.model);
      windows.push_back(telemetry(engine, model, engine.spec(model).window));
      requests.push_back({model, windows.back().data(), 1});
    }
    results.resize(requests.size());
  }
  std::vector<std::vector<double>> windows;
  std::vector<ForecastRequest> requests;
  std::vector<ForecastResult> results;
};

void time_groups(Engine& engine) {
  Groups call(engine);
  ForecasterPool one(engine, {});
  ForecasterPool::Options options;
  options.threads = 2;
  ForecasterPool two(engine, options);
  options.spin_us = 200;
  ForecasterPool two_spinning(engine, options);
  Times singles;
  Times together;
  Times asleep;
  Times spinning;
  for (int k = 0; k < kRounds / 3; ++k) {
    std::vector<float> expected(call.requests.size());
    singles.add([&] {
      for (std::size_t g = 0; g < expected.size(); ++g)
        engine.forecast_raw(call.requests[g].model, call.windows[g].data(), 1, &expected[g]);
    });
    together.add([&] { one.forecast(call.requests, call.results); });
    for (std::size_t g = 0; g < expected.size(); ++g)
      require(call.results[g].answers[0].mbps == expected[g], "groups in one call");
    asleep.add([&] { two.forecast(call.requests, call.results); });
    for (int warm = 0; warm < 2; ++warm) two_spinning.forecast(call.requests, call.results);
    spinning.add([&] { two_spinning.forecast(call.requests, call.results); });
    for (std::size_t g = 0; g < expected.size(); ++g)
      require(call.results[g].answers[0].mbps == expected[g], "groups on threads");
  }
  singles.print("five single calls");
  together.print("five groups in one call, one thread");
  asleep.print("the same, two threads, asleep before");
  spinning.print("the same, two threads, spinning");
  std::printf("one call / single calls %.3f   two threads %.3f   spinning %.3f\n\n", together.us(0.5) / singles.us(0.5),
              asleep.us(0.5) / singles.us(0.5), spinning.us(0.5) / singles.us(0.5));
}

void time_deadline(Engine& engine) {
  Groups call(engine);
  ForecasterPool groups(engine, {});
  for (const std::uint64_t budget_ns : {1'000U, 10'000U, 20'000U}) {
    Times one;
    int late = 0;
    for (int k = 0; k < kRounds; ++k) {
      one.add([&] { groups.forecast({call.requests.data(), 1}, call.results, Deadline::in(budget_ns)); });
      late += call.results[0].source == Source::fallback;
      require(call.results[0].status == ForecastStatus::ok, "an answer by the deadline");
    }
    if (budget_ns == 1'000U) require(late == kRounds, "every call answered by the fallback");
    char name[64];
    std::snprintf(name, sizeof(name), "one group, deadline %u us (%d of %d fallback)",
                  static_cast<unsigned>(budget_ns / 1000), late, kRounds);
    one.print(name);
  }
  std::printf("\n");
}

/// A controller at 1 kHz on an absolute clock.
void time_paced(Engine& engine, int seconds) {
  constexpr std::uint64_t kPeriod_ns = 1'000'000;
  const std::size_t model = engine.find("internet", Role::forecaster);
  Controller::Options options;
  options.capacity_mbps = 100;
  options.deadline_ns = kPeriod_ns;
  options.stall_s = 1;
  Controller controller(engine, "internet", options);
  const auto samples = telemetry(engine, model, 1000);
  Times ticks;
  Times wake;
  std::uint64_t missed = 0;
  std::uint64_t next = monotonic_ns() + kPeriod_ns;
  const int count = seconds * 1000;
  for (int k = 0; k < count; ++k, next += kPeriod_ns) {
    const timespec until{static_cast<time_t>(next / 1'000'000'000), static_cast<long>(next % 1'000'000'000)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
    ticks.add([&] { controller.tick(samples.data() + k % 1000 * 4, next); });
    missed += k >= 9 && controller.last().forecast.source != Source::model;
    controller.advance();
  }
  ticks.print("controller's tick at 1 kHz");
  std::printf("%d ticks, %llu answers missed, %llu late by the 1 ms deadline\n", count,
              static_cast<unsigned long long>(missed), static_cast<unsigned long long>(controller.counts().late));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : ".";
  try {
    Engine engine = open(folder, Backend::automatic);
    Engine tflite = open(folder, Backend::tflite);
    const Model& model = engine.model(engine.find("internet", Role::forecaster));
    std::printf("backend %s (%s)\n\n", model.backend(), model.backend_reason().c_str());
    time_stream(engine, tflite);
    time_groups(engine);
    time_deadline(engine);
    time_paced(engine, argc > 2 ? std::atoi(argv[2]) : 10);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "linkcast-loop: %s\nusage: linkcast-loop [folder of models/ and metadata/] [seconds]\n",
                 error.what());
    return 1;
  }
}
