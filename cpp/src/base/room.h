// Memory of the whole process: whether more can be had, found out before somebody needs it who can't bear to be refused,
// and what is no longer needed.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace linkcast {

/// Asks for so many bytes and gives them back untouched: limits on the address space, and a system that promises no
/// more than it has, refuse here. What other threads take meanwhile is not known. @throws std::bad_alloc
inline void require_room(std::size_t bytes) {
#if defined(__linux__)
  void* const got = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (got == MAP_FAILED) throw std::bad_alloc();
  munmap(got, bytes);
#else
  ::operator delete(::operator new(bytes));
#endif
}

/// Gives the system back what the heap holds free, where the C library can: a millisecond or two, in which other
/// threads that allocate may wait.
inline void give_back_room() noexcept {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

}  // namespace linkcast
