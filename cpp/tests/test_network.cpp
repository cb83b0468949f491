#include "kernels/network.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "check.h"
#include "kernel_tables.h"
#include "network_reference.h"

using linkcast::Activation;
using linkcast::Isa;
using linkcast::Network;
using linkcast::NetworkSpec;
using linkcast::Precision;
using linkcast::supported_isas;
using linkcast::kernels::Kernels;
using linkcast::kernels::WeightFormat;

namespace {

// Against double precision on the same float weights. Float sums of up to a few hundred terms of size one lose some
// 1e-7 and the activations 2e-7; outputs lie within about one, and the bound is the one promised against TensorFlow.
constexpr double float_tolerance = 1e-6;

std::size_t input_size(const NetworkSpec& spec) { return (spec.sequence_input ? spec.steps : 1) * spec.features; }

/// What the reference gives, (batch, outputs).
std::vector<double> reference_of(const NetworkSpec& spec, const std::vector<float>& input, std::size_t batch) {
  std::vector<double> all;
  for (std::size_t b = 0; b < batch; ++b) {
    const auto outputs = reference::run(spec, input.data() + b * input_size(spec));
    all.insert(all.end(), outputs.begin(), outputs.end());
  }
  return all;
}

/// Largest distance to the reference over a batch, relative to the outputs' size where it is above one.
/// @param expected  of `batch` windows or more
double error_of(Network& network, const std::vector<float>& input, std::size_t batch,
                const std::vector<double>& expected) {
  std::vector<float> output(batch * network.outputs() * network.output_steps(),
                            std::numeric_limits<float>::quiet_NaN());
  network.run(input.data(), batch, output.data());
  double worst = 0.0;
  for (std::size_t i = 0; i < output.size(); ++i) {
    const double error =
        std::fabs(static_cast<double>(output[i]) - expected[i]) / std::max(1.0, std::fabs(expected[i]));
    if (!(error <= worst)) worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
  }
  return worst;
}

double error_of(Network& network, const NetworkSpec& spec, const std::vector<float>& input, std::size_t batch) {
  return error_of(network, input, batch, reference_of(spec, input, batch));
}

NetworkSpec random_lstm_network(unsigned seed) {
  reference::Random random(seed);
  NetworkSpec spec;
  spec.sequence_input = true;
  spec.steps = random.integer(1, 64);
  spec.features = random.integer(1, 16);
  std::size_t width = spec.features;
  const std::size_t layers = random.integer(1, 4);
  for (std::size_t i = 0; i < layers; ++i) {
    const std::size_t units = random.integer(1, 200);
    spec.layers.push_back(random.lstm(width, units));
    width = units;
    if (random.integer(0, 1) == 1) spec.layers.push_back(random.affine(width));
  }
  spec.layers.push_back(linkcast::LastStepSpec{});
  spec.layers.push_back(random.dense(width, 7, Activation::tanh));
  spec.layers.push_back(random.dense(7, 1, Activation::none));
  return spec;
}

}  // namespace

TEST(the_forecaster_matches_double_precision_on_every_isa_and_batch) {
  const NetworkSpec spec = reference::forecaster(1);
  const auto input = reference::Random(2).floats(101 * input_size(spec), 0.0f, 1.0f);
  const auto expected = reference_of(spec, input, 101);
  for (const Isa isa : supported_isas()) {
    Network network(spec, isa);
    for (const std::size_t batch : {1, 2, 3, 4, 5, 6, 7, 13, 47, 48, 49, 101}) {
      network.reserve(batch);
      CHECK_NEAR(error_of(network, input, batch, expected), 0.0, float_tolerance);
    }
  }
}

TEST(the_allocator_matches_double_precision_on_every_isa_and_batch) {
  const NetworkSpec spec = reference::allocator(3);
  const auto input = reference::Random(4).floats(101 * input_size(spec), 0.0f, 1.0f);
  for (const Isa isa : supported_isas()) {
    Network network(spec, isa);
    for (const std::size_t batch : {1, 2, 3, 7, 100, 101}) CHECK_NEAR(error_of(network, spec, input, batch), 0.0, 2e-6);
  }
}

TEST(random_lstm_networks_match_double_precision) {
  for (unsigned seed = 100; seed < 130; ++seed) {
    const NetworkSpec spec = random_lstm_network(seed);
    const auto input = reference::Random(seed).floats(7 * input_size(spec), -1.0f, 1.0f);
    const auto expected = reference_of(spec, input, 7);
    for (const Isa isa : supported_isas()) {
      Network network(spec, isa);
      CHECK_NEAR(error_of(network, input, 1, expected), 0.0, float_tolerance);
      network.reserve(7);
      CHECK_NEAR(error_of(network, input, 7, expected), 0.0, float_tolerance);
    }
  }
}

TEST(rows_of_every_width_are_shared_out_and_normalised) {
  for (const std::size_t width : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 130}) {
    NetworkSpec softmax{3, width, true, {linkcast::SoftmaxSpec{0.7f}}};
    NetworkSpec normalise{3, width, true, {linkcast::NormaliseSpec{1e-3f}}};
    const auto input = reference::Random(static_cast<unsigned>(width)).floats(7 * 3 * width, -3.0f, 3.0f);
    for (const Isa isa : supported_isas()) {
      for (const NetworkSpec* spec : {&softmax, &normalise}) {
        Network network(*spec, isa);
        for (const std::size_t batch : {1, 7}) {
          network.reserve(batch);
          CHECK_NEAR(error_of(network, *spec, input, batch), 0.0, float_tolerance);
        }
      }
    }
  }
}

TEST(a_softmax_of_any_size_of_values_neither_overflows_nor_counts_what_is_behind_the_row) {
  for (const float level : {-3e38f, -1e4f, -90.0f, 0.0f, 90.0f, 1e4f, 3e38f}) {
    const NetworkSpec spec{1, 5, false, {linkcast::SoftmaxSpec{}}};
    const std::vector<float> input(5, level);
    for (const Isa isa : supported_isas()) {
      Network network(spec, isa);
      CHECK_NEAR(error_of(network, spec, input, 1), 0.0, float_tolerance);  // a fifth each
    }
  }
}

TEST(a_large_mean_leaves_the_normalised_row_as_it_is) {
  // 4096 + small whole numbers and a mean that is one: the differences are exact, so that only the sums can lose
  // anything.
  const NetworkSpec spec{1, 20, false, {linkcast::NormaliseSpec{1e-5f}}};
  std::vector<float> input(20);
  for (std::size_t i = 0; i < 20; ++i) input[i] = 4096.0f + static_cast<float>(i % 5);
  for (const Isa isa : supported_isas()) {
    Network network(spec, isa);
    CHECK_NEAR(error_of(network, spec, input, 1), 0.0, float_tolerance);
  }
}

TEST(an_autoencoder_repeats_its_last_state) {
  reference::Random random(17);
  NetworkSpec spec{9, 3, true, {}};
  spec.layers = {
      random.lstm(3, 13),     linkcast::LastStepSpec{},  random.affine(13), linkcast::RepeatSpec{6},
      random.lstm(13, 21),    linkcast::NormaliseSpec{}, random.affine(21), random.dense(21, 3, Activation::none),
      linkcast::SoftmaxSpec{}};
  const auto input = random.floats(50 * input_size(spec), -1.0f, 1.0f);
  for (const Isa isa : supported_isas()) {
    Network network(spec, isa);
    CHECK_EQ(network.output_steps(), std::size_t{6});
    CHECK(!network.can_step());
    for (const std::size_t batch : {1, 2, 7, 50}) {
      network.reserve(batch);
      CHECK_NEAR(error_of(network, spec, input, batch), 0.0, float_tolerance);
    }
  }
}

TEST(a_window_under_a_mask_is_the_one_without_its_masked_steps) {
  constexpr std::size_t steps = 9, features = 3, outputs = 5;
  constexpr float missing = -2.0F;
  reference::Random random(77);
  NetworkSpec spec{steps, features, true, {}};
  spec.layers = {random.affine(features), random.lstm(features, 21), linkcast::LastStepSpec{},
                 random.dense(21, outputs, Activation::none)};
  // Whole; without its second, fifth and last step; without any; with the newest step alone.
  const std::vector<std::vector<std::size_t>> kept{{0, 1, 2, 3, 4, 5, 6, 7, 8}, {0, 2, 3, 5, 6, 7}, {}, {8}};
  std::vector<float> windows(kept.size() * steps * features, missing);
  std::vector<double> expected;
  for (std::size_t b = 0; b < kept.size(); ++b) {
    NetworkSpec shorter = spec;
    shorter.steps = kept[b].size();
    std::vector<float> window;
    for (const std::size_t t : kept[b]) {
      const auto step = random.floats(features, 0.0F, 1.0F);
      std::copy(step.begin(), step.end(), windows.begin() + static_cast<std::ptrdiff_t>((b * steps + t) * features));
      window.insert(window.end(), step.begin(), step.end());
    }
    const auto& bias = std::get<linkcast::DenseSpec>(spec.layers.back()).bias;
    const std::vector<double> answer =
        kept[b].empty() ? std::vector<double>(bias.begin(), bias.end()) : reference_of(shorter, window, 1);
    expected.insert(expected.end(), answer.begin(), answer.end());
  }
  spec.mask_value = missing;
  for (const Isa isa : supported_isas()) {
    Network network(spec, isa);
    CHECK(!network.can_step());
    network.reserve(kept.size());
    CHECK_NEAR(error_of(network, windows, kept.size(), expected), 0.0, float_tolerance);
  }
}

TEST(masked_steps_that_come_back_are_zeros_or_the_step_before) {
  constexpr std::size_t steps = 7, features = 3, count = 6;
  for (const bool zeros : {false, true}) {
    reference::Random random(zeros ? 81 : 82);
    NetworkSpec spec{steps, features, true, {random.affine(features), random.lstm(features, 19)}};
    if (zeros)
      spec.layers.push_back(linkcast::BidirectionalSpec{random.lstm(19, 5), random.gru(19, 5, true),
                                                        linkcast::BidirectionalSpec::Merge::sum, true});
    else
      spec.layers.push_back(random.gru(19, 5, true));
    spec.layers.push_back(random.affine(5));  // of what is left in alone
    spec.layers.push_back(linkcast::UnmaskSpec{zeros});
    spec.layers.push_back(random.affine(5));
    spec.layers.push_back(random.lstm(5, 4));  // goes over all steps
    spec.layers.push_back(linkcast::FlattenSpec{});
    spec.layers.push_back(random.dense(steps * 4, 3, Activation::none));
    for (const bool last : {false, true}) {
      NetworkSpec cut = spec;
      if (last) cut.layers.resize(5);  // the sequence itself is the answer
      cut.mask_value = 0.25F;
      std::vector<float> windows = random.floats(count * steps * features, 0.5F, 1.0F);
      const std::size_t gaps[count][steps] = {
          {}, {1, 1, 1, 1, 1, 1, 1}, {1, 1}, {0, 0, 0, 0, 0, 1, 1}, {0, 1, 0, 1, 1}, {1, 0, 0, 1}};
      for (std::size_t b = 0; b < count; ++b)
        for (std::size_t t = 0; t < steps; ++t)
          if (gaps[b][t] == 1) std::fill_n(&windows[(b * steps + t) * features], features, 0.25F);
      const auto expected = reference_of(cut, windows, count);
      for (const Isa isa : supported_isas()) {
        Network network(cut, isa);
        CHECK(!network.can_step());
        CHECK_EQ(network.output_steps(), last ? steps : 1);
        network.reserve(count);
        CHECK_NEAR(error_of(network, windows, count, expected), 0.0, float_tolerance);
      }
    }
  }
}

TEST(masked_steps_come_back_once_and_in_their_order_or_are_refused) {
  reference::Random random(83);
  const auto lstm = random.lstm(3, 3);
  const linkcast::UnmaskSpec unmask;
  const auto network = [&](std::vector<linkcast::LayerSpec> layers, bool masked) {
    NetworkSpec spec{4, 3, true, std::move(layers)};
    if (masked) spec.mask_value = 0.0F;
    return Network(spec, Isa::scalar);
  };
  CHECK_EQ(network({lstm, unmask}, true).output_steps(), 4U);
  CHECK_THROWS(network({lstm, unmask}, false), "gives back masked steps, and has none");
  CHECK_THROWS(network({lstm, unmask, unmask}, true), "gives back masked steps, and has none");
  CHECK_THROWS(network({lstm, linkcast::LastStepSpec{}, unmask}, true), "gives back masked steps, and has none");
  CHECK_THROWS(network({linkcast::ReverseSpec{}, lstm, unmask}, true), "or the newest first");
  CHECK_THROWS(network({lstm, linkcast::FlattenSpec{}}, true), "a mask and without a last step");
}

TEST(a_mask_without_a_last_step_is_refused) {
  reference::Random random(78);
  NetworkSpec spec{4, 3, true, {random.lstm(3, 5)}};
  spec.mask_value = 0.0F;
  CHECK_THROWS(Network(spec, Isa::scalar), "a mask and without a last step");
}

TEST(the_cell_state_is_limited_where_the_spec_says_so) {
  NetworkSpec spec = random_lstm_network(100);
  for (auto& layer : spec.layers) {
    if (auto* lstm = std::get_if<linkcast::LstmSpec>(&layer)) lstm->cell_clip = 0.05f;
  }
  const auto input = reference::Random(5).floats(7 * input_size(spec), -1.0f, 1.0f);
  for (const Isa isa : supported_isas()) {
    Network network(spec, isa);
    network.reserve(7);
    CHECK_NEAR(error_of(network, spec, input, 7), 0.0, float_tolerance);
    Network unlimited(random_lstm_network(100), isa);
    CHECK(error_of(unlimited, spec, input, 1) > 1e-3);
  }
}

TEST(sizes_around_the_vector_width_are_exact) {
  for (const std::size_t lanes : {4, 8, 16}) {
    for (const std::size_t n : {std::size_t{1}, lanes - 1, lanes, lanes + 1, 4 * lanes, 8 * lanes + 2}) {
      for (const std::size_t k : {std::size_t{1}, std::size_t{2}, std::size_t{3}, lanes + 1, 8 * lanes + 2}) {
        reference::Random random(static_cast<unsigned>(1000 * n + k));
        NetworkSpec dense{1, k, false, {}};
        dense.layers.push_back(random.dense(k, n, Activation::relu6));
        NetworkSpec lstm{3, k, true, {}};
        lstm.layers.push_back(random.lstm(k, n));
        for (const NetworkSpec& spec : {dense, lstm}) {
          const auto input = random.floats(9 * input_size(spec), -1.0f, 1.0f);
          for (const Isa isa : supported_isas()) {
            Network network(spec, isa);
            network.reserve(9);
            for (const std::size_t batch : {1, 2, 8, 9})
              CHECK_NEAR(error_of(network, spec, input, batch), 0.0, float_tolerance);
          }
        }
      }
    }
  }
}

TEST(layers_that_stand_anywhere_are_computed) {
  reference::Random random(7);
  using linkcast::ActivationSpec;
  using linkcast::FlattenSpec;
  std::vector<NetworkSpec> specs;
  // An affine first, between activations, before a flatten, and last; activations on their own; dense over a sequence.
  specs.push_back({5, 3, true, {random.affine(3), ActivationSpec{Activation::tanh}, random.affine(3)}});
  specs.push_back({5,
                   3,
                   true,
                   {random.affine(3), random.dense(3, 17, Activation::none), random.affine(17), FlattenSpec{},
                    random.dense(85, 6, Activation::none), ActivationSpec{Activation::sigmoid}}});
  specs.push_back(
      {5, 3, true, {random.lstm(3, 9), random.affine(9), ActivationSpec{Activation::relu}, random.lstm(9, 5)}});
  specs.push_back({5, 3, true, {random.dense(3, 4, Activation::tanh), random.lstm(4, 33), FlattenSpec{}}});
  specs.push_back({4, 2, true, {random.lstm(2, 20), linkcast::LastStepSpec{}, random.affine(20), random.affine(20)}});
  specs.push_back({4, 2, true, {linkcast::LastStepSpec{}}});
  specs.push_back({1, 6, false, {ActivationSpec{Activation::relu6}}});
  specs.push_back({1, 6, false, {}});
  for (const NetworkSpec& spec : specs) {
    const auto input = random.floats(10 * input_size(spec), -3.0f, 3.0f);
    for (const Isa isa : supported_isas()) {
      Network network(spec, isa);
      network.reserve(10);
      for (const std::size_t batch : {1, 2, 10})
        CHECK_NEAR(error_of(network, spec, input, batch), 0.0, float_tolerance);
    }
  }
}

TEST(an_unaligned_input_and_output_give_the_same_bits) {
  const NetworkSpec spec = reference::forecaster(1);
  const auto input = reference::Random(2).floats(8 * input_size(spec), 0.0f, 1.0f);
  for (const Isa isa : supported_isas()) {
    Network network(spec, isa);
    network.reserve(8);
    for (const std::size_t batch : {1, 8}) {
      std::vector<float> aligned(batch), shifted(batch + 1);
      std::vector<float> moved(input.size() + 1);
      std::copy(input.begin(), input.end(), moved.begin() + 1);
      network.run(input.data(), batch, aligned.data());
      network.run(moved.data() + 1, batch, shifted.data() + 1);
      CHECK(std::memcmp(aligned.data(), shifted.data() + 1, batch * sizeof(float)) == 0);
    }
  }
}

TEST(the_same_window_twice_gives_the_same_bits) {
  for (const NetworkSpec& spec : {reference::forecaster(1), reference::allocator(1)}) {
    const auto input = reference::Random(2).floats(input_size(spec), 0.0f, 1.0f);
    for (const Isa isa : supported_isas()) {
      for (const Kernels* table : tables(isa, {Precision::float32, Precision::bfloat16, Precision::int8})) {
        Network network(spec, *table);
        std::vector<float> first(network.outputs()), again(network.outputs());
        network.run(input.data(), 1, first.data());
        for (int i = 0; i < 3; ++i) {
          network.run(input.data(), 1, again.data());
          CHECK(std::memcmp(first.data(), again.data(), first.size() * sizeof(float)) == 0);
        }
      }
    }
  }
}

TEST(an_empty_batch_writes_nothing) {
  for (const Isa isa : supported_isas()) {
    Network network(reference::forecaster(1), isa);
    float output = 42.0f;
    network.run(nullptr, 0, &output);
    CHECK(output == 42.0f);
  }
}

TEST(a_batch_beyond_the_reserved_one_runs_in_parts) {
  const NetworkSpec spec = reference::forecaster(1);
  const auto input = reference::Random(2).floats(20 * input_size(spec), 0.0f, 1.0f);
  for (const Isa isa : supported_isas()) {
    Network network(spec, isa);
    network.reserve(3);
    CHECK_NEAR(error_of(network, spec, input, 20), 0.0, float_tolerance);
  }
}

TEST(reduced_precision_stays_within_its_rounding) {
  // bfloat16 keeps 8 bits of a weight (2^-9 relative), and of the input too with the CPU's dot product; int8 keeps
  // 1/254 of an output's largest weight. The bound is for this network, whose normalisation layers amplify by up to 2.
  const NetworkSpec spec = reference::forecaster(1);
  const auto input = reference::Random(2).floats(100 * input_size(spec), 0.0f, 1.0f);
  const auto expected = reference_of(spec, input, 100);
  for (const Isa isa : supported_isas()) {
    for (const Kernels* table : tables(isa, {Precision::bfloat16, Precision::int8})) {
      Network network(spec, *table);
      network.reserve(100);
      for (const std::size_t batch : {1, 2, 5, 100}) {
        const double error = error_of(network, input, batch, expected);
        CHECK_NEAR(error, 0.0, 4e-3);
        CHECK(error > 1e-6);  // it is in fact reduced
      }
    }
  }
}

TEST(reduced_precision_of_odd_sizes_stays_within_its_rounding) {
  for (const std::size_t units : {1, 2, 3, 5, 15, 16, 17, 31, 33, 67, 100, 130}) {
    for (const std::size_t features : {1, 2, 3, 4, 5, 16, 17}) {
      reference::Random random(static_cast<unsigned>(units * 100 + features));
      NetworkSpec spec{
          6,
          features,
          true,
          {random.lstm(features, units), linkcast::LastStepSpec{}, random.dense(units, 3, Activation::none)}};
      const auto input = random.floats(5 * input_size(spec), -1.0f, 1.0f);
      const auto expected = reference_of(spec, input, 5);
      for (const Isa isa : supported_isas()) {
        for (const Kernels* table : tables(isa, {Precision::bfloat16, Precision::int8})) {
          Network network(spec, *table);
          network.reserve(5);
          for (const std::size_t batch : {1, 5}) CHECK_NEAR(error_of(network, input, batch, expected), 0.0, 1e-2);
        }
      }
    }
  }
}

/// Every weight of a dense layer, as one-hot inputs show it: x = e_k gives column k. Behind the input stands what is no
/// number: an odd depth's last pair has no second input.
TEST(bfloat16_weights_are_within_half_a_unit_of_what_they_were_wherever_they_stand) {
  for (const std::size_t features : {1U, 2U, 5U, 64U, 67U}) {
    constexpr std::size_t units = 37;
    reference::Random random(static_cast<unsigned>(features));
    linkcast::DenseSpec dense = random.dense(features, units, Activation::none);
    std::fill(dense.bias.begin(), dense.bias.end(), 0.0f);
    // Of every size, some of them nothing, and neighbours far apart.
    for (std::size_t i = 0; i < dense.weights.size(); ++i)
      dense.weights[i] = i % 11 == 0 ? 0.0f : std::ldexp(dense.weights[i], -static_cast<int>(i * 7 % 90));
    for (const Isa isa : supported_isas()) {
      for (const Kernels* table : tables(isa, {Precision::bfloat16})) {
        Network network({1, features, false, {dense}}, *table);
        network.reserve(2);
        std::vector<float> input(2 * features + 1, std::numeric_limits<float>::quiet_NaN()), output(2 * units);
        for (std::size_t k = 0; k < features; ++k) {
          std::fill_n(input.begin(), 2 * features, 0.0f);
          input[k] = 1.0f;
          input[features + k] = -2.0f;
          for (const std::size_t batch : {1U, 2U}) {
            network.run(input.data(), batch, output.data());
            for (std::size_t n = 0; n < batch * units; ++n) {
              const double weight = dense.weights[n % units * features + k] * (n < units ? 1.0 : -2.0);
              // bfloat16 has eight significant bits; 2^-90: the others' products with zero, and weights of zero.
              CHECK(std::fabs(output[n] - weight) <= std::fabs(weight) * 0x1p-8 + 0x1p-90);
            }
          }
        }
      }
    }
  }
}

TEST(one_step_at_a_time_gives_the_whole_windows_answer) {
  const NetworkSpec spec = reference::forecaster(5);
  const std::size_t batch = 9;
  const auto input = reference::Random(6).floats(batch * input_size(spec), 0.0f, 1.0f);
  for (const Isa isa : supported_isas()) {
    for (const Kernels* table : tables(isa, {Precision::float32, Precision::bfloat16, Precision::int8})) {
      Network network(spec, *table);
      CHECK(network.can_step());
      for (const std::size_t reserved : {1, 4, 9}) {
        network.reserve(reserved);
        std::vector<float> whole(batch), stepped(batch), states(batch * network.state_size(), 0.0f);
        network.run(input.data(), batch, whole.data());
        for (std::size_t t = 0; t < spec.steps; ++t) {
          network.step(input.data() + t * spec.features, spec.steps * spec.features, batch, states.data(),
                       t + 1 == spec.steps ? stepped.data() : nullptr);
        }
        // Another order of summation; with rounded inputs, now and then another rounding.
        const double tolerance = table->format == WeightFormat::float32 ? 1e-6 : 2e-3;
        for (std::size_t b = 0; b < batch; ++b) CHECK_NEAR(whole[b], stepped[b], tolerance);
      }
    }
  }
}

TEST(stepping_through_normalised_rows_gives_what_the_window_gives) {
  reference::Random random(21);
  NetworkSpec spec{6, 5, true, {}};
  spec.layers = {linkcast::NormaliseSpec{0.1f},
                 random.lstm(5, 19),
                 linkcast::NormaliseSpec{},
                 random.affine(19),
                 random.lstm(19, 9),
                 linkcast::LastStepSpec{},
                 linkcast::NormaliseSpec{},
                 random.dense(9, 4, Activation::none),
                 linkcast::SoftmaxSpec{}};
  constexpr std::size_t rows = 3;
  const auto windows = random.floats(rows * input_size(spec), -1.0f, 1.0f);
  for (const Isa isa : supported_isas()) {
    Network network(spec, isa);
    CHECK(network.can_step());
    network.reserve(rows);
    std::vector<float> states(rows * network.state_size(), 0.0f), stepped(rows * 4), whole(rows * 4);
    for (std::size_t t = 0; t < spec.steps; ++t) {
      network.step(windows.data() + t * spec.features, input_size(spec), rows, states.data(),
                   t + 1 == spec.steps ? stepped.data() : nullptr);
    }
    network.run(windows.data(), rows, whole.data());
    for (std::size_t n = 0; n < whole.size(); ++n) CHECK_NEAR(whole[n], stepped[n], float_tolerance);
  }
}

TEST(one_sample_for_every_state_is_a_stride_of_zero) {
  const NetworkSpec spec = reference::forecaster(5);
  Network network(spec, supported_isas().back());
  network.reserve(3);
  const auto sample = reference::Random(8).floats(spec.features, 0.0f, 1.0f);
  std::vector<float> states(3 * network.state_size(), 0.0f), outputs(3);
  network.step(sample.data(), 0, 3, states.data(), outputs.data());
  CHECK(outputs[0] == outputs[1]);
  CHECK(outputs[0] == outputs[2]);
}

TEST(networks_without_a_last_step_cannot_step) {
  reference::Random random(9);
  CHECK(!Network(reference::allocator(1), Isa::scalar).can_step());
  NetworkSpec flat{3, 2, true, {random.lstm(2, 4), linkcast::FlattenSpec{}, random.dense(12, 1, Activation::none)}};
  CHECK(!Network(flat, Isa::scalar).can_step());
}

TEST(edge_inputs_give_what_the_definition_gives) {
  const NetworkSpec lstm = reference::forecaster(11);
  const NetworkSpec dense = reference::allocator(11);
  for (const NetworkSpec& spec : {lstm, dense}) {
    for (const float value : {0.0f, -0.0f, 1e-40f, -1e-40f, 1e4f, -1e4f}) {
      const std::vector<float> input(7 * input_size(spec), value);
      // A gate's sum of large terms is as exact as float is at their size: 6e-8 of it.
      const double tolerance = 2e-6 + 1e-7 * std::fabs(static_cast<double>(value));
      for (const Isa isa : supported_isas()) {
        Network network(spec, isa);
        network.reserve(7);
        CHECK_NEAR(error_of(network, spec, input, 1), 0.0, tolerance);
        CHECK_NEAR(error_of(network, spec, input, 7), 0.0, tolerance);
      }
    }
  }
}

TEST(saturated_gates_stay_finite) {
  // Inputs of 1e30 times a weight overflow nothing: sigmoid and tanh end at 0 and 1.
  reference::Random random(12);
  NetworkSpec spec{10, 4, true, {random.lstm(4, 33), random.lstm(33, 17), linkcast::LastStepSpec{}}};
  for (const float value : {1e30f, -1e30f, 1e34f}) {
    const std::vector<float> input(2 * input_size(spec), value);
    for (const Isa isa : supported_isas()) {
      for (const Kernels* table : tables(isa, {Precision::float32, Precision::bfloat16, Precision::int8})) {
        Network network(spec, *table);
        std::vector<float> output(2 * network.outputs());
        network.run(input.data(), 2, output.data());
        for (const float y : output) CHECK(std::fabs(y) <= 1.0f);
      }
    }
  }
}

TEST(gates_beyond_the_largest_float_are_open_or_closed) {
  linkcast::LstmSpec lstm{1, 1, {2.0f, 2.0f, 2.0f, 2.0f}, {0.0f, 0.0f, 0.0f, 0.0f}, {0.0f, 0.0f, 0.0f, 0.0f}};
  const NetworkSpec spec{1, 1, true, {lstm, linkcast::LastStepSpec{}}};
  for (const Isa isa : supported_isas()) {
    Network network(spec, isa);
    network.reserve(1);
    for (const auto& [input, expected] : {std::pair{3e38f, std::tanh(1.0)}, std::pair{-3e38f, 0.0}}) {
      float output = -1.0f;
      network.run(&input, 1, &output);
      CHECK_NEAR(output, expected, float_tolerance);
    }
  }
}

TEST(a_nan_in_the_input_is_a_nan_in_the_output) {
  for (const NetworkSpec& spec : {reference::forecaster(1), reference::allocator(1)}) {
    for (const Isa isa : supported_isas()) {
      for (const Kernels* table : tables(isa, {Precision::float32, Precision::bfloat16, Precision::int8})) {
        for (const std::size_t batch : {1, 7}) {
          Network network(spec, *table);
          network.reserve(batch);
          auto input = reference::Random(2).floats(batch * input_size(spec), 0.0f, 1.0f);
          input[(batch - 1) * input_size(spec) + 1] = std::numeric_limits<float>::quiet_NaN();
          std::vector<float> output(batch * network.outputs());
          network.run(input.data(), batch, output.data());
          CHECK(std::isnan(output.back()));
          if (batch > 1) CHECK(std::isfinite(output.front()));  // and only in its own row
        }
      }
    }
  }
}

TEST(a_spec_whose_sizes_do_not_fit_is_refused) {
  reference::Random random(13);
  const Isa isa = Isa::scalar;
  NetworkSpec wrong_inputs{3, 4, true, {random.lstm(5, 6)}};
  CHECK_THROWS(Network(wrong_inputs, isa), "network layer 0: an LSTM whose inputs do not match");
  NetworkSpec wrong_weights{1, 4, false, {random.dense(4, 3, Activation::none), random.dense(3, 2, Activation::none)}};
  std::get<linkcast::DenseSpec>(wrong_weights.layers[1]).weights.pop_back();
  CHECK_THROWS(Network(wrong_weights, isa), "network layer 1: a dense layer whose weights do not match its units");
  NetworkSpec wrong_affine{1, 4, false, {random.affine(3)}};
  CHECK_THROWS(Network(wrong_affine, isa), "network layer 0: an affine layer of another width");
  CHECK_THROWS(Network(NetworkSpec{1, 0, false, {}}, isa), "steps and features must be positive");
}

TEST(multiply_adds_are_those_of_the_definition) {
  // By hand: 10 steps of 4 * 128 * (4 + 128), 4 * 64 * (128 + 64), 4 * 32 * (64 + 32), then 32 * 16 + 16 * 8 + 8.
  CHECK_EQ(Network(reference::forecaster(1), Isa::scalar).multiply_adds(),
           std::size_t{10 * (512 * 132 + 256 * 192 + 128 * 96) + 512 + 128 + 8});
}
