// Recognises a graph as a network that the kernels run.
#pragma once

#include "kernels/network_spec.h"
#include "recognise/graph.h"

namespace linkcast::tflite {

struct RecognisedNetwork {
  NetworkSpec spec;
  Shape output_shape;  // (batch, ...) with the batch that the graph was written for; the spec holds for any
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
