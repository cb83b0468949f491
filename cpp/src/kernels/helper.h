// A thread on a second core that a caller hands a task to, and takes it back from, without a lock or a system call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace linkcast {

/// Whether one window may run on two cores, and where the second is.
struct SecondCore {
  static constexpr int none = -2;
  static constexpr int any = -1;
  static constexpr std::uint32_t most_spin_us = 60000000;

  int cpu = none;  ///< the helper is pinned to it; any: the system places it
  std::uint32_t spin_us = 1000;

  bool wanted() const noexcept { return cpu != none; }
  /// @param text  "", "any" or the number of a CPU
  /// @throws std::invalid_argument  another text; a CPU that the process may not run on; spin_us out of range
  static SecondCore from(const std::string& text, std::uint64_t spin_us);
  std::string text() const;  ///< what from() takes
};

/// The thread. It looks for a task for as long as the last one is no older than spin_us, then it sleeps, and looks now and
/// then whether somebody has asked for it: nobody wakes it. It has one task at a time: who comes second works alone.
///
/// A child of fork() has no helper: there post() is false for ever.
class Helper {
 public:
  /// Something that can be helped with. It belongs to one caller, who posts it, and then takes it back or sees that it has
  /// ended.
  class Task {
   public:
    virtual void help() noexcept = 0;  ///< on the helper's thread

   protected:
    ~Task() = default;
  };

  /// The helper of this place, which all who ask for it share; the longest spin_us holds. @throws std::system_error
  static std::shared_ptr<Helper> at(const SecondCore& place);

  /// @param cpu  below 0: not pinned
  Helper(int cpu, std::uint32_t spin_us);
  Helper(const Helper&) = delete;
  Helper& operator=(const Helper&) = delete;
  ~Helper();

  /// Whether the helper will look at the task: it is awake and has no other. Allocates nothing, waits for nothing.
  bool post(Task& task) noexcept;
  /// Whether the task had not begun, so that it will not.
  bool take_back(Task& task) noexcept;
  /// Whether the task is posted or has begun. What the helper wrote is seen by who has been told that it is not.
  bool has(const Task& task) const noexcept;
  /// Waits until the helper has not got the task, as it has until it ends: it may be in the middle of it when it was given
  /// up. Not for the hot path.
  void let_go(Task& task) noexcept;

 private:
  struct Thread;

  std::uint32_t generation_;        // fork_generation() of the process that the thread is in
  std::unique_ptr<Thread> thread_;  // left as it is in a child of fork()
};

/// Tells the core that it is waiting: what shares it works meanwhile.
inline void relax() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// How this thread rounds, and whether it flushes denormals: the helper must do as its caller does.
inline std::uint64_t float_mode() noexcept {
#if defined(__x86_64__)
  return __builtin_ia32_stmxcsr() & ~std::uint32_t{0x3F};  // without what has happened so far
#elif defined(__aarch64__)
  std::uint64_t mode;
  asm volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
#else
  return 0;
#endif
}
inline void set_float_mode([[maybe_unused]] std::uint64_t mode) noexcept {
#if defined(__x86_64__)
  __builtin_ia32_ldmxcsr(static_cast<std::uint32_t>(mode));
#elif defined(__aarch64__)
  asm volatile("msr fpcr, %0" ::"r"(mode));
#endif
}

}  // namespace linkcast
