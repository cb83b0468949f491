// malloc and its kin, defined in the test's program, so that every library in the process comes through these and the
// n-th of them can fail; a sanitizer has its own. In one file of a program.
#pragma once

#include <cstddef>
#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kCanFail = false;
#else
constexpr bool kCanFail = true;
#endif

namespace {
long allocations = -1;  // since they are counted; below 0: they are not
long fails = -1;        // the number of the one that fails
long blocks = 0;        // given and not freed, since they are counted
void (*on_failure)() = nullptr;

[[maybe_unused]] bool refused() {
  if (allocations < 0) return false;
  const bool fail = allocations++ == fails;
  if (fail && on_failure) on_failure();
  return fail;
}

[[maybe_unused]] void* given(void* memory) {
  blocks += memory != nullptr && allocations >= 0;
  return memory;
}
}  // namespace

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
extern "C" {

// The C library's own functions behind the names taken here.
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);

void* malloc(std::size_t size) { return refused() ? nullptr : given(__libc_malloc(size)); }
void* calloc(std::size_t count, std::size_t size) { return refused() ? nullptr : given(__libc_calloc(count, size)); }
void* realloc(void* memory, std::size_t size) {
  if (refused()) return nullptr;
  return memory ? __libc_realloc(memory, size) : given(__libc_realloc(memory, size));
}
void* memalign(std::size_t alignment, std::size_t size) {
  return refused() ? nullptr : given(__libc_memalign(alignment, size));
}
void free(void* memory) {
  blocks -= memory != nullptr && allocations >= 0;
  __libc_free(memory);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
  *memory = memalign(alignment, size);
  return *memory ? 0 : 12;  // ENOMEM
}

}  // extern "C"
#endif
