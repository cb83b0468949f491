// Threads that wait for tasks of one caller: persistent, asleep between calls, pinned on request.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace linkcast {

/// The caller works too. One thread at a time calls run(). In a child of fork(), which has none of the threads, the
/// first run() starts them anew.
class Workers {
 public:
  using Task = void (*)(void* context, std::size_t index) noexcept;

  /// @param threads    beside the caller's
  /// @param most_tasks of one run()
  /// @param cpus       one for each thread, or empty
  /// @param spin_us    how long a thread looks for work before it sleeps, and the caller for the end of it, which it
  ///                   awaits for 50 us at least: it is not idle then
  /// @throws std::invalid_argument  another number of cpus than threads, or one that the process may not run on
  /// @throws std::system_error      the system gives no thread
  Workers(std::size_t threads, std::size_t most_tasks, const std::vector<int>& cpus, std::uint32_t spin_us);
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  ~Workers();

  /// Calls task(context, index) once for each index below `count`, and returns when all have ended. A task tends to run
  /// on the same thread each time, so that its data stays in that core's cache.
  void run(Task task, void* context, std::size_t count);

 private:
  struct Pool;

  void start();

  std::size_t most_tasks_;
  std::size_t beside_;  // threads beside the caller's
  std::vector<int> cpus_;
  std::uint32_t spin_us_;
  std::uint32_t generation_ = 0;  // fork_generation() of the process that pool_'s threads are in
  std::unique_ptr<Pool> pool_;    // null in a child of fork() that can't start threads: the caller does everything
};

}  // namespace linkcast
