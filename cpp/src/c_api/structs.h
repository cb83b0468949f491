// Structs that begin with their size: those of an older header get the defaults of what they lack, those of a newer one
// are taken as long as they ask for nothing that is not known here.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "c_api/status.h"

namespace linkcast::c_api {

/// How much longer a later version's struct may be: beyond it, a size was never set.
constexpr std::size_t kRoomToGrow = 256;

/// Reads `given` over the defaults in `own`. Null gives those.
/// @param first  size of the struct in the first version that had it
template <class Struct>
linkcast_status read_struct(const Struct* given, std::size_t first, Struct& own) noexcept {
  if (!given) return LINKCAST_OK;
  const std::size_t size = given->size;
  if (size < first || size > sizeof(Struct) + kRoomToGrow)
    return fail(LINKCAST_ERROR_STRUCT_SIZE, "size: expected %zu to %zu bytes, got %zu", first, sizeof(Struct), size);
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  for (std::size_t k = sizeof(Struct); k < size; ++k)
    if (bytes[k] != 0)
      return fail(LINKCAST_ERROR_STRUCT_SIZE,
                  "size: %zu bytes with a field that this version (%zu bytes) does not know", size, sizeof(Struct));
  std::memcpy(&own, given, std::min(size, sizeof(Struct)));
  own.size = sizeof(Struct);
  return LINKCAST_OK;
}

/// What a caller gave as an enum: any number, so that it can't be read as one before it is known to be one.
template <class Enum>
int number_of(const Enum& given) noexcept {
  int number = 0;
  static_assert(sizeof(number) == sizeof(given));
  std::memcpy(&number, &given, sizeof(number));
  return number;
}

/// Whether `out` can be written: null is fine, and gets nothing.
template <class Struct>
linkcast_status check_struct(const Struct* out, std::size_t first) noexcept {
  if (!out || (out->size >= first && out->size <= sizeof(Struct) + kRoomToGrow)) return LINKCAST_OK;
  return fail(LINKCAST_ERROR_STRUCT_SIZE, "size: expected %zu to %zu bytes, got %zu", first, sizeof(Struct), out->size);
}

/// Writes what fits of `own` into `out`, whose size stays.
template <class Struct>
void write_struct(Struct own, Struct* out) noexcept {
  if (!out) return;
  own.size = out->size;
  std::memcpy(static_cast<void*>(out), &own, std::min(own.size, sizeof(Struct)));
}

/// The k-th of an array: they lie as far apart as the caller's struct is large.
template <class Struct>
Struct& struct_at(Struct* array, std::size_t k) noexcept {
  return *reinterpret_cast<Struct*>(reinterpret_cast<unsigned char*>(array) + k * array->size);
}

/// Whether an array can be read and written: each of its structs says the same size, a known one.
template <class Struct>
linkcast_status check_structs(const Struct* array, std::size_t count, std::size_t first) noexcept {
  if (const auto status = check_struct(array, first)) return status;
  for (std::size_t k = 1; k < count; ++k) {
    const std::size_t size = struct_at(const_cast<Struct*>(array), k).size;
    if (size != array->size)
      return fail(LINKCAST_ERROR_STRUCT_SIZE, "size: expected the same in each of %zu structs, got %zu and %zu", count,
                  array->size, size);
  }
  return LINKCAST_OK;
}

}  // namespace linkcast::c_api
