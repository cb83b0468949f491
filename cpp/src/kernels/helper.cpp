#include "helper.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "base/clock.h"
#include "base/fork.h"
#include "base/signals.h"

namespace linkcast {
namespace {

constexpr auto shortest_nap = std::chrono::milliseconds(1);
constexpr auto longest_nap = std::chrono::milliseconds(16);
constexpr unsigned looks_at_once = 64;  // between two looks at the clock

cpu_set_t of_this_thread() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof(set), &set);
  return set;
}

const cpu_set_t at_start = of_this_thread();  // when the library was loaded

/// CPUs that the process may run on. A caller who has pinned its own thread since has not given up the others, and a model
/// is opened, copied and reloaded by it as well.
cpu_set_t allowed() {
  const cpu_set_t now = of_this_thread();
  cpu_set_t set;
  CPU_OR(&set, &now, &at_start);
  return set;
}

std::string list_of(const cpu_set_t& set) {
  std::string list;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set)) continue;
    int last = cpu;
    while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, &set)) ++last;
    list += (list.empty() ? "" : ", ") + std::to_string(cpu);
    if (last > cpu) list += (last > cpu + 1 ? " to " : ", ") + std::to_string(last);
    cpu = last;
  }
  return list;
}

class Places {
 public:
  Places() { hold_across_fork(mutex_); }

  template <class Make, class Usable>
  std::shared_ptr<Helper> find_or(int cpu, const Make& make, const Usable& usable) {
    const std::lock_guard lock(mutex_);
    std::weak_ptr<Helper>& place = of_cpu_[cpu];
    std::shared_ptr<Helper> helper = place.lock();
    if (!helper || !usable(*helper)) place = helper = make();
    return helper;
  }

 private:
  std::mutex mutex_;
  std::map<int, std::weak_ptr<Helper>> of_cpu_;
};

Places& places() {
  static Places& only = *std::make_unique<Places>().release();  // never destroyed: a process may fork while it ends
  return only;
}

}  // namespace

SecondCore SecondCore::from(const std::string& text, std::uint64_t given_us) {
  if (given_us < 1 || given_us > most_spin_us)
    throw std::invalid_argument("helper_spin_us: expected 1 to " + std::to_string(most_spin_us) + ", got " +
                                std::to_string(given_us));
  const auto spin_us = static_cast<std::uint32_t>(given_us);
  if (text.empty()) return {none, spin_us};
  if (text == "any") return {any, spin_us};
  const cpu_set_t set = allowed();
  int cpu = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), cpu);
  if (error != std::errc() || end != text.data() + text.size() || cpu < 0 || cpu >= CPU_SETSIZE ||
      !CPU_ISSET(cpu, &set))
    throw std::invalid_argument("second_core: expected \"any\" or a CPU that this process may run on (" + list_of(set) +
                                "), got \"" + text + "\"");
  return {cpu, spin_us};
}

std::string SecondCore::text() const { return cpu == none ? "" : cpu == any ? "any" : std::to_string(cpu); }

/// What the helper and its callers share. Each of them writes a line of its own.
struct Helper::Thread {
  static constexpr std::uintptr_t begun = 1;  // a task's address is even

  alignas(128) std::atomic<std::uintptr_t> task{0};  // 0: none; a task's address: posted; that and 1: begun
  alignas(128) std::atomic<bool> awake{true};
  alignas(128) std::atomic<bool> asked{false};  // for a helper that slept
  std::atomic<std::uint64_t> spin_ns{0};
  std::atomic<bool> stopping{false};
  std::mutex mutex;
  std::condition_variable stop;
  std::thread thread;

  void serve();
  bool take_task() noexcept;
  void look_for_tasks();
};

bool Helper::Thread::take_task() noexcept {
  std::uintptr_t posted = task.load(std::memory_order_relaxed);
  if (posted == 0 || !task.compare_exchange_strong(posted, posted | begun, std::memory_order_acquire)) return false;
  reinterpret_cast<Task*>(posted)->help();
  task.store(0, std::memory_order_release);
  return true;
}

void Helper::Thread::look_for_tasks() {
  std::uint64_t last = monotonic_ns();
  while (!stopping.load(std::memory_order_relaxed)) {
    bool worked = false;
    for (unsigned k = 0; k < looks_at_once && !worked; ++k) {
      worked = take_task();
      if (!worked) relax();
    }
    const std::uint64_t now = monotonic_ns();
    if (worked)
      last = now;
    else if (now - last >= spin_ns.load(std::memory_order_relaxed))
      return;
  }
}

void Helper::Thread::serve() {
  auto nap = shortest_nap;
  while (!stopping.load(std::memory_order_relaxed)) {
    look_for_tasks();
    awake.store(false, std::memory_order_seq_cst);
    nap = shortest_nap;
    while (!asked.exchange(false, std::memory_order_relaxed)) {
      take_task();  // of one who saw it awake; who has taken the task back since is not met here
      std::unique_lock lock(mutex);
      if (stop.wait_for(lock, nap, [this] { return stopping.load(std::memory_order_relaxed); })) return;
      nap = std::min(2 * nap, longest_nap);
    }
    awake.store(true, std::memory_order_relaxed);
  }
}

std::shared_ptr<Helper> Helper::at(const SecondCore& place) {
  const auto helper = places().find_or(
      place.cpu, [&] { return std::make_shared<Helper>(place.cpu, place.spin_us); },
      [](const Helper& found) { return found.generation_ == fork_generation(); });
  std::atomic<std::uint64_t>& spin = helper->thread_->spin_ns;
  const std::uint64_t asked = std::uint64_t{place.spin_us} * 1000;
  std::uint64_t now = spin.load(std::memory_order_relaxed);
  while (now < asked && !spin.compare_exchange_weak(now, asked, std::memory_order_relaxed)) {
  }
  return helper;
}

Helper::Helper(int cpu, std::uint32_t spin_us) : generation_(fork_generation()), thread_(std::make_unique<Thread>()) {
  Thread& shared = *thread_;
  shared.spin_ns = std::uint64_t{spin_us} * 1000;
  {
    const SignalsBlocked blocked;
    shared.thread = std::thread([&shared] { shared.serve(); });
  }
  cpu_set_t set = allowed();  // not the one CPU that its maker may be pinned to
  if (cpu >= 0) {
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
  }
  const int error = pthread_setaffinity_np(shared.thread.native_handle(), sizeof(set), &set);
  if (error == 0 || cpu < 0) return;
  shared.stopping = true;
  shared.thread.join();
  throw std::system_error(error, std::generic_category(), "second_core: can't be pinned to CPU " + std::to_string(cpu));
}

Helper::~Helper() {
  if (generation_ != fork_generation()) {
    static_cast<void>(thread_.release());  // there is none to join here, and perhaps a condition that it sleeps on
    return;
  }
  {
    const std::lock_guard lock(thread_->mutex);
    thread_->stopping = true;
  }
  thread_->stop.notify_all();
  thread_->thread.join();
}

bool Helper::post(Task& task) noexcept {
  if (generation_ != fork_generation()) return false;
  Thread& shared = *thread_;
  if (!shared.awake.load(std::memory_order_relaxed)) {
    if (!shared.asked.load(std::memory_order_relaxed)) shared.asked.store(true, std::memory_order_relaxed);
    return false;
  }
  std::uintptr_t free = 0;
  return shared.task.compare_exchange_strong(free, reinterpret_cast<std::uintptr_t>(&task), std::memory_order_acq_rel,
                                             std::memory_order_relaxed);
}

bool Helper::take_back(Task& task) noexcept {
  auto posted = reinterpret_cast<std::uintptr_t>(&task);
  return thread_->task.compare_exchange_strong(posted, 0, std::memory_order_acq_rel, std::memory_order_relaxed);
}

bool Helper::has(const Task& task) const noexcept {
  if (generation_ != fork_generation()) return false;
  const std::uintptr_t now = thread_->task.load(std::memory_order_acquire);
  return (now & ~Thread::begun) == reinterpret_cast<std::uintptr_t>(&task);
}

void Helper::let_go(Task& task) noexcept {
  while (has(task) && !take_back(task)) std::this_thread::sleep_for(std::chrono::microseconds(50));
}

}  // namespace linkcast
