#include "hogs.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <system_error>

#include "machine.h"

namespace linkcast::bench {
namespace {

void compute(const std::atomic<bool>& stopping) {
  std::uint64_t value = 1;
  while (!stopping.load(std::memory_order_relaxed)) {
    for (int i = 0; i < 1000; ++i) value = value * 6364136223846793005U + 1442695040888963407U;
    __asm__ volatile("" : "+r"(value));  // the compiler must not drop the work
  }
}

void stream(std::vector<std::uint64_t>& memory, const std::atomic<bool>& stopping) {
  constexpr std::size_t kLine = 64 / sizeof(std::uint64_t);
  constexpr std::size_t kTurn = 4096 * kLine;  // cache lines between two looks at `stopping`
  while (!stopping.load(std::memory_order_relaxed)) {
    for (std::size_t begin = 0; begin < memory.size() && !stopping.load(std::memory_order_relaxed); begin += kTurn) {
      const std::size_t end = std::min(begin + kTurn, memory.size());
      for (std::size_t i = begin; i < end; i += kLine) memory[i] += i;
    }
  }
}

/// The CPUs of the calling thread when first asked for.
const cpu_set_t& cpus_of_the_process() {
  static const cpu_set_t cpus = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    return set;
  }();
  return cpus;
}

/// @throws std::system_error
void set_cpus(pthread_t thread, const cpu_set_t& cpus, const std::string& what) {
  if (const int error = pthread_setaffinity_np(thread, sizeof cpus, &cpus); error != 0)
    throw std::system_error(error, std::generic_category(), what);
}

void pin(pthread_t thread, int cpu) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_SET(static_cast<std::size_t>(cpu), &cpus);
  set_cpus(thread, cpus, "CPU " + std::to_string(cpu));
}

/// A new thread has the priority and the CPUs of the one that made it.
void be_ordinary() {
  const sched_param none{};
  pthread_setschedparam(pthread_self(), SCHED_OTHER, &none);
}

}  // namespace

void pin_this_thread(int cpu) {
  cpus_of_the_process();  // before it is changed
  pin(pthread_self(), cpu);
}

void make_realtime(int priority) {
  sched_param parameters{};
  parameters.sched_priority = priority;
  if (const int error = pthread_setschedparam(pthread_self(), SCHED_FIFO, &parameters); error != 0)
    throw std::system_error(error, std::generic_category(), "real-time priority " + std::to_string(priority));
}

std::size_t Hogs::memory_bytes() {
  constexpr std::size_t kMega = 1U << 20;
  return std::clamp(2 * last_level_cache_bytes().value_or(0), 16 * kMega, 256 * kMega);
}

Hogs::Hogs(const std::vector<int>& cpus) {
  try {
    threads_.emplace_back([this] {
      be_ordinary();
      ++running_;
      compute(stopping_);
    });
    threads_.emplace_back([this] {
      be_ordinary();
      std::vector<std::uint64_t> memory(memory_bytes() / sizeof(std::uint64_t), 1);
      ++running_;
      stream(memory, stopping_);
    });
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      if (i < cpus.size()) {
        pin(threads_[i].native_handle(), cpus[i]);
      } else {
        set_cpus(threads_[i].native_handle(), cpus_of_the_process(), "the CPUs of the process");
      }
    }
  } catch (...) {
    stop();
    throw;
  }
  while (running_.load() < threads_.size()) usleep(1000);
}

Hogs::~Hogs() { stop(); }

void Hogs::stop() noexcept {
  stopping_ = true;
  for (std::thread& thread : threads_) thread.join();
}

}  // namespace linkcast::bench
