// One .tflite model and its interpreters: shapes, memory, one window at a time or a batch of any size.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "tflite/graph.h"
#include "tflite/interpreter.h"

namespace linkcast {

enum class Backend { automatic, native, tflite };

/// "auto", "native" or "tflite". @throws std::invalid_argument naming these
Backend backend_from_name(const std::string& name);

/// Not thread-safe: one thread at a time per object.
class Model {
 public:
  struct Options {
    Backend backend = Backend::automatic;
    int threads = 1;             ///< TFLite's own kernels only
    std::string tflite_library;  ///< "" finds it: see tflite::Runtime::open
    std::string sha256;          ///< what the file has to hash to; "" does not check
  };

  /// Loads, allocates every tensor and runs once.
  /// @throws LoadError              the file or the runtime, by name, and what is wrong
  /// @throws std::invalid_argument  threads < 1
  Model(const std::string& path, const Options& options);
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
  ~Model();

  const std::string& path() const noexcept { return file_->path(); }
  const tflite::ModelFile& file() const noexcept { return *file_; }
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

  /// Reads input(), writes output(), from zero LSTM state. @throws InvokeError
  void invoke() { interpreter_->invoke(); }

  /// Memory for `batch` scaled windows, (batch, window...), to be written before invoke_batch(batch). It grows when a larger
  /// batch comes; memory handed out before lives on for who holds it, but is no longer read.
  const std::shared_ptr<float[]>& batch_input(std::size_t batch);

  /// Answers to the windows in batch_input(batch), (batch, answer...). input() and output() keep their content.
  /// @throws InvokeError
  const std::shared_ptr<float[]>& invoke_batch(std::size_t batch);

  const char* backend() const noexcept { return "tflite"; }
  const std::string& backend_reason() const noexcept { return backend_reason_; }
  const char* isa() const noexcept;

  /// The graph's operators and what runs each; builds an interpreter for it, so not for the hot path.
  std::vector<tflite::OperatorInfo> operators() const;

  /// The runtime's version and the library's path.
  const tflite::Runtime& runtime() const noexcept { return file_->runtime(); }

 private:
  struct Batch;

  tflite::Interpreter::Options interpreter_options() const;
  void prepare_batch(std::size_t batch);
  bool takes_any_batch() const;
  void invoke_in_chunks(std::size_t batch);

  Options options_;
  std::shared_ptr<const tflite::ModelFile> file_;
  std::unique_ptr<tflite::Interpreter> interpreter_;  // at the model's own batch
  std::size_t own_batch_ = 1;
  std::vector<int> window_shape_;
  std::vector<int> answer_shape_;
  std::size_t row_inputs_ = 0;
  std::size_t row_outputs_ = 0;
  std::unique_ptr<Batch> batch_;  // made when the first batch comes
  std::string backend_reason_;
};

}  // namespace linkcast
