#include "recognise/verifier.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "recognise/layout.h"
#include "recognise/model_file.h"
#include "recognise/operators.h"

namespace linkcast::tflite {
namespace {

constexpr std::uint64_t kMostSteps = 2'000'000;  // tensors and operators that are laid out, loops unrolled
constexpr std::uint64_t kMostTurns = 65'536;     // of one loop
constexpr std::size_t kDeepestCall = 4;
constexpr float kLargestWeight = 1e15f;  // two of them, multiplied, are far from the largest float32

class Verifier : Refusal {
 public:
  Verifier(const std::string& path, const void* bytes, std::size_t size, const VerifierLimits& limits)
      : Refusal(path, limits.tensor_bytes), bytes_(bytes, size), limits_(limits) {}

  VerifiedModel verified() const {
    const auto& graph = graphs_[0];
    return {as_declared_, edge_names(graph, graph.inputs, graph.named_inputs, "input"),
            edge_names(graph, graph.outputs, graph.named_outputs, "output")};
  }

  void run() {
    graphs_ = read_graphs(bytes_, *this);
    for (auto& graph : graphs_) check_order(graph);
    check_calls();
    check_edges(graphs_[0]);
    // The primary graph first, then those that no operator calls: other signatures of the same file.
    for (std::size_t g = 0; g < graphs_.size(); ++g)
      if (!graphs_[g].called) {
        std::vector<TensorFacts> inputs;
        for (const int t : graphs_[g].inputs) inputs.push_back(tensor(graphs_[g], t).facts);
        work_ = 0;
        lay_out(static_cast<int>(g), inputs);
      }
  }

 private:
  static FileTensor& tensor(FileGraph& graph, int index) { return graph.tensors[static_cast<std::size_t>(index)]; }
  static const FileTensor& tensor(const FileGraph& graph, int index) {
    return graph.tensors[static_cast<std::size_t>(index)];
  }

  // ---- who writes and who reads -----------------------------------------------------------------------------------

  void check_order(const FileGraph& graph) const {
    enum class State { open, written, input, constant, variable };
    std::vector<State> states(graph.tensors.size(), State::open);
    for (std::size_t t = 0; t < states.size(); ++t) {
      if (graph.tensors[t].variable) states[t] = State::variable;
      if (graph.tensors[t].facts.constant) states[t] = State::constant;
    }
    for (const int input : graph.inputs) {
      auto& state = states[static_cast<std::size_t>(input)];
      const std::string which = "tensor " + std::to_string(input) + graph.name;
      // Once only, and nothing else: the caller writes it.
      if (state == State::input) invalid(which + ": is listed as an input twice");
      if (state != State::open)
        invalid(which + ": is an input and " + (state == State::constant ? "a constant" : "a variable"));
      state = State::input;
    }
    // What follows from an input of the graph, and not from constants alone. XNNPACK keeps constants that it has made
    // float to itself: as an output they stay unwritten.
    std::vector<bool> follows(graph.tensors.size(), false);
    for (const int input : graph.inputs) follows[static_cast<std::size_t>(input)] = true;
    std::vector<int> readers(graph.tensors.size(), 0);
    for (const auto& op : graph.operators)
      for (const int t : op.inputs) readers[static_cast<std::size_t>(std::max(t, 0))] += t >= 0;
    for (const auto& op : graph.operators) {
      std::vector<const FileTensor*> inputs, outputs;
      for (const int t : op.inputs) inputs.push_back(t < 0 ? nullptr : &tensor(graph, t));
      for (const int t : op.outputs) outputs.push_back(&tensor(graph, t));
      if (const auto problem = type_mismatch(*op.rule, inputs, outputs); !problem.empty())
        invalid(op.label + ": " + problem);
      // XNNPACK 2.17.1 frees the weights' scale for a longer one, under whoever else has taken it.
      if (op.code == kBatchMatmul && inputs[1]->facts.type == kTypeInt8 &&
          readers[static_cast<std::size_t>(op.inputs[1])] > 1)
        invalid(op.label + ": shares its quantised weights with another operator, which is refused");
      for (std::size_t n = 0; n < op.inputs.size(); ++n)
        if (op.inputs[n] >= 0 && states[static_cast<std::size_t>(op.inputs[n])] == State::open)
          invalid(op.label + ": input " + std::to_string(n) + " reads tensor " + std::to_string(op.inputs[n]) +
                  " before anything has written it");
      const bool computed = std::any_of(op.inputs.begin(), op.inputs.end(), [&](int t) {
        return t >= 0 &&
               (follows[static_cast<std::size_t>(t)] || states[static_cast<std::size_t>(t)] == State::variable);
      });
      const bool unpacked = op.code == kDequantize && !computed;
      for (const int t : op.outputs) {
        follows[static_cast<std::size_t>(t)] = &graph == &graphs_[0] ? computed : !unpacked;
        auto& state = states[static_cast<std::size_t>(t)];
        // The converter writes a state's zeros as float16, in front of the operator that owns the state.
        const bool zeros = op.code == kDequantize && tensor(graph, op.inputs[0]).facts.constant;
        const char* taken = state == State::written              ? "which was written before"
                            : state == State::input              ? "which is an input of its graph"
                            : state == State::constant           ? "which is a constant"
                            : state == State::variable && !zeros ? "which is a variable"
                                                                 : nullptr;
        if (taken) invalid(op.label + ": writes tensor " + std::to_string(t) + ", " + taken);
        if (state == State::open) state = State::written;
      }
    }
    for (const int output : graph.outputs) {
      const auto state = states[static_cast<std::size_t>(output)];
      if (state == State::open || state == State::variable || (state == State::constant && &graph == &graphs_[0]))
        invalid("output tensor " + std::to_string(output) + graph.name + " is written by no operator");
      if (state == State::written && !follows[static_cast<std::size_t>(output)])
        invalid("output tensor " + std::to_string(output) + graph.name + " does not depend on the graph's input");
    }
  }

  /// Whole numbers at the edge stand for float32 by one scale; int32 inputs for themselves, where the graph makes float32 of
  /// them at once. What picks something by them is given no number of a caller's.
  void check_edges(const FileGraph& graph) const {
    for (const int t : graph.inputs) {
      const auto& facts = tensor(graph, t).facts;
      if (facts.type != kTypeInt32) continue;
      const std::string which =
          "input tensor " + std::to_string(t) + ": expected INT32 that is cast to FLOAT32 at once, ";
      if (facts.scales > 0) invalid(which + "got a scale");
      for (const auto& op : graph.operators)
        if (std::count(op.inputs.begin(), op.inputs.end(), t) > 0 &&
            (op.code != kCast || tensor(graph, op.outputs[0]).facts.type != kTypeFloat32))
          invalid(which + "got a reader of it in " + op.label);
    }
    for (const auto& [list, which] : {std::pair(&graph.inputs, "input"), std::pair(&graph.outputs, "output")})
      for (const int t : *list) {
        const auto& facts = tensor(graph, t).facts;
        if (facts.type != kTypeInt8 && facts.type != kTypeUint8 && facts.type != kTypeInt16) continue;
        if (facts.scales == 1 && facts.scale > 0.0f) continue;
        invalid(std::string(which) + " tensor " + std::to_string(t) + ": expected " + element_type_name(facts.type) +
                " with one scale above 0, got " +
                (facts.scales == 1 ? "the scale 0" : std::to_string(facts.scales) + " scales"));
      }
  }

  /// Every subgraph behind the primary one has one caller at most, and none calls itself.
  void check_calls() {
    for (const auto& graph : graphs_)
      for (const auto& op : graph.operators) {
        if (op.code != kWhile && op.code != kIf) continue;
        for (const int which : {0, 1}) {
          const int index = called(op, which);
          if (index < 1 || index >= static_cast<int>(graphs_.size()))
            invalid(op.label + ": calls subgraph " + std::to_string(index) + ", expected one from 1 to " +
                    std::to_string(static_cast<int>(graphs_.size()) - 1));
          auto& target = graphs_[static_cast<std::size_t>(index)];
          if (target.called)
            invalid(op.label + ": calls subgraph " + std::to_string(index) + ", which is called before");
          target.called = true;
        }
      }
  }

  static int called(const FileOperator& op, int which) {
    return op.options ? op.options->get<std::int32_t>(which, 0) : 0;
  }

  // ---- layout -----------------------------------------------------------------------------------------------------

  void step(std::uint64_t count, const std::string& where) {
    steps_ += count;
    if (steps_ > kMostSteps) refuse(where + ": the graph runs too many operators before its end can be seen");
  }

  void count_bytes(int graph, std::size_t tensor, std::uint64_t bytes, const std::string& where) {
    auto& sizes = sizes_[static_cast<std::size_t>(graph)];
    sizes.resize(graphs_[static_cast<std::size_t>(graph)].tensors.size());
    if (bytes <= sizes[tensor]) return;
    total_ += bytes - sizes[tensor];
    sizes[tensor] = bytes;
    if (total_ > limits_.tensor_bytes || bytes > limits_.tensor_bytes)
      refuse(where + ": the model's tensors take " + megabytes(std::max(bytes, total_)) +
             " or more, over the limit of " + megabytes(limits_.tensor_bytes));
  }

  std::vector<TensorFacts> lay_out(int index, const std::vector<TensorFacts>& inputs) {
    auto& graph = graphs_[static_cast<std::size_t>(index)];
    if (depth_ >= kDeepestCall) refuse("its loops are nested more than " + std::to_string(kDeepestCall) + " deep");
    ++depth_;
    sizes_.resize(graphs_.size());
    step(1 + graph.tensors.size() + inputs.size(), "subgraph " + std::to_string(index));
    std::vector<TensorFacts> facts;
    facts.reserve(graph.tensors.size());
    for (std::size_t t = 0; t < graph.tensors.size(); ++t) {
      facts.push_back(graph.tensors[t].facts);
      if (graph.tensors[t].variable)
        count_bytes(index, t, bytes_of(facts[t].type, facts[t].shape), "tensor " + std::to_string(t) + graph.name);
    }
    for (std::size_t n = 0; n < inputs.size(); ++n) {
      const auto t = static_cast<std::size_t>(graph.inputs[n]);
      facts[t].shape = inputs[n].shape;
      facts[t].values = inputs[n].values;
      count_bytes(index, t, bytes_of(facts[t].type, facts[t].shape), "tensor " + std::to_string(t) + graph.name);
    }
    for (const auto& op : graph.operators) lay_out(index, graph, op, facts);
    --depth_;
    std::vector<TensorFacts> outputs;
    for (const int t : graph.outputs) outputs.push_back(facts[static_cast<std::size_t>(t)]);
    return outputs;
  }

  void lay_out(int index, const FileGraph& graph, const FileOperator& op, std::vector<TensorFacts>& facts) {
    step(1, op.label);
    const auto fail = [&](const std::string& what) { invalid(op.label + ": " + what); };
    std::vector<const TensorFacts*> inputs, intermediates;
    for (const int t : op.inputs) inputs.push_back(t < 0 ? nullptr : &facts[static_cast<std::size_t>(t)]);
    for (const int t : op.intermediates) intermediates.push_back(&facts[static_cast<std::size_t>(t)]);
    for (std::size_t n = 0; n < inputs.size() && !op.rule->takes_empty; ++n)
      if (inputs[n] && (n == 0 || inputs[n]->type == kTypeFloat32) && elements_of(inputs[n]->shape) == 0)
        fail("input " + std::to_string(n) + " has no elements: " + shape_text(inputs[n]->shape));
    for (std::size_t n = 0; n < inputs.size(); ++n) check_magnitude(op, n, inputs[n]);
    std::vector<TensorFacts> outputs;
    for (const int t : op.outputs) outputs.push_back(tensor(graph, t).facts);
    std::uint64_t work = 0;
    if (op.code == kWhile) {
      outputs = run_loop(op, inputs);
    } else if (op.code == kIf) {
      outputs = run_branches(op, inputs);
    } else {
      LayoutCall call(op.code, *op.rule, op.options ? &*op.options : nullptr, inputs, std::move(outputs),
                      std::move(intermediates));
      try {
        op.rule->layout(call);
      } catch (const Misfit& problem) {
        fail(problem.what());
      } catch (const Damaged& damage) {
        fail(damage.what());
      }
      outputs = std::move(call.out);
      work = call.work;
      check_bytes(call.scratch_bytes, op.label + ": working memory");
    }
    for (std::size_t n = 0; n < outputs.size(); ++n) place(index, graph, op, n, std::move(outputs[n]), facts);
    work_ += std::min(work, limits_.work + 1);
    if (work_ > limits_.work)
      refuse(op.label + ": one run takes " + std::to_string(std::max(work_, work)) +
             " multiplications or more, over the limit of " + std::to_string(limits_.work) +
             " (load_seconds, LINKCAST_LOAD_SECONDS)");
  }

  /// The runtime's kernels and XNNPACK's treat what is no number differently, so that none may arise.
  void check_magnitude(const FileOperator& op, std::size_t n, const TensorFacts* facts) const {
    if (!facts) return;
    const char* expected = nullptr;
    if (facts->nan || (std::isinf(facts->largest) && !op.rule->takes_infinity)) expected = "finite numbers";
    if (op.rule->multiplies && facts->largest > kLargestWeight) expected = "numbers of at most 1e15";
    if (!expected) return;
    invalid(op.label + ": input " + std::to_string(n) + " (tensor " + std::to_string(op.inputs[n]) + "): expected " +
            expected + ", got " + (facts->nan ? "NaN" : std::to_string(facts->largest)));
  }

  void place(int index, const FileGraph& graph, const FileOperator& op, std::size_t n, TensorFacts facts,
             std::vector<TensorFacts>& all) {
    const auto t = static_cast<std::size_t>(op.outputs[n]);
    const auto& declared = graph.tensors[t];
    const auto& shape = declared.facts.shape;
    bool fits = facts.shape.size() == shape.size();
    for (std::size_t d = 0; fits && d < shape.size(); ++d)
      fits = facts.shape[d] == shape[d] || (!declared.signature.empty() && declared.signature[d] == -1);
    for (const std::int64_t d : facts.shape)
      if (d < 0 || d > std::numeric_limits<std::int32_t>::max())
        refuse(op.label + ": output " + std::to_string(n) + " has a dimension of " + std::to_string(d));
    count_bytes(index, t, bytes_of(facts.type, facts.shape), op.label);
    if (!fits && declared.ranked)
      invalid(op.label + ": output " + std::to_string(n) + " (tensor " + std::to_string(t) + "): expected " +
              shape_text(facts.shape) + ", got " + shape_text(shape));
    as_declared_ = as_declared_ && (!declared.ranked || facts.shape == shape);
    all[t].shape = std::move(facts.shape);
    all[t].values = std::move(facts.values);
    if (all[t].values) step(all[t].values->size() / 16, op.label);
  }

  std::vector<TensorFacts> copies(const FileOperator& op, const std::vector<const TensorFacts*>& inputs,
                                  std::size_t first, const FileGraph& graph) const {
    std::vector<TensorFacts> values;
    for (std::size_t n = first; n < inputs.size(); ++n) values.push_back(*inputs[n]);
    check_arguments(op, values, graph);
    return values;
  }

  /// What an operator hands to a subgraph has to fit the subgraph's inputs.
  void check_arguments(const FileOperator& op, const std::vector<TensorFacts>& values, const FileGraph& graph) const {
    if (values.size() != graph.inputs.size())
      invalid(op.label + ": hands over " + std::to_string(values.size()) + " tensors to" + graph.name.substr(3) +
              ", which takes " + std::to_string(graph.inputs.size()));
    for (std::size_t n = 0; n < values.size(); ++n)
      if (values[n].type != tensor(graph, graph.inputs[n]).facts.type)
        invalid(op.label + ": hands over " + element_type_name(values[n].type) + " as input " + std::to_string(n) +
                graph.name + ", which takes " + element_type_name(tensor(graph, graph.inputs[n]).facts.type));
  }

  void check_results(const FileOperator& op, const std::vector<TensorFacts>& results, const FileGraph& caller_types,
                     const FileGraph& graph) const {
    if (results.size() != op.outputs.size())
      invalid(op.label + ": gets " + std::to_string(results.size()) + " tensors from" + graph.name.substr(3) +
              ", expected " + std::to_string(op.outputs.size()));
    for (std::size_t n = 0; n < results.size(); ++n)
      if (results[n].type != tensor(caller_types, op.outputs[n]).facts.type)
        invalid(op.label + ": output " + std::to_string(n) + ": expected " +
                element_type_name(tensor(caller_types, op.outputs[n]).facts.type) + ", got " +
                element_type_name(results[n].type));
  }

  const FileGraph& caller_of(const FileOperator& op) const {
    for (const auto& graph : graphs_)
      if (!graph.operators.empty() && &op >= graph.operators.data() &&
          &op < graph.operators.data() + graph.operators.size())
        return graph;
    return graphs_[0];
  }

  std::vector<TensorFacts> run_loop(const FileOperator& op, const std::vector<const TensorFacts*>& inputs) {
    const int condition_index = called(op, 0);
    const int body_index = called(op, 1);
    const auto& condition = graphs_[static_cast<std::size_t>(condition_index)];
    const auto& body = graphs_[static_cast<std::size_t>(body_index)];
    auto values = copies(op, inputs, 0, condition);
    check_arguments(op, values, body);
    if (condition.outputs.size() != 1 || tensor(condition, condition.outputs[0]).facts.type != kTypeBool)
      invalid(op.label + ": expected a condition with one bool output");
    for (std::uint64_t turn = 0;; ++turn) {
      const auto verdict = lay_out(condition_index, values)[0];
      if (!verdict.values || verdict.values->size() != 1)
        refuse(op.label + ": the loop's end can't be seen: its condition depends on the model's input");
      if ((*verdict.values)[0] == 0) break;
      if (turn >= kMostTurns) refuse(op.label + ": the loop turns more than " + std::to_string(kMostTurns) + " times");
      auto next = lay_out(body_index, values);
      check_results(op, next, caller_of(op), body);
      if (same(next, values)) refuse(op.label + ": the loop never ends: a turn leaves its counters as they were");
      values = std::move(next);
      for (std::size_t n = 0; n < values.size(); ++n) check_turn(op, values[n], n);
    }
    check_results(op, values, caller_of(op), body);
    return values;
  }

  void check_turn(const FileOperator& op, const TensorFacts& value, std::size_t n) const {
    check_bytes(bytes_of(value.type, value.shape), op.label + ": value " + std::to_string(n) + " of the loop");
  }

  static bool same(const std::vector<TensorFacts>& a, const std::vector<TensorFacts>& b) {
    for (std::size_t n = 0; n < a.size(); ++n) {
      if (a[n].shape != b[n].shape || (a[n].values == nullptr) != (b[n].values == nullptr)) return false;
      if (a[n].values && *a[n].values != *b[n].values) return false;
    }
    return true;
  }

  std::vector<TensorFacts> run_branches(const FileOperator& op, const std::vector<const TensorFacts*>& inputs) {
    if (elements_of(inputs[0]->shape) != 1) invalid(op.label + ": expected one bool as its condition");
    std::vector<TensorFacts> results[2];
    for (const int which : {0, 1}) {
      const int index = called(op, which);
      const auto& branch = graphs_[static_cast<std::size_t>(index)];
      results[which] = lay_out(index, copies(op, inputs, 1, branch));
      check_results(op, results[which], caller_of(op), branch);
    }
    for (std::size_t n = 0; n < results[0].size(); ++n) {
      if (results[0][n].shape != results[1][n].shape)
        refuse(op.label + ": output " + std::to_string(n) + " has another shape in each branch, which is refused");
      results[0][n].values = nullptr;
    }
    return results[0];
  }

  FlatBytes bytes_;
  VerifierLimits limits_;
  std::vector<FileGraph> graphs_;
  std::vector<std::vector<std::uint64_t>> sizes_;  // the largest that each tensor of each subgraph becomes
  std::uint64_t total_ = 0;                        // bytes of sizes_
  std::uint64_t work_ = 0;
  std::uint64_t steps_ = 0;
  std::size_t depth_ = 0;
  bool as_declared_ = true;
};

}  // namespace

VerifiedModel verify(const std::string& path, const void* bytes, std::size_t size, const VerifierLimits& limits) {
  Verifier verifier(path, bytes, size, limits);
  try {
    verifier.run();
  } catch (const Damaged& damage) {
    Refusal(path, limits.tensor_bytes).invalid(damage.what());
  }
  return verifier.verified();
}

}  // namespace linkcast::tflite
