#include "tflite/edge.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

namespace linkcast::tflite {
namespace {

template <class Stored>
std::size_t quantise_as(const float* real, std::size_t count, const EdgeFormat& format, Stored* stored) noexcept {
  // The ends before the zero point is added; far below 2^24, so that floats count them.
  const auto zero = static_cast<float>(format.zero_point);
  const float lowest = static_cast<float>(std::numeric_limits<Stored>::min()) - zero;
  const float highest = static_cast<float>(std::numeric_limits<Stored>::max()) - zero;
  for (std::size_t n = 0; n < count; ++n) {
    if (std::isnan(real[n])) return n;
    const float steps = std::clamp(std::round(real[n] / format.scale), lowest, highest);
    stored[n] = static_cast<Stored>(static_cast<std::int32_t>(steps) + format.zero_point);
  }
  return count;
}

template <class Stored>
void dequantise_as(const Stored* stored, std::size_t count, const EdgeFormat& format, float* real) noexcept {
  for (std::size_t n = 0; n < count; ++n)
    real[n] = format.scale * static_cast<float>(static_cast<std::int32_t>(stored[n]) - format.zero_point);
}

/// Whole numbers that stand for themselves, as far as float32 has each.
std::size_t whole(const float* real, std::size_t count, std::int32_t* stored) noexcept {
  for (std::size_t n = 0; n < count; ++n) {
    if (!(std::fabs(real[n]) <= EdgeFormat::most_whole) || real[n] != std::round(real[n])) return n;
    stored[n] = static_cast<std::int32_t>(real[n]);
  }
  return count;
}

}  // namespace

std::string EdgeFormat::text() const {
  if (type == kInt32) return "int32, whole numbers";
  if (!quantised()) return "float32";
  char text[64];
  std::snprintf(text, sizeof text, "%s, scale %.4g, zero point %d",
                type == kInt8    ? "int8"
                : type == kUint8 ? "uint8"
                                 : "int16",
                static_cast<double>(scale), static_cast<int>(zero_point));
  return text;
}

bool has_edge_format(DataType type, bool input) noexcept {
  return type == kFloat32 || (input && type == kInt32) || type == kInt8 || type == kUint8 || type == kInt16;
}

EdgeFormat edge_format(const Api& api, const Tensor* tensor) noexcept {
  const DataType type = api.TensorType(tensor);
  if (type == kFloat32) return {};
  if (type == kInt32) return {type, 1.0f, 0};
  const QuantizationParams given = api.TensorQuantizationParams(tensor);
  return {type, given.scale, given.zero_point};
}

std::string EdgeFormat::expected() const {
  return type == kInt32 ? "whole numbers from -16777216 to 16777216" : "numbers, which " + text() + " stands for";
}

std::size_t quantise(const float* real, std::size_t count, const EdgeFormat& format, void* stored) noexcept {
  if (format.type == kInt32) return whole(real, count, static_cast<std::int32_t*>(stored));
  if (format.type == kInt8) return quantise_as(real, count, format, static_cast<std::int8_t*>(stored));
  if (format.type == kUint8) return quantise_as(real, count, format, static_cast<std::uint8_t*>(stored));
  return quantise_as(real, count, format, static_cast<std::int16_t*>(stored));
}

void dequantise(const void* stored, std::size_t count, const EdgeFormat& format, float* real) noexcept {
  if (format.type == kInt8) return dequantise_as(static_cast<const std::int8_t*>(stored), count, format, real);
  if (format.type == kUint8) return dequantise_as(static_cast<const std::uint8_t*>(stored), count, format, real);
  return dequantise_as(static_cast<const std::int16_t*>(stored), count, format, real);
}

}  // namespace linkcast::tflite
