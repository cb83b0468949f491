#include "counters.h"

#include <sys/resource.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define LINKCAST_COUNTS_ALLOCATIONS 1
#else
#define LINKCAST_COUNTS_ALLOCATIONS 0
#endif

#if LINKCAST_COUNTS_ALLOCATIONS
namespace {
thread_local std::uint64_t calls = 0;
}

// The program's own malloc stands before the C library's, for every library in the process.
#pragma GCC visibility push(default)
extern "C" {

void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t size) {
  ++calls;
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
  ++calls;
  return __libc_calloc(count, size);
}
void* realloc(void* memory, std::size_t size) {
  ++calls;
  return __libc_realloc(memory, size);
}
void* memalign(std::size_t alignment, std::size_t size) {
  ++calls;
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
  *memory = memalign(alignment, size);
  return *memory ? 0 : ENOMEM;
}

}  // extern "C"
#pragma GCC visibility pop
#endif

namespace linkcast::bench {

std::optional<std::uint64_t> allocations() noexcept {
#if LINKCAST_COUNTS_ALLOCATIONS
  return calls;
#else
  return std::nullopt;
#endif
}

Counters Counters::now() noexcept {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  Counters counters;
  counters.minor_faults = static_cast<std::uint64_t>(usage.ru_minflt);
  counters.major_faults = static_cast<std::uint64_t>(usage.ru_majflt);
  counters.voluntary_switches = static_cast<std::uint64_t>(usage.ru_nvcsw);
  counters.involuntary_switches = static_cast<std::uint64_t>(usage.ru_nivcsw);
  return counters;
}

void Counters::add(const Counters& begin, const Counters& end) noexcept {
  minor_faults += end.minor_faults - begin.minor_faults;
  major_faults += end.major_faults - begin.major_faults;
  voluntary_switches += end.voluntary_switches - begin.voluntary_switches;
  involuntary_switches += end.involuntary_switches - begin.involuntary_switches;
}

}  // namespace linkcast::bench
