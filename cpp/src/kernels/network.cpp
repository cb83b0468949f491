#include "network.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>

#include "network_impl.h"
#include "tail.h"

namespace linkcast {
namespace {

using kernels::Kernels;
using kernels::Layer;
using kernels::LayerKind;
using kernels::Operand;
using kernels::Release;
using kernels::Rows;
using kernels::Workspace;

/// Windows that pass through the network together. Their activations stay in the second-level cache beside the weights.
constexpr std::size_t largest_part = 48;

}  // namespace

Network::Network(const NetworkSpec& spec, Isa isa, Precision precision) {
  require_supported(isa);
  const auto& chosen = kernels::select_kernels(isa, precision);
  impl_ = std::make_unique<Impl>(spec, chosen);
  impl_->reserve(1);
}

Network::Network(const NetworkSpec& spec, const Kernels& table) : impl_(std::make_unique<Impl>(spec, table)) {
  impl_->reserve(1);
}

Network::Impl::~Impl() = default;
Network::~Network() = default;
Network::Network(Network&&) noexcept = default;
Network& Network::operator=(Network&&) noexcept = default;

Isa Network::isa() const { return impl_->kernels->isa; }
const Kernels& Network::table() const { return *impl_->kernels; }
std::size_t Network::steps() const { return impl_->steps; }
std::size_t Network::features() const { return impl_->features; }
std::size_t Network::output_steps() const { return impl_->output_steps; }
std::size_t Network::outputs() const { return impl_->outputs; }
std::size_t Network::weight_bytes() const { return impl_->weights.size(); }
std::size_t Network::bytes_read() const {
  const std::size_t element = impl_->kernels->format == kernels::WeightFormat::float32    ? 4
                              : impl_->kernels->format == kernels::WeightFormat::bfloat16 ? 2
                                                                                          : 1;
  const auto bytes_of = [&](const kernels::Matrix& matrix) {
    if (matrix.weights == nullptr) return std::size_t{0};
    return matrix.vectors * impl_->kernels->lanes * round_up(matrix.depth, impl_->kernels->group) * element;
  };
  std::size_t bytes = 0;
  for (const Layer& layer : impl_->layers)
    bytes += bytes_of(layer.dense.matrix) +
             (bytes_of(layer.recurrent) + bytes_of(layer.hidden.matrix) + bytes_of(layer.candidate.matrix)) *
                 (layer.steps - 1);
  return bytes;
}

std::size_t Network::multiply_adds() const { return impl_->multiply_adds; }
bool Network::has_tail() const {
  // A tail has a number of steps, and a mask leaves some out.
  return !impl_->mask_value && kernels::Tail::first_of(impl_->layers) < impl_->layers.size();
}
void Network::share_tail(std::shared_ptr<Helper> helper, Patience patience) {
  impl_->tail.reset();
  if (helper)
    impl_->tail = std::make_unique<kernels::Tail>(impl_->layers, *impl_->kernels, std::move(helper), patience);
}
HelpCounts Network::help_counts() const { return impl_->tail ? impl_->tail->counts() : HelpCounts(); }
bool Network::can_step() const { return impl_->can_step; }
std::size_t Network::state_size() const { return impl_->state_size; }
const std::vector<StatePart>& Network::state_parts() const { return impl_->state_parts; }

std::string Network::shape() const {
  std::string text = std::to_string(impl_->steps) + 'x' + std::to_string(impl_->features);
  for (const Layer& layer : impl_->layers)
    text += ' ' + std::to_string(static_cast<int>(layer.kind)) + ':' + std::to_string(layer.steps) + 'x' +
            std::to_string(layer.inputs) + '-' + std::to_string(layer.width) + '/' +
            std::to_string(static_cast<int>(layer.cell)) + ',' + std::to_string(static_cast<int>(layer.activation)) +
            ',' + std::to_string(static_cast<int>(layer.gate_activation));
  return text;
}

void Network::reserve(std::size_t batch) { impl_->reserve(std::clamp<std::size_t>(batch, 1, largest_part)); }

bool Network::run(const float* input, std::size_t batch, float* output, Deadline deadline) noexcept {
  Impl& impl = *impl_;
  const Release release{*impl.kernels};
  impl.deadline = deadline;
  impl.given_up = false;
  impl.second_first = !impl.second_first;
  const std::size_t input_size = impl.steps * impl.features;
  const std::size_t output_size = impl.output_steps * impl.outputs;
  while (batch > 0) {
    // Parts as even as they come: a last part of a few rows would run on kernels that reuse the weights less.
    const std::size_t parts = (batch + impl.work.batch - 1) / impl.work.batch;
    const std::size_t rows = (batch + parts - 1) / parts;
    impl.run_part(input, rows, output);
    if (impl.given_up) return false;
    input += rows * input_size;
    output += rows * output_size;
    batch -= rows;
  }
  return true;
}

void Network::step(const float* samples, std::size_t sample_stride, std::size_t batch, float* states,
                   float* output) noexcept {
  Impl& impl = *impl_;
  const Release release{*impl.kernels};
  impl.deadline = {};  // a run's, which may have been given up
  impl.given_up = false;
  while (batch > 0) {
    const std::size_t rows = std::min(batch, impl.work.batch);
    impl.step_part(samples, sample_stride, rows, states, output);
    samples += rows * sample_stride;
    states += rows * impl.state_size;
    if (output != nullptr) output += rows * impl.outputs;
    batch -= rows;
  }
}

void Network::Impl::reserve(std::size_t batch) {
  if (batch <= work.batch) return;
  std::size_t widest = steps * round_up(features, kernels->lanes);  // floats of one window's rows
  std::size_t gates = 0;
  std::size_t cell = 0;
  std::size_t encoded = 0;
  std::size_t hidden = 0;
  std::size_t products = 0;
  std::size_t step_gates = 0;
  std::size_t most_steps = steps;
  for (const Layer& layer : layers) {
    widest = std::max({widest, layer.out_steps * layer.padded, layer.steps * round_up(layer.inputs, kernels->lanes)});
    most_steps = std::max(most_steps, layer.steps);
    const bool recurrent = layer.kind == LayerKind::lstm || layer.kind == LayerKind::recurrence;
    if (recurrent) {
      gates = std::max(gates, layer.steps * layer.gates);
      cell = std::max(cell, layer.padded);
    }
    if (layer.kind == LayerKind::recurrence) {
      products = std::max(products, layer.products);
      step_gates = std::max(step_gates, layer.gates);
    }
    if (!kernels->encoded) continue;
    if (recurrent || layer.kind == LayerKind::dense) {
      encoded = std::max(encoded, layer.steps * round_up(kernels->encoded_bytes(layer.inputs), alignment));
    }
    if (recurrent) {
      hidden = std::max(hidden, round_up(kernels->encoded_bytes(layer.padded), alignment));
    }
  }
  std::size_t size = 0;
  const auto place = [&size](std::size_t bytes) {
    const std::size_t at = size;
    size += round_up(bytes, alignment);
    return at;
  };
  const std::size_t at_once = std::min(batch, kernels->projection_rows);
  const std::size_t rows0 = place(widest * batch * sizeof(float));
  const std::size_t rows1 = place(widest * batch * sizeof(float));
  const std::size_t unmasked_at = place(mask_value ? steps * features * sizeof(float) : 0);
  const std::size_t taken_at = place(mask_value ? steps * sizeof(std::uint32_t) : 0);
  const std::size_t gates_at = place(std::max(gates * at_once, step_gates * batch) * sizeof(float));
  const std::size_t cell_at = place(cell * batch * sizeof(float));
  const std::size_t products_at = place(products * batch * sizeof(float));
  const std::size_t state_scale = place(batch * sizeof(float));
  const std::size_t encoded_at = place(encoded * batch);
  const std::size_t scale_at = place(most_steps * batch * sizeof(float));
  const std::size_t hidden0 = place(hidden * most_steps * batch);
  const std::size_t hidden1 = place(hidden * most_steps * batch);
  const std::size_t state = place(hidden * batch);

  Workspace next;
  next.memory = AlignedBuffer(size);
  next.batch = batch;
  std::byte* base = next.memory.data();
  const auto floats = [base](std::size_t at) { return reinterpret_cast<float*>(base + at); };
  next.rows[0] = floats(rows0);
  next.rows[1] = floats(rows1);
  next.unmasked = floats(unmasked_at);
  next.taken = reinterpret_cast<std::uint32_t*>(base + taken_at);
  next.gates = floats(gates_at);
  next.cell = floats(cell_at);
  next.products = floats(products_at);
  next.state_scale = floats(state_scale);
  next.encoded = base + encoded_at;
  next.encoded_scale = floats(scale_at);
  next.hidden[0] = base + hidden0;
  next.hidden[1] = base + hidden1;
  next.state = base + state;
  work = std::move(next);
}

/// Copies the steps of a window that its mask leaves in; returns how many those are.
std::size_t Network::Impl::take_unmasked(const float* window) {
  std::size_t kept = 0;
  for (std::size_t t = 0; t < steps; ++t) {
    const float* step = window + t * features;
    if (!std::all_of(step, step + features, [&](float value) { return value == *mask_value; }))
      std::copy_n(step, features, work.unmasked + kept++ * features);
    work.taken[t] = static_cast<std::uint32_t>(kept);
  }
  return kept;
}

/// One window of the `kept` steps that were taken.
void Network::Impl::run_masked(const float* window, std::size_t kept, float* output) {
  if (kept == steps) return finish({window, features, steps, features}, 0, 1, output);
  if (kept > 0) return finish({work.unmasked, features, kept, features}, 0, 1, output);
  // No step was taken: the last one, or each, has the states at the start.
  const auto ends_mask = [](const Layer& layer) {
    return layer.kind == LayerKind::last_step || layer.kind == LayerKind::unmask ||
           (layer.kind == LayerKind::bidirectional && !layer.sequence);
  };
  const auto i = static_cast<std::size_t>(std::find_if(layers.begin(), layers.end(), ends_mask) - layers.begin());
  const Layer& layer = layers[i];
  if (layer.kind == LayerKind::unmask) {
    std::fill_n(work.rows[0], steps * layer.padded, 0.0f);
    return finish({work.rows[0], layer.padded, steps, layer.width}, i + 1, 1, output);
  }
  std::fill_n(work.rows[0], layer.padded, 0.0f);
  finish({work.rows[0], layer.padded, 1, layer.width}, i + (layer.kind == LayerKind::bidirectional ? 3 : 1), 1, output);
}

/// Windows one by one, if a step of any is masked. @return whether one was, and they have run
bool Network::Impl::run_with_gaps(const float* input, std::size_t batch, float* output) {
  bool whole = true;
  for (std::size_t b = 0; whole && b < batch; ++b) whole = take_unmasked(input + b * steps * features) == steps;
  for (std::size_t b = 0; !whole && b < batch && !given_up; ++b) {
    const float* window = input + b * steps * features;
    run_masked(window, take_unmasked(window), output + b * output_steps * outputs);
  }
  return !whole;
}

void Network::Impl::run_part(const float* input, std::size_t batch, float* output) {
  if (mask_value && run_with_gaps(input, batch, output)) [[unlikely]]
    return;
  finish(gather_input(input, batch), 0, batch, output);
}

/// Runs the layer, or on two cores those of the tail that begins with it. @return how many have run
std::size_t Network::Impl::run_next(std::size_t i, Rows& now, std::size_t batch) {
  if (tail && batch == 1 && i == tail->first()) return run_tail(layers[i], now);
  now = run_layer(layers[i], now, batch);
  return 1;
}

/// Runs the layers from `first_layer` on, and writes the result to `output` (batch, steps, width).
void Network::Impl::finish(const Rows& rows, std::size_t first_layer, std::size_t batch, float* output) {
  Rows now = rows;
  for (std::size_t i = first_layer; i < layers.size(); ++i) {
    const Layer& layer = layers[i];
    const bool direct = i + 1 == layers.size() && (now.steps == 1 || batch == 1);
    if (layer.kind == LayerKind::dense) {  // a decision is nothing else
      if (direct) {
        run_dense(layer, now, batch, output, layer.width, layer.width);
        return;
      }
      now = run_dense(layer, now, batch, other(now.data), layer.padded, layer.padded);
      continue;
    }
    if (direct && (layer.kind == LayerKind::softmax || layer.kind == LayerKind::normalise)) {
      run_by_row(layer, now, batch, output, layer.width);
      return;
    }
    i += run_next(i, now, batch) - 1;
    if (given_up) return;
    if (layer.kind == LayerKind::bidirectional) i += 2;  // its two recurrences have run
  }
  for (std::size_t t = 0; t < now.steps; ++t) {
    for (std::size_t b = 0; b < batch; ++b) {
      std::memcpy(output + (b * now.steps + t) * now.width, now.data + (t * batch + b) * now.stride,
                  now.width * sizeof(float));
    }
  }
}

Rows Network::Impl::gather_input(const float* input, std::size_t batch) {
  if (steps == 1 || batch == 1) return {input, features, steps, features};
  float* rows = work.rows[0];
  for (std::size_t t = 0; t < steps; ++t) {
    for (std::size_t b = 0; b < batch; ++b) {
      const float* from = input + (b * steps + t) * features;
      float* to = rows + (t * batch + b) * features;
      for (std::size_t f = 0; f < features; ++f) to[f] = from[f];
    }
  }
  return {rows, features, steps, features};
}

Operand Network::Impl::operand(const Rows& rows, std::size_t count, std::size_t depth) {
  if (!kernels->encoded) return {rows.data, rows.stride * sizeof(float), nullptr};
  const std::size_t bytes = round_up(kernels->encoded_bytes(depth), alignment);
  kernels->encode(rows.data, rows.stride, count, depth, work.encoded, bytes, work.encoded_scale);
  return {work.encoded, bytes, work.encoded_scale};
}

/// An LSTM's input. What another one wrote is encoded already.
Operand Network::Impl::lstm_input(const Layer& layer, const Rows& in, std::size_t rows) {
  return in.encoded.data != nullptr ? in.encoded : operand(in, rows, layer.inputs);
}

Operand Network::Impl::part(const Operand& whole, std::size_t row) const {
  return {static_cast<const std::byte*>(whole.data) + row * whole.stride, whole.stride,
          whole.scale == nullptr ? nullptr : whole.scale + row};
}

Rows Network::Impl::run_layer(const Layer& layer, const Rows& in, std::size_t batch) {
  switch (layer.kind) {
    case LayerKind::lstm:
    case LayerKind::recurrence:
      return run_recurrent(layer, in, batch, {other(in.data), layer.padded});
    case LayerKind::dense:
      return run_dense(layer, in, batch, other(in.data), layer.padded, layer.padded);
    case LayerKind::affine:
      return run_affine(layer, in, batch);
    case LayerKind::last_step:
      return {in.data + (in.steps - 1) * batch * in.stride, in.stride, 1, in.width};
    case LayerKind::flatten:
      return run_flatten(layer, in, batch);
    case LayerKind::reverse:
      return run_reverse(layer, in, batch);
    case LayerKind::bidirectional:
      return run_bidirectional(layer, in, batch);
    case LayerKind::softmax:
    case LayerKind::normalise:
      return run_by_row(layer, in, batch, other(in.data), layer.padded);
    case LayerKind::repeat:
      return run_repeat(layer, in, batch);
    case LayerKind::unmask:
      return run_unmask(layer, in, batch);
  }
  return in;
}

[[gnu::noinline]] void Network::Impl::dense_by_rows(const Layer& layer, const Rows& in, std::size_t rows, float* y,
                                                    std::size_t y_stride, std::size_t outputs_written) {
  const Operand x = operand(in, rows, layer.inputs);
  for (std::size_t row = 0; row < rows; ++row)
    kernels->dense(layer.dense, part(x, row), 1, y + row * y_stride, y_stride, outputs_written, second_first);
}

Rows Network::Impl::run_dense(const Layer& layer, const Rows& in, std::size_t batch, float* y, std::size_t y_stride,
                              std::size_t outputs_written) {
  const std::size_t rows = in.steps * batch;
  if (row_by_row && rows > 1 && !kernels->rows_apart) [[unlikely]]
    dense_by_rows(layer, in, rows, y, y_stride, outputs_written);
  else
    kernels->dense(layer.dense, operand(in, rows, layer.inputs), rows, y, y_stride, outputs_written, second_first);
  return {y, y_stride, in.steps, layer.width};
}

Rows Network::Impl::run_affine(const Layer& layer, const Rows& in, std::size_t batch) {
  float* out = other(in.data);
  for (std::size_t row = 0; row < in.steps * batch; ++row) {
    std::memcpy(out + row * layer.padded, in.data + row * in.stride, layer.width * sizeof(float));
  }
  kernels->affine(out, layer.padded, in.steps * batch, layer.padded, layer.scale, layer.offset, layer.activation);
  return {out, layer.padded, in.steps, layer.width};
}

Rows Network::Impl::run_flatten(const Layer& layer, const Rows& in, std::size_t batch) {
  float* out = other(in.data);
  for (std::size_t b = 0; b < batch; ++b) {
    for (std::size_t t = 0; t < in.steps; ++t) {
      std::memcpy(out + b * layer.padded + t * in.width, in.data + (t * batch + b) * in.stride,
                  in.width * sizeof(float));
    }
  }
  return {out, layer.padded, 1, layer.width};
}

Rows Network::Impl::run_by_row(const Layer& layer, const Rows& in, std::size_t batch, float* y, std::size_t y_stride) {
  const auto kernel = layer.kind == LayerKind::softmax ? kernels->softmax : kernels->normalise;
  kernel(in.data, in.stride, in.steps * batch, layer.width, layer.parameter, y, y_stride);
  return {y, y_stride, in.steps, layer.width};
}

/// Windows with gaps come one by one.
Rows Network::Impl::run_unmask(const Layer& layer, const Rows& in, std::size_t batch) {
  if (batch > 1 || in.steps == steps) return in;
  float* out = other(in.data);
  std::uint32_t before = 0;  // steps taken
  for (std::size_t t = 0; t < steps; ++t) {
    const std::uint32_t taken = work.taken[t];
    float* to = out + t * layer.padded;
    if (taken == 0 || (layer.zeros && taken == before))
      std::fill_n(to, layer.width, 0.0f);
    else
      std::memcpy(to, in.data + (taken - 1) * in.stride, layer.width * sizeof(float));
    before = taken;
  }
  return {out, layer.padded, steps, layer.width};
}

Rows Network::Impl::run_repeat(const Layer& layer, const Rows& in, std::size_t batch) {
  float* out = other(in.data);
  for (std::size_t row = 0; row < layer.out_steps * batch; ++row) {
    std::memcpy(out + row * layer.padded, in.data + row % batch * in.stride, layer.width * sizeof(float));
  }
  return {out, layer.padded, layer.out_steps, layer.width};
}

void Network::Impl::step_part(const float* samples, std::size_t sample_stride, std::size_t batch, float* states,
                              float* output) {
  Rows now{samples, sample_stride, 1, features};
  row_by_row = true;
  std::size_t i = 0;
  for (; i < layers.size() && layers[i].kind != LayerKind::last_step; ++i) {
    const LayerKind kind = layers[i].kind;
    now = kind == LayerKind::lstm         ? step_lstm(layers[i], now, batch, states)
          : kind == LayerKind::recurrence ? step_recurrence(layers[i], now, batch, states)
                                          : run_layer(layers[i], now, batch);
  }
  if (output != nullptr) finish(now, i + 1, batch, output);
  row_by_row = false;
}

}  // namespace linkcast
