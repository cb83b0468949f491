// A TensorFlow Lite graph in a neutral form, read through the context that the runtime hands to delegates.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "tflite/c_api.h"

namespace linkcast::tflite {

class Runtime;

/// A tensor as the graph declares it. Pointers stay valid as long as the model's bytes.
struct GraphTensor {
  DataType type = 0;
  std::vector<int> shape;
  bool variable = false;                  // keeps its value from one invoke to the next; starts as zeros
  const void* constant = nullptr;         // the data of a constant, row-major; null for what is computed
  std::size_t bytes = 0;                  // of `constant`
  std::vector<float> scales;              // of a quantised tensor: one, or one per slice along `quantized_dimension`
  std::vector<std::int32_t> zero_points;  // as many as scales
  int quantized_dimension = 0;
};

struct GraphNode {
  int index = 0;  // in the subgraph
  int code = 0;   // the builtin code
  std::string name;
  std::vector<int> inputs;   // tensor indices; -1 where an optional input is absent
  std::vector<int> outputs;  // tensor indices; -1 for an output that nobody reads
  const void* options = nullptr;
};

struct Subgraph {
  std::vector<GraphTensor> tensors;
  std::vector<GraphNode> nodes;  // in the order of execution
  std::vector<int> inputs;       // tensor indices
  std::vector<int> outputs;      // tensor indices
};

/// "FULLY_CONNECTED" for 9; a custom operator by its own name; "operator 250" when the code is newer than this list.
std::string operator_name(int builtin_code, const char* custom_name = nullptr);

/// Reads the subgraph behind `context`. Every index in the result lies within its lists.
/// @throws std::runtime_error  the runtime refused an access, or the graph holds an index that is out of range
Subgraph read_subgraph(const Api& api, OpaqueContext* context);

/// Reads subgraph `index` of the model that `context` belongs to (the condition or the body of a WHILE).
/// @throws std::runtime_error  no such subgraph, or as above
Subgraph read_subgraph(const Api& api, OpaqueContext* context, int index);

/// One operator of the primary graph, for people.
struct OperatorInfo {
  int index = 0;
  int code = 0;  // the builtin code
  std::string name;
  std::vector<std::vector<int>> input_shapes;  // of the inputs that are present
  std::vector<std::vector<int>> output_shapes;
  std::string output_type;         // of the first output: "FLOAT32"
  std::size_t constant_bytes = 0;  // weights and other constants among its inputs
  std::string runs_on;             // "tflite", "xnnpack", "native"
};

/// Lists the operators of a graph.
///
/// It is a delegate that claims nothing: add handle() to the interpreter's delegates, before every other one, and ask
/// operators() after the interpreter was created. Must outlive its interpreter. Used by one thread at a time. With a
/// runtime that has no delegates it sees nothing: handle() is null.
class Inspector {
 public:
  /// @throws std::runtime_error  the runtime can't create a delegate
  explicit Inspector(const Runtime& runtime);
  Inspector(const Inspector&) = delete;
  Inspector& operator=(const Inspector&) = delete;
  ~Inspector();

  OpaqueDelegate* handle() const noexcept { return delegate_; }

  /// Every operator of the model's primary graph, in the file's order, also those that another delegate has taken over.
  /// Empty before the interpreter was created. Valid only while the interpreter lives.
  std::vector<OperatorInfo> operators() const;

 private:
  static Status prepare(OpaqueContext* context, OpaqueDelegate* delegate, void* self);

  const Api& api_;
  OpaqueDelegate* delegate_ = nullptr;
  OpaqueContext* primary_ = nullptr;
};

}  // namespace linkcast::tflite
