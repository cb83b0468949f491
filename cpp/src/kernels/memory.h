// Memory for weights and workspaces: 64-byte aligned, zero-filled, its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace linkcast {

/// A cache line, and a whole AVX-512 vector.
inline constexpr std::size_t alignment = 64;

constexpr std::size_t round_up(std::size_t n, std::size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

class AlignedBuffer {
 public:
  AlignedBuffer() = default;

  /// @throws std::bad_alloc
  explicit AlignedBuffer(std::size_t bytes) : size_(round_up(bytes, alignment)) {
    if (size_ == 0) return;
    data_.reset(static_cast<std::byte*>(std::aligned_alloc(alignment, size_)));
    if (data_ == nullptr) throw std::bad_alloc();
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

}  // namespace linkcast
