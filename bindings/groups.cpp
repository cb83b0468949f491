#include "engine/groups.h"

#include <pybind11/stl.h>

#include <deque>

#include "bindings.h"

namespace linkcast::bindings {
namespace {

struct BoundGroups {
  BoundGroups(const BoundEngine& bound, const GroupForecaster::Options& options)
      : engine(bound.engine), models(bound.models), groups(*engine, options) {
    for (std::size_t k = 0; k < models.size(); ++k) fallbacks.push_back(fallback_of(bound, k));
  }

  std::shared_ptr<Engine> engine;
  std::vector<std::shared_ptr<BoundModel>> models;
  std::vector<std::shared_ptr<BoundModel>> fallbacks;  // as models; nullptr without one
  GroupForecaster groups;
  std::atomic<bool> busy{false};
};

/// One group's part of a call, with the arrays that it reads and writes.
struct Part {
  py::object key;
  Rows rows;
  py::array_t<float> mbps;
  std::vector<Source> sources;
};

Part make_part(const ModelSpec& spec, const py::handle& key, const py::handle& windows) {
  Part part;
  part.key = py::reinterpret_borrow<py::object>(key);
  const auto name = py::cast<std::string>(key);
  part.rows = as_rows(py::reinterpret_borrow<py::object>(windows),
                      {spec.input_shape.begin() + 1, spec.input_shape.end()}, name + ": window", &spec.features);
  const std::string what = name + ": window";
  const void* data = part.rows.array.data();
  if (part.rows.is_float32)
    check_units(what.c_str(), spec.features, spec.bounds, static_cast<const float*>(data), part.rows.count,
                spec.steps());
  else
    check_units(what.c_str(), spec.features, spec.bounds, static_cast<const double*>(data), part.rows.count,
                spec.steps());
  part.mbps = py::array_t<float>(static_cast<py::ssize_t>(part.rows.count));
  part.sources.resize(part.rows.count, Source::none);
  return part;
}

GroupRequest request_of(std::size_t model, Part& part) {
  GroupRequest request;
  request.model = model;
  const void* data = part.rows.array.data();
  if (part.rows.is_float32)
    request.windows = static_cast<const float*>(data);
  else
    request.windows = static_cast<const double*>(data);
  request.batch = part.rows.count;
  request.bandwidth_mbps = part.mbps.mutable_data();
  request.sources = part.sources.data();
  return request;
}

py::dict forecast(BoundGroups& bound, const py::dict& windows, const std::optional<double>& deadline_ms) {
  if (deadline_ms && !(*deadline_ms > 0))
    throw std::invalid_argument("deadline_ms: expected above 0, got " + std::to_string(*deadline_ms));
  const Deadline deadline = deadline_ms ? Deadline::in(static_cast<std::uint64_t>(*deadline_ms * 1e6)) : Deadline{};
  std::deque<Part> parts;
  std::vector<GroupRequest> requests;
  std::deque<Lease> leases;
  std::vector<BoundModel*> leased;
  const auto hold = [&](const std::shared_ptr<BoundModel>& model) {
    if (!model || std::find(leased.begin(), leased.end(), model.get()) != leased.end()) return;
    leases.emplace_back(*model);
    leased.push_back(model.get());
  };
  leases.emplace_back(bound.busy, "this group forecaster");
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
  std::vector<GroupResult> results(requests.size());
  {
    const py::gil_scoped_release release;
    bound.groups.forecast(requests, results, deadline);
  }
  py::dict answers;
  for (std::size_t k = 0; k < parts.size(); ++k) {
    py::list sources;
    for (const Source source : parts[k].sources) sources.append(source_name(source));
    answers[parts[k].key] = py::make_tuple(parts[k].mbps, source_name(results[k].source), cause_name(results[k].cause),
                                           static_cast<double>(results[k].latency_ns) * 1e-3, py::tuple(sources));
  }
  return answers;
}

py::dict stats_dict(const BoundEngine& bound, const std::string& name) {
  const Engine& engine = *bound.engine;
  const ModelStats& stats = engine.stats(engine.find(name));
  const auto microseconds = [](std::uint64_t ns) { return static_cast<double>(ns) * 1e-3; };
  py::dict sources;
  for (std::size_t k = 0; k < kSources; ++k) sources[source_name(static_cast<Source>(k))] = stats.sources[k].value();
  py::dict causes;  // those of a decision are an allocator's alone
  const auto decided = static_cast<std::size_t>(Cause::outside_training);
  const std::size_t known = engine.spec(engine.find(name)).role == Role::allocator ? kCauses : decided;
  for (std::size_t k = 1; k < known; ++k) causes[cause_name(static_cast<Cause>(k))] = stats.causes[k].value();
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
  dict["switches"] = stats.switches.value();
  dict["late"] = stats.late.value();
  dict["latency_us"] = latency;
  return dict;
}

}  // namespace

Safeguard::Options safeguard_options(double plausible_margin, const std::string& held, double ewma_weight) {
  Safeguard::Options options;
  options.plausible_margin = plausible_margin;
  options.ewma_weight = ewma_weight;
  if (held == "ewma")
    options.held = Safeguard::Held::ewma;
  else if (held != "last")
    throw std::invalid_argument("held: expected \"last\" or \"ewma\", got \"" + held + "\"");
  return options;
}

std::shared_ptr<BoundModel> fallback_of(const BoundEngine& bound, std::size_t forecaster) {
  const std::string& name = bound.engine->spec(forecaster).name;
  for (const ServiceGroup& group : bound.engine->metadata().groups)
    if (group.model == name) return bound.models[bound.engine->find(group.fallback)];
  return nullptr;
}

void bind_groups(py::module_& module) {
  py::class_<BoundGroups>(module, "GroupForecaster",
                          R"(Forecasts of several groups in one call, each with its own model and batch.

Made by Engine.group_forecaster. Used by one thread at a time.)")
      .def("forecast", &forecast, py::arg("windows"), py::arg("deadline_ms") = py::none(),
           R"(Runs every group. In order on one thread: what matters most stands first when there is a deadline.

Args:
    windows: {group or profile: (batch, T, F) or (T, F)}, physical units. Row r of a group's batch is taken as the same
        series in each call: it is what "last" and "ewma" are of.
    deadline_ms: from the call on. A native LSTM gives up when it has passed; a fallback answers then.
Returns:
    {group: (bandwidth_mbps (batch,) float32, source, cause, latency_us, sources of the rows)}
Raises:
    ValueError: an unknown name, another shape, no window, or a value that is not finite or not in its unit.)");
  py::class_<BoundEngine> engine = module.attr("Engine");
  engine.def(
      "group_forecaster",
      [](const BoundEngine& bound, std::size_t threads, const std::vector<int>& cpus, std::uint32_t spin_us,
         std::size_t batch, double plausible_margin, const std::string& held, double ewma_weight) {
        GroupForecaster::Options options;
        options.threads = threads;
        options.cpus = cpus;
        options.spin_us = spin_us;
        options.batch = batch;
        options.safeguard = safeguard_options(plausible_margin, held, ewma_weight);
        return std::make_unique<BoundGroups>(bound, options);
      },
      py::kw_only(), py::arg("threads") = 1, py::arg("cpus") = std::vector<int>(), py::arg("spin_us") = 0,
      py::arg("batch") = 1, py::arg("plausible_margin") = 0.5, py::arg("held") = "last", py::arg("ewma_weight") = 0.3,
      R"(A caller of several groups at once.

Args:
    threads: the caller's included; the others sleep between calls.
    cpus: one for each of the other threads, to pin them; empty: not pinned.
    spin_us: how long they look for work before they sleep.
    batch: windows of each group that memory is reserved for; larger batches make it grow.
    plausible_margin: a forecast counts within the range of targets that training has seen (trained_on.target_range in
        manifest.json) or up to the group's maximum; widened at either end by this share of the range.
    held: "last" or "ewma": what answers when neither the model nor a fallback can.
    ewma_weight: of the newest forecast, above 0 and at most 1.)");
  engine.def("stats", &stats_dict, py::arg("name"),
             R"(What happened to a model's calls through groups, streams and controllers.

Returns:
    {"calls", "sources": {who: answers}, "causes": {why the model did not answer: answers}, "late": calls that ended
    behind their deadline, "latency_us": {"p50", "p90", "p99", "p99.9", "max"}}; percentiles are at most 1/8 too large.)");
}

}  // namespace linkcast::bindings
