// Proof before use: a native network has to give what TensorFlow Lite's own kernels give, on this machine, before it is
// used.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "kernels/network.h"
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

  /// What `count` becomes.
  static std::size_t count_of(std::size_t row_inputs, const std::vector<float>& golden) noexcept;
};

/// How far the two may lie apart, in units of max(1, the largest magnitude in the window, the magnitude of the answer).
///
/// float32 1e-4: both round every sum. Over random architectures they stay within 1e-6 on windows of size 1, but where
/// large terms cancel TensorFlow Lite's own kernels lie up to 2.2e-5 from its XNNPACK ones (the shipped allocators).
/// bfloat16 2e-2 and int8 5e-2: a weight is rounded to 2^-9 of itself, or to 1/254 of the largest in its row.
/// Files whose weights are int8 get 5e-2 as well: there TensorFlow Lite rounds the activations to int8, and the native
/// network does not.
double proof_tolerance(Precision precision, bool quantised_weights);

struct Proof {
  bool holds = false;
  double error =
      0.0;  ///< largest absolute difference over the golden windows; without any, over the uniform random ones
  std::string failure;  ///< what was seen when it does not hold
};

/// Runs every window through each interpreter, in its own batch, and compares `reference` with the others.
/// @param natives  interpreters whose whole graph is the native network, at different batches: those are different
/// kernels
/// @param between  called before each run; what it throws ends the proof
/// @throws InvokeError
Proof prove(const std::vector<tflite::Interpreter*>& natives, tflite::Interpreter& reference,
            const ProofWindows& windows, double tolerance, const std::function<void()>& between);

}  // namespace linkcast
