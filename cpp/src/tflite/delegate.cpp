#include "tflite/delegate.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <stdexcept>

#include "base/environment.h"
#include "recognise/expression.h"
#include "tflite/graph_reader.h"
#include "tflite/runtime.h"

namespace linkcast::tflite {
namespace {

constexpr const char* kName = "linkcast";
constexpr float kWrongOnPurpose = 1.0f;  // above every tolerance of the proof

bool test_hook_is([[maybe_unused]] const char* wanted) {
#ifdef LINKCAST_TEST_HOOKS
  const char* value = environment("LINKCAST_TEST_WRONG_KERNEL");
  return value && std::strcmp(value, wanted) == 0;
#else
  return false;
#endif
}

}  // namespace

NativeDelegate::NativeDelegate(const Runtime& runtime, Isa isa, Precision precision, const std::string& kernels,
                               const SecondCore& second_core)
    : api_(runtime.api()), isa_(isa), precision_(precision), kernels_(kernels), second_core_(second_core) {
  create();
}

NativeDelegate::NativeDelegate(const Runtime& runtime, const NativeDelegate& other)
    : api_(runtime.api()),
      isa_(other.isa_),
      precision_(other.precision_),
      kernels_(other.kernels_),
      second_core_(other.second_core_),
      graph_(other.graph_) {
  create();
}

void NativeDelegate::create() {
  wrong_on_purpose_ = test_hook_is("1");
  steps_wrong_on_purpose_ = test_hook_is("steps");
  const OpaqueDelegateBuilder builder{this,    &NativeDelegate::on_prepare,  nullptr, nullptr,
                                      nullptr, kDelegateAllowsDynamicTensors};
  delegate_ = api_.OpaqueDelegateCreate(&builder);
  if (!delegate_) throw std::runtime_error("TensorFlow Lite can't create a delegate");
}

NativeDelegate::~NativeDelegate() { api_.OpaqueDelegateDelete(delegate_); }

Status NativeDelegate::on_prepare(OpaqueContext* context, OpaqueDelegate*, void* self) {
  auto& delegate = *static_cast<NativeDelegate*>(self);
  // The primary graph is offered first; then come the subgraphs of WHILE, which belong to it.
  if (!delegate.primary_) delegate.primary_ = context;
  if (context != delegate.primary_) return kOk;
  try {
    // The runtime may offer a graph again after a resize; what was read then still holds.
    if (!delegate.graph_) delegate.read(context);
    return delegate.claim(context);
  } catch (const std::bad_alloc&) {
    delegate.reason_ = "the graph is too large to be read";
  } catch (const std::exception& error) {
    delegate.reason_ = error.what();
  }
  return kOk;  // not claimed: the graph stays as it is
}

void NativeDelegate::read(OpaqueContext* context) {
  std::map<int, Subgraph> subgraphs;
  const SubgraphSource source = [&](int index) -> const Subgraph& {
    const auto found = subgraphs.find(index);
    if (found != subgraphs.end()) return found->second;
    return subgraphs[index] = index == 0 ? read_subgraph(api_, context) : read_subgraph(api_, context, index);
  };
  auto recognised = recognise(source);
  if (recognised.state && precision_ != Precision::float32)
    throw NotNative(
        "the model has its state at its edge, where it may be of any size, and int8 and bfloat16 are for states "
        "that the network has made itself");
  ChosenNetwork network(recognised.spec, isa_, precision_, {kernels_, {}, second_core_});
  graph_ = std::make_shared<NativeGraph>(
      NativeGraph{std::move(recognised), std::move(network), source(0).inputs, source(0).outputs});
  if (graph_->recognised.state && !graph_->network.can_step()) {
    graph_.reset();
    throw NotNative("the model takes its state at its edge, and has a layer that needs all of the steps at once");
  }
}

Status NativeDelegate::claim(OpaqueContext* context) {
  const auto create = api_.OperatorCreateWithData ? api_.OperatorCreateWithData : api_.OperatorCreate;
  auto* kernel = create(kBuiltinDelegate, kName, 1, this);
  if (!kernel) throw std::runtime_error("TensorFlow Lite can't create an operator");
  api_.OperatorSetInitWithData(kernel, &NativeDelegate::on_kernel_init);
  api_.OperatorSetFreeWithData(kernel, &NativeDelegate::on_kernel_free);
  api_.OperatorSetPrepareWithData(kernel, &NativeDelegate::on_kernel_prepare);
  api_.OperatorSetInvokeWithData(kernel, &NativeDelegate::on_kernel_invoke);
  IntArray* plan = nullptr;
  if (api_.OpaqueContextGetExecutionPlan(context, &plan) != kOk || !plan) {
    api_.OperatorDelete(kernel);
    throw std::runtime_error("TensorFlow Lite gave no execution plan");
  }
  // From here on the runtime owns the operator.
  const Status status = api_.OpaqueContextReplaceNodeSubsetsWithDelegateKernels(context, kernel, plan, delegate_);
  claimed_ = status == kOk;
  reason_ = claimed_ ? "" : "TensorFlow Lite refused to hand over the graph";
  return status;
}

Status NativeDelegate::resize_output(OpaqueContext* context) {
  if (graph_->recognised.state) return prepare_steps(context);
  const auto& spec = graph_->recognised.spec;
  const auto* input = api_.OpaqueContextGetOpaqueTensor(context, graph_->inputs[0]);
  const int rank = spec.sequence_input ? 3 : 2;
  const int batch = input && api_.OpaqueTensorNumDims(input) == rank ? api_.OpaqueTensorDim(input, 0) : 0;
  if (batch < 1 || api_.OpaqueTensorDim(input, rank - 1) != static_cast<int>(spec.features) ||
      (rank == 3 && api_.OpaqueTensorDim(input, 1) != static_cast<int>(spec.steps))) {
    api_.OpaqueContextReportError(context, "linkcast: only the batch of the input can be resized, to 1 or more");
    return kError;
  }
  graph_->network.reserve(static_cast<std::size_t>(batch));
  return resize(context, graph_->outputs[0], graph_->recognised.output_shape, batch);
}

/// @param shape  (batch, ...), whose batch is another one
Status NativeDelegate::resize(OpaqueContext* context, int tensor, const Shape& shape, int batch) {
  auto* dims = api_.IntArrayCreate(static_cast<int>(shape.size()));
  if (!dims) return kError;
  dims->data[0] = batch;
  for (std::size_t d = 1; d < shape.size(); ++d) dims->data[d] = static_cast<int>(shape[d]);
  return api_.OpaqueContextResizeTensor(context, api_.OpaqueContextGetOpaqueTensor(context, tensor), dims);
}

/// A network that steps has the batch that its file was written for.
Status NativeDelegate::prepare_steps(OpaqueContext* context) {
  const StateEdges& state = *graph_->recognised.state;
  auto& network = graph_->network;
  network.reserve(state.batch);
  graph_->answer.resize(state.batch * network.outputs());
  for (std::size_t n = 0; n < graph_->outputs.size(); ++n) {
    const Status status = resize(context, graph_->outputs[n], state.output_shapes[n], static_cast<int>(state.batch));
    if (status != kOk) return status;
  }
  return kOk;
}

Status NativeDelegate::run(OpaqueContext* context) noexcept {
  if (graph_->recognised.state) return run_steps(context);
  auto& network = graph_->network;
  const auto* input = api_.OpaqueContextGetOpaqueTensor(context, graph_->inputs[0]);
  const auto* output = api_.OpaqueContextGetOpaqueTensor(context, graph_->outputs[0]);
  const auto batch = static_cast<std::size_t>(api_.OpaqueTensorDim(input, 0));
  auto* to = static_cast<float*>(api_.OpaqueTensorData(output));
  network.run(static_cast<const float*>(api_.OpaqueTensorData(input)), batch, to);
  if (wrong_on_purpose_)
    for (std::size_t n = 0; n < batch * network.output_steps() * network.outputs(); ++n) to[n] += kWrongOnPurpose;
  return kOk;
}

Status NativeDelegate::run_steps(OpaqueContext* context) noexcept {
  NativeGraph& graph = *graph_;
  const StateEdges& edges = *graph.recognised.state;
  ChosenNetwork& network = graph.network;
  const auto floats = [&](int tensor) {
    return static_cast<float*>(api_.OpaqueTensorData(api_.OpaqueContextGetOpaqueTensor(context, tensor)));
  };
  const std::size_t batch = edges.batch;
  const std::size_t size = network.state_size();
  const std::size_t needed = batch * size;
  if (graph.states.size() != needed) {  // the kernels are others than before: while they are proven
    try {
      graph.states.resize(needed);
    } catch (const std::bad_alloc&) {
      return kError;
    }
  }
  std::fill(graph.states.begin(), graph.states.end(), 0.0f);
  const auto copy = [&](const StateEdge& edge, float* outside, bool in) {
    const StatePart& part = network.state_parts()[edge.layer];
    for (std::size_t row = 0; row < batch; ++row) {
      float* inside = graph.states.data() + row * size + (edge.cell ? part.cell : part.hidden);
      if (in)
        std::copy_n(outside + row * part.units, part.units, inside);
      else
        std::copy_n(inside, part.units, outside + row * part.units);
    }
  };
  for (const StateEdge& edge : edges.inputs) copy(edge, floats(graph.inputs[edge.edge]), true);
  const std::size_t steps = network.steps();
  const std::size_t features = network.features();
  const float* window = floats(graph.inputs[edges.window]);
  for (std::size_t step = 0; step < steps; ++step)
    network.step(window + step * features, steps * features, batch, graph.states.data(),
                 step + 1 == steps ? graph.answer.data() : nullptr);
  if (wrong_on_purpose_)
    for (float& value : graph.answer) value += kWrongOnPurpose;
  for (const std::size_t output : edges.answers)
    std::copy(graph.answer.begin(), graph.answer.end(), floats(graph.outputs[output]));
  for (const StateEdge& edge : edges.outputs) copy(edge, floats(graph.outputs[edge.edge]), false);
  return kOk;
}

void* NativeDelegate::on_kernel_init(void* self, OpaqueContext*, const char*, std::size_t) { return self; }

void NativeDelegate::on_kernel_free(void*, OpaqueContext*, void*) {}

Status NativeDelegate::on_kernel_prepare(void* self, OpaqueContext* context, OpaqueNode*) {
  auto& delegate = *static_cast<NativeDelegate*>(self);
  try {
    return delegate.resize_output(context);
  } catch (const std::exception& error) {
    delegate.api_.OpaqueContextReportError(context, "linkcast: %s", error.what());
    return kError;
  }
}

Status NativeDelegate::on_kernel_invoke(void* self, OpaqueContext* context, OpaqueNode*) {
  return static_cast<NativeDelegate*>(self)->run(context);
}

}  // namespace linkcast::tflite
