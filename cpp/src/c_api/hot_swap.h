// Replaces an object that a hot loop uses, without the loop ever waiting, locking or freeing.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "base/fork.h"

namespace linkcast {

/// Holds the T of one hot loop. The loop calls enter() and leave() around each use; any other thread calls publish().
///
/// How: publish() stores the fresh object where the loop's next enter() takes it, then waits until the loop is either
/// outside or has taken it. From then on nothing refers to the old object (but for holders of shared()), so that it is
/// freed by the publishing thread. Both sides write one word and then read the other's (Dekker), hence the sequentially
/// consistent operations. A caller that was inside when the process forked is not so in the child.
template <class T>
class HotSwap {
 public:
  explicit HotSwap(std::shared_ptr<T> first) : live_(std::move(first)), current_(live_.get()) {}
  HotSwap(const HotSwap&) = delete;
  HotSwap& operator=(const HotSwap&) = delete;

  /// The newest object, valid until leave(); nullptr when a caller is inside already. Wait-free.
  T* enter() noexcept {
    const std::uint64_t mine = here();
    if (inside_.exchange(mine, std::memory_order_seq_cst) == mine) return nullptr;
    if (next_.load(std::memory_order_seq_cst))
      if (T* fresh = next_.exchange(nullptr, std::memory_order_seq_cst)) current_ = fresh;
    return current_;
  }
  void leave() noexcept { inside_.store(0, std::memory_order_seq_cst); }

  /// The newest object, for work off the hot path: takes a lock, and keeps the object alive as long as it is held.
  std::shared_ptr<T> shared() const {
    const std::lock_guard lock(publishing_);
    return live_;
  }

  /// Puts `fresh` in place of the present object, which is freed here once the loop has left it. Any thread, but not
  /// from between enter() and leave().
  void publish(std::shared_ptr<T> fresh) {
    {
      const std::lock_guard lock(publishing_);
      next_.store(fresh.get(), std::memory_order_seq_cst);
      while (inside_.load(std::memory_order_seq_cst) == here() && next_.load(std::memory_order_seq_cst))
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      live_.swap(fresh);
    }
    fresh.reset();  // the old one, outside the lock
  }

 private:
  /// What inside_ is while a thread of this process is inside.
  static std::uint64_t here() noexcept { return std::uint64_t{fork_generation()} + 1; }

  mutable ForkLock publishing_;
  std::shared_ptr<T> live_;               // the newest; under publishing_
  std::atomic<T*> next_{nullptr};         // published and not yet taken
  std::atomic<std::uint64_t> inside_{0};  // here() between enter() and leave(), else 0
  T* current_;                            // what the loop uses; touched between enter() and leave() alone
};

}  // namespace linkcast
