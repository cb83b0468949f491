#include "engine/forecaster_pool.h"

#include <pybind11/stl.h>

#include <cmath>
#include <deque>

#include "bindings.h"

namespace linkcast::bindings {
namespace {

struct BoundPool {
  BoundPool(const BoundEngine& bound, const ForecasterPool::Options& options)
      : engine(bound.engine), models(bound.models), groups(*engine, options) {
    for (std::size_t k = 0; k < models.size(); ++k) fallbacks.push_back(fallback_of(bound, k));
  }

  std::shared_ptr<Engine> engine;
  std::vector<std::shared_ptr<BoundModel>> models;
  std::vector<std::shared_ptr<BoundModel>> fallbacks;  // as models; nullptr without one
  ForecasterPool groups;
  std::atomic<bool> busy{false};
};

/// One model's part of a call.
struct Part {
  py::object key;
  Rows rows;
};

template <class Real>
bool all_finite(const Real* values, std::size_t count) {
  return std::all_of(values, values + count, [](Real value) { return std::isfinite(value); });
}

Part make_part(const ModelSpec& spec, const py::handle& key, const py::handle& windows) {
  Part part;
  part.key = py::reinterpret_borrow<py::object>(key);
  const auto name = py::cast<std::string>(key);
  part.rows = as_rows(py::reinterpret_borrow<py::object>(windows),
                      {spec.input_shape.begin() + 1, spec.input_shape.end()}, name + ": window");
  const auto values = static_cast<std::size_t>(part.rows.array.size());
  const void* data = part.rows.array.data();
  if (part.rows.is_float32 ? !all_finite(static_cast<const float*>(data), values)
                           : !all_finite(static_cast<const double*>(data), values))
    throw std::invalid_argument(name + ": window: expected finite values");
  return part;
}

ForecastRequest request_of(std::size_t model, Part& part) {
  ForecastRequest request;
  request.model = model;
  const void* data = part.rows.array.data();
  if (part.rows.is_float32)
    request.windows = static_cast<const float*>(data);
  else
    request.windows = static_cast<const double*>(data);
  request.batch = part.rows.count;
  return request;
}

py::dict forecast(BoundPool& bound, const py::dict& windows, const std::optional<double>& deadline_ms) {
  const Deadline deadline = deadline_in(deadline_ms);
  std::deque<Part> parts;
  std::vector<ForecastRequest> requests;
  std::deque<Lease> leases;
  std::vector<BoundModel*> leased;
  const auto hold = [&](const std::shared_ptr<BoundModel>& model) {
    if (!model || std::find(leased.begin(), leased.end(), model.get()) != leased.end()) return;
    leases.emplace_back(*model);
    leased.push_back(model.get());
  };
  leases.emplace_back(bound.busy, "this pool");
  for (const auto& [key, value] : windows) {
    const std::size_t model = bound.engine->find(py::cast<std::string>(key), Role::forecaster);
    parts.push_back(make_part(bound.engine->spec(model), key, value));
    if (parts.back().rows.count == 0) {
      parts.pop_back();
      throw std::invalid_argument(py::cast<std::string>(key) + ": window: expected at least 1, got 0");
    }
    requests.push_back(request_of(model, parts.back()));
    hold(bound.models[model]);
    hold(bound.fallbacks[model]);
  }
  std::vector<ForecastResult> results(requests.size());
  {
    const py::gil_scoped_release release;
    bound.groups.forecast(requests, results, deadline);
  }
  py::dict answers;
  for (std::size_t k = 0; k < parts.size(); ++k) {
    const ForecastResult& result = results[k];
    answers[parts[k].key] = py::cast(
        Answers{{result.answers.begin(), result.answers.end()}, result.source, result.cause, result.latency_ns});
  }
  return answers;
}

py::dict stats_dict(const BoundEngine& bound, const std::string& name) {
  const Engine& engine = *bound.engine;
  const ModelStats& stats = engine.stats(engine.find(name));
  const auto microseconds = [](std::uint64_t ns) { return static_cast<double>(ns) * 1e-3; };
  py::dict sources;
  for (std::size_t k = 0; k < kSources; ++k) sources[source_name(static_cast<Source>(k))] = stats.sources[k].value();
  py::dict causes;
  for (std::size_t k = 1; k < kCauses; ++k) causes[cause_name(static_cast<Cause>(k))] = stats.causes[k].value();
  py::dict latency;
  latency["p50"] = microseconds(stats.latency.percentile_ns(0.5));
  latency["p90"] = microseconds(stats.latency.percentile_ns(0.9));
  latency["p99"] = microseconds(stats.latency.percentile_ns(0.99));
  latency["p99.9"] = microseconds(stats.latency.percentile_ns(0.999));
  latency["max"] = microseconds(stats.latency.max_ns());
  py::dict dict;
  dict["calls"] = stats.latency.count();
  dict["sources"] = sources;
  dict["causes"] = causes;
  dict["late"] = stats.late.value();
  dict["latency_us"] = latency;
  return dict;
}

}  // namespace

const char* stand_in_name(Safeguard::StandIn stand_in) noexcept {
  return source_name(stand_in == Safeguard::StandIn::last ? Source::last : Source::forecast_mean);
}

Safeguard::Options safeguard_options(double plausible_margin, const std::string& stand_in, double stand_in_weight) {
  for (const auto known : {Safeguard::StandIn::last, Safeguard::StandIn::forecast_mean})
    if (stand_in == stand_in_name(known)) return {plausible_margin, known, stand_in_weight};
  throw std::invalid_argument("stand_in: expected \"last\" or \"forecast_mean\", got \"" + stand_in + "\"");
}

std::shared_ptr<BoundModel> fallback_of(const BoundEngine& bound, std::size_t forecaster) {
  const std::string& name = bound.engine->spec(forecaster).name;
  for (const ServiceGroup& group : bound.engine->metadata().groups)
    if (group.model == name) return bound.models[bound.engine->find(group.fallback)];
  return nullptr;
}

void bind_forecaster_pool(py::module_& module) {
  py::class_<BoundPool>(module, "ForecasterPool",
                        R"(Forecasts of several models in one call, each with its own batch.

Made by Engine.forecaster_pool. Used by one thread at a time.)")
      .def("forecast", &forecast, py::arg("windows"), py::arg("deadline_ms") = py::none(),
           R"(Runs every model. In order on one thread: what matters most stands first when there is a deadline.

Args:
    windows: {group or profile: (batch, T, F) or (T, F)}, physical units. Row r of a model's batch is taken as the same
        link or group in each call: it is what "last" and "forecast_mean" are of.
    deadline_ms: from the call on. A native LSTM gives up when it has passed; a fallback answers then.
Returns:
    {group or profile: Answers}
Raises:
    ValueError: an unknown name, another shape, no window, or a value that is not finite.)");
  py::class_<BoundEngine> engine = module.attr("Engine");
  const ForecasterPool::Options defaults;
  engine.def(
      "forecaster_pool",
      [](const BoundEngine& bound, std::size_t threads, const std::vector<int>& cpus, std::uint32_t spin_us,
         std::size_t batch, double plausible_margin, const std::string& stand_in, double stand_in_weight) {
        ForecasterPool::Options options;
        options.threads = threads;
        options.cpus = cpus;
        options.spin_us = spin_us;
        options.batch = batch;
        options.safeguard = safeguard_options(plausible_margin, stand_in, stand_in_weight);
        return std::make_unique<BoundPool>(bound, options);
      },
      py::kw_only(), py::arg("threads") = defaults.threads, py::arg("cpus") = defaults.cpus,
      py::arg("spin_us") = defaults.spin_us, py::arg("batch") = defaults.batch,
      py::arg("plausible_margin") = defaults.safeguard.plausible_margin,
      py::arg("stand_in") = stand_in_name(defaults.safeguard.stand_in),
      py::arg("stand_in_weight") = defaults.safeguard.stand_in_weight,
      R"(What is behind forecast_many, with worker threads and other options.

Args:
    threads: the caller's included; the others sleep between calls.
    cpus: one for each of the other threads, to pin them; empty: not pinned.
    spin_us: how long they look for work before they sleep.
    batch: windows of each model that memory is reserved for; larger batches make it grow.
    plausible_margin: a forecast counts within the range of targets that training has seen (trained_on.target_range in
        manifest.json) or up to the group's maximum; widened at either end by this share of the range.
    stand_in: "last" or "forecast_mean": what answers when neither the model nor a fallback can.
    stand_in_weight: of the newest forecast in their average, above 0 and at most 1.)");
  engine.def("stats", &stats_dict, py::arg("name"),
             R"(What happened to a model's calls through groups, streams and controllers.

Returns:
    {"calls", "sources": {who: answers}, "causes": {why the model did not answer: answers}, "late": calls that ended
    behind their deadline, "latency_us": {"p50", "p90", "p99", "p99.9", "max"}}; percentiles are at most 1/8 too large.)");
}

}  // namespace linkcast::bindings
