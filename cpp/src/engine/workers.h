// Threads that wait for tasks of one caller: persistent, asleep between calls, pinned on request.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace linkcast {

/// The caller works too. One thread at a time calls run().
class Workers {
 public:
  using Task = void (*)(void* context, std::size_t index) noexcept;

  /// @param threads    beside the caller's
  /// @param most_tasks of one run()
  /// @param cpus       one for each thread, or empty
  /// @param spin_us    how long a thread looks for work before it sleeps, and the caller for the end of it, which it
  ///                   awaits for 50 us at least: it is not idle then
  /// @throws std::invalid_argument  another number of cpus than threads
  /// @throws std::system_error      no thread can be made, or not pinned
  Workers(std::size_t threads, std::size_t most_tasks, const std::vector<int>& cpus, std::uint32_t spin_us);
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  ~Workers();

  /// Calls task(context, index) once for each index below `count`, and returns when all have ended. A task tends to run
  /// on the same thread each time, so that its data stays in that core's cache.
  void run(Task task, void* context, std::size_t count);

 private:
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

}  // namespace linkcast
