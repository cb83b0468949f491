// Numbers in the words of an error.
#pragma once

#include <cstdio>
#include <string>

namespace linkcast {

/// As a person writes it, "-1", "0.95", "1e-09": std::to_string makes 0.000000 of the last.
inline std::string text_of(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", value);
  return text;
}

}  // namespace linkcast
