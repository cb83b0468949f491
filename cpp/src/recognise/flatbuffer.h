// Reads FlatBuffers without trusting them: every offset is checked before it is followed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

namespace linkcast::tflite {

/// The buffer is damaged; the text says where.
struct Damaged : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The bytes, and how a number in them is read: little-endian, as this machine is.
class FlatBytes {
 public:
  FlatBytes(const void* bytes, std::size_t size) : bytes_(static_cast<const std::uint8_t*>(bytes)), size_(size) {}

  std::size_t size() const noexcept { return size_; }
  const std::uint8_t* at(std::size_t position) const noexcept { return bytes_ + position; }

  bool holds(std::uint64_t position, std::uint64_t count) const noexcept {
    return position <= size_ && count <= size_ - position;
  }

  template <class T>
  T read(std::uint64_t position, const char* what) const {
    if (!holds(position, sizeof(T)))
      throw Damaged(std::string(what) + " lies at byte " + std::to_string(position) + " of " + std::to_string(size_));
    using Stored = std::conditional_t<std::is_same_v<T, bool>, std::uint8_t, T>;  // of a bool any byte but 0 is true
    Stored value;
    std::memcpy(&value, bytes_ + position, sizeof(Stored));
    return static_cast<T>(value);
  }

  /// Where the unsigned offset at `position` leads to.
  std::uint64_t follow(std::uint64_t position, const char* what) const {
    const auto offset = read<std::uint32_t>(position, what);
    const std::uint64_t target = position + offset;
    if (offset == 0 || !holds(target, sizeof(std::uint32_t)) || target % sizeof(std::uint32_t) != 0)
      throw Damaged(std::string(what) + " points to byte " + std::to_string(target) + " of " + std::to_string(size_));
    return target;
  }

 private:
  const std::uint8_t* bytes_;
  std::size_t size_;
};

/// A vector of scalars or of offsets; empty when the field is absent.
template <class T>
class FlatVector {
 public:
  FlatVector() = default;
  FlatVector(const FlatBytes& bytes, std::uint64_t position, const char* what) : bytes_(&bytes), what_(what) {
    count_ = bytes.read<std::uint32_t>(position, what);
    begin_ = position + sizeof(std::uint32_t);
    if (!bytes.holds(begin_, std::uint64_t{count_} * sizeof(T)))
      throw Damaged(std::string(what) + " of " + std::to_string(count_) + " entries reaches past the end");
  }

  std::size_t size() const noexcept { return count_; }
  bool present() const noexcept { return bytes_ != nullptr; }
  T operator[](std::size_t n) const { return bytes_->template read<T>(begin_ + n * sizeof(T), what_); }
  std::uint64_t position(std::size_t n) const noexcept { return begin_ + n * sizeof(T); }
  const std::uint8_t* data() const noexcept { return bytes_ ? bytes_->at(begin_) : nullptr; }

 private:
  const FlatBytes* bytes_ = nullptr;
  const char* what_ = "";
  std::uint64_t begin_ = 0;
  std::uint32_t count_ = 0;
};

class FlatTable {
 public:
  FlatTable(const FlatBytes& bytes, std::uint64_t position, const char* what)
      : bytes_(&bytes), position_(position), what_(what) {
    const auto back = bytes.read<std::int32_t>(position, what);
    const std::int64_t table = static_cast<std::int64_t>(position) - back;
    if (table < 0 || table % 2 != 0) fail("has no field list");
    vtable_ = static_cast<std::uint64_t>(table);
    fields_ = bytes.read<std::uint16_t>(vtable_, what);
    size_ = bytes.read<std::uint16_t>(vtable_ + 2, what);
    if (fields_ < 4 || fields_ % 2 != 0 || !bytes.holds(vtable_, fields_) || size_ < 4 || !bytes.holds(position, size_))
      fail("has a field list that does not fit");
  }

  bool has(int field) const { return offset(field) != 0; }

  template <class T>
  T get(int field, T absent) const {
    const auto at = offset(field);
    if (at == 0) return absent;
    if (at + sizeof(T) > size_) fail("has a field outside itself");
    return bytes_->read<T>(position_ + at, what_);
  }

  FlatTable table(int field, const char* what) const { return {*bytes_, pointed(field, what), what}; }

  /// Empty when the field is absent.
  template <class T>
  FlatVector<T> vector(int field, const char* what) const {
    if (!has(field)) return {};
    return {*bytes_, pointed(field, what), what};
  }

  FlatTable entry(const FlatVector<std::uint32_t>& tables, std::size_t n, const char* what) const {
    return {*bytes_, bytes_->follow(tables.position(n), what), what};
  }

  /// "" when the field is absent.
  std::string_view text(int field, const char* what) const {
    const auto letters = vector<char>(field, what);
    if (!letters.present()) return {};
    if (bytes_->read<char>(letters.position(letters.size()), what) != '\0')
      throw Damaged(std::string(what) + " does not end");
    return {reinterpret_cast<const char*>(letters.data()), letters.size()};
  }

 private:
  [[noreturn]] void fail(const char* why) const {
    throw Damaged(std::string(what_) + " at byte " + std::to_string(position_) + " " + why);
  }

  std::size_t offset(int field) const {
    const std::size_t entry = 4 + 2 * static_cast<std::size_t>(field);
    if (entry + 2 > fields_) return 0;
    const std::size_t at = bytes_->read<std::uint16_t>(vtable_ + entry, what_);
    if (at != 0 && (at < 4 || at >= size_)) fail("has a field outside itself");
    return at;
  }

  std::uint64_t pointed(int field, const char* what) const {
    const auto at = offset(field);
    if (at == 0) throw Damaged(std::string(what_) + " lacks " + what);
    if (at + sizeof(std::uint32_t) > size_) fail("has a field outside itself");
    return bytes_->follow(position_ + at, what);
  }

  const FlatBytes* bytes_;
  std::uint64_t position_;
  const char* what_;
  std::uint64_t vtable_ = 0;
  std::uint16_t fields_ = 0;
  std::uint16_t size_ = 0;
};

}  // namespace linkcast::tflite
