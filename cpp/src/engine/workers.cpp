#include "engine/workers.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>
#include <system_error>

namespace linkcast {
namespace {

/// The caller looks so long for the end of the last task before it sleeps: to be woken would cost it a task's time.
/// task.
constexpr std::uint32_t kTailUs = 50;

void pin(std::thread& thread, int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_SET(cpu, &set);
  const int error = pthread_setaffinity_np(thread.native_handle(), sizeof(set), &set);
  if (error)
    throw std::system_error(error, std::generic_category(), "a thread can't be pinned to CPU " + std::to_string(cpu));
}

/// Looks for up to `spin_us`; the clock is read once in a while only.
template <class Condition>
bool spin(std::uint32_t spin_us, Condition condition) {
  if (condition()) return true;
  if (spin_us == 0) return false;
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(spin_us);
  do {
    for (int k = 0; k < 32; ++k)
      if (condition()) return true;
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace

Workers::Workers(std::size_t threads, std::size_t most_tasks, const std::vector<int>& cpus, std::uint32_t spin_us)
    : everyone_(threads + 1), spin_us_(spin_us), claimed_(std::make_unique<std::atomic<bool>[]>(most_tasks)) {
  if (!cpus.empty() && cpus.size() != threads)
    throw std::invalid_argument("cpus: expected one for each of " + std::to_string(threads) + " worker threads, got " +
                                std::to_string(cpus.size()));
  for (std::size_t k = 0; k < most_tasks; ++k) claimed_[k].store(true, std::memory_order_relaxed);
  threads_.reserve(threads);
  try {
    for (std::size_t k = 0; k < threads; ++k) {
      threads_.emplace_back([this, k] { serve(k + 1); });
      if (!cpus.empty()) pin(threads_.back(), cpus[k]);
    }
  } catch (...) {
    stop();
    throw;
  }
}

Workers::~Workers() { stop(); }

void Workers::stop() noexcept {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  job_came_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Workers::run(Task task, void* context, std::size_t count) {
  if (count == 0) return;
  task_ = task;
  context_ = context;
  done_.store(0, std::memory_order_relaxed);
  count_.store(count, std::memory_order_relaxed);
  // A thread that is late from the job before may already look: whoever sees a flag cleared sees all of the above.
  for (std::size_t k = 0; k < count; ++k) claimed_[k].store(false, std::memory_order_release);
  {
    const std::lock_guard lock(mutex_);
    job_.fetch_add(1, std::memory_order_release);
  }
  job_came_.notify_all();
  work(0);
  const auto ended = [&] { return done_.load(std::memory_order_acquire) == count; };
  if (spin(std::max(spin_us_, kTailUs), ended)) return;
  std::unique_lock lock(mutex_);
  job_ended_.wait(lock, ended);
}

/// Threads start at different tasks, so that each one tends to get the same tasks in the next job.
void Workers::work(std::size_t thread) {
  const std::size_t count = count_.load(std::memory_order_relaxed);
  const std::size_t first = (thread * count + everyone_ - 1) / everyone_;
  for (std::size_t k = 0; k < count; ++k) {
    const std::size_t index = (first + k) % count;
    if (claimed_[index].exchange(true, std::memory_order_acq_rel)) continue;
    task_(context_, index);
    if (done_.fetch_add(1, std::memory_order_acq_rel) + 1 == count_.load(std::memory_order_relaxed)) {
      const std::lock_guard lock(mutex_);  // the caller is either asleep or yet to look
      job_ended_.notify_one();
    }
  }
}

bool Workers::wait_for_job(std::uint64_t& seen) {
  const auto came = [&] { return stopping_.load() || job_.load(std::memory_order_acquire) != seen; };
  if (!spin(spin_us_, came)) {
    std::unique_lock lock(mutex_);
    job_came_.wait(lock, came);
  }
  seen = job_.load(std::memory_order_acquire);
  return !stopping_.load();
}

void Workers::serve(std::size_t thread) {
  std::uint64_t seen = 0;
  while (wait_for_job(seen)) work(thread);
}

}  // namespace linkcast
