#include "packed_network.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>

#include "pack.h"

namespace linkcast::kernels {
namespace {

/// Bytes of weights from which huge pages pay.
constexpr std::size_t worth_huge_pages = std::size_t{1} << 15;

constexpr double log2_e = 1.44269504088896340736;

/// What a layer's pointers will be once the bytes have stopped moving.
struct PackedLayer {
  Layer layer;
  PackedMatrix matrix, recurrent, candidate;
  std::size_t bias = 0, scale = 0, offset = 0, recurrent_bias = 0;
};

void require(bool condition, std::size_t layer, const char* what) {
  if (!condition) throw std::invalid_argument("network layer " + std::to_string(layer) + ": " + what);
}

template <class Out, class In>
std::vector<Out> convert(const std::vector<In>& values) {
  return std::vector<Out>(values.begin(), values.end());
}

/// Turns the spec's layers into ours: affine layers become part of the linear layer behind them where there is one.
class Builder {
 public:
  Builder(const NetworkSpec& spec, const Kernels& kernels)
      : kernels_(kernels), packer_(kernels), steps_(spec.sequence_input ? spec.steps : 1), width_(spec.features) {
    if (steps_ == 0 || width_ == 0) throw std::invalid_argument("network: steps and features must be positive");
    for (const LayerSpec& layer : spec.layers) {
      std::visit([this](const auto& typed) { add(typed); }, layer);
      ++index_;
    }
    flush(Activation::none);
  }

  const Packer& packer() const { return packer_; }
  const std::vector<PackedLayer>& layers() const { return layers_; }
  std::size_t steps() const { return steps_; }
  std::size_t width() const { return width_; }
  std::size_t multiply_adds() const { return multiply_adds_; }

 private:
  void add(const LstmSpec& spec) {
    const std::size_t units = spec.units;
    require(units > 0 && spec.inputs == width_, index_, "an LSTM whose inputs do not match");
    require(spec.input_weights.size() == 4 * units * width_ && spec.recurrent_weights.size() == 4 * units * units &&
                spec.bias.size() == 4 * units,
            index_, "an LSTM whose weights do not match its units");
    LinearMap input{4 * units, width_, convert<double>(spec.input_weights), convert<double>(spec.bias)};
    LinearMap recurrent{4 * units, units, convert<double>(spec.recurrent_weights), {}};
    fold_into(input);
    if (spec.activation != Activation::tanh || spec.gate_activation != Activation::sigmoid)
      return add_any_lstm(spec, input, recurrent);
    // The factors of sigmoid and tanh as powers of two go into the weights (see kernels/activation.h).
    for (std::size_t n = 0; n < 4 * units; ++n) {
      const double factor = n / units == 2 ? -2.0 * log2_e : -log2_e;
      for (std::size_t k = 0; k < width_; ++k) input.weights[n * width_ + k] *= factor;
      for (std::size_t k = 0; k < units; ++k) recurrent.weights[n * units + k] *= factor;
      input.bias[n] *= factor;
    }
    const std::size_t vectors = 4 * blocks_of(units);
    PackedLayer packed = make(LayerKind::lstm, units);
    packed.matrix = packer_.matrix(input, vectors, lstm_order, units);
    packed.bias = packer_.vector(input.bias, vectors, lstm_order, units);
    packed.recurrent = packer_.matrix(recurrent, vectors, lstm_order, units);
    if (spec.cell_clip > 0.0f) packed.layer.cell_limit = spec.cell_clip;
    packed.layer.gates = 4 * packed.layer.padded;
    multiply_adds_ += steps_ * 4 * units * (width_ + units);
    push(packed, steps_, units);
  }

  void add_any_lstm(const LstmSpec& spec, const LinearMap& input, LinearMap& recurrent) {
    recurrent.bias.assign(4 * spec.units, 0.0);
    PackedLayer packed = make_recurrence(RecurrenceArgs::Cell::lstm, 4, spec, input, recurrent);
    packed.layer.cell_limit = spec.cell_clip > 0.0f ? spec.cell_clip : std::numeric_limits<float>::infinity();
    multiply_adds_ += steps_ * 4 * spec.units * (width_ + spec.units);
    push(packed, steps_, spec.units);
  }

  void add(const GruSpec& spec) {
    const std::size_t units = spec.units;
    require(units > 0 && spec.inputs == width_, index_, "a GRU whose inputs do not match");
    require(spec.input_weights.size() == 3 * units * width_ && spec.recurrent_weights.size() == 3 * units * units &&
                spec.bias.size() == 3 * units && spec.recurrent_bias.size() == (spec.reset_after ? units : 0),
            index_, "a GRU whose weights do not match its units");
    LinearMap input{3 * units, width_, convert<double>(spec.input_weights), convert<double>(spec.bias)};
    LinearMap recurrent{3 * units, units, convert<double>(spec.recurrent_weights), std::vector<double>(3 * units, 0.0)};
    for (std::size_t u = 0; u < spec.recurrent_bias.size(); ++u)
      recurrent.bias[2 * units + u] = static_cast<double>(spec.recurrent_bias[u]);
    fold_into(input);
    if (spec.activation == Activation::tanh && spec.gate_activation == Activation::sigmoid) {
      for (LinearMap* map : {&input, &recurrent}) {
        for (std::size_t n = 0; n < 3 * units; ++n) {
          const double factor = n / units == 2 ? -2.0 * log2_e : -log2_e;
          for (std::size_t k = 0; k < map->inputs; ++k) map->weights[n * map->inputs + k] *= factor;
          map->bias[n] *= factor;
        }
      }
    }
    const auto cell = spec.reset_after ? RecurrenceArgs::Cell::gru_reset_after : RecurrenceArgs::Cell::gru_reset_before;
    push(make_recurrence(cell, 3, spec, input, recurrent), steps_, units);
    multiply_adds_ += steps_ * 3 * units * (spec.inputs + units);
  }

  void add(const ReverseSpec&) { push(make(LayerKind::reverse, width_), steps_, width_); }

  void add(const BidirectionalSpec& spec) {
    const std::size_t at = layers_.size();
    const std::size_t steps = steps_;
    const std::size_t inputs = width_;
    PackedLayer both = make(LayerKind::bidirectional, width_);
    both.layer.out_steps = steps_;  // every step is in the workspace, whether it is given or not
    layers_.push_back(both);
    const std::vector<double> scale = scale_;
    const std::vector<double> offset = offset_;
    std::visit([this](const auto& typed) { add(typed); }, spec.forward);
    const std::size_t forward = width_;
    width_ = inputs;
    scale_ = scale;
    offset_ = offset;
    std::visit([this](const auto& typed) { add(typed); }, spec.backward);
    const bool joined = spec.merge == BidirectionalSpec::Merge::concatenate;
    require(joined || forward == width_, index_, "a bidirectional layer whose outputs can't meet");
    Layer& layer = layers_[at].layer;
    layer.merge = spec.merge;
    layer.sequence = spec.sequence;
    layer.width = joined ? forward + width_ : forward;
    // Both are written in whole vectors, the second one behind the first.
    layer.padded = blocks_of(forward + blocks_of(width_) * kernels_.lanes) * kernels_.lanes;
    width_ = layer.width;
    steps_ = spec.sequence ? steps : 1;
  }

  void add(const UnmaskSpec& spec) {
    flush(Activation::none);  // what is left out is not mapped
    PackedLayer packed = make(LayerKind::unmask, width_);
    packed.layer.zeros = spec.zeros;
    push(packed, steps_, width_);
  }

  void add(const DenseSpec& spec) {
    require(spec.units > 0 && spec.inputs == width_, index_, "a dense layer whose inputs do not match");
    require(spec.weights.size() == spec.units * width_ && spec.bias.size() == spec.units, index_,
            "a dense layer whose weights do not match its units");
    LinearMap map{spec.units, width_, convert<double>(spec.weights), convert<double>(spec.bias)};
    fold_into(map);
    PackedLayer packed = make(LayerKind::dense, spec.units);
    packed.layer.activation = spec.activation;
    packed.matrix = packer_.matrix(map, blocks_of(spec.units), dense_order, spec.units);
    packed.bias = packer_.vector(map.bias, blocks_of(spec.units), dense_order, spec.units);
    multiply_adds_ += steps_ * spec.units * width_;
    push(packed, steps_, spec.units);
  }

  void add(const AffineSpec& spec) {
    require(spec.scale.size() == width_ && spec.offset.size() == width_, index_, "an affine layer of another width");
    if (scale_.empty()) {
      scale_.assign(width_, 1.0);
      offset_.assign(width_, 0.0);
    }
    for (std::size_t i = 0; i < width_; ++i) {
      const double scale = static_cast<double>(spec.scale[i]);
      scale_[i] *= scale;
      offset_[i] = offset_[i] * scale + static_cast<double>(spec.offset[i]);
    }
  }

  void add(const ActivationSpec& spec) {
    if (spec.activation == Activation::none) return;
    if (scale_.empty() && !layers_.empty()) {
      Layer& before = layers_.back().layer;
      if ((before.kind == LayerKind::dense || before.kind == LayerKind::affine) &&
          before.activation == Activation::none) {
        before.activation = spec.activation;
        return;
      }
    }
    flush(spec.activation);
  }

  void add(const LastStepSpec&) { push(make(LayerKind::last_step, width_), 1, width_); }

  void add(const FlattenSpec&) {
    const std::size_t steps = steps_;
    PackedLayer packed = make(LayerKind::flatten, width_ * steps);
    push(packed, 1, width_ * steps);
    for (std::vector<double>* values : {&scale_, &offset_}) {
      const std::vector<double> once = *values;
      for (std::size_t t = 1; t < steps; ++t) values->insert(values->end(), once.begin(), once.end());
    }
  }

  void add(const SoftmaxSpec& spec) {
    require(spec.beta > 0.0f, index_, "a softmax whose beta is not above 0");
    add_row_kernel(LayerKind::softmax, spec.beta);
  }

  void add(const NormaliseSpec& spec) {
    require(spec.epsilon > 0.0f, index_, "a normalisation whose epsilon is not above 0");
    add_row_kernel(LayerKind::normalise, spec.epsilon);
  }

  void add_row_kernel(LayerKind kind, float parameter) {
    flush(Activation::none);
    PackedLayer packed = make(kind, width_);
    packed.layer.parameter = parameter;
    push(packed, steps_, width_);
  }

  void add(const RepeatSpec& spec) {
    require(steps_ == 1 && spec.steps > 0, index_, "a repetition of a sequence, or of no steps");
    push(make(LayerKind::repeat, width_), spec.steps, width_);
  }

  void fold_into(LinearMap& map) {
    if (scale_.empty()) return;
    fold_input(map, scale_, offset_);
    scale_.clear();
    offset_.clear();
  }

  /// Writes out what no linear layer took.
  void flush(Activation activation) {
    if (scale_.empty() && activation == Activation::none) return;
    if (scale_.empty()) {
      scale_.assign(width_, 1.0);
      offset_.assign(width_, 0.0);
    }
    PackedLayer packed = make(LayerKind::affine, width_);
    packed.layer.activation = activation;
    packed.scale = packer_.vector(scale_, blocks_of(width_), dense_order, width_);
    packed.offset = packer_.vector(offset_, blocks_of(width_), dense_order, width_);
    scale_.clear();
    offset_.clear();
    push(packed, steps_, width_);
  }

  /// @param recurrent  with a bias for each gate
  template <class Spec>
  PackedLayer make_recurrence(RecurrenceArgs::Cell cell, std::size_t gates, const Spec& spec, const LinearMap& input,
                              const LinearMap& recurrent) {
    const std::size_t units = spec.units;
    const std::size_t blocks = blocks_of(units);
    const std::size_t vectors = round_up(gates * blocks, 4);
    PackedLayer packed = make(LayerKind::recurrence, units);
    Layer& layer = packed.layer;
    layer.cell = cell;
    layer.activation = spec.activation;
    layer.gate_activation = spec.gate_activation;
    layer.gates = vectors * kernels_.lanes;
    layer.products = layer.gates;
    packed.matrix = packer_.matrix(input, vectors, gate_order, units);
    packed.bias = packer_.vector(input.bias, vectors, gate_order, units);
    packed.recurrent_bias = packer_.vector(recurrent.bias, vectors, gate_order, units);
    if (cell != RecurrenceArgs::Cell::gru_reset_before) {
      packed.recurrent = packer_.matrix(recurrent, vectors, gate_order, units);
      return packed;
    }
    const auto rows = [&](std::size_t first, std::size_t count) {
      const auto at = recurrent.weights.begin() + static_cast<std::ptrdiff_t>(first * units);
      return LinearMap{count, units, {at, at + static_cast<std::ptrdiff_t>(count * units)}, {}};
    };
    packed.recurrent = packer_.matrix(rows(0, 2 * units), round_up(2 * blocks, 4), gate_order, units);
    packed.candidate = packer_.matrix(rows(2 * units, units), round_up(blocks, 4), gate_order, units);
    layer.products = (2 * blocks + round_up(blocks, 4) + blocks) * kernels_.lanes;
    return packed;
  }

  std::size_t blocks_of(std::size_t units) const { return (units + kernels_.lanes - 1) / kernels_.lanes; }

  PackedLayer make(LayerKind kind, std::size_t width) const {
    PackedLayer packed;
    packed.layer.kind = kind;
    packed.layer.steps = steps_;
    packed.layer.inputs = width_;
    packed.layer.width = width;
    packed.layer.padded = blocks_of(width) * kernels_.lanes;
    return packed;
  }

  void push(const PackedLayer& packed, std::size_t steps, std::size_t width) {
    layers_.push_back(packed);
    layers_.back().layer.out_steps = steps;
    steps_ = steps;
    width_ = width;
  }

  const Kernels& kernels_;
  Packer packer_;
  std::vector<PackedLayer> layers_;
  std::vector<double> scale_, offset_;  // (width) each, or empty: an affine map that waits for a linear layer
  std::size_t steps_;
  std::size_t width_;
  std::size_t index_ = 0;
  std::size_t multiply_adds_ = 0;
};

/// Steps that a mask leaves out come back, or end, before anything counts them.
void check_mask(const PackedNetwork& network) {
  bool masked = network.mask_value.has_value();
  bool reversed = false;
  for (const Layer& layer : network.layers) {
    if (layer.kind == LayerKind::unmask && (!masked || reversed))
      throw std::invalid_argument("a network that gives back masked steps, and has none, or the newest first");
    reversed = reversed || layer.kind == LayerKind::reverse;
    if (layer.kind == LayerKind::unmask || layer.kind == LayerKind::last_step ||
        (layer.kind == LayerKind::bidirectional && !layer.sequence))
      masked = false;
    if (masked && (layer.kind == LayerKind::flatten || layer.kind == LayerKind::repeat)) break;
  }
  if (masked)
    throw std::invalid_argument("a network with a mask and without a last step, or the masked ones, behind it");
}

}  // namespace

PackedNetwork pack_network(const NetworkSpec& spec, const Kernels& kernels) {
  const Builder builder(spec, kernels);
  const Packer& packer = builder.packer();
  PackedNetwork network;
  network.steps = spec.sequence_input ? spec.steps : 1;
  network.features = spec.features;
  network.mask_value = spec.mask_value;
  network.output_steps = builder.steps();
  network.outputs = builder.width();
  network.multiply_adds = builder.multiply_adds();
  network.weights = AlignedBuffer(packer.bytes().size(), packer.bytes().size() >= worth_huge_pages);
  std::byte* base = network.weights.data();
  if (!packer.bytes().empty()) std::memcpy(base, packer.bytes().data(), packer.bytes().size());

  bool each_step_by_itself = true;
  for (const PackedLayer& packed : builder.layers()) {
    Layer layer = packed.layer;
    const auto floats = [base](std::size_t at) { return reinterpret_cast<const float*>(base + at); };
    if (layer.kind == LayerKind::lstm || layer.kind == LayerKind::dense || layer.kind == LayerKind::recurrence) {
      layer.dense.matrix = packer.view(packed.matrix, base);
      layer.dense.bias = floats(packed.bias);
    }
    if (layer.kind == LayerKind::dense) {
      layer.dense.activation = layer.activation;
      const Activation f = layer.activation;
      if (f == Activation::relu || f == Activation::relu6 || f == Activation::unit) layer.dense.low = 0.0f;
      if (f == Activation::relu6) layer.dense.high = 6.0f;
      if (f == Activation::unit || f == Activation::most_one) layer.dense.high = 1.0f;
    }
    if (layer.kind == LayerKind::lstm) layer.recurrent = packer.view(packed.recurrent, base);
    if (layer.kind == LayerKind::recurrence) {
      layer.hidden.matrix = packer.view(packed.recurrent, base);
      layer.hidden.bias = floats(packed.recurrent_bias);
      layer.candidate.bias = layer.hidden.bias;  // zeros
      if (layer.cell == RecurrenceArgs::Cell::gru_reset_before)
        layer.candidate.matrix = packer.view(packed.candidate, base);
    }
    if (layer.kind == LayerKind::reverse || layer.kind == LayerKind::bidirectional) each_step_by_itself = false;
    if (layer.kind == LayerKind::lstm || layer.kind == LayerKind::recurrence) {
      const bool has_cell = layer.kind == LayerKind::lstm || layer.cell == RecurrenceArgs::Cell::lstm;
      layer.state = network.state_size;
      const std::size_t half = round_up(layer.padded, alignment / sizeof(float));
      network.state_parts.push_back({layer.width, layer.state, layer.state + half, has_cell});
      network.state_size += (has_cell ? 2 : 1) * half;
      if (network.can_step) each_step_by_itself = false;  // an LSTM behind the last step starts anew each time
    }
    if (layer.kind == LayerKind::affine) {
      layer.scale = floats(packed.scale);
      layer.offset = floats(packed.offset);
    }
    if (layer.kind == LayerKind::last_step) network.can_step = true;
    const bool joins = layer.kind == LayerKind::flatten || layer.kind == LayerKind::repeat;
    if (layer.kind == LayerKind::repeat || (joins && !network.can_step)) each_step_by_itself = false;
    network.layers.push_back(layer);
  }
  check_mask(network);
  network.can_step = network.can_step && each_step_by_itself && !network.mask_value;
  return network;
}

}  // namespace linkcast::kernels
