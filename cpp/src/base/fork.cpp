#include "base/fork.h"

#include <pthread.h>

#include <memory>
#include <new>
#include <vector>

namespace linkcast {
namespace detail {
std::atomic<std::uint32_t> fork_generation{0};
}

namespace {

struct Registry {
  std::mutex mutex;  // of both lists; held across fork as well, and first
  std::vector<std::mutex*> held;
  std::vector<void (*)() noexcept> in_child;
};

Registry& registry() {
  static Registry& only = *std::make_unique<Registry>().release();  // never destroyed: a process may fork while it ends
  return only;
}

void prepare() {
  registry().mutex.lock();
  for (std::mutex* mutex : registry().held) mutex->lock();
}

void release() {
  const auto& held = registry().held;
  for (auto mutex = held.rbegin(); mutex != held.rend(); ++mutex) (*mutex)->unlock();
  registry().mutex.unlock();
}

void release_in_child() {
  detail::fork_generation.fetch_add(1, std::memory_order_relaxed);
  for (void (*function)() noexcept : registry().in_child) function();
  release();
}

// While the library is loaded, so that no fork goes by unseen; it fails without memory alone.
[[maybe_unused]] const int registered = pthread_atfork(&prepare, &release, &release_in_child);

}  // namespace

void hold_across_fork(std::mutex& mutex) {
  const std::lock_guard lock(registry().mutex);
  registry().held.push_back(&mutex);
}

void call_in_child(void (*function)() noexcept) {
  const std::lock_guard lock(registry().mutex);
  registry().in_child.push_back(function);
}

}  // namespace linkcast
