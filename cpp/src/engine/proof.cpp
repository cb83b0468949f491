#include "engine/proof.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <variant>

namespace linkcast {
namespace {

constexpr std::size_t kRandomWindows = 12;  // of each distribution
constexpr std::size_t kSpecialWindows = 10;
constexpr std::size_t kStepRows = 9;        // of an advance of a window of ten steps
constexpr std::size_t kMaskedWindows = 10;  // where there is a mask; of the first random ones
constexpr float kLarge = 100.0f;            // scaled features are 0..1
constexpr float kDenormal = 1e-40f;

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2g", value);
  return text;
}

/// (windows.count, every output): what `interpreter` gives whose windows are every input, one behind the other.
std::vector<float> answers_of_all(tflite::Interpreter& interpreter, const ProofWindows& windows,
                                  const std::function<void()>& between) {
  std::vector<float> result;
  const float* from = windows.values.data();
  for (std::size_t row = 0; row < windows.count; ++row) {
    for (const auto& input : interpreter.inputs()) {
      std::copy_n(from, input.size, input.memory.get());
      from += input.size;
    }
    between();
    interpreter.invoke();
    for (const auto& output : interpreter.outputs())
      result.insert(result.end(), output.memory.get(), output.memory.get() + output.size);
  }
  for (const auto& input : interpreter.inputs()) std::fill_n(input.memory.get(), input.size, 0.0f);
  return result;
}

/// (windows.count, answer): what `interpreter` gives, run in its own batch; the last batch is filled up with zeros.
std::vector<float> answers(tflite::Interpreter& interpreter, const ProofWindows& windows,
                           const std::function<void()>& between) {
  if (interpreter.inputs().size() != 1 || interpreter.outputs().size() != 1)
    return answers_of_all(interpreter, windows, between);
  const auto batch = static_cast<std::size_t>(interpreter.input_shape()[0]);
  const std::size_t row_inputs = interpreter.input_size() / batch;
  const std::size_t row_outputs = interpreter.output_size() / batch;
  std::vector<float> result(windows.count * row_outputs);
  for (std::size_t row = 0; row < windows.count; row += batch) {
    const std::size_t rows = std::min(batch, windows.count - row);
    std::fill_n(interpreter.input(), interpreter.input_size(), 0.0f);
    std::copy_n(&windows.values[row * row_inputs], rows * row_inputs, interpreter.input());
    between();
    interpreter.invoke();
    std::copy_n(interpreter.output(), rows * row_outputs, &result[row * row_outputs]);
  }
  std::fill_n(interpreter.input(), interpreter.input_size(), 0.0f);
  return result;
}

}  // namespace

ProofWindows::ProofWindows(std::size_t row_inputs, const std::vector<float>& golden_windows)
    : values(golden_windows), golden(row_inputs > 0 ? golden_windows.size() / row_inputs : 0) {
  values.resize(golden * row_inputs);
  const auto add = [&](auto value_of) {
    for (std::size_t n = 0; n < row_inputs; ++n) values.push_back(value_of(n));
  };
  std::mt19937 random(20240);
  std::uniform_real_distribution<float> uniform(0.0f, 1.0f);
  std::normal_distribution<float> normal;
  for (std::size_t k = 0; k < kRandomWindows; ++k) add([&](std::size_t) { return uniform(random); });
  for (std::size_t k = 0; k < kRandomWindows; ++k) add([&](std::size_t) { return normal(random); });
  for (const float value : {0.0f, 1.0f, kLarge, -kLarge, kDenormal, -kDenormal})
    add([&](std::size_t) { return value; });
  add([](std::size_t n) { return n % 2 == 0 ? kLarge : -kLarge; });
  add([](std::size_t n) { return n % 2 == 0 ? kDenormal : 1.0f; });
  add([](std::size_t n) { return n == 0 ? 1.0f : 0.0f; });
  add([&](std::size_t n) { return static_cast<float>(n) / static_cast<float>(row_inputs); });
  count = row_inputs > 0 ? values.size() / row_inputs : 0;
}

void ProofWindows::mask(std::size_t features, float value) {
  const std::size_t row_inputs = values.size() / count;
  const std::size_t steps = row_inputs / features;
  std::mt19937 random(20241);
  const auto random_windows = static_cast<std::ptrdiff_t>(golden * row_inputs);
  for (std::size_t k = 0; k < kMaskedWindows; ++k) {
    const auto from = random_windows + static_cast<std::ptrdiff_t>(k * row_inputs);
    std::vector<float> window(values.begin() + from, values.begin() + from + static_cast<std::ptrdiff_t>(row_inputs));
    for (std::size_t step = 0; step < steps; ++step) {
      const bool out = k == 0   ? true                // all
                       : k == 1 ? step > 0            // but the oldest
                       : k == 2 ? step + 1 < steps    // but the newest
                       : k == 3 ? step < steps / 2    // filled up in front
                       : k == 4 ? step >= steps / 2   // filled up behind
                                : random() % 2 == 0;  // here and there
      if (out) std::fill_n(&window[step * features], features, value);
    }
    values.insert(values.end(), window.begin(), window.end());
  }
  count = values.size() / row_inputs;
}

std::size_t ProofWindows::count_of(std::size_t row_inputs, const std::vector<float>& golden) noexcept {
  return row_inputs > 0 ? golden.size() / row_inputs + 2 * kRandomWindows + kSpecialWindows + kMaskedWindows : 0;
}

double proof_tolerance(Precision precision) noexcept {
  if (precision == Precision::int8) return 5e-2;
  return precision == Precision::bfloat16 ? 2e-2 : 1e-4;
}

namespace {

constexpr double kRoundingVariance = 1.0 / (127.0 * 127.0 * 12.0);  // of values up to 1, rounded to int8
constexpr double kDeviations = 4.0;

/// The largest sum of squares of a row of weights, (rows, width).
double largest_row(const std::vector<float>& weights, std::size_t width) noexcept {
  double largest = 0.0;
  for (std::size_t row = 0; width > 0 && row + width <= weights.size(); row += width) {
    double sum = 0.0;
    for (std::size_t n = row; n < row + width; ++n)
      sum += static_cast<double>(weights[n]) * static_cast<double>(weights[n]);
    largest = std::max(largest, sum);
  }
  return largest;
}

double largest(const std::vector<float>& values) noexcept {
  float most = 0.0f;
  for (const float v : values) most = std::max(most, std::fabs(v));
  return static_cast<double>(most);
}

/// What is known of activations on their way through a network, in units of the largest input.
struct Noise {
  double variance = 0.0;
  double magnitude = 1.0;

  void pass(Activation function) noexcept {
    if (function == Activation::tanh || function == Activation::sigmoid) magnitude = 1.0;
    if (function == Activation::sigmoid) variance /= 16.0;  // its slope is 1/4 at most
  }

  void pass(const DenseSpec& dense) noexcept {
    const double row = largest_row(dense.weights, dense.inputs);
    variance = row * (variance + magnitude * magnitude * kRoundingVariance);
    magnitude = std::sqrt(row) * magnitude + largest(dense.bias);
    pass(dense.activation);
  }

  /// A row is divided by its deviation: a quarter of its largest value, about.
  void normalise() noexcept {
    variance *= 16.0 / std::max(magnitude * magnitude, 1e-12);
    magnitude = 4.0;
  }

  void pass(const AffineSpec& affine) noexcept {
    const double scale = largest(affine.scale);
    variance *= scale * scale;
    magnitude = magnitude * scale + largest(affine.offset);
  }

  /// A GRU's state is z of the one before and 1 - z of the candidate, whose slope is 1; both gates have slopes of 1/4 at
  /// most, the one in front of a difference of up to 2.
  void pass(const GruSpec& gru, std::size_t steps) noexcept {
    const double row = largest_row(gru.input_weights, gru.inputs);
    const double recurrent = largest_row(gru.recurrent_weights, gru.units);
    double hidden = 0.0;
    for (std::size_t step = 0; step < steps; ++step) {
      const double gate = row * (variance + magnitude * magnitude * kRoundingVariance) +
                          recurrent * (hidden + (step > 0 ? kRoundingVariance : 0.0));
      hidden = hidden / 4.0 + gate * (1.0 / 4.0 + 1.0 / 4.0 + recurrent / 64.0);
    }
    variance = hidden;
    magnitude = gru.activation == Activation::relu || gru.activation == Activation::none
                    ? std::sqrt(row) * magnitude + largest(gru.bias)
                    : 1.0;
  }

  void pass(const BidirectionalSpec& both, std::size_t steps) noexcept {
    Noise backward = *this;
    std::visit([&](const auto& typed) { pass(typed, steps); }, both.forward);
    std::visit([&](const auto& typed) { backward.pass(typed, steps); }, both.backward);
    const double states = both.merge == BidirectionalSpec::Merge::concatenate ? 1.0 : 2.0;
    variance = std::max(variance, backward.variance) * states;
    magnitude = std::max(magnitude, backward.magnitude) * states;
  }

  /// Noise of a gate's sum reaches the cell through slopes of 1/4 (sigmoids) and 1 (tanh) at most, and half of a cell
  /// is kept from step to step, as gates do that are neither open nor shut.
  void pass(const LstmSpec& lstm, std::size_t steps) noexcept {
    const double row = largest_row(lstm.input_weights, lstm.inputs);
    const double recurrent = largest_row(lstm.recurrent_weights, lstm.units);
    double cell = 0.0;
    double hidden = 0.0;
    for (std::size_t step = 0; step < steps; ++step) {
      const double gate = row * (variance + magnitude * magnitude * kRoundingVariance) +
                          recurrent * (hidden + (step > 0 ? kRoundingVariance : 0.0));
      cell = cell / 4.0 + gate * (1.0 / 4.0 + 2.0 / 16.0);
      hidden = cell / 4.0 + gate / 16.0;
    }
    variance = hidden;
    magnitude = lstm.activation == Activation::relu || lstm.activation == Activation::none
                    ? static_cast<double>(steps) * (std::sqrt(row) * magnitude + largest(lstm.bias))
                    : 1.0;
  }
};

/// Whether answers lie within the tolerance of what was expected; else `proof` says where not.
bool compare(const std::vector<float>& got, const ProofWindows& windows, double tolerance, const std::string& where,
             Proof& proof) {
  if (got.size() != proof.expected.size()) {
    proof.failure = "the native network gives an answer of another size than TensorFlow Lite";
    return false;
  }
  const std::size_t row_inputs = windows.values.size() / windows.count;
  const std::size_t row_outputs = proof.expected.size() / windows.count;
  const std::size_t ordinary = windows.golden > 0 ? windows.golden : kRandomWindows;
  for (std::size_t window = 0; window < windows.count; ++window) {
    double largest = 1.0;
    for (std::size_t n = window * row_inputs; n < (window + 1) * row_inputs; ++n)
      largest = std::max(largest, std::fabs(static_cast<double>(windows.values[n])));
    for (std::size_t n = window * row_outputs; n < (window + 1) * row_outputs; ++n) {
      const double wanted = static_cast<double>(proof.expected[n]);
      const double seen = static_cast<double>(got[n]);
      if (!std::isfinite(wanted) && !std::isfinite(seen)) continue;  // both overflow
      const double unit = std::max(largest, std::fabs(wanted));
      const double difference = std::fabs(seen - wanted);
      if (!(difference <= tolerance * unit)) {  // also when one of them is NaN
        proof.failure = "the native network differs from TensorFlow Lite by " + number(difference) +
                        " on proof window " + std::to_string(window) + " " + where +
                        " (allowed: " + number(tolerance * unit) + ")";
        return false;
      }
      if (window < ordinary) proof.error = std::max(proof.error, difference);
    }
  }
  return true;
}

}  // namespace

double rounding_tolerance(const NetworkSpec& network) noexcept {
  Noise noise;
  for (const auto& layer : network.layers) {
    if (const auto* lstm = std::get_if<LstmSpec>(&layer)) noise.pass(*lstm, network.steps);
    if (const auto* gru = std::get_if<GruSpec>(&layer)) noise.pass(*gru, network.steps);
    if (const auto* both = std::get_if<BidirectionalSpec>(&layer)) noise.pass(*both, network.steps);
    if (const auto* dense = std::get_if<DenseSpec>(&layer)) noise.pass(*dense);
    if (const auto* affine = std::get_if<AffineSpec>(&layer)) noise.pass(*affine);
    if (const auto* activation = std::get_if<ActivationSpec>(&layer)) noise.pass(activation->activation);
    if (std::get_if<SoftmaxSpec>(&layer)) noise.magnitude = 1.0;  // no slope is above 1/4 of beta, which is 1 as a rule
    if (std::get_if<NormaliseSpec>(&layer)) noise.normalise();
  }
  const double tolerance = kDeviations * std::sqrt(noise.variance);
  return tolerance >= 1e-4 ? std::min(tolerance, 5e-2) : 1e-4;
}

Proof prove(const std::vector<tflite::Interpreter*>& natives, tflite::Interpreter& reference,
            const ProofWindows& windows, double tolerance, const std::function<void()>& between) {
  Proof proof;
  proof.expected = answers(reference, windows, between);
  for (auto* native : natives) {
    const std::string where = "at batch " + std::to_string(native->input_shape()[0]);
    if (!compare(answers(*native, windows, between), windows, tolerance, where, proof)) return proof;
  }
  proof.holds = true;
  return proof;
}

Proof prove_steps(ChosenNetwork& network, const ProofWindows& windows, const std::vector<float>& expected,
                  double tolerance, const std::function<void()>& between) {
  Proof proof;
  proof.expected = expected;
  const std::size_t features = network.features();
  const std::size_t row_inputs = network.steps() * features;
  const std::size_t row_outputs = network.outputs();
  for (const std::size_t rows : {kStepRows, std::size_t{1}}) {
    std::vector<float> got(windows.count * row_outputs);
    std::vector<float> states(rows * network.state_size());
    for (std::size_t row = 0; row < windows.count; row += rows) {
      const std::size_t count = std::min(rows, windows.count - row);
      std::fill(states.begin(), states.end(), 0.0f);
      between();
      for (std::size_t t = 0; t < network.steps(); ++t)
        network.step(&windows.values[row * row_inputs + t * features], row_inputs, count, states.data(),
                     t + 1 == network.steps() ? &got[row * row_outputs] : nullptr);
    }
    const std::string where = "stepped through, " + std::to_string(rows) + (rows == 1 ? " row" : " rows") + " at once";
    if (!compare(got, windows, tolerance, where, proof)) return proof;
  }
  proof.holds = true;
  return proof;
}

}  // namespace linkcast
