// Reads a graph through the context that the runtime hands to delegates.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "recognise/graph.h"
#include "tflite/c_api.h"

namespace linkcast::tflite {

class Runtime;

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
  std::vector<Shape> input_shapes;  // of the inputs that are present
  std::vector<Shape> output_shapes;
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
