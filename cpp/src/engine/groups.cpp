#include "engine/groups.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "base/error.h"

namespace linkcast {
namespace {

constexpr int kTimedRuns = 5;

bool all_finite(const float* values, std::size_t count) noexcept {
  float sum = 0;  // of zeros, or NaN
  for (std::size_t k = 0; k < count; ++k) sum += values[k] * 0.0f;
  return sum == 0.0f;
}

}  // namespace

const char* group_status_name(GroupStatus status) noexcept {
  switch (status) {
    case GroupStatus::ok:
      return "ok";
    case GroupStatus::bad_window:
      return "bad_window";
    case GroupStatus::no_answer:
      return "no_answer";
  }
  return "";
}

/// One forecaster with the memory of its batches.
struct GroupForecaster::Group {
  Group(Engine& engine, std::size_t index, const Options& options)
      : model(engine.model(index)), spec(engine.spec(index)), safeguard(engine, index, 0, options.safeguard) {
    reserve(options.batch);
    if (!model.network()) time_whole_run();
  }

  void reserve(std::size_t batch) {
    if (batch <= safeguard.rows()) return;
    windows = tflite::aligned_floats(batch * model.row_inputs());
    outputs = tflite::aligned_floats(batch);
    mbps.resize(batch);
    answers.resize(batch);
    if (Network* network = model.network()) {
      network->reserve(batch);
    } else if (model.own_batch() != 1) {
      model.batch_input(batch);
    }
    safeguard.reserve(batch);
  }

  void time_whole_run() {
    run_ns = ~std::uint64_t{0};
    for (int k = 0; k < kTimedRuns; ++k) {
      const std::uint64_t start = monotonic_ns();
      invoke(1);
      run_ns = std::min(run_ns, monotonic_ns() - start);
    }
  }

  /// windows -> outputs on TensorFlow Lite. @throws InvokeError
  void invoke(std::size_t batch) {
    const std::size_t row_inputs = model.row_inputs();
    if (model.own_batch() == 1) {
      for (std::size_t row = 0; row < batch; ++row) {
        std::copy_n(windows.get() + row * row_inputs, row_inputs, model.input().get());
        model.invoke();
        outputs[static_cast<std::ptrdiff_t>(row)] = model.output()[0];
      }
      return;
    }
    std::copy_n(windows.get(), batch * row_inputs, model.batch_input(batch).get());
    std::copy_n(model.invoke_batch(batch).get(), batch, outputs.get());
  }

  /// windows -> outputs. @return why there are none
  Cause run(std::size_t batch, Deadline deadline) noexcept {
    if (deadline.passed()) return Cause::deadline;
    if (Network* network = model.network())
      return network->run(windows.get(), batch, outputs.get(), deadline) ? Cause::none : Cause::deadline;
    if (deadline.set() && monotonic_ns() + run_ns * batch > deadline.at_ns) return Cause::deadline;
    try {
      invoke(batch);
      return Cause::none;
    } catch (const std::exception&) {  // InvokeError: the cause tells
      return Cause::failed;
    }
  }

  Model& model;
  const ModelSpec& spec;
  Safeguard safeguard;
  std::shared_ptr<float[]> windows;  // (reserved rows, row inputs) scaled
  std::shared_ptr<float[]> outputs;  // (reserved rows) scaled
  std::vector<float> mbps;           // (reserved rows) the same in the target's unit
  std::vector<Answer> answers;       // (reserved rows)
  std::uint64_t run_ns = 0;          // of one window at load; on TensorFlow Lite, which can't be interrupted
};

GroupForecaster::GroupForecaster(Engine& engine, const Options& options) : engine_(engine), options_(options) {
  if (options.threads < 1) throw std::invalid_argument("threads: expected at least 1, got 0");
  if (options.threads == 1 && !options.cpus.empty())
    throw std::invalid_argument("cpus: expected none without worker threads, got " +
                                std::to_string(options.cpus.size()));
  const auto& specs = engine.metadata().models;
  for (std::size_t k = 0; k < specs.size(); ++k)
    groups_.push_back(specs[k].role == Role::forecaster ? std::make_unique<Group>(engine, k, options) : nullptr);
  asked_.resize(specs.size());
  if (options.threads > 1)
    workers_ = std::make_unique<Workers>(options.threads - 1, specs.size(), options.cpus, options.spin_us);
}

GroupForecaster::~GroupForecaster() = default;

void GroupForecaster::reserve(std::size_t model, std::size_t batch) {
  if (model >= groups_.size() || !groups_[model]) throw std::invalid_argument("groups: the model is not a forecaster");
  groups_[model]->reserve(batch);
}

void GroupForecaster::check(std::span<const GroupRequest> requests, std::span<GroupResult> results) {
  if (results.size() < requests.size())
    throw std::invalid_argument("groups: expected a result for each of " + std::to_string(requests.size()) +
                                " requests, got " + std::to_string(results.size()));
  std::fill(asked_.begin(), asked_.end(), std::uint8_t{0});
  for (const GroupRequest& request : requests) {
    if (request.batch == 0) throw std::invalid_argument("groups: expected at least 1 window, got 0");
    reserve(request.model, request.batch);
    if (asked_[request.model]++)
      throw std::invalid_argument("groups: " + engine_.spec(request.model).name + " stands twice in one call");
  }
}

void GroupForecaster::forecast(std::span<const GroupRequest> requests, std::span<GroupResult> results,
                               Deadline deadline) {
  check(requests, results);
  if (!workers_ || requests.size() == 1) {
    for (std::size_t k = 0; k < requests.size(); ++k) {
      const std::uint64_t start = monotonic_ns();
      run_model(requests[k], results[k], deadline);
      settle(requests[k], results[k], start, deadline);
    }
    return;
  }
  struct Job {
    GroupForecaster& self;
    std::span<const GroupRequest> requests;
    std::span<GroupResult> results;
    Deadline deadline;
  } job{*this, requests, results, deadline};
  workers_->run(
      [](void* context, std::size_t k) noexcept {
        Job& job = *static_cast<Job*>(context);
        const std::uint64_t start = monotonic_ns();
        job.self.run_model(job.requests[k], job.results[k], job.deadline);
        job.results[k].latency_ns = monotonic_ns() - start;
      },
      &job, requests.size());
  // Groups may share a fallback model, so this thread alone asks them.
  for (std::size_t k = 0; k < requests.size(); ++k)
    settle(requests[k], results[k], monotonic_ns() - results[k].latency_ns, deadline);
}

/// Scales the windows and runs the model; result.cause says why there are no answers.
void GroupForecaster::run_model(const GroupRequest& request, GroupResult& result, Deadline deadline) noexcept {
  Group& group = *groups_[request.model];
  result = {};
  float* scaled = group.windows.get();
  std::visit(
      [&](const auto* windows) { group.spec.scaler.transform(windows, request.batch, group.spec.steps(), scaled); },
      request.windows);
  if (!all_finite(scaled, request.batch * group.model.row_inputs())) {
    result.status = GroupStatus::bad_window;
    return;
  }
  result.cause = group.run(request.batch, deadline);
}

/// Judges the answers, finds others where the model's can't be used, and keeps the books.
void GroupForecaster::settle(const GroupRequest& request, GroupResult& result, std::uint64_t start_ns,
                             Deadline deadline) noexcept {
  Group& group = *groups_[request.model];
  ModelStats& stats = engine_.stats(request.model);
  result.answers = {group.answers.data(), request.batch};
  if (result.status == GroupStatus::bad_window) {
    std::fill_n(group.answers.begin(), request.batch, Answer{});
    result.latency_ns = monotonic_ns() - start_ns;
    return;
  }
  const Cause run = result.cause;
  const std::size_t row_inputs = group.model.row_inputs();
  if (run == Cause::none)
    std::visit(
        [&](const auto* windows) {
          group.spec.target_scaler->inverse_transform(group.outputs.get(), request.batch, group.mbps.data(),
                                                      group.spec.newest_target(windows), row_inputs);
        },
        request.windows);
  result.source = Source::model;
  const std::size_t last_step = row_inputs - group.spec.features.size();
  for (std::size_t row = 0; row < request.batch; ++row) {
    Answer answer;
    answer.mbps = group.mbps[row];
    answer.cause = run == Cause::none ? group.safeguard.judge(answer.mbps) : run;
    answer.source = Source::model;
    if (answer.cause == Cause::none)
      group.safeguard.keep(row, answer.mbps);
    else
      answer.source = std::visit(
          [&](const auto* w) { return group.safeguard.rescue(row, w + row * row_inputs + last_step, &answer.mbps); },
          request.windows);
    if (result.cause == Cause::none) result.cause = answer.cause;
    result.source = later_resort(result.source, answer.source);
    group.answers[row] = answer;
    stats.count(answer.source, answer.cause);
  }
  if (result.source == Source::none) result.status = GroupStatus::no_answer;
  const std::uint64_t now = monotonic_ns();
  result.latency_ns = now - start_ns;
  stats.latency.record(result.latency_ns);
  if (deadline.set() && now > deadline.at_ns) stats.late.add();
}

}  // namespace linkcast
