// Calls of the C ABI that are promised for a loop: no heap, no lock, no page fault, no system call.
//
// malloc and its kin and the pthread locks are defined here, so that every library in the process comes through these.
// A sanitizer has its own, and nothing is counted then. System calls are forbidden with seccomp in a child process,
// which dies at the first.
#include <dlfcn.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "linkcast/linkcast.hpp"
#include "page_faults.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kCounted = false;
#else
constexpr bool kCounted = true;
#endif

namespace {

struct Counts {
  long allocations = 0;
  long frees = 0;
  long locks = 0;
};

thread_local bool counting = false;
thread_local Counts counts;

}  // namespace

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
extern "C" {

// The C library's own functions behind the names taken here.
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);

void* malloc(std::size_t size) {
  counts.allocations += counting;
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
  counts.allocations += counting;
  return __libc_calloc(count, size);
}
void* realloc(void* memory, std::size_t size) {
  counts.allocations += counting;
  return __libc_realloc(memory, size);
}
void* memalign(std::size_t alignment, std::size_t size) {
  counts.allocations += counting;
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
  *memory = memalign(alignment, size);
  return *memory ? 0 : 12;  // ENOMEM
}
void free(void* memory) {
  counts.frees += counting;
  __libc_free(memory);
}

#define FORWARD_LOCK(name, type)                                                        \
  int name(type* lock) {                                                                \
    static const auto next = reinterpret_cast<int (*)(type*)>(dlsym(RTLD_NEXT, #name)); \
    counts.locks += counting;                                                           \
    return next(lock);                                                                  \
  }
FORWARD_LOCK(pthread_mutex_lock, pthread_mutex_t)
FORWARD_LOCK(pthread_mutex_trylock, pthread_mutex_t)
FORWARD_LOCK(pthread_rwlock_rdlock, pthread_rwlock_t)
FORWARD_LOCK(pthread_rwlock_wrlock, pthread_rwlock_t)
#undef FORWARD_LOCK

}  // extern "C"
#endif

namespace {

constexpr int kRounds = 1000;
constexpr std::array<float, 4> kSample{50.0F, 2.5F, 0.001F, 0.999F};

void require(bool condition) {
  if (!condition) throw std::runtime_error(std::string("a call failed: ") + linkcast_last_error());
}

constexpr std::size_t kBatch = 8;

linkcast::Engine open_engine() {
  const char* folder = std::getenv("LINKCAST_BUNDLE");
  linkcast_engine_options options = linkcast::Engine::default_options();
  options.batch = kBatch;
  return linkcast::Engine(folder ? folder : "", options);
}

std::string path_of_model() {
  const char* folder = std::getenv("LINKCAST_BUNDLE");
  return std::string(folder ? folder : ".") + "/models/internet_lstm.tflite";
}

/// Every object of the ABI, and each hot function as a call that returns whether it did what it should.
struct Loop {
  linkcast::Engine engine = open_engine();
  linkcast_model forecaster = engine.find("internet", LINKCAST_ROLE_FORECASTER);
  linkcast_model allocator = engine.find("internet", LINKCAST_ROLE_ALLOCATOR);
  linkcast::Stream stream{engine, forecaster};
  linkcast::Stream rows{engine, forecaster, 4};
  linkcast::Controller controller{engine, "internet", linkcast::Controller::default_options(100.0)};
  std::vector<float> window;        // (10, 4)
  std::vector<float> group_window;  // (10, 8)
  std::vector<float> samples;       // (4, 4)
  std::vector<float> windows;       // (kBatch, 10, 4)
  linkcast::Answers batch_answers = linkcast::make_answers(kBatch);
  std::array<std::int32_t, kBatch> actions{};
  std::array<float, kBatch> mbps{};
  std::array<linkcast_request, 5> requests{};
  linkcast::Answers request_answers = linkcast::make_answers(5);
  linkcast::Answers row_answers = linkcast::make_answers(4);
  linkcast_result result = LINKCAST_RESULT_INIT;
  linkcast_decision decision = LINKCAST_DECISION_INIT;
  linkcast_answer answer = LINKCAST_ANSWER_INIT;
  linkcast::Route route{2};
  linkcast::Network network{path_of_model()};
  linkcast_tensor input = network.tensors(LINKCAST_EDGE_INPUT).at(0);
  linkcast_route_choice route_choice = LINKCAST_ROUTE_CHOICE_INIT;
  std::array<linkcast_codec, 2> codecs{linkcast::make_codec(0.5, 200, 800), linkcast::make_codec(0.3, 20, 400)};
  linkcast_compression_choice compression = LINKCAST_COMPRESSION_CHOICE_INIT;
  std::int32_t action = 0;
  std::uint64_t now_ns = 1;

  Loop() {
    for (int step = 0; step < 10; ++step) {
      window.insert(window.end(), kSample.begin(), kSample.end());
      group_window.insert(group_window.end(), kSample.begin(), kSample.end());
      group_window.insert(group_window.end(), {0.0F, 1.0F, 0.0F, 1.0F});
    }
    for (std::size_t k = 0; k < kBatch; ++k) windows.insert(windows.end(), window.begin(), window.end());
    for (int k = 0; k < 4; ++k) samples.insert(samples.end(), kSample.begin(), kSample.end());
    const char* names[] = {"streaming", "gaming", "social_media", "shopping", "software"};
    for (std::size_t k = 0; k < requests.size(); ++k) {
      requests[k] = LINKCAST_REQUEST_INIT;
      requests[k].model = engine.find(names[k], LINKCAST_ROLE_FORECASTER);
      requests[k].windows = group_window.data();
      requests[k].values = group_window.size();
      requests[k].answers = &request_answers[k];
      requests[k].count = 1;
      requests[k].result = k == 4 ? &result : nullptr;
    }
  }

  bool forecast() {
    return linkcast_forecast(engine.get(), forecaster, window.data(), window.size(), 0, &answer, 1, &result) ==
           LINKCAST_OK;
  }
  bool late_forecast() {
    return linkcast_forecast(engine.get(), requests[0].model, group_window.data(), group_window.size(), 1, &answer, 1,
                             &result) == LINKCAST_OK &&
           result.source == LINKCAST_SOURCE_FALLBACK;
  }
  bool forecast_many() {
    return linkcast_forecast_many(engine.get(), requests.data(), requests.size(), 0) == LINKCAST_OK &&
           result.status == LINKCAST_OK;
  }
  bool forecast_batches() {
    for (const std::size_t batch : {kBatch, std::size_t{3}})
      if (linkcast_forecast(engine.get(), forecaster, windows.data(), batch * 40, 0, batch_answers.data(), batch,
                            nullptr) != LINKCAST_OK)
        return false;
    return true;
  }
  bool forecast_raw() {
    for (const std::size_t batch : {std::size_t{1}, kBatch})
      if (linkcast_forecast_raw(engine.get(), forecaster, windows.data(), batch * 40, mbps.data(), batch) !=
          LINKCAST_OK)
        return false;
    return true;
  }
  bool decide_batch() {
    return linkcast_decide(engine.get(), allocator, windows.data(), kBatch * 4, actions.data(), kBatch, &result) ==
           LINKCAST_OK;
  }
  bool decide() {
    return linkcast_decide(engine.get(), allocator, kSample.data(), 4, &action, 1, &result) == LINKCAST_OK;
  }
  bool push() {
    const auto status = linkcast_stream_push(stream.get(), kSample.data(), 4, nullptr, 1'000'000, &answer, 1, &result);
    return status == LINKCAST_OK || status == LINKCAST_NOT_READY;
  }
  bool prepare() {
    return linkcast_stream_prepare(stream.get()) == LINKCAST_OK && linkcast_stream_prepare(rows.get()) == LINKCAST_OK &&
           linkcast_controller_prepare(controller.get()) == LINKCAST_OK;
  }
  bool prepare_models() {
    for (const linkcast_model model : {forecaster, allocator, requests[0].model})
      if (linkcast_model_prepare(engine.get(), model) != LINKCAST_OK) return false;
    return true;
  }
  bool advance() { return linkcast_stream_advance(stream.get()) == LINKCAST_OK; }
  bool push_many() {
    const auto status = linkcast_stream_push(rows.get(), samples.data(), samples.size(), nullptr, 0, row_answers.data(),
                                             row_answers.size(), &result);
    return status == LINKCAST_OK || status == LINKCAST_NOT_READY;
  }
  bool advance_many() { return linkcast_stream_advance(rows.get()) == LINKCAST_OK; }
  bool tick() {
    now_ns += 1'000'000'000;
    std::array<float, 4> sample = kSample;
    if (now_ns / 1'000'000'000 % 5 == 0) sample[0] *= 10;  // trouble now and then
    return linkcast_controller_tick(controller.get(), sample.data(), 4, now_ns, &decision) == LINKCAST_OK &&
           linkcast_controller_advance(controller.get()) == LINKCAST_OK;
  }
  bool choose_route() {
    const auto load = static_cast<float>(now_ns / 1'000'000'000 % 30);
    const std::array<float, 4> p10{load, 12, 15, std::numeric_limits<float>::quiet_NaN()};
    return linkcast_route_choose(route.get(), p10.data(), p10.size(), now_ns, &route_choice) == LINKCAST_OK;
  }
  bool run_network() {
    input.data[0] += 0.01F;
    linkcast_tensor found = LINKCAST_TENSOR_INIT;
    return linkcast_network_tensor(network.get(), LINKCAST_EDGE_OUTPUT, 0, &found) == LINKCAST_OK &&
           linkcast_network_prepare(network.get()) == LINKCAST_OK && linkcast_network_run(network.get()) == LINKCAST_OK;
  }
  bool choose_compression() {
    return linkcast_compression_choose(codecs.data(), codecs.size(), 1'000'000, &answer, nullptr, &compression) ==
           LINKCAST_OK;
  }
  bool refused() {
    float bad[4] = {std::numeric_limits<float>::quiet_NaN(), 5, 0, 1};
    return linkcast_stream_push(stream.get(), bad, 4, nullptr, 0, &answer, 1, nullptr) == LINKCAST_ERROR_NOT_FINITE;
  }
};

Loop& loop() {
  static Loop only;
  return only;
}

struct Named {
  const char* name;
  bool (Loop::*call)();
};

constexpr Named kCalls[] = {{"forecast", &Loop::forecast},
                            {"forecast behind its deadline", &Loop::late_forecast},
                            {"forecast_many", &Loop::forecast_many},
                            {"decide", &Loop::decide},
                            {"forecast of batches", &Loop::forecast_batches},
                            {"forecast_raw", &Loop::forecast_raw},
                            {"decide of a batch", &Loop::decide_batch},
                            {"stream_push", &Loop::push},
                            {"stream_advance", &Loop::advance},
                            {"stream_prepare and controller_prepare", &Loop::prepare},
                            {"model_prepare", &Loop::prepare_models},
                            {"stream_push of rows", &Loop::push_many},
                            {"stream_advance of rows", &Loop::advance_many},
                            {"controller_tick and advance", &Loop::tick},
                            {"route_choose", &Loop::choose_route},
                            {"network_run", &Loop::run_network},
                            {"forecast", &Loop::forecast},  // whose answer the next one takes
                            {"compression_choose", &Loop::choose_compression},
                            {"stream_push of a NaN", &Loop::refused}};

/// Brings the streams to full windows, so that the rounds that follow do the whole work, and touches every page.
void warm_up(Loop& all) {
  for (int round = 0; round < 20; ++round)
    for (const Named& named : kCalls) require((all.*named.call)());
}

/// From here on this process may exit, and do nothing else. (Not SECCOMP_MODE_STRICT: it takes the time stamp counter
/// away, which the clock is read from without a system call.)
bool forbid_system_calls() {
  sock_filter rules[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                         BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 0, 1),
                         BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
                         BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)};
  const sock_fprog program{sizeof rules / sizeof *rules, rules};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/// Runs `body` in a child that dies at its first system call. @return whether it lived, and `body` said true
template <class Body>
bool lives_without_system_calls(Body body) {
  const pid_t child = fork();
  if (child == 0) {
    if (!forbid_system_calls()) syscall(SYS_exit, 2);
    syscall(SYS_exit, body() ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 2) throw std::runtime_error("seccomp is not to be had here");
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

TEST(the_counters_count) {
  if (!kCounted) return;
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  counts = {};
  counting = true;
  std::vector<int>* made = new std::vector<int>(100);
  delete made;
  pthread_mutex_lock(&mutex);
  pthread_mutex_unlock(&mutex);
  counting = false;
  CHECK_EQ(counts.allocations, 2L);
  CHECK_EQ(counts.frees, 2L);
  CHECK_EQ(counts.locks, 1L);
}

TEST(hot_calls_neither_allocate_nor_free_nor_lock) {
  Loop& all = loop();
  warm_up(all);
  for (const Named& named : kCalls) {
    counts = {};
    bool good = true;
    counting = kCounted;
    for (int round = 0; round < kRounds; ++round) good = (all.*named.call)() && good;
    counting = false;
    const Counts seen = counts;
    if (seen.allocations || seen.frees || seen.locks || !good)
      check::fail(__FILE__, __LINE__,
                  std::string(named.name) + ": " + std::to_string(seen.allocations) + " allocations, " +
                      std::to_string(seen.frees) + " frees, " + std::to_string(seen.locks) + " locks in " +
                      std::to_string(kRounds) + " calls" + (good ? "" : "; a call failed: ") +
                      (good ? "" : linkcast_last_error()));
  }
}

TEST(hot_calls_fault_no_page) {
  if (!kCounted) return;  // a sanitizer's shadow memory faults
  Loop& all = loop();
  warm_up(all);
  for (const Named& named : kCalls) {
    const long faults = page_faults::fewest([&] {
      for (int round = 0; round < kRounds; ++round) (all.*named.call)();
    });
    if (faults != 0)
      check::fail(__FILE__, __LINE__,
                  std::string(named.name) + ": " + std::to_string(faults) + " page faults in " +
                      std::to_string(kRounds) + " calls");
  }
}

TEST(hot_calls_make_no_system_call) {
  if (!kCounted) return;                                             // a sanitizer makes some of its own
  CHECK(!lives_without_system_calls([] { return getppid() > 0; }));  // the trap works
  const bool clock_is_free = lives_without_system_calls([] {
    timespec now{};
    return clock_gettime(CLOCK_MONOTONIC, &now) == 0;
  });
  if (!clock_is_free)
    throw std::runtime_error("this machine's clock needs a system call (no vDSO): nothing can be shown here");
  Loop& all = loop();
  warm_up(all);
  for (const Named& named : kCalls) {
    const bool lived = lives_without_system_calls([&] {
      bool good = true;
      for (int round = 0; round < kRounds; ++round) good = (all.*named.call)() && good;
      return good;
    });
    if (!lived) check::fail(__FILE__, __LINE__, std::string(named.name) + ": a system call, or a call that failed");
  }
}
