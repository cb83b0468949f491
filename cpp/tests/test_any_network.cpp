// Random networks of every layer in any order, on every table of kernels that the CPU runs: whole windows in batches of all
// sizes, steps, two cores, deadlines, masks and numbers that are none, against the layers' definitions in double precision.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>

#include "check.h"
#include "kernel_tables.h"
#include "kernels/network.h"
#include "network_reference.h"

using linkcast::Activation;
using linkcast::BidirectionalSpec;
using linkcast::Deadline;
using linkcast::Helper;
using linkcast::Network;
using linkcast::NetworkSpec;
using linkcast::Precision;
using linkcast::kernels::Kernels;
using linkcast::kernels::WeightFormat;
using Merge = BidirectionalSpec::Merge;

namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr double kFloatTolerance = 3e-6;  // a normalisation of few values enlarges what is promised of a layer
constexpr double kReducedTolerance =
    6e-2;                             // of weights rounded to 1/254 of a row's largest, through up to seven layers
constexpr std::size_t kDistinct = 5;  // windows; larger batches repeat them

/// A sequence of layers, each of the width that the one before has, as it is put together.
class Stack {
 public:
  explicit Stack(unsigned seed) : random_(seed) {
    spec_.steps = random_.integer(1, 3) == 1 ? random_.integer(1, 4) : random_.integer(1, 17);
    spec_.features = random_.integer(1, 12);
    spec_.sequence_input = true;
    width_ = spec_.features;
    const bool masked = one_of(4);
    if (masked) spec_.mask_value = 0.25F;
    sequence(masked);
    end(masked);
    while (random_.integer(0, 1) == 1) add(random_.dense(width_, random_.integer(1, 40), any_activation()));
    if (one_of(4)) {  // an autoencoder: more steps than the window has
      add(linkcast::RepeatSpec{random_.integer(1, 24)});
      sequence(false);
      if (one_of(2)) add(linkcast::LastStepSpec{});
    }
    if (one_of(2)) add(random_.dense(width_, random_.integer(1, 9), Activation::none));
    if (one_of(5)) add(linkcast::SoftmaxSpec{0.7F});
  }

  const NetworkSpec& spec() const { return spec_; }
  reference::Random& random() { return random_; }

 private:
  bool one_of(std::size_t n) { return random_.integer(1, n) == 1; }
  std::size_t units() {
    const std::size_t kind = random_.integer(0, 5);
    return random_.integer(1, kind < 3 ? 36 : kind < 5 ? 130 : 200);
  }
  Activation any_activation() { return static_cast<Activation>(random_.integer(0, 6)); }

  template <class Layer>
  void add(const Layer& layer) {
    if constexpr (requires { layer.units; }) width_ = layer.units;
    spec_.layers.push_back(layer);
  }

  linkcast::LstmSpec lstm(std::size_t units) {
    linkcast::LstmSpec made = random_.lstm(width_, units);
    if (one_of(6)) made.cell_clip = 0.3F;
    if (one_of(8)) made.activation = Activation::relu;
    return made;
  }

  void both_ways(bool sequence) {
    const std::size_t units = random_.integer(1, 40);
    BidirectionalSpec both{lstm(units), lstm(units), static_cast<Merge>(random_.integer(0, 2)), sequence};
    if (one_of(3)) both.backward = random_.gru(width_, units, one_of(2));
    add(both);
    width_ = both.merge == Merge::concatenate ? 2 * units : units;
  }

  void sequence(bool masked) {
    const std::size_t count = random_.integer(1, 5);
    for (std::size_t i = 0; i < count; ++i) {
      switch (random_.integer(0, 12)) {
        case 0:
          add(random_.gru(width_, random_.integer(1, 40), one_of(2)));
          break;
        case 1:
          add(random_.affine(width_));
          break;
        case 2:
          add(linkcast::NormaliseSpec{0.3F});
          break;
        case 3:
          add(random_.dense(width_, random_.integer(1, 40), any_activation()));
          break;
        case 4:
          if (!masked) add(linkcast::ReverseSpec{});
          break;
        case 5:
          both_ways(true);
          break;
        case 6:
          add(linkcast::ActivationSpec{any_activation()});
          break;
        default:
          add(lstm(units()));
      }
    }
  }

  void end(bool masked) {
    if (masked) {
      add(linkcast::UnmaskSpec{one_of(2)});
      if (one_of(2)) sequence(false);
    }
    switch (random_.integer(0, masked ? 3 : 5)) {
      case 0:
        both_ways(false);
        break;
      case 1:
        add(linkcast::FlattenSpec{});
        width_ *= spec_.steps;
        break;
      default:
        add(linkcast::LastStepSpec{});
    }
  }

  reference::Random random_;
  NetworkSpec spec_;
  std::size_t width_ = 0;
};

/// A network with its windows, and what they give.
struct Sample {
  NetworkSpec spec;
  std::size_t window = 0;  // floats
  std::size_t outputs = 0;
  std::vector<float> inputs;                  // (kDistinct, window)
  std::vector<std::vector<double>> expected;  // (kDistinct, outputs)

  explicit Sample(unsigned seed) {
    Stack stack(seed);
    spec = stack.spec();
    window = spec.steps * spec.features;
    inputs = stack.random().floats(kDistinct * window, -1.0F, 1.0F);
    for (std::size_t row = 0; spec.mask_value && row < kDistinct * spec.steps; ++row)
      if (row / spec.steps != 1 && stack.random().integer(0, 3) == 0)  // one window has no gaps
        std::fill_n(&inputs[row * spec.features], spec.features, *spec.mask_value);
    for (std::size_t b = 0; b < kDistinct; ++b) expected.push_back(reference::run(spec, &inputs[b * window]));
    outputs = expected.front().size();
  }

  std::vector<float> batch(std::size_t rows) const {
    std::vector<float> all;
    for (std::size_t b = 0; b < rows; ++b) {
      const auto from = inputs.begin() + static_cast<std::ptrdiff_t>(b % kDistinct * window);
      all.insert(all.end(), from, from + static_cast<std::ptrdiff_t>(window));
    }
    return all;
  }
};

/// Of exactly as many floats as are asked for: an address sanitizer sees one too many.
std::vector<float> run(Network& network, const std::vector<float>& input, std::size_t batch, Deadline deadline = {}) {
  std::vector<float> output(batch * network.output_steps() * network.outputs(), kNaN);
  network.run(input.data(), batch, output.data(), deadline);
  return output;
}

bool same_bits(const float* a, const float* b, std::size_t count) {
  return count == 0 || std::memcmp(a, b, count * sizeof(float)) == 0;
}

void check_near_expected(const Sample& sample, const std::vector<float>& output, const Kernels& table) {
  const double tolerance = table.format == WeightFormat::float32 ? kFloatTolerance : kReducedTolerance;
  for (std::size_t k = 0; k < output.size(); ++k) {
    const auto& expected = sample.expected[k / sample.outputs % kDistinct];
    double unit = 1.0;
    for (const double value : expected) unit = std::max(unit, std::fabs(value));
    CHECK_NEAR(output[k] / unit, expected[k % sample.outputs] / unit, tolerance);
  }
}

/// A number of one row that is none: the row's outputs are none where the definitions say so, and no other row's change.
void check_poisoned(const Sample& sample, Network& network, std::size_t batch, reference::Random& random) {
  const auto clean = sample.batch(batch);
  const auto before = run(network, clean, batch);
  for (const float poison : {kNaN, kInfinity, -kInfinity, 3e38F}) {
    auto input = clean;
    const std::size_t row = random.integer(0, batch - 1);
    float& value = input[row * sample.window + random.integer(0, sample.window - 1)];
    // To end the only gap in a batch would be another thing: windows with gaps run one by one, with other last bits.
    if (sample.spec.mask_value == value) continue;
    value = poison;
    const auto after = run(network, input, batch);
    for (std::size_t b = 0; b < batch; ++b)
      if (b != row) CHECK(same_bits(&before[b * sample.outputs], &after[b * sample.outputs], sample.outputs));
    if (!std::isnan(poison)) continue;
    const auto expected = reference::run(sample.spec, &input[row * sample.window]);
    for (std::size_t k = 0; k < sample.outputs; ++k)
      if (std::isnan(expected[k])) CHECK(std::isnan(after[row * sample.outputs + k]));
  }
  CHECK(same_bits(run(network, clean, batch).data(), before.data(), before.size()));  // nothing of it stays
}

/// Windows that are given up at any step leave nothing behind, and one that is not gives the answer.
void check_deadlines(const Sample& sample, Network& network, std::size_t batch, reference::Random& random) {
  const auto input = sample.batch(batch);
  const auto before = run(network, input, batch);
  for (int k = 0; k < 3; ++k) {
    std::vector<float> output(before.size(), kNaN);
    const auto limit = Deadline::in(random.integer(1, 60'000));
    if (network.run(input.data(), batch, output.data(), limit)) check_near_expected(sample, output, network.table());
    CHECK(same_bits(run(network, input, batch).data(), before.data(), before.size()));
  }
}

void check_second_core(const Sample& sample, Network& network, const std::shared_ptr<Helper>& helper,
                       reference::Random& random) {
  if (!network.has_tail()) return;
  auto input = sample.batch(1);
  for (const float poison : {0.0F, kNaN, kInfinity}) {
    if (poison != 0.0F) input[random.integer(0, sample.window - 1)] = poison;
    const Deadline limits[] = {{}, Deadline::in(1'000'000'000'000)};  // under a deadline, other sums go together
    std::vector<float> one[2];
    for (int k = 0; k < 2; ++k) one[k] = run(network, input, 1, limits[k]);
    network.share_tail(helper, {20'000'000, 20'000'000});
    for (int k = 0; k < 4; ++k) {
      const auto& alone = one[k % 2];
      const auto two = run(network, input, 1, limits[k % 2]);
      for (std::size_t i = 0; i < two.size(); ++i)
        CHECK(std::isnan(alone[i]) ? std::isnan(two[i]) : same_bits(&alone[i], &two[i], 1));
    }
    std::vector<float> unused(one[0].size());
    network.run(input.data(), 1, unused.data(), Deadline::in(random.integer(1, 20'000)));
    network.share_tail(nullptr, {});
  }
}

/// Each row of a step, in batches of all sizes, has the bits that it has by itself, and the last one gives the window's answer.
void check_steps(const Sample& sample, Network& network, std::size_t batch) {
  if (!network.can_step()) return;
  const auto input = sample.batch(batch);
  const std::size_t size = network.state_size();
  std::vector<float> together(batch * size, 0.0F), apart(kDistinct * size, 0.0F);
  std::vector<float> output(batch * network.outputs(), kNaN), alone(kDistinct * network.outputs(), kNaN);
  for (std::size_t t = 0; t < sample.spec.steps; ++t) {
    const float* samples = input.data() + t * sample.spec.features;
    network.step(samples, sample.window, batch, together.data(), output.data());
    for (std::size_t b = 0; b < std::min(batch, kDistinct); ++b)
      network.step(samples + b * sample.window, sample.window, 1, apart.data() + b * size,
                   &alone[b * network.outputs()]);
    for (std::size_t b = 0; b < batch; ++b) {
      CHECK(same_bits(together.data() + b * size, apart.data() + b % kDistinct * size, size));
      CHECK(same_bits(&output[b * network.outputs()], &alone[b % kDistinct * network.outputs()], network.outputs()));
    }
  }
  check_near_expected(sample, output, network.table());
}

void check_network(unsigned seed, const std::shared_ptr<Helper>& helper) {
  const Sample sample(seed);
  reference::Random random(seed + 1);
  constexpr std::size_t batches[] = {2, 3, 4, 5, 6, 7, 13, 24, 48, 49, 100};
  for (const linkcast::Isa isa : linkcast::supported_isas()) {
    for (const Kernels* table : tables(isa, {Precision::float32, Precision::bfloat16, Precision::int8})) {
      const std::size_t batch = batches[random.integer(0, std::size(batches) - 1)];
      try {
        Network network(sample.spec, *table);
        check_near_expected(sample, run(network, sample.batch(1), 1), *table);
        check_near_expected(sample, run(network, sample.batch(batch), batch), *table);  // in parts of one
        check_second_core(sample, network, helper, random);
        check_steps(sample, network, std::min<std::size_t>(batch, 7));
        check_poisoned(sample, network, 1, random);
        check_deadlines(sample, network, 1, random);
        network.reserve(batch);
        check_near_expected(sample, run(network, sample.batch(batch), batch), *table);
        check_steps(sample, network, batch);
        check_poisoned(sample, network, std::min<std::size_t>(batch, 24), random);
        check_deadlines(sample, network, batch, random);
        check_near_expected(sample, run(network, sample.batch(1), 1), *table);
      } catch (const check::Failure& failure) {
        throw check::Failure(std::string(failure.what()) + "\n  network " + std::to_string(seed) + ", " + table->name +
                             ", batch " + std::to_string(batch) + ": " + Network(sample.spec, *table).shape());
      }
    }
  }
}

}  // namespace

TEST(any_network_gives_what_its_layers_define_however_it_is_run) {
  const auto helper = std::make_shared<Helper>(linkcast::SecondCore::any, linkcast::SecondCore::most_spin_us);
  for (unsigned seed = 0; seed < 14; ++seed) check_network(seed, helper);
}
