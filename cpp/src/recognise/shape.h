// Element types and shapes, as a .tflite file declares them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace linkcast::tflite {

/// Element types by the schema's numbers.
enum ElementType : int {
  kTypeFloat32 = 0,
  kTypeFloat16 = 1,
  kTypeInt32 = 2,
  kTypeUint8 = 3,
  kTypeInt64 = 4,
  kTypeBool = 6,
  kTypeInt16 = 7,
  kTypeInt8 = 9,
  kTypeVariant = 14,
  kTypeInt4 = 17,
};
std::string element_type_name(int type);
/// Bits of one element; 0 for a type that no operator of ours takes (strings, resources, complex numbers, ...).
int bits_of(int type) noexcept;
/// The type that the table of operators writes as this letter; -1 when there is none.
int type_of_letter(char letter) noexcept;
/// Whether shapes, indices and loop counters may be made of it: int32, int64, bool.
bool whole_numbers(int type) noexcept;
/// What the runtime keeps of a computed whole number: two's complement in the width of the type.
std::int64_t stored(int type, std::uint64_t value) noexcept;

inline constexpr std::uint64_t kHuge = std::uint64_t{1} << 62;  // stands for any larger product
/// a * b, held at kHuge.
std::uint64_t times(std::uint64_t a, std::uint64_t b) noexcept;

using Shape = std::vector<std::int64_t>;
std::string shape_text(const Shape& shape);
/// Elements of a tensor, held at kHuge where the product is larger.
std::uint64_t elements_of(const Shape& shape) noexcept;
std::uint64_t bytes_of(int type, const Shape& shape) noexcept;

}  // namespace linkcast::tflite
