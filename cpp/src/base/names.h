// The names of an enum's values: one table each, in the order of the enumerators, which count from 0.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

namespace linkcast {

/// @return "" for a number that is no enumerator
template <class Enum, std::size_t count>
constexpr const char* name_of(const char* const (&names)[count], Enum value) noexcept {
  const auto number = static_cast<std::size_t>(value);
  return number < count ? names[number] : "";
}

/// @throws std::invalid_argument  `backend: expected "auto", "native" or "tflite", got "banana"`
template <class Enum, std::size_t count>
Enum from_name(const char* const (&names)[count], const std::string& what, const std::string& name) {
  std::string known;
  for (std::size_t k = 0; k < count; ++k) {
    if (name == names[k]) return static_cast<Enum>(k);
    known += std::string(k == 0 ? "" : k + 1 < count ? ", " : " or ") + "\"" + names[k] + "\"";
  }
  throw std::invalid_argument(what + ": expected " + known + ", got \"" + name + "\"");
}

}  // namespace linkcast
