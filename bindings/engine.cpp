#include "engine/engine.h"

#include "engine/folder.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <filesystem>

#include "bindings.h"

namespace linkcast::bindings {
namespace {

void log_models(const BoundEngine& bound, double seconds) {
  const std::size_t count = bound.models.size();
  log("info", "opened " + bound.engine->folder() + ": " + std::to_string(count) + " models in " +
                  std::to_string(seconds) + " s");
  for (std::size_t k = 0; k < count; ++k) log_opened(bound.engine->spec(k).name, *bound.models[k]->model);
}

std::unique_ptr<BoundEngine> open_engine(const py::object& path, const std::string& backend, int threads,
                                         const std::string& precision, const std::optional<std::string>& kernels,
                                         const py::object& second_core, std::uint64_t helper_spin_us,
                                         const std::optional<double>& load_seconds, const py::object& public_key) {
  Model::Options options =
      model_options(backend, threads, precision, kernels, second_core_text(second_core), helper_spin_us);
  options.limits.load_seconds = load_seconds;
  const std::string folder = path_bytes(path);
  const std::string key = public_key.is_none() ? std::string() : path_bytes(public_key);
  auto bound = std::make_unique<BoundEngine>();
  const std::uint64_t start = monotonic_ns();
  {
    const WithoutGil release;
    const Signers signers = Signers::configured(public_key.is_none() ? nullptr : key.c_str());
    bound->engine = std::make_shared<Engine>(folder, options, signers, &bound->texts);
    for (std::size_t k = 0; k < bound->engine->metadata().models.size(); ++k) {
      bound->models.push_back(std::make_shared<BoundModel>());
      BoundModel& model = *bound->models.back();
      model.model = {bound->engine, &bound->engine->model(k)};  // keeps the whole engine alive
      model.file = std::filesystem::absolute(model.model->path()).string();
    }
    bound->pool = make_pool(*bound, {});
  }
  log_models(*bound, static_cast<double>(monotonic_ns() - start) * 1e-9);
  return bound;
}

std::vector<std::string> names(const BoundEngine& bound) {
  std::vector<std::string> names;
  for (const ModelSpec& spec : bound.engine->metadata().models) names.push_back(spec.name);
  return names;
}

py::str metadata_text(const BoundEngine& bound, const std::string& name) {
  const auto found = bound.texts.find(name);
  if (found == bound.texts.end()) throw std::invalid_argument("name: expected a metadata file, got \"" + name + "\"");
  return found->second;
}

Role role_from_name(const std::string& name) {
  for (const Role role : {Role::forecaster, Role::allocator, Role::fallback})
    if (name == role_name(role)) return role;
  throw std::invalid_argument("role: expected forecaster, allocator or fallback, got \"" + name + "\"");
}

py::dict spec_dict(const BoundEngine& bound, const std::string& name) {
  const ModelSpec& spec = bound.engine->spec(bound.engine->find(name));
  std::vector<std::string> features;
  std::vector<std::string> units;
  for (const Feature& feature : spec.features) {
    features.push_back(feature.name);
    units.push_back(feature.unit);
  }
  py::dict dict;
  dict["name"] = spec.name;
  dict["role"] = role_name(spec.role);
  dict["serves"] = spec.serves;
  dict["window"] = spec.window ? py::object(py::int_(spec.window)) : py::none();
  dict["step_s"] = spec.step_s;
  dict["features"] = features;
  dict["units"] = units;
  dict["target"] = spec.target ? py::object(py::str(spec.target->name)) : py::none();
  dict["actions"] = spec.actions ? py::object(py::int_(spec.actions)) : py::none();
  dict["input_shape"] = spec.input_shape;
  dict["output_shape"] = spec.output_shape;
  dict["sha256"] = spec.sha256;
  dict["file"] = spec.file;
  return dict;
}

Rows checked_rows(const ModelSpec& spec, const py::object& values) {
  return as_rows(values, {spec.input_shape.begin() + 1, spec.input_shape.end()}, spec.row_name(), &spec.features);
}

/// Runs `call(data, first, count)` for float32 or float64 rows without the GIL, in parts: `data` is that of row
/// `first`.
template <class Call>
void run(BoundEngine& bound, std::size_t index, const Rows& rows, Call call) {
  if (rows.count == 0) return;
  BoundModel& model = *bound.models[index];
  const Lease lease(model);
  const void* data = rows.array.data();
  const std::size_t row = model.model->row_inputs();
  check_rows(bound.engine->spec(index), rows);
  run_in_parts(model, rows.count, [&](std::size_t first, std::size_t count) {
    if (rows.is_float32)
      call(static_cast<const float*>(data) + first * row, first, count);
    else
      call(static_cast<const double*>(data) + first * row, first, count);
  });
}

py::array_t<float> forecast_raw(BoundEngine& bound, const std::string& name, const py::object& windows) {
  const std::size_t index = find_with_target(bound, name);
  const Rows rows = checked_rows(bound.engine->spec(index), windows);
  py::array_t<float> target(static_cast<py::ssize_t>(rows.count));
  float* out = target.mutable_data();
  run(bound, index, rows, [&](const auto* data, std::size_t first, std::size_t count) {
    bound.engine->forecast_raw(index, data, count, out + first);
  });
  return target;
}

py::array_t<float> forecast_batch(BoundEngine& bound, const std::string& name, const py::object& newest_mbps) {
  const auto newest = as_numbers(newest_mbps, "newest");
  const std::size_t index = find_with_target(bound, name);
  if (newest.ndim() != 1 || newest.size() == 0)
    throw std::invalid_argument("newest: expected (batch,) with at least 1 value, got " +
                                shape_text({newest.shape(), newest.shape() + newest.ndim()}));
  py::array_t<float> target(newest.size());
  float* out = target.mutable_data();
  const double* values = newest.data();
  const auto batch = static_cast<std::size_t>(newest.size());
  const Lease lease(*bound.models[index]);
  const WithoutGil release;
  bound.engine->forecast_scaled(index, values, batch, out);
  return target;
}

/// A decision without the network's say is safe, and must not go unseen.
void warn_of_broken_model(const ModelSpec& spec, const std::vector<Cause>& causes) {
  if (std::find(causes.begin(), causes.end(), Cause::not_finite) == causes.end()) return;
  const std::string text = spec.name + ": the network gave Q-values that are not finite";
  if (PyErr_WarnEx(PyExc_RuntimeWarning, text.c_str(), 2) != 0) throw py::error_already_set();
}

/// @return (batch) what is special about each action
std::vector<Cause> decide_rows(BoundEngine& bound, std::size_t index, const Rows& rows,
                               py::array_t<std::int32_t>& actions) {
  auto* out = actions.mutable_data();
  std::vector<Cause> causes(rows.count, Cause::none);
  run(bound, index, rows, [&](const auto* data, std::size_t first, std::size_t count) {
    bound.engine->decide(index, data, count, out + first, causes.data() + first);
  });
  warn_of_broken_model(bound.engine->spec(index), causes);
  return causes;
}

py::array_t<std::int32_t> decide(BoundEngine& bound, const std::string& name, const py::object& states) {
  const std::size_t index = bound.engine->find(name, Role::allocator);
  const Rows rows = checked_rows(bound.engine->spec(index), states);
  py::array_t<std::int32_t> actions(static_cast<py::ssize_t>(rows.count));
  decide_rows(bound, index, rows, actions);
  return actions;
}

py::tuple allocate(BoundEngine& bound, const std::string& name, const py::object& states) {
  const std::size_t index = bound.engine->find(name, Role::allocator);
  const Rows rows = checked_rows(bound.engine->spec(index), states);
  py::array_t<std::int32_t> actions(static_cast<py::ssize_t>(rows.count));
  const std::vector<Cause> causes = decide_rows(bound, index, rows, actions);
  py::tuple names(rows.count);
  for (std::size_t row = 0; row < rows.count; ++row) names[row] = cause_name(causes[row]);
  return py::make_tuple(actions, names);
}

py::array_t<float> q_values(BoundEngine& bound, const std::string& name, const py::object& states) {
  const std::size_t index = bound.engine->find(name, Role::allocator);
  const ModelSpec& spec = bound.engine->spec(index);
  const Rows rows = checked_rows(spec, states);
  py::array_t<float> values({static_cast<py::ssize_t>(rows.count), static_cast<py::ssize_t>(spec.actions)});
  float* out = values.mutable_data();
  run(bound, index, rows, [&](const auto* data, std::size_t first, std::size_t count) {
    bound.engine->q_values(index, data, count, out + first * spec.actions);
  });
  return values;
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
  dict["late"] = stats.late.value();
  dict["latency_us"] = latency;
  return dict;
}

}  // namespace

std::size_t find_with_target(const BoundEngine& bound, const std::string& name) {
  // A fallback can be asked for a forecast by its own name; a profile or group means its forecaster.
  for (std::size_t k = 0; k < bound.engine->metadata().models.size(); ++k)
    if (bound.engine->spec(k).name == name && bound.engine->spec(k).target) return k;
  return bound.engine->find(name, Role::forecaster);
}

void bind_engine(py::module_& module) {
  py::class_<BoundEngine>(module, "Engine", "The models of one bundle folder with their scalers.")
      .def(py::init(&open_engine), py::arg("folder"), py::arg("backend") = "auto", py::arg("threads") = 1,
           py::arg("precision") = "float32", py::kw_only(), py::arg("kernels") = py::none(),
           py::arg("second_core") = py::none(), py::arg("helper_spin_us") = SecondCore().spin_us,
           py::arg("load_seconds") = py::none(), py::arg("public_key") = py::none(),
           R"(Reads metadata/ and models/ of a folder, and checks each file; with a public key the signature, too.

Raises:
    LoadError: a file is missing, damaged or wrong; names it, and the key in a metadata file.)")
      .def_static("default_folder", &default_folder, "$LINKCAST_BUNDLE, or else the bundle that ships with linkcast.")
      .def_property_readonly("names", &names, "Every model's name, in the manifest's order.")
      .def_property_readonly(
          "folder", [](const BoundEngine& b) { return b.engine->folder(); }, "The bundle folder.")
      .def("metadata_text", &metadata_text, py::arg("name"),
           "A metadata file as it was read and checked when the engine was opened: metadata_text(\"manifest.json\").")
      .def(
          "model", [](const BoundEngine& b, const std::string& name) { return b.models[b.engine->find(name)]; },
          py::arg("name"), "The model with this name, the same object at each call; ValueError naming the known ones.")
      .def(
          "resolve",
          [](const BoundEngine& b, const std::string& name, const std::string& role) {
            return b.engine->spec(b.engine->find(name, role_from_name(role))).name;
          },
          py::arg("name"), py::arg("role"),
          R"(The model name for a name that forecast or decide takes: "internet" -> "internet_lstm".

Args:
    name: a model name, or what it serves: a profile or a service group.
    role: "forecaster", "allocator" or "fallback".
Raises:
    ValueError: nothing of that role has the name; the text names the known ones.)")
      .def("spec", &spec_dict, py::arg("name"),
           "What the metadata says about a model: role, features and units, window, shapes, file.")
      .def(
          "scaler",
          [](const BoundEngine& b, const std::string& name) { return b.engine->spec(b.engine->find(name)).scaler; },
          py::arg("name"), "The scaler of a model's features.")
      .def(
          "target_scaler",
          [](const BoundEngine& b, const std::string& name) {
            return b.engine->spec(b.engine->find(name)).target_scaler;
          },
          py::arg("name"), "The scaler of a model's target; None for an allocator.")
      .def("forecast_raw", &forecast_raw, py::arg("name"), py::arg("windows"),
           R"(The next value of each window as the model gives it: not judged, not clipped, not counted.

Args:
    name, windows: as in forecast.
Returns:
    (batch,) float32, in the target's unit (Mbit/s).
Raises:
    ValueError: an unknown name, another shape, or a value that is not finite or not in its unit.)")
      .def("forecast_batch", &forecast_batch, py::arg("name"), py::arg("newest"),
           R"(forecast_raw for scaled windows that stand in model(name).batch_input(batch).

Args:
    newest: (batch,) each window's last value of the feature that has the target's name, physical units; what a target
        that is relative to "last" is relative to, and else not read.)")
      .def("decide", &decide, py::arg("name"), py::arg("states"),
           R"(The allocator's action in each state; action a allocates (a + 1) * 10 % of the link.

For every state: more bandwidth never means a smaller allocation, a link that is full or over its capacity gets all,
and no state gets less than one action below what it carries. Features are held to what training has seen; allocate
tells where.

Args:
    name: a profile ("internet") or a model name ("internet_ddqn").
    states: (batch, features) or (features,): latency_ms (the wait before the present share included), bandwidth_mbps
        (carried in the last step, brought to a link of trained_on.capacity_mbps, at most ten times that), packet_loss,
        reliability. Frames and mappings are read by name.
Returns:
    (batch,) int32, 0..9.
Raises:
    ValueError: an unknown name, another shape, or a value that is not finite or not in its unit.)")
      .def("allocate", &allocate, py::arg("name"), py::arg("states"),
           "As decide, with each row's cause: (actions, causes).")
      .def("q_values", &q_values, py::arg("name"), py::arg("states"),
           R"(The network's own Q-values, (batch, actions) float32, with nothing held to what training has seen.

Arguments and errors as in decide, whose action need not be that of the highest Q-value.)")
      .def("stats", &stats_dict, py::arg("name"),
           R"(What happened to a model's calls, but for the raw ones.

Returns:
    {"calls", "sources": {who: answers}, "causes": {why the model did not answer: answers}, "late": calls that ended
    behind their deadline, "latency_us": {"p50", "p90", "p99", "p99.9", "max"}}; percentiles are at most 1/8 too large.)");
}

}  // namespace linkcast::bindings
