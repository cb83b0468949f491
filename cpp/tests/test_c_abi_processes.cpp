// Threads and processes of a C program: a close beside calls on other threads, and fork() with and without threads of
// the library's own.
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "linkcast/linkcast.h"

namespace {

constexpr std::array<float, 4> kSample{50.0F, 2.5F, 0.001F, 0.999F};

std::vector<float> window() {
  std::vector<float> values;
  for (int step = 0; step < 10; ++step) values.insert(values.end(), kSample.begin(), kSample.end());
  return values;
}

linkcast_engine* open_engine(const linkcast_engine_options* options = nullptr) {
  linkcast_engine* engine = nullptr;
  if (linkcast_engine_open(nullptr, options, &engine) != LINKCAST_OK) throw check::Failure(linkcast_last_error());
  return engine;
}

linkcast_model internet(linkcast_engine* engine) {
  linkcast_model model = -1;
  if (linkcast_model_find(engine, "internet", LINKCAST_ROLE_FORECASTER, &model) != LINKCAST_OK)
    throw check::Failure(linkcast_last_error());
  return model;
}

/// "0" when `body` returns true in a child of fork(); else "1", "signal 14" after ten seconds, or another signal.
std::string in_child(const std::function<bool()>& body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    alarm(10);
    _exit(body() ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status)) : std::to_string(WEXITSTATUS(status));
}

/// As where RLIMIT_NPROC, a cgroup or RLIMIT_AS lets no more threads be: none has so much address space for its stack.
bool let_no_thread_start() {
  pthread_attr_t attributes;
  return pthread_attr_init(&attributes) == 0 &&
         pthread_attr_setstacksize(&attributes, std::numeric_limits<std::size_t>::max() / 2) == 0 &&
         pthread_setattr_default_np(&attributes) == 0;
}

/// Threads that call `one` on a handle that another thread closes and opens again. What they get is an answer, BUSY, or
/// that the handle is none.
template <class Handle>
void close_beside_calls(const std::function<Handle*()>& open, const std::function<linkcast_status(Handle*)>& close,
                        const std::function<linkcast_status(Handle*)>& one) {
  constexpr int kRounds = 300;
  std::atomic<Handle*> current{open()};
  std::atomic<bool> done{false};
  std::atomic<long> unexpected{0};
  std::atomic<long> calls{0};
  std::vector<std::thread> threads;
  for (int k = 0; k < 2; ++k)
    threads.emplace_back([&] {
      while (!done.load()) {
        const linkcast_status status = one(current.load());
        ++calls;
        unexpected += status != LINKCAST_OK && status != LINKCAST_NOT_READY && status != LINKCAST_ERROR_BUSY &&
                      status != LINKCAST_ERROR_HANDLE;
      }
    });
  while (calls.load() == 0) std::this_thread::yield();
  long refused = 0;
  for (int round = 0; round < kRounds; ++round) {
    Handle* fresh = open();
    Handle* old = current.exchange(fresh);
    linkcast_status status = LINKCAST_ERROR_BUSY;
    while ((status = close(old)) == LINKCAST_ERROR_BUSY) std::this_thread::yield();
    refused += status != LINKCAST_OK;
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(refused, 0L);
  CHECK_EQ(unexpected.load(), 0L);
  CHECK(calls.load() > 0);
  CHECK_EQ(close(current.load()), LINKCAST_OK);
}

}  // namespace

TEST(an_engine_that_is_closed_beside_calls_is_busy_or_gone_and_never_freed_under_them) {
  const std::vector<float> values = window();
  // To open an engine takes a hundred times as long as a call, so that a few are opened first and each is closed once.
  std::vector<linkcast_engine*> engines;
  for (int k = 0; k < 6; ++k) engines.push_back(open_engine());
  const linkcast_model model = internet(engines[0]);
  std::atomic<linkcast_engine*> current{engines[0]};
  std::atomic<bool> done{false};
  std::atomic<long> unexpected{0};
  std::vector<std::thread> threads;
  for (int k = 0; k < 3; ++k)
    threads.emplace_back([&, k] {
      while (!done.load()) {
        linkcast_answer answer = LINKCAST_ANSWER_INIT;
        size_t count = 0;
        linkcast_model_stats stats = LINKCAST_MODEL_STATS_INIT;
        linkcast_engine* engine = current.load();
        const linkcast_status status =
            k == 0   ? linkcast_model_count(engine, &count)
            : k == 1 ? linkcast_model_read_stats(engine, model, &stats)
                     : linkcast_forecast(engine, model, values.data(), values.size(), 0, &answer, 1, nullptr);
        unexpected += status != LINKCAST_OK && status != LINKCAST_ERROR_BUSY && status != LINKCAST_ERROR_HANDLE;
      }
    });
  long closed = 0;
  for (std::size_t k = 0; k < engines.size(); ++k) {
    linkcast_status status = LINKCAST_ERROR_BUSY;
    // First amid the calls, which may keep it busy for ever, then as they go over to the next one.
    for (int attempt = 0; attempt < 500 && status == LINKCAST_ERROR_BUSY; ++attempt)
      status = linkcast_engine_close(engines[k]);
    if (k + 1 < engines.size()) current.store(engines[k + 1]);
    while (status == LINKCAST_ERROR_BUSY) {
      std::this_thread::yield();
      if (k + 1 == engines.size()) done = true;
      status = linkcast_engine_close(engines[k]);
    }
    closed += status == LINKCAST_OK;
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(closed, 6L);
  CHECK_EQ(unexpected.load(), 0L);
}

TEST(a_stream_and_a_controller_that_are_closed_beside_calls_are_busy_or_gone_too) {
  linkcast_engine* engine = open_engine();
  const linkcast_model model = internet(engine);
  close_beside_calls<linkcast_stream>(
      [&] {
        linkcast_stream* stream = nullptr;
        while (linkcast_stream_open(engine, model, 1, nullptr, &stream) == LINKCAST_ERROR_BUSY)
          std::this_thread::yield();
        return stream;
      },
      &linkcast_stream_close,
      [](linkcast_stream* stream) {
        linkcast_stream_info info = LINKCAST_STREAM_INFO_INIT;
        return linkcast_stream_describe(stream, 0, &info);
      });
  close_beside_calls<linkcast_controller>(
      [&] {
        linkcast_controller* controller = nullptr;
        linkcast_controller_options options = LINKCAST_CONTROLLER_OPTIONS_INIT;
        options.capacity_mbps = 100;
        while (linkcast_controller_open(engine, "internet", &options, &controller) == LINKCAST_ERROR_BUSY)
          std::this_thread::yield();
        return controller;
      },
      &linkcast_controller_close,
      [](linkcast_controller* controller) {
        linkcast_controller_stats counts = LINKCAST_CONTROLLER_STATS_INIT;
        return linkcast_controller_read_stats(controller, &counts);
      });
  CHECK_EQ(linkcast_engine_close(engine), LINKCAST_OK);
}

TEST(only_one_of_two_closes_closes) {
  for (int round = 0; round < 5; ++round) {
    linkcast_engine* engine = open_engine();
    std::atomic<int> ready{0};
    std::array<linkcast_status, 2> status{};
    const auto close = [&](std::size_t k) {
      ++ready;
      while (ready < 2) {
      }
      while ((status[k] = linkcast_engine_close(engine)) == LINKCAST_ERROR_BUSY) {
      }
    };
    std::thread other(close, 1);
    close(0);
    other.join();
    CHECK_EQ(status[0] + status[1], LINKCAST_OK + LINKCAST_ERROR_HANDLE);
  }
}

TEST(a_child_of_fork_forecasts_reloads_and_closes_whatever_threads_its_parent_has) {
  const std::vector<float> values = window();
  linkcast_engine_options options = LINKCAST_ENGINE_OPTIONS_INIT;
  options.pool_threads = 3;
  options.second_core = "any";
  linkcast_engine* engine = open_engine(&options);
  std::vector<linkcast_model> models;
  for (const char* profile : {"internet", "datacenter"}) {
    models.emplace_back();
    CHECK_EQ(linkcast_model_find(engine, profile, LINKCAST_ROLE_FORECASTER, &models.back()), LINKCAST_OK);
  }
  const linkcast_answer none = LINKCAST_ANSWER_INIT;
  std::array<linkcast_answer, 2> answers{none, none};
  const auto all_groups = [&] {
    std::array<linkcast_request, 2> groups;
    for (std::size_t k = 0; k < groups.size(); ++k) {
      groups[k] = LINKCAST_REQUEST_INIT;
      groups[k].model = models[k];
      groups[k].windows = values.data();
      groups[k].values = values.size();
      groups[k].answers = &answers[k];
      groups[k].count = 1;
    }
    return linkcast_forecast_many(engine, groups.data(), groups.size(), 0);
  };
  CHECK_EQ(all_groups(), LINKCAST_OK);
  const auto mbps = [&] { return std::array<float, 2>{answers[0].mbps, answers[1].mbps}; };
  const std::array<float, 2> expected = mbps();
  CHECK_EQ(in_child([&] {
             for (int round = 0; round < 2; ++round) {
               answers = {none, none};
               if (all_groups() != LINKCAST_OK || mbps() != expected) return false;
               if (linkcast_engine_reload(engine, nullptr) != LINKCAST_OK) return false;
             }
             return linkcast_engine_close(engine) == LINKCAST_OK;
           }),
           "0");
  // Nor where the child may have no threads of its own: its one does everything.
  answers = {none, none};
  CHECK_EQ(in_child([&] { return let_no_thread_start() && all_groups() == LINKCAST_OK && mbps() == expected; }), "0");
  // Not a call first: what the child only closes, or reloads, has no thread to wait for.
  CHECK_EQ(in_child([&] { return linkcast_engine_close(engine) == LINKCAST_OK; }), "0");
  CHECK_EQ(in_child([&] { return linkcast_engine_reload(engine, nullptr) == LINKCAST_OK; }), "0");
  answers = {none, none};
  CHECK_EQ(all_groups(), LINKCAST_OK);  // the parent has lost nothing
  CHECK(mbps() == expected);
  CHECK_EQ(linkcast_engine_close(engine), LINKCAST_OK);
}

TEST(where_no_thread_can_be_started_a_helper_is_done_without_and_a_pool_is_refused) {
  const std::vector<float> values = window();
  linkcast_engine_options options = LINKCAST_ENGINE_OPTIONS_INIT;
  options.second_core = "any";
  const auto forecast = [&](linkcast_engine* engine) {
    linkcast_answer answer = LINKCAST_ANSWER_INIT;
    const auto status =
        linkcast_forecast(engine, internet(engine), values.data(), values.size(), 0, &answer, 1, nullptr);
    return status == LINKCAST_OK ? answer.mbps : -1.0F;
  };
  const auto second_core = [](linkcast_engine* engine) {
    linkcast_model_info info = LINKCAST_MODEL_INFO_INIT;
    if (linkcast_model_describe(engine, internet(engine), &info) != LINKCAST_OK) return std::string();
    return std::string(info.second_core);
  };
  linkcast_engine* plain = open_engine();
  const float expected = forecast(plain);
  const std::string without = in_child([&] {
    if (!let_no_thread_start()) return false;
    linkcast_engine* engine = open_engine(&options);
    if (!second_core(engine).starts_with("one core: no helper, ")) return false;
    if (forecast(engine) != expected || linkcast_engine_reload(engine, nullptr) != LINKCAST_OK) return false;
    return forecast(engine) == expected && linkcast_engine_close(engine) == LINKCAST_OK;
  });
  CHECK_EQ(without, "0");
  // What asks for its threads by number gets them, or is told; and what there is goes on.
  const std::string pool = in_child([&] {
    linkcast_engine_options many = LINKCAST_ENGINE_OPTIONS_INIT;
    many.pool_threads = 3;
    const std::array<std::int32_t, 2> nowhere{100'000, 100'000};
    many.pool_cpus = nowhere.data();
    linkcast_engine* engine = nullptr;
    if (linkcast_engine_open(nullptr, &many, &engine) != LINKCAST_ERROR_ARGUMENT) return false;
    many.pool_cpus = nullptr;
    if (!let_no_thread_start()) return false;
    const auto status = linkcast_engine_open(nullptr, &many, &engine);
    const std::string said = linkcast_last_error();
    return status == LINKCAST_ERROR_MEMORY && !engine && forecast(plain) == expected &&
           said.starts_with("threads: expected 2 beside the caller's, got 0: ");
  });
  CHECK_EQ(pool, "0");
  CHECK_EQ(linkcast_engine_close(plain), LINKCAST_OK);
}

TEST(a_child_forked_amid_the_calls_of_another_thread_is_answered_or_refused_and_does_not_hang) {
  const std::vector<float> values = window();
  linkcast_engine* engine = open_engine();
  const linkcast_model model = internet(engine);
  std::atomic<bool> done{false};
  std::thread caller([&] {
    linkcast_answer answer = LINKCAST_ANSWER_INIT;
    for (int round = 0; !done.load(); ++round) {
      linkcast_forecast(engine, model, values.data(), values.size(), 0, &answer, 1, nullptr);
      if (round % 1000 == 0) linkcast_engine_reload(engine, nullptr);
    }
  });
  for (int round = 0; round < 6; ++round) {
    const std::string ended = in_child([&] {
      linkcast_answer answer = LINKCAST_ANSWER_INIT;
      const auto status = linkcast_forecast(engine, model, values.data(), values.size(), 0, &answer, 1, nullptr);
      if (status == LINKCAST_OK)
        return std::isfinite(answer.mbps) && linkcast_engine_reload(engine, nullptr) == LINKCAST_OK &&
               linkcast_engine_close(engine) == LINKCAST_OK;
      const std::string refused = linkcast_last_error();
      linkcast_engine* other = nullptr;
      return status == LINKCAST_ERROR_HANDLE && refused.find("when the process forked") != std::string::npos &&
             linkcast_engine_reload(engine, nullptr) == LINKCAST_ERROR_HANDLE &&
             linkcast_engine_close(engine) == LINKCAST_ERROR_HANDLE &&
             linkcast_engine_open(nullptr, nullptr, &other) == LINKCAST_OK &&
             linkcast_engine_close(other) == LINKCAST_OK;
    });
    CHECK_EQ(ended, "0");
  }
  done = true;
  caller.join();
  CHECK_EQ(linkcast_engine_close(engine), LINKCAST_OK);
}
