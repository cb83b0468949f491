#include "recognise/shape.h"

#include <algorithm>
#include <iterator>

namespace linkcast::tflite {
namespace {

struct TypeEntry {
  const char* name;
  int bits = 0;
  char letter = '\0';
};

// In the order of the schema's numbers.
constexpr TypeEntry kElements[] = {
    {"FLOAT32", 32, 'f'}, {"FLOAT16", 16, 'h'}, {"INT32", 32, 'i'}, {"UINT8", 8, 'u'}, {"INT64", 64, 'l'},
    {"STRING"},           {"BOOL", 8, 'b'},     {"INT16", 16, 's'}, {"COMPLEX64"},     {"INT8", 8, 'c'},
    {"FLOAT64"},          {"COMPLEX128"},       {"UINT64"},         {"RESOURCE"},      {"VARIANT"},
    {"UINT32"},           {"UINT16"},           {"INT4", 4, 'n'},   {"BFLOAT16"},
};

const TypeEntry* element(int type) noexcept {
  return type >= 0 && type < static_cast<int>(std::size(kElements)) ? &kElements[type] : nullptr;
}

}  // namespace

std::string element_type_name(int type) {
  const auto* found = element(type);
  return found ? found->name : "type " + std::to_string(type);
}

int bits_of(int type) noexcept {
  const auto* found = element(type);
  return found ? found->bits : 0;
}

int type_of_letter(char letter) noexcept {
  const auto* found = std::find_if(std::begin(kElements), std::end(kElements),
                                   [letter](const TypeEntry& e) { return e.letter == letter && e.bits != 0; });
  return found == std::end(kElements) ? -1 : static_cast<int>(found - std::begin(kElements));
}

bool whole_numbers(int type) noexcept { return type == kTypeInt32 || type == kTypeInt64 || type == kTypeBool; }

std::int64_t stored(int type, std::uint64_t value) noexcept {
  if (type == kTypeBool) return value != 0 ? 1 : 0;
  if (type == kTypeInt32) return static_cast<std::int32_t>(static_cast<std::uint32_t>(value));
  return static_cast<std::int64_t>(value);
}

std::uint64_t times(std::uint64_t a, std::uint64_t b) noexcept {
  std::uint64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) || product > kHuge ? kHuge : product;
}

std::string shape_text(const Shape& shape) {
  std::string text = "(";
  for (const std::int64_t d : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(d);
  return text + ")";
}

std::uint64_t elements_of(const Shape& shape) noexcept {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  std::uint64_t count = 1;
  for (const std::int64_t d : shape) count = times(count, static_cast<std::uint64_t>(d));
  return count;
}

std::uint64_t bytes_of(int type, const Shape& shape) noexcept {
  const std::uint64_t bits = times(elements_of(shape), static_cast<std::uint64_t>(bits_of(type)));
  return bits / 8 + (bits % 8 != 0 ? 1 : 0);
}

}  // namespace linkcast::tflite
