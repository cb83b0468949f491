// A .tflite file read without the runtime and without trust: its graphs, each number within its list.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "recognise/flatbuffer.h"
#include "recognise/layout.h"
#include "recognise/operators.h"

namespace linkcast::tflite {

struct FileTensor {
  std::string_view name;
  TensorFacts facts;
  Shape signature;  // -1 where the dimension is open; empty when all are as declared
  bool variable = false;
  bool ranked = true;
};

struct FileOperator {
  int code = 0;
  const OperatorRule* rule = nullptr;
  std::string label;  // "ADD (node 3)"
  std::vector<int> inputs, outputs, intermediates;
  std::optional<FlatTable> options;
};

struct FileGraph {
  std::vector<FileTensor> tensors;
  std::vector<FileOperator> operators;
  std::vector<int> inputs, outputs;
  // What the file's first signature of this graph calls its tensors; empty without one.
  std::vector<std::pair<std::string_view, int>> named_inputs, named_outputs;
  std::string name;  // "" for the primary graph, else " of subgraph 2"
  bool called = false;
};

/// How a file is refused: every function throws LoadError, in which the file is called `path`.
class Refusal {
 public:
  /// @param tensor_bytes  that one tensor, or the memory of one operator, may take
  Refusal(const std::string& path, std::uint64_t tensor_bytes) : path_(path), tensor_bytes_(tensor_bytes) {}
  [[noreturn]] void invalid(const std::string& what) const;  ///< no model that the schema allows
  [[noreturn]] void refuse(const std::string& what) const;   ///< more than we take
  void check_bytes(std::uint64_t bytes, const std::string& which) const;

 private:
  const std::string& path_;
  std::uint64_t tensor_bytes_;
};

/// Checks the FlatBuffer (offsets, lengths, identifier), buffers, tensors (types, sizes in 64 bits, quantisation),
/// operators (known ones in known versions, options), metadata and signatures.
/// @param bytes  must outlive the result, whose options and names point into it
/// @throws LoadError, Damaged
std::vector<FileGraph> read_graphs(const FlatBytes& bytes, const Refusal& refusal);

/// What callers name the tensors of `edge`, a graph's inputs or outputs, by: as its signature has it, or else the file's
/// tensors; where those are no names to tell them apart by, "input_0" and so on.
/// @param otherwise  "input" or "output"
std::vector<std::string> edge_names(const FileGraph& graph, const std::vector<int>& edge,
                                    const std::vector<std::pair<std::string_view, int>>& named,
                                    const std::string& otherwise);

/// "more than 2^62 bytes", "12 MB"
std::string megabytes(std::uint64_t bytes);

/// What of an operator's inputs and outputs is not of the types that the table names; "" when all are.
std::string type_mismatch(const OperatorRule& rule, const std::vector<const FileTensor*>& inputs,
                          const std::vector<const FileTensor*>& outputs);

}  // namespace linkcast::tflite
