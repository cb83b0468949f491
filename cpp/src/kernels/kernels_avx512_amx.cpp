// Products on the CPU's own matrix tiles. Written as assembly: GCC's intrinsics take a tile's number as a token, not as
// a template's parameter, and do not say that they read and write memory.
#include "rows_bf16.h"
#include "rows_int8.h"
#include "tiles.h"

namespace linkcast::kernels {
namespace {

/// The tiles of the thread that asks: Linux saves them with its other registers. A signal handler starts without any.
struct AmxTiles {
  /// Costs what loading a configuration costs (it clears all tiles) only where another one is loaded. The CPU is asked
  /// which that is, so that nothing has to be remembered for each thread, and other users of tiles do no harm.
  static LINKCAST_INLINE void configure(const TileConfig& wanted) {
    TileConfig now;
    __asm__ volatile("sttilecfg %0" : "=m"(now));
    if (_mm512_cmpneq_epi8_mask(_mm512_load_si512(&now), _mm512_load_si512(&wanted)) != 0) {
      __asm__ volatile("ldtilecfg %0" : : "m"(wanted));
    }
  }
  template <int T>
  static LINKCAST_INLINE void zero() {
    __asm__ volatile("tilezero %%tmm%c0" : : "i"(T));
  }
  template <int T>
  static LINKCAST_INLINE void load(const void* from, std::size_t stride) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(T) : "memory");
  }
  template <int T>
  static LINKCAST_INLINE void store(void* to, std::size_t stride) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(T) : "memory");
  }
  template <int Sum, int A, int B>
  static LINKCAST_INLINE void dot_bf16() {
    __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sum), "i"(A), "i"(B));
  }
  template <int Sum, int A, int B>
  static LINKCAST_INLINE void dot_u8s8() {
    __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sum), "i"(A), "i"(B));
  }
  /// Without tiles in use a context switch saves and restores 8 KB less.
  static void release() { __asm__ volatile("tilerelease"); }
};

}  // namespace

const Kernels& kernels_bf16_avx512_amx() {
  static constexpr Kernels table = make_tile_kernels<TileBf16<AmxTiles, RowsBf16>>("bf16_avx512_amx");
  return table;
}

const Kernels& kernels_int8_avx512_amx() {
  static constexpr Kernels table = make_tile_kernels<TileInt8<AmxTiles, RowsInt8>>("int8_avx512_amx");
  return table;
}

}  // namespace linkcast::kernels
