// A model whose runtime works with threads, in a child of fork(), which has none of them.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "base/fork.h"
#include "check.h"
#include "engine/model.h"

namespace {

/// "0" when `body` returns true in a child of fork(); else "1", or "signal 14" after 20 seconds.
std::string in_child(const std::function<bool()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    _exit(body() ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status)) : std::to_string(WEXITSTATUS(status));
}

std::vector<float> answers(linkcast::Model& model, std::size_t batch) {
  std::fill_n(model.batch_input(batch).get(), batch * model.row_inputs(), 0.25F);
  const float* first = model.invoke_batch(batch).get();
  return {first, first + batch * model.row_outputs()};
}

}  // namespace

TEST(tensorflow_lites_own_threads_are_made_anew_in_a_child_for_single_windows_and_batches) {
  linkcast::Model::Options options;
  options.backend = linkcast::Backend::tflite;
  options.threads = 2;
  // Large enough layers for the runtime to share them out, and few windows: its threads spin while they wait.
  linkcast::Model model(std::string(std::getenv("LINKCAST_BUNDLE")) + "/models/gaming_fallback.tflite", options);
  std::fill_n(model.input().get(), model.row_inputs(), 0.25F);
  model.invoke();
  const float single = model.output()[0];
  const std::vector<float> batch = answers(model, 3);
  CHECK_EQ(in_child([&] {
             const float* place = model.output().get();
             model.invoke();
             return model.output()[0] == single && model.output().get() == place && answers(model, 3) == batch &&
                    answers(model, 2) == std::vector<float>(batch.begin(), batch.begin() + 2);
           }),
           "0");
  CHECK(answers(model, 3) == batch);
}

TEST(a_child_destroys_what_it_never_called) {
  linkcast::Model::Options options;
  options.backend = linkcast::Backend::tflite;
  options.threads = 2;
  auto model = std::make_unique<linkcast::Model>(
      std::string(std::getenv("LINKCAST_BUNDLE")) + "/models/gaming_fallback.tflite", options);
  CHECK_EQ(in_child([&] {
             model.reset();
             return true;
           }),
           "0");
}

TEST(a_lock_of_a_thread_that_the_child_lacks_is_free_there_and_held_in_the_parent) {
  linkcast::ForkLock lock;
  CHECK(lock.try_lock());
  CHECK(!lock.try_lock());
  CHECK_EQ(in_child([&] { return lock.try_lock() && !lock.try_lock(); }), "0");
  CHECK(!lock.try_lock());
  lock.unlock();
  CHECK(lock.try_lock());
}
