// Calls of the C ABI for which an allocation fails, each in turn: a status, never a crash, and the next try goes
// through.
//
// Open and reload: test_c_abi_memory_load.cpp.
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "check.h"
#include "failing_malloc.h"
#include "linkcast/linkcast.h"

namespace {

linkcast_engine* the_engine() {
  static linkcast_engine* engine = [] {
    linkcast_engine* opened = nullptr;
    if (linkcast_engine_open(nullptr, nullptr, &opened) != LINKCAST_OK) throw check::Failure(linkcast_last_error());
    return opened;
  }();
  return engine;
}

linkcast_status use_stream() {
  linkcast_model model = -1;
  if (const auto status = linkcast_model_find(the_engine(), "internet", LINKCAST_ROLE_FORECASTER, &model))
    return status;
  linkcast_stream* stream = nullptr;
  if (const auto status = linkcast_stream_open(the_engine(), model, 1, nullptr, &stream)) return status;
  const std::array<float, 4> sample{50.0F, 2.5F, 0.001F, 0.999F};
  linkcast_answer answer = LINKCAST_ANSWER_INIT;
  std::size_t size = 0;
  static std::array<unsigned char, 1 << 22> bytes{};
  linkcast_status status = LINKCAST_OK;
  for (int tick = 0; tick < 12 && status <= LINKCAST_NOT_READY; ++tick)
    status = linkcast_stream_push(stream, sample.data(), sample.size(), nullptr, 0, &answer, 1, nullptr);
  if (status == LINKCAST_OK) status = linkcast_stream_snapshot(stream, bytes.data(), bytes.size(), &size);
  if (status == LINKCAST_OK) status = linkcast_stream_restore(stream, bytes.data(), size);
  const linkcast_status closed = linkcast_stream_close(stream);
  return status == LINKCAST_OK ? closed : status;
}

linkcast_status use_controller() {
  linkcast_controller_options options = LINKCAST_CONTROLLER_OPTIONS_INIT;
  options.capacity_mbps = 100;
  linkcast_controller* controller = nullptr;
  if (const auto status = linkcast_controller_open(the_engine(), "internet", &options, &controller)) return status;
  const std::array<float, 4> sample{50.0F, 2.5F, 0.001F, 0.999F};
  linkcast_decision decision = LINKCAST_DECISION_INIT;
  auto status = linkcast_controller_tick(controller, sample.data(), sample.size(), 1, &decision);
  static std::array<unsigned char, 1 << 16> bytes{};
  std::size_t size = 0;
  if (status == LINKCAST_OK) status = linkcast_controller_snapshot(controller, bytes.data(), bytes.size(), &size);
  if (status == LINKCAST_OK) status = linkcast_controller_restore(controller, bytes.data(), size, 1);
  const linkcast_status closed = linkcast_controller_close(controller);
  return status == LINKCAST_OK ? closed : status;
}

linkcast_status describe() {
  linkcast_model_info info = LINKCAST_MODEL_INFO_INIT;
  return linkcast_model_describe(the_engine(), 0, &info);
}

linkcast_status be_refused() {
  linkcast_model model = -1;
  const linkcast_status none = linkcast_model_find(the_engine(), "nonesuch", LINKCAST_ROLE_FORECASTER, &model);
  if (none != LINKCAST_ERROR_NOT_FOUND) return none;
  const linkcast_status missing = linkcast_engine_reload(the_engine(), "/nonexistent");
  return missing == LINKCAST_ERROR_LOAD ? LINKCAST_OK : missing;
}

/// How `use` ends when allocation `number` of it fails: "ok", "memory", or what is wrong.
std::string without(long number, const std::function<linkcast_status()>& use) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    fails = number;
    allocations = 0;
    const linkcast_status first = use();
    const bool reached = allocations > number;
    allocations = -1;
    if (first != LINKCAST_OK && first != LINKCAST_ERROR_MEMORY) _exit(10 + first);
    if (use() != LINKCAST_OK) _exit(30);
    _exit(!reached ? 2 : first == LINKCAST_OK ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
  constexpr std::array<const char*, 3> kNames{"ok", "memory", "all"};
  const auto code = static_cast<std::size_t>(WEXITSTATUS(status));
  return code < kNames.size() ? kNames[code] : "exit status " + std::to_string(code);
}

void fail_each_in_turn(const char* what, const std::function<linkcast_status()>& use, bool must_notice) {
  if (use() != LINKCAST_OK) throw check::Failure(std::string(what) + ": " + linkcast_last_error());
  long noticed = 0;
  long number = 0;
  for (;; ++number) {
    const std::string ended = without(number, use);
    if (ended == "all") break;
    if (ended != "ok" && ended != "memory")
      throw check::Failure(std::string(what) + ": allocation " + std::to_string(number) + ": " + ended);
    noticed += ended == "memory";
  }
  if (must_notice) CHECK(noticed > 0);
}

}  // namespace

TEST(each_allocation_that_fails_is_a_status_and_no_crash) {
  if (!kCanFail) return;
  the_engine();
  fail_each_in_turn("stream", &use_stream, true);
  fail_each_in_turn("controller", &use_controller, true);
  fail_each_in_turn("describe", &describe, false);
  fail_each_in_turn("errors", &be_refused, true);
}
