// Memory for weights, windows and workspaces: 64-byte aligned and zero-filled.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace linkcast {

/// A cache line, and a whole AVX-512 vector.
inline constexpr std::size_t alignment = 64;

constexpr std::size_t round_up(std::size_t n, std::size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

/// Pages of 2 MB, asked for where the system has them.
inline constexpr std::size_t huge_page = std::size_t{1} << 21;

struct FreeAligned {
  std::size_t mapped = 0;  // bytes; 0: it is of the heap
  void operator()(std::byte* memory) const {
#if defined(__linux__)
    if (mapped > 0) {
      munmap(memory, mapped);
      return;
    }
#endif
    std::free(memory);
  }
};

/// Bytes of one owner.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;

  /// @param huge  back it with huge pages where the system gives them. For weights this measures 0.85 of the time when
  ///              caches are cold (a call each 10 ms), and nothing when they are warm; the memory is rounded up to 2
  ///              MB.
  /// @throws std::bad_alloc
  explicit AlignedBuffer(std::size_t bytes, bool huge = false) : size_(round_up(bytes, alignment)) {
    if (size_ == 0) return;
#if defined(__linux__)
    if (huge) {
      map_huge();
      return;
    }
#else
    static_cast<void>(huge);
#endif
    data_.reset(static_cast<std::byte*>(std::aligned_alloc(alignment, size_)));
    if (data_ == nullptr) throw std::bad_alloc();
    std::memset(data_.get(), 0, size_);
  }

  std::byte* data() const { return data_.get(); }
  std::size_t size() const { return size_; }

 private:
#if defined(__linux__)
  /// Pages of its own, never the heap's: what is said of the heap's pages stays said when they are free again, so that
  /// with each reload more of it would be huge pages, each resident as a whole for whatever small thing lies in it.
  void map_huge() {
    const std::size_t wanted = round_up(size_, huge_page);
    void* const got = mmap(nullptr, wanted + huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (got == MAP_FAILED) throw std::bad_alloc();
    auto* const begin = static_cast<std::byte*>(got);
    const std::size_t before = (huge_page - reinterpret_cast<std::uintptr_t>(got) % huge_page) % huge_page;
    if (before > 0) munmap(begin, before);
    if (before < huge_page) munmap(begin + before + wanted, huge_page - before);
    data_ = std::unique_ptr<std::byte, FreeAligned>(begin + before, FreeAligned{wanted});
    static_cast<void>(madvise(data_.get(), wanted, MADV_HUGEPAGE));  // a wish: without it all works
  }
#endif

  std::unique_ptr<std::byte, FreeAligned> data_;
  std::size_t size_ = 0;  // bytes
};

/// Asks for the cache lines of `count` values.
template <class T>
void prefetch(const T* from, std::size_t count) noexcept {
  const auto* const bytes = reinterpret_cast<const char*>(from);
  for (std::size_t at = 0; at < count * sizeof(T); at += alignment) __builtin_prefetch(bytes + at);
}

/// Floats that views share, padded by a cache line.
inline std::shared_ptr<float[]> aligned_floats(std::size_t count) {
  const std::size_t bytes = round_up(count * sizeof(float), alignment) + alignment;
  auto* memory = static_cast<float*>(std::aligned_alloc(alignment, bytes));
  if (memory == nullptr) throw std::bad_alloc();
  std::memset(memory, 0, bytes);
  return {memory, [](float* given) { std::free(given); }};
}

}  // namespace linkcast
