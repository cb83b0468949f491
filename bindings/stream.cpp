#include "engine/stream.h"

#include <pybind11/stl.h>

#include "bindings.h"

namespace linkcast::bindings {
namespace {

/// A stream and the models that it uses: its forecaster, and the group's fallback where there is one.
struct BoundStream {
  BoundStream(const BoundEngine& bound, const std::string& name, const Stream::Options& options, std::size_t rows)
      : engine(bound.engine),
        forecaster(bound.models[bound.engine->find(name, Role::forecaster)]),
        fallback(fallback_of(bound, bound.engine->find(name, Role::forecaster))),
        stream(*engine, engine->find(name, Role::forecaster), options, rows) {}

  std::shared_ptr<Engine> engine;
  std::shared_ptr<BoundModel> forecaster;
  std::shared_ptr<BoundModel> fallback;
  Stream stream;
};

/// Holds the models for one call.
class StreamLease {
 public:
  explicit StreamLease(BoundStream& bound) : forecaster_(*bound.forecaster) {
    if (bound.fallback) fallback_.emplace(*bound.fallback);
  }

 private:
  Lease forecaster_;
  std::optional<Lease> fallback_;
};

/// Calls `take(samples)` with a pointer to float32 or float64, null where no sample came.
template <class Take>
void with_samples(const std::optional<Rows>& rows, Take take) {
  if (!rows)
    take(static_cast<const double*>(nullptr));
  else if (rows->is_float32)
    take(static_cast<const float*>(rows->array.data()));
  else
    take(static_cast<const double*>(rows->array.data()));
}

// A single row keeps the GIL: a push is over before another thread could have taken it and given it back.
py::object push_one(BoundStream& bound, const std::optional<Rows>& sample, const std::uint8_t* present,
                    Deadline deadline) {
  Answer answer;
  const StreamLease lease(bound);
  with_samples(sample, [&](const auto* values) { bound.stream.push(values, present, &answer, deadline); });
  return bound.stream.ready() ? py::cast(answer) : py::none();
}

py::object push_rows(BoundStream& bound, const std::optional<Rows>& samples, const std::uint8_t* present,
                     Deadline deadline) {
  Answers answers;
  answers.rows.resize(bound.stream.rows());
  {
    const StreamLease lease(bound);
    const py::gil_scoped_release release;
    const std::uint64_t start = monotonic_ns();
    with_samples(samples,
                 [&](const auto* values) { bound.stream.push(values, present, answers.rows.data(), deadline); });
    answers.latency_ns = monotonic_ns() - start;
  }
  bool first = true;
  for (std::size_t row = 0; row < answers.rows.size(); ++row) {
    if (!bound.stream.ready(row)) continue;
    const Answer& answer = answers.rows[row];
    answers.source = first ? answer.source : later_resort(answers.source, answer.source);
    if (answers.cause == Cause::none) answers.cause = answer.cause;
    first = false;
  }
  return py::cast(std::move(answers));
}

py::object push(BoundStream& bound, const py::object& samples, const py::object& present,
                const std::optional<double>& deadline_ms) {
  const Deadline deadline = deadline_in(deadline_ms);
  const auto rows = static_cast<int>(bound.stream.rows());
  const auto features = static_cast<int>(bound.stream.features());
  std::optional<Rows> values;
  if (!samples.is_none())
    values = rows == 1 ? as_row(samples, {features}, "sample") : as_row(samples, {rows, features}, "samples");
  py::array_t<bool, py::array::c_style> flags;
  const std::uint8_t* flag = nullptr;
  if (!present.is_none()) {
    flags = py::array_t<bool, py::array::c_style>(present);
    if (flags.ndim() != 1 || flags.shape(0) != rows)
      throw std::invalid_argument("present: expected (" + std::to_string(rows) + ",) booleans, got " +
                                  shape_text({flags.shape(), flags.shape() + flags.ndim()}));
    flag = static_cast<const std::uint8_t*>(flags.request().ptr);
  }
  return rows == 1 ? push_one(bound, values, flag, deadline) : push_rows(bound, values, flag, deadline);
}

std::size_t checked_row(const BoundStream& bound, std::size_t row) {
  if (row >= bound.stream.rows())
    throw std::invalid_argument("row: expected below " + std::to_string(bound.stream.rows()) + ", got " +
                                std::to_string(row));
  return row;
}

py::bytes snapshot(const BoundStream& bound) {
  const auto bytes = bound.stream.snapshot();
  return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void restore(BoundStream& bound, const py::bytes& snapshot, bool same_model) {
  const std::string_view bytes = snapshot;
  const StreamLease lease(bound);
  bound.stream.restore(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size(), same_model);
}

void reset(BoundStream& bound, const std::optional<std::size_t>& row) {
  const StreamLease lease(bound);
  if (row)
    bound.stream.reset(checked_row(bound, *row));
  else
    bound.stream.reset();
}

/// A method that says something of one row.
template <class Value>
auto of_row(Value (Stream::*method)(std::size_t) const noexcept) {
  return
      [method](const BoundStream& bound, std::size_t row) { return (bound.stream.*method)(checked_row(bound, row)); };
}

}  // namespace

void bind_stream(py::module_& module) {
  py::class_<BoundStream>(module, "Stream",
                          R"(A sliding window, or many of one model that tick together: one row each.

A sample comes in at every tick, and the forecast of the window that ends with it goes out. A push answers after one
time step of work (mode "incremental"), with exactly the forecast of the full window; advance does the rest. A tick
without a sample holds the last one; after more than most_held of them in a row the window is dropped, and forecasts
come back when it is full again. Made by Engine.stream. Used by one thread at a time.)")
      .def("push", &push, py::arg("samples"), py::arg("present") = py::none(), py::arg("deadline_ms") = py::none(),
           R"(One tick. With more than one row it is one batch, and releases the GIL.

Args:
    samples: (features,) in physical units for one row, (rows, features) for more; None: no sample came in this tick.
    present: (rows,) booleans, False where a row has no sample in this tick (it is not read); None: all have.
    deadline_ms: a push that takes longer is counted as late in Engine.stats.
Returns:
    One row: its Answer, None until the window is full. More: Answers, NaN and "none" where the window is not full.
Raises:
    ValueError: another shape, or a value that is not finite; it was no tick then.)")
      .def(
          "push_missing",
          [](BoundStream& bound, const std::optional<double>& deadline_ms) {
            return push(bound, py::none(), py::none(), deadline_ms);
          },
          py::arg("deadline_ms") = py::none(), "push(None): a tick in which no sample came.")
      .def(
          "advance",
          [](BoundStream& bound) {
            const StreamLease lease(bound);
            bound.stream.advance();
          },
          "The rest of the last push's work; push does it when it was not called.")
      .def("reset", &reset, py::arg("row") = py::none(), "Empties the window of one row, or of all.")
      .def("snapshot", &snapshot,
           "The windows as bytes, with the hash of the model: what restore takes, on any machine of this byte order.")
      .def("restore", &restore, py::arg("snapshot"), py::arg("same_model") = true,
           R"(Goes on where the snapshot was taken.

Args:
    same_model: refuse the snapshot of another model file; False carries the windows over to a new model.
Raises:
    ValueError: damaged, of another shape, or of another model; nothing has changed then.)")
      .def("__len__", [](const BoundStream& bound) { return bound.stream.rows(); })
      .def("ready", of_row(&Stream::ready), py::arg("row") = 0, "Whether a row's window is full.")
      .def("samples_in", of_row(&Stream::samples_in), py::arg("row") = 0, "Samples in a window, at most its length.")
      .def("held", of_row(&Stream::held), py::arg("row") = 0, "How many of a window's samples are held ones.")
      .def("missing", of_row(&Stream::missing), py::arg("row") = 0, "A row's ticks without a sample so far.")
      .def_property_readonly(
          "model", [](const BoundStream& bound) { return bound.engine->spec(bound.stream.model()).name; },
          "The forecaster's name.")
      .def_property_readonly(
          "mode", [](const BoundStream& bound) { return bound.stream.mode(); },
          R"("incremental": one time step of work for each push. "window": each push runs the full window.)")
      .def_property_readonly(
          "mode_reason", [](const BoundStream& bound) { return bound.stream.mode_reason(); }, "Why this mode.")
      .def_property_readonly(
          "rows", [](const BoundStream& bound) { return bound.stream.rows(); }, "Windows that tick together.")
      .def_property_readonly(
          "window", [](const BoundStream& bound) { return bound.stream.window(); }, "Time steps in a window.")
      .def_property_readonly(
          "features", [](const BoundStream& bound) { return bound.stream.features(); }, "Values in a sample.")
      .def_property_readonly(
          "ticks", [](const BoundStream& bound) { return bound.stream.ticks(); },
          "Ticks so far, those without a sample too.");
  py::class_<BoundEngine> engine = module.attr("Engine");
  const Stream::Options defaults;
  engine.def(
      "stream",
      [](const BoundEngine& bound, const std::string& name, std::size_t rows, std::size_t most_held,
         double plausible_margin, const std::string& stand_in, double stand_in_weight) {
        const auto safeguard = safeguard_options(plausible_margin, stand_in, stand_in_weight);
        return std::make_unique<BoundStream>(bound, name, Stream::Options{most_held, safeguard}, rows);
      },
      py::arg("name"), py::arg("rows") = 1, py::kw_only(), py::arg("most_held") = defaults.most_held,
      py::arg("plausible_margin") = defaults.safeguard.plausible_margin,
      py::arg("stand_in") = stand_in_name(defaults.safeguard.stand_in),
      py::arg("stand_in_weight") = defaults.safeguard.stand_in_weight,
      R"(Sliding windows of a forecaster: push a sample at every tick, get the forecast.

Args:
    name: a profile ("internet"), a service group ("streaming") or a model name.
    rows: links that tick together, as one batch.
    most_held: ticks in a row for which a missing sample is held.
    plausible_margin, stand_in, stand_in_weight: as in forecaster_pool.
Raises:
    ValueError: an unknown name, or an option out of range.)");
}

}  // namespace linkcast::bindings
