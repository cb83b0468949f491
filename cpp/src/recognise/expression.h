// What a graph computes, as expressions over feature vectors. Equal expressions get the same number, so that a graph's
// structure can be compared by comparing numbers, whatever operators it was written with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kernels/network_spec.h"

namespace linkcast::tflite {

/// The graph is not one that the kernels run; the text says which operator stands in the way.
struct NotNative : std::runtime_error {
  using std::runtime_error::runtime_error;
};

using ExpressionId = std::uint32_t;
using ConstantId = std::uint32_t;
using CellId = std::uint32_t;
inline constexpr std::uint32_t kNone = 0xFFFFFFFFU;

enum class Kind {
  input,       // the features of one time step of one window of the batch
  state,       // recurrent state that is an input of the graph: one row of it
  gather,      // pieces of other vectors, one behind the other
  linear,      // W x
  affine,      // x * scale + offset, element by element
  activation,  // a function of each element
  add,         // x + y
  multiply,    // x * y
  lstm_step,   // the hidden state behind one step of an LSTM
  gru_step,    // the same of a GRU
  spread,      // a vector of one element, repeated
  softmax,     // of x times beta
  normalise,   // (x - its mean) / sqrt(its variance + epsilon)
  root,        // the square root of each element, or one over it
  differs,     // whether each element is another than a constant: 1 or 0
  any,         // whether any element of x, which differs or does not, does: one element
  select,      // x where a mask, of one element, holds; elsewhere y, or zeros
};

/// `size` elements of vector `source`, from `start` on.
struct Piece {
  ExpressionId source;
  std::uint32_t start;
  std::uint32_t size;
  auto operator<=>(const Piece&) const = default;
};

struct Expression {
  Kind kind = Kind::input;
  std::size_t size = 0;         // elements of the vector
  ExpressionId x = kNone;       // operand; of a step: its input
  ExpressionId y = kNone;       // second operand; of a step: the hidden state before it, kNone where that is zero
  std::uint32_t first = kNone;  // input, state: window; linear: W; affine: scale; a step: cell; activation: Activation;
                                // softmax: beta; normalise: epsilon; root: 1 when it is one over it; differs: the
                                // constant; select: the mask
  std::uint32_t second = kNone;  // input: time step; state: which input of the graph; affine: offset; lstm_step: the
                                 // expression of its cell state
  std::vector<Piece> pieces;     // of a gather
  ExpressionId mask = kNone;     // of a step: where this does not hold, its states are those before it
  std::uint32_t origin = 0;      // who wrote it, for messages; not part of its identity
};

/// Rows of a matrix from `start` on, times `scale`.
struct Rows {
  ConstantId matrix = kNone;
  std::size_t start = 0;
  float scale = 1.0f;
  auto operator<=>(const Rows&) const = default;
};

struct Gate {
  Rows input;               // (units, inputs)
  Rows recurrent;           // (units, units); absent in a first step, whose hidden state is zero
  ConstantId bias = kNone;  // (units)
  auto operator<=>(const Gate&) const = default;
};

/// The weights of an LSTM or a GRU; a first step knows no recurrent weights, because they meet zeros there, and neither a
/// forget gate (LSTM) nor, where nothing needs it, a reset gate (GRU).
struct Cell {
  std::size_t inputs = 0;
  std::size_t units = 0;
  Gate gates[4];  // of an LSTM i, f, c, o; of a GRU z, r, g
  float cell_clip = 0.0f;
  Activation activation = Activation::tanh;
  Activation gate_activation = Activation::sigmoid;
  ConstantId recurrent_bias = kNone;  // of a GRU's candidate, when the reset gate stands behind its matrix
  bool reset_before = false;          // GRU: it stands in front of it
  auto operator<=>(const Cell&) const = default;
};

class Expressions {
 public:
  /// From here on new expressions are said to come from `origin`, "ADD (node 3)".
  void set_origin(std::string origin);
  const std::string& origin(ExpressionId id) const { return origins_[at(id).origin]; }

  const Expression& at(ExpressionId id) const { return expressions_[id]; }
  const std::vector<float>& constant(ConstantId id) const { return *constants_[id]; }
  const Cell& cell(CellId id) const { return cells_[id]; }

  ConstantId number_constant(std::vector<float> values);
  CellId number_cell(const Cell& cell);

  ExpressionId input(std::size_t window, std::size_t step, std::size_t features);
  ExpressionId state(std::size_t window, std::size_t which, std::size_t units);
  /// The cell state that an LSTM's step takes where its hidden state is an input of the graph; else kNone.
  ExpressionId cell_before(ExpressionId step) const;
  /// The vector made of `pieces`; the source itself when they cover it; a spread where all are the same one element.
  ExpressionId gather(std::vector<Piece> pieces);
  /// W x with W (units, size of x).
  ExpressionId linear(ConstantId weights, ExpressionId x);
  /// x * scale + offset; x itself when that changes nothing.
  ExpressionId affine(std::vector<float> scale, std::vector<float> offset, ExpressionId x);
  ExpressionId activation(Activation function, ExpressionId x);
  ExpressionId softmax(float beta, ExpressionId x);
  ExpressionId normalise(float epsilon, ExpressionId x);
  ExpressionId root(bool inverse, ExpressionId x);
  ExpressionId differs(float constant, ExpressionId x);
  ExpressionId any(ExpressionId x);
  bool is_mask(ExpressionId id) const { return at(id).size == 1 && (is(id, Kind::any) || is(id, Kind::differs)); }
  /// @param y  kNone: zeros
  ExpressionId select(ExpressionId mask, ExpressionId x, ExpressionId y);
  /// x + y, or the GRU step whose hidden state that is.
  ExpressionId add(ExpressionId x, ExpressionId y);
  /// x * y, or the step whose hidden state that is: of an LSTM, or the first one of a GRU.
  ExpressionId multiply(ExpressionId x, ExpressionId y);
  ExpressionId lstm_step(CellId cell, ExpressionId x, ExpressionId previous, ExpressionId cell_state);
  ExpressionId gru_step(CellId cell, ExpressionId x, ExpressionId previous);

 private:
  /// A pre-activation as the sum of linear terms and a constant.
  struct Sum {
    struct Term {
      Rows rows;
      ExpressionId operand;
    };
    std::vector<Term> terms;
    ExpressionId product = kNone;  // one more term, x * y or x * constant, where it is looked for
    std::vector<double> offset;
  };
  /// A function of a sum that has weights of its own in it.
  struct Activated {
    Activation function;
    ExpressionId before;
    float scale;  // of `before`
  };

  using Key = std::tuple<Kind, std::size_t, ExpressionId, ExpressionId, std::uint32_t, std::uint32_t,
                         std::vector<Piece>, ExpressionId>;

  ExpressionId number(Expression expression);
  bool is(ExpressionId id, Activation function) const;
  bool is(ExpressionId id, Kind kind) const { return at(id).kind == kind; }
  ExpressionId mask_in(ExpressionId id) const;

  // recurrence_match.cpp
  struct StepMatch;
  bool add_terms(ExpressionId id, std::size_t start, std::size_t size, double scale, Sum& sum, bool product,
                 int depth) const;
  std::optional<Sum> sum_of(ExpressionId id, float scale, bool product) const;
  std::optional<Activated> gate(ExpressionId id) const;
  Activated activated(ExpressionId id) const;
  bool is_complement(ExpressionId id, ExpressionId of) const;
  ExpressionId match_lstm_step(ExpressionId output_gate, ExpressionId squashed_cell);
  bool read_lstm_cell(StepMatch& match, const Activated& output, ExpressionId kept, ExpressionId written);
  ExpressionId match_gru_step(ExpressionId kept, ExpressionId written);
  ExpressionId match_first_gru_step(ExpressionId complement, ExpressionId candidate);
  bool read_gru_candidate(StepMatch& match, ExpressionId candidate);
  bool read_gate(StepMatch& match, const Activated& activated, Gate& gate);

  std::vector<Expression> expressions_;
  std::map<Key, ExpressionId> numbers_;
  std::vector<const std::vector<float>*> constants_;
  std::unordered_multimap<std::size_t, std::pair<std::vector<float>, ConstantId>> constant_numbers_;  // by their hash
  std::vector<Cell> cells_;
  std::map<Cell, CellId> cell_numbers_;
  std::map<ExpressionId, ExpressionId> cells_before_;
  std::vector<std::string> origins_{""};
};

}  // namespace linkcast::tflite
