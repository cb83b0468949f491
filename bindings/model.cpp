#include "engine/model.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "bindings.h"

namespace linkcast::bindings {
namespace {

constexpr const char* kInMemory = "<bytes>";  // what errors call a model that has no file

/// The content of a bytes-like object. @throws LoadError  over the limit of a file, before anything is copied
std::vector<std::byte> content_of(const py::object& model, std::uint64_t most) {
  const py::buffer_info buffer = py::reinterpret_borrow<py::buffer>(model).request();
  const auto size = static_cast<std::uint64_t>(buffer.size) * static_cast<std::uint64_t>(buffer.itemsize);
  if (PyBuffer_IsContiguous(buffer.view(), 'C') == 0)
    throw std::invalid_argument("model: expected bytes that stand together, got a view with gaps");
  if (size > most)
    throw LoadError(std::string(kInMemory) + ": expected a file of at most " + std::to_string(most) + " bytes, got " +
                    std::to_string(size));
  const auto* first = static_cast<const std::byte*>(buffer.ptr);
  return {first, first + size};
}

/// @param model  a path, or the content of a file in a bytes-like object
std::shared_ptr<BoundModel> open(const py::object& model, const Model::Options& options) {
  auto bound = std::make_shared<BoundModel>();
  if (PyObject_CheckBuffer(model.ptr()) != 0) {
    std::vector<std::byte> bytes = content_of(model, options.limits.file_bytes);
    const WithoutGil release;
    bound->model = std::make_shared<Model>(std::move(bytes), kInMemory, options);
  } else {
    const std::string path = path_bytes(model);
    const WithoutGil release;
    bound->model = std::make_shared<Model>(path, options);
    bound->file = std::filesystem::absolute(path).string();
  }
  log_opened(bound->model->path(), *bound->model);
  return bound;
}

std::shared_ptr<BoundModel> open_model(const py::object& model, const std::string& backend, int threads,
                                       const std::string& precision, const std::optional<std::string>& kernels,
                                       const py::object& second_core, std::uint64_t helper_spin_us,
                                       std::uint64_t max_file_bytes, std::uint64_t max_tensor_bytes, int max_threads,
                                       const std::optional<double>& load_seconds) {
  Model::Options options =
      model_options(backend, threads, precision, kernels, second_core_text(second_core), helper_spin_us);
  options.limits = {max_file_bytes, max_tensor_bytes, max_threads, load_seconds};
  return open(model, options);
}

py::bytes bytes_of(const void* data, std::size_t size) { return {static_cast<const char*>(data), size}; }

/// (path, or None; content, or None; backend, threads, precision; limits; golden windows; kernels; second core, and its
/// spin_us): what opens the same model in another process. A model that has a file is read from it anew.
py::tuple model_state(const BoundModel& bound) {
  const Model& model = *bound.model;
  const Model::Options& options = model.options();
  const Model::Limits& limits = options.limits;
  const auto& content = model.file().bytes();
  const bool has_file = !bound.file.empty();
  return py::make_tuple(has_file ? py::object(bytes_of(bound.file.data(), bound.file.size())) : py::none(),
                        has_file ? py::none() : py::object(bytes_of(content.data(), content.size())),
                        backend_name(options.backend), options.threads, precision_name(options.precision),
                        py::make_tuple(limits.file_bytes, limits.tensor_bytes, limits.threads, limits.load_seconds),
                        bytes_of(options.golden.data(), options.golden.size() * sizeof(float)), options.kernels,
                        options.second_core.text(), options.second_core.spin_us);
}

std::shared_ptr<BoundModel> open_state(const py::tuple& state) {
  if (state.size() != 10) throw std::invalid_argument("Model: expected what pickling a Model has made");
  Model::Options options =
      model_options(state[2].cast<std::string>(), state[3].cast<int>(), state[4].cast<std::string>(),
                    state[7].cast<std::string>(), state[8].cast<std::string>(), state[9].cast<std::uint64_t>());
  const auto limits = state[5].cast<py::tuple>();
  if (limits.size() != 4) throw std::invalid_argument("Model: expected what pickling a Model has made");
  options.limits = {limits[0].cast<std::uint64_t>(), limits[1].cast<std::uint64_t>(), limits[2].cast<int>(),
                    limits[3].cast<std::optional<double>>()};
  const auto golden = state[6].cast<std::string>();
  options.golden.resize(golden.size() / sizeof(float));
  std::memcpy(options.golden.data(), golden.data(), options.golden.size() * sizeof(float));
  if (state[0].is_none()) return open(state[1], options);
  return open(py::module_::import("os").attr("fsdecode")(state[0]), options);
}

/// "(1, 4)", or where there are several "x (1, 4), h (1, 5)".
std::string edge_text(const std::vector<tflite::EdgeTensor>& edge) {
  std::string text;
  for (const auto& tensor : edge)
    text += (text.empty() ? "" : ", ") + (edge.size() > 1 ? tensor.name + " " : "") +
            shape_text({tensor.shape.begin(), tensor.shape.end()});
  return text;
}

std::string describe_model(const BoundModel& bound) {
  const Model& model = *bound.model;
  return "Model(" + std::string(py::repr(py::str(model.path()))) + ", " + edge_text(model.inputs()) + " -> " +
         edge_text(model.outputs()) + ", " +
         (model.network() ? std::string("native ") + model.isa() : model.backend()) + ")";
}

std::string model_as_html(const BoundModel& bound) {
  const Model& model = *bound.model;
  py::dict values;
  values["input"] = edge_text(model.inputs());
  values["output"] = edge_text(model.outputs());
  values["backend"] = model.network() ? std::string("native ") + model.isa() : model.backend();
  values["why"] = model.backend_reason();
  values["precision"] = precision_name(model.precision());
  values["kernels"] = model.kernels();
  if (!model.second_core().empty()) values["second core"] = model.second_core();
  values["bytes"] = model.file().bytes().size();
  return html_of("Model " + model.path(), values);
}

py::tuple shape_tuple(const std::vector<int>& shape) { return py::tuple(py::cast(shape)); }

py::array_t<float> view_of(const tflite::EdgeTensor& tensor) {
  return view(tensor.memory, {tensor.shape.begin(), tensor.shape.end()});
}

py::array_t<float> input(const BoundModel& bound) { return view_of(bound.model->inputs().front()); }

py::array_t<float> output(const BoundModel& bound) { return view_of(bound.model->outputs().front()); }

py::dict views(const std::vector<tflite::EdgeTensor>& edge) {
  py::dict by_name;
  for (const auto& tensor : edge) by_name[py::str(tensor.name)] = view_of(tensor);
  return by_name;
}

/// All are looked at before anything is written: a call that fails leaves the inputs as they were.
py::dict run_by_name(BoundModel& bound, const py::object& tensors) {
  const Lease lease(bound);
  Model& model = *bound.model;
  std::vector<std::pair<const tflite::EdgeTensor*, py::array_t<float>>> written;
  for (const auto& [key, value] : py::dict(tensors)) {
    const std::string name = key_text(key, "inputs");
    const tflite::EdgeTensor& input = model.input(name);
    auto array = py::array_t<float, py::array::c_style | py::array::forcecast>::ensure(value);
    if (!array) throw std::invalid_argument(name + ": expected numbers");
    if (!std::equal(input.shape.begin(), input.shape.end(), array.shape(), array.shape() + array.ndim()))
      throw std::invalid_argument(name + ": expected " + shape_text({input.shape.begin(), input.shape.end()}) +
                                  ", got " + shape_text({array.shape(), array.shape() + array.ndim()}));
    written.emplace_back(&input, array);
  }
  for (const auto& [input, array] : written) std::copy_n(array.data(), input->size, input->memory.get());
  {
    const WithoutGil release;
    model.invoke();
  }
  py::dict results;
  for (const auto& output : model.outputs()) {
    py::array_t<float> result(std::vector<py::ssize_t>(output.shape.begin(), output.shape.end()));
    std::copy_n(output.memory.get(), output.size, result.mutable_data());
    results[py::str(output.name)] = result;
  }
  return results;
}

void invoke(BoundModel& bound) {
  const Lease lease(bound);
  const WithoutGil release;
  bound.model->invoke();
}

void prepare_model(BoundModel& bound) {
  const Lease lease(bound);
  const WithoutGil release;
  bound.model->prepare();
}

std::size_t checked_batch(py::ssize_t batch) {
  if (batch < 1) throw std::invalid_argument("batch: expected at least 1, got " + std::to_string(batch));
  return static_cast<std::size_t>(batch);
}

py::array_t<float> batch_input(BoundModel& bound, py::ssize_t batch) {
  const Lease lease(bound);
  const auto rows = checked_batch(batch);
  return view(bound.model->batch_input(rows), with_batch(rows, bound.model->window_shape()));
}

py::array_t<float> invoke_batch(BoundModel& bound, py::ssize_t batch) {
  const Lease lease(bound);
  const auto rows = checked_batch(batch);
  const std::shared_ptr<float[]>* memory = nullptr;
  {
    const WithoutGil release;
    memory = &bound.model->invoke_batch(rows);
  }
  return view(*memory, with_batch(rows, bound.model->answer_shape()));
}

py::array_t<float> predict(BoundModel& bound, const py::object& x) {
  const Lease lease(bound);
  Model& model = *bound.model;
  if (!model.single())
    throw std::invalid_argument("predict: expected a model with one input and one output, got " +
                                edge_text(model.inputs()) + " -> " + edge_text(model.outputs()) +
                                ": run() takes and gives them by name");
  const Rows rows = as_rows(x, model.window_shape(), "x");
  py::array_t<float> answers(with_batch(rows.count, model.answer_shape()));
  if (rows.count == 0) return answers;
  float* out = answers.mutable_data();
  const void* in = rows.array.data();
  run_in_parts(bound, rows.count, [&](std::size_t first, std::size_t count) {
    const std::size_t skipped = first * model.row_inputs();
    const std::size_t floats = count * model.row_inputs();
    float* batch = model.batch_input(count).get();
    if (rows.is_float32)
      std::copy_n(static_cast<const float*>(in) + skipped, floats, batch);
    else
      std::transform(static_cast<const double*>(in) + skipped, static_cast<const double*>(in) + skipped + floats, batch,
                     [](double v) { return static_cast<float>(v); });
    std::copy_n(model.invoke_batch(count).get(), count * model.row_outputs(), out + first * model.row_outputs());
  });
  return answers;
}

py::dict details(const BoundModel& bound) {
  const Model& model = *bound.model;
  py::dict details;
  details["path"] = model.path();
  details["file_bytes"] = model.file().bytes().size();
  const auto tell = [&](const std::vector<tflite::EdgeTensor>& edge, const std::string& which) {
    for (const auto& tensor : edge)
      if (tensor.format.quantised())
        details[py::str(which + "_quantisation" + (edge.size() > 1 ? " " + tensor.name : ""))] = tensor.format.text();
  };
  tell(model.inputs(), "input");
  tell(model.outputs(), "output");
  details["tflite_version"] = model.runtime().version();
  details["tflite_library"] = model.runtime().path();
  return details;
}

py::dict kernel_choices(const BoundModel& bound) {
  py::dict by_class;
  if (!bound.model->network()) return by_class;
  const KernelChoices& choices = bound.model->network()->choices();
  for (std::size_t k = 0; k < choices.size(); ++k) {
    if (!choices[k].kernels) continue;
    py::dict us;
    for (const auto& time : choices[k].times) us[time.kernels->name] = time.us;
    py::dict choice;
    choice["runs"] = choices[k].kernels->name;
    choice["us"] = us;
    by_class[call_class_name(static_cast<CallClass>(k))] = choice;
  }
  return by_class;
}

py::list operators(BoundModel& bound) {
  const Lease lease(bound);
  py::list list;
  for (const tflite::OperatorInfo& info : bound.model->operators()) {
    py::dict dict;
    dict["index"] = info.index;
    dict["name"] = info.name;
    dict["inputs"] = info.input_shapes;
    dict["outputs"] = info.output_shapes;
    dict["output_type"] = info.output_type;
    dict["constant_bytes"] = info.constant_bytes;
    dict["runs_on"] = info.runs_on;
    list.append(dict);
  }
  return list;
}

}  // namespace

void bind_model(py::module_& module) {
  py::class_<BoundModel, std::shared_ptr<BoundModel>>(
      module, "Model",
      R"(One .tflite model, its inputs and outputs float32 here whatever the file stores.

Every invoke starts from zero LSTM state; one that the graph takes as an input and gives as an output is carried over by the
caller. One thread at a time: a second one gets a RuntimeError.)")
      .def(py::init(&open_model), py::arg("path"), py::arg("backend") = "auto", py::arg("threads") = 1,
           py::arg("precision") = "float32", py::kw_only(), py::arg("kernels") = py::none(),
           py::arg("second_core") = py::none(), py::arg("helper_spin_us") = SecondCore().spin_us,
           py::arg("max_file_bytes") = Model::Limits().file_bytes,
           py::arg("max_tensor_bytes") = Model::Limits().tensor_bytes, py::arg("max_threads") = Model::Limits().threads,
           py::arg("load_seconds") = py::none(),
           R"(Loads a model and allocates its tensors.

Args:
    path: a .tflite file that TensorFlow Lite runs; or the content of one, as bytes.
    backend: "auto", "native" or "tflite".
    threads: for TensorFlow Lite's own kernels.
    precision: of the native kernels' weights: "float32", "bfloat16" or "int8". What it costs is measured at load
        (proof_error), and past a bound the load refuses. Where it does not gain on this CPU, float32 runs: `kernels`
        and `backend_reason` say so.
    kernels: native kernels by name, such as "bf16_avx512"; None is what LINKCAST_KERNELS names, or else those that
        measure best on this CPU.
    second_core: one window on two cores where that gains, with the same bits: the number of the CPU that a helper thread
        is pinned to, or "any"; None is one core. What came of it: the property of this name.
    helper_spin_us: the helper keeps its CPU busy for so long after a window, 1 to 60000000; a later window finds it
        asleep and runs on one core. Above the time from call to call, then.
    max_file_bytes: of the file.
    max_tensor_bytes: of all tensors that the graph computes, for the batch that it was converted with.
    max_threads: a bound for `threads`.
    load_seconds: that loading may take, above 0 and up to 1e6; 1e8 multiplications of one run are taken for a second.
        None is what LINKCAST_LOAD_SECONDS says, or else 10: more for a large model, or on a slow board.
Raises:
    LoadError: the file is missing, damaged, or nothing that TensorFlow Lite can be trusted with; it is over a limit; it
        has an input or output that neither is nor stands for float32; or it does not run as asked for (backend "native",
        a reduced precision).
    ValueError: an unknown backend or precision, kernels that do not run here or are of another precision, a second core
        that this process may not run on, or a number out of its range.)")
      .def(py::pickle(&model_state, &open_state))
      .def("__repr__", &describe_model)
      .def("_repr_html_", &model_as_html)
      .def_property_readonly(
          "path", [](const BoundModel& b) { return b.model->path(); }, R"("<bytes>" for a model that came as bytes.)")
      .def_property_readonly("input", &input, "Writable float32 view on the (first) input tensor, input_shape.")
      .def_property_readonly("output", &output, "float32 view on the (first) output tensor, output_shape.")
      .def_property_readonly(
          "inputs", [](const BoundModel& b) { return views(b.model->inputs()); },
          R"(Writable float32 views on all input tensors, by name, in the file's order.

The names are those of the file's signature, or else of its tensors.)")
      .def_property_readonly(
          "outputs", [](const BoundModel& b) { return views(b.model->outputs()); },
          "float32 views on all output tensors, by name.")
      .def("invoke", &invoke, "Reads the inputs, writes the outputs, from zero LSTM state. Releases the GIL.")
      .def("run", &run_by_name, py::arg("inputs"),
           R"(Writes the inputs that are given, by name, runs once, and returns a copy of every output, by name.

An input that is not given keeps what stands in it: zeros at first.

Raises:
    ValueError: an unknown name, or another shape.)")
      .def("prepare", &prepare_model,
           R"(Brings weights and code into the caches, shortly before the next call of one window; see `Engine.prepare`.

`input` and `output` keep their content. Releases the GIL.)")
      .def("predict", &predict, py::arg("x"),
           R"((batch, ...) scaled inputs of any batch size, or a single one -> (batch, ...) float32, a new array.

Raises:
    ValueError: another shape.)")
      .def("batch_input", &batch_input, py::arg("batch"),
           R"(Writable float32 view, (batch, ...), on the memory that invoke_batch(batch) reads.

A view for a smaller batch stays valid memory, but is no longer read once a larger one was asked for.)")
      .def("invoke_batch", &invoke_batch, py::arg("batch"),
           "Runs what stands in batch_input(batch). Returns a float32 view, (batch, ...), that the next call "
           "overwrites.")
      .def_property_readonly(
          "input_shape", [](const BoundModel& b) { return shape_tuple(b.model->input_shape()); },
          "(batch, ...) as the model was converted.")
      .def_property_readonly("output_shape", [](const BoundModel& b) { return shape_tuple(b.model->output_shape()); })
      .def_property_readonly(
          "backend", [](const BoundModel& b) { return b.model->backend(); }, R"("native" or "tflite".)")
      .def_property_readonly(
          "backend_reason", [](const BoundModel& b) { return b.model->backend_reason(); },
          "Why this backend runs the model.")
      .def_property_readonly(
          "isa", [](const BoundModel& b) { return b.model->isa(); },
          R"("avx512", "avx2", "neon" or "scalar"; "tflite" when its own kernels run.)")
      .def_property_readonly(
          "precision", [](const BoundModel& b) { return precision_name(b.model->precision()); },
          R"("float32", "bfloat16" or "int8", as it was asked for.)")
      .def_property_readonly(
          "kernels", [](const BoundModel& b) { return b.model->kernels(); },
          R"doc(The native kernels that run: "f32_avx512", or by class of call where they differ, "bf16_avx512_dot (step, window),
f32_avx512 (few, many)"; "" on TensorFlow Lite.)doc")
      .def_property_readonly(
          "step_kernels", [](const BoundModel& b) { return b.model->step_kernels(); },
          R"(Those of a stream: at a reduced precision they decide its bits. "" on TensorFlow Lite.)")
      .def_property_readonly(
          "second_core", [](const BoundModel& b) { return b.model->second_core(); },
          R"(Whether one window runs on two cores, with what was measured at load, or what is in the way: "two cores: a window
takes 15.9 us, and 19.2 us on one"; "" when it was not asked for.)")
      .def(
          "kernel_choices", &kernel_choices,
          R"(Which kernels run, and what was measured: a dict by class of call, "step" (of a stream), "window" (one), "few"
(2 to 7 windows) and "many". Of each, `runs` is the kernels' name and `us` what each candidate took, by name, in
microseconds: a step of one state and of nine; 1, 4 or 16 windows. It is empty where there was nothing to choose.)")
      .def_property_readonly(
          "proof_error", [](const BoundModel& b) { return b.model->proof_error(); },
          "Largest difference from TensorFlow Lite on the golden windows at load; 0 when it runs them.")
      .def("operators", &operators,
           R"(The graph's operators, in order: a dict each, with index, name, inputs and outputs (shapes), output_type,
constant_bytes, and runs_on ("native", "xnnpack" or "tflite").)")
      .def("details", &details,
           "File size, how a quantised input or output is stored, runtime version and library path.");
}

}  // namespace linkcast::bindings
