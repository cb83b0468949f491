// A file's inputs and outputs by name, through the C ABI; several of them: tests/test_named_tensors.py.
#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "check.h"
#include "linkcast/linkcast.hpp"

namespace {

std::string path_of(const std::string& model) {
  const char* folder = std::getenv("LINKCAST_BUNDLE");
  CHECK(folder != nullptr);
  return std::string(folder) + "/models/" + model + ".tflite";
}

bool error_has(const std::string& part) { return std::string(linkcast_last_error()).find(part) != std::string::npos; }

}  // namespace

TEST(a_network_gives_what_the_engine_gives_in_scaled_numbers) {
  linkcast::Engine engine;
  const linkcast_model model = engine.find("internet_lstm");
  linkcast::Network network(path_of("internet_lstm"));
  const linkcast_network_info info = network.describe();
  CHECK_EQ(info.inputs, std::size_t{1});
  CHECK_EQ(info.outputs, std::size_t{1});
  CHECK_EQ(std::string(info.backend), std::string(engine.describe(model).backend));
  const auto inputs = network.tensors(LINKCAST_EDGE_INPUT);
  const linkcast_tensor x = network.input(inputs.at(0).name);
  CHECK_EQ(x.data, inputs[0].data);
  CHECK_EQ(x.rank, std::size_t{3});
  CHECK_EQ(x.shape[1], 10);
  CHECK_EQ(x.values, std::size_t{40});
  // Zeros at first; another answer for another window, and the same for the same: no state is left behind.
  const linkcast_tensor y = network.tensors(LINKCAST_EDGE_OUTPUT).at(0);
  network.run();
  const float zeros = y.data[0];
  std::fill_n(x.data, x.values, 0.5F);
  network.run();
  CHECK(y.data[0] != zeros);
  std::fill_n(x.data, x.values, 0.0F);
  network.run();
  CHECK_EQ(y.data[0], zeros);
  // To be prepared leaves both edges as they are.
  std::fill_n(x.data, x.values, 0.25F);
  network.prepare();
  CHECK_EQ(y.data[0], zeros);
  CHECK(std::all_of(x.data, x.data + x.values, [](float value) { return value == 0.25F; }));
}

TEST(wrong_calls_of_a_network_give_a_status) {
  linkcast_network* opened = nullptr;
  const std::string path = path_of("internet_ddqn");
  CHECK_EQ(linkcast_network_open(nullptr, nullptr, &opened), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_network_open(path.c_str(), nullptr, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_network_open("/nowhere.tflite", nullptr, &opened), LINKCAST_ERROR_LOAD);
  CHECK(error_has("/nowhere.tflite"));
  linkcast_engine_options options = linkcast::Network::default_options();
  options.backend = "gpu";
  CHECK_EQ(linkcast_network_open(path.c_str(), &options, &opened), LINKCAST_ERROR_ARGUMENT);
  options.size = 8;
  CHECK_EQ(linkcast_network_open(path.c_str(), &options, &opened), LINKCAST_ERROR_STRUCT_SIZE);
  CHECK(opened == nullptr);
  CHECK_EQ(linkcast_network_run(opened), LINKCAST_ERROR_HANDLE);
  CHECK_EQ(linkcast_network_prepare(opened), LINKCAST_ERROR_HANDLE);
  CHECK_EQ(linkcast_network_close(opened), LINKCAST_OK);

  CHECK_EQ(linkcast_network_open(path.c_str(), nullptr, &opened), LINKCAST_OK);
  linkcast_tensor tensor = LINKCAST_TENSOR_INIT;
  CHECK_EQ(linkcast_network_tensor(opened, LINKCAST_EDGE_INPUT, 1, &tensor), LINKCAST_ERROR_ARGUMENT);
  CHECK(error_has("index: expected 0 to 0, got 1"));
  CHECK_EQ(linkcast_network_tensor(opened, LINKCAST_EDGE_INPUT, 0, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_network_tensor(opened, static_cast<linkcast_edge>(2), 0, &tensor), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_network_find(opened, LINKCAST_EDGE_OUTPUT, "nothing", &tensor), LINKCAST_ERROR_NOT_FOUND);
  CHECK(error_has("output: expected one of "));
  CHECK_EQ(linkcast_network_find(opened, LINKCAST_EDGE_OUTPUT, nullptr, &tensor), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_network_describe(opened, nullptr), LINKCAST_ERROR_ARGUMENT);
  tensor.size = 4;
  CHECK_EQ(linkcast_network_tensor(opened, LINKCAST_EDGE_INPUT, 0, &tensor), LINKCAST_ERROR_STRUCT_SIZE);
  CHECK_EQ(linkcast_network_run(opened), LINKCAST_OK);
  CHECK_EQ(linkcast_network_close(opened), LINKCAST_OK);
  CHECK_EQ(linkcast_network_run(opened), LINKCAST_ERROR_HANDLE);
}
