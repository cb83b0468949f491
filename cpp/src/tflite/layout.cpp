#include "tflite/layout.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

namespace linkcast::tflite {
namespace {

constexpr std::uint64_t kHuge = std::uint64_t{1} << 62;  // stands for any larger product
constexpr std::size_t kMostRank = 8;
constexpr std::size_t kMostBroadcastRank = 4;  // the runtime's broadcasts end the process on more
constexpr std::size_t kMostSliceRank = 5;
constexpr std::size_t kMostTransposeRank = 6;
constexpr std::size_t kMostValues = 4096;      // that are computed of one tensor
constexpr std::uint64_t kElementwiseWork = 8;  // an exponential, or a broadcast, in multiplications
constexpr std::uint64_t kGateWork = 40;        // of an LSTM's gate beside its products: activations, states, calls
constexpr std::int64_t kMostStride = 1 << 16;
constexpr std::size_t kMostQuantisedAxes = 4;  // the runtime's mean of quantised values writes beyond its list of more
constexpr std::int64_t kMostSorted = 16;       // floats: a longer sort reads outside its list where one is NaN

std::uint64_t times(std::uint64_t a, std::uint64_t b) noexcept {
  std::uint64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) || product > kHuge ? kHuge : product;
}

using Values = std::vector<std::int64_t>;

bool whole_numbers(int type) noexcept { return type == kTypeInt32 || type == kTypeInt64 || type == kTypeBool; }

/// What the runtime keeps of a computed number: two's complement in the width of the type.
std::int64_t stored(int type, std::uint64_t value) noexcept {
  if (type == kTypeBool) return value != 0 ? 1 : 0;
  if (type == kTypeInt32) return static_cast<std::int32_t>(static_cast<std::uint32_t>(value));
  return static_cast<std::int64_t>(value);
}

void give_values(TensorFacts& out, Values values) { out.values = std::make_shared<const Values>(std::move(values)); }

/// Positions in a tensor of `shape`, broadcast to `target`, in the order of the target's elements.
std::vector<std::size_t> broadcast_positions(const Shape& shape, const Shape& target) {
  std::vector<std::size_t> positions{0};
  std::vector<std::size_t> strides(target.size(), 0);
  std::size_t stride = 1;
  for (std::size_t d = shape.size(); d-- > 0;) {
    const std::size_t at = target.size() - shape.size() + d;
    if (shape[d] != 1) strides[at] = stride;
    stride *= static_cast<std::size_t>(shape[d]);
  }
  for (std::size_t d = 0; d < target.size(); ++d) {
    std::vector<std::size_t> next;
    next.reserve(positions.size() * static_cast<std::size_t>(target[d]));
    for (const std::size_t base : positions)
      for (std::int64_t k = 0; k < target[d]; ++k) next.push_back(base + static_cast<std::size_t>(k) * strides[d]);
    positions = std::move(next);
  }
  return positions;
}

/// The values of `out`, whose element n is element positions(n) of `from`, when those are known and few.
template <class Positions>
void move_values(const TensorFacts& from, TensorFacts& out, Positions positions) {
  if (!from.values || elements_of(out.shape) > kMostValues) return;
  Values values;
  for (const std::size_t n : positions()) values.push_back((*from.values)[n]);
  give_values(out, std::move(values));
}

/// Positions of the picked coordinates along each dimension.
std::vector<std::size_t> picked(const Shape& shape, const std::vector<std::vector<std::int64_t>>& picks) {
  std::vector<std::size_t> positions{0};
  std::size_t inner = static_cast<std::size_t>(elements_of(shape));
  for (std::size_t d = 0; d < shape.size(); ++d) {
    inner = shape[d] > 0 ? inner / static_cast<std::size_t>(shape[d]) : 0;
    std::vector<std::size_t> next;
    for (const std::size_t base : positions)
      for (const std::int64_t k : picks[d]) next.push_back(base + static_cast<std::size_t>(k) * inner);
    positions = std::move(next);
  }
  return positions;
}

void keep_values(LayoutCall& call, std::size_t input) {
  if (call.in[input]->values && elements_of(call.out[0].shape) == call.in[input]->values->size())
    call.out[0].values = call.in[input]->values;
}

Shape broadcast(const LayoutCall& call, const Shape& a, const Shape& b) {
  if (a == b) return a;
  const std::size_t rank = std::max(a.size(), b.size());
  call.require(rank <= kMostBroadcastRank, "broadcasts more than 4 dimensions");
  Shape shape(rank, 1);
  for (std::size_t d = 0; d < rank; ++d) {
    const std::int64_t p = d < a.size() ? a[a.size() - 1 - d] : 1;
    const std::int64_t q = d < b.size() ? b[b.size() - 1 - d] : 1;
    if (p != q && p != 1 && q != 1)
      call.fail("has shapes that do not go together: " + shape_text(a) + " and " + shape_text(b));
    shape[rank - 1 - d] = p == 1 ? q : p;
  }
  return shape;
}

/// Weights are quantised around zero, with one scale or one per output channel.
void check_weights(const LayoutCall& call, std::size_t input, int channel_dimension) {
  const auto& w = *call.in[input];
  if (w.type == kTypeFloat32) return;
  if (w.scales == 0) call.fail("input " + std::to_string(input) + ": quantised weights without a scale");
  if (w.scales > 1 && w.quantized_dimension != channel_dimension)
    call.fail("input " + std::to_string(input) + ": expected a scale per slice of dimension " +
              std::to_string(channel_dimension) + ", got dimension " + std::to_string(w.quantized_dimension));
  if (w.type != kTypeUint8 && !w.centred)
    call.fail("input " + std::to_string(input) + ": expected quantised weights with a zero point of 0");
  if (!w.constant) call.fail("input " + std::to_string(input) + ": expected constant quantised weights");
}

bool quantised(int type) noexcept { return type == kTypeInt8 || type == kTypeUint8 || type == kTypeInt16; }

/// A quantised activation has one scale.
void check_activation(const LayoutCall& call, const TensorFacts& facts, const std::string& which) {
  if (quantised(facts.type) && (facts.scales != 1 || !(facts.scale > 0)))
    call.fail(which + ": expected a quantised tensor with one scale above 0");
}

/// The largest and smallest factor between the scales of a quantised operator that the runtime's fixed point takes.
void check_scales(const LayoutCall& call, double product) {
  constexpr double kMost = 1 << 18;
  const double factor = product / static_cast<double>(call.out[0].scale);
  if (!(factor < kMost && factor > 1.0 / (1 << 30)))
    call.fail("has quantisation scales that do not go together: the output's is " + std::to_string(call.out[0].scale));
}

bool same_padding(const LayoutCall& call, int padding) {
  call.require(padding == 0 || padding == 1, "has a padding that is neither SAME nor VALID");
  return padding == 0;
}

/// Outputs along one dimension of a convolution or a pool.
std::int64_t windows(const LayoutCall& call, std::int64_t extent, std::int64_t filter, std::int64_t stride,
                     std::int64_t dilation, bool same) {
  call.require(stride >= 1 && stride <= kMostStride, "has a stride that is no number from 1 to 65536");
  call.require(dilation >= 1 && dilation <= kMostStride, "has a dilation that is no number from 1 to 65536");
  call.require(filter >= 1 && filter <= (std::int64_t{1} << 24), "has a filter without a size");
  const std::int64_t reach = (filter - 1) * dilation + 1;
  const std::int64_t count = same ? (extent + stride - 1) / stride : (extent - reach + stride) / stride;
  call.require(count >= 1 && (same || reach <= extent), "has a filter that is larger than its input");
  call.require(reach <= (std::int64_t{1} << 24), "has a filter without a size");
  return count;
}

void check_activation_function(const LayoutCall& call, int function) {
  call.require(function >= 0 && function <= 5, "has an activation that the schema does not know");
  call.require(function != 5, "has the activation SIGN_BIT, which the runtime does not compute");
}

/// Arithmetic and the convolutions clamp: their kernels know RELU, RELU_N1_TO_1 and RELU6, and ignore others.
void check_clamp(const LayoutCall& call, int function) {
  check_activation_function(call, function);
  call.require(function <= 3, "has a fused activation that its kernel does not compute");
}

std::vector<bool> axes(const LayoutCall& call, std::size_t input, std::size_t rank) {
  std::vector<bool> chosen(rank, false);
  for (const std::int64_t given : call.values(input)) chosen[call.axis(given, rank)] = true;
  return chosen;
}

Shape checked_shape(const LayoutCall& call, const Values& dims) {
  call.require(dims.size() <= kMostRank, "has an output of more than 8 dimensions");
  for (const std::int64_t d : dims) call.require(d >= 0 && d <= INT32_MAX, "has an output with a negative dimension");
  return dims;
}

}  // namespace

std::string element_type_name(int type) {
  static constexpr std::array<const char*, 19> kNames = {
      "FLOAT32", "FLOAT16",    "INT32",  "UINT8",    "INT64",   "STRING", "BOOL",   "INT16", "COMPLEX64", "INT8",
      "FLOAT64", "COMPLEX128", "UINT64", "RESOURCE", "VARIANT", "UINT32", "UINT16", "INT4",  "BFLOAT16"};
  return type >= 0 && type < static_cast<int>(kNames.size()) ? kNames[static_cast<std::size_t>(type)]
                                                             : "type " + std::to_string(type);
}

int bits_of(int type) noexcept {
  switch (type) {
    case kTypeFloat32:
    case kTypeInt32:
      return 32;
    case kTypeInt64:
      return 64;
    case kTypeFloat16:
    case kTypeInt16:
      return 16;
    case kTypeUint8:
    case kTypeInt8:
    case kTypeBool:
      return 8;
    case kTypeInt4:
      return 4;
    default:
      return 0;
  }
}

std::string shape_text(const Shape& shape) {
  std::string text = "(";
  for (const std::int64_t d : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(d);
  return text + ")";
}

std::uint64_t elements_of(const Shape& shape) noexcept {
  std::uint64_t count = 1;
  for (const std::int64_t d : shape)
    if (d == 0) return 0;
  for (const std::int64_t d : shape) count = times(count, static_cast<std::uint64_t>(d));
  return count;
}

std::uint64_t bytes_of(int type, const Shape& shape) noexcept {
  const std::uint64_t bits = times(elements_of(shape), static_cast<std::uint64_t>(bits_of(type)));
  return bits / 8 + (bits % 8 != 0 ? 1 : 0);
}

void LayoutCall::fail(const std::string& what) const {
  fail_(what);
  throw Damaged(what);  // not reached: the line above throws
}

const std::vector<std::int64_t>& LayoutCall::values(std::size_t input) const {
  static const std::vector<std::int64_t> kNone;
  if (has(input) && elements_of(in[input]->shape) == 0) return kNone;
  if (!has(input) || !in[input]->values)
    fail("input " + std::to_string(input) +
         ": the shapes that follow depend on its values, which only a run would tell");
  return *in[input]->values;
}

std::int64_t LayoutCall::value(std::size_t input) const {
  const auto& all = values(input);
  if (all.size() != 1)
    fail("input " + std::to_string(input) + ": expected one value, got " + std::to_string(all.size()));
  return all[0];
}

std::size_t LayoutCall::axis(std::int64_t given, std::size_t rank) const {
  const auto signed_rank = static_cast<std::int64_t>(rank);
  if (given < -signed_rank || given >= signed_rank)
    fail("names dimension " + std::to_string(given) + " of a tensor that has " + std::to_string(rank));
  return static_cast<std::size_t>(given < 0 ? given + signed_rank : given);
}

namespace layout {

void same(LayoutCall& call) {
  for (auto& out : call.out) out.shape = call.shape(0);
  const auto& from = *call.in[0];
  auto& out = call.out[0];
  for (const auto* facts : {&from, static_cast<const TensorFacts*>(&out)})
    if (quantised(facts->type) && !facts->constant && call.code != kCast)
      check_activation(call, *facts, facts == &from ? "input 0" : "output 0");
  if (quantised(from.type) && quantised(out.type) && !from.constant && call.code != kCast)
    check_scales(call, static_cast<double>(from.scale));
  if (call.code == kDequantize && from.constant && quantised(from.type))
    call.require(from.scales >= 1, "reads quantised values without a scale");
  call.work = times(elements_of(out.shape), kElementwiseWork);
  if (from.values && whole_numbers(out.type) && from.values->size() <= kMostValues) {
    const std::string name = call.rule.name;
    Values values;
    for (const std::int64_t v : *from.values) {
      const auto u = static_cast<std::uint64_t>(v);
      values.push_back(stored(out.type, name == "NEG"           ? 0 - u
                                        : name == "LOGICAL_NOT" ? (v == 0 ? 1U : 0U)
                                        : name == "ZEROS_LIKE"  ? 0U
                                                                : u));
    }
    give_values(out, std::move(values));
  }
}

void binary(LayoutCall& call) {
  const auto& a = *call.in[0];
  const auto& b = *call.in[1];
  auto& out = call.out[0];
  const Shape shape = broadcast(call, a.shape, b.shape);
  call.give(shape);
  call.work = times(elements_of(shape), kElementwiseWork);
  const bool arithmetic = call.code == kAdd || call.code == kSub || call.code == kMul || call.code == kDiv;
  if (arithmetic) check_clamp(call, call.option<std::int8_t>(0, 0));
  if (quantised(a.type)) {
    check_activation(call, a, "input 0");
    check_activation(call, b, "input 1");
    check_activation(call, out, "output 0");
    check_scales(call, call.code == kMul ? static_cast<double>(a.scale) * static_cast<double>(b.scale)
                                         : static_cast<double>(std::max(a.scale, b.scale)));
    check_scales(call, call.code == kMul ? static_cast<double>(a.scale) * static_cast<double>(b.scale)
                                         : static_cast<double>(std::min(a.scale, b.scale)));
  }
  const bool divides = call.code == kDiv || call.code == kFloorDiv || call.code == kFloorMod;
  if (divides && a.type != kTypeFloat32) {
    for (const std::int64_t divisor : call.values(1))
      call.require(divisor > 0, "divides whole numbers by one that is not above 0");
  }
  if (!a.values || !b.values || elements_of(shape) > kMostValues || !whole_numbers(out.type)) return;
  if (arithmetic && call.option<std::int8_t>(0, 0) != 0) return;
  const auto from_a = broadcast_positions(a.shape, shape);
  const auto from_b = broadcast_positions(b.shape, shape);
  Values values(from_a.size());
  for (std::size_t n = 0; n < values.size(); ++n) {
    const std::int64_t x = (*a.values)[from_a[n]];
    const std::int64_t y = (*b.values)[from_b[n]];
    const auto ux = static_cast<std::uint64_t>(x);
    const auto uy = static_cast<std::uint64_t>(y);
    std::uint64_t z = 0;
    switch (call.code) {
      case kAdd:
        z = ux + uy;
        break;
      case kSub:
        z = ux - uy;
        break;
      case kMul:
        z = ux * uy;
        break;
      case kDiv:
        z = static_cast<std::uint64_t>(x / y);
        break;
      case kFloorDiv:
        z = static_cast<std::uint64_t>(x / y - (x % y < 0 ? 1 : 0));
        break;
      case kFloorMod:
        z = static_cast<std::uint64_t>(x % y < 0 ? x % y + y : x % y);
        break;
      case kMaximum:
        z = static_cast<std::uint64_t>(std::max(x, y));
        break;
      case kMinimum:
        z = static_cast<std::uint64_t>(std::min(x, y));
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
      case kEqual:
        z = x == y;
        break;
      case kNotEqual:
        z = x != y;
        break;
      case kLogicalAnd:
        z = x != 0 && y != 0;
        break;
      case kLogicalOr:
        z = x != 0 || y != 0;
        break;
      default:
        return;  // of no use for shapes and counters
    }
    values[n] = stored(out.type, z);
  }
  give_values(out, std::move(values));
}

namespace {

void select_values(LayoutCall& call) {
  const auto& chosen = *call.in[0];
  const auto& a = *call.in[1];
  const auto& b = *call.in[2];
  auto& out = call.out[0];
  call.work = elements_of(out.shape);
  if (!chosen.values || !a.values || !b.values || call.work > kMostValues) return;
  const auto from_chosen = broadcast_positions(chosen.shape, out.shape);
  const auto from_a = broadcast_positions(a.shape, out.shape);
  const auto from_b = broadcast_positions(b.shape, out.shape);
  Values values;
  for (std::size_t n = 0; n < from_a.size(); ++n)
    values.push_back((*chosen.values)[from_chosen[n]] != 0 ? (*a.values)[from_a[n]] : (*b.values)[from_b[n]]);
  give_values(out, std::move(values));
}

}  // namespace

void select(LayoutCall& call) {
  call.require(call.shape(1) == call.shape(2), "chooses between tensors of two shapes");
  call.require(call.shape(0) == call.shape(1), "has a condition of another shape than what it chooses from");
  call.give(call.shape(1));
  select_values(call);
}

void select_broadcast(LayoutCall& call) {
  call.give(broadcast(call, call.shape(0), broadcast(call, call.shape(1), call.shape(2))));
  select_values(call);
}

void prelu(LayoutCall& call) {
  const Shape shape = broadcast(call, call.shape(0), call.shape(1));
  call.require(shape == call.shape(0), "has slopes that do not fit its input");
  call.give(shape);
  call.work = elements_of(shape);
}

void softmax(LayoutCall& call) {
  const std::size_t rank = call.rank(0);
  call.require(rank >= 1 && rank <= 4, "expects 1 to 4 dimensions");
  call.give(call.shape(0));
  call.work = times(elements_of(call.shape(0)), 8);
  const auto& from = *call.in[0];
  check_activation(call, from, "input 0");
  check_activation(call, call.out[0], "output 0");
  const float beta = call.option<float>(0, 0.0F);
  call.require(call.rule.options == 0 || std::isfinite(beta), "has a beta that is not finite");
  if (quantised(from.type)) {
    const double exponent = static_cast<double>(beta) * static_cast<double>(from.scale);
    call.require(exponent > 1e-6 && exponent < 1e3, "has a quantisation scale that does not fit its beta");
  }
}

void normalise(LayoutCall& call) {
  call.require(call.rank(0) >= 1 && call.rank(0) <= 4, "expects 1 to 4 dimensions");
  call.require(call.option<std::int8_t>(0, 0) == 0, "has a fused activation that its kernel does not compute");
  call.give(call.shape(0));
  call.work = elements_of(call.shape(0));
}

void add_n(LayoutCall& call) {
  for (std::size_t n = 0; n < call.in.size(); ++n)
    call.require(call.shape(n) == call.shape(0), "adds tensors of different shapes");
  call.give(call.shape(0));
  call.work = times(elements_of(call.shape(0)), call.in.size());
}

void cumulate(LayoutCall& call) {
  call.axis(call.value(1), call.rank(0));
  call.give(call.shape(0));
  call.work = elements_of(call.shape(0));
}

void fully_connected(LayoutCall& call) {
  const auto& x = *call.in[0];
  const auto& w = *call.in[1];
  call.require(w.shape.size() == 2, "expects a matrix of weights");
  const auto units = static_cast<std::uint64_t>(w.shape[0]);
  const auto inputs = static_cast<std::uint64_t>(w.shape[1]);
  call.require(call.option<std::int8_t>(1, 0) == 0, "has shuffled weights, which the runtime can't be trusted with");
  check_activation_function(call, call.option<std::int8_t>(0, 0));
  const std::uint64_t count = elements_of(x.shape);
  if (inputs == 0 || units == 0 || x.shape.empty() || count % inputs != 0)
    call.fail("input 1: weights " + shape_text(w.shape) + " do not fit an input of " + shape_text(x.shape));
  if (call.has(2) && call.shape(2) != Shape{w.shape[0]})
    call.fail("input 2: expected a bias of " + shape_text({w.shape[0]}) + ", got " + shape_text(call.shape(2)));
  check_weights(call, 1, 0);
  if (quantised(x.type)) {
    check_clamp(call, call.option<std::int8_t>(0, 0));
    check_activation(call, x, "input 0");
    check_activation(call, call.out[0], "output 0");
    check_scales(call, static_cast<double>(x.scale) * static_cast<double>(w.scale));
    call.require(w.type != kTypeUint8 || w.scales == 1, "has several scales of uint8 weights");
  }
  if (call.option<bool>(2, false)) {
    call.require(x.shape.back() == w.shape[1], "keeps the dimensions of an input whose last one does not fit");
    Shape shape = x.shape;
    shape.back() = w.shape[0];
    call.give(std::move(shape));
  } else {
    call.give({static_cast<std::int64_t>(count / inputs), w.shape[0]});
  }
  call.work = times(count, units) + times(elements_of(call.out[0].shape), kElementwiseWork);
  call.scratch_bytes = w.type == kTypeFloat32 ? 0 : times(count, 2) + times(units, 16) + times(units, inputs);
}

void convolution(LayoutCall& call) {
  const auto& x = *call.in[0];
  const auto& w = *call.in[1];
  call.require(x.shape.size() == 4 && w.shape.size() == 4, "expects 4 dimensions of input and filter");
  if (x.shape[3] != w.shape[3])
    call.fail("input 1: a filter of " + shape_text(w.shape) + " does not fit an input of " + shape_text(x.shape));
  if (call.has(2)) call.require(call.shape(2) == Shape{w.shape[0]}, "has a bias that does not fit its filter");
  check_clamp(call, call.option<std::int8_t>(3, 0));
  check_weights(call, 1, 0);
  if (quantised(x.type)) {
    check_activation(call, x, "input 0");
    check_activation(call, call.out[0], "output 0");
    check_scales(call, static_cast<double>(x.scale) * static_cast<double>(w.scale));
    call.require(w.type != kTypeUint8 || w.scales == 1, "has several scales of uint8 weights");
  }
  const bool same = same_padding(call, call.option<std::int8_t>(0, 0));
  const auto rows =
      windows(call, x.shape[1], w.shape[1], call.option<std::int32_t>(2, 0), call.option<std::int32_t>(5, 1), same);
  const auto columns =
      windows(call, x.shape[2], w.shape[2], call.option<std::int32_t>(1, 0), call.option<std::int32_t>(4, 1), same);
  call.give({x.shape[0], rows, columns, w.shape[0]});
  const std::uint64_t filter = elements_of({w.shape[1], w.shape[2], w.shape[3]});
  const std::uint64_t outputs = elements_of({x.shape[0], rows, columns});
  call.work = times(times(outputs, filter), static_cast<std::uint64_t>(w.shape[0]));
  call.scratch_bytes = times(times(outputs, filter), 4) + times(elements_of(w.shape), 4);
}

void depthwise(LayoutCall& call) {
  const auto& x = *call.in[0];
  const auto& w = *call.in[1];
  call.require(x.shape.size() == 4 && w.shape.size() == 4, "expects 4 dimensions of input and filter");
  call.require(w.shape[0] == 1, "expects a filter whose first dimension is 1");
  const std::int64_t multiplier = call.option<std::int32_t>(3, 0);
  if (x.shape[3] < 1 || multiplier < 1 || multiplier > w.shape[3] || x.shape[3] * multiplier != w.shape[3])
    call.fail("input 1: a filter of " + shape_text(w.shape) + " with a depth multiplier of " +
              std::to_string(multiplier) + " does not fit an input of " + shape_text(x.shape));
  if (call.has(2)) call.require(call.shape(2) == Shape{w.shape[3]}, "has a bias that does not fit its filter");
  check_clamp(call, call.option<std::int8_t>(4, 0));
  check_weights(call, 1, 3);
  if (quantised(x.type)) {
    check_activation(call, x, "input 0");
    check_activation(call, call.out[0], "output 0");
    check_scales(call, static_cast<double>(x.scale) * static_cast<double>(w.scale));
    call.require(w.type != kTypeUint8 || w.scales == 1, "has several scales of uint8 weights");
  }
  // The hybrid kernel takes a scale per channel only.
  if (x.type == kTypeFloat32 && w.type == kTypeInt8)
    call.require(static_cast<std::int64_t>(w.scales) == w.shape[3], "expects a scale for each channel of its filter");
  const bool same = same_padding(call, call.option<std::int8_t>(0, 0));
  const auto rows =
      windows(call, x.shape[1], w.shape[1], call.option<std::int32_t>(2, 0), call.option<std::int32_t>(6, 1), same);
  const auto columns =
      windows(call, x.shape[2], w.shape[2], call.option<std::int32_t>(1, 0), call.option<std::int32_t>(5, 1), same);
  call.give({x.shape[0], rows, columns, w.shape[3]});
  call.work = times(elements_of(call.out[0].shape), elements_of({w.shape[1], w.shape[2]}));
  call.scratch_bytes = times(elements_of(x.shape), 4);
}

void transposed_convolution(LayoutCall& call) {
  const auto& wanted = call.values(0);
  const auto& w = call.shape(1);
  const auto& x = call.shape(2);
  call.require(wanted.size() == 4 && w.size() == 4 && x.size() == 4, "expects 4 dimensions");
  call.require(x[3] == w[3] && wanted[3] == w[0] && wanted[0] == x[0], "has a filter that does not fit");
  if (call.has(3)) call.require(call.shape(3) == Shape{w[0]}, "has a bias that does not fit its filter");
  check_clamp(call, call.option<std::int8_t>(3, 0));
  const bool same = same_padding(call, call.option<std::int8_t>(0, 0));
  for (const std::size_t d : {1, 2}) {
    call.require(wanted[d] >= 1 && wanted[d] <= (1 << 24), "has an output that does not fit");
    const auto stride = call.option<std::int32_t>(d == 1 ? 2 : 1, 0);
    call.require(windows(call, wanted[d], w[d], stride, 1, same) == x[d], "has an output that does not fit");
  }
  call.give(wanted);
  const std::uint64_t columns = times(elements_of({x[0], x[1], x[2]}), elements_of({w[0], w[1], w[2]}));
  call.work = times(columns, static_cast<std::uint64_t>(w[3]));
  call.scratch_bytes = times(columns, 4) + times(elements_of(w), 4);
}

void pool(LayoutCall& call) {
  const auto& x = *call.in[0];
  call.require(x.shape.size() == 4, "expects 4 dimensions");
  check_clamp(call, call.option<std::int8_t>(5, 0));
  const bool same = same_padding(call, call.option<std::int8_t>(0, 0));
  const auto height = call.option<std::int32_t>(4, 0);
  const auto width = call.option<std::int32_t>(3, 0);
  const auto rows = windows(call, x.shape[1], height, call.option<std::int32_t>(2, 0), 1, same);
  const auto columns = windows(call, x.shape[2], width, call.option<std::int32_t>(1, 0), 1, same);
  call.require(height <= 2 * x.shape[1] && width <= 2 * x.shape[2], "has a window larger than its input");
  if (quantised(x.type)) {
    check_activation(call, x, "input 0");
    check_activation(call, call.out[0], "output 0");
    call.require(x.scale == call.out[0].scale, "pools quantised values into another scale");
  }
  call.give({x.shape[0], rows, columns, x.shape[3]});
  call.work = times(elements_of(call.out[0].shape), elements_of({height, width}));
}

void resize(LayoutCall& call) {
  const auto& size = call.values(1);
  call.require(call.rank(0) == 4 && size.size() == 2, "expects 4 dimensions and a size of 2");
  call.require(size[0] >= 1 && size[1] >= 1 && size[0] <= (1 << 24) && size[1] <= (1 << 24),
               "has a size that is not above 0");
  call.give({call.shape(0)[0], size[0], size[1], call.shape(0)[3]});
  call.work = times(elements_of(call.out[0].shape), 4);
}

void batch_matmul(LayoutCall& call) {
  const auto& a = call.shape(0);
  const auto& b = call.shape(1);
  call.require(a.size() >= 2 && b.size() >= 2 && a.size() <= 4 && b.size() <= 4, "expects 2 to 4 dimensions");
  const bool turned_a = call.option<bool>(0, false);
  const bool turned_b = call.option<bool>(1, false);
  const auto rows = a[a.size() - (turned_a ? 1 : 2)];
  const auto depth = a[a.size() - (turned_a ? 2 : 1)];
  const auto columns = b[b.size() - (turned_b ? 2 : 1)];
  if (b[b.size() - (turned_b ? 1 : 2)] != depth) call.fail("multiplies " + shape_text(a) + " with " + shape_text(b));
  check_weights(call, 1, -1);
  call.require(call.in[1]->type == kTypeFloat32 || call.in[1]->scales == 1, "expects one scale of its weights");
  Shape shape = broadcast(call, {a.begin(), a.end() - 2}, {b.begin(), b.end() - 2});
  call.work = times(times(elements_of(shape), elements_of({rows, columns})), static_cast<std::uint64_t>(depth));
  shape.push_back(rows);
  shape.push_back(columns);
  call.give(std::move(shape));
  call.scratch_bytes = times(elements_of(a) + elements_of(b), 8);
}

void lstm(LayoutCall& call) {
  // Inputs: 0 x; 1-4 input weights and 5-8 recurrent weights (i, f, c, o); 9-11 peepholes (i, f, o); 12-15 biases; 16
  // projection, 17 its bias; 18 output state, 19 cell state; 20-23 layer normalisation (i, f, c, o).
  const bool sequence = call.code == kSequenceLstm;
  call.require(call.in.size() == 24 || call.in.size() == 20, "expects 20 or 24 inputs");
  if (!sequence)
    call.require(call.option<std::int8_t>(3, 0) == 0, "has a kernel type other than FULL, which is refused");
  if (sequence) call.require(!call.option<bool>(5, false), "has diagonal recurrent weights, which are refused");
  const std::size_t rank = sequence ? 3 : 2;
  const auto& x = call.shape(0);
  if (x.size() != rank) call.fail("input 0: expected " + std::to_string(rank) + " dimensions, got " + shape_text(x));
  const bool time_major = sequence && call.option<bool>(3, false);
  const std::int64_t batch = sequence ? x[time_major ? 1 : 0] : x[0];
  const std::int64_t steps = sequence ? x[time_major ? 0 : 1] : 1;
  const std::int64_t features = x[rank - 1];
  call.require(call.rank(2) == 2 && call.rank(6) == 2, "expects matrices of weights");
  const std::int64_t units = call.shape(2)[0];
  const std::int64_t outputs = call.shape(6)[1];
  const auto expect = [&](std::size_t input, const Shape& shape, bool needed) {
    if (!call.has(input)) {
      if (needed) call.fail("input " + std::to_string(input) + " is absent, where others of its kind are there");
      return;
    }
    if (call.shape(input) != shape)
      call.fail("input " + std::to_string(input) + ": expected " + shape_text(shape) + ", got " +
                shape_text(call.shape(input)));
  };
  const bool coupled = !call.has(1);
  for (const std::size_t first : {1, 5, 12, 9, 20})
    if (first == 1 || first == 5 || first == 12)
      call.require(call.has(first) == !coupled, "has some inputs of an input gate and lacks others");
  for (std::size_t gate = 0; gate < 4; ++gate) {
    const bool needed = gate > 0 || !coupled;
    expect(1 + gate, {units, features}, needed);
    expect(5 + gate, {units, outputs}, needed);
    expect(12 + gate, {units}, needed);
    const bool normalised = call.has(21);
    call.require(call.has(20 + gate) == (normalised && needed), "has layer normalisation for some of its gates");
    expect(20 + gate, {units}, false);
  }
  const bool peepholes = call.has(10);
  call.require(call.has(11) == peepholes && call.has(9) == (peepholes && !coupled),
               "has peepholes for some of its gates");
  for (const std::size_t input : {9, 10, 11}) expect(input, {units}, false);
  expect(16, {outputs, units}, outputs != units);
  call.require(call.has(16) || !call.has(17), "has a projection's bias without a projection");
  expect(17, {outputs}, false);
  // The runtime multiplies these sizes without a look at overflow, or at what stands in the file.
  expect(18, {batch, outputs}, true);
  expect(19, {batch, units}, true);
  check_activation_function(call, call.option<std::int8_t>(0, 0));
  for (const int clip : {1, 2})
    call.require(std::isfinite(call.option<float>(clip, 0.0F)) && call.option<float>(clip, 0.0F) >= 0.0F,
                 "has a limit that is no number of at least 0");
  const int weights = call.in[2]->type;
  for (const std::size_t input : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16})
    if (call.has(input) && call.in[input]->type != kTypeFloat32) {
      check_weights(call, input, -1);
      call.require(call.in[input]->scales == 1, "has weights with several scales");
    }
  if (call.in[0]->type == kTypeInt8) {
    call.require(sequence && !coupled, "has a quantised input in a form that is refused");
    check_activation(call, *call.in[0], "input 0");
    check_activation(call, *call.in[18], "input 18");
    check_activation(call, *call.in[19], "input 19");
    check_activation(call, call.out[0], "output 0");
    call.require(call.in[18]->scale == call.out[0].scale, "has an output state of another scale than its output");
    const double exponent = std::log2(static_cast<double>(call.in[19]->scale));
    call.require(std::fabs(exponent - std::round(exponent)) < 1e-3 && exponent <= -9 && exponent >= -15,
                 "has a cell state whose scale is no power of two from 2^-15 to 2^-9");
    call.require(call.intermediates.size() == 5, "expects 5 intermediate tensors");
    for (const auto* facts : call.intermediates)
      call.require(facts && facts->type != kTypeFloat32 ? facts->scales == 1 && facts->scale > 0 : facts != nullptr,
                   "has an intermediate tensor without a scale");
    call.require(call.intermediates[4] && call.intermediates[4]->scales == 1 && call.intermediates[4]->scale > 0,
                 "has an intermediate tensor without a scale");
    for (const std::size_t input : {1, 2, 3, 4, 5, 6, 7, 8}) {
      const double scale =
          static_cast<double>(call.in[input]->scale) * static_cast<double>(call.in[input < 5 ? 0 : 18]->scale) * 4096;
      call.require(scale > 1e-9 && scale < 1e6, "has weights with a scale that does not fit");
    }
  }
  Shape shape = x;
  shape[rank - 1] = outputs;
  call.give(std::move(shape));
  const auto rows = times(static_cast<std::uint64_t>(batch), static_cast<std::uint64_t>(steps));
  call.work =
      times(rows, times(4 * static_cast<std::uint64_t>(units),
                        static_cast<std::uint64_t>(features) + static_cast<std::uint64_t>(outputs) + kGateWork));
  call.scratch_bytes = times(times(static_cast<std::uint64_t>(batch), static_cast<std::uint64_t>(units)), 32);
  if (weights != kTypeFloat32)
    call.scratch_bytes +=
        times(elements_of({batch, features + outputs + units}), 4) + times(static_cast<std::uint64_t>(units), 64);
}

void rnn(LayoutCall& call) {
  // Inputs: x, input weights, recurrent weights, bias, state.
  const bool sequence = call.rule.options == 31;
  const auto& x = call.shape(0);
  const std::size_t rank = sequence ? 3 : 2;
  call.require(x.size() == rank && call.rank(1) == 2, "expects (batch, steps, features) and a matrix of weights");
  const bool time_major = sequence && call.option<bool>(0, false);
  const std::int64_t batch = sequence ? x[time_major ? 1 : 0] : x[0];
  const std::int64_t units = call.shape(1)[0];
  call.require(call.shape(1) == Shape({units, x[rank - 1]}) && call.shape(2) == Shape({units, units}) &&
                   call.shape(3) == Shape{units} && call.shape(4) == Shape({batch, units}),
               "has weights or a state that do not fit");
  for (const std::size_t input : {1, 2}) {
    check_weights(call, input, -1);
    call.require(call.in[input]->type == kTypeFloat32 || call.in[input]->scales == 1,
                 "has weights with several scales");
  }
  check_activation_function(call, call.option<std::int8_t>(sequence ? 1 : 0, 0));
  Shape shape = x;
  shape[rank - 1] = units;
  call.give(std::move(shape));
  call.work = times(elements_of(x) + elements_of(call.out[0].shape), static_cast<std::uint64_t>(units));
  call.scratch_bytes =
      times(elements_of({batch, x[rank - 1] + units}), 8) + times(static_cast<std::uint64_t>(units), 8);
}

void reduce(LayoutCall& call) {
  const auto& x = call.shape(0);
  const auto chosen = axes(call, 1, x.size());
  call.require(call.values(1).size() <= kMostRank, "names more than 8 dimensions");
  const bool keep = call.option<bool>(0, false);
  Shape shape;
  for (std::size_t d = 0; d < x.size(); ++d)
    if (!chosen[d])
      shape.push_back(x[d]);
    else if (keep)
      shape.push_back(1);
  call.give(std::move(shape));
  call.work = elements_of(x);
  const auto& from = *call.in[0];
  if (quantised(from.type)) {
    call.require(call.values(1).size() <= kMostQuantisedAxes, "names more than 4 dimensions of a quantised tensor");
    check_activation(call, from, "input 0");
    check_activation(call, call.out[0], "output 0");
    check_scales(call, static_cast<double>(from.scale));
    const bool extreme = call.code == kReduceMax || call.code == kReduceMin;
    call.require(!extreme || from.scale == call.out[0].scale, "gives quantised values in another scale");
  }
  if (!from.values || elements_of(call.out[0].shape) != 1 || !whole_numbers(from.type)) return;
  const bool known =
      call.code == kSum || call.code == kReduceProd || call.code == kReduceMax || call.code == kReduceMin;
  if (!known) return;
  std::uint64_t result = static_cast<std::uint64_t>((*from.values)[0]);
  for (std::size_t n = 1; n < from.values->size(); ++n) {
    const std::int64_t v = (*from.values)[n];
    const auto u = static_cast<std::uint64_t>(v);
    const auto so_far = static_cast<std::int64_t>(result);
    result = call.code == kSum          ? result + u
             : call.code == kReduceProd ? result * u
             : call.code == kReduceMax  ? static_cast<std::uint64_t>(std::max(so_far, v))
                                        : static_cast<std::uint64_t>(std::min(so_far, v));
  }
  give_values(call.out[0], {stored(from.type, result)});
}

void arg_extreme(LayoutCall& call) {
  const auto d = call.axis(call.value(1), call.rank(0));
  const int wanted = call.option<std::int8_t>(0, 0);
  call.require(call.out[0].type == wanted, "has an output of another type than its options say");
  Shape shape = call.shape(0);
  shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(d));
  call.give(std::move(shape));
  call.work = elements_of(call.shape(0));
}

void top_k(LayoutCall& call) {
  call.require(call.rank(0) >= 1, "expects at least one dimension");
  const std::int64_t k = call.value(1);
  call.require(k >= 1 && k <= call.shape(0).back(), "wants more values than there are");
  // Of fewer than all a heap is kept, which stays within its bounds whatever the order.
  call.require(call.in[0]->type != kTypeFloat32 || k < call.shape(0).back() || k <= kMostSorted,
               "sorts more than 16 numbers, which may be NaN");
  call.require(elements_of(call.shape(1)) == 1 && call.rank(1) <= 1, "expects one number of values");
  Shape shape = call.shape(0);
  shape.back() = k;
  call.out[0].shape = shape;
  call.out[1].shape = std::move(shape);
  call.work = times(elements_of(call.shape(0)), 16);
}

void one_hot(LayoutCall& call) {
  const std::int64_t depth = call.value(1);
  call.require(depth >= 1 && depth <= (1 << 24), "has a depth that is not above 0");
  for (const std::size_t input : {1, 2, 3}) call.require(elements_of(call.shape(input)) == 1, "expects one value");
  Shape shape = call.shape(0);
  call.require(shape.size() < kMostRank, "has an output of more than 8 dimensions");
  const std::int64_t given = call.option<std::int32_t>(0, 0);
  const auto d = given == -1 ? shape.size() : call.axis(given, shape.size() + 1);
  shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(d), depth);
  call.give(std::move(shape));
  call.work = elements_of(call.out[0].shape);
}

void reshape(LayoutCall& call) {
  Values wanted;
  if (call.has(1)) {
    call.require(call.rank(1) == 1, "expects its shape as a vector");
    call.require(call.shape(1)[0] <= static_cast<std::int64_t>(kMostRank), "has an output of more than 8 dimensions");
    wanted = call.values(1);
  } else {
    const auto list = call.option_list(0);
    call.require(list.present() && list.size() <= kMostRank, "has no shape");
    for (std::size_t n = 0; n < list.size(); ++n) wanted.push_back(list[n]);
  }
  call.require(wanted.size() <= kMostRank, "has an output of more than 8 dimensions");
  const std::uint64_t count = elements_of(call.shape(0));
  std::size_t open = wanted.size();
  std::uint64_t known = 1;
  for (std::size_t d = 0; d < wanted.size(); ++d) {
    if (wanted[d] == -1) {
      call.require(open == wanted.size(), "leaves two dimensions open");
      open = d;
    } else {
      call.require(wanted[d] >= 0 && wanted[d] <= INT32_MAX, "has a negative dimension");
      known = times(known, static_cast<std::uint64_t>(wanted[d]));
    }
  }
  const Values given = wanted;
  if (open != wanted.size() && known != 0) wanted[open] = static_cast<std::int64_t>(count / known);
  if (elements_of(wanted) != count || (open != wanted.size() && known == 0))
    call.fail("has a shape that does not fit: " + shape_text(call.shape(0)) + " can't become " + shape_text(given));
  call.give(std::move(wanted));
  call.work = count;
  keep_values(call, 0);
}

void squeeze(LayoutCall& call) {
  const auto list = call.option_list(0);
  call.require(list.size() <= kMostRank, "names more than 8 dimensions");
  const auto& x = call.shape(0);
  std::vector<bool> dropped(x.size(), false);
  for (std::size_t n = 0; n < list.size(); ++n) dropped[call.axis(list[n], x.size())] = true;
  Shape shape;
  for (std::size_t d = 0; d < x.size(); ++d) {
    const bool drop = list.size() == 0 ? x[d] == 1 : dropped[d];
    call.require(!drop || x[d] == 1, "drops a dimension that is not 1");
    if (!drop) shape.push_back(x[d]);
  }
  call.give(std::move(shape));
  call.work = elements_of(x);
  keep_values(call, 0);
}

void expand_dims(LayoutCall& call) {
  Shape shape = call.shape(0);
  call.require(shape.size() < kMostRank, "has an output of more than 8 dimensions");
  const auto d = call.axis(call.value(1), shape.size() + 1);
  shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(d), 1);
  call.give(std::move(shape));
  call.work = elements_of(call.shape(0));
  keep_values(call, 0);
}

void transpose(LayoutCall& call) {
  const auto& order = call.values(1);
  const auto& x = call.shape(0);
  call.require(x.size() <= kMostTransposeRank && call.rank(1) == 1, "expects at most 6 dimensions");
  if (order.size() != x.size())
    call.fail("input 1: expected an order of " + std::to_string(x.size()) + " dimensions, got " +
              std::to_string(order.size()));
  std::vector<bool> used(x.size(), false);
  Shape shape;
  for (const std::int64_t entry : order) {
    const auto d = call.axis(entry, x.size());
    call.require(!used[d], "has an order that names a dimension twice");
    used[d] = true;
    shape.push_back(x[d]);
  }
  call.give(std::move(shape));
  call.work = elements_of(x);
}

void concatenate(LayoutCall& call) {
  const auto& first = call.shape(0);
  check_activation_function(call, call.option<std::int8_t>(1, 0));
  call.require(call.option<std::int8_t>(1, 0) == 0, "has a fused activation that its kernel does not compute");
  call.require(first.size() <= 6, "expects at most 6 dimensions");
  const auto d = call.axis(call.option<std::int32_t>(0, 0), first.size());
  Shape shape = first;
  shape[d] = 0;
  bool known = first.size() == 1;
  for (std::size_t n = 0; n < call.in.size(); ++n) {
    const auto& part = call.shape(n);
    Shape other = part;
    bool fits = part.size() == first.size();
    if (fits) {
      other[d] = first[d];
      fits = other == first;
      shape[d] += part[d];
    }
    if (!fits) call.fail("joins " + shape_text(first) + " and " + shape_text(part));
    if (quantised(call.in[n]->type)) {
      check_activation(call, *call.in[n], "input " + std::to_string(n));
      check_activation(call, call.out[0], "output 0");
      call.require(call.in[n]->type != kTypeInt8 || call.in[n]->scale == call.out[0].scale,
                   "joins quantised values of different scales");
    }
    known = known && (call.in[n]->values || elements_of(part) == 0);
  }
  call.give(std::move(shape));
  call.work = elements_of(call.out[0].shape);
  if (!known || call.work > kMostValues || !whole_numbers(call.out[0].type)) return;
  Values values;
  for (const auto* part : call.in)
    if (part->values) values.insert(values.end(), part->values->begin(), part->values->end());
  give_values(call.out[0], std::move(values));
}

void pack(LayoutCall& call) {
  const auto& first = call.shape(0);
  call.require(first.size() < 6, "expects at most 5 dimensions");
  for (std::size_t n = 0; n < call.in.size(); ++n)
    if (call.shape(n) != first) call.fail("packs " + shape_text(first) + " and " + shape_text(call.shape(n)));
  const std::int64_t count = call.option<std::int32_t>(0, 0);
  if (count != static_cast<std::int64_t>(call.in.size()))
    call.fail("packs " + std::to_string(count) + " tensors and has " + std::to_string(call.in.size()) + " inputs");
  Shape shape = first;
  const auto d = call.axis(call.option<std::int32_t>(1, 0), first.size() + 1);
  shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(d), count);
  call.give(std::move(shape));
  call.work = elements_of(call.out[0].shape);
  if (!first.empty() || call.in.size() > kMostValues || !whole_numbers(call.out[0].type)) return;
  Values values;
  for (const auto* part : call.in) {
    if (!part->values) return;
    values.push_back((*part->values)[0]);
  }
  give_values(call.out[0], std::move(values));
}

void unpack(LayoutCall& call) {
  Shape shape = call.shape(0);
  call.require(!shape.empty() && shape.size() <= 6, "expects 1 to 6 dimensions");
  const auto d = call.axis(call.option<std::int32_t>(1, 0), shape.size());
  const auto parts = shape[d];
  if (call.option<std::int32_t>(0, 0) != parts || parts != static_cast<std::int64_t>(call.out.size()))
    call.fail("unpacks " + std::to_string(parts) + " tensors, names " +
              std::to_string(call.option<std::int32_t>(0, 0)) + " and has " + std::to_string(call.out.size()) +
              " outputs");
  shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(d));
  for (std::size_t n = 0; n < call.out.size(); ++n) {
    call.out[n].shape = shape;
    if (shape.empty() && call.in[0]->values) give_values(call.out[n], {(*call.in[0]->values)[n]});
  }
  call.work = elements_of(call.shape(0));
}

void split(LayoutCall& call) {
  Shape shape = call.shape(1);
  const auto d = call.axis(call.value(0), shape.size());
  const std::int64_t parts = call.option<std::int32_t>(0, 0);
  if (parts < 1 || parts != static_cast<std::int64_t>(call.out.size()) || shape[d] % parts != 0)
    call.fail("splits " + shape_text(shape) + " into " + std::to_string(parts) + " parts and has " +
              std::to_string(call.out.size()) + " outputs");
  shape[d] /= parts;
  for (std::size_t n = 0; n < call.out.size(); ++n) {
    call.out[n].shape = shape;
    if (shape.size() != 1 || !call.in[1]->values) continue;
    const auto begin = call.in[1]->values->begin() + static_cast<std::ptrdiff_t>(n) * shape[0];
    give_values(call.out[n], {begin, begin + shape[0]});
  }
  call.work = elements_of(call.shape(1));
}

void split_lengths(LayoutCall& call) {
  const auto& lengths = call.values(1);
  const auto& x = call.shape(0);
  const auto d = call.axis(call.value(2), x.size());
  call.require(lengths.size() == call.out.size() && call.rank(1) == 1 &&
                   call.option<std::int32_t>(0, 0) == static_cast<std::int32_t>(lengths.size()),
               "has other outputs than lengths");
  std::int64_t sum = 0;
  for (std::size_t n = 0; n < lengths.size(); ++n) {
    call.require(lengths[n] >= 1 && lengths[n] <= x[d], "has lengths that do not fit its input");
    sum += lengths[n];
    call.out[n].shape = x;
    call.out[n].shape[d] = lengths[n];
  }
  call.require(sum == x[d], "has lengths that do not fit its input");
  call.work = elements_of(x);
}

void slice(LayoutCall& call) {
  const auto& x = call.shape(0);
  const auto& begin = call.values(1);
  const auto& size = call.values(2);
  call.require(x.size() >= 1 && x.size() <= kMostSliceRank && call.rank(1) == 1 && call.rank(2) == 1 &&
                   begin.size() == x.size() && size.size() == x.size(),
               "has bounds that do not fit its input");
  Shape shape;
  std::vector<std::vector<std::int64_t>> picks;
  for (std::size_t d = 0; d < x.size(); ++d) {
    call.require(begin[d] >= 0 && begin[d] <= x[d], "starts outside its input");
    call.require(size[d] >= -1, "has a negative size");
    const std::int64_t count = size[d] == -1 ? x[d] - begin[d] : size[d];
    call.require(count <= x[d] - begin[d], "ends outside its input");
    shape.push_back(count);
  }
  call.give(std::move(shape));
  call.work = elements_of(call.out[0].shape);
  move_values(*call.in[0], call.out[0], [&] {
    for (std::size_t d = 0; d < x.size(); ++d) {
      picks.emplace_back(static_cast<std::size_t>(call.out[0].shape[d]));
      std::iota(picks.back().begin(), picks.back().end(), begin[d]);
    }
    return picked(x, picks);
  });
}

void strided_slice(LayoutCall& call) {
  const auto& x = call.shape(0);
  const auto& begin = call.values(1);
  const auto& end = call.values(2);
  const auto& stride = call.values(3);
  call.require(call.rank(1) == 1 && call.rank(2) == 1 && call.rank(3) == 1, "has bounds that are no vectors");
  call.require(x.size() >= 1 && x.size() <= kMostSliceRank && begin.size() == x.size() && end.size() == begin.size() &&
                   stride.size() == begin.size(),
               "has bounds that do not fit its input");
  call.require(call.option<std::int32_t>(2, 0) == 0 && call.option<std::int32_t>(3, 0) == 0,
               "has an ellipsis or a new dimension, which is refused");
  call.require(!call.option<bool>(5, false), "has ends that are offsets, which is refused");
  const auto begin_mask = static_cast<std::uint32_t>(call.option<std::int32_t>(0, 0));
  const auto end_mask = static_cast<std::uint32_t>(call.option<std::int32_t>(1, 0));
  const auto shrink_mask = static_cast<std::uint32_t>(call.option<std::int32_t>(4, 0));
  Shape shape;
  std::vector<std::vector<std::int64_t>> picks(x.size());
  for (std::size_t d = 0; d < x.size(); ++d) {
    const auto set = [d](std::uint32_t mask) { return ((mask >> d) & 1U) != 0; };
    const std::int64_t step = stride[d];
    if (step == 0 || std::abs(step) > INT32_MAX / 2)
      call.fail("input 3: expected a stride other than 0 along dimension " + std::to_string(d) + ", got " +
                std::to_string(step));
    const std::int64_t lowest = step > 0 ? 0 : -1;
    const std::int64_t highest = step > 0 ? x[d] : x[d] - 1;
    const auto clamped = [&](std::int64_t k) { return std::clamp(k < 0 ? k + x[d] : k, lowest, highest); };
    std::int64_t from = set(begin_mask) ? (step > 0 ? 0 : x[d] - 1) : clamped(begin[d]);
    if (set(shrink_mask)) {
      const std::int64_t k = set(begin_mask) ? 0 : begin[d] < 0 ? begin[d] + x[d] : begin[d];
      call.require(step == 1, "drops a dimension with a stride other than 1");
      if (k < 0 || k >= x[d]) call.fail("takes entry " + std::to_string(begin[d]) + " of " + std::to_string(x[d]));
      picks[d] = {k};
      continue;
    }
    const std::int64_t stop = set(end_mask) ? (step > 0 ? x[d] : -1) : clamped(end[d]);
    const std::int64_t span = step > 0 ? stop - from : from - stop;
    const std::int64_t count = span <= 0 ? 0 : (span + std::abs(step) - 1) / std::abs(step);
    shape.push_back(count);
    for (; picks[d].size() < static_cast<std::size_t>(std::min<std::int64_t>(count, kMostValues)); from += step)
      picks[d].push_back(from);
  }
  call.give(std::move(shape));
  call.require(elements_of(call.out[0].shape) > 0, "gives a tensor without elements");
  call.work = elements_of(call.out[0].shape);
  move_values(*call.in[0], call.out[0], [&] { return picked(x, picks); });
}

void update_slice(LayoutCall& call) {
  call.require(call.rank(0) >= 1 && call.rank(0) <= kMostSliceRank && call.rank(1) == call.rank(0) &&
                   call.shape(2) == Shape{static_cast<std::int64_t>(call.rank(0))},
               "has an update that does not fit");
  for (std::size_t d = 0; d < call.rank(0); ++d)
    call.require(call.shape(1)[d] <= call.shape(0)[d], "has an update larger than its input");
  call.give(call.shape(0));
  call.work = elements_of(call.shape(0));
}

void gather(LayoutCall& call) {
  const auto& x = call.shape(0);
  const auto& index = call.values(1);
  call.require(x.size() >= 1 && call.rank(1) <= 3 && x.size() + call.rank(1) <= kMostRank + 1,
               "has an output of more than 8 dimensions");
  call.require(call.option<std::int32_t>(1, 0) == 0, "has batch dimensions, which are refused");
  const auto d = call.axis(call.option<std::int32_t>(0, 0), x.size());
  for (const std::int64_t k : index)
    if (k < 0 || k >= x[d]) call.fail("takes entry " + std::to_string(k) + " of " + std::to_string(x[d]));
  Shape shape = x;
  const auto at = shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(d));
  shape.insert(at, call.shape(1).begin(), call.shape(1).end());
  call.give(std::move(shape));
  call.work = elements_of(call.out[0].shape);
  if (x.size() != 1) return;
  move_values(*call.in[0], call.out[0], [&] { return std::vector<std::size_t>(index.begin(), index.end()); });
}

void tile(LayoutCall& call) {
  const auto& times_of = call.values(1);
  Shape shape = call.shape(0);
  call.require(times_of.size() == shape.size() && call.rank(1) == 1 && !shape.empty(),
               "has repetitions that do not fit its input");
  for (std::size_t d = 0; d < shape.size(); ++d) {
    call.require(times_of[d] >= 1 && times_of[d] <= INT32_MAX / std::max<std::int64_t>(shape[d], 1),
                 "has repetitions that do not fit its input");
    shape[d] *= times_of[d];
  }
  call.give(std::move(shape));
  call.work = elements_of(call.out[0].shape);
}

void broadcast_to(LayoutCall& call) {
  const Shape wanted = checked_shape(call, call.values(1));
  call.require(call.rank(1) == 1 && broadcast(call, call.shape(0), wanted) == wanted, "has a shape that does not fit");
  call.give(wanted);
  call.work = elements_of(wanted);
}

void fill(LayoutCall& call) {
  call.require(call.rank(0) == 1 && call.rank(1) == 0, "expects a shape and one value");
  call.give(checked_shape(call, call.values(0)));
  call.work = elements_of(call.out[0].shape);
  if (call.in[1]->values && call.work <= kMostValues)
    give_values(call.out[0], Values(static_cast<std::size_t>(call.work), (*call.in[1]->values)[0]));
}

namespace {

void padded(LayoutCall& call, std::int64_t most_of_extent) {
  const auto& widths = call.values(1);
  Shape shape = call.shape(0);
  call.require(!shape.empty() && shape.size() <= 4, "expects 1 to 4 dimensions");
  call.require(call.shape(1) == Shape({static_cast<std::int64_t>(shape.size()), 2}),
               "has paddings that do not fit its input");
  for (std::size_t d = 0; d < shape.size(); ++d) {
    const std::int64_t before = widths[2 * d];
    const std::int64_t after = widths[2 * d + 1];
    call.require(before >= 0 && after >= 0 && before <= (1 << 24) && after <= (1 << 24), "has a negative padding");
    if (most_of_extent >= 0)
      call.require(before <= shape[d] - most_of_extent && after <= shape[d] - most_of_extent,
                   "mirrors more than there is");
    shape[d] += before + after;
  }
  call.give(std::move(shape));
  call.work = elements_of(call.out[0].shape);
}

}  // namespace

void pad(LayoutCall& call) {
  padded(call, -1);
  if (call.has(2)) call.require(elements_of(call.shape(2)) == 1, "expects one value to pad with");
  if (quantised(call.in[0]->type)) {
    check_activation(call, *call.in[0], "input 0");
    check_activation(call, call.out[0], "output 0");
  }
}

void mirror_pad(LayoutCall& call) {
  const int mode = call.option<std::int8_t>(0, 0);
  call.require(mode == 0 || mode == 1, "has a mode that is neither REFLECT nor SYMMETRIC");
  padded(call, mode == 0 ? 1 : 0);
}

void reverse(LayoutCall& call) {
  call.require(call.rank(1) == 1 && call.values(1).size() == 1, "expects one dimension to reverse");
  call.axis(call.values(1)[0], call.rank(0));
  call.require(call.values(1)[0] >= 0, "names a negative dimension");
  call.give(call.shape(0));
  call.work = elements_of(call.shape(0));
}

void shape_of(LayoutCall& call) {
  auto& out = call.out[0];
  call.require(out.type == call.option<std::int8_t>(0, 0), "has an output of another type than its options say");
  call.give({static_cast<std::int64_t>(call.rank(0))});
  give_values(out, call.shape(0));
}

void rank_of(LayoutCall& call) {
  call.give({});
  give_values(call.out[0], {static_cast<std::int64_t>(call.rank(0))});
}

void range(LayoutCall& call) {
  const std::int64_t start = call.value(0);
  const std::int64_t limit = call.value(1);
  const std::int64_t delta = call.value(2);
  for (const std::size_t input : {0, 1, 2}) call.require(call.rank(input) == 0, "expects three numbers");
  const std::int64_t most = std::int64_t{1} << 31;
  call.require(std::abs(start) < most && std::abs(limit) < most && std::abs(delta) < most && delta != 0 &&
                   (delta > 0 ? start < limit : start > limit),
               "has bounds that do not go together");
  const std::int64_t count = (std::abs(limit - start) + std::abs(delta) - 1) / std::abs(delta);
  call.give({count});
  call.work = static_cast<std::uint64_t>(count);
  if (call.work > kMostValues) return;
  Values values;
  for (std::int64_t n = 0; n < count; ++n) values.push_back(start + n * delta);
  give_values(call.out[0], std::move(values));
}

namespace {

std::int64_t block_of(const LayoutCall& call) {
  const std::int64_t block = call.option<std::int32_t>(0, 0);
  call.require(call.rank(0) == 4 && block >= 1 && block <= 1024, "expects 4 dimensions and a block from 1 to 1024");
  return block;
}

}  // namespace

void blocks_to_space(LayoutCall& call) {
  const std::int64_t block = block_of(call);
  Shape shape = call.shape(0);
  call.require(shape[3] % (block * block) == 0, "has blocks that do not fit its input");
  shape = {shape[0], shape[1] * block, shape[2] * block, shape[3] / (block * block)};
  call.give(std::move(shape));
  call.work = elements_of(call.shape(0));
}

void space_to_blocks(LayoutCall& call) {
  const std::int64_t block = block_of(call);
  Shape shape = call.shape(0);
  call.require(shape[1] % block == 0 && shape[2] % block == 0, "has blocks that do not fit its input");
  shape = {shape[0], shape[1] / block, shape[2] / block, shape[3] * block * block};
  call.give(std::move(shape));
  call.work = elements_of(call.shape(0));
}

void control_flow(LayoutCall& call) { call.fail("is followed by the verifier itself"); }

}  // namespace layout

}  // namespace linkcast::tflite
