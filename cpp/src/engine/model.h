// One .tflite model and its interpreters: shapes, memory, one window at a time or a batch of any size.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/choice.h"
#include "kernels/isa.h"
#include "tflite/delegate.h"
#include "tflite/graph_reader.h"
#include "tflite/interpreter.h"

namespace linkcast {

enum class Backend { automatic, native, tflite };

/// "auto", "native" or "tflite". @throws std::invalid_argument naming these
Backend backend_from_name(const std::string& name);
const char* backend_name(Backend backend) noexcept;

/// "float32", "bfloat16" or "int8". @throws std::invalid_argument naming these
Precision precision_from_name(const std::string& name);
const char* precision_name(Precision precision) noexcept;

/// Not thread-safe: one thread at a time per object.
class Model {
 public:
  /// What a file may cost; LoadError (threads: std::invalid_argument) names the limit that was met.
  struct Limits {
    std::uint64_t file_bytes = std::uint64_t{256} << 20;
    std::uint64_t tensor_bytes = std::uint64_t{128} << 20;  ///< of all that the graph computes at its own batch
    int threads = 64;
    /// Also bounds the work of one run: 1e8 multiplications for each second. Absent: LINKCAST_LOAD_SECONDS, or else 10.
    std::optional<double> load_seconds;
  };

  struct Options {
    Backend backend = Backend::automatic;
    int threads = 1;                           ///< TFLite's own kernels only
    std::string tflite_library;                ///< "" finds it: see tflite::Runtime::open
    std::string sha256;                        ///< what the file has to hash to; "" does not check
    Precision precision = Precision::float32;  ///< of the native weights, where it gains: see kernels
    std::string
        kernels;  ///< forces native kernels by name ("bf16_avx512"); "": LINKCAST_KERNELS, or those that measure
                  ///< best on this CPU
    SecondCore second_core;     ///< for one window on the native kernels, where it gains: see second_core()
    std::vector<float> golden;  ///< windows, (any number, row_inputs), that the proof of the native kernels starts with
    Limits limits;
  };

  /// Loads, allocates every tensor and runs once. Backend::automatic takes the native kernels when they run the whole
  /// graph and give what TensorFlow Lite's own kernels give (proof.h), else those; backend_reason() tells which and
  /// why.
  /// @throws LoadError              the file or the runtime, by name, and what is wrong; with Backend::native, what
  ///                                keeps the native kernels from it; a reduced precision that fails the proof
  /// @throws std::invalid_argument  threads < 1 or above their limit; kernels or a second core for TensorFlow Lite's
  ///                                backend; LINKCAST_ISA or LINKCAST_KERNELS names what this
  ///                                machine does not have; kernels of another precision
  Model(const std::string& path, const Options& options) : Model(path, nullptr, options) {}
  /// The same of a model that is in memory, with the same checks. @param name  stands for the file's in errors
  Model(std::vector<std::byte> bytes, const std::string& name, const Options& options) : Model(name, &bytes, options) {}
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
  ~Model();

  const std::string& path() const noexcept { return file_->path(); }
  const Options& options() const noexcept { return options_; }
  const tflite::ModelFile& file() const noexcept { return *file_; }

  /// Every input and output by name, in the file's order. invoke() reads and writes the memory of all of them.
  const std::vector<tflite::EdgeTensor>& inputs() const noexcept { return interpreter_->inputs(); }
  const std::vector<tflite::EdgeTensor>& outputs() const noexcept { return interpreter_->outputs(); }
  /// The one of this name. @throws std::invalid_argument  there is none; the text lists what there is
  const tflite::EdgeTensor& input(const std::string& name) const;
  const tflite::EdgeTensor& output(const std::string& name) const;
  /// Whether there is one input and one output: what follows down to input_format() is of the first of each, and batches
  /// are for models with no more.
  bool single() const noexcept { return inputs().size() == 1 && outputs().size() == 1; }

  const std::vector<int>& input_shape() const noexcept { return interpreter_->input_shape(); }    ///< (batch, ...)
  const std::vector<int>& output_shape() const noexcept { return interpreter_->output_shape(); }  ///< (batch, ...)

  /// One window and one answer: the shapes without the batch. A model whose output has another leading dimension than
  /// its input (time-major, say) has no batch dimension: a window is then the whole input.
  const std::vector<int>& window_shape() const noexcept { return window_shape_; }
  const std::vector<int>& answer_shape() const noexcept { return answer_shape_; }
  std::size_t row_inputs() const noexcept { return row_inputs_; }    ///< floats of one window
  std::size_t row_outputs() const noexcept { return row_outputs_; }  ///< floats of one answer
  std::size_t own_batch() const noexcept { return own_batch_; }      ///< windows that input() holds

  /// The input tensor's memory, input_shape(), and the output tensor's, output_shape().
  const std::shared_ptr<float[]>& input() const noexcept { return interpreter_->input_memory(); }
  const std::shared_ptr<float[]>& output() const noexcept { return interpreter_->output_memory(); }

  /// Reads the inputs, writes the outputs, from zero LSTM state. A state that the graph takes as an input and gives as an
  /// output is the caller's to carry over. @throws InvokeError
  void invoke() { interpreter_->invoke(); }

  /// Puts back, at its end, what inputs(), outputs() and the first `rows` of the batch memory held at its start: around
  /// what runs the model for nobody's sake. One at a time; the first of a model allocates.
  class Kept {
   public:
    explicit Kept(Model& model, std::size_t rows = 0);
    ~Kept();
    Kept(const Kept&) = delete;
    Kept& operator=(const Kept&) = delete;

   private:
    /// Calls visit(memory, floats) for each piece of memory that is kept.
    template <class Visit>
    void each(Visit visit) const;

    Model& model_;
    std::shared_ptr<float[]> batch_input_;  // null: no batch has come yet, or invokes do not touch its memory
    std::shared_ptr<float[]> batch_output_;
    std::size_t rows_ = 0;  // of the batch memory
  };

  /// Brings weights and code into the caches, shortly before the next invoke(): see ForecasterPool::prepare(). input() and
  /// output() keep their content. The first call allocates. @throws InvokeError
  void prepare();

  static constexpr std::size_t kMostBatch = std::size_t{1} << 24;

  /// Memory for `batch` scaled windows, (batch, window...), to be written before invoke_batch(batch). It grows when a
  /// larger batch comes; memory handed out before lives on for who holds it, but is no longer read.
  /// @throws std::invalid_argument  no window, or more than kMostBatch; not single()
  const std::shared_ptr<float[]>& batch_input(std::size_t batch);

  /// Answers to the windows in batch_input(batch), (batch, answer...). input() and output() keep their content.
  /// @throws InvokeError
  const std::shared_ptr<float[]>& invoke_batch(std::size_t batch);

  /// How the file stores its input and output; input() and output() are float32 in any case, what the whole numbers of a
  /// quantised file stand for.
  const tflite::EdgeFormat& input_format() const noexcept { return interpreter_->input_format(); }
  const tflite::EdgeFormat& output_format() const noexcept { return interpreter_->output_format(); }

  /// "native" or "tflite", and why.
  const char* backend() const noexcept { return native_ ? "native" : "tflite"; }
  const std::string& backend_reason() const noexcept { return backend_reason_; }
  /// The instruction set of the native kernels; "tflite" without them.
  const char* isa() const noexcept;
  /// As it was asked for. Where it does not gain on this CPU, float32 runs in its place: backend_reason() says so.
  Precision precision() const noexcept { return options_.precision; }
  /// The native kernels that run, by class of call where they differ; "" on TensorFlow Lite. What was measured:
  /// network()->choices().
  std::string kernels() const { return native_ ? native_->network()->kernels_name() : std::string(); }
  /// Those of a stream alone; "" on TensorFlow Lite. At a reduced precision they decide a stream's bits.
  const char* step_kernels() const noexcept { return native_ ? native_->network()->step_kernels() : ""; }
  /// Whether one window runs on two cores, with what was measured, or what is in the way; "" when it was not asked for.
  std::string second_core() const;
  /// Largest difference between the native network and TensorFlow Lite seen in the proof, over the golden windows
  /// (without any, over random ones in 0..1); 0 on TensorFlow Lite.
  double proof_error() const noexcept { return proof_error_; }
  /// The network that runs the graph, null on TensorFlow Lite. It is used by invoke() and invoke_batch() too: one
  /// thread at a time.
  const ChosenNetwork* network() const noexcept { return native_ ? native_->network() : nullptr; }
  ChosenNetwork* network() noexcept { return native_ ? native_->network() : nullptr; }

  /// The graph's operators and what runs each.
  std::vector<tflite::OperatorInfo> operators() const { return interpreter_->operators(); }

  /// The runtime's version and the library's path.
  const tflite::Runtime& runtime() const noexcept { return file_->runtime(); }

 private:
  /// @param bytes  moved from; null: those of the file at `path`
  Model(const std::string& path, std::vector<std::byte>* bytes, const Options& options);

  struct Batch;

  /// Where the time that loading may take has run out. @throws LoadError naming the limit
  void check_time() const;
  std::string open_native();
  std::string forced_kernels() const;
  std::string prove_native(tflite::NativeDelegate& delegate, tflite::Interpreter& interpreter);
  tflite::Interpreter::Options interpreter_options(const tflite::NativeDelegate* native) const;
  void read_shapes();
  void prepare_batch(std::size_t batch);
  bool takes_any_batch() const;
  void invoke_in_chunks(std::size_t batch);

  Options options_;
  std::chrono::steady_clock::time_point opened_;
  std::shared_ptr<const tflite::ModelFile> file_;
  std::unique_ptr<tflite::NativeDelegate> native_;    // null on TensorFlow Lite; outlives the interpreter that it is in
  std::unique_ptr<tflite::Interpreter> interpreter_;  // at the model's own batch
  std::size_t own_batch_ = 1;
  std::vector<int> window_shape_;
  std::vector<int> answer_shape_;
  std::size_t row_inputs_ = 0;
  std::size_t row_outputs_ = 0;
  std::unique_ptr<Batch> batch_;  // made when the first batch comes
  std::vector<float> kept_;       // what Kept puts back
  std::string backend_reason_;
  double proof_error_ = 0.0;
};

}  // namespace linkcast
