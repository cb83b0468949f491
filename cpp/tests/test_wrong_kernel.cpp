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
