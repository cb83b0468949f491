#include "recognise/expression.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace linkcast::tflite {
namespace {

constexpr std::size_t kMostExpressions = 4'000'000;  // a larger graph is refused rather than read for minutes

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
          expression.pieces, expression.mask);
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

ExpressionId Expressions::state(std::size_t window, std::size_t which, std::size_t units) {
  return number({.kind = Kind::state,
                 .size = units,
                 .first = static_cast<std::uint32_t>(window),
                 .second = static_cast<std::uint32_t>(which),
                 .pieces = {}});
}

ExpressionId Expressions::cell_before(ExpressionId step) const {
  const auto found = cells_before_.find(step);
  return found == cells_before_.end() ? kNone : found->second;
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
  const bool keeps_scale = all_equal(scale, 1.0f);
  if (keeps_scale && all_equal(offset, 0.0f)) return x;
  const Expression inner = at(x);
  // (x * s + 0) * 1 + o is one affine without a rounding of ours in between.
  if (inner.kind == Kind::affine && keeps_scale && all_equal(constant(inner.second), 0.0f)) {
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
  if (function == Activation::relu && is(x, Activation::most_one)) {
    function = Activation::unit;
    x = at(x).x;
  }
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

ExpressionId Expressions::differs(float constant, ExpressionId x) {
  return number(
      {.kind = Kind::differs, .size = at(x).size, .x = x, .first = number_constant({constant}), .pieces = {}});
}

ExpressionId Expressions::any(ExpressionId x) {
  return at(x).size == 1 ? x : number({.kind = Kind::any, .size = 1, .x = x, .pieces = {}});
}

/// The mask that `id` is, or repeats; else kNone.
ExpressionId Expressions::mask_in(ExpressionId id) const {
  if (is(id, Kind::spread)) id = at(id).x;
  return is_mask(id) ? id : kNone;
}

/// A step that is chosen, or else the states before it, is a step under a mask. (Keras' way with one.)
ExpressionId Expressions::select(ExpressionId mask, ExpressionId x, ExpressionId y) {
  if (x == y) return x;
  Expression step = at(x);
  const bool lstm = step.kind == Kind::lstm_step;
  if ((lstm || step.kind == Kind::gru_step) && step.mask == kNone && step.y == y && (y == kNone || is(y, step.kind)) &&
      !(lstm && step.second == kNone)) {
    if (lstm) step.second = select(mask, step.second, y == kNone ? kNone : at(y).second);
    step.mask = mask;
    return number(std::move(step));
  }
  return number({.kind = Kind::select, .size = at(x).size, .x = x, .y = y, .first = mask, .pieces = {}});
}

ExpressionId Expressions::add(ExpressionId x, ExpressionId y) {
  for (const auto& [kept, written] : {std::pair(x, y), std::pair(y, x)}) {
    const auto step = match_gru_step(kept, written);
    if (step != kNone) return step;
  }
  return number({.kind = Kind::add, .size = at(x).size, .x = std::min(x, y), .y = std::max(x, y), .pieces = {}});
}

ExpressionId Expressions::multiply(ExpressionId x, ExpressionId y) {
  for (const auto& [gate, cell] : {std::pair(x, y), std::pair(y, x)}) {
    auto step = match_lstm_step(gate, cell);
    if (step == kNone) step = match_first_gru_step(gate, cell);
    if (step != kNone) return step;
  }
  for (const auto& [mask, operand] : {std::pair(mask_in(x), y), std::pair(mask_in(y), x)})
    if (mask != kNone) return select(mask, operand, kNone);
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

ExpressionId Expressions::gru_step(CellId id, ExpressionId x, ExpressionId previous) {
  return number({.kind = Kind::gru_step, .size = cell(id).units, .x = x, .y = previous, .first = id, .pieces = {}});
}

bool Expressions::is(ExpressionId id, Activation function) const {
  return at(id).kind == Kind::activation && at(id).first == static_cast<std::uint32_t>(function);
}

}  // namespace linkcast::tflite
