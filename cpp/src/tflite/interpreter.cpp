#include "tflite/interpreter.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/aligned.h"
#include "base/error.h"
#include "base/fork.h"
#include "base/room.h"
#include "base/sha256.h"
#include "base/signals.h"
#include "recognise/model_bytes.h"

namespace linkcast::tflite {
namespace {

// Some of the runtime's allocations end the process where they fail, so that what it may take with a file is asked for
// before: four interpreters at once at most, each with the file's weights packed, and what each holds however small the
// model is. All of the bundled models together take 6.4 MB while they are loaded beside those in use.
constexpr std::size_t kRuntimeRoom = std::size_t{4} << 20;  // bytes
constexpr std::size_t kRuntimeRoomPerByte = 4;              // of the file

std::vector<int> shape_of(const Api& api, const Tensor* tensor) {
  std::vector<int> shape(static_cast<std::size_t>(api.TensorNumDims(tensor)));
  for (std::size_t d = 0; d < shape.size(); ++d) shape[d] = api.TensorDim(tensor, static_cast<std::int32_t>(d));
  return shape;
}

}  // namespace

ModelFile::ModelFile(std::shared_ptr<const Runtime> runtime, const std::string& path, const std::string& sha256,
                     const Limits& limits)
    : ModelFile(std::move(runtime), read_model_bytes(path, limits.file_bytes), path, sha256, limits) {}

ModelFile::ModelFile(std::shared_ptr<const Runtime> runtime, std::vector<std::byte> bytes, const std::string& path,
                     const std::string& sha256, const Limits& limits)
    : runtime_(std::move(runtime)), path_(path), bytes_(std::move(bytes)) {
  check_model_bytes(path, bytes_, limits.file_bytes);
  if (!sha256.empty()) {
    const std::string hash = linkcast::sha256(bytes_.data(), bytes_.size());
    if (hash != sha256) throw LoadError(path + ": expected the SHA-256 " + sha256 + " of its manifest, got " + hash);
  }
  verified_ = verify(path, bytes_.data(), bytes_.size(), limits.graph);
  require_room(kRuntimeRoom + kRuntimeRoomPerByte * bytes_.size());
  model_ = runtime_->api().ModelCreateWithErrorReporter(bytes_.data(), bytes_.size(), &ErrorText::report, &errors_);
  if (!model_) throw LoadError(path + ": not a valid .tflite model (truncated or damaged?)" + errors_.take());
}

ModelFile::~ModelFile() { runtime_->api().ModelDelete(model_); }

namespace {

using OptionsHandle = std::unique_ptr<InterpreterOptions, void (*)(InterpreterOptions*)>;

OptionsHandle make_options(const Api& api, ErrorText* errors) {
  OptionsHandle handle(api.InterpreterOptionsCreate(), api.InterpreterOptionsDelete);
  api.InterpreterOptionsSetErrorReporter(handle.get(), &ErrorText::report, errors);
  return handle;
}

}  // namespace

Interpreter::Interpreter(std::shared_ptr<const ModelFile> file, const Options& options)
    : file_(std::move(file)),
      api_(file_->runtime().api()),
      options_(options),
      generation_(fork_generation()),
      inspector_(std::make_unique<Inspector>(file_->runtime())) {
  const SignalsBlocked blocked;  // of the runtime's threads
  try {
    create();
    if (options.batch > 0) resize_batch(options.batch);
    if (api_.InterpreterAllocateTensors(interpreter_) != kOk) refuse("the tensors can't be allocated");
    stateful_ = api_.InterpreterGetVariableTensorCount(interpreter_) > 0;
    place_tensors();
  } catch (...) {
    if (interpreter_) api_.InterpreterDelete(interpreter_);
    if (xnnpack_) api_.XNNPackDelegateDelete(xnnpack_);
    throw;
  }
}

Interpreter::~Interpreter() {
  if (threads_lost()) {
    static_cast<void>(inspector_.release());  // stays with the interpreter that it is in
    return;
  }
  api_.InterpreterDelete(interpreter_);
  if (xnnpack_) api_.XNNPackDelegateDelete(xnnpack_);
}

void Interpreter::refuse(const std::string& what) { throw LoadError(file_->path() + ": " + what + errors_.take()); }

/// Whether the runtime has threads that fork() has not brought along. A graph that a delegate of ours runs needs none.
bool Interpreter::threads_lost() const noexcept {
  return generation_ != fork_generation() && options_.threads > 1 && options_.delegates.empty();
}

/// To delete the old interpreter would be to wait for its threads: it is left as it is.
void Interpreter::remake_in_child() {
  const std::size_t batch = inputs_.size() == 1 ? static_cast<std::size_t>(inputs_[0].shape[0]) : 0;
  interpreter_ = nullptr;
  xnnpack_ = nullptr;
  static_cast<void>(inspector_.release());
  inspector_ = std::make_unique<Inspector>(file_->runtime());
  create();
  if (batch > 0) resize_batch(batch);
  if (api_.InterpreterAllocateTensors(interpreter_) != kOk) refuse("the tensors can't be allocated");
  place_tensors();
  generation_ = fork_generation();  // last: what fails is tried again
}

void Interpreter::lay_out(const ModelFile& file) {
  const Api& api = file.runtime().api();
  ErrorText errors;
  const OptionsHandle options = make_options(api, &errors);
  const std::unique_ptr<InterpreterHandle, void (*)(InterpreterHandle*)> interpreter(
      api.InterpreterCreate(file.handle(), options.get()), api.InterpreterDelete);
  if (!interpreter) throw LoadError(file.path() + ": TensorFlow Lite can't run this model" + errors.take());
  if (api.InterpreterAllocateTensors(interpreter.get()) != kOk)
    throw LoadError(file.path() + ": the tensors can't be allocated" + errors.take());
}

void Interpreter::create() {
  const bool delegates = file_->runtime().has_delegates();
  const OptionsHandle handle = make_options(api_, &errors_);
  api_.InterpreterOptionsSetNumThreads(handle.get(), options_.threads);
  if (delegates) api_.InterpreterOptionsAddDelegate(handle.get(), inspector_->handle());
  for (auto* delegate : options_.delegates) api_.InterpreterOptionsAddDelegate(handle.get(), delegate);
  if (options_.xnnpack && delegates && file_->as_declared()) {
    auto xnnpack = api_.XNNPackDelegateOptionsDefault();
    xnnpack.num_threads = options_.threads;
    xnnpack_ = api_.XNNPackDelegateCreate(&xnnpack);
    if (!xnnpack_) refuse("the XNNPACK delegate can't be created");
    api_.InterpreterOptionsAddDelegate(handle.get(), xnnpack_);
  }
  interpreter_ = api_.InterpreterCreate(file_->handle(), handle.get());
  if (!interpreter_) refuse("TensorFlow Lite can't run this model");
  check_tensors();
}

Tensor* Interpreter::tensor_of(const EdgeTensor& input) const {
  return api_.InterpreterGetInputTensor(interpreter_, static_cast<std::int32_t>(&input - inputs_.data()));
}

const Tensor* Interpreter::result_of(const EdgeTensor& output) const {
  return api_.InterpreterGetOutputTensor(interpreter_, static_cast<std::int32_t>(&output - outputs_.data()));
}

void Interpreter::check_tensors() {
  const auto inputs = static_cast<std::size_t>(api_.InterpreterGetInputTensorCount(interpreter_));
  const auto outputs = static_cast<std::size_t>(api_.InterpreterGetOutputTensorCount(interpreter_));
  const auto& input_names = file_->input_names();
  const auto& output_names = file_->output_names();
  if (inputs < 1 || outputs < 1 || inputs != input_names.size() || outputs != output_names.size())
    refuse("expected a model with 1 to 64 inputs and outputs, got " + std::to_string(inputs) + " and " +
           std::to_string(outputs));
  inputs_.resize(inputs);  // what is there when the interpreter is made anew stays
  outputs_.resize(outputs);
  for (std::size_t n = 0; n < inputs; ++n) {
    inputs_[n].name = input_names[n];
    inputs_[n].index = api_.InterpreterInputTensorIndices(interpreter_)[n];
    check_format(inputs_[n], tensor_of(inputs_[n]), true);
    inputs_[n].format = edge_format(api_, tensor_of(inputs_[n]));
    if (api_.TensorNumDims(tensor_of(inputs_[n])) < 1 && inputs == 1)
      refuse("expected an input of (batch, ...), got a scalar");
  }
  for (std::size_t n = 0; n < outputs; ++n) {
    outputs_[n].name = output_names[n];
    outputs_[n].index = api_.InterpreterOutputTensorIndices(interpreter_)[n];
    outputs_[n].copied = nullptr;
    check_format(outputs_[n], result_of(outputs_[n]), false);
    outputs_[n].format = edge_format(api_, result_of(outputs_[n]));
  }
}

void Interpreter::check_format(const EdgeTensor& edge, const Tensor* tensor, bool input) {
  if (has_edge_format(api_.TensorType(tensor), input)) return;
  refuse(std::string("expected an ") + (input ? "input" : "output") +
         " of float32, or quantised as int8, uint8 or int16, got " + api_.TypeGetName(api_.TensorType(tensor)) +
         " as \"" + edge.name + "\"");
}

void Interpreter::resize_batch(std::size_t batch) {
  auto shape = shape_of(api_, api_.InterpreterGetInputTensor(interpreter_, 0));
  if (shape[0] == static_cast<int>(batch)) return;
  shape[0] = static_cast<int>(batch);
  if (api_.InterpreterResizeInputTensor(interpreter_, 0, shape.data(), static_cast<std::int32_t>(shape.size())) != kOk)
    refuse("the input can't be resized to a batch of " + std::to_string(batch));
}

void Interpreter::resize(std::size_t batch) {
  if (threads_lost()) remake_in_child();
  EdgeTensor& input = inputs_[0];
  EdgeTensor& output = outputs_[0];
  const auto before = static_cast<std::size_t>(input.shape[0]);
  if (before == batch) return;
  // Memory that can't be had is found out before anything has changed.
  const std::size_t inputs = input.size / before * batch;
  const std::size_t outputs = output.size / before * batch;
  auto from = inputs > input.capacity ? aligned_floats(inputs) : input.memory;
  auto to = outputs > output.capacity && !output.copied ? aligned_floats(outputs) : output.memory;
  resize_batch(batch);
  input.capacity = from == input.memory ? input.capacity : inputs;
  output.capacity = to == output.memory ? output.capacity : outputs;
  input.memory = std::move(from);
  output.memory = std::move(to);
  // Memory of ours has to be large enough before the runtime lays the tensors out, so both grow with the batch first.
  const bool placed = place_input(input, inputs) && (output.copied || place(output, outputs));
  if (!placed || api_.InterpreterAllocateTensors(interpreter_) != kOk)
    refuse("the tensors can't be allocated for a batch of " + std::to_string(batch));
  place_tensors();
}

/// Whole numbers stand in the runtime's memory, and what the caller writes in ours.
bool Interpreter::place_input(EdgeTensor& input, std::size_t floats) {
  if (!input.format.quantised()) return place(input, floats);
  if (floats > input.capacity) {
    input.memory = aligned_floats(floats);
    input.capacity = floats;
  }
  return true;
}

bool Interpreter::place(EdgeTensor& edge, std::size_t floats) {
  if (floats > edge.capacity) {
    edge.memory = aligned_floats(floats);
    edge.capacity = floats;
  }
  const std::size_t bytes = round_up(floats * sizeof(float), alignment);  // as the runtime asks of custom allocations
  const CustomAllocation allocation{edge.memory.get(), bytes};
  return api_.InterpreterSetCustomAllocationForTensor(interpreter_, edge.index, &allocation, 0) == kOk;
}

/// Whether its tensor is an input, or an output before it.
bool Interpreter::shares_tensor(std::size_t output) const {
  const auto same = [&](const EdgeTensor& edge) { return edge.index == outputs_[output].index; };
  return std::any_of(inputs_.begin(), inputs_.end(), same) ||
         std::any_of(outputs_.begin(), outputs_.begin() + static_cast<std::ptrdiff_t>(output), same);
}

void Interpreter::place_tensors() {
  for (EdgeTensor& input : inputs_) {
    input.size = api_.TensorByteSize(tensor_of(input)) / input.format.bytes();
    if (input.size == 0) refuse("expected an input with a known shape, got one without elements");
    if (!place_input(input, input.size)) refuse("the input can't be placed");
  }
  // A dynamic output (a WHILE loop's) has no size before the first invoke and stays in the runtime's memory.
  std::vector<bool> placed(outputs_.size());
  for (std::size_t n = 0; n < outputs_.size(); ++n) {
    outputs_[n].size = api_.TensorByteSize(result_of(outputs_[n])) / outputs_[n].format.bytes();
    placed[n] = outputs_[n].size > 0 && !outputs_[n].format.quantised() && !shares_tensor(n) &&
                place(outputs_[n], outputs_[n].size);
  }
  errors_.take();  // a refused output is no failure
  if (api_.InterpreterAllocateTensors(interpreter_) != kOk) refuse("the tensors can't be allocated");

  for (EdgeTensor& input : inputs_) input.shape = shape_of(api_, tensor_of(input));
  if (std::find(placed.begin(), placed.end(), false) != placed.end() &&
      (api_.InterpreterResetVariableTensors(interpreter_) != kOk || api_.InterpreterInvoke(interpreter_) != kOk))
    refuse("the first invoke failed");
  for (std::size_t n = 0; n < outputs_.size(); ++n) {
    EdgeTensor& output = outputs_[n];
    if (!placed[n]) {
      output.copied = result_of(output);
      output.size = api_.TensorByteSize(output.copied) / output.format.bytes();
      output.memory = aligned_floats(output.size);
      output.capacity = output.size;
    }
    output.shape = shape_of(api_, result_of(output));
  }
}

void Interpreter::write_input(const EdgeTensor& input) {
  const std::size_t written = quantise(input.memory.get(), input.size, input.format, api_.TensorData(tensor_of(input)));
  if (written == input.size) return;
  char got[32];
  std::snprintf(got, sizeof got, "%.9g", static_cast<double>(input.memory.get()[written]));
  throw InvokeError(file_->path() + ": " + (inputs_.size() == 1 ? "input" : input.name) + ": expected " +
                    input.format.expected() + ", got " + (std::isnan(input.memory.get()[written]) ? "NaN" : got) +
                    " at " + std::to_string(written));
}

void Interpreter::read_output(const EdgeTensor& output) {
  if (api_.TensorByteSize(output.copied) != output.size * output.format.bytes())
    throw InvokeError(file_->path() + ": the output's size changed between invokes");
  if (output.format.quantised())
    dequantise(api_.TensorData(output.copied), output.size, output.format, output.memory.get());
  else
    std::memcpy(output.memory.get(), api_.TensorData(output.copied), output.size * sizeof(float));
}

void Interpreter::invoke() {
  if (threads_lost()) remake_in_child();
  for (const EdgeTensor& input : inputs_)
    if (input.format.quantised()) write_input(input);
  Status status = stateful_ ? api_.InterpreterResetVariableTensors(interpreter_) : kOk;
  if (status == kOk) status = api_.InterpreterInvoke(interpreter_);
  if (status != kOk)
    throw InvokeError(file_->path() + ": invoke failed (" + status_name(status) + ")" + errors_.take());
  for (const EdgeTensor& output : outputs_)
    if (output.copied) read_output(output);
}

}  // namespace linkcast::tflite
