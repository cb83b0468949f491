// A network made ready to run: its layers with their weights folded, rounded once and packed.
#pragma once

#include <cstddef>
#include <limits>
#include <optional>
#include <vector>

#include "base/aligned.h"
#include "kernels.h"
#include "network.h"
#include "network_spec.h"

namespace linkcast::kernels {

/// A bidirectional layer is followed by its two recurrences, each an lstm or a recurrence.
enum class LayerKind {
  lstm,
  dense,
  affine,
  last_step,
  flatten,
  softmax,
  normalise,
  repeat,
  recurrence,
  reverse,
  bidirectional,
  unmask
};

/// A layer ready to run. `width`, the outputs, is padded to whole vectors where rows of it stand in the workspace.
struct Layer {
  LayerKind kind = LayerKind::dense;
  std::size_t steps = 1;      // of the input
  std::size_t out_steps = 1;  // of the output
  std::size_t inputs = 0;
  std::size_t width = 0;
  std::size_t padded = 0;
  DenseLayer dense;               // dense, and a recurrence's input
  Matrix recurrent;               // lstm
  const float* scale = nullptr;   // affine: (padded)
  const float* offset = nullptr;  // affine: (padded)
  Activation activation = Activation::none;
  float parameter = 0.0f;                                // softmax: beta; normalise: epsilon
  float cell_limit = std::numeric_limits<float>::max();  // lstm
  std::size_t state = 0;  // lstm, recurrence: where its h, then its c, stand in a caller's state
  std::size_t gates = 0;  // lstm, recurrence: floats of a row's pre-activations

  RecurrenceArgs::Cell cell = RecurrenceArgs::Cell::gru_reset_after;  // recurrence, and what follows
  Activation gate_activation = Activation::none;
  DenseLayer hidden;
  DenseLayer candidate;
  std::size_t products = 0;  // floats of a row

  BidirectionalSpec::Merge merge = BidirectionalSpec::Merge::concatenate;  // bidirectional
  bool sequence = false;                                                   // bidirectional
  bool zeros = false;                                                      // unmask
};

struct PackedNetwork {
  std::size_t steps = 1;
  std::size_t features = 0;
  std::size_t output_steps = 1;
  std::size_t outputs = 0;
  std::size_t multiply_adds = 0;
  std::size_t state_size = 0;
  std::optional<float> mask_value;  // see NetworkSpec
  bool can_step = false;
  std::vector<StatePart> state_parts;
  std::vector<Layer> layers;  // point into `weights`
  AlignedBuffer weights;
};

/// @throws std::invalid_argument  sizes in the spec do not fit together
PackedNetwork pack_network(const NetworkSpec& spec, const Kernels& kernels);

}  // namespace linkcast::kernels
