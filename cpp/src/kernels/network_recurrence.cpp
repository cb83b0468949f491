// The layers of a network that have a state: over whole sequences, and one step of the caller's state.
#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "base/finite.h"
#include "network_impl.h"
#include "tail.h"

namespace linkcast {
namespace {

using kernels::Course;
using kernels::Layer;
using kernels::LayerKind;
using kernels::LstmArgs;
using kernels::Operand;
using kernels::RecurrenceArgs;
using kernels::Rows;

}  // namespace

const float* kernels::scales_of_states(const Kernels& kernels, const float* states, std::size_t stride,
                                       std::size_t rows, std::size_t units, float* scales) noexcept {
  if (kernels.state_scale == 0.0f) return nullptr;
  bool any = false;
  for (std::size_t row = 0; row < rows; ++row) {
    const bool nan = any_nan(states + row * stride, units);
    scales[row] = nan ? std::numeric_limits<float>::quiet_NaN() : kernels.state_scale;
    any = any || nan;
  }
  return any ? scales : nullptr;
}

Rows Network::Impl::run_recurrent(const Layer& layer, const Rows& in, std::size_t batch, const Course& course) {
  return layer.kind == LayerKind::lstm ? run_lstm(layer, in, batch, course) : run_recurrence(layer, in, batch, course);
}

/// The input's products of the steps that follow the `step`th, as many as are taken at once, into the workspace's gates.
void Network::Impl::project(const Layer& layer, const Operand& x, std::size_t step, const Rows& in, std::size_t batch,
                            const Course& course) {
  const std::size_t steps = std::min(steps_at_once(in.steps), in.steps - step);
  const std::size_t first = course.backwards ? in.steps - step - steps : step;
  kernels->dense(layer.dense, part(x, first * batch), steps * batch, work.gates + first * batch * layer.gates,
                 layer.gates, layer.gates, false);
}

Rows Network::Impl::run_lstm(const Layer& layer, const Rows& in, std::size_t batch, const Course& course) {
  const Operand x = lstm_input(layer, in, in.steps * batch);
  LstmArgs args;
  args.rows = batch;
  args.recurrent = layer.recurrent;
  args.cell_limit = layer.cell_limit;
  args.input = layer.dense.matrix;
  args.c = work.cell;
  args.c_stride = layer.padded;
  args.h_out_stride = course.stride;
  const bool at_once = projects_at_once(batch);
  const std::size_t steps_projected = steps_at_once(in.steps);
  std::byte* const encoded = kernels->encoded ? encoded_states(in) : nullptr;
  args.h_encoded_stride = kernels->encoded ? round_up(kernels->encoded_bytes(layer.padded), alignment) : 0;
  for (std::size_t t = 0; t < in.steps; ++t) {
    if (deadline.passed()) {
      given_up = true;
      break;
    }
    const std::size_t step = course.backwards ? in.steps - 1 - t : t;
    if (at_once) {
      if (t % steps_projected == 0) project(layer, x, t, in, batch, course);
      args.gates = work.gates + step * batch * layer.gates;
      args.gates_stride = layer.gates;
    } else {
      args.gates = layer.dense.bias;
      args.x = part(x, step * batch);
    }
    const std::size_t row = (course.by_step ? step : t) * batch;
    args.h_out = course.out + row * course.stride;
    if (encoded != nullptr) args.h_encoded = encoded + row * args.h_encoded_stride;
    args.reverse = t % 2 == 0;
    kernels->lstm_step(args);
    if (feeding) tail->feed(t, args.h_out);
    args.h = encoded != nullptr ? Operand{args.h_encoded, args.h_encoded_stride, nullptr}
                                : Operand{args.h_out, course.stride * sizeof(float), nullptr};
  }
  Rows rows{course.out, course.stride, in.steps, layer.width};
  if (encoded == nullptr || given_up) return rows;
  rows.encoded = {encoded, args.h_encoded_stride, nullptr};
  // A state that is NaN stays so to the last step.
  if (scales_of_states(*kernels, args.h_out, course.stride, batch, layer.width, work.encoded_scale) != nullptr)
    rows.encoded.scale =
        scales_of_states(*kernels, course.out, course.stride, in.steps * batch, layer.width, work.encoded_scale);
  return rows;
}

/// Runs the LSTM that has others behind it, and those on the helper. Puts the rows of what has run last in place of `rows`.
/// @return how many layers have run: the first one alone when there is no helper, or it is late
std::size_t Network::Impl::run_tail(const Layer& layer, Rows& rows) {
  feeding = tail->begin();
  rows = run_lstm(layer, rows, 1, {other(rows.data), layer.padded});
  if (!std::exchange(feeding, false)) return 1;
  if (given_up) {
    tail->give_up();
    return 1;
  }
  if (!tail->end(deadline)) {
    given_up = deadline.passed();
    return 1;
  }
  rows = tail->rows();
  return tail->last() - tail->first() + 1;
}

RecurrenceArgs Network::Impl::recurrence_args(const Layer& layer, std::size_t batch) const {
  RecurrenceArgs args;
  args.cell = layer.cell;
  args.activation = layer.activation;
  args.gate_activation = layer.gate_activation;
  args.rows = batch;
  args.padded = layer.padded;
  args.input = layer.dense;
  args.gates = work.gates;
  args.gates_stride = layer.gates;
  args.recurrent = layer.hidden;
  args.candidate = layer.candidate;
  args.c = work.cell;
  args.c_stride = layer.padded;
  args.cell_limit = layer.cell_limit;
  args.products = work.products;
  args.products_stride = layer.products;
  args.encoded = work.state;
  args.encoded_stride = kernels->encoded ? round_up(kernels->encoded_bytes(layer.padded), alignment) : 0;
  args.encoded_scale = work.state_scale;
  return args;
}

Rows Network::Impl::run_recurrence(const Layer& layer, const Rows& in, std::size_t batch, const Course& course) {
  const Operand x = operand(in, in.steps * batch, layer.inputs);
  RecurrenceArgs args = recurrence_args(layer, batch);
  args.h_out_stride = course.stride;
  args.h_stride = course.stride;
  const bool at_once = projects_at_once(batch);
  const std::size_t steps_projected = steps_at_once(in.steps);
  for (std::size_t t = 0; t < in.steps; ++t) {
    if (deadline.passed()) {
      given_up = true;
      break;
    }
    const std::size_t step = course.backwards ? in.steps - 1 - t : t;
    if (at_once) {
      if (t % steps_projected == 0) project(layer, x, t, in, batch, course);
      args.gates = work.gates + step * batch * layer.gates;
    } else {
      args.x = part(x, step * batch);
    }
    args.h_out = course.out + (course.by_step ? step : t) * batch * course.stride;
    args.reverse = t % 2 == 1;
    kernels->recurrence_step(args);
    args.h = args.h_out;
  }
  return {course.out, course.stride, in.steps, layer.width};
}

Rows Network::Impl::run_bidirectional(const Layer& layer, const Rows& states, std::size_t batch) {
  const Layer& forward = (&layer)[1];
  const Layer& backward = (&layer)[2];
  // Encoded anew: what a helper hands back (run_tail) is not encoded, and it must be no matter who ran the LSTM before.
  const Rows in{states.data, states.stride, states.steps, states.width};
  float* out = other(in.data);
  // The first one's padding is overwritten by the second.
  run_recurrent(forward, in, batch, {out, layer.padded, false, layer.sequence});
  if (given_up) return in;
  run_recurrent(backward, in, batch, {out + forward.width, layer.padded, true, layer.sequence});
  const std::size_t first = layer.sequence ? 0 : (in.steps - 1) * batch;
  const std::size_t rows = in.steps * batch - first;
  out += first * layer.padded;
  if (layer.merge != BidirectionalSpec::Merge::concatenate) {
    const bool sum = layer.merge == BidirectionalSpec::Merge::sum;
    for (std::size_t row = 0; row < rows; ++row) {
      float* y = out + row * layer.padded;
      const float* second = y + layer.width;
      for (std::size_t i = 0; i < layer.width; ++i) y[i] = sum ? y[i] + second[i] : y[i] * second[i];
    }
  }
  return {out, layer.padded, layer.sequence ? in.steps : 1, layer.width};
}

Rows Network::Impl::run_reverse(const Layer& layer, const Rows& in, std::size_t batch) {
  float* out = other(in.data);
  for (std::size_t t = 0; t < in.steps; ++t) {
    for (std::size_t b = 0; b < batch; ++b) {
      std::memcpy(out + ((in.steps - 1 - t) * batch + b) * layer.padded, in.data + (t * batch + b) * in.stride,
                  in.width * sizeof(float));
    }
  }
  return {out, layer.padded, in.steps, in.width};
}

Rows Network::Impl::step_lstm(const Layer& layer, const Rows& in, std::size_t batch, float* states) {
  float* h = states + layer.state;
  const std::size_t half = round_up(layer.padded, alignment / sizeof(float));
  LstmArgs args;
  args.rows = batch;
  args.recurrent = layer.recurrent;
  args.cell_limit = layer.cell_limit;
  args.input = layer.dense.matrix;
  args.x = lstm_input(layer, in, batch);
  args.gates = layer.dense.bias;
  args.as_one_of_many = true;
  args.c = h + half;
  args.c_stride = state_size;
  args.h_out = other(in.data);
  args.h_out_stride = layer.padded;
  args.h_encoded = kernels->encoded ? encoded_states(in) : nullptr;
  args.h_encoded_stride = kernels->encoded ? round_up(kernels->encoded_bytes(layer.padded), alignment) : 0;
  args.h = {h, state_size * sizeof(float), nullptr};
  if (kernels->encoded) {
    // The scale of a hidden state is fixed (it lies in -1..1), so the encoder's own is not used. To keep the encoded row in
    // the state would save 1 % of a step in int8, and a state of zeros would not be the start any more.
    kernels->encode(h, state_size, batch, layer.width, work.state, args.h_encoded_stride, nullptr);
    args.h = {work.state, args.h_encoded_stride, nullptr};
  }
  kernels->lstm_step(args);
  for (std::size_t b = 0; b < batch; ++b) {
    std::memcpy(h + b * state_size, args.h_out + b * layer.padded, layer.padded * sizeof(float));
  }
  Rows rows{args.h_out, layer.padded, 1, layer.width};
  if (kernels->encoded)
    rows.encoded = {args.h_encoded, args.h_encoded_stride,
                    scales_of_states(*kernels, args.h_out, layer.padded, batch, layer.width, work.encoded_scale)};
  return rows;
}

Rows Network::Impl::step_recurrence(const Layer& layer, const Rows& in, std::size_t batch, float* states) {
  float* h = states + layer.state;
  RecurrenceArgs args = recurrence_args(layer, batch);
  args.x = operand(in, batch, layer.inputs);
  args.h = h;
  args.h_stride = state_size;
  args.c = h + round_up(layer.padded, alignment / sizeof(float));
  args.c_stride = state_size;
  args.h_out = other(in.data);
  args.h_out_stride = layer.padded;
  kernels->recurrence_step(args);
  for (std::size_t b = 0; b < batch; ++b) {
    std::memcpy(h + b * state_size, args.h_out + b * layer.padded, layer.padded * sizeof(float));
  }
  return {args.h_out, layer.padded, 1, layer.width};
}

}  // namespace linkcast
