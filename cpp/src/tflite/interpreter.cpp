#include "tflite/interpreter.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "base/aligned.h"
#include "base/error.h"
#include "base/fork.h"
#include "base/room.h"
#include "base/sha256.h"
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
  as_declared_ = verify(path, bytes_.data(), bytes_.size(), limits.graph);
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
  const auto batch = static_cast<std::size_t>(input_shape_[0]);
  interpreter_ = nullptr;
  xnnpack_ = nullptr;
  copied_output_ = nullptr;
  static_cast<void>(inspector_.release());
  inspector_ = std::make_unique<Inspector>(file_->runtime());
  create();
  resize_batch(batch);
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

void Interpreter::check_tensors() {
  const int inputs = api_.InterpreterGetInputTensorCount(interpreter_);
  const int outputs = api_.InterpreterGetOutputTensorCount(interpreter_);
  if (inputs != 1 || outputs != 1)
    refuse("expected a model with 1 input and 1 output, got " + std::to_string(inputs) + " and " +
           std::to_string(outputs));
  const auto* input = api_.InterpreterGetInputTensor(interpreter_, 0);
  const auto* output = api_.InterpreterGetOutputTensor(interpreter_, 0);
  if (!has_edge_format(api_.TensorType(input)) || !has_edge_format(api_.TensorType(output)))
    refuse(std::string("expected an input and output of float32, or quantised as int8, uint8 or int16, got ") +
           api_.TypeGetName(api_.TensorType(input)) + " and " + api_.TypeGetName(api_.TensorType(output)));
  input_format_ = edge_format(api_, input);
  output_format_ = edge_format(api_, output);
  if (api_.TensorNumDims(input) < 1) refuse("expected an input of (batch, ...), got a scalar");
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
  const auto before = static_cast<std::size_t>(input_shape_[0]);
  if (before == batch) return;
  // Memory that can't be had is found out before anything has changed.
  const std::size_t inputs = input_size_ / before * batch;
  const std::size_t outputs = output_size_ / before * batch;
  auto input = inputs > input_capacity_ ? aligned_floats(inputs) : input_;
  auto output = outputs > output_capacity_ && !copied_output_ ? aligned_floats(outputs) : output_;
  resize_batch(batch);
  input_capacity_ = input == input_ ? input_capacity_ : inputs;
  output_capacity_ = output == output_ ? output_capacity_ : outputs;
  input_ = std::move(input);
  output_ = std::move(output);
  // Memory of ours has to be large enough before the runtime lays the tensors out, so both grow with the batch first.
  const bool placed =
      place_input(inputs) &&
      (copied_output_ || place(*api_.InterpreterOutputTensorIndices(interpreter_), outputs, output_, output_capacity_));
  if (!placed || api_.InterpreterAllocateTensors(interpreter_) != kOk)
    refuse("the tensors can't be allocated for a batch of " + std::to_string(batch));
  place_tensors();
}

/// Whole numbers stand in the runtime's memory, and what the caller writes in ours.
bool Interpreter::place_input(std::size_t floats) {
  if (!input_format_.quantised())
    return place(*api_.InterpreterInputTensorIndices(interpreter_), floats, input_, input_capacity_);
  if (floats > input_capacity_) {
    input_ = aligned_floats(floats);
    input_capacity_ = floats;
  }
  return true;
}

bool Interpreter::place(int index, std::size_t floats, std::shared_ptr<float[]>& memory, std::size_t& capacity) {
  if (floats > capacity) {
    memory = aligned_floats(floats);
    capacity = floats;
  }
  const std::size_t bytes = round_up(floats * sizeof(float), alignment);  // as the runtime asks of custom allocations
  const CustomAllocation allocation{memory.get(), bytes};
  return api_.InterpreterSetCustomAllocationForTensor(interpreter_, index, &allocation, 0) == kOk;
}

void Interpreter::place_tensors() {
  const auto* input = api_.InterpreterGetInputTensor(interpreter_, 0);
  const auto* output = api_.InterpreterGetOutputTensor(interpreter_, 0);
  input_size_ = api_.TensorByteSize(input) / input_format_.bytes();
  output_size_ = api_.TensorByteSize(output) / output_format_.bytes();
  if (input_size_ == 0) refuse("expected an input with a known shape, got one without elements");
  if (!place_input(input_size_)) refuse("the input can't be placed");
  // A dynamic output (a WHILE loop's) has no size before the first invoke and stays in the runtime's memory.
  const bool placed =
      output_size_ > 0 && !output_format_.quantised() &&
      *api_.InterpreterOutputTensorIndices(interpreter_) != *api_.InterpreterInputTensorIndices(interpreter_) &&
      place(*api_.InterpreterOutputTensorIndices(interpreter_), output_size_, output_, output_capacity_);
  errors_.take();  // a refused output is no failure
  if (api_.InterpreterAllocateTensors(interpreter_) != kOk) refuse("the tensors can't be allocated");

  input_shape_ = shape_of(api_, api_.InterpreterGetInputTensor(interpreter_, 0));
  if (!placed) {
    if (api_.InterpreterResetVariableTensors(interpreter_) != kOk || api_.InterpreterInvoke(interpreter_) != kOk)
      refuse("the first invoke failed");
    copied_output_ = api_.InterpreterGetOutputTensor(interpreter_, 0);
    output_size_ = api_.TensorByteSize(copied_output_) / output_format_.bytes();
    output_ = aligned_floats(output_size_);
    output_capacity_ = output_size_;
  }
  output_shape_ = shape_of(api_, api_.InterpreterGetOutputTensor(interpreter_, 0));
}

void Interpreter::write_input() {
  auto* tensor = api_.InterpreterGetInputTensor(interpreter_, 0);
  const std::size_t written = quantise(input_.get(), input_size_, input_format_, api_.TensorData(tensor));
  if (written < input_size_)
    throw InvokeError(file_->path() + ": input: expected numbers, which " + input_format_.text() +
                      " stands for, got NaN at " + std::to_string(written));
}

void Interpreter::invoke() {
  if (threads_lost()) remake_in_child();
  if (input_format_.quantised()) write_input();
  Status status = stateful_ ? api_.InterpreterResetVariableTensors(interpreter_) : kOk;
  if (status == kOk) status = api_.InterpreterInvoke(interpreter_);
  if (status != kOk)
    throw InvokeError(file_->path() + ": invoke failed (" + status_name(status) + ")" + errors_.take());
  if (!copied_output_) return;
  if (api_.TensorByteSize(copied_output_) != output_size_ * output_format_.bytes())
    throw InvokeError(file_->path() + ": the output's size changed between invokes");
  if (output_format_.quantised())
    dequantise(api_.TensorData(copied_output_), output_size_, output_format_, output_.get());
  else
    std::memcpy(output_.get(), api_.TensorData(copied_output_), output_size_ * sizeof(float));
}

}  // namespace linkcast::tflite
