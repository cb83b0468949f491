#include "engine/model.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <stdexcept>

#include "base/aligned.h"
#include "base/environment.h"
#include "base/error.h"
#include "base/names.h"
#include "base/text.h"
#include "engine/proof.h"
#include "recognise/operators.h"

namespace linkcast {
namespace {

constexpr double kWorkPerSecond = 1e8;  // multiplications that TensorFlow Lite's slowest kernels do at least
constexpr double kLoadSeconds = 10.0;   // where nobody says
constexpr double kMostLoadSeconds = 1e6;
constexpr std::size_t kProofBatch = 7;  // odd, so that the batch kernels and their remainders are both met

constexpr const char* kBackendNames[] = {"auto", "native", "tflite"};
constexpr const char* kPrecisionNames[] = {"float32", "bfloat16", "int8"};

/// What loading may take, s. @throws std::invalid_argument  no number, or one out of range
double load_seconds(const std::optional<double>& given) {
  const char* text = given ? nullptr : environment("LINKCAST_LOAD_SECONDS");
  char* end = nullptr;
  const double seconds = text ? std::strtod(text, &end) : given.value_or(kLoadSeconds);
  if (seconds > 0 && seconds <= kMostLoadSeconds && !(text && *end)) return seconds;
  throw std::invalid_argument(
      (text ? "LINKCAST_LOAD_SECONDS: expected a number above 0 and up to 1e6, got \"" + std::string(text) + "\""
            : "load_seconds: expected a number above 0 and up to 1e6, got " + text_of(seconds)));
}

}  // namespace

const char* backend_name(Backend backend) noexcept { return name_of(kBackendNames, backend); }
Backend backend_from_name(const std::string& name) { return from_name<Backend>(kBackendNames, "backend", name); }
const char* precision_name(Precision precision) noexcept { return name_of(kPrecisionNames, precision); }
Precision precision_from_name(const std::string& name) {
  return from_name<Precision>(kPrecisionNames, "precision", name);
}

/// Batches run on an interpreter of their own where the graph takes any batch; otherwise in chunks of the model's own
/// batch through the first interpreter, out of staging memory.
struct Model::Batch {
  std::unique_ptr<tflite::NativeDelegate> native;    // of `interpreter`; null on TensorFlow Lite
  std::unique_ptr<tflite::Interpreter> interpreter;  // nullptr: in chunks
  std::size_t capacity = 0;                          // rows that the staging memory holds
  std::shared_ptr<float[]> input;                    // (capacity, row_inputs)
  std::shared_ptr<float[]> output;                   // (capacity, row_outputs)
  std::vector<float> kept_input;                     // the first interpreter's tensors, put back after the chunks
  std::vector<float> kept_output;
};

Model::Model(const std::string& path, std::vector<std::byte>* bytes, const Options& options)
    : options_(options), opened_(std::chrono::steady_clock::now()) {
  if (options.threads < 1)
    throw std::invalid_argument("threads: expected at least 1, got " + std::to_string(options.threads));
  const Limits& limits = options.limits;
  if (options.threads > limits.threads)
    throw std::invalid_argument("threads: expected at most " + std::to_string(limits.threads) + ", got " +
                                std::to_string(options.threads));
  if (options.backend == Backend::tflite && !options.kernels.empty())
    throw std::invalid_argument("kernels: expected none with backend \"tflite\", got \"" + options.kernels + "\"");
  if (options.backend == Backend::tflite && options.second_core.wanted())
    throw std::invalid_argument("second_core: expected none with backend \"tflite\", got \"" +
                                options.second_core.text() + "\"");
  options_.limits.load_seconds = load_seconds(limits.load_seconds);
  const auto work = static_cast<std::uint64_t>(*options_.limits.load_seconds * kWorkPerSecond);
  const tflite::ModelFile::Limits file_limits{limits.file_bytes, {limits.tensor_bytes, work}};
  auto runtime = tflite::Runtime::open(options.tflite_library);
  file_ = bytes ? std::make_shared<const tflite::ModelFile>(std::move(runtime), std::move(*bytes), path, options.sha256,
                                                            file_limits)
                : std::make_shared<const tflite::ModelFile>(std::move(runtime), path, options.sha256, file_limits);
  tflite::Interpreter::lay_out(*file_);
  backend_reason_ = options.backend == Backend::tflite ? "asked for" : open_native();
  if (options.backend == Backend::native && !native_)
    throw LoadError(path + ": backend \"native\": " + backend_reason_);
  if (options.precision != Precision::float32 && !native_)
    throw LoadError(path + ": precision \"" + precision_name(options.precision) + "\" is the native kernels': " +
                    (options.backend == Backend::tflite ? "backend \"tflite\" was asked for" : backend_reason_));
  if (!native_) interpreter_ = std::make_unique<tflite::Interpreter>(file_, interpreter_options(nullptr));
  read_shapes();
  check_time();
  interpreter_->invoke();
  check_time();
}

Model::~Model() = default;

const char* Model::isa() const noexcept { return native_ ? isa_name(native_->network()->isa()) : "tflite"; }

std::string Model::second_core() const {
  if (!options_.second_core.wanted()) return "";
  return native_ ? native_->network()->second_core() : "one core: TensorFlow Lite's own kernels run";
}

void Model::read_shapes() {
  window_shape_ = input_shape();
  answer_shape_ = output_shape();
  if (single() && !answer_shape_.empty() && answer_shape_[0] == window_shape_[0]) {
    own_batch_ = static_cast<std::size_t>(window_shape_[0]);
    window_shape_.erase(window_shape_.begin());
    answer_shape_.erase(answer_shape_.begin());
  }
  row_inputs_ = interpreter_->input_size() / own_batch_;
  row_outputs_ = interpreter_->output_size() / own_batch_;
}

namespace {

std::size_t floats_of(const std::vector<tflite::EdgeTensor>& edge) noexcept {
  std::size_t floats = 0;
  for (const auto& tensor : edge) floats += tensor.size;
  return floats;
}

/// "x, h, c"
std::string names_of(const std::vector<tflite::EdgeTensor>& edge) {
  std::string names;
  for (const auto& tensor : edge) names += (names.empty() ? "" : ", ") + tensor.name;
  return names;
}

const tflite::EdgeTensor& named(const std::vector<tflite::EdgeTensor>& edge, const char* which,
                                const std::string& name) {
  for (const auto& tensor : edge)
    if (tensor.name == name) return tensor;
  throw std::invalid_argument(std::string(which) + ": expected one of " + names_of(edge) + ", got \"" + name + "\"");
}

}  // namespace

const tflite::EdgeTensor& Model::input(const std::string& name) const { return named(inputs(), "input", name); }
const tflite::EdgeTensor& Model::output(const std::string& name) const { return named(outputs(), "output", name); }

void Model::check_time() const {
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - opened_;
  const double limit = *options_.limits.load_seconds;
  if (spent.count() <= limit) return;
  char text[96];
  std::snprintf(text, sizeof text, "%.1f s, over the limit of %g s (load_seconds, LINKCAST_LOAD_SECONDS)",
                spent.count(), limit);
  throw LoadError(path() + ": loading takes more than " + text);
}

/// Sets native_ and interpreter_ when the native kernels run the graph and pass the proof. Returns the reason, either
/// way.
std::string Model::open_native() {
  if (!file_->runtime().has_delegates())
    return file_->runtime().path() + " was built without delegates: it lacks " +
           file_->runtime().missing_for_delegates();
  const std::string forced = forced_kernels();  // of a wrong name the caller hears, not the delegate
  auto delegate = std::make_unique<tflite::NativeDelegate>(file_->runtime(), default_isa(), options_.precision, forced,
                                                           options_.second_core);
  auto interpreter = std::make_unique<tflite::Interpreter>(file_, interpreter_options(delegate.get()));
  if (!delegate->claimed()) return delegate->reason();
  const std::string failure = prove_native(*delegate, *interpreter);
  if (!failure.empty()) {
    if (options_.precision != Precision::float32) throw LoadError(path() + ": at reduced precision " + failure);
    return failure;
  }
  interpreter_ = std::move(interpreter);
  native_ = std::move(delegate);
  char error[32];
  std::snprintf(error, sizeof error, "%.1e", proof_error_);
  const std::string notice = native_->network()->notice();
  return "the whole graph runs on the " + kernels() + " kernels, within " + error + " of TensorFlow Lite" +
         (notice.empty() ? "" : "; " + notice);
}

/// What the option asks for; or the environment, which speaks to every model of the process: of its kernels those hear
/// it that have the precision.
std::string Model::forced_kernels() const {
  if (!options_.kernels.empty()) return kernels_from_name(options_.kernels, default_isa(), options_.precision).name;
  const char* name = environment("LINKCAST_KERNELS");
  if (!name) return "";
  try {
    const Precision of = precision_of(kernels_from_name(name, default_isa()));
    return of == Precision::float32 || of == options_.precision ? name : "";
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(std::string("LINKCAST_KERNELS: ") + error.what());
  }
}

/// Each table of kernels that runs is proven, by itself. Returns what went wrong, or "" when the proof holds.
std::string Model::prove_native(tflite::NativeDelegate& delegate, tflite::Interpreter& interpreter) {
  auto plain = interpreter_options(nullptr);
  plain.xnnpack = false;
  tflite::Interpreter reference(file_, plain);
  const tflite::NativeDelegate shared(file_->runtime(), delegate);
  std::vector<tflite::Interpreter*> natives{&interpreter};
  std::unique_ptr<tflite::Interpreter> batched;
  const bool steps = delegate.steps();  // a window is then all of the inputs, and there is one batch
  if (!steps) {
    auto options = interpreter_options(&shared);
    options.batch = kProofBatch;
    batched = std::make_unique<tflite::Interpreter>(file_, options);
    natives.push_back(batched.get());
  }
  const auto rows = steps ? 1 : static_cast<std::size_t>(interpreter.input_shape()[0]);
  const std::size_t row_inputs = floats_of(interpreter.inputs()) / rows;
  const std::size_t row_bytes = (row_inputs + floats_of(interpreter.outputs()) / rows) * sizeof(float);
  const std::vector<float> golden = steps ? std::vector<float>() : options_.golden;
  if (ProofWindows::count_of(row_inputs, golden) * row_bytes > options_.limits.tensor_bytes)
    return "the proof's windows and answers take more than the limit of a model's tensors";
  ProofWindows windows(row_inputs, golden);
  if (const auto& spec = *delegate.spec(); spec.mask_value) windows.mask(spec.features, *spec.mask_value);
  ChosenNetwork& network = *delegate.network();
  double error = 0.0;
  std::vector<float> expected;
  const auto tolerance_of = [&](const kernels::Kernels& table) {
    const double tolerance = proof_tolerance(precision_of(table));
    return delegate.quantised_weights() ? std::max(tolerance, rounding_tolerance(*delegate.spec())) : tolerance;
  };
  for (std::size_t k = 0; k < network.networks(); ++k) {
    auto proof = prove(natives, reference, windows, tolerance_of(network.only(k)), [this] { check_time(); });
    if (!proof.holds) return proof.failure;
    error = std::max(error, proof.error);
    expected = std::move(proof.expected);
  }
  network.chosen();
  if (!steps && network.can_step()) {  // as streams and controllers will
    const auto& table = *network.choices()[static_cast<std::size_t>(CallClass::step)].kernels;
    if (delegate.steps_wrong_on_purpose()) expected[0] += 1.0f;
    const auto proof = prove_steps(network, windows, expected, tolerance_of(table), [this] { check_time(); });
    if (!proof.holds) return proof.failure;
    error = std::max(error, proof.error);
  }
  proof_error_ = error;
  return "";
}

tflite::Interpreter::Options Model::interpreter_options(const tflite::NativeDelegate* native) const {
  tflite::Interpreter::Options options;
  options.threads = options_.threads;
  if (native) {
    options.xnnpack = false;  // nothing is left for it
    options.delegates = {native->handle()};
  }
  return options;
}

Model::Kept::Kept(Model& model, std::size_t rows) : model_(model) {
  if (const Batch* batch = model.batch_.get(); batch && !batch->interpreter) {
    batch_input_ = batch->input;
    batch_output_ = batch->output;
    rows_ = std::min(rows, batch->capacity);
  }
  model.kept_.clear();  // keeps its memory
  each(
      [&](const float* memory, std::size_t floats) { model.kept_.insert(model.kept_.end(), memory, memory + floats); });
}

Model::Kept::~Kept() {
  const float* from = model_.kept_.data();
  each([&](float* memory, std::size_t floats) {
    std::copy_n(from, floats, memory);
    from += floats;
  });
}

template <class Visit>
void Model::Kept::each(Visit visit) const {
  for (const auto* edge : {&model_.inputs(), &model_.outputs()})
    for (const auto& tensor : *edge) visit(tensor.memory.get(), tensor.size);
  if (rows_ == 0) return;
  visit(batch_input_.get(), rows_ * model_.row_inputs_);
  visit(batch_output_.get(), rows_ * model_.row_outputs_);
}

void Model::prepare() {
  const Kept kept(*this);
  interpreter_->invoke();
}

const std::shared_ptr<float[]>& Model::batch_input(std::size_t batch) {
  prepare_batch(batch);
  return batch_->interpreter ? batch_->interpreter->input_memory() : batch_->input;
}

const std::shared_ptr<float[]>& Model::invoke_batch(std::size_t batch) {
  prepare_batch(batch);
  if (!batch_->interpreter) {
    invoke_in_chunks(batch);
    return batch_->output;
  }
  batch_->interpreter->invoke();
  return batch_->interpreter->output_memory();
}

void Model::prepare_batch(std::size_t batch) {
  if (!single())
    throw std::invalid_argument("batch: expected a model with one input and one output, got the inputs " +
                                names_of(inputs()) + " and the outputs " + names_of(outputs()) +
                                ", which are written and read by name");
  if (batch == 0 || batch > kMostBatch)
    throw std::invalid_argument("batch: expected 1 to " + std::to_string(kMostBatch) + ", got " +
                                std::to_string(batch));
  if (!batch_) {
    batch_ = std::make_unique<Batch>();
    if (takes_any_batch()) {
      if (native_) batch_->native = std::make_unique<tflite::NativeDelegate>(file_->runtime(), *native_);
      auto options = interpreter_options(batch_->native.get());
      options.batch = batch;
      batch_->interpreter = std::make_unique<tflite::Interpreter>(file_, options);
    } else {
      batch_->kept_input.resize(interpreter_->input_size());
      batch_->kept_output.resize(interpreter_->output_size());
    }
  }
  if (batch_->interpreter) {
    batch_->interpreter->resize(batch);
  } else if (batch > batch_->capacity) {
    batch_->input = aligned_floats(batch * row_inputs_);
    batch_->output = aligned_floats(batch * row_outputs_);
    batch_->capacity = batch;
  }
}

bool Model::takes_any_batch() const {
  // Operators that treat each row by itself. Others may refuse another batch, or worse, take it and go astray (an
  // LSTM's state tensors do not resize); and since constants can be shaped for one row, three windows at once have to
  // give what they give one by one.
  constexpr std::size_t kRows = 3;
  if (native_) return true;
  if (own_batch_ != 1 || window_shape_.size() == input_shape().size()) return false;
  try {
    for (const tflite::OperatorInfo& info : operators()) {
      const auto* rule = tflite::operator_rule(info.code);
      if (!rule || !rule->row_wise) return false;
    }
    auto options = interpreter_options(nullptr);
    options.batch = kRows;
    tflite::Interpreter batched(file_, options);
    if (batched.output_size() != kRows * row_outputs_) return false;
    tflite::Interpreter single(file_, interpreter_options(nullptr));
    std::mt19937 random(1);
    std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
    std::generate_n(batched.input(), batched.input_size(), [&] { return uniform(random); });
    batched.invoke();
    for (std::size_t row = 0; row < kRows; ++row) {
      std::copy_n(batched.input() + row * row_inputs_, row_inputs_, single.input());
      single.invoke();
      for (std::size_t k = 0; k < row_outputs_; ++k) {
        const float expected = single.output()[k];
        if (!(std::fabs(batched.output()[row * row_outputs_ + k] - expected) <= 1e-5f * (1 + std::fabs(expected))))
          return false;
      }
    }
    return true;
  } catch (const std::runtime_error&) {  // LoadError, InvokeError: the graph does not resize
    return false;
  }
}

void Model::invoke_in_chunks(std::size_t batch) {
  /// Puts the first interpreter's tensors back, also when an invoke refuses a chunk.
  struct Kept {
    Batch& batch;
    tflite::Interpreter& interpreter;
    ~Kept() {
      std::copy(batch.kept_input.begin(), batch.kept_input.end(), interpreter.input());
      std::copy(batch.kept_output.begin(), batch.kept_output.end(), interpreter.output_memory().get());
    }
  };
  std::copy_n(interpreter_->input(), batch_->kept_input.size(), batch_->kept_input.begin());
  std::copy_n(interpreter_->output(), batch_->kept_output.size(), batch_->kept_output.begin());
  const Kept kept{*batch_, *interpreter_};
  for (std::size_t row = 0; row < batch; row += own_batch_) {
    const std::size_t rows = std::min(own_batch_, batch - row);  // the rows behind the last ones are not read
    std::copy_n(batch_->input.get() + row * row_inputs_, rows * row_inputs_, interpreter_->input());
    interpreter_->invoke();
    std::copy_n(interpreter_->output(), rows * row_outputs_, batch_->output.get() + row * row_outputs_);
  }
}

}  // namespace linkcast
