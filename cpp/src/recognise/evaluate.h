// Symbolic evaluation of a graph: constants are computed, activations become expressions, loops are run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "recognise/expression.h"
#include "recognise/graph.h"
#include "recognise/operators.h"
#include "recognise/value.h"

namespace linkcast::tflite {

class Evaluator {
 public:
  Evaluator(const SubgraphSource& subgraphs, Expressions& expressions)
      : expressions(expressions), subgraphs_(subgraphs) {}

  /// Evaluates subgraph `index` for `inputs`; returns the values of its outputs.
  /// @throws NotNative  at the first operator that has no native kernel or is used in a way that none has
  std::vector<ValuePtr> run(int index, const std::vector<ValuePtr>& inputs);

  /// Whether int8 weights were met that TFLite itself multiplies with rounded activations.
  bool quantised_weights() const noexcept { return quantised_weights_; }

  // For the operators' evaluators.

  Expressions& expressions;
  /// Runs a WHILE from `values` on. @param where  of the loop, for messages
  std::vector<ValuePtr> run_loop(int condition, int body, std::vector<ValuePtr> values, const std::string& where);
  /// The number of a constant's floats.
  ConstantId matrix(const ValuePtr& value);
  void note_weights(const Value& weights) { quantised_weights_ = quantised_weights_ || weights.type == kTypeInt8; }
  /// The vector that elements of expressions make up.
  ExpressionId vector_of(const Element* elements, std::size_t count);
  /// Writes the elements of an expression; returns where they end.
  Element* put(ExpressionId expression, Element* to) const;
  /// Checks a finished value and gives it its plain form: one without symbols is a constant.
  ValuePtr finish(Value value);
  /// A quantised constant as float32, made once however often a loop asks.
  ValuePtr dequantised(const ValuePtr& from);

 private:
  ValuePtr constant_of(int subgraph, int tensor);

  const SubgraphSource& subgraphs_;
  std::map<std::pair<int, int>, ValuePtr> constants_;  // by subgraph and tensor
  std::map<ValuePtr, ConstantId> matrices_;            // constants that were numbered before
  std::map<ValuePtr, ValuePtr> dequantised_;
  std::size_t elements_written_ = 0;
  std::size_t operators_run_ = 0;
  int depth_ = 0;
  std::string where_;  // "" in the primary graph, else " of the loop in WHILE (node 1)"
  bool quantised_weights_ = false;
};

/// One operator as its evaluator sees it. What does not fit throws Misfit.
struct EvaluateCall {
  Evaluator& evaluator;
  const OperatorRule& rule;
  const GraphNode& node;
  const Subgraph& graph;
  const std::vector<ValuePtr>& in;  // null where an input is absent or can't be read
  std::vector<ValuePtr>& out;

  const ValuePtr& input(std::size_t n) const;
  const Value& floats(std::size_t n) const;
  const Value& weights(std::size_t n) const;
  const Values& integers(std::size_t n) const;
  std::int64_t integer(std::size_t n) const;  ///< of an input with one element
  bool has(std::size_t n) const { return n < node.inputs.size() && node.inputs[n] >= 0; }

  template <class Options>
  const Options& options() const {
    require(node.options != nullptr, "has no options");
    return *static_cast<const Options*>(node.options);
  }

  void give(Value value) { out.push_back(evaluator.finish(std::move(value))); }
};

/// How a tensor's elements make up vectors: lines of `length` elements, `stride` apart.
struct Lines {
  std::size_t length = 1;
  std::size_t stride = 1;
  std::size_t count = 0;
  /// The place of element `n` of a line.
  std::size_t at(std::size_t line, std::size_t n) const {
    return line / stride * stride * length + line % stride + n * stride;
  }
};

/// The lines of operands of one shape: along the dimension in which the elements of one of them follow each other in a
/// vector. Where none do and all are vectors of one element each is a line; else the last dimension is.
Lines lines_of(const Shape& shape, const std::vector<const std::vector<Element>*>& operands,
               const Expressions& expressions);

/// The evaluators that the table of operators names.
namespace evaluate {
/// Computes `width` elements of a result from as many of two operands, which are all constant or all not.
using Combine = std::function<void(const Element* x, const Element* y, std::size_t width, Element* result)>;
/// Gives what `combine` makes of inputs 0 and 1, broadcast, line by line.
void by_lines(EvaluateCall& call, const Combine& combine);
/// Whether `elements` are constants; neither they nor activations may be among the others.
bool constant(const Element* elements, std::size_t count);

// arithmetic.cpp
void arithmetic(EvaluateCall& call);  // ADD, SUB, MUL, DIV
void whole(EvaluateCall& call);       // what whole numbers alone are compared with
template <Activation function>
void activation(EvaluateCall& call);
void minimum(EvaluateCall& call);
void fully_connected(EvaluateCall& call);
void batch_matmul(EvaluateCall& call);
void dequantize(EvaluateCall& call);
// masks.cpp
void not_equal(EvaluateCall& call);
void any(EvaluateCall& call);
void cast(EvaluateCall& call);
void select(EvaluateCall& call);
// normalisation.cpp
void softmax(EvaluateCall& call);
void mean(EvaluateCall& call);
void square(EvaluateCall& call);
void squared_difference(EvaluateCall& call);
void negate(EvaluateCall& call);
template <bool inverse>
void root(EvaluateCall& call);
// recurrence.cpp
void fused_lstm(EvaluateCall& call);
void loop(EvaluateCall& call);
// moves.cpp
void reshape(EvaluateCall& call);
void expand_dims(EvaluateCall& call);
void squeeze(EvaluateCall& call);
void transpose(EvaluateCall& call);
void slice(EvaluateCall& call);
void strided_slice(EvaluateCall& call);
void split(EvaluateCall& call);
void split_lengths(EvaluateCall& call);
void reverse(EvaluateCall& call);
void unpack(EvaluateCall& call);
void gather(EvaluateCall& call);
void concatenate(EvaluateCall& call);
void pack(EvaluateCall& call);
void shape_of(EvaluateCall& call);
void fill(EvaluateCall& call);
void tile(EvaluateCall& call);
void spread_out(EvaluateCall& call);    // BROADCAST_TO
void reduce_whole(EvaluateCall& call);  // whole numbers to one
}  // namespace evaluate

}  // namespace linkcast::tflite
