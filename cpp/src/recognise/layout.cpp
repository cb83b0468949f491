#include "recognise/layout.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string_view>

#include "recognise/layout_checks.h"

namespace linkcast::tflite {

const Values& LayoutCall::values(std::size_t input) const {
  static const Values& kNoValues = *std::make_unique<Values>().release();  // never destroyed, as all that is static
  if (has(input) && elements_of(in[input]->shape) == 0) return kNoValues;
  if (!has(input) || !in[input]->values)
    misfit("input " + std::to_string(input) +
           ": the shapes that follow depend on its values, which only a run would tell");
  return *in[input]->values;
}

std::int64_t LayoutCall::value(std::size_t input) const {
  const auto& all = values(input);
  if (all.size() != 1)
    misfit("input " + std::to_string(input) + ": expected one value, got " + std::to_string(all.size()));
  return all[0];
}

Values LayoutCall::option_list(int field) const {
  if (!options_) return {};
  const auto list = options_->vector<std::int32_t>(field, "an option");
  if (list.size() > layout::kMostRank) misfit("names more than 8 dimensions");
  Values values;
  for (std::size_t n = 0; n < list.size(); ++n) values.push_back(list[n]);
  return values;
}

void LayoutCall::give_values(std::size_t n, Values values) {
  out[n].values = std::make_shared<const Values>(std::move(values));
}

void LayoutCall::give_moved(std::size_t n, std::size_t input, const Move& move) {
  const auto& from = in[input]->values;
  out[n].shape = move.shape;
  const std::uint64_t count = elements_of(move.shape);
  work += count;
  if (!from || count > layout::kMostValues) return;
  Values values;
  for (const std::size_t at : move.positions()) values.push_back((*from)[at]);
  give_values(n, std::move(values));
}

void LayoutCall::give_reshaped(std::size_t input, Shape shape) {
  work = elements_of(shape);
  out[0].values = in[input]->values;
  give(std::move(shape));
}

namespace layout {

Shape broadcast_of(const Shape& a, const Shape& b) {
  require(a == b || std::max(a.size(), b.size()) <= 4, "broadcasts more than 4 dimensions");
  return broadcast(a, b);
}

void check_weights(const LayoutCall& call, std::size_t input, int channel_dimension) {
  const auto& w = *call.in[input];
  if (w.type == kTypeFloat32) return;
  if (w.scales == 0) misfit("input " + std::to_string(input) + ": quantised weights without a scale");
  if (w.scales > 1 && w.quantized_dimension != channel_dimension)
    misfit("input " + std::to_string(input) + ": expected a scale per slice of dimension " +
           std::to_string(channel_dimension) + ", got dimension " + std::to_string(w.quantized_dimension));
  if (w.type != kTypeUint8 && !w.centred)
    misfit("input " + std::to_string(input) + ": expected quantised weights with a zero point of 0");
  if (!w.constant) misfit("input " + std::to_string(input) + ": expected constant quantised weights");
}

void check_activation(const TensorFacts& facts, const std::string& which) {
  if (quantised(facts.type) && (facts.scales != 1 || !(facts.scale > 0)))
    misfit(which + ": expected a quantised tensor with one scale above 0");
}

void check_activations(const LayoutCall& call) {
  check_activation(*call.in[0], "input 0");
  check_activation(call.out[0], "output 0");
}

void check_scales(const LayoutCall& call, double product) {
  constexpr double kMost = 1 << 18;
  const double factor = product / static_cast<double>(call.out[0].scale);
  if (!(factor < kMost && factor > 1.0 / (1 << 30)))
    misfit("has quantisation scales that do not go together: the output's is " + std::to_string(call.out[0].scale));
}

void check_activation_function(int function) {
  require(function >= 0 && function <= 5, "has an activation that the schema does not know");
  require(function != 5, "has the activation SIGN_BIT, which the runtime does not compute");
}

void check_clamp(int function) {
  check_activation_function(function);
  require(function <= 3, "has a fused activation that its kernel does not compute");
}

void same(LayoutCall& call) {
  for (auto& out : call.out) out.shape = call.shape(0);
  const auto& from = *call.in[0];
  auto& out = call.out[0];
  for (const auto* facts : {&from, static_cast<const TensorFacts*>(&out)})
    if (quantised(facts->type) && !facts->constant && call.code != kCast)
      check_activation(*facts, facts == &from ? "input 0" : "output 0");
  if (quantised(from.type) && quantised(out.type) && !from.constant && call.code != kCast)
    check_scales(call, static_cast<double>(from.scale));
  if (call.code == kDequantize && from.constant && quantised(from.type))
    require(from.scales >= 1, "reads quantised values without a scale");
  call.work = times(elements_of(out.shape), kElementwiseWork);
  if (!from.values || !whole_numbers(out.type) || from.values->size() > kMostValues) return;
  Values values;
  for (const std::int64_t v : *from.values)
    values.push_back(stored(out.type, call.rule.number ? call.rule.number(0, v) : static_cast<std::uint64_t>(v)));
  call.give_values(0, std::move(values));
}

void binary(LayoutCall& call) {
  const auto& a = *call.in[0];
  const auto& b = *call.in[1];
  auto& out = call.out[0];
  const Shape shape = broadcast_of(a.shape, b.shape);
  call.give(shape);
  call.work = times(elements_of(shape), kElementwiseWork);
  const bool arithmetic = call.code == kAdd || call.code == kSub || call.code == kMul || call.code == kDiv;
  if (arithmetic) check_clamp(call.option<std::int8_t>(0, 0));
  if (quantised(a.type)) {
    check_activation(a, "input 0");
    check_activation(b, "input 1");
    check_activation(out, "output 0");
    const double scales[] = {static_cast<double>(a.scale), static_cast<double>(b.scale)};
    for (const double scale : scales) check_scales(call, call.code == kMul ? scales[0] * scales[1] : scale);
  }
  const bool divides = call.code == kDiv || call.code == kFloorDiv || call.code == kFloorMod;
  if (divides && a.type != kTypeFloat32) {
    for (const std::int64_t divisor : call.values(1))
      require(divisor > 0, "divides whole numbers by one that is not above 0");
  }
  if (!a.values || !b.values || elements_of(shape) > kMostValues || !whole_numbers(out.type)) return;
  if (!call.rule.number || (arithmetic && call.option<std::int8_t>(0, 0) != 0)) return;
  const auto from_a = tflite::broadcast_to(a.shape, shape).positions();
  const auto from_b = tflite::broadcast_to(b.shape, shape).positions();
  Values values;
  for (std::size_t n = 0; n < from_a.size(); ++n)
    values.push_back(stored(out.type, call.rule.number((*a.values)[from_a[n]], (*b.values)[from_b[n]])));
  call.give_values(0, std::move(values));
}

namespace {

constexpr std::size_t kMostQuantisedAxes = 4;  // the runtime's mean of quantised values writes beyond its list of more
constexpr std::int64_t kMostSorted = 16;       // floats: a longer sort reads outside its list where one is NaN

std::vector<bool> axes(const LayoutCall& call, std::size_t input, std::size_t rank) {
  std::vector<bool> chosen(rank, false);
  for (const std::int64_t given : call.values(input)) chosen[axis_of(given, rank)] = true;
  return chosen;
}

void select_values(LayoutCall& call) {
  const auto& chosen = *call.in[0];
  const auto& a = *call.in[1];
  const auto& b = *call.in[2];
  auto& out = call.out[0];
  call.work = elements_of(out.shape);
  if (!chosen.values || !a.values || !b.values || call.work > kMostValues) return;
  const auto from_chosen = tflite::broadcast_to(chosen.shape, out.shape).positions();
  const auto from_a = tflite::broadcast_to(a.shape, out.shape).positions();
  const auto from_b = tflite::broadcast_to(b.shape, out.shape).positions();
  Values values;
  for (std::size_t n = 0; n < from_a.size(); ++n)
    values.push_back((*chosen.values)[from_chosen[n]] != 0 ? (*a.values)[from_a[n]] : (*b.values)[from_b[n]]);
  call.give_values(0, std::move(values));
}

}  // namespace

void select(LayoutCall& call) {
  require(call.shape(1) == call.shape(2), "chooses between tensors of two shapes");
  require(call.shape(0) == call.shape(1), "has a condition of another shape than what it chooses from");
  call.give(call.shape(1));
  select_values(call);
}

void select_broadcast(LayoutCall& call) {
  call.give(broadcast_of(call.shape(0), broadcast_of(call.shape(1), call.shape(2))));
  select_values(call);
}

void prelu(LayoutCall& call) {
  const Shape shape = broadcast_of(call.shape(0), call.shape(1));
  require(shape == call.shape(0), "has slopes that do not fit its input");
  call.give(shape);
  call.work = elements_of(shape);
}

void softmax(LayoutCall& call) {
  const std::size_t rank = call.rank(0);
  require(rank >= 1 && rank <= 4, "expects 1 to 4 dimensions");
  call.give(call.shape(0));
  call.work = times(elements_of(call.shape(0)), 8);
  const auto& from = *call.in[0];
  check_activations(call);
  const float beta = call.option<float>(0, 0.0f);
  require(call.rule.options == 0 || std::isfinite(beta), "has a beta that is not finite");
  if (quantised(from.type)) {
    const double exponent = static_cast<double>(beta) * static_cast<double>(from.scale);
    require(exponent > 1e-6 && exponent < 1e3, "has a quantisation scale that does not fit its beta");
  }
}

void normalise(LayoutCall& call) {
  require(call.rank(0) >= 1 && call.rank(0) <= 4, "expects 1 to 4 dimensions");
  require(call.option<std::int8_t>(0, 0) == 0, "has a fused activation that its kernel does not compute");
  call.give(call.shape(0));
  call.work = elements_of(call.shape(0));
}

void add_n(LayoutCall& call) {
  for (std::size_t n = 0; n < call.in.size(); ++n)
    require(call.shape(n) == call.shape(0), "adds tensors of different shapes");
  call.give(call.shape(0));
  call.work = times(elements_of(call.shape(0)), call.in.size());
}

void cumulate(LayoutCall& call) {
  axis_of(call.value(1), call.rank(0));
  call.give(call.shape(0));
  call.work = elements_of(call.shape(0));
}

void reduce(LayoutCall& call) {
  const auto& x = call.shape(0);
  const auto chosen = axes(call, 1, x.size());
  require(call.values(1).size() <= kMostRank, "names more than 8 dimensions");
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
    require(call.values(1).size() <= kMostQuantisedAxes, "names more than 4 dimensions of a quantised tensor");
    check_activations(call);
    check_scales(call, static_cast<double>(from.scale));
    const bool extreme = call.code == kReduceMax || call.code == kReduceMin;
    require(!extreme || from.scale == call.out[0].scale, "gives quantised values in another scale");
  }
  if (!from.values || from.values->empty() || elements_of(call.out[0].shape) != 1 || !whole_numbers(from.type)) return;
  if (!call.rule.number) return;
  std::uint64_t result = static_cast<std::uint64_t>(from.values->front());
  for (std::size_t n = 1; n < from.values->size(); ++n)
    result = call.rule.number(static_cast<std::int64_t>(result), (*from.values)[n]);
  call.give_values(0, {stored(from.type, result)});
}

void arg_extreme(LayoutCall& call) {
  const auto d = axis_of(call.value(1), call.rank(0));
  const int wanted = call.option<std::int8_t>(0, 0);
  require(call.out[0].type == wanted, "has an output of another type than its options say");
  call.give(without_dimension(call.shape(0), d));
  call.work = elements_of(call.shape(0));
}

void top_k(LayoutCall& call) {
  require(call.rank(0) >= 1, "expects at least one dimension");
  const std::int64_t k = call.value(1);
  require(k >= 1 && k <= call.shape(0).back(), "wants more values than there are");
  // Of fewer than all a heap is kept, which stays within its bounds whatever the order.
  require(call.in[0]->type != kTypeFloat32 || k < call.shape(0).back() || k <= kMostSorted,
          "sorts more than 16 numbers, which may be NaN");
  require(elements_of(call.shape(1)) == 1 && call.rank(1) <= 1, "expects one number of values");
  Shape shape = call.shape(0);
  shape.back() = k;
  call.out[0].shape = shape;
  call.out[1].shape = std::move(shape);
  call.work = times(elements_of(call.shape(0)), 16);
}

void one_hot(LayoutCall& call) {
  const std::int64_t depth = call.value(1);
  require(depth >= 1 && depth <= (1 << 24), "has a depth that is not above 0");
  for (const std::size_t input : {1, 2, 3}) require(elements_of(call.shape(input)) == 1, "expects one value");
  const Shape& shape = call.shape(0);
  require(shape.size() < kMostRank, "has an output of more than 8 dimensions");
  const std::int64_t given = call.option<std::int32_t>(0, 0);
  const auto d = given == -1 ? shape.size() : axis_of(given, shape.size() + 1);
  call.give(with_dimension(shape, d, depth));
  call.work = elements_of(call.out[0].shape);
}

void control_flow(LayoutCall&) { misfit("is followed by the verifier itself"); }

}  // namespace layout

}  // namespace linkcast::tflite
