#include "kernels/choice.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "check.h"
#include "network_reference.h"

using namespace linkcast;
using kernels::Kernels;

namespace {

/// An LSTM with a dense layer behind it. Choices are kept by shape: each test has one of its own.
NetworkSpec lstm(std::size_t units) {
  reference::Random random(3);
  return {10, 4, true, {random.lstm(4, units), LastStepSpec{}, random.dense(units, 1, Activation::none)}};
}

/// A stopwatch of the test's: microseconds by precision, 10 for float32, and how often it was asked.
struct Told {
  std::map<CallClass, double> reduced;
  int asked = 0;

  ChosenNetwork::Options options() {
    return {"", [this](const Kernels& table, CallClass of, const std::function<void()>& call) {
              call();
              ++asked;
              return precision_of(table) == Precision::float32 ? 10.0 : reduced.at(of);
            }};
  }
};

std::string runs(const ChosenNetwork& network, CallClass of) {
  return network.choices()[static_cast<std::size_t>(of)].kernels->name;
}

std::vector<float> outputs_of(ChosenNetwork& network, const std::vector<float>& windows, std::size_t batch) {
  std::vector<float> outputs(batch * network.output_steps() * network.outputs());
  network.reserve(batch);
  network.run(windows.data(), batch, outputs.data());
  return outputs;
}

/// Outputs of `rows` streams after each of `ticks` samples, (ticks, rows). The k-th row's samples are its own.
std::vector<float> stream_of(ChosenNetwork& network, std::size_t first, std::size_t rows, std::size_t ticks) {
  network.reserve(rows);
  std::vector<float> states(rows * network.state_size());
  std::vector<float> outputs(ticks * rows * network.outputs());
  for (std::size_t t = 0; t < ticks; ++t) {
    std::vector<float> samples;
    for (std::size_t row = first; row < first + rows; ++row)
      for (std::size_t f = 0; f < network.features(); ++f)
        samples.push_back(static_cast<float>((7 * row + 3 * f + 5 * t) % 16) / 16.0f);
    network.step(samples.data(), network.features(), rows, states.data(), &outputs[t * rows * network.outputs()]);
  }
  return outputs;
}

const Precision reduced[] = {Precision::bfloat16, Precision::int8};

}  // namespace

TEST(reduced_precision_runs_where_it_gains_and_float32_where_it_does_not) {
  for (const Precision precision : reduced) {
    Told told{{{CallClass::step, 4.0}, {CallClass::window, 9.8}, {CallClass::few, 10.0}, {CallClass::many, 9.0}}};
    const ChosenNetwork network(lstm(21), default_isa(), precision, told.options());
    const std::string best = kernels::select_kernels(default_isa(), precision).name;
    const std::string plain = kernels::select_kernels(default_isa(), Precision::float32).name;
    CHECK_EQ(runs(network, CallClass::step), best);
    CHECK_EQ(runs(network, CallClass::window), plain);  // 2 % is no reason
    CHECK_EQ(runs(network, CallClass::few), plain);
    CHECK_EQ(runs(network, CallClass::many), best);
    CHECK_EQ(network.kernels_name(), best + " (step, many), " + plain + " (window, few)");
    CHECK(network.notice().find(" does not gain on this CPU for one window, 2 to 7 windows: float32 runs") !=
          std::string::npos);
    for (const auto& time : network.choices()[0].times)
      CHECK_EQ(time.us, precision_of(*time.kernels) == Precision::float32 ? 10.0 : 4.0);
  }
}

TEST(where_nothing_gains_float32_runs_with_its_own_bits) {
  Told told{{{CallClass::step, 11.0}, {CallClass::window, 11.0}, {CallClass::few, 11.0}, {CallClass::many, 11.0}}};
  ChosenNetwork reduced(lstm(22), default_isa(), Precision::bfloat16, told.options());
  ChosenNetwork plain(lstm(22), default_isa(), Precision::float32);
  CHECK_EQ(reduced.notice(), std::string("bfloat16 does not gain on this CPU: float32 runs"));
  CHECK_EQ(reduced.kernels_name(), plain.kernels_name());
  CHECK_EQ(reduced.weight_bytes(), plain.weight_bytes());  // nothing else is kept
  const auto windows = reference::Random(5).floats(11 * 40, 0.0f, 1.0f);
  for (const std::size_t batch : {1, 3, 11})
    CHECK(outputs_of(reduced, windows, batch) == outputs_of(plain, windows, batch));
}

TEST(a_choice_is_measured_once_for_a_shape) {
  Told told{{{CallClass::step, 5.0}, {CallClass::window, 5.0}, {CallClass::few, 5.0}, {CallClass::many, 5.0}}};
  const ChosenNetwork first(lstm(23), default_isa(), Precision::int8, told.options());
  const int asked = told.asked;
  CHECK(asked > 0);
  Told slower{{{CallClass::step, 50.0}, {CallClass::window, 50.0}, {CallClass::few, 50.0}, {CallClass::many, 50.0}}};
  const ChosenNetwork second(lstm(23), default_isa(), Precision::int8, slower.options());
  CHECK_EQ(slower.asked, 0);
  CHECK_EQ(second.kernels_name(), first.kernels_name());
  CHECK_EQ(second.choices()[1].times.size(), first.choices()[1].times.size());
  const ChosenNetwork other(lstm(24), default_isa(), Precision::int8, slower.options());
  CHECK(slower.asked > 0);
}

TEST(networks_of_the_same_sizes_and_other_cells_are_measured_apart) {
  // The kind of cell and the functions are part of what a step takes.
  reference::Random random(26);
  linkcast::LstmSpec relu = random.lstm(4, 26);
  relu.activation = linkcast::Activation::relu;
  linkcast::LstmSpec hard = random.lstm(4, 26);
  hard.gate_activation = linkcast::Activation::unit;
  linkcast::DenseSpec squashed = random.dense(26, 26, linkcast::Activation::tanh);
  linkcast::DenseSpec plain = random.dense(26, 26, linkcast::Activation::none);
  const auto measures = [](linkcast::LayerSpec layer, linkcast::LayerSpec last) {
    Told told{{{CallClass::step, 5.0}, {CallClass::window, 5.0}, {CallClass::few, 5.0}, {CallClass::many, 5.0}}};
    const linkcast::NetworkSpec spec{10, 4, true, {std::move(layer), linkcast::LastStepSpec{}, std::move(last)}};
    const ChosenNetwork network(spec, default_isa(), Precision::int8, told.options());
    return told.asked > 0;
  };
  CHECK(measures(random.gru(4, 26, true), plain));
  CHECK(measures(random.gru(4, 26, false), plain));
  CHECK(measures(relu, plain));
  CHECK(measures(hard, plain));
  CHECK(measures(hard, squashed));
  CHECK(!measures(hard, squashed));
}

TEST(an_interrupted_reading_is_read_again) {
  // The first reading of float32 takes a thousand times what it takes: the next two say so.
  int plain_readings = 0;
  const ChosenNetwork network(lstm(25), default_isa(), Precision::bfloat16,
                              {"", [&](const Kernels& table, CallClass, const std::function<void()>&) {
                                 if (precision_of(table) != Precision::float32) return 12.0;
                                 return plain_readings++ % 3 == 0 ? 10000.0 : 10.0;
                               }});
  CHECK_EQ(network.notice(), std::string("bfloat16 does not gain on this CPU: float32 runs"));
}

TEST(float32_gives_the_same_bits_on_every_table_that_competes) {
  for (const Isa isa : supported_isas()) {
    std::vector<std::vector<float>> seen;
    const auto windows = reference::Random(6).floats(19 * 40, 0.0f, 1.0f);
    for (const Kernels* table : kernels::candidates(isa, Precision::float32)) {
      ChosenNetwork network(lstm(33), isa, Precision::float32, {table->name, {}});
      std::vector<float> all = stream_of(network, 0, 9, 12);
      for (const std::size_t batch : {1, 5, 19}) {
        const auto outputs = outputs_of(network, windows, batch);
        all.insert(all.end(), outputs.begin(), outputs.end());
      }
      seen.push_back(all);
    }
    ChosenNetwork chosen(lstm(33), isa, Precision::float32);
    seen.push_back(stream_of(chosen, 0, 9, 12));
    for (const std::size_t batch : {1, 5, 19}) {
      const auto outputs = outputs_of(chosen, windows, batch);
      seen.back().insert(seen.back().end(), outputs.begin(), outputs.end());
    }
    for (const auto& outputs : seen) CHECK(outputs == seen.front());
  }
}

TEST(a_streams_row_is_the_same_bit_for_bit_beside_any_others) {
  for (const Isa isa : supported_isas()) {
    for (const Precision precision : reduced) {
      for (const Kernels* table : kernels::candidates(isa, precision)) {
        ChosenNetwork network(lstm(33), isa, precision, {table->name, {}});
        const auto all = stream_of(network, 0, 128, 12);
        for (const std::size_t rows : {1, 9}) {
          for (const std::size_t first : {0, 50, 119}) {
            const auto some = stream_of(network, first, rows, 12);
            for (std::size_t t = 0; t < 12; ++t)
              for (std::size_t row = 0; row < rows; ++row) CHECK_EQ(some[t * rows + row], all[t * 128 + first + row]);
          }
        }
      }
    }
  }
}

TEST(forced_kernels_run_every_call_and_nothing_is_measured) {
  for (const Isa isa : supported_isas()) {
    for (const Precision precision : reduced) {
      for (const Precision of : {precision, Precision::float32}) {
        for (const Kernels* table : kernels::candidates(isa, of)) {
          Told told;
          auto options = told.options();
          options.kernels = table->name;
          const ChosenNetwork network(lstm(26), isa, precision, options);
          CHECK_EQ(told.asked, 0);
          CHECK_EQ(network.kernels_name(), std::string(table->name));
          CHECK_EQ(network.notice(), std::string(of == precision ? "" : "float32 kernels were asked for"));
        }
      }
    }
  }
}

TEST(kernels_that_are_not_there_or_of_another_precision_are_refused_by_name) {
  const auto forced = [](const char* name, Isa isa, Precision precision) {
    ChosenNetwork(lstm(26), isa, precision, {name, {}});
  };
  CHECK_THROWS(forced("bf16_amx_of_tomorrow", default_isa(), Precision::bfloat16), "got \"bf16_amx_of_tomorrow\"");
  CHECK_THROWS(forced("bf16_amx_of_tomorrow", Isa::scalar, Precision::bfloat16),
               "kernels: expected one of those that run here on scalar, f32_scalar, bf16_scalar, int8_scalar");
  CHECK_THROWS(forced("bf16_scalar", Isa::scalar, Precision::int8),
               "kernels: expected some of int8 or float32, as the precision says; got \"bf16_scalar\"");
  CHECK_THROWS(forced("bf16_scalar", Isa::scalar, Precision::float32),
               "kernels: expected some of float32, as the precision says; got \"bf16_scalar\"");
}

TEST(each_table_that_runs_can_be_asked_by_itself) {
  Told told{{{CallClass::step, 5.0}, {CallClass::window, 5.0}, {CallClass::few, 20.0}, {CallClass::many, 20.0}}};
  ChosenNetwork network(lstm(27), default_isa(), Precision::bfloat16, told.options());
  CHECK_EQ(network.networks(), 2u);
  const auto windows = reference::Random(7).floats(9 * 40, 0.0f, 1.0f);
  const auto mixed = outputs_of(network, windows, 9);
  std::map<std::string, std::vector<float>> alone;
  for (std::size_t k = 0; k < network.networks(); ++k) {
    const std::string name = network.only(k).name;
    alone[name] = outputs_of(network, windows, 9);
  }
  network.chosen();
  CHECK(outputs_of(network, windows, 9) == mixed);
  CHECK(alone[runs(network, CallClass::many)] == mixed);
  CHECK(alone[runs(network, CallClass::window)] != mixed);
}

TEST(a_network_without_steps_is_measured_without_them) {
  Told told{{{CallClass::window, 5.0}, {CallClass::few, 5.0}, {CallClass::many, 5.0}}};
  const ChosenNetwork network(reference::allocator(1), default_isa(), Precision::bfloat16, told.options());
  CHECK(network.choices()[0].kernels == nullptr);
  CHECK_EQ(network.kernels_name(), std::string(kernels::select_kernels(default_isa(), Precision::bfloat16).name));
}
