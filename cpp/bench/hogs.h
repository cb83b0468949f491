// Noisy neighbours: threads that take what a controller's own would like to have.
#pragma once

#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

namespace linkcast::bench {

/// While an object lives, one thread computes without pause and another reads and writes memory beyond the last-level
/// cache without pause. They are ordinary threads, on any CPU of the process, also when the one that is measured has a
/// real-time priority or a CPU of its own.
class Hogs {
 public:
  /// @param cpus  one CPU for each of the two threads, to pin them; empty: the scheduler decides
  /// @throws std::system_error  no thread can be made, or not pinned
  explicit Hogs(const std::vector<int>& cpus);
  Hogs(const Hogs&) = delete;
  Hogs& operator=(const Hogs&) = delete;
  ~Hogs();

  static constexpr std::size_t kThreads = 2;
  /// What the second thread walks through: twice the last-level cache, from 16 to 256 MB.
  static std::size_t memory_bytes();

 private:
  void stop() noexcept;

  std::atomic<bool> stopping_{false};
  std::atomic<std::size_t> running_{0};
  std::vector<std::thread> threads_;
};

/// Gives the calling thread the real-time policy SCHED_FIFO. @throws std::system_error  not allowed, or no such
/// priority
void make_realtime(int priority);

/// Runs the calling thread on one CPU only. @throws std::system_error  no such CPU, or not allowed
void pin_this_thread(int cpu);

}  // namespace linkcast::bench
