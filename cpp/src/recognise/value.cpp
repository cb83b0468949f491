#include "recognise/value.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace linkcast::tflite {
namespace {

constexpr std::size_t kMostElements = std::size_t{1} << 23;  // a hostile file must not keep the loader busy for minutes

bool native(int type) {
  return whole_numbers(type) || type == kTypeFloat32 || type == kTypeFloat16 || type == kTypeInt8;
}

float from_float16(std::uint16_t half) {
  const int exponent = (half >> 10) & 0x1F;
  const int fraction = half & 0x3FF;
  const float sign = (half & 0x8000) != 0 ? -1.0f : 1.0f;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  if (exponent == 31)
    return fraction != 0 ? std::numeric_limits<float>::quiet_NaN() : sign * std::numeric_limits<float>::infinity();
  return sign * std::ldexp(static_cast<float>(fraction | 0x400), exponent - 25);
}

template <class T, class Store>
void read_as(const GraphTensor& tensor, std::size_t count, Store store) {
  for (std::size_t n = 0; n < count; ++n) {
    T item;  // the file aligns nothing
    std::memcpy(&item, static_cast<const char*>(tensor.constant) + n * sizeof(T), sizeof(T));
    store(item, n);
  }
}

/// real = scale * (stored - zero_point), with one scale or one per slice along the quantised dimension.
bool read_int8(const GraphTensor& tensor, std::size_t count, std::vector<float>& floats) {
  const auto scales = tensor.scales.size();
  if (scales == 0) return false;
  std::size_t inner = count;  // elements that share a scale and lie side by side
  if (scales > 1) {
    const auto dimension = static_cast<std::size_t>(tensor.quantized_dimension);
    if (tensor.quantized_dimension < 0 || dimension >= tensor.shape.size() ||
        static_cast<std::size_t>(tensor.shape[dimension]) != scales)
      return false;
    inner = 1;
    for (std::size_t d = dimension + 1; d < tensor.shape.size(); ++d)
      inner *= static_cast<std::size_t>(tensor.shape[d]);
  }
  read_as<std::int8_t>(tensor, count, [&](std::int8_t item, std::size_t n) {
    const auto slice = scales > 1 ? n / inner % scales : 0;
    floats[n] = tensor.scales[slice] * static_cast<float>(item - tensor.zero_points[slice]);
  });
  return true;
}

}  // namespace

std::size_t readable_size(const Shape& shape) {
  if (std::any_of(shape.begin(), shape.end(), [](std::int64_t d) { return d < 0; }))
    throw NotNative("the graph has a tensor of unknown shape");
  const std::uint64_t count = elements_of(shape);
  if (count > kMostElements) throw NotNative("the graph has a tensor too large to be read");
  return static_cast<std::size_t>(count);
}

ValuePtr read_constant(const GraphTensor& tensor) {
  auto value = std::make_shared<Value>();
  value->type = tensor.type;
  value->shape = tensor.shape;
  const std::size_t count = readable_size(tensor.shape);
  const std::size_t width = native(tensor.type) ? static_cast<std::size_t>(bits_of(tensor.type)) / 8 : 0;
  if (!tensor.constant || width == 0 || tensor.bytes != count * width) return nullptr;
  if (value->whole()) {
    auto& integers = value->integers;
    integers.resize(count);
    const auto store = [&](auto item, std::size_t n) { integers[n] = static_cast<std::int64_t>(item); };
    if (tensor.type == kTypeInt32) read_as<std::int32_t>(tensor, count, store);
    if (tensor.type == kTypeInt64) read_as<std::int64_t>(tensor, count, store);
    if (tensor.type == kTypeBool) read_as<std::uint8_t>(tensor, count, store);
    return value;
  }
  value->floats.resize(count);
  auto& floats = value->floats;
  if (tensor.type == kTypeFloat32) read_as<float>(tensor, count, [&](float item, std::size_t n) { floats[n] = item; });
  if (tensor.type == kTypeFloat16)
    read_as<std::uint16_t>(tensor, count, [&](std::uint16_t item, std::size_t n) { floats[n] = from_float16(item); });
  if (tensor.type == kTypeInt8 && !read_int8(tensor, count, floats)) return nullptr;
  return value;
}

std::vector<Element> elements_from(const Value& value) {
  if (value.symbolic()) return value.elements;
  std::vector<Element> elements(value.floats.size());
  for (std::size_t n = 0; n < elements.size(); ++n) elements[n].constant = value.floats[n];
  return elements;
}

bool all_constant(const Element* elements, std::size_t count) {
  return std::all_of(elements, elements + count, [](const Element& e) { return e.expression == kNone; });
}

bool none_constant(const Element* elements, std::size_t count) {
  return std::none_of(elements, elements + count, [](const Element& e) { return e.expression == kNone; });
}

std::vector<float> constants_from(const Element* elements, std::size_t count) {
  std::vector<float> values(count);
  std::transform(elements, elements + count, values.begin(), [](const Element& e) { return e.constant; });
  return values;
}

float apply(Activation function, float x) {
  switch (function) {
    case Activation::relu:
      return std::max(x, 0.0f);
    case Activation::relu6:
      return std::min(std::max(x, 0.0f), 6.0f);
    case Activation::tanh:
      return std::tanh(x);
    case Activation::sigmoid:
      return 1.0f / (1.0f + std::exp(-x));
    case Activation::unit:
      return std::min(std::max(x, 0.0f), 1.0f);
    case Activation::most_one:
      return std::min(x, 1.0f);
    case Activation::none:
      break;
  }
  return x;
}

}  // namespace linkcast::tflite
