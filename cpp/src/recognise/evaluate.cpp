#include "recognise/evaluate.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "recognise/operators.h"

namespace linkcast::tflite {
namespace {

// Limits that no network of ours comes near; a hostile file must not keep the loader busy for minutes.
constexpr std::size_t kMostElements = std::size_t{1} << 23;         // of one tensor
constexpr std::size_t kMostElementsWritten = std::size_t{1} << 24;  // by all operators together
constexpr std::size_t kMostOperatorsRun = 1'000'000;
constexpr int kDeepestLoop = 4;

// The operators' options as the runtime lays them out behind a node; only fields up to the last one read are declared.
struct ArithmeticOptions {
  int activation;
};
struct FullyConnectedOptions {
  int activation;
  int weights_format;  // 0: row-major
  bool keep_num_dims;
};
struct SequenceLstmOptions {
  int activation;
  float cell_clip;
  float proj_clip;
  bool time_major;
};
struct ConcatenationOptions {
  int axis;
  int activation;
};
struct BatchMatmulOptions {
  bool adjoint_x;
  bool adjoint_y;
};
struct ReshapeOptions {
  std::int32_t shape[8];
  int count;
};
struct GatherOptions {
  int axis;
  int batch_dims;
};
struct SqueezeOptions {
  std::int32_t dims[8];
  int count;
};
struct StridedSliceOptions {
  int begin_mask;
  int end_mask;
  int ellipsis_mask;
  int new_axis_mask;
  int shrink_axis_mask;
  bool offset;
};
struct SplitOptions {
  int count;
};
struct PackOptions {
  int count;
  int axis;
};
struct UnpackOptions {
  int count;
  int axis;
};
struct WhileOptions {
  int condition;
  int body;
};

std::size_t elements_of(const std::vector<int>& shape) {
  std::size_t count = 1;
  for (const int d : shape) {
    if (d < 0) throw NotNative("the graph has a tensor of unknown shape");
    count *= static_cast<std::size_t>(d);
    if (count > kMostElements) throw NotNative("the graph has a tensor too large to be read");
  }
  return count;
}

float from_float16(std::uint16_t half) {
  const int exponent = (half >> 10) & 0x1F;
  const int fraction = half & 0x3FF;
  const float sign = (half & 0x8000) != 0 ? -1.0F : 1.0F;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  if (exponent == 31)
    return fraction != 0 ? std::numeric_limits<float>::quiet_NaN() : sign * std::numeric_limits<float>::infinity();
  return sign * std::ldexp(static_cast<float>(fraction | 0x400), exponent - 25);
}

template <class T, class Store>
void read_as(const GraphTensor& tensor, std::size_t count, Store store) {
  for (std::size_t n = 0; n < count; ++n) {
    T item;  // the file aligns nothing
    std::memcpy(&item, static_cast<const char*>(tensor.constant) + n * sizeof(T), sizeof(T));
    store(item, n);
  }
}

std::size_t bytes_per_element(DataType type) {
  switch (type) {
    case kFloat32:
    case kInt32:
      return 4;
    case kInt64:
      return 8;
    case kFloat16:
      return 2;
    case kInt8:
    case kBool:
      return 1;
    default:
      return 0;
  }
}

/// real = scale * (stored - zero_point), with one scale or one per slice along the quantised dimension.
bool read_int8(const GraphTensor& tensor, std::size_t count, std::vector<float>& floats) {
  const auto scales = tensor.scales.size();
  if (scales == 0) return false;
  std::size_t inner = count;  // elements that share a scale and lie side by side
  if (scales > 1) {
    const auto dimension = static_cast<std::size_t>(tensor.quantized_dimension);
    if (tensor.quantized_dimension < 0 || dimension >= tensor.shape.size() ||
        static_cast<std::size_t>(tensor.shape[dimension]) != scales)
      return false;
    inner = 1;
    for (std::size_t d = dimension + 1; d < tensor.shape.size(); ++d)
      inner *= static_cast<std::size_t>(tensor.shape[d]);
  }
  read_as<std::int8_t>(tensor, count, [&](std::int8_t item, std::size_t n) {
    const auto slice = scales > 1 ? n / inner % scales : 0;
    floats[n] = tensor.scales[slice] * static_cast<float>(item - tensor.zero_points[slice]);
  });
  return true;
}

/// The value of a constant tensor, or null when its type or size is not one that can be read.
ValuePtr read_constant(const GraphTensor& tensor) {
  auto value = std::make_shared<Value>();
  value->type = tensor.type;
  value->shape = tensor.shape;
  const std::size_t count = elements_of(tensor.shape);
  const std::size_t width = bytes_per_element(tensor.type);
  if (!tensor.constant || width == 0 || tensor.bytes != count * width) return nullptr;
  if (value->whole_numbers()) {
    auto& integers = value->integers;
    integers.resize(count);
    const auto store = [&](auto item, std::size_t n) { integers[n] = static_cast<std::int64_t>(item); };
    if (tensor.type == kInt32) read_as<std::int32_t>(tensor, count, store);
    if (tensor.type == kInt64) read_as<std::int64_t>(tensor, count, store);
    if (tensor.type == kBool) read_as<std::uint8_t>(tensor, count, store);
    return value;
  }
  value->floats.resize(count);
  auto& floats = value->floats;
  if (tensor.type == kFloat32) read_as<float>(tensor, count, [&](float item, std::size_t n) { floats[n] = item; });
  if (tensor.type == kFloat16)
    read_as<std::uint16_t>(tensor, count, [&](std::uint16_t item, std::size_t n) { floats[n] = from_float16(item); });
  if (tensor.type == kInt8 && !read_int8(tensor, count, floats)) return nullptr;
  return value;
}

std::vector<Element> elements_from(const Value& value) {
  if (value.symbolic()) return value.elements;
  std::vector<Element> elements(value.floats.size());
  for (std::size_t n = 0; n < elements.size(); ++n) elements[n].constant = value.floats[n];
  return elements;
}

bool all_constant(const Element* elements, std::size_t count) {
  return std::all_of(elements, elements + count, [](const Element& e) { return e.expression == kNone; });
}

bool none_constant(const Element* elements, std::size_t count) {
  return std::none_of(elements, elements + count, [](const Element& e) { return e.expression == kNone; });
}

std::vector<float> constants_from(const Element* elements, std::size_t count) {
  std::vector<float> values(count);
  std::transform(elements, elements + count, values.begin(), [](const Element& e) { return e.constant; });
  return values;
}

float apply(Activation function, float x) {
  switch (function) {
    case Activation::relu:
      return std::max(x, 0.0F);
    case Activation::relu6:
      return std::min(std::max(x, 0.0F), 6.0F);
    case Activation::tanh:
      return std::tanh(x);
    case Activation::sigmoid:
      return 1.0F / (1.0F + std::exp(-x));
    case Activation::none:
      break;
  }
  return x;
}

std::vector<std::size_t> strides_of(const std::vector<int>& shape) {
  std::vector<std::size_t> strides(shape.size(), 1);
  for (std::size_t d = shape.size(); d-- > 1;) strides[d - 1] = strides[d] * static_cast<std::size_t>(shape[d]);
  return strides;
}

/// For each element of a tensor of `shape`, row-major, sum over d of (its coordinate along d) * strides[d].
std::vector<std::size_t> walk(const std::vector<int>& shape, const std::vector<std::size_t>& strides) {
  std::vector<std::size_t> result;
  result.reserve(elements_of(shape));
  result.push_back(0);
  for (std::size_t d = 0; d < shape.size(); ++d) {
    std::vector<std::size_t> next;
    next.reserve(result.size() * static_cast<std::size_t>(shape[d]));
    for (const std::size_t base : result)
      for (int k = 0; k < shape[d]; ++k) next.push_back(base + static_cast<std::size_t>(k) * strides[d]);
    result = std::move(next);
  }
  return result;
}

/// Coordinates kept along each dimension, in order.
using Picks = std::vector<std::vector<std::size_t>>;

Picks everything(const std::vector<int>& shape) {
  Picks picks(shape.size());
  for (std::size_t d = 0; d < shape.size(); ++d) {
    picks[d].resize(static_cast<std::size_t>(shape[d]));
    std::iota(picks[d].begin(), picks[d].end(), std::size_t{0});
  }
  return picks;
}

std::vector<std::size_t> picked(const std::vector<int>& shape, const Picks& picks) {
  const auto strides = strides_of(shape);
  std::vector<std::size_t> result{0};
  for (std::size_t d = 0; d < shape.size(); ++d) {
    std::vector<std::size_t> next;
    next.reserve(result.size() * picks[d].size());
    for (const std::size_t base : result)
      for (const std::size_t k : picks[d]) next.push_back(base + k * strides[d]);
    result = std::move(next);
  }
  return result;
}

std::vector<int> shape_of(const Picks& picks) {
  std::vector<int> shape;
  for (const auto& along : picks) shape.push_back(static_cast<int>(along.size()));
  return shape;
}

}  // namespace

std::size_t Value::size() const noexcept {
  std::size_t count = 1;
  for (const int d : shape) count *= static_cast<std::size_t>(d);
  return count;
}

struct Evaluator::Call {
  const GraphNode& node;
  const Subgraph& graph;
  const std::vector<ValuePtr>& in;  // null where an input is absent or can't be read
  std::vector<ValuePtr>& out;
  std::string name;  // "ADD (node 3)"

  [[noreturn]] void fail(const std::string& what) const { throw NotNative(name + " " + what); }

  void require(bool holds, const char* what) const {
    if (!holds) fail(what);
  }

  const ValuePtr& input(std::size_t n) const {
    require(n < in.size() && in[n] != nullptr, "reads a tensor that has no native form");
    return in[n];
  }

  const Value& floats(std::size_t n) const {
    const auto& value = *input(n);
    require(value.type == kFloat32, "works on values that are not float32");
    return value;
  }

  const Value& weights(std::size_t n) const {
    const auto& value = *input(n);
    require(!value.symbolic() && (value.type == kFloat32 || value.type == kInt8), "needs constant weights");
    return value;
  }

  const std::vector<std::int64_t>& integers(std::size_t n) const {
    const auto& value = *input(n);
    require(value.whole_numbers(), "needs constant indices");
    return value.integers;
  }

  bool has(std::size_t n) const { return n < node.inputs.size() && node.inputs[n] >= 0; }

  template <class Options>
  const Options& options() const {
    require(node.options != nullptr, "has no options");
    return *static_cast<const Options*>(node.options);
  }

  Activation fused_activation(int code) const {
    switch (code) {
      case 0:
        return Activation::none;
      case 1:
        return Activation::relu;
      case 3:
        return Activation::relu6;
      case 4:
        return Activation::tanh;
      default:
        fail("has a fused activation without a native kernel");
    }
  }

  std::size_t axis(std::int64_t given, std::size_t rank) const {
    const auto wrapped = given < 0 ? given + static_cast<std::int64_t>(rank) : given;
    require(wrapped >= 0 && wrapped < static_cast<std::int64_t>(rank), "names a dimension that does not exist");
    return static_cast<std::size_t>(wrapped);
  }

  void give(ValuePtr value) { out.push_back(std::move(value)); }
};

/// Enters a loop's subgraph and leaves it again, also by an exception.
struct Evaluator::Scope {
  Scope(Evaluator& evaluator, std::string where) : evaluator_(evaluator), before_(std::move(evaluator.where_)) {
    evaluator_.where_ = std::move(where);
    ++evaluator_.depth_;
  }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  ~Scope() {
    evaluator_.where_ = std::move(before_);
    --evaluator_.depth_;
  }

 private:
  Evaluator& evaluator_;
  std::string before_;
};

std::vector<ValuePtr> Evaluator::run(int index, const std::vector<ValuePtr>& inputs) {
  const auto& graph = subgraphs_(index);
  if (inputs.size() != graph.inputs.size()) throw NotNative("a subgraph is called with a wrong number of values");
  std::vector<ValuePtr> slots(graph.tensors.size());
  for (std::size_t n = 0; n < inputs.size(); ++n) slots[static_cast<std::size_t>(graph.inputs[n])] = inputs[n];

  const auto value_of = [&](int tensor) -> ValuePtr {
    if (tensor < 0) return nullptr;
    auto& slot = slots[static_cast<std::size_t>(tensor)];
    if (!slot && graph.tensors[static_cast<std::size_t>(tensor)].constant) slot = constant_of(index, tensor);
    return slot;
  };

  std::vector<ValuePtr> in;
  std::vector<ValuePtr> out;
  for (const auto& node : graph.nodes) {
    if (++operators_run_ > kMostOperatorsRun) throw NotNative("the graph runs too many operators to be read");
    in.clear();
    out.clear();
    for (const int tensor : node.inputs) in.push_back(value_of(tensor));
    Call call{node, graph, in, out, node.name + " (node " + std::to_string(node.index) + where_ + ")"};
    expressions_.set_origin(call.name);
    evaluate(call);
    for (std::size_t n = 0; n < node.outputs.size() && n < out.size(); ++n)
      if (node.outputs[n] >= 0) slots[static_cast<std::size_t>(node.outputs[n])] = out[n];
  }

  std::vector<ValuePtr> results;
  for (const int tensor : graph.outputs) {
    results.push_back(value_of(tensor));
    if (!results.back()) throw NotNative("the graph has an output that no operator computes");
  }
  return results;
}

void Evaluator::evaluate(Call& call) {
  switch (call.node.code) {
    case kAdd:
    case kMul:
    case kSub:
    case kLess:
    case kLessEqual:
    case kGreater:
    case kGreaterEqual:
    case kLogicalAnd:
      return elementwise(call);
    case kLogistic:
      return activation(call, Activation::sigmoid);
    case kTanh:
      return activation(call, Activation::tanh);
    case kRelu:
      return activation(call, Activation::relu);
    case kRelu6:
      return activation(call, Activation::relu6);
    case kFullyConnected:
      return fully_connected(call);
    case kBatchMatmul:
      return batch_matmul(call);
    case kSequenceLstm:
      return fused_lstm(call);
    case kDequantize:
      return dequantize(call);
    case kWhile:
      return evaluate_loop(call);
    case kReshape:
    case kExpandDims:
    case kSqueeze:
    case kTranspose:
    case kConcatenation:
    case kPack:
    case kUnpack:
    case kSplit:
    case kSlice:
    case kStridedSlice:
    case kGather:
    case kShape:
    case kFill:
      return move_operator(call);
    default:
      call.fail("has no native kernel");
  }
}

// ---- values -------------------------------------------------------------------------------------------------------

ValuePtr Evaluator::constant_of(int subgraph, int tensor) {
  auto& value = constants_[{subgraph, tensor}];
  if (!value) value = read_constant(subgraphs_(subgraph).tensors[static_cast<std::size_t>(tensor)]);
  return value;
}

ConstantId Evaluator::matrix(const ValuePtr& value) {
  const auto found = matrices_.find(value);
  if (found != matrices_.end()) return found->second;
  return matrices_[value] = expressions_.number_constant(value->floats);
}

ExpressionId Evaluator::vector_of(const Element* elements, std::size_t count) {
  std::vector<Piece> pieces;
  for (std::size_t n = 0; n < count; ++n) {
    const auto& e = elements[n];
    if (!pieces.empty() && pieces.back().source == e.expression && pieces.back().start + pieces.back().size == e.index)
      ++pieces.back().size;
    else
      pieces.push_back({e.expression, e.index, 1});
    // Two whole vectors side by side stay two pieces, because the second one starts at 0.
  }
  return expressions_.gather(std::move(pieces));
}

Element* Evaluator::put(ExpressionId expression, Element* to) const {
  const auto size = expressions_.at(expression).size;
  for (std::size_t n = 0; n < size; ++n) {
    to[n].expression = expression;
    to[n].index = static_cast<std::uint32_t>(n);
  }
  return to + size;
}

/// Checks a finished value and gives it its plain form: one without symbols is a constant.
ValuePtr Evaluator::finish(Value value) {
  elements_written_ += value.size();
  if (elements_written_ > kMostElementsWritten) throw NotNative("the graph moves too much data to be read");
  if (value.symbolic() && all_constant(value.elements.data(), value.elements.size())) {
    value.floats = constants_from(value.elements.data(), value.elements.size());
    value.elements.clear();
  }
  return std::make_shared<const Value>(std::move(value));
}

/// The tensor of `shape` whose element n is element source[n] of `from`.
ValuePtr Evaluator::move(const Value& from, std::vector<int> shape, const std::vector<std::size_t>& source) {
  Value value;
  value.type = from.type;
  value.shape = std::move(shape);
  const auto take = [&source](const auto& list, auto& into) {
    into.reserve(source.size());
    for (const std::size_t n : source) into.push_back(list[n]);
  };
  if (from.whole_numbers())
    take(from.integers, value.integers);
  else if (from.symbolic())
    take(from.elements, value.elements);
  else
    take(from.floats, value.floats);
  return finish(std::move(value));
}

// ---- arithmetic ---------------------------------------------------------------------------------------------------

void Evaluator::elementwise(Call& call) {
  const auto& a = *call.input(0);
  const auto& b = *call.input(1);
  const int code = call.node.code;
  const std::size_t rank = std::max(a.shape.size(), b.shape.size());

  // Broadcasting as in NumPy: shapes are aligned at the end, a dimension of 1 is repeated.
  Value value;
  value.shape.resize(rank);
  std::vector<std::size_t> strides[2];
  const Value* operands[] = {&a, &b};
  for (int side = 0; side < 2; ++side) {
    const auto& shape = operands[side]->shape;
    const auto own = strides_of(shape);
    const std::size_t missing = rank - shape.size();
    strides[side].assign(rank, 0);
    for (std::size_t d = 0; d < shape.size(); ++d) {
      auto& extent = value.shape[missing + d];
      const bool first = side == 0 || missing + d < rank - a.shape.size();
      call.require(first || extent == shape[d] || extent == 1 || shape[d] == 1, "has shapes that do not go together");
      extent = first || extent == 1 ? shape[d] : extent;
      if (shape[d] != 1) strides[side][missing + d] = own[d];
    }
  }
  const auto from_a = walk(value.shape, strides[0]);
  const auto from_b = walk(value.shape, strides[1]);
  const std::size_t count = from_a.size();

  if (a.whole_numbers() || b.whole_numbers()) {
    call.require(a.type == b.type, "mixes types");
    const bool arithmetic = code == kAdd || code == kSub || code == kMul;
    value.type = arithmetic ? a.type : kBool;
    if (arithmetic) {
      const int fused = call.options<ArithmeticOptions>().activation;
      call.require(fused == 0, "has an activation on whole numbers");
    }
    value.integers.resize(count);
    for (std::size_t n = 0; n < count; ++n) {
      const std::int64_t x = a.integers[from_a[n]];
      const std::int64_t y = b.integers[from_b[n]];
      // Through unsigned numbers, because a damaged file may overflow.
      const auto ux = static_cast<std::uint64_t>(x);
      const auto uy = static_cast<std::uint64_t>(y);
      auto& z = value.integers[n];
      switch (code) {
        case kAdd:
          z = static_cast<std::int64_t>(ux + uy);
          break;
        case kSub:
          z = static_cast<std::int64_t>(ux - uy);
          break;
        case kMul:
          z = static_cast<std::int64_t>(ux * uy);
          break;
        case kLess:
          z = x < y;
          break;
        case kLessEqual:
          z = x <= y;
          break;
        case kGreater:
          z = x > y;
          break;
        case kGreaterEqual:
          z = x >= y;
          break;
        default:
          z = x != 0 && y != 0;
      }
    }
    return call.give(finish(std::move(value)));
  }

  call.floats(0);
  call.floats(1);
  call.require(code == kAdd || code == kSub || code == kMul, "compares activations");
  const Activation fused = call.fused_activation(call.options<ArithmeticOptions>().activation);
  value.type = kFloat32;
  value.elements.resize(count);
  const auto elements_a = elements_from(a);
  const auto elements_b = elements_from(b);
  const std::size_t width = rank == 0 ? 1 : static_cast<std::size_t>(value.shape.back());
  std::vector<Element> x(width);
  std::vector<Element> y(width);
  for (std::size_t row = 0; row < count; row += width) {
    for (std::size_t n = 0; n < width; ++n) {
      x[n] = elements_a[from_a[row + n]];
      y[n] = elements_b[from_b[row + n]];
    }
    Element* result = &value.elements[row];
    const bool x_constant = all_constant(x.data(), width);
    const bool y_constant = all_constant(y.data(), width);
    call.require((x_constant || none_constant(x.data(), width)) && (y_constant || none_constant(y.data(), width)),
                 "mixes constants and activations in one vector");
    if (x_constant && y_constant) {
      for (std::size_t n = 0; n < width; ++n) {
        const float p = x[n].constant;
        const float q = y[n].constant;
        result[n].constant = apply(fused, code == kAdd ? p + q : code == kSub ? p - q : p * q);
      }
      continue;
    }
    ExpressionId sum = kNone;
    if (!x_constant && !y_constant) {
      call.require(code != kSub, "subtracts two activations, which no native kernel does");
      const auto left = vector_of(x.data(), width);
      const auto right = vector_of(y.data(), width);
      sum = code == kAdd ? expressions_.add(left, right) : expressions_.multiply(left, right);
    } else {
      const auto operand = vector_of(x_constant ? y.data() : x.data(), width);
      auto scale = std::vector<float>(width, code == kSub && x_constant ? -1.0F : 1.0F);
      auto offset = constants_from(x_constant ? x.data() : y.data(), width);
      if (code == kSub && !x_constant)
        for (auto& o : offset) o = -o;
      if (code == kMul) {
        scale = std::move(offset);
        offset.assign(width, 0.0F);
        // A bounded vector times zeros is zero: the forget gate of a first step meets the zero cell state like that.
        const auto& e = expressions_.at(operand);
        const bool bounded =
            e.kind == Kind::activation && (e.first == static_cast<std::uint32_t>(Activation::sigmoid) ||
                                           e.first == static_cast<std::uint32_t>(Activation::tanh));
        if (bounded && std::all_of(scale.begin(), scale.end(), [](float s) { return s == 0.0F; })) {
          std::fill_n(result, width, Element{});
          for (std::size_t n = 0; n < width; ++n) result[n].constant = apply(fused, 0.0F);
          continue;
        }
      }
      sum = expressions_.affine(std::move(scale), std::move(offset), operand);
    }
    put(expressions_.activation(fused, sum), result);
  }
  call.give(finish(std::move(value)));
}

void Evaluator::activation(Call& call, Activation function) {
  const auto& from = call.floats(0);
  Value value{from.type, from.shape, {}, {}, elements_from(from)};
  const std::size_t width = from.shape.empty() ? 1 : static_cast<std::size_t>(from.shape.back());
  for (std::size_t row = 0; row < value.elements.size(); row += width) {
    Element* elements = &value.elements[row];
    if (all_constant(elements, width)) {
      for (std::size_t n = 0; n < width; ++n) elements[n].constant = apply(function, elements[n].constant);
      continue;
    }
    call.require(none_constant(elements, width), "mixes constants and activations in one vector");
    put(expressions_.activation(function, vector_of(elements, width)), elements);
  }
  call.give(finish(std::move(value)));
}

ExpressionId Evaluator::add_bias(const Call& call, const ValuePtr& bias, ExpressionId x) {
  if (!bias) return x;
  const auto size = expressions_.at(x).size;
  call.require(bias->type == kFloat32 && !bias->symbolic() && bias->floats.size() == size,
               "needs a constant float bias");
  return expressions_.affine(std::vector<float>(size, 1.0F), bias->floats, x);
}

void Evaluator::fully_connected(Call& call) {
  const auto& options = call.options<FullyConnectedOptions>();
  const auto& x = call.floats(0);
  const auto& w = call.weights(1);
  const Activation fused = call.fused_activation(options.activation);
  call.require(options.weights_format == 0, "has shuffled weights");
  call.require(w.shape.size() == 2 && w.shape[0] > 0 && w.shape[1] > 0, "needs a matrix of weights");
  const auto units = static_cast<std::size_t>(w.shape[0]);
  const auto inputs = static_cast<std::size_t>(w.shape[1]);
  call.require(x.size() > 0 && x.size() % inputs == 0, "has weights that do not fit its input");
  const std::size_t rows = x.size() / inputs;
  call.require(rows * units <= kMostElements, "is too large to be read");
  const bool has_bias = call.has(2);
  const auto bias = has_bias ? call.input(2) : nullptr;

  Value value;
  value.type = kFloat32;
  value.shape = {static_cast<int>(rows), w.shape[0]};
  if (options.keep_num_dims) {
    call.require(!x.shape.empty() && x.shape.back() == w.shape[1], "has weights that do not fit its input");
    value.shape = x.shape;
    value.shape.back() = w.shape[0];
  }
  value.elements.resize(rows * units);
  const auto elements = elements_from(x);
  for (std::size_t row = 0; row < rows; ++row) {
    const Element* from = &elements[row * inputs];
    Element* to = &value.elements[row * units];
    if (all_constant(from, inputs)) {
      call.require(!bias || (bias->type == kFloat32 && !bias->symbolic() && bias->floats.size() == units),
                   "needs a constant float bias");
      for (std::size_t u = 0; u < units; ++u) {
        double sum = bias ? static_cast<double>(bias->floats[u]) : 0.0;
        for (std::size_t k = 0; k < inputs; ++k)
          sum += static_cast<double>(w.floats[u * inputs + k]) * static_cast<double>(from[k].constant);
        to[u].constant = apply(fused, static_cast<float>(sum));
      }
      continue;
    }
    call.require(none_constant(from, inputs), "mixes constants and activations in one vector");
    if (w.type == kInt8) quantised_weights_ = true;
    const auto product = expressions_.linear(matrix(call.input(1)), vector_of(from, inputs));
    put(expressions_.activation(fused, add_bias(call, bias, product)), to);
  }
  call.give(finish(std::move(value)));
}

/// (..., inputs) x (inputs, units) with constant weights, which is what a dense layer on a sequence may become.
void Evaluator::batch_matmul(Call& call) {
  const auto& options = call.options<BatchMatmulOptions>();
  const auto& x = call.floats(0);
  const auto& w = call.weights(1);
  call.require(!options.adjoint_x && w.type == kFloat32 && w.shape.size() == 2 && !x.shape.empty(),
               "needs one matrix of constant float weights");
  const auto inputs = static_cast<std::size_t>(w.shape[options.adjoint_y ? 1 : 0]);
  const auto units = static_cast<std::size_t>(w.shape[options.adjoint_y ? 0 : 1]);
  call.require(inputs > 0 && units > 0 && static_cast<std::size_t>(x.shape.back()) == inputs && x.size() > 0,
               "has weights that do not fit its input");
  std::vector<float> weights(inputs * units);
  for (std::size_t u = 0; u < units; ++u)
    for (std::size_t k = 0; k < inputs; ++k)
      weights[u * inputs + k] = w.floats[options.adjoint_y ? u * inputs + k : k * units + u];
  const auto id = expressions_.number_constant(std::move(weights));

  Value value;
  value.type = kFloat32;
  value.shape = x.shape;
  value.shape.back() = static_cast<int>(units);
  value.elements.resize(elements_of(value.shape));
  const auto elements = elements_from(x);
  Element* to = value.elements.data();
  for (std::size_t from = 0; from < elements.size(); from += inputs) {
    call.require(none_constant(&elements[from], inputs), "multiplies constants");
    to = put(expressions_.linear(id, vector_of(&elements[from], inputs)), to);
  }
  call.give(finish(std::move(value)));
}

void Evaluator::dequantize(Call& call) {
  const auto& from = call.input(0);
  call.require(!from->symbolic() && (from->type == kFloat16 || from->type == kInt8), "works on quantised activations");
  auto& result = dequantised_[from];
  if (!result) result = finish({kFloat32, from->shape, from->floats, {}, {}});
  call.give(result);
}

// ---- recurrence ---------------------------------------------------------------------------------------------------

namespace {

/// How often the operators of a graph read a tensor.
std::size_t readers(const Subgraph& graph, int tensor) {
  std::size_t count = 0;
  for (const auto& node : graph.nodes)
    count += static_cast<std::size_t>(std::count(node.inputs.begin(), node.inputs.end(), tensor));
  return count;
}

}  // namespace

void Evaluator::fused_lstm(Call& call) {
  // Inputs in the order of the operator: 0 input, 1-4 input weights, 5-8 recurrent weights (i, f, c, o), 9-11
  // peepholes, 12-15 biases, 16-17 projection, 18-19 states, 20-23 layer normalisation.
  const auto& options = call.options<SequenceLstmOptions>();
  call.require(call.node.inputs.size() >= 20, "has too few inputs");
  for (const std::size_t absent : {9, 10, 11}) call.require(!call.has(absent), "has peepholes");
  for (const std::size_t absent : {16, 17}) call.require(!call.has(absent), "has a projection");
  for (const std::size_t absent : {20, 21, 22, 23}) call.require(!call.has(absent), "has layer normalisation");
  call.require(options.activation == 4, "has an activation other than tanh");
  for (const std::size_t state : {18, 19})
    call.require(call.has(state) && call.graph.tensors[static_cast<std::size_t>(call.node.inputs[state])].variable,
                 "starts from a state that is not zero");
  for (const std::size_t state : {18, 19})
    call.require(readers(call.graph, call.node.inputs[state]) == 1, "shares its state with another reader of it");

  const auto& x = call.floats(0);
  call.require(x.shape.size() == 3 && x.size() > 0, "needs a sequence of (batch, steps, features)");
  const auto steps = static_cast<std::size_t>(x.shape[options.time_major ? 0 : 1]);
  const auto batch = static_cast<std::size_t>(x.shape[options.time_major ? 1 : 0]);
  Cell cell;
  cell.inputs = static_cast<std::size_t>(x.shape[2]);
  for (std::size_t gate = 0; gate < 4; ++gate) {
    const auto& w = call.weights(1 + gate);
    const auto& r = call.weights(5 + gate);
    const auto& b = call.weights(12 + gate);
    call.require(w.shape.size() == 2 && w.shape[0] > 0, "needs matrices of weights");
    if (gate == 0) cell.units = static_cast<std::size_t>(w.shape[0]);
    const int units = static_cast<int>(cell.units);
    call.require(w.shape == std::vector<int>({units, x.shape[2]}) && r.shape == std::vector<int>({units, units}) &&
                     b.shape == std::vector<int>({units}) && b.type == kFloat32,
                 "has weights of unexpected shapes");
    if (w.type == kInt8 || r.type == kInt8) quantised_weights_ = true;
    cell.gates[gate] = {
        {matrix(call.input(1 + gate)), 0}, {matrix(call.input(5 + gate)), 0}, matrix(call.input(12 + gate))};
  }
  // |c| grows by less than 1 a step, so that a limit of at least the number of steps is never met.
  call.require(std::isfinite(options.cell_clip) && options.cell_clip >= 0.0F, "has a cell limit that is not a number");
  if (options.cell_clip > 0.0F && static_cast<float>(steps) > options.cell_clip) cell.cell_clip = options.cell_clip;
  const auto id = expressions_.number_cell(cell);

  Value value;
  value.type = kFloat32;
  value.shape = {x.shape[0], x.shape[1], static_cast<int>(cell.units)};
  value.elements.resize(elements_of(value.shape));
  const auto elements = elements_from(x);
  for (std::size_t window = 0; window < batch; ++window) {
    ExpressionId state = kNone;
    for (std::size_t step = 0; step < steps; ++step) {
      const std::size_t row = options.time_major ? step * batch + window : window * steps + step;
      const Element* from = &elements[row * cell.inputs];
      call.require(none_constant(from, cell.inputs), "reads constants");
      state = expressions_.lstm_step(id, vector_of(from, cell.inputs), state, kNone);
      put(state, &value.elements[row * cell.units]);
    }
  }
  call.give(finish(std::move(value)));
}

void Evaluator::evaluate_loop(Call& call) {
  const auto& options = call.options<WhileOptions>();
  call.require(depth_ < kDeepestLoop, "is nested too deeply");
  call.require(options.condition > 0 && options.body > 0, "names no subgraphs");
  std::vector<ValuePtr> values;
  for (std::size_t n = 0; n < call.in.size(); ++n) values.push_back(call.input(n));

  const Scope scope(*this, " of the loop in node " + std::to_string(call.node.index) + where_);
  for (;;) {
    const auto condition = run(options.condition, values);
    call.require(condition.size() == 1 && condition[0]->type == kBool && condition[0]->integers.size() == 1,
                 "has a condition that depends on activations");
    if (condition[0]->integers[0] == 0) break;
    auto next = run(options.body, values);
    call.require(next.size() == values.size(), "has a body that does not fit its values");
    values = std::move(next);
  }
  call.out = std::move(values);
}

// ---- moving data --------------------------------------------------------------------------------------------------

namespace {

std::vector<int> reshaped(const std::vector<std::int64_t>& wanted, std::size_t size) {
  std::vector<int> shape;
  std::size_t known = 1;
  std::size_t open = wanted.size();
  for (std::size_t d = 0; d < wanted.size(); ++d) {
    if (wanted[d] < -1 || wanted[d] > static_cast<std::int64_t>(kMostElements)) return {-1};
    if (wanted[d] == -1) {
      if (open != wanted.size()) return {-1};
      open = d;
    } else {
      known *= static_cast<std::size_t>(wanted[d]);
      if (known > kMostElements) return {-1};
    }
    shape.push_back(static_cast<int>(wanted[d]));
  }
  if (open != wanted.size()) {
    if (known == 0 || size % known != 0) return {-1};
    shape[open] = static_cast<int>(size / known);
    known = size;
  }
  return known == size ? shape : std::vector<int>{-1};
}

/// Coordinates begin, begin + stride, ... as STRIDED_SLICE takes them along a dimension of `extent`.
std::vector<std::size_t> strided(std::int64_t begin, std::int64_t end, std::int64_t stride, std::int64_t extent,
                                 bool from_edge, bool to_edge) {
  const std::int64_t lowest = stride > 0 ? 0 : -1;
  const std::int64_t highest = stride > 0 ? extent : extent - 1;
  const auto clamp = [&](std::int64_t k) { return std::clamp(k < 0 ? k + extent : k, lowest, highest); };
  std::int64_t k = from_edge ? (stride > 0 ? 0 : extent - 1) : clamp(begin);
  const std::int64_t stop = to_edge ? (stride > 0 ? extent : -1) : clamp(end);
  std::vector<std::size_t> picks;
  for (; stride > 0 ? k < stop : k > stop; k += stride) picks.push_back(static_cast<std::size_t>(k));
  return picks;
}

bool has_bit(int mask, std::size_t bit) { return ((mask >> bit) & 1) != 0; }

}  // namespace

void Evaluator::move_operator(Call& call) {
  const auto keep_order = [&](const Value& from, std::vector<int> shape) {
    Value value = from;
    value.shape = std::move(shape);
    call.give(finish(std::move(value)));
  };

  switch (call.node.code) {
    case kReshape: {
      const auto& from = *call.input(0);
      std::vector<std::int64_t> wanted;
      if (call.has(1)) {
        wanted = call.integers(1);
      } else {
        const auto& options = call.options<ReshapeOptions>();
        call.require(options.count >= 0 && options.count <= 8, "has no shape");
        wanted.assign(options.shape, options.shape + options.count);
      }
      auto shape = reshaped(wanted, from.size());
      call.require(shape != std::vector<int>{-1}, "has a shape that does not fit");
      return keep_order(from, std::move(shape));
    }
    case kExpandDims: {
      const auto& from = *call.input(0);
      const auto& axis = call.integers(1);
      call.require(axis.size() == 1, "needs one axis");
      auto shape = from.shape;
      shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(call.axis(axis[0], shape.size() + 1)), 1);
      return keep_order(from, std::move(shape));
    }
    case kSqueeze: {
      const auto& from = *call.input(0);
      const auto& options = call.options<SqueezeOptions>();
      call.require(options.count >= 0 && options.count <= 8, "has no dimensions");
      std::vector<bool> dropped(from.shape.size(), false);
      for (int n = 0; n < options.count; ++n) dropped[call.axis(options.dims[n], from.shape.size())] = true;
      std::vector<int> shape;
      for (std::size_t d = 0; d < from.shape.size(); ++d) {
        const bool drop = options.count == 0 ? from.shape[d] == 1 : dropped[d];
        call.require(!drop || from.shape[d] == 1, "drops a dimension that is not 1");
        if (!drop) shape.push_back(from.shape[d]);
      }
      return keep_order(from, std::move(shape));
    }
    case kTranspose: {
      const auto& from = *call.input(0);
      const auto& order = call.integers(1);
      const auto own = strides_of(from.shape);
      call.require(order.size() == from.shape.size(), "has an order that does not fit");
      std::vector<int> shape;
      std::vector<std::size_t> strides;
      std::vector<bool> used(order.size(), false);
      for (const auto entry : order) {
        const auto d = call.axis(entry, order.size());
        call.require(!used[d], "has an order that names a dimension twice");
        used[d] = true;
        shape.push_back(from.shape[d]);
        strides.push_back(own[d]);
      }
      auto source = walk(shape, strides);
      return call.give(move(from, std::move(shape), source));
    }
    case kSlice: {
      const auto& from = *call.input(0);
      const auto& begin = call.integers(1);
      const auto& size = call.integers(2);
      call.require(begin.size() == from.shape.size() && size.size() == begin.size(), "has bounds that do not fit");
      Picks picks(begin.size());
      for (std::size_t d = 0; d < begin.size(); ++d) {
        const std::int64_t extent = from.shape[d];
        call.require(begin[d] >= 0 && begin[d] <= extent, "starts outside its input");
        const std::int64_t count = size[d] < 0 ? extent - begin[d] : size[d];
        call.require(count <= extent - begin[d], "ends outside its input");
        picks[d].resize(static_cast<std::size_t>(count));
        std::iota(picks[d].begin(), picks[d].end(), static_cast<std::size_t>(begin[d]));
      }
      return call.give(move(from, shape_of(picks), picked(from.shape, picks)));
    }
    case kStridedSlice: {
      const auto& options = call.options<StridedSliceOptions>();
      const auto& from = *call.input(0);
      const auto& begin = call.integers(1);
      const auto& end = call.integers(2);
      const auto& stride = call.integers(3);
      call.require(begin.size() == from.shape.size() && end.size() == begin.size() && stride.size() == begin.size() &&
                       options.ellipsis_mask == 0 && options.new_axis_mask == 0 && !options.offset,
                   "has bounds of a form that is not read");
      Picks picks(begin.size());
      std::vector<int> shape;
      for (std::size_t d = 0; d < begin.size(); ++d) {
        call.require(stride[d] != 0 && std::abs(stride[d]) <= from.shape[d] + 1, "has a stride that does not fit");
        if (has_bit(options.shrink_axis_mask, d)) {
          picks[d] = {
              call.axis(has_bit(options.begin_mask, d) ? 0 : begin[d], static_cast<std::size_t>(from.shape[d]))};
          continue;
        }
        picks[d] = strided(begin[d], end[d], stride[d], from.shape[d], has_bit(options.begin_mask, d),
                           has_bit(options.end_mask, d));
        shape.push_back(static_cast<int>(picks[d].size()));
      }
      return call.give(move(from, std::move(shape), picked(from.shape, picks)));
    }
    case kSplit: {
      const auto& from = *call.input(1);
      const auto& axis = call.integers(0);
      const int count = call.options<SplitOptions>().count;
      call.require(axis.size() == 1 && count > 0, "needs one axis");
      const auto d = call.axis(axis[0], from.shape.size());
      call.require(from.shape[d] % count == 0, "does not divide its input");
      const auto extent = static_cast<std::size_t>(from.shape[d] / count);
      for (int part = 0; part < count; ++part) {
        auto picks = everything(from.shape);
        picks[d].resize(extent);
        std::iota(picks[d].begin(), picks[d].end(), static_cast<std::size_t>(part) * extent);
        call.give(move(from, shape_of(picks), picked(from.shape, picks)));
      }
      return;
    }
    case kUnpack: {
      const auto& from = *call.input(0);
      const auto d = call.axis(call.options<UnpackOptions>().axis, from.shape.size());
      auto shape = from.shape;
      shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(d));
      for (int part = 0; part < from.shape[d]; ++part) {
        auto picks = everything(from.shape);
        picks[d] = {static_cast<std::size_t>(part)};
        call.give(move(from, shape, picked(from.shape, picks)));
      }
      return;
    }
    case kGather: {
      const auto& options = call.options<GatherOptions>();
      const auto& from = *call.input(0);
      const auto& index = *call.input(1);
      call.require(index.whole_numbers() && options.batch_dims == 0, "needs constant indices");
      const auto d = call.axis(options.axis, from.shape.size());
      auto picks = everything(from.shape);
      picks[d].clear();
      for (const auto k : index.integers) {
        call.require(k >= 0 && k < from.shape[d], "reads outside its input");
        picks[d].push_back(static_cast<std::size_t>(k));
      }
      auto shape = from.shape;
      shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(d));
      shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(d), index.shape.begin(), index.shape.end());
      elements_of(shape);
      return call.give(move(from, std::move(shape), picked(from.shape, picks)));
    }
    case kConcatenation:
    case kPack: {
      call.require(!call.in.empty(), "has no inputs");
      const bool pack = call.node.code == kPack;
      const auto& like = *call.input(0);
      const std::size_t rank = like.shape.size() + (pack ? 1 : 0);
      std::size_t d = 0;
      if (pack) {
        d = call.axis(call.options<PackOptions>().axis, rank);
      } else {
        const auto& options = call.options<ConcatenationOptions>();
        call.require(options.activation == 0, "has a fused activation without a native kernel");
        d = call.axis(options.axis, rank);
      }
      std::vector<std::vector<int>> shapes;
      int extent = 0;
      bool symbolic = false;
      for (std::size_t n = 0; n < call.in.size(); ++n) {
        const auto& part = *call.input(n);
        call.require(part.type == like.type, "mixes types");
        shapes.push_back(part.shape);
        if (pack) shapes.back().insert(shapes.back().begin() + static_cast<std::ptrdiff_t>(d), 1);
        call.require(shapes.back().size() == rank, "joins shapes that do not go together");
        for (std::size_t other = 0; other < rank; ++other)
          call.require(other == d || shapes.back()[other] == shapes[0][other], "joins shapes that do not go together");
        extent += shapes.back()[d];
        call.require(extent <= static_cast<int>(kMostElements), "is too large to be read");
        symbolic = symbolic || part.symbolic();
      }
      Value value;
      value.type = like.type;
      value.shape = shapes[0];
      value.shape[d] = extent;
      elements_of(value.shape);
      const std::size_t inner = strides_of(value.shape)[d];
      std::size_t outer = 1;
      for (std::size_t o = 0; o < d; ++o) outer *= static_cast<std::size_t>(value.shape[o]);
      const auto join = [&](auto& into, const auto& list_of) {
        std::vector<std::decay_t<decltype(into)>> lists;
        for (std::size_t n = 0; n < call.in.size(); ++n) lists.push_back(list_of(*call.in[n]));
        for (std::size_t o = 0; o < outer; ++o)
          for (std::size_t n = 0; n < lists.size(); ++n) {
            const auto block = static_cast<std::ptrdiff_t>(inner * static_cast<std::size_t>(shapes[n][d]));
            const auto begin = lists[n].begin() + static_cast<std::ptrdiff_t>(o) * block;
            into.insert(into.end(), begin, begin + block);
          }
      };
      if (value.whole_numbers())
        join(value.integers, [](const Value& part) { return part.integers; });
      else if (symbolic)
        join(value.elements, elements_from);
      else
        join(value.floats, [](const Value& part) { return part.floats; });
      return call.give(finish(std::move(value)));
    }
    case kShape: {
      const auto& from = *call.input(0);
      Value value{kInt32, {static_cast<int>(from.shape.size())}, {}, {from.shape.begin(), from.shape.end()}, {}};
      return call.give(finish(std::move(value)));
    }
    case kFill: {
      const auto& dims = call.integers(0);
      const auto& with = *call.input(1);
      call.require(!with.symbolic() && with.size() == 1, "needs one constant");
      Value value;
      value.type = with.type;
      for (const auto d : dims) {
        call.require(d >= 0 && d <= static_cast<std::int64_t>(kMostElements), "has a shape that does not fit");
        value.shape.push_back(static_cast<int>(d));
      }
      const auto count = elements_of(value.shape);
      if (with.whole_numbers())
        value.integers.assign(count, with.integers[0]);
      else
        value.floats.assign(count, with.floats[0]);
      return call.give(finish(std::move(value)));
    }
    default:
      call.fail("has no native kernel");
  }
}

}  // namespace linkcast::tflite
