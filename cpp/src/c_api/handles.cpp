#include "c_api/handles.h"

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "base/fork.h"
#include "base/names.h"
#include "c_api/status.h"

namespace linkcast::c_api {
namespace {

// 64 bits: marker (8) generation (32) index (20) kind (4). The marker makes the address non-canonical, so that whoever
// takes a handle for a pointer faults at once, and a garbage collector knows it for none of its own. 32 bits:
// generation (12) index (16) kind (4).
constexpr bool kWide = sizeof(std::uintptr_t) == 8;
constexpr int kKindBits = 4;
constexpr int kIndexBits = kWide ? 20 : 16;
constexpr int kGenerationBits = kWide ? 32 : 12;
constexpr std::uintptr_t kIndexMask = (std::uintptr_t{1} << kIndexBits) - 1;
constexpr std::uintptr_t kGenerationMask = (std::uintptr_t{1} << kGenerationBits) - 1;
constexpr std::uintptr_t kMarkerMask = kWide ? static_cast<std::uintptr_t>(std::uint64_t{0xFF} << 56) : 0;
constexpr std::uintptr_t kMarker = kWide ? static_cast<std::uintptr_t>(std::uint64_t{0xA5} << 56) : 0;
constexpr std::size_t kChunk = 1024;
constexpr std::size_t kChunks = (kIndexMask + 1) / kChunk;

// A slot's state: generation (32) kind (4) pins (28). 0: free. One word, so that a pin is taken only of what is open,
// and a close succeeds only where nobody else has one.
constexpr int kStateKindShift = 28;
constexpr std::uint64_t kPinMask = (std::uint64_t{1} << kStateKindShift) - 1;

struct Slot {
  std::atomic<std::uint64_t> state{0};
  std::atomic<void*> object{nullptr};
  std::uintptr_t generation = 0;  // under the mutex
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

struct Table {
  std::mutex mutex;
  std::array<std::atomic<Slot*>, kChunks> chunks{};  // never freed: a stale handle may be looked up at any time
  std::size_t used = 0;                              // slots ever handed out; under the mutex
  std::vector<std::size_t> free;                     // of those; under the mutex
};

Table& table();

Slot* slot_of(std::size_t index) noexcept {
  Slot* chunk = table().chunks[index / kChunk].load(std::memory_order_acquire);
  return chunk ? &chunk[index % kChunk] : nullptr;
}

/// What was pinned when the process forked was in use by a thread that the child does not have: nobody will ever unpin
/// it, and what it was doing is half done. Such a handle is none in the child; its kind becomes 0, which no handle has.
void forget_pinned() noexcept {
  for (const auto& chunk : table().chunks) {
    Slot* slots = chunk.load(std::memory_order_relaxed);
    if (!slots) continue;
    for (std::size_t k = 0; k < kChunk; ++k) {
      const std::uint64_t state = slots[k].state.load(std::memory_order_relaxed);
      if (state & kPinMask) slots[k].state.store(state >> 32 << 32 | kPinMask, std::memory_order_relaxed);
    }
  }
}

Table& make_table() {
  // Never destroyed, as handles may be closed while the process ends.
  Table& made = *std::make_unique<Table>().release();
  hold_across_fork(made.mutex);
  return made;
}

Table& table() {
  static Table& only = make_table();
  return only;
}

std::size_t index_of(const void* handle) noexcept {
  return (reinterpret_cast<std::uintptr_t>(handle) >> kKindBits) & kIndexMask;
}

/// The state of the slot of this open handle, without pins.
std::uint64_t open_state(const void* handle) noexcept {
  const auto value = reinterpret_cast<std::uintptr_t>(handle);
  const std::uint64_t generation = (value >> (kKindBits + kIndexBits)) & kGenerationMask;
  const std::uint64_t kind = value & ((std::uintptr_t{1} << kKindBits) - 1);
  return generation << 32 | kind << kStateKindShift;
}

const char* kind_name(Kind kind) noexcept {
  static constexpr const char* kNames[] = {"handle", "engine", "stream", "controller", "route", "network"};
  return name_of(kNames, kind);
}

void* refuse(const void* handle, Kind kind, bool forgotten) noexcept {
  fail(LINKCAST_ERROR_HANDLE,
       forgotten ? "%s: %p was in use by another thread when the process forked; expected one that the child has opened"
                 : "%s: expected an open one, got %p",
       kind_name(kind), handle);
  return nullptr;
}

}  // namespace

void* open_handle(Kind kind, void* object) {
  // What a child of fork() has to do is known before the first handle is.
  [[maybe_unused]] static const bool watched = (call_in_child(&forget_pinned), true);
  Table& all = table();
  const std::lock_guard lock(all.mutex);
  std::size_t index = all.used;
  if (!all.free.empty()) {
    index = all.free.back();
    all.free.pop_back();
  } else {
    if (index > kIndexMask) throw std::bad_alloc();
    if (!slot_of(index))
      all.chunks[index / kChunk].store(std::make_unique<Slot[]>(kChunk).release(), std::memory_order_release);
    all.free.reserve(all.used + 1);  // so that close_handle has room and cannot throw
    ++all.used;
  }
  Slot& slot = *slot_of(index);
  slot.generation = (slot.generation + 1) & kGenerationMask;
  const std::uintptr_t value = kMarker | slot.generation << (kKindBits + kIndexBits) |
                               static_cast<std::uintptr_t>(index) << kKindBits | static_cast<std::uintptr_t>(kind);
  void* handle = reinterpret_cast<void*>(value);
  slot.object.store(object, std::memory_order_relaxed);
  slot.state.store(open_state(handle), std::memory_order_release);
  return handle;
}

void* pin_handle(const void* handle, Kind kind) noexcept {
  const auto value = reinterpret_cast<std::uintptr_t>(handle);
  Slot* slot = nullptr;
  if ((value & ((std::uintptr_t{1} << kKindBits) - 1)) == static_cast<std::uintptr_t>(kind) &&
      (value & kMarkerMask) == kMarker)
    slot = slot_of(index_of(handle));
  if (!slot) return refuse(handle, kind, false);
  const std::uint64_t open = open_state(handle);
  std::uint64_t state = slot->state.load(std::memory_order_relaxed);
  while ((state & ~kPinMask) == open) {
    if (!slot->state.compare_exchange_weak(state, state + 1, std::memory_order_acquire, std::memory_order_relaxed))
      continue;
    return slot->object.load(std::memory_order_relaxed);
  }
  return refuse(handle, kind, state == (open >> 32 << 32 | kPinMask));
}

void unpin_handle(const void* handle) noexcept {
  slot_of(index_of(handle))->state.fetch_sub(1, std::memory_order_release);
}

linkcast_status close_handle(const void* handle, Kind kind) noexcept {
  const std::size_t index = index_of(handle);
  Table& all = table();
  const std::lock_guard lock(all.mutex);
  Slot& slot = *slot_of(index);
  std::uint64_t mine_alone = open_state(handle) + 1;
  if (!slot.state.compare_exchange_strong(mine_alone, 0, std::memory_order_acq_rel, std::memory_order_relaxed))
    return fail(LINKCAST_ERROR_BUSY, "%s: another thread is calling on it", kind_name(kind));
  slot.object.store(nullptr, std::memory_order_relaxed);
  all.free.push_back(index);
  return LINKCAST_OK;
}

}  // namespace linkcast::c_api
