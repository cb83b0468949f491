// Proof before use: a native network has to give what TensorFlow Lite's own kernels give, on this machine, before it is
// used.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "kernels/choice.h"
#include "kernels/network_spec.h"
#include "tflite/interpreter.h"

namespace linkcast {

/// Windows to compare two backends on: the golden ones, then zeros, ones, large values of either sign, denormals, a
/// single spike, a ramp, and random windows (fixed seed) uniform in 0..1, as scaled features are, and normal.
struct ProofWindows {
  std::vector<float> values;  // (count, row_inputs)
  std::size_t count = 0;
  std::size_t golden = 0;  // how many of them, at the front, are golden

  /// @param golden  (any number, row_inputs), scaled
  ProofWindows(std::size_t row_inputs, const std::vector<float>& golden);

  /// Adds windows some of whose steps are left out by a mask: every one of a few patterns, of the random windows.
  /// @param features  of a step
  void mask(std::size_t features, float value);

  /// What `count` becomes, at most.
  static std::size_t count_of(std::size_t row_inputs, const std::vector<float>& golden) noexcept;
};

/// How far the two may lie apart, in units of max(1, the largest magnitude in the window, the magnitude of the answer).
///
/// float32 1e-4: both round every sum. Over random architectures they stay within 1e-6 on windows of size 1, but where
/// large terms cancel TensorFlow Lite's own kernels lie up to 2.2e-5 from its XNNPACK ones (the shipped allocators).
/// bfloat16 2e-2 and int8 5e-2: a weight is rounded to 2^-9 of itself, or to 1/254 of the largest in its row.
double proof_tolerance(Precision precision) noexcept;

/// The same for a file whose weights are int8: TensorFlow Lite rounds the activations in front of them to 1/127 of the
/// largest in a row, the native network does not. The rounding is followed through the layers as noise: each adds
/// (m / 127)^2 / 12 to the variance of its inputs (m: the largest of them), and a row of weights w multiplies the
/// variance by |w|^2. Four deviations in the worst row, 1e-4 at least; 5e-2 at most, beyond which nothing is proven.
double rounding_tolerance(const NetworkSpec& network) noexcept;

struct Proof {
  bool holds = false;
  double error =
      0.0;  ///< largest absolute difference over the golden windows; without any, over the uniform random ones
  std::string failure;          ///< what was seen when it does not hold
  std::vector<float> expected;  ///< (windows, answer): what the reference gave
};

/// Runs every window through each interpreter, in its own batch, and compares `reference` with the others.
/// @param natives  interpreters whose whole graph is the native network, at different batches: those are different
/// kernels
/// @param between  called before each run; what it throws ends the proof
/// @throws InvokeError
Proof prove(const std::vector<tflite::Interpreter*>& natives, tflite::Interpreter& reference,
            const ProofWindows& windows, double tolerance, const std::function<void()>& between);

/// Steps through every window, as streams do: alone, and as many rows at once as an advance has; and compares the answers
/// behind the last steps. Leaves `network` as it is.
/// @param expected  what the reference gave for the windows
Proof prove_steps(ChosenNetwork& network, const ProofWindows& windows, const std::vector<float>& expected,
                  double tolerance, const std::function<void()>& between);

}  // namespace linkcast
