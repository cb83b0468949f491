#include "engine/stream.h"

#include <pybind11/stl.h>

#include <cmath>
#include <sstream>

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
  CauseLog log;

  const std::string& name() const noexcept { return engine->spec(stream.model()).name; }
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
  if (!bound.stream.ready()) return py::none();
  bound.log.note(bound.name(), answer.source, answer.cause);
  return py::cast(answer);
}

py::object push_rows(BoundStream& bound, const std::optional<Rows>& samples, const std::uint8_t* present,
                     Deadline deadline) {
  Answers answers;
  answers.rows.resize(bound.stream.rows());
  {
    const StreamLease lease(bound);
    const WithoutGil release;
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
  if (!first) bound.log.note(bound.name(), answers.source, answers.cause);
  return py::cast(std::move(answers));
}

py::object push(BoundStream& bound, const py::object& samples, const py::object& present,
                const std::optional<double>& deadline_ms) {
  const Deadline deadline = deadline_in(deadline_ms);
  const auto rows = static_cast<int>(bound.stream.rows());
  const std::vector<Feature>& named = bound.engine->spec(bound.stream.model()).features;
  const auto features = static_cast<int>(named.size());
  std::optional<Rows> values;
  if (!samples.is_none())
    values = rows == 1 ? as_row(samples, {features}, "sample", &named)
                       : as_row(samples, {rows, features}, "samples", &named);
  py::array_t<bool, py::array::c_style> flags;
  const std::uint8_t* flag = nullptr;
  if (!present.is_none()) {
    flags = as_flags(present, rows, "present");
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

const Mixture& checked_mixture(const BoundStream& bound) {
  if (!bound.stream.mixture()) throw std::invalid_argument("stream: expected one with a mixture, got mixture=False");
  return *bound.stream.mixture();
}

py::object look_ahead(BoundStream& bound, std::size_t steps, std::size_t row, bool peak) {
  const std::size_t most = checked_mixture(bound).options().horizon;
  if (steps < 1 || steps > most)
    throw std::invalid_argument("steps: expected 1 to " + std::to_string(most) + ", got " + std::to_string(steps));
  checked_row(bound, row);
  const Answer answer = peak ? bound.stream.peak(row, steps) : bound.stream.horizon(row, steps);
  return answer.source == Source::none ? py::none() : py::cast(answer);
}

struct Expert {
  std::string name;
  double weight;
  std::optional<double> error;
};

std::vector<Expert> experts(const BoundStream& bound, std::size_t row) {
  const Mixture& mixture = checked_mixture(bound);
  checked_row(bound, row);
  std::vector<Expert> experts;
  for (std::size_t k = 0; k < Mixture::kExperts; ++k) {
    const double error = mixture.error(row, k);
    experts.push_back(
        {Mixture::expert_names()[k], mixture.weight(row, k), std::isnan(error) ? std::nullopt : std::optional(error)});
  }
  return experts;
}

/// Many ticks in one call: what push, horizon and peak give, in arrays.
py::dict push_many(BoundStream& bound, const py::object& samples, const py::object& present) {
  const std::vector<Feature>& named = bound.engine->spec(bound.stream.model()).features;
  const auto features = static_cast<int>(named.size());
  const auto links = static_cast<py::ssize_t>(bound.stream.rows());
  const bool one = links == 1;
  const Rows rows = one ? as_rows(samples, {features}, "samples", &named)
                        : as_rows(samples, {static_cast<int>(links), features}, "samples", nullptr);
  const auto ticks = static_cast<py::ssize_t>(rows.count);
  const auto horizon = static_cast<py::ssize_t>(bound.stream.mixture() ? bound.stream.mixture()->options().horizon : 0);
  py::array_t<bool, py::array::c_style> flags;
  const std::uint8_t* flag = nullptr;
  if (!present.is_none()) {
    py::array marks = py::module_::import("numpy").attr("asarray")(present);
    if (!one) {
      if (marks.ndim() != 2 || marks.shape(0) != ticks || marks.shape(1) != links)
        throw std::invalid_argument("present: expected (" + std::to_string(ticks) + ", " + std::to_string(links) +
                                    ") booleans, got " + shape_text({marks.shape(), marks.shape() + marks.ndim()}));
      marks = marks.attr("reshape")(-1);
    }
    flags = as_flags(marks, ticks * links, "present");
    flag = static_cast<const std::uint8_t*>(flags.request().ptr);
  }
  constexpr py::ssize_t kValues = 5;
  const auto shape = [&](std::initializer_list<py::ssize_t> last) {
    std::vector<py::ssize_t> all{ticks};
    if (!one) all.push_back(links);
    all.insert(all.end(), last);
    return all;
  };
  py::array_t<float> next(shape({kValues})), ahead(shape({horizon, kValues})), peaks(shape({horizon, kValues}));
  py::array_t<std::uint8_t> sources(shape({}));
  std::vector<Answer> answers(bound.stream.rows());
  {
    float* to_next = next.mutable_data();
    float* to_ahead = ahead.mutable_data();
    float* to_peaks = peaks.mutable_data();
    std::uint8_t* to_sources = sources.mutable_data();
    const void* data = rows.array.data();
    const bool is_float32 = rows.is_float32;
    const StreamLease lease(bound);
    const WithoutGil release;
    const auto put = [](const Answer& answer, float*& to) {
      for (const float value : {answer.mbps, answer.p10, answer.p50, answer.p90, answer.reserve}) *to++ = value;
    };
    for (py::ssize_t tick = 0; tick < ticks; ++tick) {
      const std::uint8_t* here = flag ? flag + tick * links : nullptr;
      if (is_float32)
        bound.stream.push(static_cast<const float*>(data) + tick * links * features, here, answers.data());
      else
        bound.stream.push(static_cast<const double*>(data) + tick * links * features, here, answers.data());
      for (std::size_t row = 0; row < answers.size(); ++row) {
        put(answers[row], to_next);
        *to_sources++ = static_cast<std::uint8_t>(answers[row].source);
        for (py::ssize_t steps = 1; steps <= horizon; ++steps) {
          put(bound.stream.horizon(row, static_cast<std::size_t>(steps)), to_ahead);
          put(bound.stream.peak(row, static_cast<std::size_t>(steps)), to_peaks);
        }
      }
      bound.stream.advance();
    }
  }
  py::list names;
  for (std::size_t k = 0; k < kSources; ++k) names.append(source_name(static_cast<Source>(k)));
  py::dict all;
  all["next"] = next;
  all["horizon"] = ahead;
  all["peak"] = peaks;
  all["source"] = sources;
  all["source_names"] = names;
  return all;
}

py::bytes stream_snapshot(const BoundStream& bound, const std::optional<std::size_t>& row) {
  const auto bytes = row ? bound.stream.snapshot_row(checked_row(bound, *row)) : bound.stream.snapshot();
  return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void restore_stream(BoundStream& bound, const py::bytes& snapshot, bool same_model,
                    const std::optional<std::size_t>& row) {
  const std::string_view bytes = snapshot;
  const auto* data = reinterpret_cast<const std::byte*>(bytes.data());
  const StreamLease lease(bound);
  if (row)
    bound.stream.restore_row(checked_row(bound, *row), data, bytes.size(), same_model);
  else
    bound.stream.restore(data, bytes.size(), same_model);
}

void reset(BoundStream& bound, const std::optional<std::size_t>& row) {
  const StreamLease lease(bound);
  if (row)
    bound.stream.reset(checked_row(bound, *row));
  else
    bound.stream.reset();
}

std::string described_rows(const BoundStream& bound) {
  const std::size_t rows = bound.stream.rows();
  return std::to_string(rows) + (rows == 1 ? " row" : " rows");
}

std::string describe_stream(const BoundStream& bound) {
  return "Stream(" + bound.name() + ", " + described_rows(bound) + ", window " + std::to_string(bound.stream.window()) +
         ", " + bound.stream.mode() + ", " + std::to_string(bound.stream.ticks()) + " ticks)";
}

std::string stream_as_html(const BoundStream& bound) {
  const Stream& stream = bound.stream;
  std::size_t ready = 0;
  for (std::size_t row = 0; row < stream.rows(); ++row) ready += stream.ready(row) ? 1 : 0;
  py::dict values;
  values["rows"] = stream.rows();
  values["windows full"] = ready;
  values["window"] = std::to_string(stream.window()) + " time steps of " + std::to_string(stream.features());
  values["mode"] = std::string(stream.mode()) + ": " + stream.mode_reason();
  values["ticks"] = stream.ticks();
  values["steps ahead"] = stream.mixture() ? stream.mixture()->options().horizon : 1;
  return html_of("Stream of " + bound.name(), values);
}

/// A method that says something of one row.
template <class Value>
auto of_row(Value (Stream::*method)(std::size_t) const noexcept) {
  return
      [method](const BoundStream& bound, std::size_t row) { return (bound.stream.*method)(checked_row(bound, row)); };
}

}  // namespace

void bind_stream(py::module_& module) {
  py::class_<Expert>(module, "Expert", "One of a mixture's forecasts.")
      .def_readonly("name", &Expert::name, R"("model", "last", "ewma_0.5", ...)")
      .def_readonly("weight", &Expert::weight, "Its share of the answers.")
      .def_readonly("error", &Expert::error, "Its recent mean absolute error, Mbit/s; None before any.")
      .def("__repr__", [](const Expert& expert) {
        std::ostringstream text;
        text << "Expert(" << expert.name << ", weight " << expert.weight << ")";
        return text.str();
      });
  py::class_<BoundStream>(module, "Stream",
                          R"(A sliding window, or many of one model that tick together: one row each.

A sample comes in at every tick, and the forecast of the window that ends with it goes out. A push answers after one
time step of work (mode "incremental"), with exactly the forecast of the full window; advance does the rest. A tick
without a sample holds the last one; after more than most_held of them in a row the window is dropped, and forecasts
come back when it is full again. Made by Engine.stream. Used by one thread at a time.)")
      .def("push", &push, py::arg("samples"), py::arg("present") = py::none(), py::arg("deadline_ms") = py::none(),
           R"(One tick. With more than one row it is one batch, and releases the GIL.

Args:
    samples: (features,) in physical units for one row, (rows, features) for more; or a frame with
        a row for each, for one row also a mapping or a labelled Series, read by name; None: no sample came in this tick.
    present: (rows,) booleans, False where a row has no sample in this tick (it is not read); None: all have.
    deadline_ms: a push that takes longer is counted as late in Engine.stats.
Returns:
    One row: its Answer, None until the window is full. More: Answers, NaN and "none" where the window is not full.
Raises:
    ValueError: another shape, or a value that is not finite or not in its unit; it was no tick then.)")
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
      .def(
          "prepare",
          [](BoundStream& bound) {
            const StreamLease lease(bound);
            bound.stream.prepare();
          },
          "Brings weights, code and the stream's memory into the caches, to be called shortly before the next push: "
          "after "
          "a pause of ten milliseconds that takes 0.2 to 0.6 of the time then. Changes no answer and no statistics.")
      .def("reset", &reset, py::arg("row") = py::none(), "Empties the window of one row, or of all.")
      .def(
          "snapshot", &stream_snapshot, py::arg("row") = py::none(),
          R"(The windows and what was learnt, as bytes, with the hash of the model: what restore takes, on any machine of this
byte order. Of one row: the snapshot of a stream of one row.)")
      .def("restore", &restore_stream, py::arg("snapshot"), py::arg("same_model") = true, py::arg("row") = py::none(),
           R"(Goes on where the snapshot was taken.

Args:
    same_model: refuse the snapshot of another model file; False carries the windows over to a new model.
    row: the one that goes on; the snapshot is of one row. None: all.
Raises:
    ValueError: damaged, of another shape, or of another model; nothing has changed then.)")
      .def("push_many", &push_many, py::arg("samples"), py::arg("present") = py::none(),
           R"(Many ticks in one call; releases the GIL.

Args:
    samples: (ticks, features) in physical units, or a frame with a row for each tick, read by name; with more than one
        row (ticks, rows, features).
    present: (ticks,) or (ticks, rows) booleans, False where no sample came; None: all came.
Returns:
    A dict of arrays, NaN where the window is not full or nothing is known: next (ticks, 5), horizon and peak
    (ticks, horizon, 5), each with mbps, p10, p50, p90, reserve last; source (ticks,), an index of source_names. With more
    than one row all are (ticks, rows, ...).
Raises:
    ValueError: another shape, or a value that is not finite or not in its unit; the ticks before it have been taken then.)")
      .def(
          "horizon",
          [](BoundStream& bound, std::size_t steps, std::size_t row) { return look_ahead(bound, steps, row, false); },
          py::arg("steps"), py::arg("row") = 0,
          R"(The value `steps` time steps ahead, after a push; None until the window is full.

Raises:
    ValueError: steps outside 1..horizon, or a stream without a mixture.)")
      .def(
          "peak",
          [](BoundStream& bound, std::size_t steps, std::size_t row) { return look_ahead(bound, steps, row, true); },
          py::arg("steps"), py::arg("row") = 0,
          "The highest of the next `steps` values: what an allocation for that long has to hold. As horizon.")
      .def(
          "experts", &experts, py::arg("row") = 0,
          R"(The mixture's experts for one step ahead: name, weight (they sum to 1), error (recent mean absolute error).

Raises:
    ValueError: a stream without a mixture.)")
      .def(
          "exceeded",
          [](const BoundStream& bound, std::size_t row) {
            const double share = checked_mixture(bound).exceeded(checked_row(bound, row));
            return std::isnan(share) ? std::nullopt : std::optional(share);
          },
          py::arg("row") = 0, "Share of the outcomes that lay above the P90 answered before; None before any.")
      .def(
          "forget",
          [](BoundStream& bound, std::size_t row) {
            const StreamLease lease(bound);
            bound.stream.forget(checked_row(bound, row));
          },
          py::arg("row") = 0, "Empties a row's window and what was learnt of its link.")
      .def("__len__", [](const BoundStream& bound) { return bound.stream.rows(); })
      .def("__repr__", &describe_stream)
      .def("_repr_html_", &stream_as_html)
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
         double plausible_margin, const std::string& stand_in, double stand_in_weight, bool mixture,
         std::size_t horizon, double level) {
        const auto safeguard = safeguard_options(plausible_margin, stand_in, stand_in_weight);
        const Stream::Options options{most_held, safeguard, mixture, {horizon, level}};
        return std::make_unique<BoundStream>(bound, name, options, rows);
      },
      py::arg("name"), py::arg("rows") = 1, py::kw_only(), py::arg("most_held") = defaults.most_held,
      py::arg("plausible_margin") = defaults.safeguard.plausible_margin,
      py::arg("stand_in") = stand_in_name(defaults.safeguard.stand_in),
      py::arg("stand_in_weight") = defaults.safeguard.stand_in_weight, py::arg("mixture") = defaults.mixture,
      py::arg("horizon") = defaults.outlook.horizon, py::arg("level") = defaults.outlook.level,
      R"(Sliding windows of a forecaster: push a sample at every tick, get the forecast.

Args:
    name: a profile ("internet"), a service group ("streaming") or a model name.
    rows: links that tick together, as one batch.
    most_held: ticks in a row for which a missing sample is held.
    plausible_margin, stand_in, stand_in_weight: as in forecaster_pool.
    mixture: answer with the model, naive rules and online regressions together, each row's weighted by how well each
        has done on its link, and with a band; False: the model alone.
    horizon: steps ahead that the mixture forecasts, 1 to 10. A row takes some 100 kB with 10, 10 kB with 1.
    level: of Answer.reserve: the share of outcomes that it is to hold.
Raises:
    ValueError: an unknown name, or an option out of range.)");
}

}  // namespace linkcast::bindings
