// What several rules of the layout check. All throw Misfit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "recognise/layout.h"

namespace linkcast::tflite::layout {

inline constexpr std::size_t kMostRank = 8;
inline constexpr std::size_t kMostValues = 4096;      // that are computed of one tensor
inline constexpr std::uint64_t kElementwiseWork = 8;  // an exponential, or a broadcast, in multiplications

inline bool quantised(int type) noexcept { return type == kTypeInt8 || type == kTypeUint8 || type == kTypeInt16; }

/// Of at most 4 dimensions: the runtime's broadcasts end the process on more.
Shape broadcast_of(const Shape& a, const Shape& b);
/// Weights are quantised around zero, with one scale or one per output channel.
void check_weights(const LayoutCall& call, std::size_t input, int channel_dimension);
/// A quantised activation has one scale.
void check_activation(const TensorFacts& facts, const std::string& which);
/// Of input 0 and output 0.
void check_activations(const LayoutCall& call);
/// The largest and smallest factor between the scales of a quantised operator that the runtime's fixed point takes.
void check_scales(const LayoutCall& call, double product);
void check_activation_function(int function);
/// Arithmetic and the convolutions clamp: their kernels know RELU, RELU_N1_TO_1 and RELU6, and ignore others.
void check_clamp(int function);

}  // namespace linkcast::tflite::layout
