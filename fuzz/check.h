// How a fuzz target reports a finding that no sanitizer sees.
#pragma once

#include <cstdio>
#include <cstdlib>

/// Ends the process, which makes libFuzzer keep the input.
#define FUZZ_CHECK(holds, ...)                                         \
  do {                                                                 \
    if (!(holds)) {                                                    \
      std::fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #holds); \
      std::fprintf(stderr, __VA_ARGS__);                               \
      std::fputc('\n', stderr);                                        \
      std::abort();                                                    \
    }                                                                  \
  } while (false)
