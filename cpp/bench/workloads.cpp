#include "workloads.h"

#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <random>
#include <stdexcept>
#include <system_error>

#include "base/clock.h"

namespace linkcast::bench {
namespace {

constexpr std::size_t kTicks = 256;  // of telemetry; then it starts again
constexpr std::size_t kBatch = 100;

/// A plausible link: (count, features) in physical units, by the features' names; the calendar's lie in -1..1.
std::vector<double> telemetry(const ModelSpec& spec, std::size_t count, double bandwidth_mbps = 11) {
  std::mt19937 random(1);
  std::vector<double> samples;
  samples.reserve(count * spec.features.size());
  const auto draw = [&](double low, double high) {
    return low + (high - low) * static_cast<double>(random()) / static_cast<double>(std::mt19937::max());
  };
  for (std::size_t tick = 0; tick < count; ++tick) {
    for (const Feature& feature : spec.features) {
      const double value = feature.name == "latency_ms"       ? draw(25, 40)
                           : feature.name == "bandwidth_mbps" ? bandwidth_mbps * draw(0.7, 1.3)
                           : feature.name == "packet_loss"    ? draw(0, 0.01)
                           : feature.name == "reliability"    ? draw(0.98, 1)
                                                              : draw(-1, 1);
      samples.push_back(value);
    }
  }
  return samples;
}

double now_ms() { return static_cast<double>(monotonic_ns()) * 1e-6; }

}  // namespace

const std::vector<WorkloadInfo>& workload_infos() {
  static const std::vector<WorkloadInfo> infos = {
      {"lstm", "LSTM, one window", {5'000, 99.9}},
      {"ddqn", "DDQN, one state", {1'000, 99.9}},
      {"batch100", "LSTM, 100 windows", {20'000, 99}},
      {"groups", "all service groups in one call", {}},
      {"push", "stream, push", {}},
      {"advance", "stream, advance", {}},
      {"push_prepared", "stream, push after prepare", {}, "push", "without / with prepare"},
      {"lstm_prepared", "LSTM, one window after prepare", {}, "lstm", "without / with prepare"},
      {"push_ordinary_pages", "stream, push, weights on ordinary pages", {}, "push", "huge / ordinary pages", true},
      {"lstm_ordinary_pages", "LSTM, one window, weights on ordinary pages", {}, "lstm", "huge / ordinary pages", true},
  };
  return infos;
}

Workloads::Workloads(const std::string& folder, const std::string& profile, const Model::Options& options)
    : load_ms_(now_ms()),
      engine_(folder, options),
      forecaster_(engine_.find(profile, Role::forecaster)),
      allocator_(engine_.find(profile, Role::allocator)) {
  load_ms_ = now_ms() - load_ms_;
  all_ = {forecast(engine_, 1), q_values(), forecast(engine_, kBatch), groups(), stream(engine_, Timed::push),
          stream(engine_, Timed::advance), stream(engine_, Timed::prepared_push), forecast(engine_, 1),
          // On the same engine until another is asked for: TensorFlow Lite puts its weights where it likes.
          stream(engine_, Timed::push), forecast(engine_, 1)};
  all_[7].prepare = [this] { engine_.prepare(forecaster_); };
  name_all();
}

Workloads::~Workloads() {
  if (on_ordinary_pages_) static_cast<void>(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0));
}

void Workloads::name_all() {
  for (std::size_t i = 0; i < all_.size(); ++i) all_[i].info = &workload_infos()[i];
}

void Workloads::add_on_ordinary_pages(const std::string& folder, const Model::Options& options) {
  // Until the end: the system would gather what lies there into huge pages meanwhile.
  if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) != 0)
    throw std::system_error(errno, std::generic_category(), "ordinary pages: can't be asked for");
  on_ordinary_pages_ = std::make_unique<Engine>(folder, options);
  all_[8] = stream(*on_ordinary_pages_, Timed::push);
  all_[9] = forecast(*on_ordinary_pages_, 1);
  name_all();
}

Workload Workloads::forecast(Engine& engine, std::size_t batch) {
  struct State {
    std::vector<double> samples;  // (ticks, features)
    std::vector<double> windows;  // (batch, window, features), when batch > 1
    std::vector<float> mbps;      // (batch)
    std::size_t tick = 0;
  };
  const ModelSpec& spec = engine.spec(forecaster_);
  const std::size_t features = spec.features.size();
  const auto state = std::make_shared<State>();
  state->samples = telemetry(spec, kTicks + spec.window);
  state->mbps.resize(batch);
  for (std::size_t row = 0; batch > 1 && row < batch; ++row) {
    const auto begin = state->samples.begin() + static_cast<std::ptrdiff_t>(row * features);
    state->windows.insert(state->windows.end(), begin, begin + static_cast<std::ptrdiff_t>(spec.window * features));
  }
  Workload workload;
  State* const s = state.get();
  if (batch == 1) {
    workload.call = [this, &engine, s, features] {
      engine.forecast_raw(forecaster_, s->samples.data() + s->tick % kTicks * features, 1, s->mbps.data());
      ++s->tick;
    };
  } else {
    workload.call = [this, &engine, s, batch] {
      engine.forecast_raw(forecaster_, s->windows.data(), batch, s->mbps.data());
    };
  }
  workload.result = [s] { return std::vector<double>(s->mbps.begin(), s->mbps.end()); };
  owned_.push_back(state);
  return workload;
}

Workload Workloads::q_values() {
  struct State {
    std::vector<double> samples;  // (ticks, features)
    std::vector<float> q_values;  // of the last call
    std::size_t tick = 0;
  };
  const ModelSpec& spec = engine_.spec(allocator_);
  const std::size_t features = spec.features.size();
  const auto state = std::make_shared<State>();
  state->samples = telemetry(spec, kTicks);
  state->q_values.resize(spec.actions);
  State* const s = state.get();
  Workload workload;
  // The network, which is what TensorFlow Lite runs beside it; a decision asks it about Allocation::kRows rows.
  workload.call = [this, s, features] {
    engine_.q_values(allocator_, s->samples.data() + s->tick % kTicks * features, 1, s->q_values.data());
    ++s->tick;
  };
  workload.result = [s] { return std::vector<double>(s->q_values.begin(), s->q_values.end()); };
  owned_.push_back(state);
  return workload;
}

Workload Workloads::groups() {
  struct State {
    std::vector<std::vector<double>> windows;  // (groups) (window, features)
    std::vector<ForecastRequest> requests;
    std::vector<ForecastResult> results;
    std::unique_ptr<ForecasterPool> forecaster;
  };
  const auto state = std::make_shared<State>();
  const auto& groups = engine_.metadata().groups;
  for (const ServiceGroup& group : groups) {
    const std::size_t model = engine_.find(group.model);
    state->windows.push_back(
        telemetry(engine_.spec(model), engine_.spec(model).window, 0.3 * group.max_bandwidth_mbps));
    state->requests.push_back({model, state->windows.back().data(), 1});
  }
  state->results.resize(groups.size());
  state->forecaster = std::make_unique<ForecasterPool>(engine_, ForecasterPool::Options{});
  State* const s = state.get();
  Workload workload;
  workload.call = [s] { s->forecaster->forecast(s->requests, s->results); };
  workload.result = [s] {
    std::vector<double> mbps;
    for (const ForecastResult& result : s->results) {
      if (result.source != Source::model) throw std::runtime_error("groups: not every answer is the model's");
      mbps.push_back(result.answers[0].mbps);
    }
    return mbps;
  };
  owned_.push_back(state);
  return workload;
}

Workload Workloads::stream(Engine& engine, Timed timed) {
  const ModelSpec& spec = engine.spec(forecaster_);
  const std::size_t features = spec.features.size();
  struct State {
    std::vector<double> samples;  // (ticks, features)
    std::unique_ptr<Stream> stream;
    Answer answer;
    std::size_t tick = 0;
  };
  const auto state = std::make_shared<State>();
  state->samples = telemetry(spec, kTicks);
  state->stream = std::make_unique<Stream>(engine, forecaster_, Stream::Options{});
  State* const s = state.get();
  const auto push = [s, features] {
    s->stream->push(s->samples.data() + s->tick % kTicks * features, nullptr, &s->answer);
    ++s->tick;
  };
  for (std::size_t k = 0; k + 1 < spec.window; ++k) push();  // the next one gives a forecast
  s->stream->advance();
  Workload workload;
  const bool incremental = std::string(s->stream->mode()) == "incremental";
  if (timed == Timed::advance && incremental) {
    workload.lead_in = push;
    workload.call = [s] { s->stream->advance(); };
  } else {
    workload.call = push;
    workload.after = [s] { s->stream->advance(); };
    if (timed == Timed::prepared_push && incremental) {
      s->stream->prepare();  // the first one allocates
      workload.prepare = [s] { s->stream->prepare(); };
    }
  }
  workload.result = [s] { return std::vector<double>{s->answer.mbps}; };
  owned_.push_back(state);
  return workload;
}

void check_same_result(const Workload& ours, const Workload& reference, double tolerance) {
  const std::vector<double> got = ours.result();
  const std::vector<double> expected = reference.result();
  if (got.size() != expected.size())
    throw std::runtime_error(std::string(ours.info->name) + ": results of other sizes");
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double error = std::fabs(got[i] - expected[i]);
    if (!(error <= tolerance * std::max(1.0, std::fabs(expected[i]))))
      throw std::runtime_error(std::string(ours.info->name) + ": " + std::to_string(got[i]) +
                               " where TensorFlow Lite gives " + std::to_string(expected[i]));
  }
}

}  // namespace linkcast::bench
