// What the binding files share: array checks, views on native memory, and the guard of the one-thread contract.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cxxabi.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/answer.h"
#include "engine/engine.h"
#include "engine/forecaster_pool.h"
#include "engine/model.h"
#include "engine/safeguard.h"

namespace linkcast::bindings {

namespace py = pybind11;

/// take(), which waits for the GIL. CPython before 3.14 ends a daemon thread that asks for it while Python ends: by
/// unwinding, which would run destructors of Python objects without the GIL, or meet one that may not throw and end the
/// process. Such a thread stays here until the process has ended, as 3.14 has it.
template <class Take>
auto take_gil(Take take) noexcept {
  try {
    return take();
  } catch (abi::__forced_unwind&) {
    for (;;) pause();
  }
}

/// Without the GIL for as long as it lives, so that other threads of Python run.
class WithoutGil {
 public:
  WithoutGil() : state_(PyEval_SaveThread()) {}
  ~WithoutGil() {
    take_gil([this] { PyEval_RestoreThread(state_); });
  }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* state_;
};

/// Tells the Python logger "linkcast". @param level  "debug", "info" or "warning"
void log(const char* level, const std::string& text);

/// Says what runs a model, and why; a warning where the native kernels were wanted and declined.
void log_opened(const std::string& name, const Model& model);

/// Logs when the model stops answering, and when it answers again; not each answer between.
class CauseLog {
 public:
  /// To be called with the GIL.
  void note(const std::string& name, Source source, Cause cause) {
    if (cause != last_) changed(name, source, cause);
  }

 private:
  void changed(const std::string& name, Source source, Cause cause);

  Cause last_ = Cause::none;
};

/// A small HTML table, as notebooks show in place of a repr.
std::string html_of(const std::string& title, const py::dict& values);

/// A model and the flag that keeps two Python threads from running it at once: invoke releases the GIL.
struct BoundModel {
  std::shared_ptr<Model> model;
  std::string file;  // absolute, so that another process finds it; "" for a model out of memory
  std::atomic<bool> busy{false};
  std::size_t part_rows = 64;  // rows that run_in_parts runs at once: as many as take a tenth of a second or so
};

struct BoundPool;

struct BoundEngine {
  std::shared_ptr<Engine> engine;
  std::vector<std::shared_ptr<BoundModel>> models;  // as the metadata's models
  std::shared_ptr<BoundPool> pool;                  // that forecast and forecast_many use
  MetadataTexts texts;                              // what was checked, for Python to parse
};

/// Holds a model, or what else has such a flag, for one call. @throws std::runtime_error when another thread is using
/// it
class Lease {
 public:
  explicit Lease(BoundModel& bound) : Lease(bound.busy, "this model") {}
  Lease(std::atomic<bool>& busy, const std::string& what) : busy_(busy) {
    if (busy_.exchange(true, std::memory_order_acquire))
      throw std::runtime_error(what + " is in use by another thread; give each thread a Model or Engine of its own");
  }
  ~Lease() { busy_.store(false, std::memory_order_release); }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

 private:
  std::atomic<bool>& busy_;
};

/// Without the GIL, so that other threads of Python run; Ctrl-C comes through between two parts of a long call.
///
/// Calls run(first, rows) on a leased model until `count` rows are done. How many rows a part has is found by doubling,
/// until one takes long enough, and kept for the next call. To be called with the GIL.
/// @throws py::error_already_set  KeyboardInterrupt, or what else a signal's handler raises
template <class Run>
void run_in_parts(BoundModel& bound, std::size_t count, Run run) {
  constexpr std::chrono::milliseconds kLongEnough{50};
  constexpr std::size_t kMostRows = 65536;  // also bounds the memory of a batch
  for (std::size_t first = 0; first < count;) {
    const std::size_t own = bound.model->own_batch();
    const std::size_t rows = std::min((bound.part_rows + own - 1) / own * own, count - first);
    const auto start = std::chrono::steady_clock::now();
    {
      const WithoutGil release;
      run(first, rows);
    }
    first += rows;
    if (first == count) return;
    const auto took = std::chrono::steady_clock::now() - start;
    if (took < kLongEnough) bound.part_rows = std::min(2 * bound.part_rows, kMostRows);
    if (took > 4 * kLongEnough) bound.part_rows = std::max<std::size_t>(bound.part_rows / 2, 1);
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  }
}

/// The bytes of a path-like object, a NUL among them as well: who opens it says that none may stand there.
/// @throws py::error_already_set  TypeError
std::string path_bytes(const py::object& path);

/// The answers of one model's rows in one call.
struct Answers {
  std::vector<Answer> rows;
  Source source = Source::none;  // the last resort that was needed for any row
  Cause cause = Cause::none;     // why the first row that the model did not answer was not answered by it
  std::uint64_t latency_ns = 0;
};

/// A dict's key. @param what  the dict  @throws py::type_error  no str
std::string key_text(const py::handle& key, const std::string& what);

/// @throws std::invalid_argument  not above 0
Deadline deadline_in(const std::optional<double>& deadline_ms);

std::string shape_text(const std::vector<py::ssize_t>& shape);

/// Rows of numbers: float32 and float64 are taken as they are, integers and what else holds real numbers become
/// float64.
struct Rows {
  py::array array;    // C-contiguous, float32 or float64
  std::size_t count;  // rows; 1 when a single one came
  bool single;        // came without the batch dimension
  bool is_float32;
};

/// The one place where what comes from Python becomes numbers. A frame (pandas, polars, pyarrow), a mapping or a
/// labelled Series is read by name, in the order of the features; a plain array by position. Masked, complex and
/// structured arrays, strings and Python objects are refused.
/// @param row       the shape of one row
/// @param what      "window", "state": how an error calls it
/// @param features  the last dimension's; null: they have no names, everything is read by position
/// @throws std::invalid_argument  "window: expected (10, 4) or (batch, 10, 4) finite floats, got (9, 4)"
Rows as_rows(const py::object& values, const std::vector<int>& row, const std::string& what,
             const std::vector<Feature>* features = nullptr);

/// The same for exactly one row. @throws std::invalid_argument  "sample: expected (4,) finite floats, got (5,)"
Rows as_row(const py::object& values, const std::vector<int>& row, const std::string& what,
            const std::vector<Feature>* features = nullptr);

/// Whether all values of rows from as_rows() are in bounds. @throws UnitError
void check_rows(const ModelSpec& spec, const Rows& rows);

/// A writable NumPy view that keeps the memory alive.
py::array_t<float> view(const std::shared_ptr<float[]>& memory, std::vector<py::ssize_t> shape);

/// (batch, row...)
std::vector<py::ssize_t> with_batch(std::size_t batch, const std::vector<int>& row);

/// The `second_core` of Python: None, "any" or a CPU's number, as SecondCore::from() takes it.
std::string second_core_text(const py::object& second_core);

/// @param kernels  by name; absent: those that measure best
Model::Options model_options(const std::string& backend, int threads, const std::string& precision,
                             const std::optional<std::string>& kernels, const std::string& second_core,
                             std::uint64_t helper_spin_us);

/// Numbers of any shape as float64, with the checks of rows. @throws std::invalid_argument  no plain numbers
py::array_t<double, py::array::c_style> as_numbers(const py::object& values, const std::string& what);

/// Whether each of `count` samples came. @throws std::invalid_argument  no booleans, or another shape
py::array_t<bool, py::array::c_style> as_flags(const py::object& flags, py::ssize_t count, const std::string& what);

void bind_answer(py::module_& module);
void bind_scaler(py::module_& module);
void bind_model(py::module_& module);
void bind_engine(py::module_& module);
void bind_stream(py::module_& module);           // after the engine, which gets a method
void bind_forecaster_pool(py::module_& module);  // as above
void bind_controller(py::module_& module);       // as above
void bind_profile_forecaster(py::module_& module);
void bind_route(py::module_& module);
void bind_compression(py::module_& module);

/// Makes what a call with arguments of the wrong number, name or type is told: "rows: expected a whole number, got 'a'
/// (str)". To be called when all has been bound.
void explain_refused_arguments(const py::module_& module);

/// A clock's time, or now of the monotonic clock. @throws std::invalid_argument  below 0, or not finite
std::uint64_t nanoseconds(const std::optional<double>& now_s);

/// Options of a safeguard from Python's keywords. @throws std::invalid_argument  an unknown stand_in
Safeguard::Options safeguard_options(double plausible_margin, const std::string& stand_in, double stand_in_weight);
const char* stand_in_name(Safeguard::StandIn stand_in) noexcept;

std::shared_ptr<BoundPool> make_pool(const BoundEngine& bound, const ForecasterPool::Options& options);

/// What judges a model's forecasts in a pool.
const Forecaster& forecaster_of(const BoundPool& bound, std::size_t model);

/// The index of a model that forecasts: a profile's or group's forecaster, or a forecaster or fallback by its own name.
std::size_t find_with_target(const BoundEngine& bound, const std::string& name);

/// The fallback model that serves the same group as a forecaster, or nullptr.
std::shared_ptr<BoundModel> fallback_of(const BoundEngine& bound, std::size_t forecaster);

}  // namespace linkcast::bindings
