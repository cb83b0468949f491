// Random networks, and what they give in plain double precision: the definition of each layer written out, nothing
// shared with the kernels.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <random>
#include <string>
#include <variant>
#include <vector>

#include "kernels/network_spec.h"

namespace reference {

using linkcast::Activation;

inline double activate(double x, Activation activation) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return x < 0.0 ? 0.0 : x;
    case Activation::relu6:
      return x < 0.0 ? 0.0 : (x > 6.0 ? 6.0 : x);
    case Activation::tanh:
      return std::tanh(x);
    case Activation::sigmoid:
      return 1.0 / (1.0 + std::exp(-x));
    case Activation::unit:
      return x < 0.0 ? 0.0 : (x > 1.0 ? 1.0 : x);
    case Activation::most_one:
      return x > 1.0 ? 1.0 : x;
  }
  return x;
}

/// (steps, width), row-major.
struct Sequence {
  std::size_t steps = 1;
  std::size_t width = 0;
  std::vector<double> values;
};

inline Sequence apply(const linkcast::LstmSpec& lstm, const Sequence& in) {
  const std::size_t n = lstm.units;
  Sequence out{in.steps, n, std::vector<double>(in.steps * n)};
  std::vector<double> h(n, 0.0), c(n, 0.0), z(4 * n);
  for (std::size_t t = 0; t < in.steps; ++t) {
    for (std::size_t j = 0; j < 4 * n; ++j) {
      double sum = static_cast<double>(lstm.bias[j]);
      for (std::size_t k = 0; k < in.width; ++k) {
        sum += static_cast<double>(lstm.input_weights[j * in.width + k]) * in.values[t * in.width + k];
      }
      for (std::size_t k = 0; k < n; ++k) sum += static_cast<double>(lstm.recurrent_weights[j * n + k]) * h[k];
      z[j] = sum;
    }
    for (std::size_t u = 0; u < n; ++u) {
      const double i = activate(z[u], lstm.gate_activation);
      const double f = activate(z[n + u], lstm.gate_activation);
      const double o = activate(z[3 * n + u], lstm.gate_activation);
      c[u] = f * c[u] + i * activate(z[2 * n + u], lstm.activation);
      if (lstm.cell_clip > 0.0f) {
        const double limit = static_cast<double>(lstm.cell_clip);
        c[u] = std::fmin(std::fmax(c[u], -limit), limit);
      }
      h[u] = o * activate(c[u], lstm.activation);
      out.values[t * n + u] = h[u];
    }
  }
  return out;
}

inline Sequence apply(const linkcast::GruSpec& gru, const Sequence& in) {
  const std::size_t n = gru.units;
  Sequence out{in.steps, n, std::vector<double>(in.steps * n)};
  std::vector<double> h(n, 0.0), z(n), r(n);
  const auto product = [](const std::vector<float>& weights, std::size_t row, std::size_t width, const double* x) {
    double sum = 0.0;
    for (std::size_t k = 0; k < width; ++k) sum += static_cast<double>(weights[row * width + k]) * x[k];
    return sum;
  };
  for (std::size_t t = 0; t < in.steps; ++t) {
    const double* x = &in.values[t * in.width];
    const auto input = [&](std::size_t row) {
      return product(gru.input_weights, row, in.width, x) + static_cast<double>(gru.bias[row]);
    };
    const auto state = [&](std::size_t row, const std::vector<double>& of) {
      return product(gru.recurrent_weights, row, n, of.data());
    };
    for (std::size_t u = 0; u < n; ++u) {
      z[u] = activate(input(u) + state(u, h), gru.gate_activation);
      r[u] = activate(input(n + u) + state(n + u, h), gru.gate_activation);
    }
    std::vector<double> reset(n);
    for (std::size_t u = 0; u < n; ++u) reset[u] = r[u] * h[u];
    for (std::size_t u = 0; u < n; ++u) {
      const std::size_t row = 2 * n + u;
      const double recurrent =
          gru.reset_after ? r[u] * (state(row, h) + static_cast<double>(gru.recurrent_bias[u])) : state(row, reset);
      const double g = activate(input(row) + recurrent, gru.activation);
      out.values[t * n + u] = z[u] * h[u] + (1.0 - z[u]) * g;
    }
    for (std::size_t u = 0; u < n; ++u) h[u] = out.values[t * n + u];
  }
  return out;
}

inline Sequence apply(const linkcast::ReverseSpec&, const Sequence& in) {
  Sequence out = in;
  for (std::size_t t = 0; t < in.steps; ++t)
    for (std::size_t k = 0; k < in.width; ++k)
      out.values[t * in.width + k] = in.values[(in.steps - 1 - t) * in.width + k];
  return out;
}

inline Sequence apply(const linkcast::BidirectionalSpec& both, const Sequence& in) {
  using Merge = linkcast::BidirectionalSpec::Merge;
  const auto run = [](const auto& recurrence, const Sequence& on) {
    return std::visit([&](const auto& typed) { return apply(typed, on); }, recurrence);
  };
  const Sequence forward = run(both.forward, in);
  Sequence backward = run(both.backward, apply(linkcast::ReverseSpec{}, in));  // newest step first
  if (both.sequence) backward = apply(linkcast::ReverseSpec{}, backward);
  Sequence out{both.sequence ? in.steps : 1, 0, {}};
  for (std::size_t t = both.sequence ? 0 : in.steps - 1; t < in.steps; ++t) {
    const double* a = &forward.values[t * forward.width];
    const double* b = &backward.values[t * backward.width];
    if (both.merge == Merge::concatenate) {
      out.values.insert(out.values.end(), a, a + forward.width);
      out.values.insert(out.values.end(), b, b + backward.width);
    } else {
      for (std::size_t u = 0; u < forward.width; ++u)
        out.values.push_back(both.merge == Merge::sum ? a[u] + b[u] : a[u] * b[u]);
    }
  }
  out.width = both.merge == Merge::concatenate ? forward.width + backward.width : forward.width;
  return out;
}

inline Sequence apply(const linkcast::DenseSpec& dense, const Sequence& in) {
  Sequence out{in.steps, dense.units, std::vector<double>(in.steps * dense.units)};
  for (std::size_t t = 0; t < in.steps; ++t) {
    for (std::size_t j = 0; j < dense.units; ++j) {
      double sum = static_cast<double>(dense.bias[j]);
      for (std::size_t k = 0; k < in.width; ++k) {
        sum += static_cast<double>(dense.weights[j * in.width + k]) * in.values[t * in.width + k];
      }
      out.values[t * dense.units + j] = activate(sum, dense.activation);
    }
  }
  return out;
}

inline Sequence apply(const linkcast::AffineSpec& affine, const Sequence& in) {
  Sequence out = in;
  for (std::size_t i = 0; i < out.values.size(); ++i) {
    const std::size_t f = i % in.width;
    out.values[i] = out.values[i] * static_cast<double>(affine.scale[f]) + static_cast<double>(affine.offset[f]);
  }
  return out;
}

inline Sequence apply(const linkcast::ActivationSpec& spec, const Sequence& in) {
  Sequence out = in;
  for (double& value : out.values) value = activate(value, spec.activation);
  return out;
}

inline Sequence apply(const linkcast::LastStepSpec&, const Sequence& in) {
  return {1, in.width, {in.values.end() - static_cast<std::ptrdiff_t>(in.width), in.values.end()}};
}

inline Sequence apply(const linkcast::FlattenSpec&, const Sequence& in) { return {1, in.steps * in.width, in.values}; }

inline Sequence apply(const linkcast::SoftmaxSpec& softmax, const Sequence& in) {
  Sequence out = in;
  for (std::size_t t = 0; t < in.steps; ++t) {
    double* row = &out.values[t * in.width];
    double largest = row[0];
    for (std::size_t i = 0; i < in.width; ++i) largest = std::fmax(largest, row[i]);
    double sum = 0.0;
    for (std::size_t i = 0; i < in.width; ++i) {
      row[i] = std::exp(static_cast<double>(softmax.beta) * (row[i] - largest));
      sum += row[i];
    }
    for (std::size_t i = 0; i < in.width; ++i) row[i] /= sum;
  }
  return out;
}

inline Sequence apply(const linkcast::NormaliseSpec& normalise, const Sequence& in) {
  Sequence out = in;
  const double count = static_cast<double>(in.width);
  for (std::size_t t = 0; t < in.steps; ++t) {
    double* row = &out.values[t * in.width];
    double mean = 0.0, variance = 0.0;
    for (std::size_t i = 0; i < in.width; ++i) mean += row[i] / count;
    for (std::size_t i = 0; i < in.width; ++i) variance += (row[i] - mean) * (row[i] - mean) / count;
    for (std::size_t i = 0; i < in.width; ++i) {
      row[i] = (row[i] - mean) / std::sqrt(variance + static_cast<double>(normalise.epsilon));
    }
  }
  return out;
}

inline Sequence apply(const linkcast::RepeatSpec& repeat, const Sequence& in) {
  Sequence out{repeat.steps, in.width, {}};
  for (std::size_t t = 0; t < repeat.steps; ++t)
    out.values.insert(out.values.end(), in.values.begin(), in.values.end());
  return out;
}

/// Without a mask; see run().
inline Sequence apply(const linkcast::UnmaskSpec&, const Sequence& in) { return in; }

/// Steps that a mask leaves out, put back.
inline Sequence apply(const linkcast::UnmaskSpec& unmask, const Sequence& in, const std::vector<bool>& left_in) {
  Sequence out{left_in.size(), in.width, {}};
  std::vector<double> row(in.width, 0.0);
  std::size_t next = 0;
  for (const bool is_in : left_in) {
    if (is_in) {
      const auto from = in.values.begin() + static_cast<std::ptrdiff_t>(next++ * in.width);
      row.assign(from, from + static_cast<std::ptrdiff_t>(in.width));
    } else if (unmask.zeros) {
      row.assign(in.width, 0.0);
    }
    out.values.insert(out.values.end(), row.begin(), row.end());
  }
  return out;
}

/// One window through the network. Where a mask leaves out all of its steps, an UnmaskSpec has to stand before anything
/// that needs one.
/// @param input  (steps, features)
inline std::vector<double> run(const linkcast::NetworkSpec& spec, const float* input) {
  Sequence now{0, spec.features, {}};
  std::vector<bool> left_in;
  for (std::size_t t = 0; t < (spec.sequence_input ? spec.steps : 1); ++t) {
    const float* step = input + t * spec.features;
    left_in.push_back(!spec.mask_value ||
                      std::any_of(step, step + spec.features, [&](float value) { return value != *spec.mask_value; }));
    if (!left_in.back()) continue;
    now.values.insert(now.values.end(), step, step + spec.features);
    ++now.steps;
  }
  for (const auto& layer : spec.layers) {
    const auto* unmask = std::get_if<linkcast::UnmaskSpec>(&layer);
    now =
        unmask ? apply(*unmask, now, left_in) : std::visit([&](const auto& typed) { return apply(typed, now); }, layer);
  }
  return now.values;
}

/// Layers with weights as Keras initialises them: Glorot uniform, recurrent weights of the same spread, unit forget
/// bias.
class Random {
 public:
  explicit Random(unsigned seed) : generator_(seed) {}

  float uniform(float low, float high) { return std::uniform_real_distribution<float>(low, high)(generator_); }
  std::size_t integer(std::size_t low, std::size_t high) {
    return std::uniform_int_distribution<std::size_t>(low, high)(generator_);
  }
  std::vector<float> floats(std::size_t n, float low, float high) {
    std::vector<float> values(n);
    for (float& value : values) value = uniform(low, high);
    return values;
  }
  std::vector<float> glorot(std::size_t outputs, std::size_t inputs) {
    const float limit = std::sqrt(6.0f / static_cast<float>(outputs + inputs));
    return floats(outputs * inputs, -limit, limit);
  }

  linkcast::LstmSpec lstm(std::size_t inputs, std::size_t units) {
    linkcast::LstmSpec spec{inputs, units, glorot(4 * units, inputs), glorot(4 * units, units),
                            floats(4 * units, -0.1f, 0.1f)};
    for (std::size_t u = 0; u < units; ++u) spec.bias[units + u] += 1.0f;
    return spec;
  }
  linkcast::GruSpec gru(std::size_t inputs, std::size_t units, bool reset_after) {
    return {inputs,
            units,
            glorot(3 * units, inputs),
            glorot(3 * units, units),
            floats(3 * units, -0.1f, 0.1f),
            reset_after ? floats(units, -0.1f, 0.1f) : std::vector<float>{},
            reset_after};
  }
  linkcast::DenseSpec dense(std::size_t inputs, std::size_t units, Activation activation) {
    return {inputs, units, glorot(units, inputs), floats(units, -0.1f, 0.1f), activation};
  }
  /// A batch normalisation: gamma / sqrt(variance) and what is left of the means.
  linkcast::AffineSpec affine(std::size_t width) { return {floats(width, 0.5f, 2.0f), floats(width, -0.5f, 0.5f)}; }

 private:
  std::mt19937 generator_;
};

/// The network forecaster: LSTM 128, 64, 32 with batch normalisation, dense 16, 8, 1.
inline linkcast::NetworkSpec forecaster(unsigned seed, std::size_t features = 4) {
  Random random(seed);
  linkcast::NetworkSpec spec{10, features, true, {}};
  std::size_t width = features;
  for (const std::size_t units : {128, 64, 32}) {
    spec.layers.push_back(random.lstm(width, units));
    if (units == 32) spec.layers.push_back(linkcast::LastStepSpec{});
    spec.layers.push_back(random.affine(units));
    width = units;
  }
  for (const std::size_t units : {16, 8, 1}) {
    spec.layers.push_back(random.dense(width, units, units == 1 ? Activation::none : Activation::relu));
    width = units;
  }
  return spec;
}

/// The allocator: dense 128, 64, 32 with batch normalisation behind the ReLU, then 10 Q-values.
inline linkcast::NetworkSpec allocator(unsigned seed) {
  Random random(seed);
  linkcast::NetworkSpec spec{1, 4, false, {}};
  std::size_t width = 4;
  for (const std::size_t units : {128, 64, 32}) {
    spec.layers.push_back(random.dense(width, units, Activation::relu));
    spec.layers.push_back(random.affine(units));
    width = units;
  }
  spec.layers.push_back(random.dense(width, 10, Activation::none));
  return spec;
}

/// One to three recurrent layers of any kind and direction, of 1 to 40 units, with or without normalisation between them,
/// over 1 to 16 steps of 1 to 12 features; behind the last step dense layers, or a softmax.
/// @param both_ways  bidirectional ones, too: then it can't step
inline linkcast::NetworkSpec any_recurrence(unsigned seed, bool both_ways) {
  using Merge = linkcast::BidirectionalSpec::Merge;
  Random random(seed);
  linkcast::NetworkSpec spec{random.integer(1, 16), random.integer(1, 12), true, {}};
  std::size_t width = spec.features;
  const auto lstm = [&](std::size_t units) {
    linkcast::LstmSpec made = random.lstm(width, units);
    constexpr Activation functions[] = {Activation::tanh, Activation::relu, Activation::sigmoid, Activation::none};
    made.activation = functions[random.integer(0, 3)];
    made.gate_activation = random.integer(0, 2) == 0 ? Activation::unit : Activation::sigmoid;
    return made;
  };
  const std::size_t count = random.integer(1, 3);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t units = random.integer(1, 40);
    const bool last = i + 1 == count;
    const std::size_t kind = random.integer(0, both_ways ? 4 : 2);
    if (kind == 0) {
      spec.layers.push_back(lstm(units));
    } else if (kind <= 2) {
      spec.layers.push_back(random.gru(width, units, kind == 1));
    } else {
      const auto merge = static_cast<Merge>(random.integer(0, 2));
      linkcast::BidirectionalSpec both{random.lstm(width, units), random.gru(width, units, true), merge, !last};
      if (kind == 4) both.backward = random.lstm(width, units);
      spec.layers.push_back(both);
    }
    width = kind >= 3 && std::get<linkcast::BidirectionalSpec>(spec.layers.back()).merge == Merge::concatenate
                ? 2 * units
                : units;
    if (last && kind < 3) spec.layers.push_back(linkcast::LastStepSpec{});
    if (random.integer(0, 1) == 1) spec.layers.push_back(random.affine(width));
    if (random.integer(0, 3) == 0) spec.layers.push_back(linkcast::NormaliseSpec{0.1f});
  }
  spec.layers.push_back(random.dense(width, 7, Activation::relu));
  spec.layers.push_back(random.dense(7, 4, Activation::none));
  if (random.integer(0, 1) == 1) spec.layers.push_back(linkcast::SoftmaxSpec{});
  return spec;
}

}  // namespace reference
