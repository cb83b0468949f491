#include "tflite/delegate.h"

#include <cstring>
#include <map>
#include <stdexcept>

#include "base/environment.h"
#include "tflite/graph_reader.h"
#include "tflite/runtime.h"

namespace linkcast::tflite {
namespace {

constexpr const char* kName = "linkcast";
constexpr float kWrongOnPurpose = 1.0F;  // above every tolerance of the proof

bool test_hook_set() {
#ifdef LINKCAST_TEST_HOOKS
  const char* value = environment("LINKCAST_TEST_WRONG_KERNEL");
  return value && std::strcmp(value, "1") == 0;
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
  wrong_on_purpose_ = test_hook_set();
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
  ChosenNetwork network(recognised.spec, isa_, precision_, {kernels_, {}, second_core_});
  graph_ = std::make_shared<NativeGraph>(
      NativeGraph{std::move(recognised), std::move(network), source(0).inputs[0], source(0).outputs[0]});
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
  const auto& spec = graph_->recognised.spec;
  const auto* input = api_.OpaqueContextGetOpaqueTensor(context, graph_->input);
  const int rank = spec.sequence_input ? 3 : 2;
  const int batch = input && api_.OpaqueTensorNumDims(input) == rank ? api_.OpaqueTensorDim(input, 0) : 0;
  if (batch < 1 || api_.OpaqueTensorDim(input, rank - 1) != static_cast<int>(spec.features) ||
      (rank == 3 && api_.OpaqueTensorDim(input, 1) != static_cast<int>(spec.steps))) {
    api_.OpaqueContextReportError(context, "linkcast: only the batch of the input can be resized, to 1 or more");
    return kError;
  }
  const auto& shape = graph_->recognised.output_shape;
  auto* dims = api_.IntArrayCreate(static_cast<int>(shape.size()));
  if (!dims) return kError;
  dims->data[0] = batch;
  for (std::size_t d = 1; d < shape.size(); ++d) dims->data[d] = shape[d];
  graph_->network.reserve(static_cast<std::size_t>(batch));
  return api_.OpaqueContextResizeTensor(context, api_.OpaqueContextGetOpaqueTensor(context, graph_->output), dims);
}

Status NativeDelegate::run(OpaqueContext* context) noexcept {
  auto& network = graph_->network;
  const auto* input = api_.OpaqueContextGetOpaqueTensor(context, graph_->input);
  const auto* output = api_.OpaqueContextGetOpaqueTensor(context, graph_->output);
  const auto batch = static_cast<std::size_t>(api_.OpaqueTensorDim(input, 0));
  auto* to = static_cast<float*>(api_.OpaqueTensorData(output));
  network.run(static_cast<const float*>(api_.OpaqueTensorData(input)), batch, to);
  if (wrong_on_purpose_)
    for (std::size_t n = 0; n < batch * network.output_steps() * network.outputs(); ++n) to[n] += kWrongOnPurpose;
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
