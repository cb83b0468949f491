#include "tflite/graph_reader.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <stdexcept>

#include "recognise/operators.h"
#include "tflite/runtime.h"

namespace linkcast::tflite {
namespace {

constexpr int kAllocationMmapReadOnly = 1;        // a constant in the model's bytes
constexpr int kAllocationPersistentReadOnly = 5;  // a constant that the runtime made

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

void require(Status status, const char* what) {
  if (status != kOk) fail(std::string("TensorFlow Lite refused to list ") + what);
}

/// The runtime numbers its types in another way than the schema.
int element_type(DataType type) {
  switch (type) {
    case 1:
      return kTypeFloat32;
    case 2:
      return kTypeInt32;
    case 3:
      return kTypeUint8;
    case 4:
      return kTypeInt64;
    case 6:
      return kTypeBool;
    case 7:
      return kTypeInt16;
    case 9:
      return kTypeInt8;
    case 10:
      return kTypeFloat16;
    case 18:
      return kTypeInt4;
    default:
      return -1;
  }
}

Shape shape_of(const Api& api, const OpaqueTensor* tensor) {
  Shape shape(static_cast<std::size_t>(std::max(0, api.OpaqueTensorNumDims(tensor))));
  for (std::size_t d = 0; d < shape.size(); ++d) shape[d] = api.OpaqueTensorDim(tensor, static_cast<std::int32_t>(d));
  return shape;
}

void read_quantization(const Api& api, const OpaqueTensor* tensor, GraphTensor& result) {
  const auto quantization = api.OpaqueTensorGetQuantization(tensor);
  if (quantization.type != kAffineQuantization || !quantization.params) return;
  const auto& affine = *static_cast<const AffineQuantization*>(quantization.params);
  if (!affine.scale || !affine.zero_point || affine.scale->size <= 0) return;
  const auto count = static_cast<std::size_t>(affine.scale->size);
  const auto zero_points = static_cast<std::size_t>(std::max(0, affine.zero_point->size));
  if (zero_points != count && zero_points != 1) return;
  result.scales.assign(affine.scale->data, affine.scale->data + count);
  result.zero_points.assign(count, affine.zero_point->data[0]);
  if (zero_points == count) std::copy_n(affine.zero_point->data, count, result.zero_points.begin());
  result.quantized_dimension = affine.quantized_dimension;
}

GraphTensor read_tensor(const Api& api, const OpaqueTensor* tensor) {
  GraphTensor result;
  if (!tensor) return result;
  result.type = element_type(api.OpaqueTensorType(tensor));
  result.shape = shape_of(api, tensor);
  result.variable = api.OpaqueTensorIsVariable(tensor) != 0;
  const int allocation = api.OpaqueTensorGetAllocationType(tensor);
  if (allocation == kAllocationMmapReadOnly || allocation == kAllocationPersistentReadOnly) {
    result.constant = api.OpaqueTensorData(tensor);
    result.bytes = api.OpaqueTensorByteSize(tensor);
  }
  read_quantization(api, tensor, result);
  return result;
}

std::vector<int> checked(const int* indices, int count, std::size_t tensors, int lowest) {
  if (count < 0 || (count > 0 && !indices)) fail("the graph lists tensors that do not exist");
  std::vector<int> result(indices, indices + count);
  for (const int index : result)
    if (index < lowest || index >= static_cast<int>(tensors)) fail("the graph names tensor " + std::to_string(index));
  return result;
}

GraphNode read_node(const Api& api, OpaqueContext* context, int index, std::size_t tensors) {
  OpaqueNode* node = nullptr;
  Operator* registration = nullptr;
  require(api.OpaqueContextGetNodeAndRegistration(context, index, &node, &registration), "an operator");
  if (!node || !registration) fail("operator " + std::to_string(index) + " does not exist");

  GraphNode result;
  result.index = index;
  result.code = api.OperatorGetBuiltInCode(registration);
  result.name = operator_name(result.code, api.OperatorGetCustomName(registration));
  const int* indices = nullptr;
  int count = 0;
  require(api.OpaqueNodeInputs(node, &indices, &count), "an operator's inputs");
  result.inputs = checked(indices, count, tensors, -1);
  require(api.OpaqueNodeOutputs(node, &indices, &count), "an operator's outputs");
  result.outputs = checked(indices, count, tensors, -1);
  result.options = api.OpaqueNodeGetBuiltinData(node);
  return result;
}

std::vector<GraphTensor> read_tensors(const Api& api, OpaqueContext* context) {
  std::vector<GraphTensor> tensors(api.OpaqueContextGetNumTensors(context));
  for (std::size_t t = 0; t < tensors.size(); ++t)
    tensors[t] = read_tensor(api, api.OpaqueContextGetOpaqueTensor(context, static_cast<int>(t)));
  return tensors;
}

std::vector<int> execution_plan(const Api& api, OpaqueContext* context) {
  IntArray* plan = nullptr;
  require(api.OpaqueContextGetExecutionPlan(context, &plan), "its operators");
  if (!plan || plan->size < 0) fail("TensorFlow Lite gave no execution plan");
  return {plan->data, plan->data + plan->size};
}

/// Borrows another subgraph's context for the time of a scope.
class SubgraphContext {
 public:
  SubgraphContext(const Api& api, OpaqueContext* context, int index) : api_(api), owner_(context), index_(index) {
    if (api.OpaqueContextAcquireSubgraphContext(context, index, &context_) != kOk || !context_)
      fail("the graph names subgraph " + std::to_string(index) + ", which does not exist");
  }
  SubgraphContext(const SubgraphContext&) = delete;
  SubgraphContext& operator=(const SubgraphContext&) = delete;
  ~SubgraphContext() { api_.OpaqueContextReleaseSubgraphContext(owner_, index_); }

  OpaqueContext* get() const noexcept { return context_; }

 private:
  const Api& api_;
  OpaqueContext* owner_;
  int index_;
  OpaqueContext* context_ = nullptr;
};

OperatorInfo describe(const GraphNode& node, const std::vector<GraphTensor>& tensors) {
  OperatorInfo info;
  info.index = node.index;
  info.code = node.code;
  info.name = node.name;
  for (const int input : node.inputs) {
    if (input < 0) continue;
    const auto& tensor = tensors[static_cast<std::size_t>(input)];
    info.input_shapes.push_back(tensor.shape);
    info.constant_bytes += tensor.bytes;
  }
  for (const int output : node.outputs) {
    if (output < 0) continue;
    const auto& tensor = tensors[static_cast<std::size_t>(output)];
    if (info.output_shapes.empty()) info.output_type = element_type_name(tensor.type);
    info.output_shapes.push_back(tensor.shape);
  }
  return info;
}

/// What a delegate's nodes are said to run on: the XNNPACK delegate names itself so, ours is "linkcast".
std::string backend_of(const std::string& delegate_name) {
  std::string lower = delegate_name;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  if (lower.find("xnnpack") != std::string::npos) return "xnnpack";
  return lower.find("linkcast") != std::string::npos ? "native" : delegate_name;
}

}  // namespace

Subgraph read_subgraph(const Api& api, OpaqueContext* context) {
  Subgraph graph;
  graph.tensors = read_tensors(api, context);
  const int* indices = nullptr;
  int count = 0;
  require(api.OpaqueContextGetInputs(context, &indices, &count), "the graph's inputs");
  graph.inputs = checked(indices, count, graph.tensors.size(), 0);
  require(api.OpaqueContextGetOutputs(context, &indices, &count), "the graph's outputs");
  graph.outputs = checked(indices, count, graph.tensors.size(), 0);
  for (const int index : execution_plan(api, context))
    graph.nodes.push_back(read_node(api, context, index, graph.tensors.size()));
  return graph;
}

Subgraph read_subgraph(const Api& api, OpaqueContext* context, int index) {
  const SubgraphContext other(api, context, index);
  return read_subgraph(api, other.get());
}

Inspector::Inspector(const Runtime& runtime) : api_(runtime.api()) {
  if (!runtime.has_delegates()) return;
  const OpaqueDelegateBuilder builder{this,    &Inspector::prepare,          nullptr, nullptr,
                                      nullptr, kDelegateAllowsDynamicTensors};
  delegate_ = api_.OpaqueDelegateCreate(&builder);
  if (!delegate_) fail("TensorFlow Lite can't create a delegate");
}

Inspector::~Inspector() {
  if (delegate_) api_.OpaqueDelegateDelete(delegate_);
}

Status Inspector::prepare(OpaqueContext* context, OpaqueDelegate*, void* self) {
  // Called for the primary graph first, then for the subgraphs of WHILE and IF.
  auto& inspector = *static_cast<Inspector*>(self);
  if (!inspector.primary_) inspector.primary_ = context;
  return kOk;
}

std::vector<OperatorInfo> Inspector::operators() const {
  std::vector<OperatorInfo> result;
  if (!primary_) return result;
  // Outside a delegate's prepare the runtime opens its graph only to one who acquires it as a subgraph.
  const SubgraphContext primary(api_, primary_, 0);
  const auto tensors = read_tensors(api_, primary.get());
  const auto plan = execution_plan(api_, primary.get());
  std::string delegate = "tflite";
  const auto count = static_cast<int>(api_.OpaqueContextGetNumNodes(primary.get()));
  for (int index = 0; index < count; ++index) {
    const auto node = read_node(api_, primary.get(), index, tensors.size());
    const bool in_plan = std::find(plan.begin(), plan.end(), index) != plan.end();
    if (node.code == kBuiltinDelegate) {
      OpaqueNode* handle = nullptr;
      Operator* registration = nullptr;
      require(api_.OpaqueContextGetNodeAndRegistration(primary.get(), index, &handle, &registration), "a delegate");
      const char* name = api_.OperatorGetCustomName(registration);
      if (in_plan) delegate = backend_of(name ? name : "delegate");
      continue;
    }
    result.push_back(describe(node, tensors));
    result.back().runs_on = in_plan ? "tflite" : "";
  }
  for (auto& info : result)
    if (info.runs_on.empty()) info.runs_on = delegate;
  return result;
}

}  // namespace linkcast::tflite
