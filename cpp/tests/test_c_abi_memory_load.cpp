// Open and reload while memory ends: where linkcast asks for it in vain, a status, with everything as before and nothing
// kept; and where the address space is limited, the same, however narrow it is. What TensorFlow Lite makes of a failure
// of its own is told, not judged: docs/processes.md says how to stay away from it.
//
// LINKCAST_TEST_EVERY: of so many allocations one is made to fail.
#include <dlfcn.h>
#include <execinfo.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <string>

#include "c_abi.h"
#include "check.h"
#include "failing_malloc.h"

namespace {

constexpr int kNotReached = 100;
constexpr int kOtherAnswer = 101;
constexpr int kKept = 102;
constexpr int kThrew = 103;

/// What a child tells, beside its exit status.
struct Told {
  long allocations;  // of the call
  int by_runtime;    // the one that failed was TensorFlow Lite's own
  long blocks;       // more than before the call
};

Told& told() {
  static void* const memory = mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return *static_cast<Told*>(memory);
}

/// Who asked: the library whose code is nearest.
void look_who_asks() {
  allocations = -1;
  std::array<void*, 64> frames{};
  const int count = backtrace(frames.data(), static_cast<int>(frames.size()));
  for (int k = 0; k < count; ++k) {
    Dl_info info{};
    if (!dladdr(frames[static_cast<std::size_t>(k)], &info) || !info.dli_fname) continue;
    if (std::strstr(info.dli_fname, "liblinkcast")) break;
    if (std::strstr(info.dli_fname, "tensorflowlite")) told().by_runtime = 1;
    if (told().by_runtime) break;
  }
  allocations = fails + 1;
}

std::string small_bundle() { return bundle() + "/tests/versions/0.1.0/bundle"; }

float forecast(linkcast_engine* engine) {
  linkcast_model model = -1;
  if (linkcast_model_find(engine, "internet", LINKCAST_ROLE_FORECASTER, &model) != LINKCAST_OK) return kNan;
  const auto values = window();
  linkcast_answer answer = LINKCAST_ANSWER_INIT;
  linkcast_forecast(engine, model, values.data(), values.size(), 0, &answer, 1, nullptr);
  return answer.mbps;
}

/// In a child: the exit status, or a signal as 200 and its number.
int in_child(const std::function<int()>& body) {
  told() = {};
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    std::freopen("/dev/null", "w", stderr);  // what the C++ library says before it ends a process
    int ended = kThrew;
    try {
      ended = body();
    } catch (...) {  // never into the parent's tests
    }
    _exit(ended);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? 200 + WTERMSIG(status) : WEXITSTATUS(status);
}

/// `call` with its allocation `number` failing.
int counted(long number, const std::function<linkcast_status()>& call) {
  fails = number;
  on_failure = &look_who_asks;
  blocks = 0;
  allocations = 0;
  const auto status = call();
  told() = {allocations, told().by_runtime, blocks};
  const bool reached = allocations > number;
  allocations = -1;
  return number >= 0 && !reached ? kNotReached : status;
}

/// Fails one of `every` allocations of what `attempt(number)` runs in a child; -1 fails none.
void fail_many(const char* what, long usual_every, const std::function<int(long)>& attempt) {
  std::array<void*, 4> frames{};
  backtrace(frames.data(), static_cast<int>(frames.size()));  // loads what it needs, which allocates
  CHECK_EQ(in_child([&] { return attempt(-1); }), static_cast<int>(LINKCAST_OK));
  const long all = told().allocations;
  const char* given = std::getenv("LINKCAST_TEST_EVERY");
  const long every = given ? std::atol(given) : usual_every;
  std::map<int, long> ours;
  std::map<int, long> runtimes;
  for (long number = 0; number < all; number += every) {
    const int ended = in_child([&] { return attempt(number); });
    ++(told().by_runtime ? runtimes : ours)[ended];
    if (told().by_runtime) continue;
    if (ended != LINKCAST_OK && ended != LINKCAST_ERROR_MEMORY)
      throw check::Failure(std::string(what) + ": allocation " + std::to_string(number) + " ended with " +
                           std::to_string(ended) + ", " + std::to_string(told().blocks) + " blocks kept");
  }
  std::printf("%s: %ld allocations;", what, all);
  for (const auto& [ended, count] : ours) std::printf(" ours %d: %ld", ended, count);
  for (const auto& [ended, count] : runtimes) std::printf(" TensorFlow Lite's %d: %ld", ended, count);
  std::printf("\n");
  CHECK(ours[LINKCAST_ERROR_MEMORY] > 0);
}

long address_space() {
  std::ifstream statm("/proc/self/statm");
  long pages = 0;
  statm >> pages;
  return pages * sysconf(_SC_PAGESIZE);
}

}  // namespace

TEST(open_without_memory_is_a_status_and_the_next_open_goes_through) {
  if (!kCanFail) return;
  fail_many("open", 661, [](long number) {
    linkcast_engine* engine = nullptr;
    const std::string folder = small_bundle();
    const int status = counted(number, [&] {
      const auto opened = linkcast_engine_open(folder.c_str(), nullptr, &engine);
      return opened == LINKCAST_OK ? linkcast_engine_close(engine) : opened;
    });
    if (status != LINKCAST_ERROR_MEMORY || told().by_runtime) return status;
    if (engine) return kKept;
    if (linkcast_engine_open(folder.c_str(), nullptr, &engine) != LINKCAST_OK) return kOtherAnswer;
    return std::isfinite(forecast(engine)) ? status : kOtherAnswer;
  });
}

/// What steps: its tensors' names, a helper on a second core, room for each tensor.
TEST(a_network_without_memory_is_a_status_and_the_next_one_goes_through) {
  if (!kCanFail) return;
  const std::string path = small_bundle() + "/models/internet_lstm.tflite";
  linkcast_engine_options options = linkcast::Network::default_options();
  options.second_core = "any";
  const auto runs = [&] {
    linkcast_network* network = nullptr;
    return linkcast_network_open(path.c_str(), &options, &network) == LINKCAST_OK &&
           linkcast_network_run(network) == LINKCAST_OK && linkcast_network_close(network) == LINKCAST_OK;
  };
  fail_many("network", 197, [&](long number) {
    linkcast_network* network = nullptr;
    const int status = counted(number, [&] {
      const auto opened = linkcast_network_open(path.c_str(), &options, &network);
      return opened == LINKCAST_OK ? linkcast_network_close(network) : opened;
    });
    if (status != LINKCAST_ERROR_MEMORY || told().by_runtime) return status;
    if (network) return kKept;
    return runs() ? status : kOtherAnswer;
  });
}

TEST(reload_without_memory_leaves_the_present_models_and_keeps_nothing) {
  if (!kCanFail) return;
  auto options = linkcast::Engine::default_options();
  options.second_core = "any";
  options.pool_threads = 2;
  linkcast::Engine engine(small_bundle(), options);
  const float before = forecast(engine.get());
  engine.reload();  // what is made once has been made
  linkcast_engine_reload(engine.get(), "/nonexistent");
  fail_many("reload", 661, [&](long number) {
    const int status = counted(number, [&] { return linkcast_engine_reload(engine.get(), nullptr); });
    if (status != LINKCAST_ERROR_MEMORY || told().by_runtime) return status;
    if (told().blocks != 0) return kKept;
    return forecast(engine.get()) == before ? status : kOtherAnswer;
  });
}

/// On TensorFlow Lite's kernels, which allocate the most in the runtime itself.
TEST(a_limit_on_the_address_space_is_a_status_however_narrow_it_is) {
  if (!kCanFail) return;
  constexpr long kEnough = 64 * 1024;
  auto options = linkcast::Engine::default_options();
  options.backend = "tflite";
  linkcast::Engine engine(bundle(), options);
  const float before = forecast(engine.get());
  long refused = 0;
  const auto reload_within = [&](long kilobytes) {
    return in_child([&] {
      const auto limit = static_cast<rlim_t>(address_space() + (kilobytes << 10));
      const rlimit narrow{limit, limit};
      setrlimit(RLIMIT_AS, &narrow);
      const auto status = linkcast_engine_reload(engine.get(), nullptr);
      return forecast(engine.get()) == before ? static_cast<int>(status) : kOtherAnswer;
    });
  };
  for (long kilobytes = 0; kilobytes <= 12 * 1024; kilobytes += 600) {
    const int ended = reload_within(kilobytes);
    if (ended != LINKCAST_OK && ended != LINKCAST_ERROR_MEMORY)
      throw check::Failure(std::to_string(kilobytes) + " kB: ended with " + std::to_string(ended));
    refused += ended == LINKCAST_ERROR_MEMORY;
  }
  CHECK(refused > 0);
  CHECK_EQ(reload_within(kEnough), static_cast<int>(LINKCAST_OK));
}
