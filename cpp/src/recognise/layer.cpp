#include "recognise/layer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "recognise/graph.h"

namespace linkcast::tflite {
namespace {

/// Turns layers into the specification that the kernels read.
class Writer {
 public:
  explicit Writer(const Expressions& expressions) : expressions_(expressions) {}

  std::vector<LayerSpec> write(const std::vector<Layer>& layers) {
    for (const auto& layer : layers) write(layer);
    return std::move(result_);
  }

 private:
  std::vector<float> finite(ConstantId id) const {
    const auto& values = expressions_.constant(id);
    if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); }))
      throw NotNative("the model has a weight that is not finite");
    return values;
  }

  /// The dense layer that was written last and has no activation yet, or null.
  DenseSpec* open_dense() {
    auto* dense = result_.empty() ? nullptr : std::get_if<DenseSpec>(&result_.back());
    return dense && dense->activation == Activation::none ? dense : nullptr;
  }

  void write(const Layer& layer) {
    switch (layer.kind) {
      case Layer::Kind::last_step:
        result_.push_back(LastStepSpec{});
        break;
      case Layer::Kind::flatten:
        result_.push_back(FlattenSpec{});
        break;
      case Layer::Kind::activation:
        write_activation(static_cast<Activation>(layer.first));
        break;
      case Layer::Kind::affine:
        write_affine(finite(layer.first), finite(layer.second));
        break;
      case Layer::Kind::linear: {
        DenseSpec dense;
        dense.inputs = layer.inputs;
        dense.weights = finite(layer.first);
        dense.units = dense.weights.size() / dense.inputs;
        dense.bias.assign(dense.units, 0.0f);
        result_.push_back(std::move(dense));
        break;
      }
      case Layer::Kind::softmax:
        result_.push_back(SoftmaxSpec{finite(layer.first)[0]});
        break;
      case Layer::Kind::normalise:
        result_.push_back(NormaliseSpec{finite(layer.first)[0]});
        break;
      case Layer::Kind::repeat:
        result_.push_back(RepeatSpec{layer.first});
        break;
      case Layer::Kind::unmask:
        result_.push_back(UnmaskSpec{layer.first == 1});
        break;
      case Layer::Kind::reverse:
        result_.push_back(ReverseSpec{});
        break;
      case Layer::Kind::lstm:
      case Layer::Kind::gru:
        std::visit([this](auto&& spec) { result_.push_back(std::move(spec)); },
                   recurrence_of(layer.kind, expressions_.cell(layer.first)));
        break;
      case Layer::Kind::bidirectional:
        result_.push_back(BidirectionalSpec{recurrence_of(layer.forward, expressions_.cell(layer.first)),
                                            recurrence_of(layer.backward, expressions_.cell(layer.second)), layer.merge,
                                            layer.sequence});
        break;
    }
  }

  void write_activation(Activation function) {
    if (auto* dense = open_dense())
      dense->activation = function;
    else
      result_.push_back(ActivationSpec{function});
  }

  void write_affine(std::vector<float> scale, std::vector<float> offset) {
    // A bias; a second one, or a scale, stays a layer of its own, which the kernels fold in float64.
    auto* dense = open_dense();
    const auto all = [](const std::vector<float>& values, float wanted) {
      return std::all_of(values.begin(), values.end(), [wanted](float v) { return v == wanted; });
    };
    if (dense && all(scale, 1.0f) && all(dense->bias, 0.0f))
      dense->bias = std::move(offset);
    else
      result_.push_back(AffineSpec{std::move(scale), std::move(offset)});
  }

  void copy_rows(const Rows& rows, std::size_t count, std::size_t width, float* to) const {
    if (rows.matrix == kNone) return;  // meets zeros only
    const auto matrix = finite(rows.matrix);
    if ((rows.start + count) * width > matrix.size()) throw NotNative("a recurrence's weights do not fit its gates");
    const auto from = matrix.begin() + static_cast<std::ptrdiff_t>(rows.start * width);
    std::transform(from, from + static_cast<std::ptrdiff_t>(count * width), to,
                   [&](float weight) { return weight * rows.scale; });
  }

  /// What both kinds have; `gates` is how many.
  template <class Spec>
  Spec written(const Cell& cell, std::size_t gates) const {
    Spec spec;
    spec.inputs = cell.inputs;
    spec.units = cell.units;
    spec.activation = cell.activation;
    spec.gate_activation = cell.gate_activation;
    spec.input_weights.assign(gates * cell.units * cell.inputs, 0.0f);
    spec.recurrent_weights.assign(gates * cell.units * cell.units, 0.0f);
    spec.bias.assign(gates * cell.units, 0.0f);
    for (std::size_t g = 0; g < gates; ++g) {
      const auto& gate = cell.gates[g];
      copy_rows(gate.input, cell.units, cell.inputs, &spec.input_weights[g * cell.units * cell.inputs]);
      copy_rows(gate.recurrent, cell.units, cell.units, &spec.recurrent_weights[g * cell.units * cell.units]);
      copy_rows({gate.bias, 0}, cell.units, 1, &spec.bias[g * cell.units]);
    }
    return spec;
  }

  std::variant<LstmSpec, GruSpec> recurrence_of(Layer::Kind kind, const Cell& cell) const {
    if (kind == Layer::Kind::lstm) {
      auto lstm = written<LstmSpec>(cell, 4);
      lstm.cell_clip = cell.cell_clip;
      return lstm;
    }
    auto gru = written<GruSpec>(cell, 3);
    gru.reset_after = !cell.reset_before;
    if (gru.reset_after) {
      gru.recurrent_bias.assign(cell.units, 0.0f);
      copy_rows({cell.recurrent_bias, 0}, cell.units, 1, gru.recurrent_bias.data());
    }
    return gru;
  }

  const Expressions& expressions_;
  std::vector<LayerSpec> result_;
};

}  // namespace

std::vector<LayerSpec> specification_of(const std::vector<Layer>& layers, const Expressions& expressions) {
  return Writer(expressions).write(layers);
}

}  // namespace linkcast::tflite
