// Kernels against kernels: a random network and input on every instruction set and precision that the machine has, whole
// and step by step, against double precision and against each other.
//
// An input describes the network: sizes, layers, seeds of weights and windows. Weights are those of Keras' initialisers, as
// the tolerances are for.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <variant>
#include <vector>

#include "check.h"
#include "kernels/network.h"
#include "network_reference.h"

namespace {

using linkcast::Activation;
using linkcast::Isa;
using linkcast::Network;
using linkcast::NetworkSpec;
using linkcast::Precision;

constexpr std::array kActivations{Activation::none,    Activation::relu, Activation::relu6,   Activation::tanh,
                                  Activation::sigmoid, Activation::unit, Activation::most_one};

constexpr std::array kMerges{linkcast::BidirectionalSpec::Merge::concatenate, linkcast::BidirectionalSpec::Merge::sum,
                             linkcast::BidirectionalSpec::Merge::product};

/// float32: sums of some hundred terms of size one lose some 1e-7, and each layer hands that on.
constexpr double kFloatTolerance = 2e-6;
/// The same rounded weights, in another order of summation.
constexpr double kSameWeightsTolerance = 1e-5;
/// Of a rounded weight, and of a rounded input where the processor's own products of bfloat16 and int8 are used.
constexpr double kRounding[] = {0, 0x1p-9, 1.0 / 127};

NetworkSpec network_of(FuzzedDataProvider& from, reference::Random& random, double& gain) {
  NetworkSpec spec;
  spec.sequence_input = from.ConsumeBool();
  spec.steps = spec.sequence_input ? from.ConsumeIntegralInRange<std::size_t>(1, 24) : 1;
  spec.features = from.ConsumeIntegralInRange<std::size_t>(1, 40);
  std::size_t width = spec.features;
  bool sequence = spec.sequence_input;
  bool repeated = false;
  gain = 1;
  for (std::size_t layers = from.ConsumeIntegralInRange<std::size_t>(0, 5); layers > 0; --layers) {
    const std::size_t units = from.ConsumeIntegralInRange<std::size_t>(1, 140);
    switch (from.ConsumeIntegralInRange<int>(0, 11)) {
      case 0:
        if (!sequence) break;
        spec.layers.push_back(random.lstm(width, units));
        if (from.ConsumeBool())
          std::get<linkcast::LstmSpec>(spec.layers.back()).cell_clip = random.uniform(0.05F, 10.0F);
        width = units;
        gain = 1;  // tanh
        break;
      case 1:
        spec.layers.push_back(random.dense(width, units, from.PickValueInArray(kActivations)));
        width = units;
        gain *= 1.7;  // largest singular value of a Glorot matrix, about
        break;
      case 2:
        spec.layers.push_back(random.affine(width));
        gain *= 2;
        break;
      case 3:
        spec.layers.push_back(linkcast::ActivationSpec{from.PickValueInArray(kActivations)});
        break;
      case 4:
        if (sequence) spec.layers.push_back(linkcast::LastStepSpec{});
        sequence = false;
        break;
      case 5:
        spec.layers.push_back(linkcast::SoftmaxSpec{random.uniform(0.1F, 1.0F)});
        break;
      case 6:
        spec.layers.push_back(linkcast::NormaliseSpec{random.uniform(1.0F, 2.0F)});  // divides by 1 at least
        break;
      case 7:
        if (sequence || repeated) break;
        spec.layers.push_back(linkcast::RepeatSpec{from.ConsumeIntegralInRange<std::size_t>(1, 9)});
        sequence = repeated = true;
        break;
      case 8:
        if (!sequence) break;
        spec.layers.push_back(random.gru(width, units, from.ConsumeBool()));
        width = units;
        gain = 1;  // tanh
        break;
      case 9:
        if (!sequence) break;
        spec.layers.push_back(linkcast::ReverseSpec{});
        break;
      case 10: {
        if (!sequence || units > 64) break;
        linkcast::BidirectionalSpec both{random.lstm(width, units), random.gru(width, units, from.ConsumeBool()),
                                         from.PickValueInArray(kMerges), from.ConsumeBool()};
        width = both.merge == linkcast::BidirectionalSpec::Merge::concatenate ? 2 * units : units;
        sequence = both.sequence;
        spec.layers.emplace_back(std::move(both));
        gain = 1;
        break;
      }
      default:
        if (!sequence || repeated || width * spec.steps > 512) break;
        spec.layers.push_back(linkcast::FlattenSpec{});
        width *= spec.steps;
        sequence = false;
    }
  }
  return spec;
}

const char* text_of(Isa isa, Precision precision, std::size_t batch) {
  static std::string text;
  text = std::string(isa_name(isa)) + ", precision " + std::to_string(static_cast<int>(precision)) + ", batch " +
         std::to_string(batch);
  return text.c_str();
}

std::vector<float> run(Network& network, const std::vector<float>& input, std::size_t batch) {
  std::vector<float> output(batch * network.output_steps() * network.outputs(), std::nanf(""));
  network.run(input.data(), batch, output.data());
  return output;
}

void check_near(const std::vector<float>& got, const std::vector<double>& expected, double tolerance,
                const char* which) {
  FUZZ_CHECK(got.size() == expected.size(), "%s: %zu outputs, not %zu", which, got.size(), expected.size());
  double unit = 1;
  for (const double value : expected) unit = std::max(unit, std::fabs(value));
  for (std::size_t n = 0; n < got.size(); ++n)
    FUZZ_CHECK(std::fabs(static_cast<double>(got[n]) - expected[n]) <= tolerance * unit,
               "%s: output %zu is %.9g, not %.9g (tolerance %g)", which, n, static_cast<double>(got[n]), expected[n],
               tolerance * unit);
}

void check_steps(Network& network, const std::vector<float>& input, std::size_t batch,
                 const std::vector<double>& expected, double tolerance, const char* which) {
  if (!network.can_step()) return;
  std::vector<float> states(batch * network.state_size()), output(batch * network.outputs());
  const std::size_t window = network.steps() * network.features();
  for (std::size_t t = 0; t < network.steps(); ++t)
    network.step(input.data() + t * network.features(), window, batch, states.data(),
                 t + 1 == network.steps() ? output.data() : nullptr);
  check_near(output, expected, tolerance, which);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider from(data, size);
  reference::Random random(from.ConsumeIntegral<std::uint16_t>());
  const std::size_t batch = from.ConsumeIntegralInRange<std::size_t>(1, 17);
  const std::size_t reserved = from.ConsumeIntegralInRange<std::size_t>(1, 17);
  const float spread = from.PickValueInArray({1.0F, 1.0F, 1e-3F, 1e-40F, 0.0F, 3.0F});
  double gain = 1;
  const NetworkSpec spec = network_of(from, random, gain);
  const std::size_t window = spec.steps * spec.features;
  const auto input = random.floats(batch * window, -spread, spread);
  std::vector<double> expected;
  for (std::size_t row = 0; row < batch; ++row) {
    const auto answer = reference::run(spec, input.data() + row * window);
    expected.insert(expected.end(), answer.begin(), answer.end());
  }
  const double scale = std::max(1.0, static_cast<double>(spread));
  for (const Precision precision : {Precision::float32, Precision::bfloat16, Precision::int8}) {
    const double rounding = kRounding[static_cast<int>(precision)];
    // Each layer adds its rounding, and hands on that of those before it.
    const double loose =
        std::max(kFloatTolerance, 4 * rounding * static_cast<double>(spec.layers.size()) * gain) * scale;
    std::vector<double> scalar;
    for (const Isa isa : linkcast::supported_isas()) {
      Network network(spec, isa, precision);
      network.reserve(reserved);
      const char* which = text_of(isa, precision, batch);
      const auto got = run(network, input, batch);
      check_near(got, expected, precision == Precision::float32 ? kFloatTolerance * gain * scale : loose, which);
      check_steps(network, input, batch, expected,
                  precision == Precision::float32 ? kFloatTolerance * gain * scale : loose, which);
      if (isa == Isa::scalar) scalar.assign(got.begin(), got.end());
      const std::string name = network.kernels_name();
      const bool rounds_inputs = name.find("dot") != std::string::npos || name.find("vnni") != std::string::npos;
      if (!rounds_inputs) check_near(got, scalar, kSameWeightsTolerance * gain * scale, which);
    }
  }
  return 0;
}
