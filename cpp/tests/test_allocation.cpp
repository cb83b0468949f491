// The guarantees of an allocator's decisions, over states far beyond training, on every backend.
#include "engine/allocation.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "bundle.h"
#include "check.h"

using namespace linkcast;

namespace {

constexpr std::size_t kBandwidth = 1;

struct Allocator {
  Engine& engine;
  std::size_t index;
  double capacity;

  Allocator(Engine& engine_, const char* profile)
      : engine(engine_), index(engine_.find(profile, Role::allocator)), capacity(*engine_.spec(index).capacity_mbps) {}

  template <class Real>
  std::vector<std::int32_t> decide(const std::vector<Real>& states) const {
    std::vector<std::int32_t> actions(states.size() / 4);
    engine.decide(index, states.data(), actions.size(), actions.data());
    return actions;
  }

  Cause cause(std::vector<double> state) const {
    std::int32_t action = -1;
    return engine.decide(index, state.data(), 1, &action);
  }
};

/// How often a guarantee is broken by the actions of states whose bandwidth rises within each run of `run`.
std::size_t violations(const std::vector<double>& states, const std::vector<std::int32_t>& actions, double capacity,
                       std::size_t run) {
  std::size_t broken = 0;
  for (std::size_t row = 0; row < actions.size(); ++row) {
    const double carried = states[row * 4 + kBandwidth] / capacity * 10;  // in tenths of the link
    broken += carried >= 10 && actions[row] != 9;
    broken += actions[row] + 2 < std::min(carried, 10.0) - 1e-9;
    broken += row % run > 0 && actions[row] < actions[row - 1];
  }
  return broken;
}

/// (count, 4): latency 0.05 ms to 10 s, bandwidth to ten times the capacity, loss and reliability 0 to 1; each state
/// twice, the second time with more bandwidth.
std::vector<double> random_pairs(std::size_t count, double capacity, unsigned seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> uniform(0, 1);
  const auto log_uniform = [&](double low, double high) { return low * std::pow(high / low, uniform(random)); };
  std::vector<double> states;
  for (std::size_t pair = 0; pair < count / 2; ++pair) {
    const double latency = log_uniform(0.05, 1e4);
    const double bandwidth = capacity * (uniform(random) < 0.5 ? log_uniform(1e-4, 10) : uniform(random) * 1.1);
    const double more = std::min(bandwidth * (1 + log_uniform(1e-9, 1)), capacity * 10);
    const double loss = uniform(random) < 0.3 ? 0 : std::pow(uniform(random), 3);
    const double reliability = uniform(random) < 0.3 ? 1 : 1 - std::pow(uniform(random), 3);
    states.insert(states.end(), {latency, bandwidth, loss, reliability, latency, more, loss, reliability});
  }
  return states;
}

/// Rising bandwidth, half to ten times the capacity, at each of latencies from 0.05 ms to 10 s and losses from 0 to 1.
std::vector<double> grid(double capacity, std::size_t* run) {
  std::vector<double> states;
  *run = 191;
  for (double latency = 0.05; latency <= 1e4; latency *= 1.5)
    for (int loss = 0; loss <= 10; ++loss)
      for (std::size_t k = 0; k < *run; ++k)
        states.insert(states.end(), {latency, capacity * (0.5 + 0.05 * static_cast<double>(k)), loss / 10.0, 0.99});
  return states;
}

}  // namespace

TEST(a_sweep_of_bandwidth_latency_and_loss_breaks_no_guarantee) {
  for (const char* profile : {"datacenter", "internet"}) {
    const Allocator allocator(bundle(), profile);
    std::size_t run = 0;
    const auto states = grid(allocator.capacity, &run);
    CHECK_EQ(violations(states, allocator.decide(states), allocator.capacity, run), 0U);
  }
}

TEST(a_million_random_states_break_no_guarantee) {
  for (const char* profile : {"datacenter", "internet"}) {
    const Allocator allocator(bundle(), profile);
    const auto states = random_pairs(500'000, allocator.capacity, 7);
    CHECK_EQ(violations(states, allocator.decide(states), allocator.capacity, 2), 0U);
  }
}

TEST(float32_states_and_tensorflow_lite_break_no_guarantee) {
  Engine plain = open_bundle(Backend::tflite);
  for (Engine* engine : {&bundle(), &plain}) {
    const Allocator allocator(*engine, "internet");
    auto states = random_pairs(20'000, allocator.capacity, 8);
    const std::vector<float> narrow(states.begin(), states.end());
    states.assign(narrow.begin(), narrow.end());
    CHECK_EQ(violations(states, allocator.decide(narrow), allocator.capacity, 2), 0U);
  }
}

TEST(a_state_alone_and_in_a_batch_gets_the_same_action) {
  const Allocator allocator(bundle(), "internet");
  const auto states = random_pairs(2'000, allocator.capacity, 9);
  const auto actions = allocator.decide(states);
  for (std::size_t row = 0; row < actions.size(); ++row)
    CHECK_EQ(allocator.decide(std::vector<double>(&states[row * 4], &states[row * 4 + 4]))[0], actions[row]);
}

TEST(what_lies_outside_training_is_held_to_it_and_said) {
  const Allocator allocator(bundle(), "internet");
  const ModelSpec& spec = bundle().spec(allocator.index);
  const double longest = spec.state_range[0].most;
  const double lossiest = spec.state_range[2].most;
  CHECK(longest < 1e5 && longest > 1);
  CHECK_EQ(allocator.decide(std::vector<double>{3.4e38, 40, 0, 1})[0],
           allocator.decide(std::vector<double>{longest, 40, 0, 1})[0]);
  CHECK_EQ(allocator.decide(std::vector<double>{20, 40, 1, 1})[0],
           allocator.decide(std::vector<double>{20, 40, lossiest, 1})[0]);
  CHECK(allocator.cause({3.4e38, 40, 0, 1}) == Cause::outside_training);
  CHECK(allocator.cause({longest, 40, 0, 1}) == Cause::none);
  CHECK(allocator.cause({20, 40, 0, 1}) == Cause::none);
  CHECK(allocator.cause({20, allocator.capacity, 0, 1}) == Cause::none);
  CHECK(allocator.cause({20, allocator.capacity * 1.02, 0, 1}) == Cause::over_capacity);
  CHECK_EQ(allocator.decide(std::vector<double>{20, allocator.capacity * 1.02, 0, 1})[0], 9);
}

TEST(the_first_cause_of_a_batch_comes_back_and_each_row_has_its_own) {
  const Allocator allocator(bundle(), "internet");
  const std::vector<double> states{20, 40, 0, 1, 1e9, 40, 0, 1, 20, 2 * allocator.capacity, 0, 1};
  std::vector<std::int32_t> actions(3);
  std::vector<Cause> causes(3);
  CHECK(bundle().decide(allocator.index, states.data(), 3, actions.data(), causes.data()) == Cause::outside_training);
  CHECK(causes[0] == Cause::none);
  CHECK(causes[1] == Cause::outside_training);
  CHECK(causes[2] == Cause::over_capacity);
}

TEST(q_values_that_are_not_finite_keep_the_guarantees_and_are_said) {
  BundleCopy copy;  // in which every latency overflows float32 once it is scaled
  copy.set_scalers("internet_ddqn",
                   R"({"features": {"latency_ms": {"min": 0, "max": 1e-300}, "bandwidth_mbps": {"min": 0, "max": 10},
                       "packet_loss": {"min": 0, "max": 0.01}, "reliability": {"min": 0, "max": 1}}})");
  Engine engine(copy.folder(), {});
  const Allocator allocator(engine, "internet");
  CHECK(allocator.cause({20, 40, 0, 1}) == Cause::not_finite);
  const auto states = random_pairs(10'000, allocator.capacity, 10);
  CHECK_EQ(violations(states, allocator.decide(states), allocator.capacity, 2), 0U);
}

TEST(a_certificate_of_another_file_is_refused) {
  BundleCopy copy;
  copy.replace("manifest", "\"model_sha256\": \"13b1a", "\"model_sha256\": \"00000");
  CHECK_THROWS(Engine(copy.folder(), {}), "models.internet_ddqn.certificate.model_sha256: expected the model's sha256");
}
