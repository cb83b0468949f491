#include <pybind11/pybind11.h>

#include "base/error.h"
#include "bindings.h"

namespace linkcast::bindings {

std::string shape_text(const std::vector<py::ssize_t>& shape) {
  std::string text = "(";
  for (std::size_t d = 0; d < shape.size(); ++d) text += (d ? ", " : "") + std::to_string(shape[d]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

Deadline deadline_in(const std::optional<double>& deadline_ms) {
  if (!deadline_ms) return {};
  if (!(*deadline_ms > 0))
    throw std::invalid_argument("deadline_ms: expected above 0, got " + std::to_string(*deadline_ms));
  return Deadline::in(static_cast<std::uint64_t>(*deadline_ms * 1e6));
}

Model::Options model_options(const std::string& backend, int threads, const std::string& precision) {
  Model::Options options;
  options.backend = backend_from_name(backend);
  options.threads = threads;
  options.precision = precision_from_name(precision);
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

}  // namespace linkcast::bindings

PYBIND11_MODULE(_native, module) {
  module.doc() = "The compiled part of linkcast: models, scalers, and the engine that holds a bundle of them.";
  pybind11::register_exception<linkcast::LoadError>(module, "LoadError", PyExc_RuntimeError).doc() =
      "A model or metadata file is missing, damaged or wrong; the text names the file and, for metadata, the key.";
  pybind11::register_exception<linkcast::InvokeError>(module, "InvokeError", PyExc_RuntimeError).doc() =
      "The runtime refused an invoke.";
  module.attr("__version__") = LINKCAST_VERSION;
  module.attr("CELLS_PER_ACTION") = linkcast::Allocation::kCells;
  module.attr("HEADROOM_ACTIONS") = linkcast::Allocation::kHeadroom;
  linkcast::bindings::bind_answer(module);
  linkcast::bindings::bind_scaler(module);
  linkcast::bindings::bind_model(module);
  linkcast::bindings::bind_engine(module);
  linkcast::bindings::bind_stream(module);
  linkcast::bindings::bind_forecaster_pool(module);
  linkcast::bindings::bind_controller(module);
}
