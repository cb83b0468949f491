// The edge of a model: callers have float32, in the units of what the model computes, and the file's input and output may
// be whole numbers that stand for such.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "tflite/c_api.h"

namespace linkcast::tflite {

/// How an input or output tensor stores its values: as float32, or as real = scale * (stored - zero_point). An int32 input
/// stores whole numbers as themselves.
struct EdgeFormat {
  DataType type = kFloat32;
  float scale = 0.0f;
  std::int32_t zero_point = 0;

  static constexpr float most_whole = 16777216.0f;  ///< 2^24: float32 has every whole number up to it

  bool quantised() const noexcept { return type != kFloat32; }
  std::size_t bytes() const noexcept {  ///< of one value
    return type == kFloat32 || type == kInt32 ? 4 : type == kInt16 ? 2 : 1;
  }
  /// "float32", "int32, whole numbers" or "int8, scale 0.0241, zero point -11".
  std::string text() const;
  std::string expected() const;  ///< what quantise() takes
};

/// Of a tensor whose type is float32, int8, uint8 or int16, or of an int32 input; the verifier has seen to its meaning.
EdgeFormat edge_format(const Api& api, const Tensor* tensor) noexcept;
/// Whether there is one for the type.
bool has_edge_format(DataType type, bool input) noexcept;

/// Rounds to the nearest, halves away from zero, as the runtime's own QUANTIZE; what lies outside of the format becomes its
/// nearest end.
/// Of int32 nothing is rounded.
/// @return  `count`, or the index of the first value that is not expected(): nothing is of use then
std::size_t quantise(const float* real, std::size_t count, const EdgeFormat& format, void* stored) noexcept;
void dequantise(const void* stored, std::size_t count, const EdgeFormat& format, float* real) noexcept;

}  // namespace linkcast::tflite
