// What computes: element by element, and with constant weights.
#include <algorithm>

#include "recognise/evaluate.h"
#include "recognise/node_options.h"

namespace linkcast::tflite::evaluate {
namespace {

/// ActivationFunctionType of TensorFlow Lite's schema; of what it also has, nothing has a native kernel.
enum class FusedActivation { none = 0, relu = 1, relu6 = 3, tanh = 4 };

Activation fused_activation(int code) {
  switch (static_cast<FusedActivation>(code)) {
    case FusedActivation::none:
      return Activation::none;
    case FusedActivation::relu:
      return Activation::relu;
    case FusedActivation::relu6:
      return Activation::relu6;
    case FusedActivation::tanh:
      return Activation::tanh;
    default:
      misfit("has a fused activation without a native kernel");
  }
}

/// Whether a vector is finite whatever the input is.
bool bounded(const Expressions& expressions, ExpressionId id) {
  const auto& e = expressions.at(id);
  if (e.kind == Kind::affine) return bounded(expressions, e.x);
  if (e.kind != Kind::activation) return false;
  switch (static_cast<Activation>(e.first)) {
    case Activation::relu6:
    case Activation::tanh:
    case Activation::sigmoid:
    case Activation::unit:
      return true;
    default:
      return false;
  }
}

/// 1 / x of square roots, the one kind of activations that may be divided by.
ExpressionId one_over(Expressions& expressions, ExpressionId x) {
  const Expression e = expressions.at(x);
  if (e.kind == Kind::spread) {
    const auto scalar = one_over(expressions, e.x);
    return expressions.gather(std::vector<Piece>(e.size, {scalar, 0, 1}));
  }
  require(e.kind == Kind::root && e.first == 0, "divides by activations, which no native kernel does");
  return expressions.root(true, e.x);
}

/// One line of ADD, SUB, MUL or DIV: `width` elements of x and y.
void combine(EvaluateCall& call, Activation fused, const Element* x, const Element* y, std::size_t width,
             Element* result) {
  auto& evaluator = call.evaluator;
  auto& expressions = evaluator.expressions;
  const int code = call.node.code;
  const bool x_constant = constant(x, width);
  const bool y_constant = constant(y, width);
  if (x_constant && y_constant) {
    for (std::size_t n = 0; n < width; ++n) {
      const float p = x[n].constant;
      const float q = y[n].constant;
      result[n].constant = apply(fused, code == kAdd ? p + q : code == kSub ? p - q : code == kDiv ? p / q : p * q);
    }
    return;
  }
  ExpressionId combined = kNone;
  if (!x_constant && !y_constant) {
    const auto left = evaluator.vector_of(x, width);
    auto right = evaluator.vector_of(y, width);
    if (code == kSub) right = expressions.affine(std::vector<float>(width, -1.0f), std::vector<float>(width), right);
    if (code == kDiv) right = one_over(expressions, right);
    combined = code == kAdd || code == kSub ? expressions.add(left, right) : expressions.multiply(left, right);
  } else {
    const auto operand = evaluator.vector_of(x_constant ? y : x, width);
    auto scale = std::vector<float>(width, code == kSub && x_constant ? -1.0f : 1.0f);
    auto offset = constants_from(x_constant ? x : y, width);
    if (code == kSub && !x_constant)
      for (auto& o : offset) o = -o;
    require(code != kDiv || y_constant, "divides by activations, which no native kernel does");
    if (code == kDiv)
      for (auto& o : offset) o = 1.0f / o;
    if (code == kMul || code == kDiv) {
      scale = std::move(offset);
      offset.assign(width, 0.0f);
      // A bounded vector times zeros is zero: the forget gate of a first step meets the zero cell state like that.
      if (bounded(expressions, operand) && std::all_of(scale.begin(), scale.end(), [](float s) { return s == 0.0f; })) {
        std::fill_n(result, width, Element{});
        for (std::size_t n = 0; n < width; ++n) result[n].constant = apply(fused, 0.0f);
        return;
      }
    }
    combined = expressions.affine(std::move(scale), std::move(offset), operand);
  }
  evaluator.put(expressions.activation(fused, combined), result);
}

/// Null where there is none.
const Value* bias_of(const EvaluateCall& call, std::size_t input, std::size_t units) {
  if (!call.has(input)) return nullptr;
  const auto& bias = *call.input(input);
  require(bias.type == kTypeFloat32 && !bias.symbolic() && bias.floats.size() == units, "needs a constant float bias");
  return &bias;
}

}  // namespace

void whole(EvaluateCall& call) {
  const auto& a = *call.input(0);
  const auto& b = *call.input(1);
  require(a.whole() && b.whole() && !a.symbolic() && !b.symbolic(), "compares activations");
  require(a.type == b.type, "mixes types");
  Value value{call.rule.gives_bool() ? static_cast<int>(kTypeBool) : a.type, broadcast(a.shape, b.shape), {}, {}, {}};
  readable_size(value.shape);
  const auto from_a = broadcast_to(a.shape, value.shape).positions();
  const auto from_b = broadcast_to(b.shape, value.shape).positions();
  for (std::size_t n = 0; n < from_a.size(); ++n)
    value.integers.push_back(stored(value.type, call.rule.number(a.integers[from_a[n]], b.integers[from_b[n]])));
  call.give(std::move(value));
}

void arithmetic(EvaluateCall& call) {
  const Activation fused = fused_activation(call.options<ArithmeticOptions>().activation);
  if (call.input(0)->whole() || call.input(1)->whole()) {
    require(fused == Activation::none, "has an activation on whole numbers");
    return whole(call);
  }
  by_lines(call, [&](const Element* x, const Element* y, std::size_t width, Element* result) {
    combine(call, fused, x, y, width, result);
  });
}

static void activate(EvaluateCall& call, Activation function, const Value& from) {
  Value value{from.type, from.shape, {}, {}, elements_from(from)};
  const Lines lines = lines_of(value.shape, {&value.elements}, call.evaluator.expressions);
  std::vector<Element> elements(lines.length);
  for (std::size_t line = 0; line < lines.count; ++line) {
    for (std::size_t n = 0; n < lines.length; ++n) elements[n] = value.elements[lines.at(line, n)];
    if (constant(elements.data(), lines.length)) {
      for (auto& element : elements) element.constant = apply(function, element.constant);
    } else {
      const auto operand = call.evaluator.vector_of(elements.data(), lines.length);
      call.evaluator.put(call.evaluator.expressions.activation(function, operand), elements.data());
    }
    for (std::size_t n = 0; n < lines.length; ++n) value.elements[lines.at(line, n)] = elements[n];
  }
  call.give(std::move(value));
}

template <Activation function>
void activation(EvaluateCall& call) {
  activate(call, function, call.floats(0));
}
template void activation<Activation::sigmoid>(EvaluateCall&);
template void activation<Activation::tanh>(EvaluateCall&);
template void activation<Activation::relu>(EvaluateCall&);
template void activation<Activation::relu6>(EvaluateCall&);
template void activation<Activation::unit>(EvaluateCall&);

/// Of activations only the limit of a hard sigmoid is known, 1.
void minimum(EvaluateCall& call) {
  if (call.input(0)->whole() || call.input(1)->whole()) return whole(call);
  const bool first = call.floats(0).symbolic();
  const auto& from = call.floats(first ? 0 : 1);
  const auto& limit = call.floats(first ? 1 : 0);
  require(!limit.symbolic() && broadcast(from.shape, limit.shape) == from.shape &&
              std::all_of(limit.floats.begin(), limit.floats.end(), [](float v) { return v == 1.0f; }),
          "limits an activation to something else than 1");
  activate(call, Activation::most_one, from);
}

void fully_connected(EvaluateCall& call) {
  auto& evaluator = call.evaluator;
  const auto& options = call.options<FullyConnectedOptions>();
  const auto& x = call.floats(0);
  const auto& w = call.weights(1);
  const Activation fused = fused_activation(options.activation);
  require(options.weights_format == 0, "has shuffled weights");
  require(w.shape.size() == 2 && w.shape[0] > 0 && w.shape[1] > 0, "needs a matrix of weights");
  const auto units = static_cast<std::size_t>(w.shape[0]);
  const auto inputs = static_cast<std::size_t>(w.shape[1]);
  require(x.size() > 0 && x.size() % inputs == 0, "has weights that do not fit its input");
  const std::size_t rows = x.size() / inputs;
  const Value* bias = bias_of(call, 2, units);

  Value value{kTypeFloat32, {static_cast<std::int64_t>(rows), w.shape[0]}, {}, {}, {}};
  if (options.keep_num_dims) {
    require(!x.shape.empty() && x.shape.back() == w.shape[1], "has weights that do not fit its input");
    value.shape = x.shape;
    value.shape.back() = w.shape[0];
  }
  value.elements.resize(readable_size(value.shape));
  const auto elements = elements_from(x);
  for (std::size_t row = 0; row < rows; ++row) {
    const Element* from = &elements[row * inputs];
    Element* to = &value.elements[row * units];
    if (constant(from, inputs)) {
      for (std::size_t u = 0; u < units; ++u) {
        double sum = bias ? static_cast<double>(bias->floats[u]) : 0.0;
        for (std::size_t k = 0; k < inputs; ++k)
          sum += static_cast<double>(w.floats[u * inputs + k]) * static_cast<double>(from[k].constant);
        to[u].constant = apply(fused, static_cast<float>(sum));
      }
      continue;
    }
    evaluator.note_weights(w);
    auto& expressions = evaluator.expressions;
    auto sum = expressions.linear(evaluator.matrix(call.input(1)), evaluator.vector_of(from, inputs));
    if (bias) sum = expressions.affine(std::vector<float>(units, 1.0f), bias->floats, sum);
    evaluator.put(expressions.activation(fused, sum), to);
  }
  call.give(std::move(value));
}

/// (..., inputs) x (inputs, units) with constant weights, which is what a dense layer on a sequence may become.
void batch_matmul(EvaluateCall& call) {
  auto& evaluator = call.evaluator;
  const auto& options = call.options<BatchMatmulOptions>();
  const auto& x = call.floats(0);
  const auto& w = call.weights(1);
  require(!options.adjoint_x && w.type == kTypeFloat32 && w.shape.size() == 2 && !x.shape.empty(),
          "needs one matrix of constant float weights");
  const auto inputs = static_cast<std::size_t>(w.shape[options.adjoint_y ? 1 : 0]);
  const auto units = static_cast<std::size_t>(w.shape[options.adjoint_y ? 0 : 1]);
  require(inputs > 0 && units > 0 && x.width() == inputs && x.size() > 0, "has weights that do not fit its input");
  std::vector<float> weights(inputs * units);
  for (std::size_t u = 0; u < units; ++u)
    for (std::size_t k = 0; k < inputs; ++k)
      weights[u * inputs + k] = w.floats[options.adjoint_y ? u * inputs + k : k * units + u];
  const auto id = evaluator.expressions.number_constant(std::move(weights));

  Value value{kTypeFloat32, x.shape, {}, {}, {}};
  value.shape.back() = static_cast<std::int64_t>(units);
  value.elements.resize(readable_size(value.shape));
  const auto elements = elements_from(x);
  Element* to = value.elements.data();
  for (std::size_t from = 0; from < elements.size(); from += inputs) {
    require(none_constant(&elements[from], inputs), "multiplies constants");
    to = evaluator.put(evaluator.expressions.linear(id, evaluator.vector_of(&elements[from], inputs)), to);
  }
  call.give(std::move(value));
}

void dequantize(EvaluateCall& call) {
  const auto& from = call.input(0);
  require(!from->symbolic() && (from->type == kTypeFloat16 || from->type == kTypeInt8),
          "works on quantised activations");
  call.out.push_back(call.evaluator.dequantised(from));
}

}  // namespace linkcast::tflite::evaluate
