// A layer of a recognised network, before its weights are written out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/network_spec.h"
#include "recognise/expression.h"

namespace linkcast::tflite {

/// A layer as numbers: two windows of a batch run through the same layers when these are equal.
struct Layer {
  enum class Kind {
    lstm,
    gru,
    linear,
    affine,
    activation,
    last_step,
    flatten,
    softmax,
    normalise,
    repeat,
    reverse,
    bidirectional,
    unmask
  };
  Kind kind;
  std::uint32_t first =
      kNone;  // lstm, gru: cell of the later steps; linear: weights; affine: scale; activation: the function;
              // softmax: beta; normalise: epsilon; repeat: how often; unmask: 1 with zeros, 0 with the step before
  std::uint32_t second = kNone;  // affine: offset; bidirectional: the backward cell, `first` is the forward one
  std::size_t inputs = 0;
  // bidirectional
  Kind forward = Kind::lstm;
  Kind backward = Kind::lstm;
  BidirectionalSpec::Merge merge = BidirectionalSpec::Merge::concatenate;
  bool sequence = false;
  // lstm, gru: inputs of the graph, by their place, that its state starts from; kNone: from zero
  std::uint32_t hidden_from = kNone;
  std::uint32_t cell_from = kNone;
  bool operator==(const Layer&) const = default;
};

/// Layers as the specification that the kernels read.
/// @throws NotNative  a weight is not finite, or one layer can't stand behind another
std::vector<LayerSpec> specification_of(const std::vector<Layer>& layers, const Expressions& expressions);

}  // namespace linkcast::tflite
