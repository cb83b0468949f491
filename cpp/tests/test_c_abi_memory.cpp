// Calls of the C ABI for which an allocation fails, each in turn: a status, never a crash, and the next try goes
// through. tests/test_fuzzing.py finds a function that is in neither of the two files.
//
// Open and reload: test_c_abi_memory_load.cpp.
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "check.h"
#include "failing_malloc.h"
#include "linkcast/linkcast.h"

namespace {

constexpr std::size_t most = 40;  // windows of a call. Room for them is made at open: else TensorFlow Lite allocates

linkcast_engine* the_engine() {
  static linkcast_engine* engine = [] {
    linkcast_engine_options options = LINKCAST_ENGINE_OPTIONS_INIT;
    options.pool_threads = 2;
    options.batch = most;
    linkcast_engine* opened = nullptr;
    if (linkcast_engine_open(nullptr, &options, &opened) != LINKCAST_OK) throw check::Failure(linkcast_last_error());
    return opened;
  }();
  return engine;
}

/// The first status that is an error, or that of the last call: one after the other while none is.
class Calls {
 public:
  template <class Call>
  Calls& then(const Call& call) {
    if (status_ <= LINKCAST_NOT_READY) status_ = call();
    return *this;
  }
  /// Whatever came before: what was opened is closed.
  Calls& and_close(linkcast_status closed) {
    if (status_ <= LINKCAST_NOT_READY) status_ = closed;
    return *this;
  }
  linkcast_status status() const { return status_ == LINKCAST_NOT_READY ? LINKCAST_OK : status_; }

 private:
  linkcast_status status_ = LINKCAST_OK;
};

constexpr std::array<float, 4> kSample{50.0F, 2.5F, 0.001F, 0.999F};
std::array<unsigned char, 1 << 22> bytes{};  // of a snapshot

/// kSample, again and again: windows, states or the samples of rows.
template <std::size_t values>
std::array<float, values> repeated() {
  std::array<float, values> all{};
  for (std::size_t k = 0; k < values; ++k) all[k] = kSample[k % kSample.size()];
  return all;
}

linkcast_status use_stream() {
  constexpr std::size_t rows = 2;
  linkcast_model model = -1;
  if (const auto status = linkcast_model_find(the_engine(), "internet", LINKCAST_ROLE_FORECASTER, &model))
    return status;
  linkcast_stream* stream = nullptr;
  if (const auto status = linkcast_stream_open(the_engine(), model, rows, nullptr, &stream)) return status;
  const auto samples = repeated<4 * rows>();
  std::array<linkcast_answer, rows> answers{};
  answers.fill(LINKCAST_ANSWER_INIT);
  linkcast_stream_info info = LINKCAST_STREAM_INFO_INIT;
  linkcast_expert expert = LINKCAST_EXPERT_INIT;
  std::size_t size = 0;
  Calls calls;
  calls.then([&] { return linkcast_stream_prepare(stream); });
  for (int tick = 0; tick < 12; ++tick)
    calls
        .then([&] {
          return linkcast_stream_push(stream, samples.data(), samples.size(), nullptr, 0, answers.data(), rows,
                                      nullptr);
        })
        .then([&] { return linkcast_stream_advance(stream); });
  calls.then([&] { return linkcast_stream_describe(stream, 1, &info); })
      .then([&] { return linkcast_stream_expert(stream, 1, 0, &expert); })
      .then([&] { return linkcast_stream_horizon(stream, 1, 3, answers.data()); })
      .then([&] { return linkcast_stream_peak(stream, 0, 3, answers.data()); })
      .then([&] { return linkcast_stream_snapshot(stream, bytes.data(), bytes.size(), &size); })
      .then([&] { return linkcast_stream_restore(stream, bytes.data(), size); })
      .then([&] { return linkcast_stream_snapshot_row(stream, 1, bytes.data(), bytes.size(), &size); })
      .then([&] { return linkcast_stream_restore_row(stream, 0, bytes.data(), size); })
      .then([&] { return linkcast_stream_follow(stream); })
      .then([&] { return linkcast_stream_reset(stream, LINKCAST_ALL_ROWS); });
  return calls.and_close(linkcast_stream_close(stream)).status();
}

linkcast_status use_controller() {
  linkcast_controller_options options = LINKCAST_CONTROLLER_OPTIONS_INIT;
  options.capacity_mbps = 100;
  linkcast_controller* controller = nullptr;
  if (const auto status = linkcast_controller_open(the_engine(), "internet", &options, &controller)) return status;
  linkcast_decision decision = LINKCAST_DECISION_INIT;
  linkcast_controller_stats stats = LINKCAST_CONTROLLER_STATS_INIT;
  std::size_t size = 0;
  Calls calls;
  calls.then([&] { return linkcast_controller_prepare(controller); })
      .then([&] { return linkcast_controller_tick(controller, kSample.data(), kSample.size(), 1, &decision); })
      .then([&] { return linkcast_controller_advance(controller); })
      .then([&] { return linkcast_controller_read_stats(controller, &stats); })
      .then([&] { return linkcast_controller_snapshot(controller, bytes.data(), bytes.size(), &size); })
      .then([&] { return linkcast_controller_restore(controller, bytes.data(), size, 1); })
      .then([&] { return linkcast_controller_reset(controller); });
  return calls.and_close(linkcast_controller_close(controller)).status();
}

linkcast_status use_engine() {
  static const auto windows = repeated<40 * most>();
  std::array<linkcast_model, 2> forecasters{};
  linkcast_model allocator = -1;
  std::array<linkcast_answer, most> answers{};
  answers.fill(LINKCAST_ANSWER_INIT);
  std::array<float, most> mbps{};
  std::array<std::int32_t, most> actions{};
  linkcast_model_info info = LINKCAST_MODEL_INFO_INIT;
  linkcast_kernel_time time = LINKCAST_KERNEL_TIME_INIT;
  linkcast_model_stats stats = LINKCAST_MODEL_STATS_INIT;
  std::size_t count = 0;
  std::array<linkcast_request, 2> requests{};
  const auto find = [](const char* name, linkcast_role role, linkcast_model& model) {
    return linkcast_model_find(the_engine(), name, role, &model);
  };
  Calls calls;
  calls.then([&] { return find("internet", LINKCAST_ROLE_FORECASTER, forecasters[0]); })
      .then([&] { return find("datacenter", LINKCAST_ROLE_FORECASTER, forecasters[1]); })
      .then([&] { return find("internet", LINKCAST_ROLE_ALLOCATOR, allocator); })
      .then([&] { return linkcast_model_count(the_engine(), &count); })
      .then([&] { return linkcast_model_describe(the_engine(), allocator, &info); })
      .then([&] { return linkcast_model_kernel_time(the_engine(), allocator, 0, &time); })
      .then([&] { return linkcast_model_prepare(the_engine(), forecasters[0]); })
      .then([&] { return linkcast_model_prepare(the_engine(), allocator); });
  for (const std::size_t batch : {std::size_t{1}, most})
    calls
        .then([&] {
          return linkcast_forecast(the_engine(), forecasters[0], windows.data(), 40 * batch, 0, answers.data(), batch,
                                   nullptr);
        })
        .then([&] {
          return linkcast_forecast_raw(the_engine(), forecasters[0], windows.data(), 40 * batch, mbps.data(), batch);
        })
        .then([&] {
          return linkcast_decide(the_engine(), allocator, windows.data(), 4 * batch, actions.data(), batch, nullptr);
        });
  for (std::size_t k = 0; k < requests.size(); ++k) {
    requests[k] = LINKCAST_REQUEST_INIT;
    requests[k].model = forecasters[k];
    requests[k].windows = windows.data();
    requests[k].values = 40;
    requests[k].answers = &answers[k];
    requests[k].count = 1;
  }
  return calls.then([&] { return linkcast_forecast_many(the_engine(), requests.data(), requests.size(), 0); })
      .then([&] { return linkcast_model_read_stats(the_engine(), allocator, &stats); })
      .status();
}

linkcast_status use_policies() {
  linkcast_route* route = nullptr;
  if (const auto status = linkcast_route_open(2, nullptr, &route)) return status;
  const std::array<float, 2> p10{5.0F, 12.0F};
  linkcast_route_choice choice = LINKCAST_ROUTE_CHOICE_INIT;
  linkcast_codec codec = LINKCAST_CODEC_INIT;
  codec.compress_mbps = codec.decompress_mbps = 100.0;
  linkcast_answer band = LINKCAST_ANSWER_INIT;
  band.mbps = band.p10_mbps = band.p50_mbps = band.p90_mbps = 10.0F;
  linkcast_compression_choice compression = LINKCAST_COMPRESSION_CHOICE_INIT;
  Calls calls;
  calls.then([&] { return linkcast_route_choose(route, p10.data(), p10.size(), 1, &choice); }).then([&] {
    return linkcast_compression_choose(&codec, 1, 1000, &band, nullptr, &compression);
  });
  return calls.and_close(linkcast_route_close(route)).status();
}

linkcast_network* the_network() {
  static linkcast_network* network = [] {
    const char* folder = std::getenv("LINKCAST_BUNDLE");
    const std::string path = std::string(folder ? folder : ".") + "/models/internet_lstm.tflite";
    linkcast_network* opened = nullptr;
    if (linkcast_network_open(path.c_str(), nullptr, &opened) != LINKCAST_OK)
      throw check::Failure(linkcast_last_error());
    return opened;
  }();
  return network;
}

linkcast_status use_network() {
  linkcast_network_info info = LINKCAST_NETWORK_INFO_INIT;
  linkcast_tensor tensor = LINKCAST_TENSOR_INIT;
  Calls calls;
  calls.then([&] { return linkcast_network_describe(the_network(), &info); })
      .then([&] { return linkcast_network_tensor(the_network(), LINKCAST_EDGE_INPUT, 0, &tensor); })
      .then([&] { return linkcast_network_run(the_network()); })
      .then([&] { return linkcast_network_prepare(the_network()); })
      .then([&] {
        const auto none = linkcast_network_find(the_network(), LINKCAST_EDGE_INPUT, "nonesuch", &tensor);
        return none == LINKCAST_ERROR_NOT_FOUND ? LINKCAST_OK : none;
      })
      .then([&] { return linkcast_network_find(the_network(), LINKCAST_EDGE_INPUT, tensor.name, &tensor); });
  return calls.status();
}

void take_text(linkcast_log_level, const char*, void*) {}

linkcast_status ask_for_texts() {
  const auto set = linkcast_set_log(&take_text, nullptr, LINKCAST_LOG_INFO);
  const bool all = linkcast_version() && linkcast_status_name(LINKCAST_OK) &&
                   linkcast_source_name(LINKCAST_SOURCE_MODEL) && linkcast_cause_name(LINKCAST_CAUSE_NONE) &&
                   linkcast_last_error();
  return all ? set : LINKCAST_ERROR_INTERNAL;
}

linkcast_status be_refused() {
  linkcast_model model = -1;
  const linkcast_status none = linkcast_model_find(the_engine(), "nonesuch", LINKCAST_ROLE_FORECASTER, &model);
  if (none != LINKCAST_ERROR_NOT_FOUND) return none;
  const linkcast_status missing = linkcast_engine_reload(the_engine(), "/nonexistent");
  return missing == LINKCAST_ERROR_LOAD ? LINKCAST_OK : missing;
}

/// How `use` ends when allocation `number` of it fails (below 0: none): "ok", "memory", or what is wrong.
std::string without(long number, const std::function<linkcast_status()>& use) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    fails = number;
    allocations = 0;
    const linkcast_status first = use();
    const bool reached = allocations > number;
    allocations = -1;
    if (number < 0) _exit(first == LINKCAST_OK ? 0 : 10 + first);
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
  // In a child, too: here nothing has been called yet, and what the first call of its kind makes is made in each of them.
  if (const std::string ended = without(-1, use); ended != "ok") throw check::Failure(std::string(what) + ": " + ended);
  long noticed = 0;
  long number = 0;
  for (;; ++number) {
    const std::string ended = without(number, use);
    if (ended == "all") break;
    if (ended != "ok" && ended != "memory")
      throw check::Failure(std::string(what) + ": allocation " + std::to_string(number) + ": " + ended);
    noticed += ended == "memory";
  }
  std::printf("%s: %ld allocations, %ld noticed\n", what, number, noticed);
  if (must_notice) CHECK(noticed > 0);
}

}  // namespace

TEST(each_allocation_that_fails_is_a_status_and_no_crash) {
  if (!kCanFail) return;
  the_engine();
  the_network();
  fail_each_in_turn("stream", &use_stream, true);
  fail_each_in_turn("controller", &use_controller, true);
  fail_each_in_turn("engine", &use_engine, true);
  fail_each_in_turn("policies", &use_policies, true);
  fail_each_in_turn("network", &use_network, true);
  fail_each_in_turn("texts", &ask_for_texts, false);
  fail_each_in_turn("errors", &be_refused, true);
}
