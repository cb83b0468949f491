// Masks: which steps of the window differ from a constant, and what is chosen by that.
#include <algorithm>

#include "recognise/evaluate.h"
#include "recognise/node_options.h"

namespace linkcast::tflite::evaluate {

void not_equal(EvaluateCall& call) {
  const Value* from = call.input(0).get();
  const Value* constants = call.input(1).get();
  if (constants->symbolic()) std::swap(from, constants);
  if (!from->symbolic() && from->whole()) return whole(call);
  require(from->type == kTypeFloat32 && from->symbolic() && !constants->symbolic() && !constants->floats.empty() &&
              broadcast(from->shape, constants->shape) == from->shape &&
              std::all_of(constants->floats.begin(), constants->floats.end(),
                          [&](float v) { return v == constants->floats[0]; }),
          "compares activations with something else than one constant");
  Value value{kTypeBool, from->shape, {}, {}, from->elements};
  const Lines lines = lines_of(value.shape, {&value.elements}, call.evaluator.expressions);
  std::vector<Element> line(lines.length);
  for (std::size_t l = 0; l < lines.count; ++l) {
    for (std::size_t n = 0; n < lines.length; ++n) line[n] = value.elements[lines.at(l, n)];
    require(none_constant(line.data(), lines.length), "compares constants with constants");
    const auto vector = call.evaluator.vector_of(line.data(), lines.length);
    call.evaluator.put(call.evaluator.expressions.differs(constants->floats[0], vector), line.data());
    for (std::size_t n = 0; n < lines.length; ++n) value.elements[lines.at(l, n)] = line[n];
  }
  call.give(std::move(value));
}

/// REDUCE_ANY of the last dimension.
void any(EvaluateCall& call) {
  const auto& from = *call.input(0);
  const auto& axes = call.integers(1);
  require(from.type == kTypeBool && from.symbolic() && axes.size() == 1 && !from.shape.empty() &&
              axis_of(axes[0], from.shape.size()) + 1 == from.shape.size(),
          "looks for one that holds among others than the features of a step");
  Value value{kTypeBool, from.shape, {}, {}, {}};
  value.shape.pop_back();
  if (call.options<ReducerOptions>().keep_dims) value.shape.push_back(1);
  auto& expressions = call.evaluator.expressions;
  for (std::size_t row = 0; row < from.elements.size(); row += from.width()) {
    const auto vector = call.evaluator.vector_of(&from.elements[row], from.width());
    require(expressions.at(vector).kind == Kind::differs, "looks for one that holds among several masks");
    value.elements.emplace_back();
    value.elements.back().expression = expressions.any(vector);
  }
  call.give(std::move(value));
}

/// A mask as 1 and 0.
void cast(EvaluateCall& call) {
  const auto& from = *call.input(0);
  const auto& to = call.graph.tensors[static_cast<std::size_t>(call.node.outputs.at(0))];
  require(from.type == kTypeBool && from.symbolic() && to.type == kTypeFloat32, "has no native kernel");
  call.give({kTypeFloat32, from.shape, {}, {}, from.elements});
}

void select(EvaluateCall& call) {
  auto& evaluator = call.evaluator;
  const auto& mask = *call.input(0);
  const auto& chosen = call.floats(1);
  const auto& otherwise = call.floats(2);
  require(mask.type == kTypeBool && mask.symbolic(), "chooses by what is no mask of the input");
  Value value{kTypeFloat32, broadcast(mask.shape, broadcast(chosen.shape, otherwise.shape)), {}, {}, {}};
  value.elements.resize(readable_size(value.shape));
  const auto spread = [&](const Shape& shape, const std::vector<Element>& elements) {
    std::vector<Element> all;
    for (const std::size_t at : broadcast_to(shape, value.shape).positions()) all.push_back(elements[at]);
    return all;
  };
  const auto masks = spread(mask.shape, mask.elements);
  const auto x = spread(chosen.shape, elements_from(chosen));
  const auto y = spread(otherwise.shape, elements_from(otherwise));
  const std::size_t width = value.width();
  for (std::size_t row = 0; row < x.size(); row += width) {
    const ExpressionId by = masks[row].expression;
    for (std::size_t n = 0; n < width; ++n)
      require(masks[row + n].expression == by && evaluator.expressions.is_mask(by),
              "chooses element by element, which no native layer does");
    require(none_constant(&x[row], width), "chooses a constant where a mask holds");
    const bool zeros = all_constant(&y[row], width);
    for (std::size_t n = 0; zeros && n < width; ++n)
      require(y[row + n].constant == 0.0f, "chooses a constant other than zero where a mask does not hold");
    require(zeros || none_constant(&y[row], width), "chooses between constants and activations");
    const auto result = evaluator.expressions.select(by, evaluator.vector_of(&x[row], width),
                                                     zeros ? kNone : evaluator.vector_of(&y[row], width));
    evaluator.put(result, &value.elements[row]);
  }
  call.give(std::move(value));
}

}  // namespace linkcast::tflite::evaluate
