#include "c_api/handles.h"

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

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
constexpr std::uintptr_t kMarker = kWide ? static_cast<std::uintptr_t>(std::uint64_t{0xA5} << 56) : 0;
constexpr std::size_t kChunk = 1024;
constexpr std::size_t kChunks = (kIndexMask + 1) / kChunk;

struct Slot {
  std::atomic<std::uintptr_t> handle{0};  // 0: free
  std::atomic<void*> object{nullptr};
  std::uintptr_t generation = 0;  // under the mutex
};

struct Table {
  std::mutex mutex;
  std::array<std::atomic<Slot*>, kChunks> chunks{};  // never freed: a stale handle may be looked up at any time
  std::size_t used = 0;                              // slots ever handed out; under the mutex
  std::vector<std::size_t> free;                     // of those; under the mutex
};

Table& table() {
  // Never destroyed, as handles may be closed while the process ends.
  static Table& only = *std::make_unique<Table>().release();
  return only;
}

Slot* slot_of(std::size_t index) noexcept {
  Slot* chunk = table().chunks[index / kChunk].load(std::memory_order_acquire);
  return chunk ? &chunk[index % kChunk] : nullptr;
}

}  // namespace

void* open_handle(Kind kind, void* object) {
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
  const std::uintptr_t handle = kMarker | slot.generation << (kKindBits + kIndexBits) |
                                static_cast<std::uintptr_t>(index) << kKindBits | static_cast<std::uintptr_t>(kind);
  slot.object.store(object, std::memory_order_relaxed);
  slot.handle.store(handle, std::memory_order_release);
  return reinterpret_cast<void*>(handle);
}

void* find_handle(const void* handle, Kind kind) noexcept {
  const auto value = reinterpret_cast<std::uintptr_t>(handle);
  if ((value & ((std::uintptr_t{1} << kKindBits) - 1)) != static_cast<std::uintptr_t>(kind)) return nullptr;
  const Slot* slot = slot_of((value >> kKindBits) & kIndexMask);
  if (!slot || slot->handle.load(std::memory_order_acquire) != value) return nullptr;
  return slot->object.load(std::memory_order_relaxed);
}

void close_handle(const void* handle) noexcept {
  const auto value = reinterpret_cast<std::uintptr_t>(handle);
  const std::size_t index = (value >> kKindBits) & kIndexMask;
  Table& all = table();
  const std::lock_guard lock(all.mutex);
  Slot* slot = slot_of(index);
  if (!slot || slot->handle.load(std::memory_order_relaxed) != value) return;
  slot->handle.store(0, std::memory_order_release);
  slot->object.store(nullptr, std::memory_order_relaxed);
  all.free.push_back(index);
}

}  // namespace linkcast::c_api
