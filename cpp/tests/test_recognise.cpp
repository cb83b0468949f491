// Recognition on graphs written by hand. Expected networks follow from the operators' definitions.
#include "recognise/recognise.h"

#include <cstring>
#include <deque>
#include <limits>

#include "check.h"
#include "recognise/expression.h"
#include "recognise/folding.h"
#include "recognise/operators.h"

using namespace linkcast;
using namespace linkcast::tflite;

namespace {

/// A graph with one input, its constants kept alive beside it.
class Graph {
 public:
  explicit Graph(Shape input_shape) {
    graph_.inputs = {tensor(std::move(input_shape))};
    graph_.outputs = {0};
  }

  int tensor(Shape shape, int type = kTypeFloat32) {
    graph_.tensors.emplace_back();
    graph_.tensors.back().type = type;
    graph_.tensors.back().shape = std::move(shape);
    return static_cast<int>(graph_.tensors.size()) - 1;
  }

  template <class T>
  int constant(Shape shape, const std::vector<T>& values, int type) {
    const int index = tensor(std::move(shape), type);
    auto& bytes = bytes_.emplace_back(values.size() * sizeof(T));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    graph_.tensors.back().constant = bytes.data();
    graph_.tensors.back().bytes = bytes.size();
    return index;
  }

  int floats(Shape shape, const std::vector<float>& values) { return constant(std::move(shape), values, kTypeFloat32); }

  int integers(const std::vector<std::int32_t>& values) {
    return constant({static_cast<std::int64_t>(values.size())}, values, kTypeInt32);
  }

  /// Adds a node with one output, which becomes the graph's; returns it.
  template <class Options>
  int node(int code, std::vector<int> inputs, const Options& options) {
    auto& bytes = bytes_.emplace_back(64);  // no options of ours are larger
    std::memcpy(bytes.data(), &options, sizeof options);
    const int output = tensor({});
    graph_.nodes.push_back(
        {static_cast<int>(graph_.nodes.size()), code, operator_name(code), std::move(inputs), {output}, bytes.data()});
    graph_.outputs = {output};
    return output;
  }

  Subgraph& get() { return graph_; }

  RecognisedNetwork recognised() const {
    return recognise([this](int index) -> const Subgraph& {
      if (index != 0) throw NotNative("no such subgraph");
      return graph_;
    });
  }

 private:
  Subgraph graph_;
  std::deque<std::vector<char>> bytes_;
};

constexpr int kFullyConnected = 9;
constexpr int kLogistic = 14;
constexpr int kReshape = 22;
constexpr int kSoftmax = 25;
constexpr int kTanh = 28;
constexpr int kMean = 40;
constexpr int kStridedSlice = 45;
constexpr int kTile = 69;
constexpr int kRsqrt = 76;
constexpr int kSquaredDifference = 99;
constexpr int kNoActivation = 0;
constexpr int kReluActivation = 1;

struct FullyConnected {
  int activation = 0;
  int weights_format = 0;
  bool keep_num_dims = false;
};
struct StridedSlice {
  int begin_mask = 0, end_mask = 0, ellipsis_mask = 0, new_axis_mask = 0, shrink_axis_mask = 0;
  bool offset = false;
};
struct While {
  int condition = 1, body = 2;
};

template <class Layer>
const Layer& layer(const NetworkSpec& spec, std::size_t index) {
  CHECK(index < spec.layers.size());
  CHECK(std::holds_alternative<Layer>(spec.layers[index]));
  return std::get<Layer>(spec.layers[index]);
}

}  // namespace

TEST(a_dense_layer_takes_its_bias_and_its_fused_activation) {
  Graph graph({1, 2});
  graph.node(kFullyConnected, {0, graph.floats({3, 2}, {1, 2, 3, 4, 5, 6}), graph.floats({3}, {7, 8, 9})},
             FullyConnected{.activation = kReluActivation});
  const auto network = graph.recognised();
  CHECK_EQ(network.spec.features, 2U);
  CHECK(!network.spec.sequence_input);
  CHECK_EQ(network.spec.layers.size(), 1U);
  const auto& dense = layer<DenseSpec>(network.spec, 0);
  CHECK(dense.weights == std::vector<float>({1, 2, 3, 4, 5, 6}));
  CHECK(dense.bias == std::vector<float>({7, 8, 9}));
  CHECK(dense.activation == Activation::relu);
}

TEST(a_scale_and_an_offset_become_one_affine_layer) {
  Graph graph({1, 2});
  const int scaled = graph.node(kMul, {0, graph.floats({2}, {2, 3})}, kNoActivation);
  graph.node(kAdd, {graph.floats({1, 2}, {4, 5}), scaled}, kNoActivation);
  const auto network = graph.recognised();
  CHECK_EQ(network.spec.layers.size(), 1U);
  const auto& affine = layer<AffineSpec>(network.spec, 0);
  CHECK(affine.scale == std::vector<float>({2, 3}));
  CHECK(affine.offset == std::vector<float>({4, 5}));
}

TEST(a_constant_minus_the_input_turns_the_sign) {
  Graph graph({1, 2});
  graph.node(kSub, {graph.floats({}, {3}), 0}, kNoActivation);
  const auto network = graph.recognised();
  const auto& affine = layer<AffineSpec>(network.spec, 0);
  CHECK(affine.scale == std::vector<float>({-1, -1}));
  CHECK(affine.offset == std::vector<float>({3, 3}));
}

TEST(a_softmax_keeps_its_beta_and_one_without_any_is_named) {
  Graph graph({1, 4, 2});
  graph.node(kSoftmax, {0}, 0.25F);
  CHECK_EQ(layer<SoftmaxSpec>(graph.recognised().spec, 0).beta, 0.25F);
  for (const float beta : {0.0F, -1.0F, std::numeric_limits<float>::quiet_NaN()}) {
    Graph odd({1, 2});
    odd.node(kSoftmax, {0}, beta);
    CHECK_THROWS(odd.recognised(), "SOFTMAX (node 0) has a beta that is not above 0");
  }
}

TEST(a_mean_of_the_features_is_a_linear_layer_and_one_of_the_steps_is_named) {
  Graph features({1, 4});
  features.node(kMean, {0, features.integers({-1})}, true);
  const auto network = features.recognised();
  CHECK(layer<DenseSpec>(network.spec, 0).weights == std::vector<float>(4, 0.25F));
  Graph steps({1, 3, 4});
  steps.node(kMean, {0, steps.integers({1})}, false);
  CHECK_THROWS(steps.recognised(), "MEAN (node 0) averages over more than the features");
}

TEST(a_normalisation_takes_epsilon_scale_and_offset_from_the_graph) {
  // y = (x - m) s gamma + beta, and the same as x (s gamma) + (beta - m (s gamma)).
  for (const bool expanded : {false, true}) {
    Graph graph({2, 3, 2});
    const int mean = graph.node(kMean, {0, graph.integers({2})}, true);
    const int squares = graph.node(kSquaredDifference, {0, mean}, 0);
    const int variance = graph.node(kMean, {squares, graph.integers({2})}, true);
    const int shifted = graph.node(kAdd, {variance, graph.floats({}, {0.5F})}, kNoActivation);
    const int root = graph.node(kRsqrt, {shifted}, 0);
    const int gamma = graph.floats({2}, {2, 3});
    const int beta = graph.floats({2}, {4, 5});
    if (expanded) {
      const int factor = graph.node(kMul, {root, gamma}, kNoActivation);
      const int scaled = graph.node(kMul, {0, factor}, kNoActivation);
      const int moved = graph.node(kMul, {factor, mean}, kNoActivation);
      graph.node(kAdd, {scaled, graph.node(kSub, {beta, moved}, kNoActivation)}, kNoActivation);
    } else {
      const int centred = graph.node(kSub, {0, mean}, kNoActivation);
      const int normal = graph.node(kMul, {centred, root}, kNoActivation);
      graph.node(kAdd, {graph.node(kMul, {normal, gamma}, kNoActivation), beta}, kNoActivation);
    }
    const auto network = graph.recognised();
    CHECK_EQ(network.spec.layers.size(), 2U);
    CHECK_EQ(layer<NormaliseSpec>(network.spec, 0).epsilon, 0.5F);
    CHECK(layer<AffineSpec>(network.spec, 1).scale == std::vector<float>({2, 3}));
    CHECK(layer<AffineSpec>(network.spec, 1).offset == std::vector<float>({4, 5}));
  }
}

TEST(what_is_nearly_a_normalisation_is_not_taken_for_one) {
  // Of another row's mean, without a mean, without an epsilon.
  for (const int which : {0, 1, 2, 3}) {
    Graph graph({1, 2});
    const int other = graph.node(kTanh, {0}, 0);
    const int mean = graph.node(kMean, {which == 0 ? other : 0, graph.integers({1})}, true);
    const int squares = graph.node(kSquaredDifference, {0, mean}, 0);
    int variance = graph.node(kMean, {squares, graph.integers({1})}, true);
    if (which != 2) variance = graph.node(kAdd, {variance, graph.floats({}, {0.5F})}, kNoActivation);
    const int root = graph.node(kRsqrt, {variance}, 0);
    const int centred = which == 1 ? 0 : graph.node(kSub, {which == 3 ? other : 0, mean}, kNoActivation);
    graph.node(kMul, {centred, root}, kNoActivation);
    CHECK_THROWS(graph.recognised(), "multiplies two activations in another way");
  }
}

TEST(a_dueling_head_is_one_linear_layer) {
  // V = x0 + 2 x1 + 3, A = (4 x0 + 6, 8 x1 + 10): A - mean(A) = (2 x0 - 4 x1 - 2, -2 x0 + 4 x1 + 2).
  Graph graph({1, 2});
  const int value =
      graph.node(kFullyConnected, {0, graph.floats({1, 2}, {1, 2}), graph.floats({1}, {3})}, FullyConnected{});
  const int advantage = graph.node(kFullyConnected, {0, graph.floats({2, 2}, {4, 0, 0, 8}), graph.floats({2}, {6, 10})},
                                   FullyConnected{});
  const int mean = graph.node(kMean, {advantage, graph.integers({1})}, true);
  graph.node(kAdd, {value, graph.node(kSub, {advantage, mean}, kNoActivation)}, kNoActivation);
  const auto network = graph.recognised();
  CHECK_EQ(network.spec.layers.size(), 1U);
  CHECK(layer<DenseSpec>(network.spec, 0).weights == std::vector<float>({3, -2, -1, 6}));
  CHECK(layer<DenseSpec>(network.spec, 0).bias == std::vector<float>({1, 5}));
}

TEST(streams_of_one_network_run_side_by_side) {
  // relu(W x) and relu(U x), added through heads of their own: one layer of W above U, then one of both heads.
  Graph graph({1, 2});
  const auto stream = [&](const std::vector<float>& weights, const std::vector<float>& head) {
    const int hidden = graph.node(kFullyConnected, {0, graph.floats({1, 2}, weights), graph.floats({1}, {1})},
                                  FullyConnected{.activation = kReluActivation});
    return graph.node(kFullyConnected, {hidden, graph.floats({2, 1}, head), graph.floats({2}, {0, 0})},
                      FullyConnected{});
  };
  const int left = stream({1, 2}, {5, 6});
  graph.node(kAdd, {left, stream({3, 4}, {7, 8})}, kNoActivation);
  const auto network = graph.recognised();
  CHECK_EQ(network.spec.layers.size(), 2U);
  CHECK(layer<DenseSpec>(network.spec, 0).weights == std::vector<float>({1, 2, 3, 4}));
  CHECK(layer<DenseSpec>(network.spec, 0).activation == Activation::relu);
  CHECK(layer<DenseSpec>(network.spec, 1).weights == std::vector<float>({5, 7, 6, 8}));
}

TEST(a_vector_repeated_becomes_steps_again) {
  Graph graph({1, 3, 2});
  const int last =
      graph.node(kStridedSlice, {0, graph.integers({0, -1, 0}), graph.integers({0, 0, 0}), graph.integers({1, 1, 1})},
                 StridedSlice{.begin_mask = 5, .end_mask = 5, .shrink_axis_mask = 2});
  const int row = graph.node(kReshape, {last, graph.integers({1, 1, 2})}, 0);
  graph.node(kTile, {row, graph.integers({1, 5, 1})}, 0);
  const auto network = graph.recognised();
  CHECK_EQ(network.spec.layers.size(), 2U);
  CHECK(std::holds_alternative<LastStepSpec>(network.spec.layers[0]));
  CHECK_EQ(layer<RepeatSpec>(network.spec, 1).steps, 5U);
}

TEST(foldings_share_what_they_may_spend) {
  // tanh(x) + W tanh(x), W of 2 x 2: some tens of multiplications.
  Expressions expressions;
  const auto x = expressions.activation(Activation::tanh, expressions.input(0, 0, 2));
  const auto product = expressions.linear(expressions.number_constant({1, 2, 3, 4}), x);
  const auto sum = expressions.add(x, product);
  FoldingBudget enough{100};
  CHECK(folded(expressions, sum, enough) != kNone);
  CHECK(enough.left < 100);
  FoldingBudget once{100 - enough.left};
  CHECK(folded(expressions, sum, once) != kNone);
  CHECK_EQ(once.left, 0U);
  CHECK_THROWS(folded(expressions, sum, once), "take too long to be folded");
}

TEST(sums_of_sums_are_given_up_in_time) {
  // Each level adds the one below to itself: 2^60 terms when they are counted one by one.
  Graph graph({1, 2});
  int sum = graph.node(kTanh, {0}, 0);
  for (int level = 0; level < 60; ++level) sum = graph.node(kAdd, {sum, sum}, kNoActivation);
  CHECK_THROWS(graph.recognised(), "adds two activations");
}

TEST(the_last_step_and_a_flattened_window_are_told_apart) {
  Graph last({1, 3, 2});
  last.node(kStridedSlice, {0, last.integers({0, -1, 0}), last.integers({0, 0, 0}), last.integers({1, 1, 1})},
            StridedSlice{.begin_mask = 5, .end_mask = 5, .shrink_axis_mask = 2});
  last.node(kTanh, {last.get().outputs[0]}, 0);
  const auto of_last = last.recognised();
  CHECK_EQ(of_last.spec.layers.size(), 2U);
  layer<LastStepSpec>(of_last.spec, 0);
  CHECK(layer<ActivationSpec>(of_last.spec, 1).activation == Activation::tanh);

  Graph flat({1, 3, 2});
  const int flattened = flat.node(kReshape, {0, flat.integers({-1, 6})}, 0);
  flat.node(kFullyConnected, {flattened, flat.floats({1, 6}, {1, 2, 3, 4, 5, 6}), -1}, FullyConnected{});
  const auto of_flat = flat.recognised();
  CHECK_EQ(of_flat.spec.layers.size(), 2U);
  layer<FlattenSpec>(of_flat.spec, 0);
  CHECK_EQ(layer<DenseSpec>(of_flat.spec, 1).inputs, 6U);

  Graph first({1, 3, 2});
  first.node(kStridedSlice, {0, first.integers({0, 0, 0}), first.integers({0, 0, 0}), first.integers({1, 1, 1})},
             StridedSlice{.begin_mask = 5, .end_mask = 5, .shrink_axis_mask = 2});
  first.node(kTanh, {first.get().outputs[0]}, 0);
  CHECK_THROWS(first.recognised(), "leaves some out");
}

TEST(int8_weights_are_scaled_by_row_and_float16_is_exact) {
  Graph graph({1, 2});
  const int weights = graph.constant<std::int8_t>({2, 2}, {1, -2, 3, -128}, kTypeInt8);
  graph.get().tensors[static_cast<std::size_t>(weights)].scales = {0.5F, 2.0F};
  graph.get().tensors[static_cast<std::size_t>(weights)].zero_points = {0, 0};
  graph.node(kFullyConnected, {0, weights, -1}, FullyConnected{});
  const auto network = graph.recognised();
  CHECK(network.quantised_weights);
  CHECK(layer<DenseSpec>(network.spec, 0).weights == std::vector<float>({0.5F, -1.0F, 6.0F, -256.0F}));

  Graph half({1, 2});
  // 1, -2, the smallest denormal and the largest finite number (IEEE 754 binary16).
  const int stored = half.constant<std::uint16_t>({2, 2}, {0x3C00, 0xC000, 0x0001, 0x7BFF}, kTypeFloat16);
  half.node(kFullyConnected, {0, half.node(kDequantize, {stored}, 0), -1}, FullyConnected{});
  const auto of_half = half.recognised();
  CHECK(!of_half.quantised_weights);
  CHECK(layer<DenseSpec>(of_half.spec, 0).weights == std::vector<float>({1.0F, -2.0F, 5.9604645e-8F, 65504.0F}));
}

TEST(the_first_operator_without_a_kernel_is_named) {
  Graph graph({1, 2});
  const int hidden = graph.node(kTanh, {0}, 0);
  constexpr int kExp = 47;

  graph.node(kSoftmax, {graph.node(kExp, {hidden}, 0)}, 1.0F);
  CHECK_THROWS(graph.recognised(), "EXP (node 1) has no native kernel");
}

TEST(two_activations_added_are_named) {
  Graph graph({1, 2});
  const int a = graph.node(kTanh, {0}, 0);
  graph.node(kAdd, {a, 0}, kNoActivation);
  CHECK_THROWS(graph.recognised(), "ADD (node 1) adds two activations");
}

TEST(a_weight_that_is_not_finite_is_refused) {
  Graph graph({1, 1});
  graph.node(kFullyConnected, {0, graph.floats({1, 1}, {std::numeric_limits<float>::quiet_NaN()}), -1},
             FullyConnected{});
  CHECK_THROWS(graph.recognised(), "not finite");
}

TEST(a_loop_without_an_end_is_given_up) {
  Graph graph({1, 2});
  graph.node(kWhile, {0}, While{});
  Graph condition({1, 2});
  const int yes = condition.constant<char>({1}, {1}, kTypeBool);
  condition.get().outputs = {yes};
  Graph body({1, 2});
  body.node(kTanh, {0}, 0);
  CHECK_THROWS(recognise([&](int index) -> const Subgraph& {
                 return index == 0 ? graph.get() : index == 1 ? condition.get() : body.get();
               }),
               "too");
}

TEST(a_loop_inside_itself_is_given_up) {
  Graph graph({1, 2});
  graph.node(kWhile, {0}, While{.condition = 1, .body = 1});
  CHECK_THROWS(recognise([&](int) -> const Subgraph& { return graph.get(); }), "nested too deeply");
}

TEST(damaged_graphs_are_refused) {
  const auto refused = [](auto damage, const char* reason) {
    Graph graph({1, 2});
    const int weights = graph.floats({3, 2}, {1, 2, 3, 4, 5, 6});
    graph.node(kFullyConnected, {0, weights, -1}, FullyConnected{});
    damage(graph.get());
    CHECK_THROWS(graph.recognised(), reason);
  };
  refused([](Subgraph& g) { g.nodes[0].options = nullptr; }, "has no options");
  refused([](Subgraph& g) { g.nodes[0].inputs.resize(1); }, "reads a tensor that has no native form");
  refused([](Subgraph& g) { g.nodes[0].inputs.clear(); }, "reads a tensor that has no native form");
  refused([](Subgraph& g) { g.nodes[0].inputs[0] = -1; }, "reads a tensor that has no native form");
  refused([](Subgraph& g) { g.nodes[0].outputs.clear(); }, "has an output that no operator computes");
  refused([](Subgraph& g) { g.nodes.clear(); }, "has an output that no operator computes");
  refused([](Subgraph& g) { g.outputs = {0}; }, "computes nothing");
  refused([](Subgraph& g) { g.outputs = {1}; }, "does not depend on its input");
  refused([](Subgraph& g) { g.inputs.clear(); }, "0 inputs and 1 outputs");
  refused([](Subgraph& g) { g.tensors[0].type = kTypeInt8; }, "the model's input is INT8");
  refused([](Subgraph& g) { g.tensors[0].shape = {1, -1}; }, "neither");
  refused([](Subgraph& g) { g.tensors[0].shape = {1 << 30, 1 << 30}; }, "too large");
  refused([](Subgraph& g) { g.tensors[0].shape = {1, 5}; }, "do not fit its input");
  refused([](Subgraph& g) { g.tensors[1].shape = {2, 2}; }, "reads a tensor that has no native form");
  refused([](Subgraph& g) { g.tensors[1].shape = {6}; }, "needs a matrix");
  refused([](Subgraph& g) { g.tensors[1].shape = {1 << 30, 1 << 30}; }, "too large");
  refused([](Subgraph& g) { g.tensors[1].shape = {-3, -2}; }, "unknown shape");
}

TEST(numbered_expressions_find_a_plain_lstm_step_and_nothing_like_it) {
  const auto step = [](Activation squash, float forget_bias) {
    Expressions e;
    const auto x = e.input(0, 0, 1);
    const auto next = e.input(0, 1, 1);
    const auto gate = [&](ExpressionId in, ExpressionId before, float weight, float bias, Activation function) {
      auto sum = e.linear(e.number_constant({weight}), in);
      if (before != kNone) sum = e.add(sum, e.linear(e.number_constant({weight + 10}), before));
      return e.activation(function, e.affine({1.0F}, {bias}, sum));
    };
    const auto sigmoid = Activation::sigmoid;
    const auto c0 = e.multiply(gate(x, kNone, 1, 1, sigmoid), gate(x, kNone, 3, 3, Activation::tanh));
    const auto h0 = e.multiply(gate(x, kNone, 4, 4, sigmoid), e.activation(squash, c0));
    const auto kept = e.multiply(gate(next, h0, 2, forget_bias, sigmoid), c0);
    const auto written = e.multiply(gate(next, h0, 1, 1, sigmoid), gate(next, h0, 3, 3, Activation::tanh));
    const auto h1 = e.multiply(e.activation(squash, e.add(kept, written)), gate(next, h0, 4, 4, sigmoid));
    return std::pair(e.at(h0), e.at(h1));
  };
  const auto [h0, h1] = step(Activation::tanh, 2);
  CHECK(h0.kind == Kind::lstm_step);
  CHECK(h1.kind == Kind::lstm_step);
  CHECK(h0.y == kNone);
  CHECK(h1.y != kNone);
  CHECK(step(Activation::relu, 2).second.kind == Kind::multiply);
  CHECK(step(Activation::sigmoid, 2).second.kind == Kind::multiply);
}
