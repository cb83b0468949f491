// What fork() does to objects that outlive it: in the child there is one thread, and of all others only what they held.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <thread>

namespace linkcast {

namespace detail {
extern std::atomic<std::uint32_t> fork_generation;
}

/// How many forks lie between this process and the one that loaded the library: an object that has threads, or that a
/// thread may have been in, keeps the number of its process, and knows by another one that those threads are gone.
inline std::uint32_t fork_generation() noexcept { return detail::fork_generation.load(std::memory_order_relaxed); }

/// fork() waits for `mutex`, so that the child never meets it locked and never half of what it guards. It must live as
/// long as the process, be held for moments only, and not while another such mutex is. @throws std::bad_alloc
void hold_across_fork(std::mutex& mutex);

/// Calls `function` in each child, before fork() returns there. Async-signal-safe work only. @throws std::bad_alloc
void call_in_child(void (*function)() noexcept);

/// A lock that a child of fork() takes even when a thread of its parent held it. For what is not hot: who waits sleeps.
class ForkLock {
 public:
  bool try_lock() noexcept {
    const std::uint64_t mine = std::uint64_t{fork_generation()} + 1;
    std::uint64_t holder = holder_.load(std::memory_order_relaxed);
    if (holder == mine) return false;
    return holder_.compare_exchange_strong(holder, mine, std::memory_order_acquire, std::memory_order_relaxed);
  }
  void lock() noexcept {
    while (!try_lock()) std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  void unlock() noexcept { holder_.store(0, std::memory_order_release); }

 private:
  std::atomic<std::uint64_t> holder_{0};  // fork_generation() + 1 of the process whose thread has it; 0: free
};

}  // namespace linkcast
