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
  gather,      // pieces of other vectors, one behind the other
  linear,      // W x
  affine,      // x * scale + offset, element by element
  activation,  // a function of each element
  add,         // x + y
  multiply,    // x * y
  lstm_step,   // the hidden state behind one step of a plain LSTM
  spread,      // a vector of one element, repeated
  softmax,     // of x times beta
  normalise,   // (x - its mean) / sqrt(its variance + epsilon)
  root,        // the square root of each element, or one over it
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
  std::size_t size = 0;          // elements of the vector
  ExpressionId x = kNone;        // operand; of an lstm_step: its input
  ExpressionId y = kNone;        // second operand; of an lstm_step: the hidden state before it, kNone at the first
  std::uint32_t first = kNone;   // input: window; linear: W; affine: scale; lstm_step: cell; activation: Activation;
                                 // softmax: beta; normalise: epsilon; root: 1 when it is one over it
  std::uint32_t second = kNone;  // input: time step; affine: offset; lstm_step: the expression of its cell state
  std::vector<Piece> pieces;     // of a gather
  std::uint32_t origin = 0;      // who wrote it, for messages; not part of its identity
};

/// `rows` rows of a matrix from `start` on.
struct Rows {
  ConstantId matrix = kNone;
  std::size_t start = 0;
  auto operator<=>(const Rows&) const = default;
};

struct Gate {
  Rows input;               // (units, inputs)
  Rows recurrent;           // (units, units); absent in a first step, whose hidden state is zero
  ConstantId bias = kNone;  // (units)
  auto operator<=>(const Gate&) const = default;
};

/// The weights of an LSTM; a first step knows neither recurrent weights nor a forget gate, because both meet zeros
/// there.
struct Cell {
  std::size_t inputs = 0;
  std::size_t units = 0;
  Gate gates[4];  // i, f, c, o
  float cell_clip = 0.0F;
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
  ExpressionId add(ExpressionId x, ExpressionId y);
  /// x * y, or the LSTM step whose hidden state that is.
  ExpressionId multiply(ExpressionId x, ExpressionId y);
  ExpressionId lstm_step(CellId cell, ExpressionId x, ExpressionId previous, ExpressionId cell_state);

 private:
  /// A pre-activation as the sum of linear terms and a constant.
  struct Sum {
    struct Term {
      Rows rows;
      ExpressionId operand;
    };
    std::vector<Term> terms;
    std::vector<float> offset;
  };

  using Key =
      std::tuple<Kind, std::size_t, ExpressionId, ExpressionId, std::uint32_t, std::uint32_t, std::vector<Piece>>;

  ExpressionId number(Expression expression);
  bool is(ExpressionId id, Activation function) const;
  bool add_terms(ExpressionId id, std::size_t start, std::size_t size, Sum& sum, int depth) const;
  std::optional<Sum> sum_of(ExpressionId id) const;
  ExpressionId match_lstm_step(ExpressionId output_gate, ExpressionId squashed_cell);
  bool read_gate(ExpressionId activated, ExpressionId previous_cell_state, Gate& gate, ExpressionId& x,
                 ExpressionId& previous);

  std::vector<Expression> expressions_;
  std::map<Key, ExpressionId> numbers_;
  std::vector<const std::vector<float>*> constants_;
  std::unordered_multimap<std::size_t, std::pair<std::vector<float>, ConstantId>> constant_numbers_;  // by their hash
  std::vector<Cell> cells_;
  std::map<Cell, CellId> cell_numbers_;
  std::vector<std::string> origins_{""};
};

}  // namespace linkcast::tflite
