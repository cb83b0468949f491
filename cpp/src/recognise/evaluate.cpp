#include "recognise/evaluate.h"

namespace linkcast::tflite {
namespace {

// Limits that no network of ours comes near; a hostile file must not keep the loader busy for minutes.
constexpr std::size_t kMostElementsWritten = std::size_t{1} << 24;  // by all operators together
constexpr std::size_t kMostOperatorsRun = 1'000'000;
constexpr int kDeepestLoop = 4;

}  // namespace

std::vector<ValuePtr> Evaluator::run(int index, const std::vector<ValuePtr>& inputs) {
  const auto& graph = subgraphs_(index);
  if (inputs.size() != graph.inputs.size()) throw NotNative("a subgraph is called with a wrong number of values");
  std::vector<ValuePtr> slots(graph.tensors.size());
  for (std::size_t n = 0; n < inputs.size(); ++n) slots[static_cast<std::size_t>(graph.inputs[n])] = inputs[n];

  const auto value_of = [&](int tensor) -> ValuePtr {
    if (tensor < 0) return nullptr;
    auto& slot = slots[static_cast<std::size_t>(tensor)];
    if (!slot && graph.tensors[static_cast<std::size_t>(tensor)].constant) slot = constant_of(index, tensor);
    return slot;
  };

  std::vector<ValuePtr> in;
  std::vector<ValuePtr> out;
  for (const auto& node : graph.nodes) {
    if (++operators_run_ > kMostOperatorsRun) throw NotNative("the graph runs too many operators to be read");
    in.clear();
    out.clear();
    for (const int tensor : node.inputs) in.push_back(value_of(tensor));
    const std::string name = node.name + " (node " + std::to_string(node.index) + where_ + ")";
    expressions.set_origin(name);
    try {
      const auto* rule = operator_rule(node.code);
      if (!rule || !rule->evaluate) misfit("has no native kernel");
      EvaluateCall call{*this, *rule, node, graph, in, out};
      rule->evaluate(call);
    } catch (const Misfit& problem) {
      throw NotNative(name + " " + problem.what());
    }
    for (std::size_t n = 0; n < node.outputs.size() && n < out.size(); ++n)
      if (node.outputs[n] >= 0) slots[static_cast<std::size_t>(node.outputs[n])] = out[n];
  }

  std::vector<ValuePtr> results;
  for (const int tensor : graph.outputs) {
    results.push_back(value_of(tensor));
    if (!results.back()) throw NotNative("the graph has an output that no operator computes");
  }
  return results;
}

std::vector<ValuePtr> Evaluator::run_loop(int condition, int body, std::vector<ValuePtr> values,
                                          const std::string& where) {
  require(depth_ < kDeepestLoop, "is nested too deeply");
  const std::string before = where_;
  where_ = where + before;
  ++depth_;
  for (;;) {
    const auto verdict = run(condition, values);
    require(verdict.size() == 1 && verdict[0]->type == kTypeBool && verdict[0]->integers.size() == 1,
            "has a condition that depends on activations");
    if (verdict[0]->integers[0] == 0) break;
    auto next = run(body, values);
    require(next.size() == values.size(), "has a body that does not fit its values");
    values = std::move(next);
  }
  where_ = before;  // an exception ends the whole evaluation
  --depth_;
  return values;
}

ValuePtr Evaluator::constant_of(int subgraph, int tensor) {
  auto& value = constants_[{subgraph, tensor}];
  if (!value) value = read_constant(subgraphs_(subgraph).tensors[static_cast<std::size_t>(tensor)]);
  return value;
}

ConstantId Evaluator::matrix(const ValuePtr& value) {
  const auto found = matrices_.find(value);
  if (found != matrices_.end()) return found->second;
  return matrices_[value] = expressions.number_constant(value->floats);
}

ExpressionId Evaluator::vector_of(const Element* elements, std::size_t count) {
  std::vector<Piece> pieces;
  for (std::size_t n = 0; n < count; ++n) {
    const auto& e = elements[n];
    if (!pieces.empty() && pieces.back().source == e.expression && pieces.back().start + pieces.back().size == e.index)
      ++pieces.back().size;
    else
      pieces.push_back({e.expression, e.index, 1});
    // Two whole vectors side by side stay two pieces, because the second one starts at 0.
  }
  return expressions.gather(std::move(pieces));
}

Element* Evaluator::put(ExpressionId expression, Element* to) const {
  const auto size = expressions.at(expression).size;
  for (std::size_t n = 0; n < size; ++n) {
    to[n].expression = expression;
    to[n].index = static_cast<std::uint32_t>(n);
  }
  return to + size;
}

ValuePtr Evaluator::finish(Value value) {
  elements_written_ += value.size();
  if (elements_written_ > kMostElementsWritten) throw NotNative("the graph moves too much data to be read");
  if (value.symbolic() && all_constant(value.elements.data(), value.elements.size())) {
    value.floats = constants_from(value.elements.data(), value.elements.size());
    value.elements.clear();
  }
  return std::make_shared<const Value>(std::move(value));
}

ValuePtr Evaluator::dequantised(const ValuePtr& from) {
  auto& result = dequantised_[from];
  if (!result) result = finish({kTypeFloat32, from->shape, from->floats, {}, {}});
  return result;
}

const ValuePtr& EvaluateCall::input(std::size_t n) const {
  require(n < in.size() && in[n] != nullptr, "reads a tensor that has no native form");
  return in[n];
}

const Value& EvaluateCall::floats(std::size_t n) const {
  const auto& value = *input(n);
  require(value.type == kTypeFloat32, "works on values that are not float32");
  return value;
}

const Value& EvaluateCall::weights(std::size_t n) const {
  const auto& value = *input(n);
  require(!value.symbolic() && (value.type == kTypeFloat32 || value.type == kTypeInt8), "needs constant weights");
  return value;
}

const Values& EvaluateCall::integers(std::size_t n) const {
  const auto& value = *input(n);
  require(value.whole() && !value.symbolic(), "needs constant indices");
  return value.integers;
}

std::int64_t EvaluateCall::integer(std::size_t n) const {
  require(integers(n).size() == 1, "needs one index");
  return integers(n)[0];
}

}  // namespace linkcast::tflite
