#include <pybind11/pybind11.h>

#include <cstring>
#include <exception>

#include "base/error.h"
#include "base/text.h"
#include "bindings.h"
#include "engine/profile_forecaster.h"

namespace linkcast::bindings {

std::string shape_text(const std::vector<py::ssize_t>& shape) {
  std::string text = "(";
  for (std::size_t d = 0; d < shape.size(); ++d) text += (d ? ", " : "") + std::to_string(shape[d]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

std::string path_bytes(const py::object& path) {
  auto text = py::reinterpret_steal<py::object>(PyOS_FSPath(path.ptr()));
  if (text && PyUnicode_Check(text.ptr()))
    text = py::reinterpret_steal<py::object>(PyUnicode_EncodeFSDefault(text.ptr()));
  if (!text) throw py::error_already_set();
  return py::cast<std::string>(text);
}

std::string key_text(const py::handle& key, const std::string& what) {
  if (!py::isinstance<py::str>(key))
    throw py::type_error(what + ": expected a dict whose keys are names, got the key " + std::string(py::repr(key)));
  return py::cast<std::string>(key);
}

Deadline deadline_in(const std::optional<double>& deadline_ms) {
  if (!deadline_ms) return {};
  if (!(*deadline_ms > 0)) throw std::invalid_argument("deadline_ms: expected above 0, got " + text_of(*deadline_ms));
  return Deadline::in(static_cast<std::uint64_t>(*deadline_ms * 1e6));
}

std::string second_core_text(const py::object& second_core) {
  return second_core.is_none() ? std::string() : py::cast<std::string>(py::str(second_core));
}

Model::Options model_options(const std::string& backend, int threads, const std::string& precision,
                             const std::optional<std::string>& kernels, const std::string& second_core,
                             std::uint64_t helper_spin_us) {
  Model::Options options;
  options.backend = backend_from_name(backend);
  options.threads = threads;
  options.precision = precision_from_name(precision);
  options.kernels = kernels.value_or("");
  options.second_core = SecondCore::from(second_core, helper_spin_us);
  return options;
}

py::array_t<float> view(const std::shared_ptr<float[]>& memory, std::vector<py::ssize_t> shape) {
  auto* kept = new std::shared_ptr<float[]>(memory);  // owned by the capsule
  const py::capsule owner(kept, [](void* p) { delete static_cast<std::shared_ptr<float[]>*>(p); });
  return py::array_t<float>(std::move(shape), memory.get(), owner);
}

std::vector<py::ssize_t> with_batch(std::size_t batch, const std::vector<int>& row) {
  std::vector<py::ssize_t> shape = {static_cast<py::ssize_t>(batch)};
  shape.insert(shape.end(), row.begin(), row.end());
  return shape;
}

/// Makes every use of an object of X.__new__(X), whose __init__ has not run, a TypeError.
///
/// pybind11 would hand such an object's memory, not yet anything, to the function: when it first loads an object that
/// has no C++ value, it asks the type's operator new for one, and for nothing else does it ask. So ours throws.
void refuse_unconstructed(const py::module_& module) {
  for (const auto& [name, value] : py::cast<py::dict>(module.attr("__dict__"))) {
    if (!py::isinstance<py::type>(value)) continue;
    auto* type = py::detail::get_type_info(reinterpret_cast<PyTypeObject*>(value.ptr()));
    if (!type) continue;  // an exception
    type->operator_new = [](std::size_t) -> void* {
      throw py::type_error("expected an object that is ready, got one that __new__ has made and __init__ has not");
    };
  }
}

}  // namespace linkcast::bindings

// pybind11's own PyInit__native waits for the main interpreter's lock, for ever when a sub-interpreter calls it. So it
// gets another name, and the one that Python calls asks first.
#define PyInit__native linkcast_init_native
PYBIND11_MODULE(_native, module) {
  module.doc() = "The compiled part of linkcast: models, scalers, and the engine that holds a bundle of them.";
  pybind11::register_exception<linkcast::LoadError>(module, "LoadError", PyExc_RuntimeError).doc() =
      "A model or metadata file is missing, damaged or wrong; the text names the file and, for metadata, the key.";
  pybind11::register_exception<linkcast::InvokeError>(module, "InvokeError", PyExc_RuntimeError).doc() =
      "The runtime refused an invoke.";
  // Tried before pybind11's own, which would lose the whole text over a file name that is not UTF-8.
  static const pybind11::handle load_error = pybind11::object(module.attr("LoadError")).release();
  pybind11::register_local_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const linkcast::LoadError& error) {
      const auto size = static_cast<Py_ssize_t>(std::strlen(error.what()));
      if (PyObject* text = PyUnicode_DecodeUTF8(error.what(), size, "backslashreplace")) {
        PyErr_SetObject(load_error.ptr(), text);
        Py_DECREF(text);
      }
    }
  });
  module.attr("__version__") = LINKCAST_VERSION;
  module.attr("CELLS_PER_ACTION") = linkcast::Allocation::kCells;
  module.attr("HEADROOM_ACTIONS") = linkcast::Allocation::kHeadroom;
  module.attr("LEAST_TYPICAL_MBPS") = linkcast::kLeastTypicalMbps;
  linkcast::bindings::bind_answer(module);
  linkcast::bindings::bind_scaler(module);
  linkcast::bindings::bind_model(module);
  linkcast::bindings::bind_engine(module);
  linkcast::bindings::bind_stream(module);
  linkcast::bindings::bind_forecaster_pool(module);
  linkcast::bindings::bind_controller(module);
  linkcast::bindings::bind_profile_forecaster(module);
  linkcast::bindings::bind_route(module);
  linkcast::bindings::bind_compression(module);
  linkcast::bindings::refuse_unconstructed(module);
  linkcast::bindings::explain_refused_arguments(module);
}
#undef PyInit__native

extern "C" PYBIND11_EXPORT PyObject* PyInit__native() {
  if (PyInterpreterState_Get() == PyInterpreterState_Main()) return linkcast_init_native();
  PyErr_SetString(PyExc_ImportError,
                  "linkcast can't be loaded in a sub-interpreter: import it in the main one, and use processes where "
                  "several interpreters are wanted");
  return nullptr;
}
