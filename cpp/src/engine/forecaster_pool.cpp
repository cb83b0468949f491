#include "engine/forecaster_pool.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace linkcast {

/// Forecasts a window as the next call will.
struct ForecasterPool::Rehearsal {
  ModelStats stats;
  Forecaster forecaster;

  Rehearsal(Engine& engine, std::size_t model, const Safeguard::Options& options)
      : forecaster(engine, model, 1, options, &stats) {
    forecaster.reserve_windows(1);
  }
};

ForecasterPool::ForecasterPool(Engine& engine, const Options& options) : engine_(engine), options_(options) {
  if (options.threads < 1 || options.threads > kMostThreads)
    throw std::invalid_argument("threads: expected 1 to " + std::to_string(kMostThreads) + ", got " +
                                std::to_string(options.threads));
  if (options.threads == 1 && !options.cpus.empty())
    throw std::invalid_argument("cpus: expected none without worker threads, got " +
                                std::to_string(options.cpus.size()));
  const auto& specs = engine.metadata().models;
  for (std::size_t k = 0; k < specs.size(); ++k) {
    forecasters_.push_back(specs[k].target ? std::make_unique<Forecaster>(engine, k, 0, options.safeguard) : nullptr);
    if (forecasters_.back()) forecasters_.back()->reserve_windows(options.batch);
  }
  asked_.resize(specs.size());
  rehearsals_.resize(specs.size());
  if (options.threads > 1)
    workers_ = std::make_unique<Workers>(options.threads - 1, specs.size(), options.cpus, options.spin_us);
}

ForecasterPool::~ForecasterPool() = default;

const Forecaster& ForecasterPool::forecaster(std::size_t model) const {
  if (model >= forecasters_.size() || !forecasters_[model])
    throw std::invalid_argument("forecast: the model is not a forecaster");
  return *forecasters_[model];
}

void ForecasterPool::reserve(std::size_t model, std::size_t batch) {
  static_cast<void>(forecaster(model));
  forecasters_[model]->reserve_windows(batch);
}

void ForecasterPool::prepare(std::size_t model) {
  static_cast<void>(forecaster(model));
  const Forecaster::Kept kept(*forecasters_[model], 1);
  auto& rehearsal = rehearsals_[model];
  if (!rehearsal) rehearsal = std::make_unique<Rehearsal>(engine_, model, options_.safeguard);
  Forecaster& run = rehearsal->forecaster;
  const std::uint64_t start = monotonic_ns();
  const double* const window = engine_.spec(model).golden.physical_inputs.data();
  const ForecastStatus status = run.scale(window, 1);
  if (status == ForecastStatus::ok) static_cast<void>(run.answer(window, 1, run.run(1, {})));
  run.count_call(start, {});
  forecasters_[model]->touch();
}

void ForecasterPool::check(std::span<const ForecastRequest> requests, std::span<ForecastResult> results) {
  if (results.size() < requests.size())
    throw std::invalid_argument("forecast: expected a result for each of " + std::to_string(requests.size()) +
                                " requests, got " + std::to_string(results.size()));
  std::fill(asked_.begin(), asked_.end(), std::uint8_t{0});
  for (const ForecastRequest& request : requests) {
    if (request.batch == 0) throw std::invalid_argument("forecast: expected at least 1 window, got 0");
    reserve(request.model, request.batch);
    if (asked_[request.model]++)
      throw std::invalid_argument("forecast: " + engine_.spec(request.model).name + " stands twice in one call");
  }
}

void ForecasterPool::forecast(std::span<const ForecastRequest> requests, std::span<ForecastResult> results,
                              Deadline deadline, const GoOn& go_on) {
  check(requests, results);
  if (!workers_ || requests.size() == 1) {
    for (std::size_t k = 0; k < requests.size(); ++k) {
      const std::uint64_t start = monotonic_ns();
      run_model(requests[k], results[k], deadline, go_on);
      if (!go_on()) return;
      settle(requests[k], results[k], start, deadline);
    }
    return;
  }
  struct Job {
    ForecasterPool& self;
    std::span<const ForecastRequest> requests;
    std::span<ForecastResult> results;
    Deadline deadline;
    const GoOn& go_on;
  } job{*this, requests, results, deadline, go_on};
  workers_->run(
      [](void* context, std::size_t k) noexcept {
        Job& job = *static_cast<Job*>(context);
        const std::uint64_t start = monotonic_ns();
        job.self.run_model(job.requests[k], job.results[k], job.deadline, job.go_on);
        job.results[k].latency_ns = monotonic_ns() - start;
      },
      &job, requests.size());
  if (!go_on()) return;
  // Forecasters may share a fallback model, so this thread alone asks them.
  for (std::size_t k = 0; k < requests.size(); ++k)
    settle(requests[k], results[k], monotonic_ns() - results[k].latency_ns, deadline);
}

/// Scales the windows and runs the model; result.cause says why there are no answers.
void ForecasterPool::run_model(const ForecastRequest& request, ForecastResult& result, Deadline deadline,
                               const GoOn& go_on) noexcept {
  Forecaster& forecaster = *forecasters_[request.model];
  result = {};
  result.status =
      std::visit([&](const auto* windows) { return forecaster.scale(windows, request.batch); }, request.windows);
  if (result.status == ForecastStatus::ok) result.cause = forecaster.run(request.batch, deadline, go_on);
}

/// Judges the answers, finds others where the model's can't be used, and keeps the books.
void ForecasterPool::settle(const ForecastRequest& request, ForecastResult& result, std::uint64_t start_ns,
                            Deadline deadline) noexcept {
  if (result.status != ForecastStatus::ok) {
    result.latency_ns = monotonic_ns() - start_ns;
    return;
  }
  Forecaster& forecaster = *forecasters_[request.model];
  result.answers = std::visit(
      [&](const auto* windows) { return forecaster.answer(windows, request.batch, result.cause); }, request.windows);
  result.source = result.answers[0].source;
  for (const Answer& answer : result.answers) {
    if (result.cause == Cause::none) result.cause = answer.cause;
    result.source = later_resort(result.source, answer.source);
  }
  if (result.source == Source::none) result.status = ForecastStatus::no_answer;
  result.latency_ns = forecaster.count_call(start_ns, deadline);
}

}  // namespace linkcast
