// What goes from step to step: the fused LSTM, and loops.
#include <algorithm>
#include <cmath>

#include "recognise/evaluate.h"
#include "recognise/node_options.h"

namespace linkcast::tflite::evaluate {
namespace {

/// How often the operators of a graph read a tensor.
std::size_t readers(const Subgraph& graph, int tensor) {
  std::size_t count = 0;
  for (const auto& node : graph.nodes)
    count += static_cast<std::size_t>(std::count(node.inputs.begin(), node.inputs.end(), tensor));
  return count;
}

}  // namespace

void fused_lstm(EvaluateCall& call) {
  auto& evaluator = call.evaluator;
  // Inputs in the order of the operator: 0 input, 1-4 input weights, 5-8 recurrent weights (i, f, c, o), 9-11
  // peepholes, 12-15 biases, 16-17 projection, 18-19 states, 20-23 layer normalisation.
  const auto& options = call.options<SequenceLstmOptions>();
  require(call.node.inputs.size() >= 20, "has too few inputs");
  for (const std::size_t absent : {9, 10, 11}) require(!call.has(absent), "has peepholes");
  for (const std::size_t absent : {16, 17}) require(!call.has(absent), "has a projection");
  for (const std::size_t absent : {20, 21, 22, 23}) require(!call.has(absent), "has layer normalisation");
  require(options.activation == 4, "has an activation other than tanh");
  for (const std::size_t state : {18, 19})
    require(call.has(state) && call.graph.tensors[static_cast<std::size_t>(call.node.inputs[state])].variable,
            "starts from a state that is not zero");
  for (const std::size_t state : {18, 19})
    require(readers(call.graph, call.node.inputs[state]) == 1, "shares its state with another reader of it");

  const auto& x = call.floats(0);
  require(x.shape.size() == 3 && x.size() > 0, "needs a sequence of (batch, steps, features)");
  const auto steps = static_cast<std::size_t>(x.shape[options.time_major ? 0 : 1]);
  const auto batch = static_cast<std::size_t>(x.shape[options.time_major ? 1 : 0]);
  Cell cell;
  cell.inputs = static_cast<std::size_t>(x.shape[2]);
  for (std::size_t gate = 0; gate < 4; ++gate) {
    const auto& w = call.weights(1 + gate);
    const auto& r = call.weights(5 + gate);
    const auto& b = call.weights(12 + gate);
    require(w.shape.size() == 2 && w.shape[0] > 0, "needs matrices of weights");
    if (gate == 0) cell.units = static_cast<std::size_t>(w.shape[0]);
    const std::int64_t units = w.shape[0];
    require(units == static_cast<std::int64_t>(cell.units) && w.shape[1] == x.shape[2] &&
                r.shape == Shape({units, units}) && b.shape == Shape{units} && b.type == kTypeFloat32,
            "has weights of unexpected shapes");
    evaluator.note_weights(w);
    evaluator.note_weights(r);
    const auto matrix = [&](std::size_t input) { return evaluator.matrix(call.input(input)); };
    cell.gates[gate] = {{matrix(1 + gate), 0}, {matrix(5 + gate), 0}, matrix(12 + gate)};
  }
  // |c| grows by less than 1 a step, so that a limit of at least the number of steps is never met.
  require(std::isfinite(options.cell_clip) && options.cell_clip >= 0.0f, "has a cell limit that is not a number");
  if (options.cell_clip > 0.0f && static_cast<float>(steps) > options.cell_clip) cell.cell_clip = options.cell_clip;
  const auto id = evaluator.expressions.number_cell(cell);

  Value value{kTypeFloat32, {x.shape[0], x.shape[1], static_cast<std::int64_t>(cell.units)}, {}, {}, {}};
  value.elements.resize(readable_size(value.shape));
  const auto elements = elements_from(x);
  for (std::size_t window = 0; window < batch; ++window) {
    ExpressionId state = kNone;
    for (std::size_t step = 0; step < steps; ++step) {
      const std::size_t row = options.time_major ? step * batch + window : window * steps + step;
      const Element* from = &elements[row * cell.inputs];
      require(none_constant(from, cell.inputs), "reads constants");
      state = evaluator.expressions.lstm_step(id, evaluator.vector_of(from, cell.inputs), state, kNone);
      evaluator.put(state, &value.elements[row * cell.units]);
    }
  }
  call.give(std::move(value));
}

void loop(EvaluateCall& call) {
  const auto& options = call.options<WhileOptions>();
  require(options.condition > 0 && options.body > 0, "names no subgraphs");
  std::vector<ValuePtr> values;
  for (std::size_t n = 0; n < call.in.size(); ++n) values.push_back(call.input(n));
  call.out = call.evaluator.run_loop(options.condition, options.body, std::move(values),
                                     " of the loop in node " + std::to_string(call.node.index));
}

}  // namespace linkcast::tflite::evaluate
