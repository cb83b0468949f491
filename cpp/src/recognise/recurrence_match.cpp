// Steps of LSTMs and GRUs among expressions, told by their equations.
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "recognise/expression.h"

namespace linkcast::tflite {
namespace {

constexpr int kDeepestSum = 32;  // W x + R h + b needs four levels; a hostile graph could nest without end
constexpr float kSixthTolerance = 1e-6f;

bool all_equal(const std::vector<float>& values, float wanted) {
  return std::all_of(values.begin(), values.end(), [wanted](float value) { return value == wanted; });
}

/// Both ways to name two operands.
std::array<std::pair<ExpressionId, ExpressionId>, 2> either_way(const Expression& e) {
  return {std::pair(e.x, e.y), std::pair(e.y, e.x)};
}

}  // namespace

/// What is known of a step while its gates are read. Every gate must name the same x and h: the first one read sets
/// them.
struct Expressions::StepMatch {
  bool first = false;                  // of its sequence: no recurrent terms
  ExpressionId x = kNone;              // its input
  ExpressionId previous = kNone;       // the hidden state before it
  ExpressionId previous_cell = kNone;  // LSTM: the cell state before it, by which `previous` is told
  Cell cell;
};

/// Takes the terms of scale * (elements start .. start + size of an expression) apart.
/// @param product  whether one term may be a product of two vectors, or of a gate and a constant
bool Expressions::add_terms(ExpressionId id, std::size_t start, std::size_t size, double scale, Sum& sum, bool product,
                            int depth) const {
  if (depth > kDeepestSum) return false;
  const auto& e = at(id);
  const bool whole = start == 0 && size == e.size;
  switch (e.kind) {
    case Kind::gather:
      return e.pieces.size() == 1 &&
             add_terms(e.pieces[0].source, e.pieces[0].start + start, size, scale, sum, product, depth + 1);
    case Kind::linear:
      sum.terms.push_back({{e.first, start, static_cast<float>(scale)}, e.x});
      return true;
    case Kind::affine: {
      const auto& factors = constant(e.first);
      const auto& offset = constant(e.second);
      for (std::size_t n = 0; n < size; ++n) sum.offset[n] += scale * static_cast<double>(offset[start + n]);
      if (product && whole && scale == 1.0 && sum.product == kNone && gate(e.x)) {
        sum.product = id;
        return true;
      }
      const float factor = factors[start];
      for (std::size_t n = 0; n < size; ++n)
        if (factors[start + n] != factor) return false;
      return add_terms(e.x, start, size, scale * static_cast<double>(factor), sum, product, depth + 1);
    }
    case Kind::add:
      return sum.terms.size() < 2 && add_terms(e.x, start, size, scale, sum, product, depth + 1) &&
             add_terms(e.y, start, size, scale, sum, product, depth + 1);
    case Kind::multiply:
      if (!product || !whole || scale != 1.0 || sum.product != kNone) return false;
      sum.product = id;
      return true;
    default:
      return false;
  }
}

std::optional<Expressions::Sum> Expressions::sum_of(ExpressionId id, float scale, bool product) const {
  Sum sum;
  sum.offset.assign(at(id).size, 0.0);
  if (!add_terms(id, 0, at(id).size, static_cast<double>(scale), sum, product, 0)) return std::nullopt;
  return sum;
}

/// A sigmoid, or a hard one: that of the legacy Keras, min(max(x / 5 + 1/2, 0), 1), or of Keras 3, relu6(x + 3) / 6.
std::optional<Expressions::Activated> Expressions::gate(ExpressionId id) const {
  const auto& e = at(id);
  if (is(id, Activation::sigmoid)) return Activated{Activation::sigmoid, e.x, 1.0f};
  if (is(id, Activation::unit)) return Activated{Activation::unit, e.x, 1.0f};
  if (e.kind != Kind::affine || !is(e.x, Activation::relu6)) return std::nullopt;
  const auto& scale = constant(e.first);
  if (!all_equal(scale, scale[0]) || !all_equal(constant(e.second), 0.0f) ||
      !(std::fabs(6.0f * scale[0] - 1.0f) <= kSixthTolerance))
    return std::nullopt;
  return Activated{Activation::unit, at(e.x).x, scale[0]};
}

/// Any function; an expression without one is what it is of itself.
Expressions::Activated Expressions::activated(ExpressionId id) const {
  if (const auto as_gate = gate(id)) return *as_gate;
  const auto& e = at(id);
  if (e.kind == Kind::activation) return {static_cast<Activation>(e.first), e.x, 1.0f};
  return {Activation::none, id, 1.0f};
}

/// 1 - x
bool Expressions::is_complement(ExpressionId id, ExpressionId of) const {
  const auto& e = at(id);
  return e.kind == Kind::affine && e.x == of && all_equal(constant(e.first), -1.0f) &&
         all_equal(constant(e.second), 1.0f);
}

/// Reads gate(W x + R h + b); R h is absent at the first step.
bool Expressions::read_gate(StepMatch& match, const Activated& activated, Gate& gate) {
  auto sum = sum_of(activated.before, activated.scale, false);
  if (!sum || sum->terms.size() != (match.first ? 1U : 2U)) return false;
  for (const auto& term : sum->terms) {
    const auto& operand = at(term.operand);
    // A hidden state that comes in from outside is told from the step's input by its kind alone.
    const bool is_previous = match.previous_cell == kNone ? term.operand == match.previous
                             : at(match.previous_cell).kind == Kind::state
                                 ? operand.kind == Kind::state
                                 : operand.kind == Kind::lstm_step && operand.second == match.previous_cell;
    const bool recurrent = !match.first && gate.recurrent.matrix == kNone && is_previous;
    auto& seen = recurrent ? match.previous : match.x;
    if (seen != kNone && seen != term.operand) return false;
    seen = term.operand;
    (recurrent ? gate.recurrent : gate.input) = term.rows;
  }
  if (gate.input.matrix == kNone || (!match.first && gate.recurrent.matrix == kNone)) return false;
  gate.bias = number_constant({sum->offset.begin(), sum->offset.end()});
  return true;
}

/// h = sigmoid(zo) * tanh(c) with c = sigmoid(zf) * c' + sigmoid(zi) * tanh(zg), or c = sigmoid(zi) * tanh(zg) at the
/// first step, where c' = 0; each z = W x + R h' + b. (Hochreiter and Schmidhuber 1997 with the forget gate of Gers et
/// al. 2000, as in Keras.) The three gates are of one kind, and candidate and output have one activation, which may be
/// any, or none.
ExpressionId Expressions::match_lstm_step(ExpressionId output_gate, ExpressionId squashed_cell) {
  const auto output = gate(output_gate);
  if (!output) return kNone;
  const auto squashed = activated(squashed_cell);
  if (squashed.scale != 1.0f) return kNone;
  const ExpressionId cell_state = squashed.before;
  std::vector<std::pair<ExpressionId, ExpressionId>> splits;  // (f * c', i * g)
  const Expression c = at(cell_state);
  if (c.kind == Kind::multiply) splits = {{kNone, cell_state}};
  if (c.kind == Kind::add) splits = {{c.x, c.y}, {c.y, c.x}};
  for (const auto& [kept, written] : splits) {
    StepMatch match;
    match.cell.activation = squashed.function;
    match.cell.gate_activation = output->function;
    match.cell.units = c.size;
    match.first = kept == kNone;
    if (!read_lstm_cell(match, *output, kept, written)) continue;
    match.cell.inputs = at(match.x).size;
    if (!match.first && at(match.previous).size != match.cell.units) continue;
    const auto step = lstm_step(number_cell(match.cell), match.x, match.previous, cell_state);
    if (match.previous_cell != kNone && at(match.previous_cell).kind == Kind::state)
      cells_before_[step] = match.previous_cell;
    return step;
  }
  return kNone;
}

/// Reads f * c' and i * g, each in either order; c' is whatever f is multiplied with.
bool Expressions::read_lstm_cell(StepMatch& match, const Activated& output, ExpressionId kept, ExpressionId written) {
  const auto is_gate = [&](const std::optional<Activated>& found) {
    return found && found->function == match.cell.gate_activation;
  };
  std::vector<std::pair<Activated, ExpressionId>> forget;  // with c'
  if (match.first) {
    forget.push_back({output, kNone});
  } else {
    const Expression product = at(kept);
    if (product.kind != Kind::multiply) return false;
    for (const auto& [f, before] : either_way(product))
      if (const auto found = gate(f); is_gate(found)) forget.push_back({*found, before});
  }
  const Expression product = at(written);
  if (product.kind != Kind::multiply) return false;
  const StepMatch unread = match;
  for (const auto& [i, g] : either_way(product)) {
    const auto input = gate(i);
    const auto candidate = activated(g);
    if (!is_gate(input) || candidate.function != match.cell.activation) continue;
    for (const auto& [f, before] : forget) {
      match = unread;
      match.previous_cell = before;
      auto& gates = match.cell.gates;
      if (!read_gate(match, *input, gates[0]) || (!match.first && !read_gate(match, f, gates[1])) ||
          !read_gate(match, candidate, gates[2]) || !read_gate(match, output, gates[3]))
        continue;
      // When the candidate's function is the gates', either may be called the input gate: the same one at every step.
      if (match.cell.activation != match.cell.gate_activation || gates[0].input <= gates[2].input) return true;
    }
  }
  return false;
}

/// h = z * h' + (1 - z) * g: a GRU's step behind another one.
ExpressionId Expressions::match_gru_step(ExpressionId kept, ExpressionId written) {
  const Expression state = at(kept);
  const Expression update = at(written);
  if (state.kind != Kind::multiply || update.kind != Kind::multiply) return kNone;
  for (const auto& [z, previous] : either_way(state)) {
    const auto gate_z = gate(z);
    if (!gate_z || (at(previous).kind != Kind::gru_step && at(previous).kind != Kind::state)) continue;
    for (const auto& [complement, candidate] : either_way(update)) {
      if (!is_complement(complement, z)) continue;
      StepMatch match;
      match.previous = previous;
      match.cell.gate_activation = gate_z->function;
      match.cell.units = state.size;
      if (!read_gate(match, *gate_z, match.cell.gates[0]) || !read_gru_candidate(match, candidate)) continue;
      match.cell.inputs = at(match.x).size;
      return gru_step(number_cell(match.cell), match.x, previous);
    }
  }
  return kNone;
}

/// h = (1 - z) * g, where h' = 0.
ExpressionId Expressions::match_first_gru_step(ExpressionId complement, ExpressionId candidate) {
  if (at(complement).kind != Kind::affine) return kNone;
  const ExpressionId z = at(complement).x;
  const auto gate_z = gate(z);
  if (!gate_z || !is_complement(complement, z)) return kNone;
  StepMatch match;
  match.first = true;
  match.cell.gate_activation = gate_z->function;
  match.cell.units = at(complement).size;
  if (!read_gate(match, *gate_z, match.cell.gates[0]) || !read_gru_candidate(match, candidate)) return kNone;
  match.cell.inputs = at(match.x).size;
  return gru_step(number_cell(match.cell), match.x, kNone);
}

/// g = tanh(W x + b + r * (R h' + b')) or g = tanh(W x + b + R (r * h')); at the first step the reset gate stands alone
/// with b', or nowhere. (Cho et al. 2014; with the first, as in cuDNN.)
bool Expressions::read_gru_candidate(StepMatch& match, ExpressionId candidate) {
  Cell& cell = match.cell;
  const auto function = activated(candidate);
  auto sum = sum_of(function.before, function.scale, true);
  if (!sum) return false;
  cell.activation = function.function;
  cell.gates[2].bias = number_constant({sum->offset.begin(), sum->offset.end()});
  const auto is_gate = [&](const std::optional<Activated>& found) {
    return found && found->function == cell.gate_activation;
  };
  const auto takes_input = [&](const Sum::Term& term) {
    cell.gates[2].input = term.rows;
    return term.operand == match.x;
  };

  if (sum->product == kNone && match.first) return sum->terms.size() == 1 && takes_input(sum->terms[0]);
  if (sum->product == kNone) {  // the reset gate in front of the matrix
    if (sum->terms.size() != 2) return false;
    for (std::size_t n = 0; n < 2; ++n) {
      const auto& term = sum->terms[n];
      const Expression reset = at(term.operand);
      if (reset.kind != Kind::multiply || !takes_input(sum->terms[1 - n])) continue;
      for (const auto& [r, state] : either_way(reset)) {
        const auto found = gate(r);
        if (state != match.previous || !is_gate(found)) continue;
        cell.gates[2].recurrent = term.rows;
        cell.reset_before = true;
        return read_gate(match, *found, cell.gates[1]);
      }
    }
    return false;
  }
  if (sum->terms.size() != 1 || !takes_input(sum->terms[0])) return false;
  const Expression product = at(sum->product);
  if (product.kind == Kind::affine) {  // r * b'
    const auto found = gate(product.x);
    cell.recurrent_bias = product.first;
    return match.first && is_gate(found) && read_gate(match, *found, cell.gates[1]);
  }
  for (const auto& [r, inner] : either_way(product)) {
    const auto found = gate(r);
    if (match.first || !is_gate(found)) continue;
    auto state = sum_of(inner, 1.0f, false);
    if (!state || state->terms.size() != 1 || state->terms[0].operand != match.previous) continue;
    cell.gates[2].recurrent = state->terms[0].rows;
    cell.recurrent_bias = number_constant({state->offset.begin(), state->offset.end()});
    return read_gate(match, *found, cell.gates[1]);
  }
  return false;
}

}  // namespace linkcast::tflite
