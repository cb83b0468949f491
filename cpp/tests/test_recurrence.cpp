// GRUs, LSTMs of other activations and both directions, on every instruction set and precision, against their equations
// in double precision.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "check.h"
#include "kernel_tables.h"
#include "kernels/network.h"
#include "network_reference.h"

using linkcast::Activation;
using linkcast::BidirectionalSpec;
using linkcast::GruSpec;
using linkcast::Isa;
using linkcast::LstmSpec;
using linkcast::Network;
using linkcast::NetworkSpec;
using linkcast::Precision;
using linkcast::supported_isas;
using linkcast::kernels::WeightFormat;
using Merge = BidirectionalSpec::Merge;

namespace {

constexpr double kFloatTolerance = 1e-6;    // as promised against TensorFlow
constexpr double kReducedTolerance = 2e-2;  // of weights rounded to 1/254 of a row's largest, through a few layers
constexpr std::size_t kBatch = 13;

using Recurrence = std::variant<LstmSpec, GruSpec>;

LstmSpec other_lstm(reference::Random& random, std::size_t inputs, std::size_t units, Activation activation,
                    Activation gates) {
  LstmSpec spec = random.lstm(inputs, units);
  spec.activation = activation;
  spec.gate_activation = gates;
  return spec;
}

/// Every kind of recurrence that has a path of its own.
std::vector<Recurrence> recurrences(unsigned seed, std::size_t inputs, std::size_t units) {
  reference::Random random(seed);
  std::vector<Recurrence> all;
  for (const bool after : {true, false}) {
    all.emplace_back(random.gru(inputs, units, after));
    GruSpec other = random.gru(inputs, units, after);
    other.activation = Activation::relu;
    other.gate_activation = Activation::unit;
    all.emplace_back(other);
  }
  all.emplace_back(other_lstm(random, inputs, units, Activation::relu, Activation::sigmoid));
  all.emplace_back(other_lstm(random, inputs, units, Activation::none, Activation::sigmoid));
  all.emplace_back(other_lstm(random, inputs, units, Activation::sigmoid, Activation::sigmoid));
  all.emplace_back(other_lstm(random, inputs, units, Activation::tanh, Activation::unit));
  return all;
}

linkcast::LayerSpec layer(const Recurrence& recurrence) {
  return std::visit([](const auto& typed) -> linkcast::LayerSpec { return typed; }, recurrence);
}

NetworkSpec network_of(const Recurrence& recurrence, std::size_t steps, std::size_t inputs) {
  return {steps, inputs, true, {layer(recurrence), linkcast::LastStepSpec{}}};
}

/// Largest distance to double precision, relative to the outputs' size where it is above one.
double error_of(Network& network, const NetworkSpec& spec, const std::vector<float>& input, std::size_t batch) {
  const std::size_t outputs = network.outputs() * network.output_steps();
  std::vector<float> output(batch * outputs, std::numeric_limits<float>::quiet_NaN());
  network.run(input.data(), batch, output.data());
  double worst = 0.0;
  for (std::size_t b = 0; b < batch; ++b) {
    const auto expected = reference::run(spec, input.data() + b * spec.steps * spec.features);
    CHECK_EQ(expected.size(), outputs);
    double unit = 1.0;
    for (const double value : expected) unit = std::max(unit, std::fabs(value));
    for (std::size_t j = 0; j < outputs; ++j) {
      const double error = std::fabs(static_cast<double>(output[b * outputs + j]) - expected[j]) / unit;
      if (!(error <= worst)) worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
    }
  }
  return worst;
}

/// Whole windows on every instruction set and precision, at batches on both sides of every way to cut one.
void check_whole(const NetworkSpec& spec, unsigned seed) {
  const auto input = reference::Random(seed).floats(kBatch * spec.steps * spec.features, -1.0f, 1.0f);
  for (const Isa isa : supported_isas()) {
    for (const auto* table : tables(isa, {Precision::float32, Precision::bfloat16, Precision::int8})) {
      Network network(spec, *table);
      const double tolerance = table->format == WeightFormat::float32 ? kFloatTolerance : kReducedTolerance;
      for (const std::size_t batch : {std::size_t{1}, std::size_t{2}, std::size_t{5}, kBatch}) {
        network.reserve(batch);
        CHECK_NEAR(error_of(network, spec, input, batch), 0.0, tolerance);
      }
    }
  }
}

/// Windows step by step, as a stream takes them, on every instruction set and precision.
void check_steps(const NetworkSpec& spec, const std::vector<float>& input, double reduced_tolerance) {
  const std::size_t window = spec.steps * spec.features;
  for (const Isa isa : supported_isas()) {
    for (const auto* table : tables(isa, {Precision::float32, Precision::bfloat16, Precision::int8})) {
      Network network(spec, *table);
      CHECK(network.can_step());
      network.reserve(5);
      const std::size_t outputs = network.outputs();
      std::vector<float> whole(kBatch * outputs), stepped(kBatch * outputs);
      std::vector<float> states(kBatch * network.state_size(), 0.0f);
      network.run(input.data(), kBatch, whole.data());
      for (std::size_t t = 0; t < spec.steps; ++t)
        network.step(input.data() + t * spec.features, window, kBatch, states.data(),
                     t + 1 == spec.steps ? stepped.data() : nullptr);
      const bool plain = table->format == WeightFormat::float32;
      for (std::size_t k = 0; k < whole.size(); ++k) {
        const double unit = std::max(1.0, std::fabs(static_cast<double>(whole[k])));
        CHECK_NEAR(whole[k] / unit, stepped[k] / unit, plain ? kFloatTolerance : reduced_tolerance);
      }
    }
  }
}

}  // namespace

TEST(every_recurrence_matches_its_equations) {
  for (const std::size_t units : {1, 7, 16, 33})
    for (const std::size_t inputs : {1, 5, 18}) {
      const auto seed = static_cast<unsigned>(100 * units + inputs);
      for (const auto& recurrence : recurrences(seed, inputs, units))
        check_whole(network_of(recurrence, 6, inputs), seed);
    }
}

TEST(a_stack_with_normalisation_matches_its_equations) {
  reference::Random random(3);
  GruSpec before = random.gru(40, 24, false);
  check_whole({9,
               4,
               true,
               {random.affine(4), random.gru(4, 40, true), random.affine(40), before,
                other_lstm(random, 24, 17, Activation::relu, Activation::sigmoid), linkcast::LastStepSpec{},
                random.dense(17, 3, Activation::unit)}},
              4);
}

TEST(both_directions_match_their_equations) {
  reference::Random random(5);
  for (const bool sequence : {false, true}) {
    for (const Merge merge : {Merge::concatenate, Merge::sum, Merge::product}) {
      for (const std::size_t units : {1, 9, 32}) {
        NetworkSpec spec{7, 3, true, {random.affine(3)}};
        spec.layers.push_back(BidirectionalSpec{random.lstm(3, units), random.lstm(3, units), merge, sequence});
        const std::size_t width = merge == Merge::concatenate ? 2 * units : units;
        spec.layers.push_back(random.affine(width));
        if (sequence) spec.layers.push_back(random.gru(width, 5, true));
        spec.layers.push_back(random.dense(sequence ? 5 : width, 2, Activation::none));
        check_whole(spec, static_cast<unsigned>(units));
      }
    }
  }
  // Directions of two kinds and sizes.
  check_whole({5, 3, true, {BidirectionalSpec{random.gru(3, 20, true), random.lstm(3, 7), Merge::concatenate, true}}},
              6);
}

TEST(a_reversed_sequence_matches_its_equations) {
  reference::Random random(7);
  check_whole({6,
               3,
               true,
               {random.affine(3), linkcast::ReverseSpec{}, random.gru(3, 18, true), linkcast::ReverseSpec{},
                random.lstm(18, 4)}},
              8);
}

TEST(one_step_of_any_recurrence_at_a_time_gives_the_whole_windows_answer) {
  constexpr std::size_t steps = 8, inputs = 3, units = 21;
  for (const auto& recurrence : recurrences(9, inputs, units)) {
    reference::Random random(10);
    NetworkSpec spec = network_of(recurrence, steps, inputs);
    spec.layers.insert(spec.layers.begin() + 1, random.gru(units, 6, true));
    spec.layers.push_back(random.dense(6, 2, Activation::none));
    const auto input = random.floats(kBatch * steps * inputs, -1.0f, 1.0f);
    check_steps(spec, input, 5e-3);
  }
}

TEST(random_networks_of_every_kind_of_recurrence_match_double_precision) {
  for (unsigned seed = 200; seed < 230; ++seed) {
    const NetworkSpec spec = reference::any_recurrence(seed, true);
    check_whole(spec, seed);
  }
}

TEST(random_networks_stepped_through_give_the_whole_windows_answer) {
  for (unsigned seed = 300; seed < 330; ++seed) {
    const NetworkSpec spec = reference::any_recurrence(seed, false);
    const auto input = reference::Random(seed).floats(kBatch * spec.steps * spec.features, -1.0f, 1.0f);
    check_steps(spec, input, kReducedTolerance);
  }
}

TEST(a_row_of_a_step_has_its_bits_whatever_stands_beside_it) {
  for (const std::size_t units : {5, 21, 40}) {
    for (const auto& recurrence : recurrences(17, 3, units)) {
      const NetworkSpec spec = network_of(recurrence, 4, 3);
      const auto input = reference::Random(18).floats(kBatch * 3, -1.0f, 1.0f);
      for (const Isa isa : supported_isas()) {
        Network network(spec, isa);
        network.reserve(kBatch);
        std::vector<float> together(kBatch * network.state_size(), 0.25f), apart = together;
        network.step(input.data(), 3, kBatch, together.data(), nullptr);
        for (std::size_t row = 0; row < kBatch; ++row)
          network.step(input.data() + row * 3, 3, 1, apart.data() + row * network.state_size(), nullptr);
        CHECK(std::memcmp(together.data(), apart.data(), apart.size() * sizeof(float)) == 0);
      }
    }
  }
}

TEST(what_reads_the_newest_step_first_cannot_step) {
  reference::Random random(11);
  const auto last = linkcast::LastStepSpec{};
  CHECK(Network({4, 3, true, {random.gru(3, 5, true), last}}, Isa::scalar).can_step());
  CHECK(!Network({4, 3, true, {linkcast::ReverseSpec{}, random.gru(3, 5, true), last}}, Isa::scalar).can_step());
  const BidirectionalSpec both{random.lstm(3, 5), random.lstm(3, 5), Merge::sum, true};
  CHECK(!Network({4, 3, true, {both, random.lstm(5, 2), last}}, Isa::scalar).can_step());
}

TEST(a_deadline_in_between_changes_no_answer) {
  reference::Random random(12);
  const NetworkSpec spec{
      5, 3, true, {BidirectionalSpec{random.gru(3, 9, true), random.lstm(3, 9), Merge::concatenate, false}}};
  const auto input = random.floats(spec.steps * spec.features, -1.0f, 1.0f);
  for (const Isa isa : supported_isas()) {
    Network network(spec, isa);
    std::vector<float> without(18), with(18);
    network.run(input.data(), 1, without.data());
    CHECK(network.run(input.data(), 1, with.data(), linkcast::Deadline::in(1'000'000'000'000)));
    for (std::size_t k = 0; k < with.size(); ++k) CHECK_NEAR(with[k], without[k], kFloatTolerance);
  }
}

TEST(a_step_behind_a_run_that_was_given_up_gives_its_answer) {
  reference::Random random(18);
  const NetworkSpec spec{4,
                         3,
                         true,
                         {random.gru(3, 9, true), linkcast::LastStepSpec{}, linkcast::NormaliseSpec{1.0f},
                          random.dense(9, 2, Activation::none)}};
  const auto input = random.floats(12, 0.0f, 1.0f);
  for (const Isa isa : supported_isas()) {
    Network network(spec, isa);
    std::vector<float> states(network.state_size());
    std::vector<float> whole(2), stepped(2, std::numeric_limits<float>::quiet_NaN());
    CHECK(network.run(input.data(), 1, whole.data()));
    std::vector<float> unused(2);
    CHECK(!network.run(input.data(), 1, unused.data(), linkcast::Deadline{1}));
    for (std::size_t t = 0; t < 4; ++t) network.step(input.data() + t * 3, 3, 1, states.data(), stepped.data());
    for (std::size_t k = 0; k < 2; ++k) CHECK_NEAR(stepped[k], whole[k], kFloatTolerance);
  }
}

TEST(a_limited_cell_state_of_other_activations_is_kept_within) {
  reference::Random random(13);
  LstmSpec lstm = other_lstm(random, 3, 9, Activation::relu, Activation::sigmoid);
  lstm.cell_clip = 0.05f;
  check_whole(network_of(lstm, 6, 3), 14);
}

TEST(a_nan_in_the_input_is_a_nan_in_the_recurrences_output) {
  for (const auto& recurrence : recurrences(15, 3, 5)) {
    // The hard sigmoid's limits keep a NaN as well.
    const NetworkSpec spec = network_of(recurrence, 4, 3);
    for (const Isa isa : supported_isas()) {
      for (const Precision precision : {Precision::float32, Precision::bfloat16, Precision::int8}) {
        Network network(spec, isa, precision);
        network.reserve(2);
        auto input = reference::Random(2).floats(2 * 12, 0.0f, 1.0f);
        input[12 + 1] = std::numeric_limits<float>::quiet_NaN();
        std::vector<float> output(10);
        network.run(input.data(), 2, output.data());
        CHECK(std::isnan(output.back()));
        CHECK(std::isfinite(output.front()));
      }
    }
  }
}

TEST(recurrences_whose_sizes_do_not_fit_are_refused) {
  reference::Random random(16);
  CHECK_THROWS(Network({3, 4, true, {random.gru(5, 6, true)}}, Isa::scalar), "a GRU whose inputs do not match");
  GruSpec short_bias = random.gru(4, 6, true);
  short_bias.recurrent_bias.clear();
  CHECK_THROWS(Network({3, 4, true, {short_bias}}, Isa::scalar), "a GRU whose weights do not match its units");
  const BidirectionalSpec uneven{random.lstm(4, 3), random.lstm(4, 5), Merge::sum, false};
  CHECK_THROWS(Network({3, 4, true, {uneven}}, Isa::scalar), "a bidirectional layer whose outputs can't meet");
}

TEST(a_recurrences_own_matrices_are_read_at_each_step_behind_the_first) {
  // 64 units fill whole panels on every instruction set: no padding is read.
  for (const auto& recurrence : recurrences(17, 4, 64)) {
    const std::size_t gates = std::holds_alternative<GruSpec>(recurrence) ? 3 : 4;
    for (const Isa isa : supported_isas()) {
      const Network one(network_of(recurrence, 1, 4), isa);
      const Network five(network_of(recurrence, 5, 4), isa);
      CHECK_EQ(five.bytes_read() - one.bytes_read(), 4 * gates * 64 * 64 * sizeof(float));
    }
  }
}
