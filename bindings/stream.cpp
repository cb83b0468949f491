#include "engine/stream.h"

#include <pybind11/stl.h>

#include <cmath>

#include "bindings.h"

namespace linkcast::bindings {
namespace {

/// A fleet and the models that it uses: its forecaster, and the group's fallback where there is one.
struct BoundFleet {
  BoundFleet(const BoundEngine& bound, const std::string& name, std::size_t streams,
             const StreamFleet::Options& options)
      : engine(bound.engine),
        forecaster(bound.models[bound.engine->find(name, Role::forecaster)]),
        fallback(fallback_of(bound, bound.engine->find(name, Role::forecaster))),
        fleet(*engine, engine->find(name, Role::forecaster), streams, options),
        forecasts(streams),
        sources(streams, Source::none) {}

  std::shared_ptr<Engine> engine;
  std::shared_ptr<BoundModel> forecaster;
  std::shared_ptr<BoundModel> fallback;
  StreamFleet fleet;
  std::vector<float> forecasts;  // of the last push
  std::vector<Source> sources;   // of the last push
};

struct BoundStream : BoundFleet {
  using BoundFleet::BoundFleet;
};

/// Holds the models for one call.
class FleetLease {
 public:
  explicit FleetLease(BoundFleet& bound) : forecaster_(*bound.forecaster) {
    if (bound.fallback) fallback_.emplace(*bound.fallback);
  }

 private:
  Lease forecaster_;
  std::optional<Lease> fallback_;
};

Deadline deadline_in(const std::optional<double>& deadline_ms) {
  if (!deadline_ms) return {};
  if (!(*deadline_ms > 0))
    throw std::invalid_argument("deadline_ms: expected above 0, got " + std::to_string(*deadline_ms));
  return Deadline::in(static_cast<std::uint64_t>(*deadline_ms * 1e6));
}

py::object forecast_or_none(const BoundStream& bound) {
  return std::isnan(bound.forecasts[0]) ? py::object(py::none()) : py::float_(bound.forecasts[0]);
}

// A single stream keeps the GIL: a push is over before another thread could have taken it and given it back.

py::object push(BoundStream& bound, const py::object& sample, const std::optional<double>& deadline_ms) {
  const Deadline deadline = deadline_in(deadline_ms);
  const std::vector<Feature>& features = bound.engine->spec(bound.fleet.model()).features;
  const Rows row = as_row(sample, {static_cast<int>(features.size())}, "sample", &features);
  const FleetLease lease(bound);
  if (row.is_float32)
    bound.fleet.push(static_cast<const float*>(row.array.data()), nullptr, bound.forecasts.data(), bound.sources.data(),
                     deadline);
  else
    bound.fleet.push(static_cast<const double*>(row.array.data()), nullptr, bound.forecasts.data(),
                     bound.sources.data(), deadline);
  return forecast_or_none(bound);
}

py::object push_missing(BoundStream& bound, const std::optional<double>& deadline_ms) {
  const Deadline deadline = deadline_in(deadline_ms);
  constexpr std::uint8_t kAbsent = 0;
  const FleetLease lease(bound);
  bound.fleet.push(static_cast<const float*>(nullptr), &kAbsent, bound.forecasts.data(), bound.sources.data(),
                   deadline);
  return forecast_or_none(bound);
}

py::array_t<float> push_all(BoundFleet& bound, const py::object& samples, const py::object& present,
                            const std::optional<double>& deadline_ms) {
  const Deadline deadline = deadline_in(deadline_ms);
  const auto streams = static_cast<int>(bound.fleet.streams());
  const std::vector<Feature>& features = bound.engine->spec(bound.fleet.model()).features;
  const Rows rows = as_row(samples, {streams, static_cast<int>(features.size())}, "samples", &features);
  py::array_t<bool, py::array::c_style> flags;
  const std::uint8_t* flag = nullptr;
  if (!present.is_none()) {
    flags = py::array_t<bool, py::array::c_style>(present);
    if (flags.ndim() != 1 || flags.shape(0) != streams)
      throw std::invalid_argument("present: expected (" + std::to_string(streams) + ",) booleans, got " +
                                  shape_text({flags.shape(), flags.shape() + flags.ndim()}));
    flag = static_cast<const std::uint8_t*>(flags.request().ptr);
  }
  py::array_t<float> forecasts(streams);
  float* out = forecasts.mutable_data();
  const void* data = rows.array.data();
  const FleetLease lease(bound);
  const py::gil_scoped_release release;
  if (rows.is_float32)
    bound.fleet.push(static_cast<const float*>(data), flag, out, bound.sources.data(), deadline);
  else
    bound.fleet.push(static_cast<const double*>(data), flag, out, bound.sources.data(), deadline);
  return forecasts;
}

std::size_t checked_stream(const BoundFleet& bound, std::size_t stream) {
  if (stream >= bound.fleet.streams())
    throw std::invalid_argument("stream: expected below " + std::to_string(bound.fleet.streams()) + ", got " +
                                std::to_string(stream));
  return stream;
}

std::optional<double> skill(const BoundFleet& bound, std::size_t stream) {
  const double skill = bound.fleet.skill(stream);
  return std::isnan(skill) ? std::nullopt : std::optional(skill);
}

py::bytes snapshot(const BoundFleet& bound) {
  const auto bytes = bound.fleet.snapshot();
  return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void restore(BoundFleet& bound, const py::bytes& snapshot, bool same_model) {
  const std::string_view bytes = snapshot;
  const FleetLease lease(bound);
  bound.fleet.restore(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size(), same_model);
}

template <class Bound>
void bind_common(py::class_<Bound>& type) {
  type.def(
          "advance",
          [](Bound& bound) {
            const FleetLease lease(bound);
            bound.fleet.advance();
          },
          "The rest of the last push's work; push does it when it was not called.")
      .def(
          "snapshot", [](const Bound& bound) { return snapshot(bound); },
          "The windows as bytes, with the hash of the model: what restore takes, on any machine of this byte order.")
      .def(
          "restore", [](Bound& bound, const py::bytes& bytes, bool same_model) { restore(bound, bytes, same_model); },
          py::arg("snapshot"), py::arg("same_model") = true,
          R"(Goes on where the snapshot was taken.

Args:
    same_model: refuse the snapshot of another model file; False carries the windows over to a new model.
Raises:
    ValueError: damaged, of another shape, or of another model; nothing has changed then.)")
      .def_property_readonly(
          "model", [](const Bound& bound) { return bound.engine->spec(bound.fleet.model()).name; },
          "The forecaster's name.")
      .def_property_readonly(
          "mode", [](const Bound& bound) { return bound.fleet.mode(); },
          R"("incremental": one time step of work for each push. "window": each push runs the full window.)")
      .def_property_readonly(
          "mode_reason", [](const Bound& bound) { return bound.fleet.mode_reason(); }, "Why this mode.")
      .def_property_readonly(
          "window", [](const Bound& bound) { return bound.fleet.window(); }, "Time steps in a window.")
      .def_property_readonly(
          "features", [](const Bound& bound) { return bound.fleet.features(); }, "Values in a sample.")
      .def_property_readonly(
          "ticks", [](const Bound& bound) { return bound.fleet.ticks(); }, "Ticks so far, those without a sample too.");
}

void bind_single(py::module_& module) {
  py::class_<BoundStream> type(
      module, "Stream",
      R"(A sliding window: a sample comes in at every tick, the forecast of the window that ends with it goes out.

A push answers after one time step of work (mode "incremental"), with exactly the forecast of the full window; advance
does the rest. A tick without a sample holds the last one; after more than most_held of them in a row the window is
dropped, and forecasts come back when it is full again. Made by Engine.stream. Used by one thread at a time.)");
  bind_common(type);
  type.def("push", &push, py::arg("sample"), py::arg("deadline_ms") = py::none(),
           R"(One tick.

Args:
    sample: (features,) in physical units; or a mapping, a labelled Series or a frame of one row, read by name.
    deadline_ms: a push that takes longer is counted as late in Engine.stats.
Returns:
    The forecast in the target's unit (Mbit/s); None until the window is full.
Raises:
    ValueError: another shape, or a value that is not finite or not in its unit; it was no tick then.)")
      .def("push_missing", &push_missing, py::arg("deadline_ms") = py::none(),
           "One tick without a sample: the last one is held. Returns as push.")
      .def(
          "reset",
          [](BoundStream& bound) {
            const FleetLease lease(bound);
            bound.fleet.reset();
          },
          "Empties the window.")
      .def_property_readonly(
          "ready", [](const BoundStream& bound) { return bound.fleet.ready(0); }, "Whether the window is full.")
      .def_property_readonly(
          "samples_in", [](const BoundStream& bound) { return bound.fleet.samples_in(0); },
          "Samples in the window, at most its length.")
      .def_property_readonly(
          "held", [](const BoundStream& bound) { return bound.fleet.held(0); },
          "How many of the window's samples are held ones.")
      .def_property_readonly(
          "missing", [](const BoundStream& bound) { return bound.fleet.missing(0); }, "Ticks without a sample so far.")
      .def_property_readonly(
          "source", [](const BoundStream& bound) { return source_name(bound.sources[0]); },
          R"(Who gave the last forecast: "model", "fallback", "last", "ewma" or "none".)")
      .def_property_readonly(
          "cause", [](const BoundStream& bound) { return cause_name(bound.fleet.cause(0)); },
          R"(Why it was not the model: "none", "failed", "not_finite", "implausible" or "beaten" (switch_to_ewma).)")
      .def_property_readonly(
          "switched", [](const BoundStream& bound) { return bound.fleet.switched(0); },
          "Whether the moving average answers: see switch_to_ewma of Engine.stream.")
      .def_property_readonly(
          "skill", [](const BoundStream& bound) { return skill(bound, 0); },
          "1 - the model's absolute errors / the moving average's, over the last switch_to_ewma ticks; None before.");
}

void bind_fleet(py::module_& module) {
  py::class_<BoundFleet> type(module, "StreamFleet",
                              R"(Many sliding windows of one model that tick together: each push is one batch.

As Stream for each of them. Made by Engine.streams. Used by one thread at a time.)");
  bind_common(type);
  type.def("push", &push_all, py::arg("samples"), py::arg("present") = py::none(), py::arg("deadline_ms") = py::none(),
           R"(One tick of every stream. Releases the GIL.

Args:
    samples: (streams, features) in physical units, or a frame with a row for each stream.
    present: (streams,) booleans, False where a stream has no sample in this tick (its row is not read); None: all have.
    deadline_ms: a push that takes longer is counted as late in Engine.stats.
Returns:
    (streams,) float32 forecasts; NaN where the window is not full.
Raises:
    ValueError: another shape, or a value that is not finite or not in its unit; no stream has ticked then.)")
      .def(
          "reset",
          [](BoundFleet& bound, const std::optional<std::size_t>& stream) {
            const FleetLease lease(bound);
            if (stream)
              bound.fleet.reset(checked_stream(bound, *stream));
            else
              bound.fleet.reset();
          },
          py::arg("stream") = py::none(), "Empties the window of one stream, or of all.")
      .def("__len__", [](const BoundFleet& bound) { return bound.fleet.streams(); })
      .def(
          "ready",
          [](const BoundFleet& bound, std::size_t stream) { return bound.fleet.ready(checked_stream(bound, stream)); },
          py::arg("stream"), "Whether a stream's window is full.")
      .def(
          "held",
          [](const BoundFleet& bound, std::size_t stream) { return bound.fleet.held(checked_stream(bound, stream)); },
          py::arg("stream"), "How many of the samples in a stream's window are held ones.")
      .def(
          "missing",
          [](const BoundFleet& bound, std::size_t stream) {
            return bound.fleet.missing(checked_stream(bound, stream));
          },
          py::arg("stream"), "A stream's ticks without a sample so far.")
      .def(
          "switched",
          [](const BoundFleet& bound, std::size_t stream) {
            return bound.fleet.switched(checked_stream(bound, stream));
          },
          py::arg("stream"), "Whether the moving average answers for a stream.")
      .def(
          "skill",
          [](const BoundFleet& bound, std::size_t stream) { return skill(bound, checked_stream(bound, stream)); },
          py::arg("stream"), "As Stream.skill.")
      .def_property_readonly(
          "causes",
          [](const BoundFleet& bound) {
            py::list names;
            for (std::size_t k = 0; k < bound.fleet.streams(); ++k) names.append(cause_name(bound.fleet.cause(k)));
            return names;
          },
          "Why each forecast of the last push was not the model's.")
      .def_property_readonly(
          "sources",
          [](const BoundFleet& bound) {
            py::list names;
            for (const Source source : bound.sources) names.append(source_name(source));
            return names;
          },
          "Who gave each forecast of the last push.");
}

}  // namespace

void bind_stream(py::module_& module) {
  bind_single(module);
  bind_fleet(module);
  py::class_<BoundEngine> engine = module.attr("Engine");
  engine.def(
      "stream",
      [](const BoundEngine& bound, const std::string& name, std::size_t most_held, double plausible_margin,
         const std::string& held, double ewma_weight, std::size_t switch_to_ewma) {
        const auto safeguard = safeguard_options(plausible_margin, held, ewma_weight);
        return std::make_unique<BoundStream>(bound, name, 1,
                                             StreamFleet::Options{most_held, safeguard, switch_to_ewma});
      },
      py::arg("name"), py::kw_only(), py::arg("most_held") = 3, py::arg("plausible_margin") = 0.5,
      py::arg("held") = "last", py::arg("ewma_weight") = 0.3, py::arg("switch_to_ewma") = 0,
      "A sliding window of a forecaster.");
  engine.def(
      "streams",
      [](const BoundEngine& bound, const std::string& name, std::size_t count, std::size_t most_held,
         double plausible_margin, const std::string& held, double ewma_weight, std::size_t switch_to_ewma) {
        const auto safeguard = safeguard_options(plausible_margin, held, ewma_weight);
        return std::make_unique<BoundFleet>(bound, name, count,
                                            StreamFleet::Options{most_held, safeguard, switch_to_ewma});
      },
      py::arg("name"), py::arg("count"), py::kw_only(), py::arg("most_held") = 3, py::arg("plausible_margin") = 0.5,
      py::arg("held") = "last", py::arg("ewma_weight") = 0.3, py::arg("switch_to_ewma") = 0,
      "Many sliding windows of a forecaster, as one batch.");
}

}  // namespace linkcast::bindings
