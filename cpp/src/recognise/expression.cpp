#include "recognise/expression.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace linkcast::tflite {
namespace {

constexpr std::size_t kMostExpressions = 4'000'000;  // a larger graph is refused rather than read for minutes
constexpr int kDeepestSum = 32;  // W x + R h + b needs four levels; a hostile graph could nest without end

bool all_equal(const std::vector<float>& values, float wanted) {
  return std::all_of(values.begin(), values.end(), [wanted](float value) { return value == wanted; });
}

std::size_t hash_of(const std::vector<float>& values) {
  const std::string_view bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  return std::hash<std::string_view>{}(bytes);
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

void Expressions::set_origin(std::string origin) {
  if (origins_.back() != origin) origins_.push_back(std::move(origin));
}

ConstantId Expressions::number_constant(std::vector<float> values) {
  const auto hash = hash_of(values);
  const auto [first, last] = constant_numbers_.equal_range(hash);
  for (auto found = first; found != last; ++found)
    if (same_bits(found->second.first, values)) return found->second.second;
  const auto id = static_cast<ConstantId>(constants_.size());
  const auto entry = constant_numbers_.emplace(hash, std::pair(std::move(values), id));
  constants_.push_back(&entry->second.first);  // nodes of an unordered map do not move
  return id;
}

CellId Expressions::number_cell(const Cell& cell) {
  const auto [entry, added] = cell_numbers_.emplace(cell, static_cast<CellId>(cells_.size()));
  if (added) cells_.push_back(cell);
  return entry->second;
}

ExpressionId Expressions::number(Expression expression) {
  Key key(expression.kind, expression.size, expression.x, expression.y, expression.first, expression.second,
          expression.pieces);
  const auto [entry, added] = numbers_.emplace(std::move(key), static_cast<ExpressionId>(expressions_.size()));
  if (!added) return entry->second;
  if (expressions_.size() >= kMostExpressions) throw NotNative("the graph is too large to be read as one network");
  expression.origin = static_cast<std::uint32_t>(origins_.size() - 1);
  expressions_.push_back(std::move(expression));
  return entry->second;
}

ExpressionId Expressions::input(std::size_t window, std::size_t step, std::size_t features) {
  return number({.kind = Kind::input,
                 .size = features,
                 .first = static_cast<std::uint32_t>(window),
                 .second = static_cast<std::uint32_t>(step),
                 .pieces = {}});
}

ExpressionId Expressions::gather(std::vector<Piece> pieces) {
  if (pieces.size() == 1 && pieces[0].start == 0 && pieces[0].size == at(pieces[0].source).size)
    return pieces[0].source;
  std::size_t size = 0;
  for (const auto& piece : pieces) size += piece.size;
  const bool alike = std::all_of(pieces.begin(), pieces.end(), [&](const Piece& p) { return p == pieces[0]; });
  if (alike && pieces.size() > 1 && at(pieces[0].source).size == 1)
    return number({.kind = Kind::spread, .size = size, .x = pieces[0].source, .pieces = {}});
  return number({.kind = Kind::gather, .size = size, .pieces = std::move(pieces)});
}

ExpressionId Expressions::linear(ConstantId weights, ExpressionId x) {
  const std::size_t units = constant(weights).size() / at(x).size;
  return number({.kind = Kind::linear, .size = units, .x = x, .first = weights, .pieces = {}});
}

ExpressionId Expressions::affine(std::vector<float> scale, std::vector<float> offset, ExpressionId x) {
  const bool keeps_scale = all_equal(scale, 1.0F);
  if (keeps_scale && all_equal(offset, 0.0F)) return x;
  const Expression inner = at(x);
  // (x * s + 0) * 1 + o is one affine without a rounding of ours in between.
  if (inner.kind == Kind::affine && keeps_scale && all_equal(constant(inner.second), 0.0F)) {
    scale = constant(inner.first);
    x = inner.x;
  }
  return number({.kind = Kind::affine,
                 .size = scale.size(),
                 .x = x,
                 .first = number_constant(std::move(scale)),
                 .second = number_constant(std::move(offset)),
                 .pieces = {}});
}

ExpressionId Expressions::activation(Activation function, ExpressionId x) {
  if (function == Activation::none) return x;
  return number({.kind = Kind::activation,
                 .size = at(x).size,
                 .x = x,
                 .first = static_cast<std::uint32_t>(function),
                 .pieces = {}});
}

ExpressionId Expressions::softmax(float beta, ExpressionId x) {
  return number({.kind = Kind::softmax, .size = at(x).size, .x = x, .first = number_constant({beta}), .pieces = {}});
}

ExpressionId Expressions::normalise(float epsilon, ExpressionId x) {
  const auto constant = number_constant({epsilon});
  return number({.kind = Kind::normalise, .size = at(x).size, .x = x, .first = constant, .pieces = {}});
}

ExpressionId Expressions::root(bool inverse, ExpressionId x) {
  return number({.kind = Kind::root, .size = at(x).size, .x = x, .first = inverse ? 1U : 0U, .pieces = {}});
}

ExpressionId Expressions::add(ExpressionId x, ExpressionId y) {
  return number({.kind = Kind::add, .size = at(x).size, .x = std::min(x, y), .y = std::max(x, y), .pieces = {}});
}

ExpressionId Expressions::multiply(ExpressionId x, ExpressionId y) {
  for (const auto& [gate, cell] : {std::pair(x, y), std::pair(y, x)}) {
    const auto step = match_lstm_step(gate, cell);
    if (step != kNone) return step;
  }
  return number({.kind = Kind::multiply, .size = at(x).size, .x = std::min(x, y), .y = std::max(x, y), .pieces = {}});
}

ExpressionId Expressions::lstm_step(CellId id, ExpressionId x, ExpressionId previous, ExpressionId cell_state) {
  return number({.kind = Kind::lstm_step,
                 .size = cell(id).units,
                 .x = x,
                 .y = previous,
                 .first = id,
                 .second = cell_state,
                 .pieces = {}});
}

bool Expressions::is(ExpressionId id, Activation function) const {
  return at(id).kind == Kind::activation && at(id).first == static_cast<std::uint32_t>(function);
}

bool Expressions::add_terms(ExpressionId id, std::size_t start, std::size_t size, Sum& sum, int depth) const {
  if (depth > kDeepestSum) return false;
  const auto& e = at(id);
  switch (e.kind) {
    case Kind::gather:
      return e.pieces.size() == 1 && add_terms(e.pieces[0].source, e.pieces[0].start + start, size, sum, depth + 1);
    case Kind::linear:
      sum.terms.push_back({{e.first, start}, e.x});
      return true;
    case Kind::affine: {
      const auto& scale = constant(e.first);
      const auto& offset = constant(e.second);
      for (std::size_t n = 0; n < size; ++n) {
        if (scale[start + n] != 1.0F) return false;
        sum.offset[n] += offset[start + n];
      }
      return add_terms(e.x, start, size, sum, depth + 1);
    }
    case Kind::add:
      return sum.terms.size() < 2 && add_terms(e.x, start, size, sum, depth + 1) &&
             add_terms(e.y, start, size, sum, depth + 1);
    default:
      return false;
  }
}

std::optional<Expressions::Sum> Expressions::sum_of(ExpressionId id) const {
  Sum sum;
  sum.offset.assign(at(id).size, 0.0F);
  if (!add_terms(id, 0, at(id).size, sum, 0)) return std::nullopt;
  return sum;
}

/// Reads gate(W x + R h + b); `previous_cell_state` is kNone at the first step, where R h is absent. Every gate of a
/// step must name the same x and h: the first one read sets them.
bool Expressions::read_gate(ExpressionId activated, ExpressionId previous_cell_state, Gate& gate, ExpressionId& x,
                            ExpressionId& previous) {
  auto sum = sum_of(at(activated).x);
  if (!sum || sum->terms.size() != (previous_cell_state == kNone ? 1U : 2U)) return false;
  for (const auto& term : sum->terms) {
    const auto& operand = at(term.operand);
    const bool recurrent = previous_cell_state != kNone && gate.recurrent.matrix == kNone &&
                           operand.kind == Kind::lstm_step && operand.second == previous_cell_state;
    auto& seen = recurrent ? previous : x;
    if (seen != kNone && seen != term.operand) return false;
    seen = term.operand;
    (recurrent ? gate.recurrent : gate.input) = term.rows;
  }
  if (gate.input.matrix == kNone || (previous_cell_state != kNone && gate.recurrent.matrix == kNone)) return false;
  gate.bias = number_constant(std::move(sum->offset));
  return true;
}

/// h = sigmoid(zo) * tanh(c) with c = sigmoid(zf) * c' + sigmoid(zi) * tanh(zg), or c = sigmoid(zi) * tanh(zg) at the
/// first step, where c' = 0; each z = W x + R h' + b. (Hochreiter and Schmidhuber 1997 with the forget gate of Gers et
/// al. 2000, as in Keras.)
ExpressionId Expressions::match_lstm_step(ExpressionId output_gate, ExpressionId squashed_cell) {
  if (!is(output_gate, Activation::sigmoid) || !is(squashed_cell, Activation::tanh)) return kNone;
  const ExpressionId cell_state = at(squashed_cell).x;

  const auto product_with_sigmoid = [this](ExpressionId id) {
    const auto& e = at(id);
    if (e.kind != Kind::multiply) return std::pair(kNone, kNone);
    if (is(e.x, Activation::sigmoid)) return std::pair(e.x, e.y);
    if (is(e.y, Activation::sigmoid)) return std::pair(e.y, e.x);
    return std::pair(kNone, kNone);
  };

  std::vector<std::pair<ExpressionId, ExpressionId>> splits;  // (f * c', i * g)
  const Expression c = at(cell_state);
  if (c.kind == Kind::multiply) splits = {{kNone, cell_state}};
  if (c.kind == Kind::add) splits = {{c.x, c.y}, {c.y, c.x}};

  for (const auto& [kept, written] : splits) {
    const auto [input_gate, candidate] = product_with_sigmoid(written);
    if (input_gate == kNone || !is(candidate, Activation::tanh)) continue;
    ExpressionId forget_gate = kNone;
    ExpressionId before = kNone;
    if (kept != kNone) {
      std::tie(forget_gate, before) = product_with_sigmoid(kept);
      if (forget_gate == kNone) continue;
    }
    Cell step;
    ExpressionId x = kNone;
    ExpressionId previous = kNone;
    if (!read_gate(input_gate, before, step.gates[0], x, previous) ||
        (kept != kNone && !read_gate(forget_gate, before, step.gates[1], x, previous)) ||
        !read_gate(candidate, before, step.gates[2], x, previous) ||
        !read_gate(output_gate, before, step.gates[3], x, previous))
      continue;
    step.inputs = at(x).size;
    step.units = c.size;
    if (previous != kNone && at(previous).size != step.units) continue;
    return lstm_step(number_cell(step), x, previous, cell_state);
  }
  return kNone;
}

}  // namespace linkcast::tflite
