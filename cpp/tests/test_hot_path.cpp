// After warm-up, a call allocates nothing, locks nothing, makes no system call and touches no new page.
//
// malloc and pthread_mutex_lock are interposed and counted; system calls are found by running the calls in a child
// process under a seccomp filter that kills it at the first one. (Seccomp's strict mode would also forbid the time
// stamp counter, which the clock is read from.)
#include <dlfcn.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <functional>

#include "bundle.h"
#include "check.h"
#include "engine/controller.h"
#include "engine/forecaster_pool.h"
#include "engine/stream.h"
#include "kernels/helper.h"
#include "kernels/network.h"
#include "network_reference.h"
#include "page_faults.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LINKCAST_SANITIZED 1  // a sanitizer interposes the same functions, and makes system calls of its own
#else
#define LINKCAST_SANITIZED 0
#endif

#if !LINKCAST_SANITIZED
namespace {
std::atomic<long> allocations{0};
std::atomic<long> locks{0};
}  // namespace

// glibc's own names of the functions that are replaced below.
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);

void* malloc(std::size_t size) {
  ++allocations;
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
  ++allocations;
  return __libc_calloc(count, size);
}
void* realloc(void* memory, std::size_t size) {
  ++allocations;
  return __libc_realloc(memory, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
  ++allocations;
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
  ++allocations;
  *memory = __libc_memalign(alignment, size);
  return *memory ? 0 : 12;
}
int pthread_mutex_lock(pthread_mutex_t* mutex) {
  using Lock = int (*)(pthread_mutex_t*);
  static const auto lock = reinterpret_cast<Lock>(dlsym(RTLD_NEXT, "pthread_mutex_lock"));
  ++locks;
  return lock(mutex);
}
}

using namespace linkcast;

namespace {

constexpr int kWarmUp = 20;
constexpr int kCalls = 200;

/// From here on, a system call of this thread other than exit ends the process.
bool forbid_system_calls() {
  std::array<sock_filter, 5> program = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  }};
  const sock_fprog filter{program.size(), program.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

bool makes_no_system_call(const std::function<void()>& call) {
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    if (!forbid_system_calls()) _exit(2);
    call();
    syscall(SYS_exit, 0);
  }
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  if (WIFEXITED(status)) CHECK_EQ(WEXITSTATUS(status), 0);  // 2: the machine has no seccomp
  return WIFEXITED(status);
}

void check_hot(const std::function<void()>& call) {
  for (int k = 0; k < kWarmUp; ++k) call();
  const long allocated = allocations;
  const long locked = locks;
  CHECK_EQ(page_faults::fewest([&] {
             for (int k = 0; k < kCalls; ++k) call();
           }),
           0);
  CHECK_EQ(allocations - allocated, 0);
  CHECK_EQ(locks - locked, 0);
  CHECK(makes_no_system_call([&] {
    for (int k = 0; k < kCalls; ++k) call();
  }));
}

std::size_t internet() { return bundle().find("internet", Role::forecaster); }

}  // namespace

TEST(the_counters_count) {
  const long allocated = allocations;
  std::function<void()> large = [keep = std::vector<int>(100)] { static_cast<void>(keep); };
  CHECK(allocations > allocated);
  const long locked = locks;
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&mutex);
  pthread_mutex_unlock(&mutex);
  CHECK_EQ(locks - locked, 1);
  CHECK(page_faults::fewest([] {
          void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
          *static_cast<volatile char*>(page) = 1;
          munmap(page, 4096);
        }) > 0);
}

TEST(a_system_call_is_noticed) {
  CHECK(makes_no_system_call([] {}));
  CHECK(!makes_no_system_call([] { syscall(SYS_getppid); }));
}

TEST(a_forecast_is_hot) {
  for (const std::size_t batch : {1U, 7U}) {
    const auto windows = telemetry(bundle(), internet(), batch * 10, 1);
    std::vector<float> mbps(batch);
    check_hot([&] { bundle().forecast_raw(internet(), windows.data(), batch, mbps.data()); });
  }
}

TEST(a_decision_is_hot) {
  const std::size_t model = bundle().find("internet", Role::allocator);
  const auto state = telemetry(bundle(), model, 1, 2);
  std::int32_t action = 0;
  check_hot([&] { bundle().decide(model, state.data(), 1, &action); });
}

TEST(preparing_a_model_is_hot) {
  const std::size_t allocator = bundle().find("internet", Role::allocator);
  ForecasterPool pool(bundle(), {});
  pool.prepare(internet());
  bundle().prepare(internet());
  check_hot([&] {
    pool.prepare(internet());
    bundle().prepare(internet());
    bundle().prepare(allocator);
  });
}

TEST(forecasts_of_groups_on_one_thread_are_hot_with_and_without_a_deadline) {
  ForecasterPool::Options options;
  options.batch = 5;
  ForecasterPool groups(bundle(), options);
  std::vector<ForecastRequest> requests;
  std::vector<std::vector<double>> windows;
  for (const auto& group : bundle().metadata().groups) {
    const std::size_t model = bundle().find(group.model);
    windows.push_back(telemetry(bundle(), model, 5 * 10, 3));
    requests.push_back({model, windows.back().data(), 1});
  }
  std::vector<ForecastResult> results(requests.size());
  std::uint64_t call = 0;
  check_hot([&] {
    for (ForecastRequest& request : requests) request.batch = 1 + call % 5;  // batches may change from call to call
    groups.forecast(requests, results, call++ % 2 ? Deadline{1} : Deadline::in(1'000'000'000));
  });
}

TEST(push_and_advance_are_hot) {
  Stream stream(bundle(), internet(), {});
  const auto samples = telemetry(bundle(), internet(), 1, 4);
  Answer answer;
  for (int k = 0; k < 10; ++k) stream.push(samples.data(), nullptr, &answer);
  stream.prepare();
  int tick = 0;
  check_hot([&] {
    stream.prepare();
    stream.push(++tick % 5 ? samples.data() : nullptr, nullptr, &answer, Deadline::in(1'000'000));
    stream.advance();
  });
}

TEST(logarithms_and_references_are_hot) {
  BundleCopy copy;
  copy.set_scalers("internet_lstm", R"({"features": {
    "latency_ms": {"min": 0, "max": 6, "log_offset": 1},
    "bandwidth_mbps": {"min": -2, "max": 2, "log_offset": 0.01, "relative_to": "first"},
    "packet_loss": {"min": 0, "max": 1}, "reliability": {"min": 0, "max": 1}},
    "target": {"min": -1, "max": 1, "log_offset": 0.01, "relative_to": "last"}})");
  Engine engine(copy.folder(), {});
  const std::size_t model = engine.find("internet_lstm");
  Stream stream(engine, model, {}, 3);
  const auto samples = telemetry(engine, model, 10, 7);
  std::vector<Answer> answers(3);
  float forecast = 0;
  for (int k = 0; k < 10; ++k) stream.push(samples.data(), nullptr, answers.data());
  check_hot([&] {
    engine.forecast_raw(model, samples.data(), 1, &forecast);
    stream.push(samples.data(), nullptr, answers.data());
    stream.advance();
  });
}

TEST(a_window_on_two_cores_is_hot) {
  const NetworkSpec spec = reference::forecaster(8);
  const auto window = reference::Random(9).floats(40, 0.0F, 1.0F);
  float forecast = 0;
  Network network(spec, default_isa());
  network.share_tail(std::make_shared<Helper>(SecondCore::any, SecondCore::most_spin_us), {100'000, 200'000});
  check_hot([&] { network.run(window.data(), 1, &forecast); });  // its child has no helper; this one has its own:
  const pid_t child = fork();
  if (child == 0) {
    Network shared(spec, default_isa());
    shared.share_tail(std::make_shared<Helper>(SecondCore::any, SecondCore::most_spin_us),
                      {1'000'000'000, 2'000'000'000});
    const auto run_until_helped = [&](std::uint64_t times) {
      const std::uint64_t give_up = monotonic_ns() + 20'000'000'000;
      while (shared.help_counts().helped < times && monotonic_ns() < give_up) shared.run(window.data(), 1, &forecast);
      return shared.help_counts().helped >= times;
    };
    if (!run_until_helped(kWarmUp)) _exit(3);
    if (!forbid_system_calls()) _exit(2);
    syscall(SYS_exit_group, run_until_helped(3 * kWarmUp) ? 0 : 3);
  }
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), 0);
}

TEST(many_rows_are_hot) {
  Stream stream(bundle(), internet(), {}, 8);
  const auto samples = telemetry(bundle(), internet(), 8, 5);
  std::vector<Answer> answers(8);
  for (int k = 0; k < 10; ++k) stream.push(samples.data(), nullptr, answers.data());
  check_hot([&] {
    stream.push(samples.data(), nullptr, answers.data());
    stream.advance();
  });
}

TEST(a_controllers_tick_is_hot) {
  Controller::Options options;
  options.capacity_mbps = 100;
  options.slew_per_s = 0.1;
  options.hold_s = 3;
  Controller controller(bundle(), "internet", options);
  const auto samples = telemetry(bundle(), internet(), 1, 6);
  std::uint64_t now = 0;
  for (int k = 0; k < 10; ++k) controller.tick(samples.data(), now += 1'000'000'000);
  controller.prepare();
  int tick = 0;
  check_hot([&] {
    controller.prepare();
    controller.tick(++tick % 10 < 3 ? nullptr : samples.data(), now += 1'000'000'000);
    controller.advance();
  });
}

#else

TEST(a_sanitizer_allocates_so_there_is_nothing_to_count) {}

#endif
