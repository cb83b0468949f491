// Recognises a graph as a network that the kernels run.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "kernels/network_spec.h"
#include "recognise/graph.h"

namespace linkcast::tflite {

/// Recurrent state of a graph that has it among its inputs or outputs: of the `layer`th layer with a state.
struct StateEdge {
  std::size_t layer = 0;
  bool cell = false;     // the cell state; else the hidden one
  std::size_t edge = 0;  // place among the graph's inputs, or outputs
  bool operator==(const StateEdge&) const = default;
};

/// What a network with state at its edge, which steps, has beside the rest.
struct StateEdges {
  std::size_t window = 0;  // the input that is no state
  std::size_t batch = 1;
  std::vector<StateEdge> inputs;
  std::vector<StateEdge> outputs;
  std::vector<std::size_t> answers;  // places among the outputs: the rest of them, all the same
  std::vector<Shape> output_shapes;
};

struct RecognisedNetwork {
  NetworkSpec spec;
  Shape output_shape;  // (batch, ...) with the batch that the graph was written for; the spec holds for any
  std::optional<StateEdges> state;  // of a graph with several inputs or outputs: the network steps through the window
  bool quantised_weights =
      false;  // int8 weights that TFLite multiplies with activations it rounds to int8; here they are float
};

/// Evaluates the primary graph symbolically, loops included, and matches what comes out against a chain of native
/// layers. An LSTM is recognised by its equations, whether it stands as the fused operator, as a WHILE loop or
/// unrolled.
/// @throws NotNative           the graph is anything else; the text names the first operator that stands in the way
/// @throws std::runtime_error  the subgraphs can't be read
RecognisedNetwork recognise(const SubgraphSource& subgraphs);

}  // namespace linkcast::tflite
