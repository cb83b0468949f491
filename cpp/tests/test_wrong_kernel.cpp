// The proof at load, seen at work on a kernel that is wrong on purpose.
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "check.h"
#include "engine/model.h"

TEST(a_wrong_kernel_is_caught_at_load_and_tensorflow_lite_runs_instead) {
  setenv("LINKCAST_TEST_WRONG_KERNEL", "1", 1);  // LINKCAST_TEST_HOOKS: the C++ tests' build alone listens to it
  for (const char* name : {"internet_lstm", "internet_ddqn", "gaming_model"}) {
    const std::string path = std::string(std::getenv("LINKCAST_BUNDLE")) + "/models/" + name + ".tflite";
    linkcast::Model::Options options;
    const linkcast::Model model(path, options);
    CHECK_EQ(std::string(model.backend()), std::string("tflite"));
    CHECK(model.backend_reason().find("differs from TensorFlow Lite by 1 on proof window 0") != std::string::npos);
    options.backend = linkcast::Backend::native;
    CHECK_THROWS(linkcast::Model(path, options), "differs from TensorFlow Lite");
  }
  unsetenv("LINKCAST_TEST_WRONG_KERNEL");
}

TEST(wrong_steps_are_caught_at_load_before_a_stream_takes_them) {
  setenv("LINKCAST_TEST_WRONG_KERNEL", "steps", 1);
  const auto open = [](const char* name, linkcast::Precision precision, linkcast::Backend backend) {
    linkcast::Model::Options options;
    options.precision = precision;
    options.backend = backend;
    return linkcast::Model(std::string(std::getenv("LINKCAST_BUNDLE")) + "/models/" + name + ".tflite", options);
  };
  const linkcast::Model model = open("internet_lstm", linkcast::Precision::float32, linkcast::Backend::automatic);
  CHECK_EQ(std::string(model.backend()), std::string("tflite"));
  CHECK(model.backend_reason().find("on proof window 0 stepped through, 9 rows at once") != std::string::npos);
  CHECK_THROWS(open("internet_lstm", linkcast::Precision::int8, linkcast::Backend::native), "stepped through");
  // What has no steps has none to prove.
  const linkcast::Model allocator = open("internet_ddqn", linkcast::Precision::float32, linkcast::Backend::automatic);
  CHECK_EQ(std::string(allocator.backend()), std::string("native"));
  unsetenv("LINKCAST_TEST_WRONG_KERNEL");
}
