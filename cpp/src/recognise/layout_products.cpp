#include <algorithm>
#include <cmath>

#include "recognise/layout_checks.h"

namespace linkcast::tflite::layout {
namespace {

constexpr std::uint64_t kGateWork = 40;  // of an LSTM's gate beside its products: activations, states, calls
constexpr std::int64_t kMostStride = 1 << 16;

/// Input 0 times the weights of input 1 in whole numbers, where the input is quantised.
void check_whole_product(const LayoutCall& call) {
  const auto& x = *call.in[0];
  const auto& w = *call.in[1];
  if (!quantised(x.type)) return;
  check_activations(call);
  check_scales(call, static_cast<double>(x.scale) * static_cast<double>(w.scale));
  require(w.type != kTypeUint8 || w.scales == 1, "has several scales of uint8 weights");
}

bool same_padding(int padding) {
  require(padding == 0 || padding == 1, "has a padding that is neither SAME nor VALID");
  return padding == 0;
}

/// Outputs along one dimension of a convolution or a pool.
std::int64_t windows(std::int64_t extent, std::int64_t filter, std::int64_t stride, std::int64_t dilation, bool same) {
  require(stride >= 1 && stride <= kMostStride, "has a stride that is no number from 1 to 65536");
  require(dilation >= 1 && dilation <= kMostStride, "has a dilation that is no number from 1 to 65536");
  require(filter >= 1 && filter <= (std::int64_t{1} << 24), "has a filter without a size");
  const std::int64_t reach = (filter - 1) * dilation + 1;
  const std::int64_t count = same ? (extent + stride - 1) / stride : (extent - reach + stride) / stride;
  require(count >= 1 && (same || reach <= extent), "has a filter that is larger than its input");
  require(reach <= (std::int64_t{1} << 24), "has a filter without a size");
  return count;
}

/// Output of windows over the rows and columns of input 0. Options: the padding in field 0, strides in 1 (columns) and 2,
/// dilations from field `dilations` on; 0: there are none.
void give_windows(LayoutCall& call, std::int64_t height, std::int64_t width, int dilations, std::int64_t channels) {
  const Shape& x = call.shape(0);
  const bool same = same_padding(call.option<std::int8_t>(0, 0));
  const auto option = [&](int field) { return call.option<std::int32_t>(field, 0); };
  const auto dilation = [&](int side) { return dilations > 0 ? call.option<std::int32_t>(dilations + side, 1) : 1; };
  const auto rows = windows(x[1], height, option(2), dilation(1), same);
  const auto columns = windows(x[2], width, option(1), dilation(0), same);
  call.give({x[0], rows, columns, channels});
}

/// What a filter of input 1 is checked for, whose channels lie along dimension `channel`.
void check_filter(const LayoutCall& call, std::size_t channel, int activation) {
  if (call.has(2)) require(call.shape(2) == Shape{call.shape(1)[channel]}, "has a bias that does not fit its filter");
  check_clamp(call.option<std::int8_t>(activation, 0));
  check_weights(call, 1, static_cast<int>(channel));
  check_whole_product(call);
}

}  // namespace

void fully_connected(LayoutCall& call) {
  const auto& x = *call.in[0];
  const auto& w = *call.in[1];
  require(w.shape.size() == 2, "expects a matrix of weights");
  const auto units = static_cast<std::uint64_t>(w.shape[0]);
  const auto inputs = static_cast<std::uint64_t>(w.shape[1]);
  require(call.option<std::int8_t>(1, 0) == 0, "has shuffled weights, which the runtime can't be trusted with");
  check_activation_function(call.option<std::int8_t>(0, 0));
  const std::uint64_t count = elements_of(x.shape);
  if (inputs == 0 || units == 0 || x.shape.empty() || count % inputs != 0)
    misfit("input 1: weights " + shape_text(w.shape) + " do not fit an input of " + shape_text(x.shape));
  if (call.has(2) && call.shape(2) != Shape{w.shape[0]})
    misfit("input 2: expected a bias of " + shape_text({w.shape[0]}) + ", got " + shape_text(call.shape(2)));
  check_weights(call, 1, 0);
  if (quantised(x.type)) check_clamp(call.option<std::int8_t>(0, 0));
  check_whole_product(call);
  if (call.option<bool>(2, false)) {
    require(x.shape.back() == w.shape[1], "keeps the dimensions of an input whose last one does not fit");
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
  require(x.shape.size() == 4 && w.shape.size() == 4, "expects 4 dimensions of input and filter");
  if (x.shape[3] != w.shape[3])
    misfit("input 1: a filter of " + shape_text(w.shape) + " does not fit an input of " + shape_text(x.shape));
  check_filter(call, 0, 3);
  give_windows(call, w.shape[1], w.shape[2], 4, w.shape[0]);
  const Shape& out = call.out[0].shape;
  const std::uint64_t filter = elements_of({w.shape[1], w.shape[2], w.shape[3]});
  const std::uint64_t outputs = elements_of({out[0], out[1], out[2]});
  call.work = times(times(outputs, filter), static_cast<std::uint64_t>(w.shape[0]));
  call.scratch_bytes = times(times(outputs, filter), 4) + times(elements_of(w.shape), 4);
}

void depthwise(LayoutCall& call) {
  const auto& x = *call.in[0];
  const auto& w = *call.in[1];
  require(x.shape.size() == 4 && w.shape.size() == 4, "expects 4 dimensions of input and filter");
  require(w.shape[0] == 1, "expects a filter whose first dimension is 1");
  const std::int64_t multiplier = call.option<std::int32_t>(3, 0);
  if (x.shape[3] < 1 || multiplier < 1 || multiplier > w.shape[3] || x.shape[3] * multiplier != w.shape[3])
    misfit("input 1: a filter of " + shape_text(w.shape) + " with a depth multiplier of " + std::to_string(multiplier) +
           " does not fit an input of " + shape_text(x.shape));
  check_filter(call, 3, 4);
  // The hybrid kernel takes a scale per channel only.
  if (x.type == kTypeFloat32 && w.type == kTypeInt8)
    require(static_cast<std::int64_t>(w.scales) == w.shape[3], "expects a scale for each channel of its filter");
  give_windows(call, w.shape[1], w.shape[2], 5, w.shape[3]);
  call.work = times(elements_of(call.out[0].shape), elements_of({w.shape[1], w.shape[2]}));
  call.scratch_bytes = times(elements_of(x.shape), 4);
}

void transposed_convolution(LayoutCall& call) {
  const auto& wanted = call.values(0);
  const auto& w = call.shape(1);
  const auto& x = call.shape(2);
  require(wanted.size() == 4 && w.size() == 4 && x.size() == 4, "expects 4 dimensions");
  require(x[3] == w[3] && wanted[3] == w[0] && wanted[0] == x[0], "has a filter that does not fit");
  if (call.has(3)) require(call.shape(3) == Shape{w[0]}, "has a bias that does not fit its filter");
  check_clamp(call.option<std::int8_t>(3, 0));
  const bool same = same_padding(call.option<std::int8_t>(0, 0));
  for (const std::size_t d : {1, 2}) {
    require(wanted[d] >= 1 && wanted[d] <= (1 << 24), "has an output that does not fit");
    const auto stride = call.option<std::int32_t>(d == 1 ? 2 : 1, 0);
    require(windows(wanted[d], w[d], stride, 1, same) == x[d], "has an output that does not fit");
  }
  call.give(wanted);
  const std::uint64_t columns = times(elements_of({x[0], x[1], x[2]}), elements_of({w[0], w[1], w[2]}));
  call.work = times(columns, static_cast<std::uint64_t>(w[3]));
  call.scratch_bytes = times(columns, 4) + times(elements_of(w), 4);
}

void pool(LayoutCall& call) {
  const auto& x = *call.in[0];
  require(x.shape.size() == 4, "expects 4 dimensions");
  check_clamp(call.option<std::int8_t>(5, 0));
  const auto height = call.option<std::int32_t>(4, 0);
  const auto width = call.option<std::int32_t>(3, 0);
  give_windows(call, height, width, 0, x.shape[3]);
  require(height <= 2 * x.shape[1] && width <= 2 * x.shape[2], "has a window larger than its input");
  if (quantised(x.type)) {
    check_activations(call);
    require(x.scale == call.out[0].scale, "pools quantised values into another scale");
  }
  call.work = times(elements_of(call.out[0].shape), elements_of({height, width}));
}

void resize(LayoutCall& call) {
  const auto& size = call.values(1);
  require(call.rank(0) == 4 && size.size() == 2, "expects 4 dimensions and a size of 2");
  require(size[0] >= 1 && size[1] >= 1 && size[0] <= (1 << 24) && size[1] <= (1 << 24),
          "has a size that is not above 0");
  call.give({call.shape(0)[0], size[0], size[1], call.shape(0)[3]});
  call.work = times(elements_of(call.out[0].shape), 4);
}

void batch_matmul(LayoutCall& call) {
  const auto& a = call.shape(0);
  const auto& b = call.shape(1);
  require(a.size() >= 2 && b.size() >= 2 && a.size() <= 4 && b.size() <= 4, "expects 2 to 4 dimensions");
  const bool turned_a = call.option<bool>(0, false);
  const bool turned_b = call.option<bool>(1, false);
  const auto rows = a[a.size() - (turned_a ? 1 : 2)];
  const auto depth = a[a.size() - (turned_a ? 2 : 1)];
  const auto columns = b[b.size() - (turned_b ? 2 : 1)];
  if (b[b.size() - (turned_b ? 1 : 2)] != depth) misfit("multiplies " + shape_text(a) + " with " + shape_text(b));
  check_weights(call, 1, -1);
  require(call.in[1]->type == kTypeFloat32 || call.in[1]->scales == 1, "expects one scale of its weights");
  Shape shape = broadcast_of({a.begin(), a.end() - 2}, {b.begin(), b.end() - 2});
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
  require(call.in.size() == 24 || call.in.size() == 20, "expects 20 or 24 inputs");
  if (!sequence) require(call.option<std::int8_t>(3, 0) == 0, "has a kernel type other than FULL, which is refused");
  if (sequence) require(!call.option<bool>(5, false), "has diagonal recurrent weights, which are refused");
  const std::size_t rank = sequence ? 3 : 2;
  const auto& x = call.shape(0);
  if (x.size() != rank) misfit("input 0: expected " + std::to_string(rank) + " dimensions, got " + shape_text(x));
  const bool time_major = sequence && call.option<bool>(3, false);
  const std::int64_t batch = sequence ? x[time_major ? 1 : 0] : x[0];
  const std::int64_t steps = sequence ? x[time_major ? 0 : 1] : 1;
  const std::int64_t features = x[rank - 1];
  require(call.rank(2) == 2 && call.rank(6) == 2, "expects matrices of weights");
  const std::int64_t units = call.shape(2)[0];
  const std::int64_t outputs = call.shape(6)[1];
  const auto expect = [&](std::size_t input, const Shape& shape, bool needed) {
    if (!call.has(input)) {
      if (needed) misfit("input " + std::to_string(input) + " is absent, where others of its kind are there");
      return;
    }
    if (call.shape(input) != shape)
      misfit("input " + std::to_string(input) + ": expected " + shape_text(shape) + ", got " +
             shape_text(call.shape(input)));
  };
  const bool coupled = !call.has(1);
  for (const std::size_t first : {1, 5, 12, 9, 20})
    if (first == 1 || first == 5 || first == 12)
      require(call.has(first) == !coupled, "has some inputs of an input gate and lacks others");
  for (std::size_t gate = 0; gate < 4; ++gate) {
    const bool needed = gate > 0 || !coupled;
    expect(1 + gate, {units, features}, needed);
    expect(5 + gate, {units, outputs}, needed);
    expect(12 + gate, {units}, needed);
    const bool normalised = call.has(21);
    require(call.has(20 + gate) == (normalised && needed), "has layer normalisation for some of its gates");
    expect(20 + gate, {units}, false);
  }
  const bool peepholes = call.has(10);
  require(call.has(11) == peepholes && call.has(9) == (peepholes && !coupled), "has peepholes for some of its gates");
  for (const std::size_t input : {9, 10, 11}) expect(input, {units}, false);
  expect(16, {outputs, units}, outputs != units);
  require(call.has(16) || !call.has(17), "has a projection's bias without a projection");
  expect(17, {outputs}, false);
  // The runtime multiplies these sizes without a look at overflow, or at what stands in the file.
  expect(18, {batch, outputs}, true);
  expect(19, {batch, units}, true);
  check_activation_function(call.option<std::int8_t>(0, 0));
  for (const int clip : {1, 2})
    require(std::isfinite(call.option<float>(clip, 0.0f)) && call.option<float>(clip, 0.0f) >= 0.0f,
            "has a limit that is no number of at least 0");
  const int weights = call.in[2]->type;
  for (const std::size_t input : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16})
    if (call.has(input) && call.in[input]->type != kTypeFloat32) {
      check_weights(call, input, -1);
      require(call.in[input]->scales == 1, "has weights with several scales");
    }
  if (call.in[0]->type == kTypeInt8) {
    require(sequence && !coupled, "has a quantised input in a form that is refused");
    check_activation(*call.in[0], "input 0");
    check_activation(*call.in[18], "input 18");
    check_activation(*call.in[19], "input 19");
    check_activation(call.out[0], "output 0");
    require(call.in[18]->scale == call.out[0].scale, "has an output state of another scale than its output");
    const double exponent = std::log2(static_cast<double>(call.in[19]->scale));
    require(std::fabs(exponent - std::round(exponent)) < 1e-3 && exponent <= -9 && exponent >= -15,
            "has a cell state whose scale is no power of two from 2^-15 to 2^-9, which the runtime leaves out");
    require(call.intermediates.size() == 5, "expects 5 intermediate tensors");
    for (const auto* facts : call.intermediates)
      require(facts && facts->type != kTypeFloat32 ? facts->scales == 1 && facts->scale > 0 : facts != nullptr,
              "has an intermediate tensor without a scale");
    require(call.intermediates[4] && call.intermediates[4]->scales == 1 && call.intermediates[4]->scale > 0,
            "has an intermediate tensor without a scale");
    for (const std::size_t input : {1, 2, 3, 4, 5, 6, 7, 8}) {
      const double scale =
          static_cast<double>(call.in[input]->scale) * static_cast<double>(call.in[input < 5 ? 0 : 18]->scale) * 4096;
      require(scale > 1e-9 && scale < 1e6, "has weights with a scale that does not fit");
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
  require(x.size() == rank && call.rank(1) == 2, "expects (batch, steps, features) and a matrix of weights");
  const bool time_major = sequence && call.option<bool>(0, false);
  const std::int64_t batch = sequence ? x[time_major ? 1 : 0] : x[0];
  const std::int64_t units = call.shape(1)[0];
  require(call.shape(1) == Shape({units, x[rank - 1]}) && call.shape(2) == Shape({units, units}) &&
              call.shape(3) == Shape{units} && call.shape(4) == Shape({batch, units}),
          "has weights or a state that do not fit");
  for (const std::size_t input : {1, 2}) {
    check_weights(call, input, -1);
    require(call.in[input]->type == kTypeFloat32 || call.in[input]->scales == 1, "has weights with several scales");
  }
  check_activation_function(call.option<std::int8_t>(sequence ? 1 : 0, 0));
  Shape shape = x;
  shape[rank - 1] = units;
  call.give(std::move(shape));
  call.work = times(elements_of(x) + elements_of(call.out[0].shape), static_cast<std::uint64_t>(units));
  call.scratch_bytes =
      times(elements_of({batch, x[rank - 1] + units}), 8) + times(static_cast<std::uint64_t>(units), 8);
}

}  // namespace linkcast::tflite::layout
