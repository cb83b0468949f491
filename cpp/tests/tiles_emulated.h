// The tile unit of Intel AMX in plain C++, for machines without one: palette 1 of the SDM, volume 2 (LDTILECFG,
// TILELOADD, TILESTORED, TDPBF16PS, TDPBUSD). Where the instruction would fault, nothing is done and the first reason is
// kept. Left out: TILELOADD's restart after a fault in the middle, and the address checks; the memory it touches is
// touched here byte for byte, so that a sanitizer sees it.
//
// In an unnamed namespace: each translation unit has its own unit, compiled with its own flags.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace {

struct EmulatedTile {
  std::size_t rows = 0;
  std::size_t row_bytes = 0;
  unsigned char bytes[16][64] = {};
};

/// Of one thread.
struct EmulatedUnit {
  unsigned char config[64] = {};  // as STTILECFG stores it: all zero when no tiles are configured
  EmulatedTile tiles[8];
  const char* fault = "";
  int configurations = 0;  // loaded so far
};

thread_local EmulatedUnit emulated_unit;

struct EmulatedTiles {
  static bool configured() { return emulated_unit.config[0] != 0; }

  static void fault(const char* why) {
    if (emulated_unit.fault[0] == '\0') emulated_unit.fault = why;
  }

  /// LDTILECFG, where STTILECFG gives something else.
  template <class Config>
  static void configure(const Config& wanted) {
    static_assert(sizeof(Config) == 64);
    EmulatedUnit& unit = emulated_unit;
    unsigned char bytes[64];
    std::memcpy(bytes, &wanted, 64);
    if (std::memcmp(bytes, unit.config, 64) == 0) return;
    ++unit.configurations;
    if (reinterpret_cast<std::uintptr_t>(&wanted) % 64 != 0) return fault("a configuration that crosses cache lines");
    if (bytes[0] != 1) return fault("a palette other than 1");
    for (int i = 1; i < 64; ++i) {
      const bool used = (i >= 16 && i < 32) || (i >= 48 && i < 56);
      if (!used && bytes[i] != 0) return fault("reserved bytes of the configuration");
    }
    EmulatedTile tiles[8];
    for (int t = 0; t < 8; ++t) {
      tiles[t].row_bytes = static_cast<std::size_t>(bytes[16 + 2 * t] | bytes[17 + 2 * t] << 8);
      tiles[t].rows = bytes[48 + t];
      if (tiles[t].row_bytes > 64) return fault("a tile with more than 64 bytes in a row");
      if (tiles[t].rows > 16) return fault("a tile with more than 16 rows");
      if ((tiles[t].rows == 0) != (tiles[t].row_bytes == 0)) return fault("a tile with rows or columns alone");
    }
    std::memcpy(unit.config, bytes, 64);
    std::memcpy(unit.tiles, tiles, sizeof tiles);
  }

  /// A tile that can be used: configured, with whole elements of four bytes.
  static EmulatedTile* usable(int t) {
    EmulatedTile& tile = emulated_unit.tiles[t];
    if (!configured() || tile.rows == 0) {
      fault("a tile that is not configured");
      return nullptr;
    }
    if (tile.row_bytes % 4 != 0) {
      fault("a tile whose rows are not whole elements");
      return nullptr;
    }
    return &tile;
  }

  template <int T>
  static void zero() {
    if (EmulatedTile* tile = usable(T)) std::memset(tile->bytes, 0, sizeof tile->bytes);
  }

  template <int T>
  static void load(const void* from, std::size_t stride) {
    EmulatedTile* tile = usable(T);
    if (tile == nullptr) return;
    std::memset(tile->bytes, 0, sizeof tile->bytes);
    for (std::size_t row = 0; row < tile->rows; ++row) {
      std::memcpy(tile->bytes[row], static_cast<const char*>(from) + row * stride, tile->row_bytes);
    }
  }

  template <int T>
  static void store(void* to, std::size_t stride) {
    const EmulatedTile* tile = usable(T);
    if (tile == nullptr) return;
    for (std::size_t row = 0; row < tile->rows; ++row) {
      std::memcpy(static_cast<char*>(to) + row * stride, tile->bytes[row], tile->row_bytes);
    }
  }

  /// Whether sum (m, n) += a (m, k) * b (k, n) fits, in elements of four bytes.
  static bool fits(int s, int x, int y) {
    if (s == x || s == y || x == y) fault("one tile as two operands");
    const EmulatedTile* sum = usable(s);
    const EmulatedTile* a = usable(x);
    const EmulatedTile* b = usable(y);
    if (sum == nullptr || a == nullptr || b == nullptr) return false;
    if (sum->rows != a->rows || sum->row_bytes != b->row_bytes || a->row_bytes / 4 != b->rows) {
      fault("a product of tiles whose sizes do not fit");
    }
    return emulated_unit.fault[0] == '\0';
  }

  /// Denormals are zero, on the way in and on the way out, whatever MXCSR says.
  static float flushed(float x) {
    return std::fabs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0f, x) : x;
  }
  static float from_bfloat16(const unsigned char* two_bytes) {
    const std::uint32_t bits = static_cast<std::uint32_t>(two_bytes[0]) << 16 | static_cast<std::uint32_t>(two_bytes[1])
                                                                                    << 24;
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return flushed(x);
  }

  /// The even and the odd elements are summed by themselves, from zero, each step rounded once.
  template <int S, int A, int B>
  static void dot_bf16() {
    if (!fits(S, A, B)) return;
    EmulatedTile& sum = emulated_unit.tiles[S];
    const EmulatedTile& a = emulated_unit.tiles[A];
    const EmulatedTile& b = emulated_unit.tiles[B];
    const std::size_t columns = sum.row_bytes / 4;
    for (std::size_t m = 0; m < sum.rows; ++m) {
      float even[16] = {}, odd[16] = {}, total[16];
      for (std::size_t k = 0; k < b.rows; ++k) {
        const float a0 = from_bfloat16(&a.bytes[m][4 * k]);
        const float a1 = from_bfloat16(&a.bytes[m][4 * k + 2]);
        for (std::size_t n = 0; n < columns; ++n) {
          even[n] = flushed(std::fma(a0, from_bfloat16(&b.bytes[k][4 * n]), even[n]));
          odd[n] = flushed(std::fma(a1, from_bfloat16(&b.bytes[k][4 * n + 2]), odd[n]));
        }
      }
      std::memcpy(total, sum.bytes[m], sum.row_bytes);
      for (std::size_t n = 0; n < columns; ++n) {
        const float both = flushed(even[n] + odd[n]);
        total[n] = flushed(flushed(total[n]) + both);
      }
      std::memcpy(sum.bytes[m], total, sum.row_bytes);
    }
  }

  /// Unsigned bytes of A times signed bytes of B, in fours; sums wrap around.
  template <int S, int A, int B>
  static void dot_u8s8() {
    if (!fits(S, A, B)) return;
    EmulatedTile& sum = emulated_unit.tiles[S];
    const EmulatedTile& a = emulated_unit.tiles[A];
    const EmulatedTile& b = emulated_unit.tiles[B];
    for (std::size_t m = 0; m < sum.rows; ++m) {
      std::uint32_t total[16];
      std::memcpy(total, sum.bytes[m], sum.row_bytes);
      for (std::size_t k = 0; k < b.rows; ++k) {
        for (std::size_t n = 0; n < sum.row_bytes / 4; ++n) {
          for (std::size_t i = 0; i < 4; ++i) {
            const std::int32_t product = a.bytes[m][4 * k + i] * static_cast<std::int8_t>(b.bytes[k][4 * n + i]);
            total[n] += static_cast<std::uint32_t>(product);
          }
        }
      }
      std::memcpy(sum.bytes[m], total, sum.row_bytes);
    }
  }

  static void release() {
    std::memset(emulated_unit.config, 0, 64);
    for (EmulatedTile& tile : emulated_unit.tiles) tile = {};
  }
};

}  // namespace
