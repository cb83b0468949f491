// What a network computes, free of any runtime's types: the graph reader fills it, the kernels run it.
//
// A network takes a (batch, steps, features) window. Layers run in order; a sequence stays a sequence until LastStep or
// Flatten; Repeat makes one again.
#pragma once

#include <cstddef>
#include <optional>
#include <variant>
#include <vector>

namespace linkcast {

/// `unit` keeps x within 0 .. 1, as a hard sigmoid ends; `most_one` is its upper limit alone.
enum class Activation { none, relu, relu6, tanh, sigmoid, unit, most_one };

/// A plain LSTM: no peephole or projection. With Keras' defaults its gates are sigmoids, candidate and output tanh.
/// Returns every step.
///   i, f, o = sigmoid(W x + R h + b),  g = tanh(W x + R h + b),  c = f * c + i * g,  h = o * tanh(c); state starts
///   from zero.
struct LstmSpec {
  std::size_t inputs = 0;
  std::size_t units = 0;
  std::vector<float> input_weights;      // (4, units, inputs), gates in the order i, f, c, o
  std::vector<float> recurrent_weights;  // (4, units, units)
  std::vector<float> bias;               // (4, units)
  float cell_clip = 0.0f;  // |c| is limited to it after each step; 0: no limit. A fused LSTM from Keras has 10.
  Activation activation = Activation::tanh;          // of candidate and output
  Activation gate_activation = Activation::sigmoid;  // of i, f and o
};

/// A GRU (Cho et al. 2014), returning every step; state starts from zero.
///   z, r = sigmoid(W x + R h + b),  h = z * h + (1 - z) * g,  and the reset gate stands behind the candidate's matrix
///   (as in cuDNN, Keras' default) or in front of it:
///   g = tanh(W x + b + r * (R h + recurrent_bias))  or  g = tanh(W x + b + R (r * h)).
struct GruSpec {
  std::size_t inputs = 0;
  std::size_t units = 0;
  std::vector<float> input_weights;      // (3, units, inputs), gates in the order z, r, g
  std::vector<float> recurrent_weights;  // (3, units, units)
  std::vector<float> bias;               // (3, units)
  std::vector<float> recurrent_bias;     // (units), of the candidate; only with reset_after
  bool reset_after = true;
  Activation activation = Activation::tanh;          // of the candidate
  Activation gate_activation = Activation::sigmoid;  // of z and r
};

/// (batch, steps, features), newest step first.
struct ReverseSpec {};

/// Two recurrences over the same input, of which the second reads the newest step first. With `sequence` each step's
/// outputs meet: (batch, steps, outputs); without it the last state of each: (batch, outputs).
struct BidirectionalSpec {
  enum class Merge { concatenate, sum, product };
  std::variant<LstmSpec, GruSpec> forward;
  std::variant<LstmSpec, GruSpec> backward;
  Merge merge = Merge::concatenate;
  bool sequence = false;
};

/// y = activation(W x + b), at each step when the input is a sequence.
struct DenseSpec {
  std::size_t inputs = 0;
  std::size_t units = 0;
  std::vector<float> weights;  // (units, inputs)
  std::vector<float> bias;     // (units)
  Activation activation = Activation::none;
};

/// y = x * scale + offset, per feature: batch normalisation at inference. Folded into the next linear layer in float64.
struct AffineSpec {
  std::vector<float> scale;   // (features)
  std::vector<float> offset;  // (features)
};

struct ActivationSpec {
  Activation activation = Activation::none;
};

/// (batch, steps, features) -> (batch, features) of the last step.
struct LastStepSpec {};

/// (batch, steps, features) -> (batch, steps * features).
struct FlattenSpec {};

/// y = exp(beta x) / sum of exp(beta x), over the features.
struct SoftmaxSpec {
  float beta = 1.0f;  // above 0
};

/// y = (x - mean) / sqrt(variance + epsilon), over the features: layer normalisation without its scale and offset, which
/// are an AffineSpec.
struct NormaliseSpec {
  float epsilon = 1e-3f;  // above 0
};

/// (batch, features) -> (batch, steps, features), each step the same.
struct RepeatSpec {
  std::size_t steps = 1;
};

/// (batch, steps that the network's mask leaves in, features) -> (batch, steps, features): a step that it leaves out is
/// zeros, or the one before it, which at the start is zeros, too. (Keras' two ways to give a sequence under a mask.)
struct UnmaskSpec {
  bool zeros = false;
};

using LayerSpec = std::variant<LstmSpec, DenseSpec, AffineSpec, ActivationSpec, LastStepSpec, FlattenSpec, SoftmaxSpec,
                               NormaliseSpec, RepeatSpec, GruSpec, ReverseSpec, BidirectionalSpec, UnmaskSpec>;

struct NetworkSpec {
  std::size_t steps = 1;  // 1 and !sequence_input: the input is (batch, features)
  std::size_t features = 0;
  bool sequence_input = false;
  std::vector<LayerSpec> layers;
  /// Steps whose features are all this value are left out of the window, up to the last step or an UnmaskSpec: every
  /// recurrence goes over them with its state as it is (Keras' Masking). None: no step is. Up to there each step is treated
  /// by itself; where all steps are left out, the last one's states are zero.
  std::optional<float> mask_value = {};
};

}  // namespace linkcast
