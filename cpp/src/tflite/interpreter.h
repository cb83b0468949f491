// One TensorFlow Lite interpreter over one model's bytes, its tensors allocated once in memory of ours.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "recognise/verifier.h"
#include "tflite/c_api.h"
#include "tflite/edge.h"
#include "tflite/graph_reader.h"
#include "tflite/runtime.h"

namespace linkcast::tflite {

/// The bytes of a .tflite file, verified before the runtime sees them. Shared by the interpreters that run it.
class ModelFile {
 public:
  struct Limits {
    std::uint64_t file_bytes = std::uint64_t{256} << 20;
    VerifierLimits graph;
  };

  /// @param sha256  what the file has to hash to, or "": the verifier knows a damaged table, not a damaged weight
  /// @throws LoadError  naming the file: missing, not a regular file, over a limit, another hash, or not a model that
  ///                    the runtime can be trusted with
  ModelFile(std::shared_ptr<const Runtime> runtime, const std::string& path, const std::string& sha256 = "")
      : ModelFile(std::move(runtime), path, sha256, Limits()) {}
  ModelFile(std::shared_ptr<const Runtime> runtime, const std::string& path, const std::string& sha256,
            const Limits& limits);
  /// The same of a model that is in memory. @param name  stands for the file's in errors, and is path()
  ModelFile(std::shared_ptr<const Runtime> runtime, std::vector<std::byte> bytes, const std::string& name,
            const std::string& sha256, const Limits& limits);
  ModelFile(const ModelFile&) = delete;
  ModelFile& operator=(const ModelFile&) = delete;
  ~ModelFile();

  const Runtime& runtime() const noexcept { return *runtime_; }
  const Model* handle() const noexcept { return model_; }
  const std::string& path() const noexcept { return path_; }
  const std::vector<std::byte>& bytes() const noexcept { return bytes_; }
  /// Whether every tensor has the shape that the file declares: what XNNPACK plans its memory by.
  bool as_declared() const noexcept { return verified_.as_declared; }
  /// What its inputs and outputs are called, in the file's order.
  const std::vector<std::string>& input_names() const noexcept { return verified_.inputs; }
  const std::vector<std::string>& output_names() const noexcept { return verified_.outputs; }

 private:
  std::shared_ptr<const Runtime> runtime_;
  std::string path_;
  std::vector<std::byte> bytes_;  // the runtime reads weights from here
  VerifiedModel verified_;
  ErrorText errors_;
  Model* model_ = nullptr;
};

/// An input or output, which callers see as float32: where the file's is quantised, whole numbers are made and read at
/// each invoke.
struct EdgeTensor {
  std::string name;
  EdgeFormat format;
  std::vector<int> shape;
  std::size_t size = 0;             ///< floats
  std::shared_ptr<float[]> memory;  ///< shape

  // The interpreter's own.
  int index = -1;                  // in the graph
  std::size_t capacity = 0;        // floats that the memory holds
  const Tensor* copied = nullptr;  // set when an output can't live in our memory: dynamic, quantised, or an input too
};

/// Not thread-safe: one thread at a time. Where the runtime works with threads of its own, a child of fork() has none of
/// them, and would wait for them for ever: its first call makes the interpreter anew, in the same memory.
class Interpreter {
 public:
  struct Options {
    int threads = 1;
    bool xnnpack = true;                     ///< adds the XNNPACK delegate, after `delegates`, to a file that
                                             ///< is ModelFile::as_declared()
    std::vector<OpaqueDelegate*> delegates;  ///< not owned; must outlive the interpreter
    std::size_t batch = 0;                   ///< leading dimension of the only input; 0 keeps the model's own
  };

  /// @throws LoadError  naming the file: unsupported operators, an input or output that neither is nor stands for
  ///                    float32, or a batch the graph can't take; the runtime's own words stand behind it
  Interpreter(std::shared_ptr<const ModelFile> file, const Options& options);
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;
  ~Interpreter();

  /// Runs the graph from zero LSTM state: TFLite keeps variable tensors between invokes, so they are reset first.
  /// @throws InvokeError
  void invoke();

  /// Another leading dimension of the only input. Memory grows where it has to; what was handed out before lives on.
  /// @throws LoadError  the graph can't take it
  void resize(std::size_t batch);

  /// Lays the graph out without any delegate, so that the runtime's own checks come before those that a delegate
  /// leaves out. @throws LoadError  in the runtime's words
  static void lay_out(const ModelFile& file);

  /// The graph's operators and what runs each.
  std::vector<OperatorInfo> operators() const { return inspector_->operators(); }

  /// In the file's order; at least one of each.
  const std::vector<EdgeTensor>& inputs() const noexcept { return inputs_; }
  const std::vector<EdgeTensor>& outputs() const noexcept { return outputs_; }

  // Of the first input and output, for graphs that have no more.
  const EdgeFormat& input_format() const noexcept { return inputs_[0].format; }
  const EdgeFormat& output_format() const noexcept { return outputs_[0].format; }
  const std::vector<int>& input_shape() const noexcept { return inputs_[0].shape; }
  const std::vector<int>& output_shape() const noexcept { return outputs_[0].shape; }
  std::size_t input_size() const noexcept { return inputs_[0].size; }    ///< in floats
  std::size_t output_size() const noexcept { return outputs_[0].size; }  ///< in floats
  float* input() const noexcept { return inputs_[0].memory.get(); }
  const float* output() const noexcept { return outputs_[0].memory.get(); }
  const std::shared_ptr<float[]>& input_memory() const noexcept { return inputs_[0].memory; }
  const std::shared_ptr<float[]>& output_memory() const noexcept { return outputs_[0].memory; }

 private:
  void create();
  bool threads_lost() const noexcept;
  void remake_in_child();
  void resize_batch(std::size_t batch);
  Tensor* tensor_of(const EdgeTensor& input) const;
  const Tensor* result_of(const EdgeTensor& output) const;
  void check_tensors();
  void check_format(const EdgeTensor& edge, const Tensor* tensor, bool input);
  void place_tensors();
  void write_input(const EdgeTensor& input);
  void read_output(const EdgeTensor& output);
  bool place_input(EdgeTensor& input, std::size_t floats);
  bool place(EdgeTensor& edge, std::size_t floats);
  bool shares_tensor(std::size_t output) const;
  [[noreturn]] void refuse(const std::string& what);

  std::shared_ptr<const ModelFile> file_;
  const Api& api_;
  Options options_;
  std::uint32_t generation_;  // fork_generation() of the process that made it
  ErrorText errors_;
  std::unique_ptr<Inspector> inspector_;
  OpaqueDelegate* xnnpack_ = nullptr;  // lives as long as the interpreter that it was applied to
  InterpreterHandle* interpreter_ = nullptr;
  bool stateful_ = true;  // has variable tensors: an LSTM's states
  std::vector<EdgeTensor> inputs_;
  std::vector<EdgeTensor> outputs_;
};

}  // namespace linkcast::tflite
