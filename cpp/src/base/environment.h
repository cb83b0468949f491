// Environment variables, as a library may read them.
#pragma once

#include <cstdlib>

namespace linkcast {

/// The value of an environment variable; nullptr when it is unset or empty, or the program has privileges that its
/// caller lacks (set-user-ID and the like): then the caller must not choose which files are read and run.
inline const char* environment(const char* name) noexcept {
  const char* value = secure_getenv(name);
  return value && *value ? value : nullptr;
}

}  // namespace linkcast
