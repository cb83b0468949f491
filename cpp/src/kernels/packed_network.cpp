#include "packed_network.h"

#include <cstring>
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
  PackedMatrix matrix, recurrent;
  std::size_t bias = 0, scale = 0, offset = 0;
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
    multiply_adds_ += steps_ * 4 * units * (width_ + units);
    push(packed, steps_, units);
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
    require(spec.beta > 0.0F, index_, "a softmax whose beta is not above 0");
    add_row_kernel(LayerKind::softmax, spec.beta);
  }

  void add(const NormaliseSpec& spec) {
    require(spec.epsilon > 0.0F, index_, "a normalisation whose epsilon is not above 0");
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

}  // namespace

PackedNetwork pack_network(const NetworkSpec& spec, const Kernels& kernels) {
  const Builder builder(spec, kernels);
  const Packer& packer = builder.packer();
  PackedNetwork network;
  network.steps = spec.sequence_input ? spec.steps : 1;
  network.features = spec.features;
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
    if (layer.kind == LayerKind::lstm || layer.kind == LayerKind::dense) {
      layer.dense.matrix = packer.view(packed.matrix, base);
      layer.dense.bias = floats(packed.bias);
    }
    if (layer.kind == LayerKind::dense) {
      layer.dense.activation = layer.activation;
      if (layer.activation == Activation::relu || layer.activation == Activation::relu6) layer.dense.low = 0.0f;
      if (layer.activation == Activation::relu6) layer.dense.high = 6.0f;
    }
    if (layer.kind == LayerKind::lstm) {
      layer.recurrent = packer.view(packed.recurrent, base);
      layer.state = network.state_size;
      network.state_size += 2 * round_up(layer.padded, alignment / sizeof(float));
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
  network.can_step = network.can_step && each_step_by_itself;
  return network;
}

}  // namespace linkcast::kernels
