// The kernels on matrix tiles. Their logic runs here on a tile unit in plain C++ wherever there is AVX-512 with
// bfloat16, and on the CPU's own tiles where it has them.
#include <pthread.h>
#include <sys/time.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "check.h"
#include "kernels/choice.h"
#include "kernels/kernels.h"
#include "kernels/network.h"
#include "network_reference.h"
#include "tiles_emulated.h"
#include "tiles_kernels.h"

using linkcast::Activation;
using linkcast::cpu_features;
using linkcast::Network;
using linkcast::NetworkSpec;
using linkcast::kernels::Kernels;
using linkcast::kernels::WeightFormat;

namespace {

std::size_t input_size(const NetworkSpec& spec) { return (spec.sequence_input ? spec.steps : 1) * spec.features; }

/// A configuration as LDTILECFG reads it, by hand.
struct alignas(64) Configuration {
  unsigned char bytes[64] = {1};
  Configuration& tile(int t, unsigned char rows, unsigned char row_bytes) {
    bytes[16 + 2 * t] = row_bytes;
    bytes[48 + t] = rows;
    return *this;
  }
};

std::string fault_of(const Configuration& configuration, void (*use)()) {
  emulated_unit = {};
  EmulatedTiles::configure(configuration);
  if (use != nullptr) use();
  const std::string fault = emulated_unit.fault;
  emulated_unit = {};
  return fault;
}

/// Tiles 0 (2 x 3 sums), 1 (2 x 5 operands) and 2 (5 x 3 weights).
Configuration small_product() { return Configuration().tile(0, 2, 12).tile(1, 2, 20).tile(2, 5, 12); }

void skip_without_avx512() {
  if (!cpu_features().avx512_bf16) SKIP("this CPU has no AVX-512 with bfloat16");
}

std::vector<const Kernels*> emulated() { return {&tiles::emulated_bf16(), &tiles::emulated_int8()}; }

/// Every output of every window; tiles have to be given back.
std::vector<float> run(Network& network, const std::vector<float>& input, std::size_t batch) {
  std::vector<float> output(batch * network.outputs() * network.output_steps(),
                            std::numeric_limits<float>::quiet_NaN());
  network.run(input.data(), batch, output.data());
  CHECK(!tiles::in_use());
  CHECK_EQ(std::string(tiles::fault()), std::string());
  return output;
}

bool same_bits(const float* a, const float* b, std::size_t n) { return std::memcmp(a, b, n * sizeof(float)) == 0; }

/// Largest distance of a batch to double precision, relative where outputs are above one.
double error_of(const NetworkSpec& spec, const std::vector<float>& input, const std::vector<float>& output) {
  double worst = 0.0;
  const std::size_t batch = input.size() / input_size(spec);
  const std::size_t outputs = output.size() / batch;
  for (std::size_t b = 0; b < batch; ++b) {
    const auto expected = reference::run(spec, input.data() + b * input_size(spec));
    for (std::size_t j = 0; j < outputs; ++j) {
      const double error =
          std::fabs(static_cast<double>(output[b * outputs + j]) - expected[j]) / std::max(1.0, std::fabs(expected[j]));
      if (!(error <= worst)) worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
    }
  }
  return worst;
}

/// Depths with and without whole tiles, with rests that are alike, that differ, and none; last panels of every width.
std::vector<NetworkSpec> awkward_networks() {
  std::vector<NetworkSpec> specs;
  const std::size_t shapes[][2] = {{1, 1},   {4, 128}, {33, 64}, {5, 100}, {64, 64}, {128, 33},
                                   {35, 67}, {67, 35}, {2, 16},  {70, 70}, {3, 130}};
  unsigned seed = 300;
  for (const auto& [features, units] : shapes) {
    reference::Random random(seed++);
    NetworkSpec spec{4, features, true, {random.lstm(features, units), random.affine(units)}};
    const std::size_t then = random.integer(1, 90);
    spec.layers.push_back(random.lstm(units, then));
    spec.layers.push_back(linkcast::LastStepSpec{});
    spec.layers.push_back(random.dense(then, 65, Activation::tanh));
    spec.layers.push_back(random.dense(65, 33, Activation::relu6));
    spec.layers.push_back(linkcast::NormaliseSpec{});
    spec.layers.push_back(linkcast::SoftmaxSpec{});
    spec.layers.push_back(random.dense(33, random.integer(1, 48), Activation::none));
    specs.push_back(spec);
  }
  reference::Random random(seed);
  for (const bool reset_after : {true, false}) {
    specs.push_back({4, 35, true, {random.gru(35, 67, reset_after), linkcast::LastStepSpec{}}});
    specs.back().layers.push_back(linkcast::NormaliseSpec{1.0f});  // of which no error grows
    specs.back().layers.push_back(random.dense(67, 5, Activation::none));
  }
  linkcast::LstmSpec other = random.lstm(33, 40);
  other.activation = Activation::relu;
  specs.push_back({4, 33, true, {other, linkcast::LastStepSpec{}, linkcast::SoftmaxSpec{}}});
  return specs;
}

}  // namespace

TEST(the_emulated_unit_refuses_what_the_instructions_refuse) {
  using Tiles = EmulatedTiles;
  const auto product = small_product();
  CHECK_EQ(fault_of(product, [] { Tiles::dot_bf16<0, 1, 2>(); }), std::string());
  CHECK_EQ(fault_of(Configuration().tile(0, 17, 64), nullptr), std::string("a tile with more than 16 rows"));
  CHECK_EQ(fault_of(Configuration().tile(0, 16, 68), nullptr), std::string("a tile with more than 64 bytes in a row"));
  CHECK_EQ(fault_of(Configuration().tile(0, 16, 0), nullptr), std::string("a tile with rows or columns alone"));
  auto reserved = product;
  reserved.bytes[32] = 1;
  CHECK_EQ(fault_of(reserved, nullptr), std::string("reserved bytes of the configuration"));
  reserved = product;
  reserved.bytes[0] = 2;
  CHECK_EQ(fault_of(reserved, nullptr), std::string("a palette other than 1"));
  CHECK_EQ(fault_of(product, [] { Tiles::zero<3>(); }), std::string("a tile that is not configured"));
  CHECK_EQ(fault_of(product,
                    [] {
                      Tiles::release();
                      Tiles::zero<0>();
                    }),
           std::string("a tile that is not configured"));
  CHECK_EQ(fault_of(Configuration().tile(0, 2, 6), [] { Tiles::zero<0>(); }),
           std::string("a tile whose rows are not whole elements"));
  CHECK_EQ(fault_of(product, [] { Tiles::dot_bf16<0, 1, 1>(); }), std::string("one tile as two operands"));
  CHECK_EQ(fault_of(product, [] { Tiles::dot_u8s8<0, 2, 1>(); }),
           std::string("a product of tiles whose sizes do not fit"));
}

TEST(the_emulated_products_are_the_definitions) {
  // By hand: small integers are exact in bfloat16 and in float32.
  emulated_unit = {};
  EmulatedTiles::configure(small_product());
  reference::Random random(1);
  std::uint16_t a[2][10], b[5][6];  // (m, k), and (k / 2, n, 2)
  int x[2][10], w[10][3];
  const auto bfloat16 = [](int value) {
    const auto as_float = static_cast<float>(value);
    std::uint32_t bits;
    std::memcpy(&bits, &as_float, sizeof bits);
    return static_cast<std::uint16_t>(bits >> 16);
  };
  for (int k = 0; k < 10; ++k) {
    for (int m = 0; m < 2; ++m) a[m][k] = bfloat16(x[m][k] = static_cast<int>(random.integer(0, 40)) - 20);
    for (int n = 0; n < 3; ++n)
      b[k / 2][2 * n + k % 2] = bfloat16(w[k][n] = static_cast<int>(random.integer(0, 40)) - 20);
  }
  float sums[2][3] = {{0.5f, 1.0f, -2.0f}, {0.0f, 8.0f, 100.0f}};
  EmulatedTiles::load<0>(sums, sizeof sums[0]);
  EmulatedTiles::load<1>(a, sizeof a[0]);
  EmulatedTiles::load<2>(b, sizeof b[0]);
  EmulatedTiles::dot_bf16<0, 1, 2>();
  float got[2][3];
  EmulatedTiles::store<0>(got, sizeof got[0]);
  for (int m = 0; m < 2; ++m) {
    for (int n = 0; n < 3; ++n) {
      int sum = 0;
      for (int k = 0; k < 10; ++k) sum += x[m][k] * w[k][n];
      CHECK_EQ(got[m][n], sums[m][n] + static_cast<float>(sum));
    }
  }
  // A denormal counts as zero: 2^-133 * 2^100 would be 2^-33.
  std::uint16_t tiny[2][10] = {}, large[5][6] = {};
  tiny[0][0] = 0x0001;
  large[0][0] = 0x7180;
  float zeros[2][3] = {};
  EmulatedTiles::load<0>(zeros, sizeof zeros[0]);
  EmulatedTiles::load<1>(tiny, sizeof tiny[0]);
  EmulatedTiles::load<2>(large, sizeof large[0]);
  EmulatedTiles::dot_bf16<0, 1, 2>();
  EmulatedTiles::store<0>(got, sizeof got[0]);
  CHECK_EQ(got[0][0], 0.0f);

  // Bytes: 20 of k, the largest magnitudes among them.
  unsigned char u[2][20];
  signed char s[5][3][4];
  for (auto& row : u) std::fill(std::begin(row), std::end(row), static_cast<unsigned char>(255));
  for (auto& row : s) {
    for (auto& column : row) std::fill(std::begin(column), std::end(column), static_cast<signed char>(-128));
  }
  u[1][7] = 3;
  s[1][2][3] = 127;  // k = 7, n = 2
  std::int32_t integers[2][3] = {{1, 2, 3}, {4, 5, 6}}, out[2][3];
  EmulatedTiles::load<0>(integers, sizeof integers[0]);
  EmulatedTiles::load<1>(u, sizeof u[0]);
  EmulatedTiles::load<2>(s, sizeof s[0]);
  EmulatedTiles::dot_u8s8<0, 1, 2>();
  EmulatedTiles::store<0>(out, sizeof out[0]);
  CHECK_EQ(out[0][0], 1 - 20 * 255 * 128);
  CHECK_EQ(out[0][2], 3 - 19 * 255 * 128 + 255 * 127);
  CHECK_EQ(out[1][1], 5 - 19 * 255 * 128 - 3 * 128);
  CHECK_EQ(out[1][2], 6 - 19 * 255 * 128 + 3 * 127);
  CHECK_EQ(std::string(emulated_unit.fault), std::string());
  emulated_unit = {};
}

TEST(no_table_on_tiles_lacks_a_kernel) {
  for (const Kernels* table :
       {&tiles::emulated_bf16(), &tiles::emulated_int8(), &linkcast::kernels::kernels_bf16_avx512_amx(),
        &linkcast::kernels::kernels_int8_avx512_amx()}) {
    CHECK(table->encoded_bytes != nullptr && table->encode != nullptr && table->release != nullptr);
    CHECK(table->dense != nullptr && table->lstm_step != nullptr && table->recurrence_step != nullptr);
    CHECK(table->affine != nullptr && table->softmax != nullptr && table->normalise != nullptr);
    CHECK(table->format != WeightFormat::float32 && table->isa == linkcast::Isa::avx512);
  }
}

TEST(the_forecaster_on_tiles_stays_within_its_rounding) {
  skip_without_avx512();
  const NetworkSpec spec = reference::forecaster(1);
  for (const Kernels* table : emulated()) {
    Network network(spec, *table);
    network.reserve(48);
    for (const std::size_t batch : {1, 2, 5, 9, 16, 17, 33, 40, 50}) {
      const auto input = reference::Random(2).floats(batch * input_size(spec), 0.0f, 1.0f);
      const double error = error_of(spec, input, run(network, input, batch));
      CHECK_NEAR(error, 0.0, 4e-3);  // as test_network has for the other kernels
      CHECK(error > 1e-6);           // it is in fact reduced
    }
  }
}

TEST(odd_sizes_on_tiles_stay_within_their_rounding) {
  skip_without_avx512();
  for (const NetworkSpec& spec : awkward_networks()) {
    const auto input = reference::Random(7).floats(19 * input_size(spec), -1.0f, 1.0f);
    for (const Kernels* table : emulated()) {
      Network network(spec, *table);
      for (const std::size_t batch : {1, 19}) {
        network.reserve(batch);
        const std::vector<float> part(input.begin(),
                                      input.begin() + static_cast<std::ptrdiff_t>(batch * input_size(spec)));
        CHECK_NEAR(error_of(spec, part, run(network, part, batch)), 0.0, 2e-2);
      }
    }
  }
}

TEST(random_networks_of_every_kind_on_tiles_stay_within_their_rounding) {
  skip_without_avx512();
  for (unsigned seed = 200; seed < 230; ++seed) {
    const NetworkSpec spec = reference::any_recurrence(seed, true);
    const auto input = reference::Random(seed).floats(19 * input_size(spec), -1.0f, 1.0f);
    for (const Kernels* table : emulated()) {
      Network network(spec, *table);
      network.reserve(19);
      CHECK_NEAR(error_of(spec, input, run(network, input, 19)), 0.0, 2e-2);
    }
  }
}

TEST(a_row_on_tiles_has_the_same_bits_in_every_batch) {
  skip_without_avx512();
  std::vector<NetworkSpec> specs = awkward_networks();
  specs.erase(specs.begin() + 4, specs.begin() + 10);
  specs.push_back(reference::allocator(3));
  for (const NetworkSpec& spec : specs) {
    const auto input = reference::Random(8).floats(40 * input_size(spec), -1.0f, 1.0f);
    for (const Kernels* table : emulated()) {
      Network network(spec, *table);
      network.reserve(48);
      const std::size_t outputs = network.outputs();
      std::vector<float> alone;
      for (std::size_t b = 0; b < 40; ++b) {
        const std::vector<float> row(input.begin() + static_cast<std::ptrdiff_t>(b * input_size(spec)),
                                     input.begin() + static_cast<std::ptrdiff_t>((b + 1) * input_size(spec)));
        const auto output = run(network, row, 1);
        alone.insert(alone.end(), output.begin(), output.end());
      }
      for (std::size_t batch = 2; batch <= 40; batch += spec.sequence_input ? 7 : 1) {
        const auto output = run(network, input, batch);
        CHECK(same_bits(output.data(), alone.data(), batch * outputs));
      }
    }
  }
}

TEST(a_step_on_tiles_has_the_bits_of_the_whole_window) {
  skip_without_avx512();
  for (NetworkSpec spec : {reference::forecaster(5), awkward_networks()[3], awkward_networks()[7],
                           awkward_networks()[11], awkward_networks()[12], awkward_networks().back()}) {
    for (const Kernels* table : emulated()) {
      for (const std::size_t batch : {1, 9, 20}) {
        const auto input = reference::Random(6).floats(batch * input_size(spec), 0.0f, 1.0f);
        Network network(spec, *table);
        network.reserve(batch);
        const auto whole = run(network, input, batch);
        std::vector<float> stepped(whole.size()), states(batch * network.state_size(), 0.0f);
        for (std::size_t t = 0; t < spec.steps; ++t) {
          network.step(input.data() + t * spec.features, spec.steps * spec.features, batch, states.data(),
                       t + 1 == spec.steps ? stepped.data() : nullptr);
          CHECK(!tiles::in_use());
        }
        CHECK(same_bits(whole.data(), stepped.data(), whole.size()));
      }
    }
  }
}

TEST(int8_on_tiles_has_the_bits_of_the_byte_dot_product) {
  skip_without_avx512();
  if (!cpu_features().avx512_vnni) SKIP("this CPU has no AVX-512 VNNI");
  std::vector<NetworkSpec> specs = awkward_networks();
  specs.push_back(reference::forecaster(1));
  specs.push_back(reference::allocator(1));
  for (const NetworkSpec& spec : specs) {
    Network tiled(spec, tiles::emulated_int8());
    Network vnni(spec, linkcast::kernels::kernels_int8_avx512_vnni());
    for (const std::size_t batch : {1, 8, 9, 17, 33}) {
      const auto input = reference::Random(11).floats(batch * input_size(spec), -2.0f, 2.0f);
      tiled.reserve(batch);
      vnni.reserve(batch);
      std::vector<float> expected(batch * vnni.outputs());
      vnni.run(input.data(), batch, expected.data());
      CHECK(same_bits(run(tiled, input, batch).data(), expected.data(), expected.size()));
    }
  }
}

TEST(bfloat16_on_tiles_is_near_the_pair_dot_product) {
  skip_without_avx512();
  for (const NetworkSpec& spec : awkward_networks()) {
    const std::size_t batch = 18;
    const auto input = reference::Random(12).floats(batch * input_size(spec), -1.0f, 1.0f);
    Network tiled(spec, tiles::emulated_bf16());
    Network dot(spec, linkcast::kernels::kernels_bf16_avx512_dot());
    tiled.reserve(batch);
    dot.reserve(batch);
    std::vector<float> expected(batch * dot.outputs());
    dot.run(input.data(), batch, expected.data());
    const auto output = run(tiled, input, batch);
    // The same products in another order; now and then a hidden state is rounded to the neighbouring bfloat16.
    for (std::size_t i = 0; i < output.size(); ++i) CHECK_NEAR(output[i], expected[i], 4e-3);
  }
}

TEST(a_nan_on_tiles_stays_in_its_row) {
  skip_without_avx512();
  const NetworkSpec spec = reference::forecaster(1);
  for (const Kernels* table : emulated()) {
    Network network(spec, *table);
    network.reserve(20);
    auto input = reference::Random(2).floats(20 * input_size(spec), 0.0f, 1.0f);
    const auto before = run(network, input, 20);
    input[18 * input_size(spec) + 1] = std::numeric_limits<float>::quiet_NaN();
    const auto after = run(network, input, 20);
    CHECK(std::isnan(after[18]));
    CHECK(same_bits(before.data(), after.data(), 18));
    CHECK(same_bits(&before[19], &after[19], 1));
  }
}

TEST(tiles_are_given_back_when_a_run_is_given_up) {
  skip_without_avx512();
  // The deadline is looked at before each step of an LSTM; the dense layer before it has used tiles by then.
  reference::Random random(14);
  const NetworkSpec spec{5, 3, true, {random.dense(3, 20, Activation::relu), random.lstm(20, 9)}};
  const auto input = random.floats(input_size(spec), 0.0f, 1.0f);
  for (const Kernels* table : emulated()) {
    Network network(spec, *table);
    std::vector<float> output(5 * 9);
    const int before = tiles::configurations();
    CHECK(!network.run(input.data(), 1, output.data(), linkcast::Deadline{1}));
    CHECK(tiles::configurations() > before);
    CHECK(!tiles::in_use());
  }
}

TEST(each_thread_has_tiles_of_its_own) {
  skip_without_avx512();
  const NetworkSpec spec = reference::forecaster(1);
  const auto input = reference::Random(2).floats(9 * input_size(spec), 0.0f, 1.0f);
  Network network(spec, tiles::emulated_bf16());
  network.reserve(9);
  const auto here = run(network, input, 9);
  std::vector<float> there(9);
  std::string fault;
  std::thread([&] {
    Network other(spec, tiles::emulated_bf16());
    other.reserve(9);
    other.run(input.data(), 9, there.data());
    fault = tiles::fault();
  }).join();
  CHECK_EQ(fault, std::string());
  CHECK(same_bits(here.data(), there.data(), 9));
}

TEST(the_steps_of_an_lstm_share_one_configuration) {
  // Loading one takes longer than a small product, so it counts: of the forecaster, the three LSTMs have two each
  // (their input, then ten steps), and the three dense layers one each.
  skip_without_avx512();
  const NetworkSpec spec = reference::forecaster(1);
  const auto input = reference::Random(2).floats(input_size(spec), 0.0f, 1.0f);
  for (const Kernels* table : emulated()) {
    Network network(spec, *table);
    const int before = tiles::configurations();
    run(network, input, 1);
    CHECK(tiles::configurations() - before <= 9);
  }
}

TEST(the_features_are_those_that_linux_names) {
  std::ifstream file("/proc/cpuinfo");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (text.find("flags") == std::string::npos) SKIP("/proc/cpuinfo has no flags");
  const auto has = [&text](const char* flag) { return text.find(std::string(" ") + flag) != std::string::npos; };
  CHECK_EQ(cpu_features().amx_bf16, has("amx_bf16") && has("amx_tile") && has("avx512_bf16"));
  CHECK_EQ(cpu_features().amx_int8, has("amx_int8") && has("amx_tile") && has("avx512_bf16"));
  if (!cpu_features().amx_bf16 && !cpu_features().amx_int8) CHECK(!linkcast::tiles_permitted());
}

TEST(kernels_on_tiles_run_only_where_there_are_tiles_and_are_refused_by_name_elsewhere) {
  if (!cpu_features().avx512) SKIP("this CPU has no AVX-512");
  for (const auto& [name, has] :
       {std::pair{"bf16_avx512_amx", cpu_features().amx_bf16 && linkcast::tiles_permitted()},
        std::pair{"int8_avx512_amx", cpu_features().amx_int8 && linkcast::tiles_permitted()}}) {
    if (has) {
      CHECK_EQ(std::string(linkcast::kernels_from_name(name, linkcast::Isa::avx512).name), std::string(name));
    } else {
      CHECK_THROWS(linkcast::kernels_from_name(name, linkcast::Isa::avx512), std::string("got \"") + name + "\"");
    }
  }
}

TEST(the_cpus_tiles_have_the_bits_of_the_emulated_ones) {
  if (!cpu_features().amx_bf16 || !cpu_features().amx_int8) SKIP("this CPU has no AMX");
  if (!linkcast::tiles_permitted()) SKIP("the system refuses tiles");
  std::vector<NetworkSpec> specs = awkward_networks();
  specs.push_back(reference::forecaster(1));
  specs.push_back(reference::allocator(1));
  const Kernels* pairs[][2] = {{&linkcast::kernels::kernels_bf16_avx512_amx(), &tiles::emulated_bf16()},
                               {&linkcast::kernels::kernels_int8_avx512_amx(), &tiles::emulated_int8()}};
  for (const NetworkSpec& spec : specs) {
    for (const auto& [real, plain] : pairs) {
      Network on_cpu(spec, *real);
      Network emulated(spec, *plain);
      for (const std::size_t batch : {1, 9, 33}) {
        const auto input = reference::Random(13).floats(batch * input_size(spec), -1.0f, 1.0f);
        on_cpu.reserve(batch);
        emulated.reserve(batch);
        const auto expected = run(emulated, input, batch);
        std::vector<float> output(expected.size());
        on_cpu.run(input.data(), batch, output.data());
        CHECK(same_bits(output.data(), expected.data(), output.size()));
      }
    }
  }
}

namespace {

Network* run_by_handler = nullptr;
const float* handlers_input = nullptr;
std::vector<float> handlers_answer;
volatile sig_atomic_t handled = 0;
bool handlers_answers_agree = true;

void handle(int) {
  float output[9];
  run_by_handler->run(handlers_input, 9, output);
  handlers_answers_agree = handlers_answers_agree && same_bits(output, handlers_answer.data(), 9);
  handled = handled + 1;
}

}  // namespace

TEST(the_cpus_tiles_survive_signals_whose_handler_uses_them_and_other_threads) {
  if (!cpu_features().amx_bf16 || !cpu_features().amx_int8) SKIP("this CPU has no AMX");
  if (!linkcast::tiles_permitted()) SKIP("the system refuses tiles");
  const NetworkSpec spec = reference::forecaster(1);
  const auto input = reference::Random(15).floats(9 * input_size(spec), 0.0f, 1.0f);
  Network bf16(spec, linkcast::kernels::kernels_bf16_avx512_amx());
  Network int8(spec, linkcast::kernels::kernels_int8_avx512_amx());
  for (Network* network : {&bf16, &int8}) network->reserve(9);
  const std::vector<float> bf16_answer = run(bf16, input, 9);
  handlers_answer = run(int8, input, 9);
  run_by_handler = &int8;
  handlers_input = input.data();
  std::atomic<bool> stop = false;
  bool others_agree = true;
  std::thread other([&] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    Network network(spec, linkcast::kernels::kernels_bf16_avx512_amx());
    float output[1];
    while (!stop) {
      network.run(input.data(), 1, output);
      others_agree = others_agree && same_bits(output, bf16_answer.data(), 1);
    }
  });
  struct sigaction action = {}, before;
  action.sa_handler = handle;
  sigaction(SIGALRM, &action, &before);
  const itimerval every = {{0, 2000}, {0, 2000}}, never = {};
  setitimer(ITIMER_REAL, &every, nullptr);
  bool agree = true;
  for (int i = 0; i < 1000000 && handled < 20; ++i) agree = agree && run(bf16, input, 9) == bf16_answer;
  setitimer(ITIMER_REAL, &never, nullptr);
  stop = true;
  other.join();
  sigaction(SIGALRM, &before, nullptr);
  CHECK(agree);
  CHECK(handlers_answers_agree);
  CHECK(others_agree);
  CHECK(handled >= 20);
}
