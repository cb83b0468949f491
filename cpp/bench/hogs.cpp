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

void pin(pthread_t thread, int cpu) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_SET(static_cast<std::size_t>(cpu), &cpus);
  if (const int error = pthread_setaffinity_np(thread, sizeof cpus, &cpus); error != 0)
    throw std::system_error(error, std::generic_category(), "CPU " + std::to_string(cpu));
}

}  // namespace

void pin_this_thread(int cpu) { pin(pthread_self(), cpu); }

std::size_t Hogs::memory_bytes() {
  constexpr std::size_t kMega = 1U << 20;
  return std::clamp(2 * last_level_cache_bytes().value_or(0), 16 * kMega, 256 * kMega);
}

Hogs::Hogs(const std::vector<int>& cpus) {
  try {
    threads_.emplace_back([this] {
      ++running_;
      compute(stopping_);
    });
    threads_.emplace_back([this] {
      std::vector<std::uint64_t> memory(memory_bytes() / sizeof(std::uint64_t), 1);
      ++running_;
      stream(memory, stopping_);
    });
    for (std::size_t i = 0; i < cpus.size() && i < threads_.size(); ++i) pin(threads_[i].native_handle(), cpus[i]);
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
