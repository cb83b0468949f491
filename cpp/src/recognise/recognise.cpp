#include "recognise/recognise.h"

#include <algorithm>
#include <utility>

#include "recognise/evaluate.h"
#include "recognise/expression.h"
#include "recognise/folding.h"
#include "recognise/layer.h"
#include "recognise/unwind.h"

namespace linkcast::tflite {
namespace {

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
    auto own = unwind(std::move(rows), window, shape.steps, expressions, budget);
    if (window > 0 && (own.layers != layers || own.mask_value != mask_value))
      throw NotNative("the model does not treat every window of its batch alike");
    layers = std::move(own.layers);
    mask_value = own.mask_value;
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
      auto own = unwind({rows[answer][window]}, window, shape.steps, expressions, budget);
      if (own.mask_value) throw NotNative("the model has a mask, and its state at its edge");
      StateEdges edges;
      for (std::size_t n = 0; n < rows.size(); ++n) {
        if (is_last_state(rows[n][window], n, own.last_steps, expressions, edges)) continue;
        if (rows[n][window] != rows[answer][window])
          throw NotNative(expressions.origin(rows[n][window]) +
                          " gives an output that is neither the answer nor the last state of a recurrence before it");
        edges.answers.push_back(n);
      }
      if (window > 0 && (own.layers != layers || edges.answers != state.answers || edges.outputs != state.outputs))
        throw NotNative("the model does not treat every window of its batch alike");
      layers = std::move(own.layers);
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
