// Handles of the C ABI: numbers in pointer's clothing, looked up and never dereferenced, so that a null, foreign, stale
// or made-up handle is told from a good one.
#pragma once

#include <cstdint>

namespace linkcast::c_api {

enum class Kind : std::uintptr_t { engine = 1, stream = 2, controller = 3 };

/// A new handle for `object`, which stays the caller's. Any thread. @throws std::bad_alloc  too many handles are open
void* open_handle(Kind kind, void* object);

/// What the handle stands for; nullptr when it is not an open handle of this kind. Takes no lock.
void* find_handle(const void* handle, Kind kind) noexcept;

/// The handle is no longer known from here on. Any thread.
void close_handle(const void* handle) noexcept;

}  // namespace linkcast::c_api
