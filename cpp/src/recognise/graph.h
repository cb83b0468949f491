// A TensorFlow Lite graph in a neutral form: what is recognised, wherever it was read from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "recognise/shape.h"

namespace linkcast::tflite {

/// A tensor as the graph declares it. Pointers stay valid as long as the model's bytes.
struct GraphTensor {
  int type = kTypeFloat32;  // an ElementType, or -1 for one that the schema does not know
  Shape shape;
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
  std::vector<int> inputs;        // tensor indices; -1 where an optional input is absent
  std::vector<int> outputs;       // tensor indices; -1 for an output that nobody reads
  const void* options = nullptr;  // as the runtime lays them out: node_options.h
};

struct Subgraph {
  std::vector<GraphTensor> tensors;
  std::vector<GraphNode> nodes;  // in the order of execution
  std::vector<int> inputs;       // tensor indices
  std::vector<int> outputs;      // tensor indices
};

/// Gives subgraph `index` of a model; 0 is the primary one. The reference stays valid during the recognition.
using SubgraphSource = std::function<const Subgraph&(int index)>;

}  // namespace linkcast::tflite
