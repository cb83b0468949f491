#include "recognise/unwind.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

namespace linkcast::tflite {
namespace {

/// Walks from a network's output back to its input, layer by layer.
class Unwinder {
 public:
  Unwinder(Expressions& expressions, FoldingBudget& budget, std::size_t window, std::size_t steps)
      : expressions_(expressions), budget_(budget), window_(window), steps_(steps) {}

  Unwound unwind(std::vector<ExpressionId> rows) {
    rows_ = std::move(rows);
    for (take_together(); !at_input(); take_together()) back_one_layer();
    std::reverse(layers_.begin(), layers_.end());
    for (bool reversed = false; const Layer& layer : layers_) {
      reversed = reversed || layer.kind == Layer::Kind::reverse;
      if (reversed && layer.kind == Layer::Kind::unmask)
        throw NotNative(
            "a sequence is read newest step first under a mask, and given with the steps that it leaves out");
    }
    std::reverse(last_steps_.begin(), last_steps_.end());
    return {std::move(layers_), std::move(last_steps_), mask_value_};
  }

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
    if (masks_.empty() || masks_.size() != rows_.size()) return;
    std::vector<ExpressionId> masks;
    if (auto rows = without_zeros(masks); masks == masks_) rows_ = std::move(rows);
  }

  /// The rows as they are where their masks hold, if elsewhere they are zeros.
  /// @param masks  out: of each row; empty when any has none
  std::vector<ExpressionId> without_zeros(std::vector<ExpressionId>& masks) {
    std::vector<ExpressionId> rows;
    for (const auto row : rows_) {
      ExpressionId mask = kNone;
      rows.push_back(without_zeros(row, mask));
      if (mask == kNone) {
        masks.clear();
        return rows;
      }
      masks.push_back(mask);
    }
    return rows;
  }

  /// A vector, or two that meet, chosen by one mask.
  ExpressionId without_zeros(ExpressionId row, ExpressionId& mask) {
    const Expression e = expressions_.at(row);
    bool whole = true;
    const auto take = [&](ExpressionId id) {
      const Expression part = expressions_.at(id);
      // Where the state before a step is zeros, to hold it and to give zeros are the same.
      const bool first = is_state(part) && part.mask != kNone && part.y == kNone;
      const ExpressionId by = first ? part.mask : part.kind == Kind::select && part.y == kNone ? part.first : kNone;
      whole = whole && by != kNone && (mask == kNone || mask == by);
      if (!whole) return kNone;
      mask = by;
      if (first) return id;
      // A step gives zeros where its state is held.
      const Expression chosen = expressions_.at(part.x);
      return is_state(chosen) && chosen.mask == kNone ? expressions_.select(by, part.x, chosen.y) : part.x;
    };
    ExpressionId result = kNone;
    if (e.kind == Kind::select || is_state(e)) {
      result = take(row);
    } else if (e.kind == Kind::add || e.kind == Kind::multiply) {
      const ExpressionId x = take(e.x);
      const ExpressionId y = take(e.y);
      if (whole) result = e.kind == Kind::add ? expressions_.add(x, y) : expressions_.multiply(x, y);
    } else if (e.kind == Kind::gather) {
      auto pieces = e.pieces;
      for (auto& piece : pieces) piece.source = take(piece.source);
      if (whole) result = expressions_.gather(std::move(pieces));
    } else {
      whole = false;
    }
    if (!whole) mask = kNone;
    return whole ? result : row;
  }

  /// A sequence whose steps are zeros where a mask leaves them out. False: it is none.
  bool zeros_under_a_mask() {
    if (!masks_.empty() || rows_.size() != steps_ || steps_ < 2) return false;
    std::vector<ExpressionId> masks;
    auto rows = without_zeros(masks);
    if (masks.empty()) return false;
    layers_.push_back({.kind = Layer::Kind::unmask, .first = 1});
    rows_ = std::move(rows);
    masks_ = std::move(masks);
    return true;
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
    if (zeros_under_a_mask()) return;
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

  /// A window is computed without the steps that its mask leaves out: so all recurrences up to where these come back, or to
  /// the last step, leave out the same ones, and nothing else sees them.
  /// @param held  of a sequence: what follows sees the steps that are left out as the one before
  void take_masks(std::vector<ExpressionId> masks, bool last_alone, bool held, ExpressionId at) {
    if (masks.empty() && masks_.empty()) return;
    if (masks_.empty() && !last_alone) {
      if (!held || masks.size() != steps_) fail(at, "gives the steps that its mask leaves out to what follows");
      layers_.push_back({.kind = Layer::Kind::unmask, .first = 0});
    }
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
    take_masks(masks_of(rows_), last_alone, true, rows_.back());
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
                                      [](float v) { return v == 0.0f; });
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
    take_masks(std::move(masks), !sequence, false, rows_[0]);
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

}  // namespace

Unwound unwind(std::vector<ExpressionId> rows, std::size_t window, std::size_t steps, Expressions& expressions,
               FoldingBudget& budget) {
  return Unwinder(expressions, budget, window, steps).unwind(std::move(rows));
}

}  // namespace linkcast::tflite
