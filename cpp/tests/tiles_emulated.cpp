// The kernels on tiles as they are, on tiles in plain C++. Compiled with AVX-512's flags, like those.
#include "tiles_emulated.h"

#include "kernels/rows_bf16.h"
#include "kernels/rows_int8.h"
#include "kernels/tiles.h"
#include "tiles_kernels.h"

namespace tiles {

using linkcast::kernels::Kernels;

const Kernels& emulated_bf16() {
  using namespace linkcast::kernels;
  static constexpr Kernels table = make_tile_kernels<TileBf16<EmulatedTiles, RowsBf16>>("bf16_avx512_emulated");
  return table;
}

const Kernels& emulated_int8() {
  using namespace linkcast::kernels;
  static constexpr Kernels table = make_tile_kernels<TileInt8<EmulatedTiles, RowsInt8>>("int8_avx512_emulated");
  return table;
}

const char* fault() { return emulated_unit.fault; }
bool in_use() { return EmulatedTiles::configured(); }
int configurations() { return emulated_unit.configurations; }

}  // namespace tiles
