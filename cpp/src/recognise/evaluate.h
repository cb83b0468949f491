// Symbolic evaluation of a graph: constants are computed, activations become expressions, loops are run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "recognise/expression.h"
#include "recognise/recognise.h"

namespace linkcast::tflite {

/// One element of a symbolic tensor: element `index` of the vector `expression`, or the number `constant` when that is
/// kNone.
struct Element {
  ExpressionId expression = kNone;
  union {
    std::uint32_t index = 0;
    float constant;
  };
};

/// A tensor's value, row-major. One of the three lists is in use, by the type; a symbolic float tensor uses `elements`.
struct Value {
  DataType type = 0;
  std::vector<int> shape;
  std::vector<float> floats;  // of a constant; float16 and int8 constants are held as the floats they stand for
  std::vector<std::int64_t> integers;  // int32, int64, bool: always known
  std::vector<Element> elements;

  bool symbolic() const noexcept { return !elements.empty(); }
  bool whole_numbers() const noexcept { return type == kInt32 || type == kInt64 || type == kBool; }
  std::size_t size() const noexcept;
};
using ValuePtr = std::shared_ptr<const Value>;

class Evaluator {
 public:
  Evaluator(const SubgraphSource& subgraphs, Expressions& expressions)
      : subgraphs_(subgraphs), expressions_(expressions) {}

  /// Evaluates subgraph `index` for `inputs`; returns the values of its outputs.
  /// @throws NotNative  at the first operator that has no native kernel or is used in a way that none has
  std::vector<ValuePtr> run(int index, const std::vector<ValuePtr>& inputs);

  /// Whether int8 weights were met that TFLite itself multiplies with rounded activations.
  bool quantised_weights() const noexcept { return quantised_weights_; }

 private:
  struct Call;  // the operator being evaluated: its node, inputs and outputs
  struct Scope;

  void evaluate(Call& call);
  void evaluate_loop(Call& call);
  void fully_connected(Call& call);
  void batch_matmul(Call& call);
  void elementwise(Call& call);
  void activation(Call& call, Activation function);
  void fused_lstm(Call& call);
  void dequantize(Call& call);
  ExpressionId fused_lstm_row(CellId cell, ExpressionId x, ExpressionId previous);

  ValuePtr constant_of(int subgraph, int tensor);
  ConstantId matrix(const ValuePtr& value);
  ExpressionId vector_of(const Element* elements, std::size_t count);
  Element* put(ExpressionId expression, Element* to) const;
  ExpressionId add_bias(const Call& call, const ValuePtr& bias, ExpressionId x);
  ValuePtr finish(Value value);
  ValuePtr move(const Value& from, std::vector<int> shape, const std::vector<std::size_t>& source);
  void move_operator(Call& call);

  const SubgraphSource& subgraphs_;
  Expressions& expressions_;
  std::map<std::pair<int, int>, ValuePtr> constants_;  // by subgraph and tensor
  std::map<ValuePtr, ConstantId> matrices_;            // constants that were numbered before
  std::map<ValuePtr, ValuePtr> dequantised_;           // so that a loop does it once
  std::size_t elements_written_ = 0;
  std::size_t operators_run_ = 0;
  int depth_ = 0;
  std::string where_;  // "" in the primary graph, else " of the loop in WHILE (node 1)"
  bool quantised_weights_ = false;
};

}  // namespace linkcast::tflite
