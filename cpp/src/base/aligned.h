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
    const std::size_t unit = huge ? huge_page : alignment;
    const std::size_t reserved = round_up(size_, unit);
    data_.reset(static_cast<std::byte*>(std::aligned_alloc(unit, reserved)));
    if (data_ == nullptr) throw std::bad_alloc();
#if defined(__linux__)
    if (huge) static_cast<void>(madvise(data_.get(), reserved, MADV_HUGEPAGE));  // a wish: without it all works
#endif
    std::memset(data_.get(), 0, size_);
  }

  std::byte* data() const { return data_.get(); }
  std::size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte, Free> data_;
  std::size_t size_ = 0;  // bytes
};

/// Floats that views share, padded by a cache line.
inline std::shared_ptr<float[]> aligned_floats(std::size_t count) {
  const std::size_t bytes = round_up(count * sizeof(float), alignment) + alignment;
  auto* memory = static_cast<float*>(std::aligned_alloc(alignment, bytes));
  if (memory == nullptr) throw std::bad_alloc();
  std::memset(memory, 0, bytes);
  return {memory, [](float* given) { std::free(given); }};
}

}  // namespace linkcast
