#include "engine/forecaster_pool.h"

#include <pybind11/stl.h>

#include <cmath>
#include <deque>
#include <thread>

#include "bindings.h"

namespace linkcast::bindings {

struct BoundPool {
  BoundPool(const BoundEngine& bound, const ForecasterPool::Options& options)
      : engine(bound.engine), models(bound.models), pool(*engine, options) {
    for (std::size_t k = 0; k < models.size(); ++k) fallbacks.push_back(fallback_of(bound, k));
  }

  std::shared_ptr<Engine> engine;
  std::vector<std::shared_ptr<BoundModel>> models;
  std::vector<std::shared_ptr<BoundModel>> fallbacks;  // as models; nullptr without one
  ForecasterPool pool;
  std::atomic<bool> busy{false};
  std::vector<CauseLog> logs{models.size()};  // as models
};

std::shared_ptr<BoundPool> make_pool(const BoundEngine& bound, const ForecasterPool::Options& options) {
  return std::make_shared<BoundPool>(bound, options);
}

const Forecaster& forecaster_of(const BoundPool& bound, std::size_t model) { return bound.pool.forecaster(model); }

namespace {

/// Windows of one model, checked. @param who  stands before the text of an error
Rows checked_windows(const ModelSpec& spec, const py::object& windows, const std::string& who) {
  try {
    Rows rows =
        as_rows(windows, {spec.input_shape.begin() + 1, spec.input_shape.end()}, spec.row_name(), &spec.features);
    check_rows(spec, rows);
    return rows;
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(who + error.what());
  }
}

ForecastRequest request_of(std::size_t model, const Rows& rows) {
  const void* data = rows.array.data();
  if (rows.is_float32) return {model, static_cast<const float*>(data), rows.count};
  return {model, static_cast<const double*>(data), rows.count};
}

Answers answers_of(const ForecastResult& result, const std::string& who) {
  if (result.status == ForecastStatus::bad_window)
    throw std::invalid_argument(who + "window: expected values that are finite when they are scaled to float32");
  return {{result.answers.begin(), result.answers.end()}, result.source, result.cause, result.latency_ns};
}

/// Holds a pool and the models of a call.
class PoolLease {
 public:
  explicit PoolLease(BoundPool& bound) : bound_(bound), pool_(bound.busy, "this engine or pool") {}

  void hold(std::size_t model) {
    for (const auto& used : {bound_.models[model], bound_.fallbacks[model]}) {
      if (!used || std::find(held_.begin(), held_.end(), used.get()) != held_.end()) continue;
      leases_.emplace_back(*used);
      held_.push_back(used.get());
    }
  }

 private:
  BoundPool& bound_;
  Lease pool_;
  std::deque<Lease> leases_;
  std::vector<const BoundModel*> held_;
};

/// Lets Ctrl-C, or what else a signal's handler raises, end a long call. To be made with the GIL, by the thread that
/// calls; to be asked without it, by any.
class Signals {
 public:
  GoOn go_on() noexcept { return {&Signals::ask, this}; }

  /// @throws py::error_already_set  what a handler has raised; to be called with the GIL
  void raise() const {
    if (raised_.load()) throw py::error_already_set();
  }

 private:
  static constexpr std::uint64_t kEvery_ns = 50'000'000;

  static bool ask(void* context) noexcept {
    auto& self = *static_cast<Signals*>(context);
    if (self.raised_.load(std::memory_order_relaxed)) return false;
    // Python runs handlers on its main thread alone, so the workers need not look.
    if (std::this_thread::get_id() != self.caller_ || monotonic_ns() < self.next_ns_) return true;
    self.next_ns_ = monotonic_ns() + kEvery_ns;
    const PyGILState_STATE before = take_gil(PyGILState_Ensure);
    if (PyErr_CheckSignals() != 0) self.raised_.store(true);  // the error stays with this thread until raise()
    PyGILState_Release(before);
    return !self.raised_.load();
  }

  std::thread::id caller_ = std::this_thread::get_id();
  std::uint64_t next_ns_ = monotonic_ns() + kEvery_ns;  // the caller's alone
  std::atomic<bool> raised_{false};
};

Answers forecast_one(BoundEngine& bound, const std::string& name, const py::object& windows,
                     const std::optional<double>& deadline_ms) {
  const Deadline deadline = deadline_in(deadline_ms);
  const std::size_t model = find_with_target(bound, name);
  const Rows rows = checked_windows(bound.engine->spec(model), windows, "");
  if (rows.count == 0) return {};
  const ForecastRequest request = request_of(model, rows);
  ForecastResult result;
  PoolLease lease(*bound.pool);
  lease.hold(model);
  Signals signals;
  {
    const WithoutGil release;
    bound.pool->pool.forecast({&request, 1}, {&result, 1}, deadline, signals.go_on());
  }
  signals.raise();
  bound.pool->logs[model].note(bound.engine->spec(model).name, result.source, result.cause);
  return answers_of(result, "");
}

/// @param name  as forecast takes it; or an allocator's own
void prepare_forecast(BoundEngine& bound, const std::string& name) {
  const auto& specs = bound.engine->metadata().models;
  const auto named = std::find_if(specs.begin(), specs.end(), [&](const ModelSpec& spec) { return spec.name == name; });
  const std::size_t model = named == specs.end() ? bound.engine->find(name, Role::forecaster)
                                                 : static_cast<std::size_t>(named - specs.begin());
  PoolLease lease(*bound.pool);
  lease.hold(model);
  const WithoutGil release;
  if (bound.engine->spec(model).role == Role::allocator)
    bound.engine->prepare(model);
  else
    bound.pool->pool.prepare(model);
}

py::dict forecast_many(BoundPool& bound, const py::dict& windows, const std::optional<double>& deadline_ms) {
  const Deadline deadline = deadline_in(deadline_ms);
  std::vector<py::object> keys;
  std::deque<Rows> rows;
  std::vector<ForecastRequest> requests;
  PoolLease lease(bound);
  for (const auto& [key, value] : windows) {
    const std::string name = key_text(key, "windows");
    const std::size_t model = bound.engine->find(name, Role::forecaster);
    rows.push_back(checked_windows(bound.engine->spec(model), py::reinterpret_borrow<py::object>(value), name + ": "));
    if (rows.back().count == 0) throw std::invalid_argument(name + ": window: expected at least 1, got 0");
    keys.push_back(py::reinterpret_borrow<py::object>(key));
    requests.push_back(request_of(model, rows.back()));
    lease.hold(model);
  }
  std::vector<ForecastResult> results(requests.size());
  Signals signals;
  {
    const WithoutGil release;
    bound.pool.forecast(requests, results, deadline, signals.go_on());
  }
  signals.raise();
  py::dict answers;
  for (std::size_t k = 0; k < keys.size(); ++k) {
    const std::size_t model = requests[k].model;
    bound.logs[model].note(bound.engine->spec(model).name, results[k].source, results[k].cause);
    answers[keys[k]] = py::cast(answers_of(results[k], py::cast<std::string>(keys[k]) + ": "));
  }
  return answers;
}

py::array_t<bool> plausible(BoundEngine& bound, const std::string& name, const py::object& forecasts) {
  const py::array_t<float, py::array::c_style | py::array::forcecast> mbps(as_numbers(forecasts, "mbps"));
  const Forecaster& forecaster = bound.pool->pool.forecaster(find_with_target(bound, name));
  py::array_t<bool> usable(mbps.size());
  for (py::ssize_t row = 0; row < mbps.size(); ++row)
    usable.mutable_data()[row] = forecaster.judge(mbps.data()[row]) == Cause::none;
  return usable;
}

}  // namespace

void bind_forecaster_pool(py::module_& module) {
  py::class_<BoundPool, std::shared_ptr<BoundPool>>(module, "ForecasterPool",
                                                    R"(Forecasts of several models in one call, each with its own batch.

Made by Engine.forecaster_pool. Used by one thread at a time.)")
      .def("forecast", &forecast_many, py::arg("windows"), py::arg("deadline_ms") = py::none(),
           "As Engine.forecast_many, with the pool's threads and options.")
      .def("__repr__", [](const BoundPool& bound) {
        return "ForecasterPool(" + std::to_string(bound.models.size()) + " models of '" + bound.engine->folder() + "')";
      });
  py::class_<BoundEngine> engine = module.attr("Engine");
  engine
      .def("forecast", &forecast_one, py::arg("name"), py::arg("windows"), py::arg("deadline_ms") = py::none(),
           R"(The next bandwidth of each window, with who gave it. Releases the GIL.

A value that the model does not give in time, or gives as not finite or outside a plausible range (that of the targets
seen in training or up to the group's maximum, widened by half that range at either end), is replaced by the service
group's fallback model's for the step after the window. Without a fallback, the row's last good value of an earlier call
answers, or else it is NaN: row r of a model is taken as the same link or group in each call.

Args:
    name: a profile ("internet"), a service group ("streaming"), or a forecaster's or fallback's own name.
    windows: (batch, T, F) or (T, F) in physical units, oldest step first; (batch, F) or (F,) for a fallback.
    deadline_ms: from the call on; None: none. A native LSTM gives up when it has passed.
Returns:
    Answers, one row for each window.
Raises:
    ValueError: an unknown name, another shape, or a value that is not finite or not in its unit.)")
      .def(
          "prepare", &prepare_forecast, py::arg("name"),
          R"(Brings a model's weights and code into the caches, shortly before the next forecast of one window, or decision.

After a pause of ten milliseconds that takes 0.3 to 0.6 of the time then. No answer and no statistics change. The
first call for a model allocates. Releases the GIL.

Args:
    name: as in forecast; or an allocator's own name ("internet_ddqn").
Raises:
    ValueError: an unknown name.)")
      .def(
          "forecast_many",
          [](BoundEngine& bound, const py::dict& windows, const std::optional<double>& deadline_ms) {
            return forecast_many(*bound.pool, windows, deadline_ms);
          },
          py::arg("windows"), py::arg("deadline_ms") = py::none(),
          R"(forecast for several models in one call, each with its own batch.

Args:
    windows: {group or profile: (batch, T, F) or (T, F)}. What matters most stands first when there is a deadline.
    deadline_ms: from the call on; None: none.
Returns:
    {group or profile: Answers}
Raises:
    ValueError: an unknown name, another shape, no window, or a value that is not finite or not in its unit.)")
      .def("plausible", &plausible, py::arg("name"), py::arg("mbps"),
           "(n,) whether forecast would let a model's raw forecasts (n,) pass: finite, and in the plausible range.");
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
        return make_pool(bound, options);
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
}

}  // namespace linkcast::bindings
