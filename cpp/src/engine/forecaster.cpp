#include "engine/forecaster.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "base/aligned.h"
#include "base/finite.h"

namespace linkcast {
namespace {

constexpr int kTimedRuns = 5;
constexpr std::size_t kPart = 512;  // rows between two times that GoOn is asked: a millisecond or so

}  // namespace

Forecaster::Forecaster(Engine& engine, std::size_t model, std::size_t rows, const Safeguard::Options& options,
                       ModelStats* stats)
    : spec_(engine.spec(model)),
      model_(engine.model(model)),
      stats_(stats ? *stats : engine.stats(model)),
      safeguard_(engine, model, 0, options) {
  reserve(rows);
}

void Forecaster::reserve(std::size_t rows) {
  if (rows <= this->rows()) return;
  if (rows > Model::kMostBatch)
    throw std::invalid_argument("batch: expected at most " + std::to_string(Model::kMostBatch) + ", got " +
                                std::to_string(rows));
  outputs_ = aligned_floats(rows);
  mbps_.resize(rows);
  answers_.resize(rows);
  safeguard_.reserve(rows);
}

void Forecaster::reserve_windows(std::size_t rows) {
  reserve(rows);
  if (rows <= window_rows_) return;
  windows_ = aligned_floats(rows * model_.row_inputs());
  if (ChosenNetwork* network = model_.network()) {
    network->reserve(rows);
  } else if (model_.own_batch() != 1) {
    model_.batch_input(rows);
  }
  if (window_rows_ == 0 && !model_.network()) time_whole_run();
  window_rows_ = rows;
}

void Forecaster::time_whole_run() {
  run_ns_ = ~std::uint64_t{0};
  for (int k = 0; k < kTimedRuns; ++k) {
    const std::uint64_t start = monotonic_ns();
    invoke(1);
    run_ns_ = std::min(run_ns_, monotonic_ns() - start);
  }
}

/// windows_ -> outputs_ on TensorFlow Lite. @throws InvokeError
void Forecaster::invoke(std::size_t batch, const GoOn& go_on) {
  const std::size_t row_inputs = model_.row_inputs();
  if (model_.own_batch() == 1) {
    for (std::size_t row = 0; row < batch; ++row) {
      if (row > 0 && row % kPart == 0 && !go_on()) return;
      std::copy_n(windows_.get() + row * row_inputs, row_inputs, model_.input().get());
      model_.invoke();
      outputs_[static_cast<std::ptrdiff_t>(row)] = model_.output()[0];
    }
    return;
  }
  std::copy_n(windows_.get(), batch * row_inputs, model_.batch_input(batch).get());
  std::copy_n(model_.invoke_batch(batch).get(), batch, outputs_.get());
}

template <class Real>
ForecastStatus Forecaster::scale(const Real* windows, std::size_t batch) noexcept {
  const std::size_t values = batch * model_.row_inputs();
  const std::size_t bad = first_out_of_bounds(spec_.bounds, windows, values);
  if (bad < values)
    return is_finite(static_cast<double>(windows[bad])) ? ForecastStatus::wrong_unit : ForecastStatus::bad_window;
  spec_.scaler.transform(windows, batch, spec_.steps(), windows_.get());
  return all_finite(windows_.get(), values) ? ForecastStatus::ok : ForecastStatus::bad_window;
}

Cause Forecaster::run(std::size_t batch, Deadline deadline, const GoOn& go_on) noexcept {
  if (deadline.passed()) return Cause::deadline;
  if (ChosenNetwork* network = model_.network()) {
    const std::size_t part = go_on.ask ? kPart : batch;
    for (std::size_t row = 0; row < batch && (row == 0 || go_on()); row += part) {
      const float* windows = windows_.get() + row * model_.row_inputs();
      if (!network->run(windows, std::min(part, batch - row), outputs_.get() + row, deadline)) return Cause::deadline;
    }
    return Cause::none;
  }
  if (deadline.set() && monotonic_ns() + run_ns_ * batch > deadline.at_ns) return Cause::deadline;
  try {
    invoke(batch, go_on);
    return Cause::none;
  } catch (const std::exception&) {  // InvokeError: the cause tells
    return Cause::failed;
  }
}

template <class Real>
std::span<const Answer> Forecaster::answer(const Real* windows, std::size_t batch, Cause run) noexcept {
  const std::size_t row_inputs = model_.row_inputs();
  if (run == Cause::none)
    spec_.target_scaler->inverse_transform(outputs_.get(), batch, mbps_.data(), spec_.newest_target(windows),
                                           row_inputs);
  const Real* last_step = windows + row_inputs - spec_.features.size();
  for (std::size_t row = 0; row < batch; ++row) {
    answers_[row] = settle(row, mbps_[row], run, last_step + row * row_inputs);
    count(answers_[row]);
  }
  return {answers_.data(), batch};
}

template <class Real>
Answer Forecaster::settle(std::size_t row, float mbps, Cause run, const Real* last_step) noexcept {
  Answer answer;
  answer.mbps = mbps;
  answer.cause = run == Cause::none ? safeguard_.judge(mbps) : run;
  if (answer.cause == Cause::none) {
    answer.source = spec_.role == Role::fallback ? Source::fallback : Source::model;
    safeguard_.keep(row, mbps);
  } else {
    answer.source = safeguard_.rescue(row, last_step, &answer.mbps);
  }
  return answer;
}

Answer Forecaster::measured_answer(std::size_t row, Cause cause) const noexcept {
  Answer answer;
  answer.cause = cause;
  answer.mbps = static_cast<float>(safeguard_.measured(row));
  answer.source = std::isnan(answer.mbps) ? Source::none : Source::measured_mean;
  return answer;
}

void Forecaster::touch() const noexcept {
  prefetch(this, 1);
  prefetch(windows_.get(), model_.row_inputs());
  prefetch(outputs_.get(), 1);
  prefetch(mbps_.data(), 1);
  prefetch(answers_.data(), 1);
  prefetch(&stats_, 1);
}

std::uint64_t Forecaster::count_call(std::uint64_t start_ns, Deadline deadline) noexcept {
  const std::uint64_t now = monotonic_ns();
  stats_.latency.record(now - start_ns);
  if (deadline.set() && now > deadline.at_ns) stats_.late.add();
  return now - start_ns;
}

template ForecastStatus Forecaster::scale(const float*, std::size_t) noexcept;
template ForecastStatus Forecaster::scale(const double*, std::size_t) noexcept;
template std::span<const Answer> Forecaster::answer(const float*, std::size_t, Cause) noexcept;
template std::span<const Answer> Forecaster::answer(const double*, std::size_t, Cause) noexcept;
template Answer Forecaster::settle(std::size_t, float, Cause, const float*) noexcept;
template Answer Forecaster::settle(std::size_t, float, Cause, const double*) noexcept;

}  // namespace linkcast
