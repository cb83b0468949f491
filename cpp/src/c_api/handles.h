// Handles of the C ABI: numbers in pointer's clothing, looked up and never dereferenced, so that a null, foreign, stale
// or made-up handle is told from a good one.
//
// Who looks one up pins it: as long as a pin is held, the handle is not closed and its object lives. So a close beside
// a call on another thread sees the call, and one beside another close sees that.
#pragma once

#include <cstdint>
#include <memory>

#include "linkcast/linkcast.h"

namespace linkcast::c_api {

enum class Kind : std::uintptr_t { engine = 1, stream = 2, controller = 3, route = 4, network = 5 };

/// A new handle for `object`, which stays the caller's. Any thread. @throws std::bad_alloc  too many handles are open
void* open_handle(Kind kind, void* object);

/// What the handle stands for, pinned; nullptr, and the text for linkcast_last_error, when it is not an open handle of
/// this kind, or a thread that fork() did not bring along had it pinned. Takes no lock.
void* pin_handle(const void* handle, Kind kind) noexcept;
void unpin_handle(const void* handle) noexcept;

/// The handle is no longer known from here on, and the caller's pin is gone with it; LINKCAST_ERROR_BUSY, with the
/// text, when another thread holds a pin as well: nothing has changed then. Any thread.
linkcast_status close_handle(const void* handle, Kind kind) noexcept;

/// A pinned handle: what it stands for, for the time of one call.
template <class Object>
class Pinned {
 public:
  Pinned(const void* handle, Kind kind) noexcept
      : handle_(handle), kind_(kind), object_(static_cast<Object*>(pin_handle(handle, kind))) {}
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  ~Pinned() {
    if (object_) unpin_handle(handle_);
  }

  explicit operator bool() const noexcept { return object_ != nullptr; }
  Object* operator->() const noexcept { return object_; }
  Object& operator*() const noexcept { return *object_; }

  /// Closes the handle; what it stood for is the caller's to free then. BUSY, and as before, when another thread has it
  /// pinned.
  linkcast_status close() noexcept {
    const linkcast_status status = close_handle(handle_, kind_);
    if (status == LINKCAST_OK) object_ = nullptr;
    return status;
  }

 private:
  const void* handle_;
  Kind kind_;
  Object* object_;
};

/// A handle for `opened`, which owns it until close_and_free(). @throws std::bad_alloc  too many handles are open
template <class Handle, class Object>
void open_owned(Kind kind, std::unique_ptr<Object> opened, Handle** handle) {
  *handle = static_cast<Handle*>(open_handle(kind, opened.get()));
  static_cast<void>(opened.release());
}

template <class Object>
linkcast_status close_and_free(Pinned<Object>& handle) {
  Object* object = &*handle;
  if (const auto status = handle.close()) return status;
  const std::unique_ptr<Object> freed(object);
  return LINKCAST_OK;
}

}  // namespace linkcast::c_api
