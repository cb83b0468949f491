// What is known of a tensor while a graph is evaluated: numbers, or elements of expressions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "recognise/expression.h"
#include "recognise/graph.h"
#include "recognise/movement.h"

namespace linkcast::tflite {

/// One element of a symbolic tensor: element `index` of the vector `expression`, or the number `constant` when that is
/// kNone.
struct Element {
  ExpressionId expression = kNone;
  union {
    std::uint32_t index = 0;
    float constant;
  };
};

/// A tensor's value, row-major. One of the three lists is in use, by the type; a symbolic tensor, of floats or
/// of bools that follow from the input (masks), uses `elements`.
struct Value {
  int type = kTypeFloat32;
  Shape shape;
  std::vector<float> floats;  // of a constant; float16 and int8 constants are held as the floats they stand for
  Values integers;            // int32, int64, bool
  std::vector<Element> elements;

  bool symbolic() const noexcept { return !elements.empty(); }
  bool whole() const noexcept { return whole_numbers(type); }
  std::size_t size() const noexcept { return static_cast<std::size_t>(elements_of(shape)); }
  /// Elements of the last dimension, which one expression makes up.
  std::size_t width() const noexcept { return shape.empty() ? 1 : static_cast<std::size_t>(shape.back()); }
};
using ValuePtr = std::shared_ptr<const Value>;

/// Elements of a tensor. @throws NotNative  its shape is unknown, or more than any network of ours has
std::size_t readable_size(const Shape& shape);

/// The value of a constant tensor, or null when its type or size is not one that can be read.
ValuePtr read_constant(const GraphTensor& tensor);

/// A float tensor as elements, whether it is constant or symbolic.
std::vector<Element> elements_from(const Value& value);
bool all_constant(const Element* elements, std::size_t count);
bool none_constant(const Element* elements, std::size_t count);
std::vector<float> constants_from(const Element* elements, std::size_t count);

float apply(Activation function, float x);

}  // namespace linkcast::tflite
