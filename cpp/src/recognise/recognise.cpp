#include "recognise/recognise.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "recognise/evaluate.h"
#include "recognise/expression.h"
#include "recognise/folding.h"
#include "recognise/layer.h"

namespace linkcast::tflite {
namespace {

/// Walks from a network's output back to its input, layer by layer.
class Unwinder {
 public:
  Unwinder(Expressions& expressions, FoldingBudget& budget, std::size_t window, std::size_t steps)
      : expressions_(expressions), budget_(budget), window_(window), steps_(steps) {}

  /// The layers that turn the window's steps into `rows`, in the order in which they run.
  std::vector<Layer> unwind(std::vector<ExpressionId> rows) {
    rows_ = std::move(rows);
    for (take_together(); !at_input(); take_together()) back_one_layer();
    std::reverse(layers_.begin(), layers_.end());
    std::reverse(last_steps_.begin(), last_steps_.end());
    return std::move(layers_);
  }

  /// The last step of each recurrence of that chain, in the order of its layers; without those of bidirectional ones.
  const std::vector<ExpressionId>& last_steps() const { return last_steps_; }

  /// Of the steps that the recurrences leave out; none: they leave none out.
  const std::optional<float>& mask_value() const { return mask_value_; }

 private:
  const Expression& front() const { return expressions_.at(rows_.front()); }

  [[noreturn]] void fail(ExpressionId at, const std::string& why) const {
    throw NotNative(expressions_.origin(at) + " " + why);
  }

  /// Rows that are all the same vector are one, repeated.
  void take_together() {
    take_off_masks();
    if (rows_.size() < 2 || std::any_of(rows_.begin(), rows_.end(), [&](ExpressionId r) { return r != rows_[0]; }))
      return;
    if (!masks_.empty()) fail(rows_[0], "repeats a vector under a mask");
    layers_.push_back({.kind = Layer::Kind::repeat, .first = static_cast<std::uint32_t>(rows_.size())});
    rows_.erase(rows_.begin() + 1, rows_.end());
  }

  /// What a step holds that its mask leaves out is not looked at by the layer behind.
  void take_off_masks() {
    if (masks_.size() != rows_.size()) return;
    for (std::size_t n = 0; n < rows_.size(); ++n) {
      const Expression& e = expressions_.at(rows_[n]);
      if (e.kind != Kind::select || e.first != masks_[n] || e.y != kNone) return;
    }
    for (auto& row : rows_) row = expressions_.at(row).x;
  }

  bool is_step(ExpressionId row, std::size_t step) const {
    const auto& e = expressions_.at(row);
    return e.kind == Kind::input && e.first == window_ && e.second == step;
  }

  bool at_input() {
    if (front().kind != Kind::input) return false;
    if (rows_.size() == 1 && steps_ > 1 && is_step(rows_[0], steps_ - 1)) {
      layers_.push_back({.kind = Layer::Kind::last_step});
      return true;
    }
    if (rows_.size() == steps_ && steps_ > 1 && is_step(rows_[0], steps_ - 1)) reverse();
    bool in_order = rows_.size() == steps_;
    for (std::size_t step = 0; in_order && step < steps_; ++step) in_order = is_step(rows_[step], step);
    if (!in_order)
      throw NotNative(
          "the model mixes windows, or reads its steps in another order than oldest first, or leaves some out");
    for (std::size_t step = 0; step < masks_.size(); ++step) read_mask(masks_[step], step);
    return true;
  }

  /// A mask says whether its step of the window differs from a value, the same for each.
  void read_mask(ExpressionId mask, std::size_t step) {
    const ExpressionId compared = expressions_.at(mask).kind == Kind::any ? expressions_.at(mask).x : mask;
    const Expression& e = expressions_.at(compared);
    if (e.kind != Kind::differs || !is_step(e.x, step)) fail(mask, "masks a step by something else than that step");
    const float value = expressions_.constant(e.first)[0];
    if (mask_value_ && *mask_value_ != value) fail(mask, "masks some steps by one value and some by another");
    mask_value_ = value;
  }

  /// Every row must come from the same layer; then the rows become that layer's inputs.
  void step_through(Layer layer) {
    const Expression shared = front();
    for (auto& row : rows_) {
      const auto& e = expressions_.at(row);
      if (e.kind != shared.kind || e.first != shared.first || e.second != shared.second)
        fail(row, "does not treat every time step alike");
      row = e.x;
    }
    layer.inputs = front().size;
    layers_.push_back(layer);
  }

  void back_one_layer() {
    const Expression e = front();
    switch (e.kind) {
      case Kind::activation:
        return step_through({.kind = Layer::Kind::activation, .first = e.first});
      case Kind::affine:
        return step_through({.kind = Layer::Kind::affine, .first = e.first, .second = e.second});
      case Kind::linear:
        return step_through({.kind = Layer::Kind::linear, .first = e.first});
      case Kind::gather:
        return bidirectional() ? void() : flatten();
      case Kind::lstm_step:
      case Kind::gru_step:
        return recurrence();
      case Kind::softmax:
        return step_through({.kind = Layer::Kind::softmax, .first = e.first});
      case Kind::normalise:
        return step_through({.kind = Layer::Kind::normalise, .first = e.first});
      case Kind::add:
        if (bidirectional()) return;
        return fold("adds two activations, which no native layer does outside a step of an LSTM or a GRU");
      case Kind::multiply:
        if (bidirectional()) return;
        return fold("multiplies two activations in another way than a step of an LSTM or a GRU does");
      case Kind::spread:
        fail(rows_[0], "repeats one activation, which no native layer does");
      case Kind::root:
        fail(rows_[0], "takes the root of an activation, which no native layer does outside a layer normalisation");
      case Kind::differs:
      case Kind::any:
        fail(rows_[0], "computes with a mask");
      case Kind::select:
        fail(rows_[0],
             "chooses by a mask, which no native layer does outside a step of an LSTM or a GRU that is behind it");
      case Kind::state:
        fail(rows_[0], "takes recurrent state in another way than a step of an LSTM or a GRU does");
      case Kind::input:
        break;
    }
    fail(rows_[0], "mixes the model's input with other activations");
  }

  void fold(const char* otherwise) {
    for (auto& row : rows_) {
      const auto id = folded(expressions_, row, budget_);
      if (id == kNone) fail(row, otherwise);
      row = id;
    }
  }

  /// One row that is made of whole vectors side by side.
  void flatten() {
    const ExpressionId row = rows_[0];
    const auto pieces = front().pieces;
    if (rows_.size() > 1) {
      const auto masked = [&](const Piece& piece) { return expressions_.at(piece.source).kind == Kind::select; };
      for (const auto other : rows_)
        if (const auto& joined = expressions_.at(other).pieces; std::any_of(joined.begin(), joined.end(), masked))
          fail(row, "joins vectors at each time step that a mask has set to zero");
      fail(row, "joins vectors at each time step");
    }
    rows_.clear();
    for (const auto& piece : pieces) {
      const auto size = expressions_.at(piece.source).size;
      if (piece.start != 0 || piece.size != size || size != expressions_.at(pieces[0].source).size)
        fail(row, "cuts an activation into pieces");
      rows_.push_back(piece.source);
    }
    layers_.push_back({.kind = Layer::Kind::flatten});
  }

  void reverse() {
    std::reverse(rows_.begin(), rows_.end());
    std::reverse(masks_.begin(), masks_.end());
    layers_.push_back({.kind = Layer::Kind::reverse});
  }

  static bool is_state(const Expression& e) { return e.kind == Kind::lstm_step || e.kind == Kind::gru_step; }
  static Layer::Kind layer_of(const Expression& e) {
    return e.kind == Kind::gru_step ? Layer::Kind::gru : Layer::Kind::lstm;
  }

  /// The states up to `last`, oldest first, without one that comes in from outside.
  std::vector<ExpressionId> chain(ExpressionId last) const {
    std::vector<ExpressionId> states;
    for (; last != kNone && is_state(expressions_.at(last)); last = expressions_.at(last).y) states.push_back(last);
    std::reverse(states.begin(), states.end());
    return states;
  }

  /// The masks of a chain of states; none when it has none.
  std::vector<ExpressionId> masks_of(const std::vector<ExpressionId>& states) const {
    std::vector<ExpressionId> masks;
    for (const auto state : states)
      if (expressions_.at(state).mask != kNone) masks.push_back(expressions_.at(state).mask);
    if (!masks.empty() && masks.size() != states.size()) fail(states[0], "masks some of its steps");
    return masks;
  }

  /// A window is computed without the steps that its mask leaves out: so all recurrences up to the last step leave out the
  /// same ones, and nothing else sees them.
  void take_masks(std::vector<ExpressionId> masks, bool last_alone, ExpressionId at) {
    if (masks.empty() && masks_.empty()) return;
    if (masks_.empty() && !last_alone) fail(at, "gives the steps that its mask leaves out to what follows");
    if (masks_.empty() && masks.size() < 2) fail(at, "has a mask of one step");
    if (!masks_.empty() && masks != masks_)
      fail(at, "leaves out other steps by its mask than the recurrence behind it");
    masks_ = std::move(masks);
  }

  void recurrence() {
    const bool last_alone = rows_.size() == 1;
    if (rows_.size() == 1) {
      // The last of a chain of states: take the chain as a sequence.
      rows_ = chain(rows_[0]);
      if (rows_.size() > 1) layers_.push_back({.kind = Layer::Kind::last_step});
    } else if (expressions_.at(rows_[0]).y == rows_[1]) {
      reverse();
    }
    const Expression last = expressions_.at(rows_.back());
    Layer layer{.kind = layer_of(last), .first = last.first};
    start_from_outside(rows_.front(), layer);
    last_steps_.push_back(rows_.back());
    take_masks(masks_of(rows_), last_alone, rows_.back());
    rows_ = inputs_of(rows_);
    layer.inputs = front().size;
    layers_.push_back(layer);
  }

  /// Notes the inputs of the graph that the first step of a recurrence starts from, if it does.
  void start_from_outside(ExpressionId step, Layer& layer) const {
    const ExpressionId before = expressions_.at(step).y;
    if (before == kNone || expressions_.at(before).kind != Kind::state) return;
    layer.hidden_from = expressions_.at(before).second;
    const ExpressionId cell = expressions_.cell_before(step);
    if (cell != kNone) layer.cell_from = expressions_.at(cell).second;
    for (const auto state : {before, cell})
      if (state != kNone && expressions_.at(state).first != window_) fail(step, "takes the state of another window");
  }

  /// The inputs of a chain of states, oldest first, which all have to be of one recurrence.
  std::vector<ExpressionId> inputs_of(const std::vector<ExpressionId>& states) const {
    const Expression& last = expressions_.at(states.back());
    std::vector<ExpressionId> inputs;
    const ExpressionId outside = expressions_.at(states.front()).y;
    ExpressionId before = outside != kNone && expressions_.at(outside).kind == Kind::state ? outside : kNone;
    for (const auto state : states) {
      const Expression& e = expressions_.at(state);
      if (!is_state(last) || e.kind != last.kind) fail(state, "does not treat every time step alike");
      if (e.y != before) fail(state, "takes the states of a recurrence in another order than oldest first");
      if (!same_weights(e.first, last.first)) fail(state, "does not treat every time step alike");
      before = state;
      inputs.push_back(e.x);
    }
    return inputs;
  }

  /// A first step has no recurrent weights and no forget or reset gate, or has them alike.
  bool same_weights(CellId one, CellId later) const {
    if (one == later) return true;
    const auto& a = expressions_.cell(one);
    const auto& b = expressions_.cell(later);
    if (a.inputs != b.inputs || a.units != b.units || a.cell_clip != b.cell_clip || a.activation != b.activation ||
        a.gate_activation != b.gate_activation)
      return false;
    for (const std::size_t gate : {0, 2, 3}) {
      const auto& g = a.gates[gate];
      if (g.recurrent.matrix != kNone || g.input != b.gates[gate].input || g.bias != b.gates[gate].bias) return false;
    }
    if (a.gates[1].input.matrix == kNone) return a.recurrent_bias == kNone && no_bias(b.recurrent_bias);
    return a.gates[1].input == b.gates[1].input && a.gates[1].bias == b.gates[1].bias &&
           (a.recurrent_bias == b.recurrent_bias || (a.recurrent_bias == kNone && no_bias(b.recurrent_bias)));
  }

  bool no_bias(ConstantId id) const {
    return id == kNone || std::all_of(expressions_.constant(id).begin(), expressions_.constant(id).end(),
                                      [](float v) { return v == 0.0F; });
  }

  /// The time step of the model's input that is read first on the way to a state's own input.
  std::uint32_t step_of(ExpressionId id) const {
    for (;;) {
      const Expression& e = expressions_.at(id);
      if (e.kind == Kind::input) return e.second;
      id = e.kind == Kind::gather ? e.pieces[0].source : e.x;
    }
  }

  /// The two states that meet in a row: side by side, added or multiplied. False: there are no two such states.
  bool states_in(ExpressionId row, std::pair<ExpressionId, ExpressionId>& states) const {
    const Expression& e = expressions_.at(row);
    states = {e.x, e.y};
    if (e.kind == Kind::gather) {
      if (e.pieces.size() != 2) return false;
      for (const auto& piece : e.pieces)
        if (piece.start != 0 || piece.size != expressions_.at(piece.source).size) return false;
      states = {e.pieces[0].source, e.pieces[1].source};
    } else if (e.kind != Kind::add && e.kind != Kind::multiply) {
      return false;
    }
    return is_state(expressions_.at(states.first)) && is_state(expressions_.at(states.second));
  }

  /// Two recurrences over the same inputs, in the one order and in the other. False: it is something else.
  bool bidirectional() {
    const Kind meet = front().kind;
    const bool sequence = rows_.size() > 1;
    std::vector<ExpressionId> forward;   // states, oldest first
    std::vector<ExpressionId> backward;  // in the order in which they are computed, newest input first
    std::pair<ExpressionId, ExpressionId> states;
    if (!states_in(rows_[0], states)) return false;
    if (!sequence) {
      forward = chain(states.first);
      backward = chain(states.second);
      // A sum or a product does not say which is which.
      if (meet != Kind::gather && step_of(forward.front()) > step_of(forward.back())) std::swap(forward, backward);
    } else {
      if (step_of(rows_.front()) > step_of(rows_.back())) reverse();
      for (const auto row : rows_) {
        if (expressions_.at(row).kind != meet || !states_in(row, states)) return false;
        const bool turned =
            meet != Kind::gather && expressions_.at(states.first).y != (forward.empty() ? kNone : forward.back());
        forward.push_back(turned ? states.second : states.first);
        backward.push_back(turned ? states.first : states.second);
      }
      std::reverse(backward.begin(), backward.end());
    }
    if (forward.size() != backward.size()) return false;
    Layer layer{.kind = Layer::Kind::bidirectional};
    const Expression& last = expressions_.at(forward.back());
    const Expression& first = expressions_.at(backward.back());
    layer.first = last.first;
    layer.second = first.first;
    layer.forward = layer_of(last);
    layer.backward = layer_of(first);
    layer.merge = meet == Kind::gather ? BidirectionalSpec::Merge::concatenate
                  : meet == Kind::add  ? BidirectionalSpec::Merge::sum
                                       : BidirectionalSpec::Merge::product;
    layer.sequence = sequence;
    auto masks = masks_of(backward);
    std::reverse(masks.begin(), masks.end());
    if (masks != masks_of(forward))
      fail(rows_[0], "joins two recurrences of which one leaves out other steps by its mask");
    take_masks(std::move(masks), !sequence, rows_[0]);
    const auto inputs = inputs_of(forward);
    auto turned = inputs_of(backward);
    std::reverse(turned.begin(), turned.end());
    if (inputs != turned) fail(rows_[0], "joins two recurrences that do not read one sequence in both directions");
    rows_ = inputs;
    layer.inputs = front().size;
    layers_.push_back(layer);
    return true;
  }

  Expressions& expressions_;
  FoldingBudget& budget_;
  std::size_t window_;
  std::size_t steps_;
  std::vector<ExpressionId> rows_;  // one per time step, or one alone
  std::vector<Layer> layers_;       // the last one first
  std::vector<ExpressionId> last_steps_;
  std::vector<ExpressionId> masks_;  // of `rows_`; empty where nothing behind them has one
  std::optional<float> mask_value_;
};

struct InputShape {
  std::size_t batch = 0;
  std::size_t steps = 1;
  std::size_t features = 0;
  bool sequence = false;
};

InputShape shape_of(const GraphTensor& input) {
  if (input.type != kTypeFloat32)
    throw NotNative("the model's input is " + element_type_name(input.type) +
                    ": no native kernel works with whole numbers");
  const auto rank = input.shape.size();
  if ((rank != 2 && rank != 3) ||
      std::any_of(input.shape.begin(), input.shape.end(), [](std::int64_t d) { return d < 1; }))
    throw NotNative("the model's input is neither (batch, features) nor (batch, steps, features)");
  InputShape shape;
  shape.sequence = rank == 3;
  shape.batch = static_cast<std::size_t>(input.shape[0]);
  if (shape.sequence) shape.steps = static_cast<std::size_t>(input.shape[1]);
  shape.features = static_cast<std::size_t>(input.shape[rank - 1]);
  constexpr std::size_t kMost = std::size_t{1} << 22;
  constexpr std::size_t kMostRows = std::size_t{1} << 16;  // each is an expression of its own
  if (shape.batch > kMostRows || shape.steps > kMostRows || shape.features > kMost ||
      shape.batch * shape.steps > kMostRows || shape.batch * shape.steps * shape.features > kMost)
    throw NotNative("the model's input is too large to be read");
  return shape;
}

ValuePtr symbolic_state(const InputShape& shape, const GraphTensor& tensor, std::size_t which,
                        Expressions& expressions) {
  if (tensor.type != kTypeFloat32 || tensor.shape.size() != 2 ||
      tensor.shape[0] != static_cast<std::int64_t>(shape.batch) || tensor.shape[1] < 1 ||
      tensor.shape[1] > std::int64_t{1} << 16)
    throw NotNative("an input beside the window is not recurrent state of (batch, units)");
  auto value = std::make_shared<Value>();
  value->type = kTypeFloat32;
  value->shape = tensor.shape;
  const auto units = static_cast<std::size_t>(tensor.shape[1]);
  for (std::size_t window = 0; window < shape.batch; ++window) {
    const auto row = expressions.state(window, which, units);
    for (std::uint32_t n = 0; n < units; ++n) {
      value->elements.emplace_back();
      value->elements.back().expression = row;
      value->elements.back().index = n;
    }
  }
  return value;
}

ValuePtr symbolic_input(const InputShape& shape, const GraphTensor& tensor, Expressions& expressions) {
  auto value = std::make_shared<Value>();
  value->type = kTypeFloat32;
  value->shape = tensor.shape;
  for (std::size_t window = 0; window < shape.batch; ++window)
    for (std::size_t step = 0; step < shape.steps; ++step) {
      const auto row = expressions.input(window, step, shape.features);
      for (std::uint32_t n = 0; n < shape.features; ++n) {
        value->elements.emplace_back();
        value->elements.back().expression = row;
        value->elements.back().index = n;
      }
    }
  return value;
}

/// The vectors that make up the elements from `begin` on: each whole, all of one size.
std::vector<ExpressionId> rows_of(const Element* begin, std::size_t count, const Expressions& expressions) {
  std::vector<ExpressionId> rows;
  std::size_t size = 0;  // of one row
  for (std::size_t n = 0; n < count; ++n) {
    const auto& e = begin[n];
    if (e.expression == kNone) throw NotNative("a part of the model's output is constant");
    if (n == 0) size = expressions.at(e.expression).size;
    if (n % size == 0) rows.push_back(e.expression);
    if (e.expression != rows.back() || e.index != n % size || expressions.at(e.expression).size != size)
      throw NotNative(expressions.origin(e.expression) + " gives an output that is put together from pieces");
  }
  if (rows.size() * size != count) throw NotNative("the model's output is put together from pieces");
  return rows;
}

/// @param mask_value  out; see NetworkSpec
std::vector<Layer> layers_of(const Value& output, const InputShape& shape, Expressions& expressions,
                             std::optional<float>& mask_value) {
  const std::size_t batch = shape.batch;
  if (output.type != kTypeFloat32 || !output.symbolic())
    throw NotNative("the model's output does not depend on its input, or is not float32");
  if (output.shape.empty() || static_cast<std::size_t>(output.shape[0]) != batch)
    throw NotNative("the model's output does not start with the batch of its input");
  const std::size_t size = output.elements.size() / batch;
  std::vector<Layer> layers;
  FoldingBudget budget;
  for (std::size_t window = 0; window < batch; ++window) {
    auto rows = rows_of(&output.elements[window * size], size, expressions);
    Unwinder unwinder(expressions, budget, window, shape.steps);
    auto own = unwinder.unwind(std::move(rows));
    if (window > 0 && (own != layers || unwinder.mask_value() != mask_value))
      throw NotNative("the model does not treat every window of its batch alike");
    layers = std::move(own);
    mask_value = unwinder.mask_value();
  }
  return layers;
}

constexpr std::size_t kMostEdges = 16;  // inputs or outputs of a network that steps

/// A graph whose inputs beside the window are recurrent state, and whose outputs beside the answer are, too.
class SteppingGraph {
 public:
  explicit SteppingGraph(const SubgraphSource& subgraphs) : subgraphs_(subgraphs), graph_(subgraphs(0)) {}

  /// Which input is the window and which output the answer does not stand in the file: the first that fit are taken, since
  /// what they compute is the same.
  RecognisedNetwork recognise() {
    const std::string edges =
        std::to_string(graph_.inputs.size()) + " inputs and " + std::to_string(graph_.outputs.size()) + " outputs";
    if (graph_.inputs.size() > kMostEdges || graph_.outputs.size() > kMostEdges)
      throw NotNative("the model has " + edges + "; a native network has at most " + std::to_string(kMostEdges));
    std::string why;
    for (std::size_t window = 0; window < graph_.inputs.size(); ++window) {
      if (is_sequence(window) != has_sequence()) continue;
      try {
        return with_window(window);
      } catch (const NotNative& problem) {
        if (why.empty()) why = problem.what();
      }
    }
    throw NotNative("the model has " + edges +
                    ", which are not a window, an answer and the states of LSTMs and GRUs between them: " + why);
  }

 private:
  const GraphTensor& input(std::size_t n) const { return graph_.tensors[static_cast<std::size_t>(graph_.inputs[n])]; }
  bool is_sequence(std::size_t n) const { return input(n).shape.size() == 3; }
  bool has_sequence() const {
    for (std::size_t n = 0; n < graph_.inputs.size(); ++n)
      if (is_sequence(n)) return true;
    return false;
  }

  RecognisedNetwork with_window(std::size_t window) {
    const auto shape = shape_of(input(window));
    Expressions expressions;
    Evaluator evaluator(subgraphs_, expressions);
    std::vector<ValuePtr> inputs;
    for (std::size_t n = 0; n < graph_.inputs.size(); ++n)
      inputs.push_back(n == window ? symbolic_input(shape, input(n), expressions)
                                   : symbolic_state(shape, input(n), n, expressions));
    const auto outputs = evaluator.run(0, inputs);
    std::string why;
    for (std::size_t answer = 0; answer < outputs.size(); ++answer) {
      try {
        auto network = with_answer(outputs, answer, shape, expressions);
        network.state->window = window;
        network.quantised_weights = evaluator.quantised_weights();
        return network;
      } catch (const NotNative& problem) {
        if (why.empty()) why = problem.what();
      }
    }
    throw NotNative(why);
  }

  static RecognisedNetwork with_answer(const std::vector<ValuePtr>& outputs, std::size_t answer,
                                       const InputShape& shape, Expressions& expressions) {
    RecognisedNetwork network;
    StateEdges& state = network.state.emplace();
    state.batch = shape.batch;
    std::vector<std::vector<ExpressionId>> rows;  // of each output: (batch), each a vector as a whole
    for (const auto& output : outputs) {
      rows.push_back(rows_of_output(*output, shape.batch, expressions));
      state.output_shapes.push_back(output->shape);
    }
    std::vector<Layer> layers;
    FoldingBudget budget;
    for (std::size_t window = 0; window < shape.batch; ++window) {
      Unwinder unwinder(expressions, budget, window, shape.steps);
      auto own = unwinder.unwind({rows[answer][window]});
      if (unwinder.mask_value()) throw NotNative("the model has a mask, and its state at its edge");
      StateEdges edges;
      for (std::size_t n = 0; n < rows.size(); ++n) {
        if (is_last_state(rows[n][window], n, unwinder.last_steps(), expressions, edges)) continue;
        if (rows[n][window] != rows[answer][window])
          throw NotNative(expressions.origin(rows[n][window]) +
                          " gives an output that is neither the answer nor the last state of a recurrence before it");
        edges.answers.push_back(n);
      }
      if (window > 0 && (own != layers || edges.answers != state.answers || edges.outputs != state.outputs))
        throw NotNative("the model does not treat every window of its batch alike");
      layers = std::move(own);
      state.outputs = std::move(edges.outputs);
      state.answers = std::move(edges.answers);
    }
    std::size_t recurrent = 0;
    std::size_t behind = 0;  // the last recurrence
    for (std::size_t n = 0; n < layers.size(); ++n) {
      const Layer& layer = layers[n];
      if (layer.kind != Layer::Kind::lstm && layer.kind != Layer::Kind::gru) continue;
      if (layer.hidden_from != kNone) state.inputs.push_back({recurrent, false, layer.hidden_from});
      if (layer.cell_from != kNone) state.inputs.push_back({recurrent, true, layer.cell_from});
      ++recurrent;
      behind = n + 1;
    }
    if (recurrent == 0) throw NotNative("its outputs follow from no LSTM or GRU");
    const auto last_step = [](const Layer& layer) { return layer.kind == Layer::Kind::last_step; };
    if (std::none_of(layers.begin(), layers.end(), last_step))  // a single one
      layers.insert(layers.begin() + static_cast<std::ptrdiff_t>(behind), Layer{.kind = Layer::Kind::last_step});
    network.spec.steps = shape.steps;
    network.spec.features = shape.features;
    network.spec.sequence_input = true;
    network.spec.layers = specification_of(layers, expressions);
    network.output_shape = state.output_shapes[answer];
    return network;
  }

  static std::vector<ExpressionId> rows_of_output(const Value& output, std::size_t batch,
                                                  const Expressions& expressions) {
    if (output.type != kTypeFloat32 || !output.symbolic() || output.shape.empty() ||
        static_cast<std::size_t>(output.shape[0]) != batch)
      throw NotNative("an output is not float32 that follows from the inputs, batch first");
    auto rows = rows_of(output.elements.data(), output.elements.size(), expressions);
    if (rows.size() != batch) throw NotNative("an output is more than one vector for each window");
    return rows;
  }

  static bool is_last_state(ExpressionId row, std::size_t edge, const std::vector<ExpressionId>& last_steps,
                            const Expressions& expressions, StateEdges& edges) {
    for (std::size_t layer = 0; layer < last_steps.size(); ++layer) {
      const Expression& step = expressions.at(last_steps[layer]);
      const bool cell = step.kind == Kind::lstm_step && step.second == row;
      if (!cell && last_steps[layer] != row) continue;
      edges.outputs.push_back({layer, cell, edge});
      return true;
    }
    return false;
  }

  const SubgraphSource& subgraphs_;
  const Subgraph& graph_;
};

}  // namespace

RecognisedNetwork recognise(const SubgraphSource& subgraphs) {
  const auto& graph = subgraphs(0);
  if (graph.inputs.size() != 1 || graph.outputs.size() != 1) return SteppingGraph(subgraphs).recognise();
  const auto& input = graph.tensors[static_cast<std::size_t>(graph.inputs[0])];
  const auto shape = shape_of(input);

  Expressions expressions;
  Evaluator evaluator(subgraphs, expressions);
  const auto output = evaluator.run(0, {symbolic_input(shape, input, expressions)}).front();
  RecognisedNetwork network;
  const auto layers = layers_of(*output, shape, expressions, network.spec.mask_value);
  if (layers.empty()) throw NotNative("the model computes nothing");
  network.spec.steps = shape.steps;
  network.spec.features = shape.features;
  network.spec.sequence_input = shape.sequence;
  network.spec.layers = specification_of(layers, expressions);
  network.output_shape = output->shape;
  network.quantised_weights = evaluator.quantised_weights();
  return network;
}

}  // namespace linkcast::tflite
