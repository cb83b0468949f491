#include "engine/workers.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

#include "base/fork.h"
#include "base/signals.h"

namespace linkcast {
namespace {

/// The caller looks so long for the end of the last task before it sleeps: to be woken would cost it a task's time.
constexpr std::uint32_t kTailUs = 50;

void pin(std::thread& thread, int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_SET(cpu, &set);
  if (pthread_setaffinity_np(thread.native_handle(), sizeof(set), &set) != 0)
    throw std::invalid_argument("cpus: expected CPUs that this process may run on, got " + std::to_string(cpu));
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

/// The threads with what they share. A child of fork() must neither join them nor destroy a condition that they sleep
/// on, since both would wait for them: it leaves the whole pool as it is.
struct Workers::Pool {
  Pool(std::size_t threads, std::size_t most_tasks, const std::vector<int>& cpus, std::uint32_t spin_us);
  ~Pool() { stop(); }
  void run(Task task, void* context, std::size_t count);
  void serve(std::size_t thread);
  void work(std::size_t thread);
  bool wait_for_job(std::uint64_t& seen);
  void stop() noexcept;

  std::size_t everyone_;  // the caller included
  std::uint32_t spin_us_;
  std::unique_ptr<std::atomic<bool>[]> claimed_;  // (most_tasks) by one of the threads; true behind `count_`
  Task task_ = nullptr;
  void* context_ = nullptr;
  std::atomic<std::size_t> count_{0};
  std::atomic<std::size_t> done_{0};
  std::atomic<std::uint64_t> job_{0};  // counts calls of run()
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;  // of both conditions
  std::condition_variable job_came_;
  std::condition_variable job_ended_;
  std::vector<std::thread> threads_;
};

Workers::Workers(std::size_t threads, std::size_t most_tasks, const std::vector<int>& cpus, std::uint32_t spin_us)
    : most_tasks_(most_tasks), beside_(threads), cpus_(cpus), spin_us_(spin_us) {
  if (!cpus.empty() && cpus.size() != threads)
    throw std::invalid_argument("cpus: expected one for each of " + std::to_string(threads) + " worker threads, got " +
                                std::to_string(cpus.size()));
  start();
}

Workers::~Workers() {
  if (generation_ != fork_generation()) static_cast<void>(pool_.release());
}

void Workers::start() {
  generation_ = fork_generation();
  pool_ = std::make_unique<Pool>(beside_, most_tasks_, cpus_, spin_us_);
}

void Workers::run(Task task, void* context, std::size_t count) {
  if (generation_ != fork_generation()) {
    static_cast<void>(pool_.release());
    try {
      start();
    } catch (const std::exception&) {  // no thread, or no memory: slower, and right
      pool_.reset();
    }
  }
  if (pool_) return pool_->run(task, context, count);
  for (std::size_t k = 0; k < count; ++k) task(context, k);
}

Workers::Pool::Pool(std::size_t threads, std::size_t most_tasks, const std::vector<int>& cpus, std::uint32_t spin_us)
    : everyone_(threads + 1), spin_us_(spin_us), claimed_(std::make_unique<std::atomic<bool>[]>(most_tasks)) {
  for (std::size_t k = 0; k < most_tasks; ++k) claimed_[k].store(true, std::memory_order_relaxed);
  threads_.reserve(threads);
  const SignalsBlocked blocked;
  try {
    for (std::size_t k = 0; k < threads; ++k) {
      threads_.emplace_back([this, k] { serve(k + 1); });
      if (!cpus.empty()) pin(threads_.back(), cpus[k]);
    }
  } catch (const std::system_error& error) {
    const std::size_t started = threads_.size();
    stop();
    throw std::system_error(error.code(), "threads: expected " + std::to_string(threads) +
                                              " beside the caller's, got " + std::to_string(started));
  } catch (...) {
    stop();
    throw;
  }
}

void Workers::Pool::stop() noexcept {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  job_came_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Workers::Pool::run(Task task, void* context, std::size_t count) {
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
void Workers::Pool::work(std::size_t thread) {
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

bool Workers::Pool::wait_for_job(std::uint64_t& seen) {
  const auto came = [&] { return stopping_.load() || job_.load(std::memory_order_acquire) != seen; };
  if (!spin(spin_us_, came)) {
    std::unique_lock lock(mutex_);
    job_came_.wait(lock, came);
  }
  seen = job_.load(std::memory_order_acquire);
  return !stopping_.load();
}

void Workers::Pool::serve(std::size_t thread) {
  std::uint64_t seen = 0;
  while (wait_for_job(seen)) work(thread);
}

}  // namespace linkcast
