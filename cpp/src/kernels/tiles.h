// Products on matrix tiles (Intel AMX): up to sixteen rows of operands times sixteen outputs, sixteen groups of k deep,
// in one instruction. `Tiles` is the unit that does it: the CPU's (kernels_avx512_amx.cpp), or one in plain C++ that
// the tests have (cpp/tests/tiles_emulated.h).
//
// A tile of weights loads in the same time for one row of operands as for sixteen. So rows go in blocks as large as the
// unit takes and as even as they come, all of one size: the last block reaches back over rows that are done. Then one
// configuration serves a whole call. Weights are read as they are packed: in a panel [group of k][vector][lane][k in
// the group], a vector's tile is its column of sixteen groups, a panel's width apart; the rest of the depth is a tile
// of fewer groups. Nothing is padded, and nothing beyond the end is read.
//
// The sums of a row don't depend on the rows beside it, and on their way they pass through memory as they are. So a row
// has the same bits in every batch, and step by step as in a whole run.
#pragma once

#include <utility>

#include "dense.h"
#include "lstm.h"
#include "normalise.h"
#include "recurrence.h"
#include "vec_avx512.h"

namespace linkcast::kernels {
namespace {

/// The operand of LDTILECFG and STTILECFG (Intel SDM volume 2), palette 1.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

constexpr std::size_t tile_groups = 16;     // of k in a whole tile: four bytes each
constexpr std::size_t tile_row_bytes = 64;  // sixteen float sums, sixteen groups of operands, a vector of weights

/// The eight registers: sums first, then for each shape of operands one tile of rows and one of weights. A product has
/// whole tiles and a rest, and an LSTM has two products: three shapes at most, and then two sums at a time.
constexpr int sums_beside(int shapes) { return shapes == 3 ? 2 : 4; }
constexpr int rows_tile(int shapes, int shape) { return sums_beside(shapes) + 2 * shape; }
/// With one shape, three tiles of weights take turns.
constexpr int weights_tile(int shapes, int shape, int vector) {
  return rows_tile(shapes, shape) + 1 + (shapes == 1 ? vector % 3 : 0);
}

/// `total` rows in blocks of one size. Of the last block only the rows behind `done(block)` are new.
struct RowBlocks {
  std::size_t total, count, rows;
  RowBlocks(std::size_t all, std::size_t most)
      : total(all), count((all + most - 1) / most), rows((all + count - 1) / count) {}
  std::size_t first(std::size_t block) const { return block + 1 < count ? block * rows : total - rows; }
  std::size_t done(std::size_t block) const { return block * rows - first(block); }
};

/// One product of a call.
struct TileProduct {
  const Matrix* matrix = nullptr;
  const Operand* x = nullptr;
  std::size_t groups = 0;  // of k
  int rest_shape = 0;      // of the tiles that hold the groups behind the last whole tile
};

/// The products of a call, at most two, and how tiles and rows are cut for them.
template <class Product>
struct TileCall {
  RowBlocks blocks;
  TileProduct products[2];
  int count = 0;  // of products
  int shapes = 0;
  std::uint8_t shape_groups[3] = {};

  explicit TileCall(std::size_t rows) : blocks(rows, Product::block_rows) {}

  void add(const Matrix& matrix, const Operand& x) {
    products[count++] = {&matrix, &x, (matrix.depth + Product::group - 1) / Product::group, 0};
  }

  /// Whole tiles are shape 0 where there are any.
  void configure() {
    for (int p = 0; p < count; ++p) {
      if (products[p].groups >= tile_groups) shape_of(tile_groups);
    }
    for (int p = 0; p < count; ++p) {
      if (products[p].groups % tile_groups != 0) products[p].rest_shape = shape_of(products[p].groups % tile_groups);
    }
    TileConfig config;
    const auto rows = static_cast<std::uint8_t>(blocks.rows * Product::tile_rows);
    const auto set = [&config](int tile, std::uint8_t tile_rows, std::size_t row_bytes) {
      config.rows[tile] = tile_rows;
      config.row_bytes[tile] = static_cast<std::uint16_t>(row_bytes);
    };
    for (int sum = 0; sum < sums_beside(shapes); ++sum) set(sum, rows, tile_row_bytes);
    for (int shape = 0; shape < shapes; ++shape) {
      set(rows_tile(shapes, shape), rows, std::size_t{4} * shape_groups[shape]);
      for (int vector = 0; vector < 3; ++vector) {
        set(weights_tile(shapes, shape, vector), shape_groups[shape], tile_row_bytes);
      }
    }
    Product::Tiles::configure(config);
  }

 private:
  int shape_of(std::size_t groups) {
    for (int shape = 0; shape < shapes; ++shape) {
      if (shape_groups[shape] == groups) return shape;
    }
    shape_groups[shapes] = static_cast<std::uint8_t>(groups);
    return shapes++;
  }
};

/// One tile deep: the sums in the first tiles += rows * weights of the vectors V.
template <class Product, int Shapes, int Shape, int... V>
LINKCAST_INLINE void multiply_tile(std::integer_sequence<int, V...>, const char* rows, std::size_t row_stride,
                                   const char* weights, std::size_t group_stride) {
  using Tiles = typename Product::Tiles;
  constexpr int r = rows_tile(Shapes, Shape);
  Tiles::template load<r>(rows, row_stride);
  ((Tiles::template load<weights_tile(Shapes, Shape, V)>(weights + V * tile_row_bytes, group_stride),
    Product::template multiply<V, r, weights_tile(Shapes, Shape, V)>()),
   ...);
}

/// N sums from `vector` of a panel on, which is `width` vectors wide, for the block of rows at `row`.
template <class Product, int Shapes, int N>
LINKCAST_INLINE void multiply_depth(const TileProduct& product, std::size_t panel, std::size_t width, int vector,
                                    std::size_t row) {
  constexpr std::make_integer_sequence<int, N> vectors;
  const std::size_t group_stride = width * tile_row_bytes;
  const std::size_t row_stride = product.x->stride / Product::tile_rows;
  const char* rows = static_cast<const char*>(product.x->data) + row * product.x->stride;
  const char* weights = static_cast<const char*>(product.matrix->weights) +
                        panel * product.groups * 4 * tile_row_bytes + static_cast<std::size_t>(vector) * tile_row_bytes;
  std::size_t left = product.groups;
  for (; left >= tile_groups; left -= tile_groups) {
    multiply_tile<Product, Shapes, 0>(vectors, rows, row_stride, weights, group_stride);
    rows += 4 * tile_groups;
    weights += tile_groups * group_stride;
  }
  if (left == 0) return;
  if constexpr (Shapes == 1) {
    multiply_tile<Product, Shapes, 0>(vectors, rows, row_stride, weights, group_stride);
  } else if constexpr (Shapes == 2) {
    if (product.rest_shape == 0) {
      multiply_tile<Product, Shapes, 0>(vectors, rows, row_stride, weights, group_stride);
    } else {
      multiply_tile<Product, Shapes, 1>(vectors, rows, row_stride, weights, group_stride);
    }
  } else if (product.rest_shape == 1) {
    multiply_tile<Product, Shapes, 1>(vectors, rows, row_stride, weights, group_stride);
  } else {
    multiply_tile<Product, Shapes, 2>(vectors, rows, row_stride, weights, group_stride);
  }
}

template <class Tiles, int... V>
LINKCAST_INLINE void zero_sums(std::integer_sequence<int, V...>) {
  (Tiles::template zero<V>(), ...);
}
template <class Tiles, int... V>
LINKCAST_INLINE void load_sums(std::integer_sequence<int, V...>, const float* from, std::size_t stride) {
  (Tiles::template load<V>(from + 16 * V, stride * sizeof(float)), ...);
}
template <class Tiles, class T, int... V>
LINKCAST_INLINE void store_sums(std::integer_sequence<int, V...>, T* to) {
  (Tiles::template store<V>(to + 16 * V, 4 * tile_row_bytes), ...);
}

/// What the sums of a panel start from: the same for every row when the stride is 0.
struct TileStart {
  const float* sums;
  std::size_t stride;  // floats
};

/// bfloat16 in pairs, summed in float32 on top of what they start from.
template <class Unit, class Rows>
struct TileBf16 : Rows {
  using Tiles = Unit;
  static constexpr std::size_t tile_rows = 1;  // of a row
  static constexpr std::size_t block_rows = 16;

  struct Sums {
    alignas(64) float values[16][4][16];
  };

  template <int Sum, int A, int B>
  static LINKCAST_INLINE void multiply() {
    Tiles::template dot_bf16<Sum, A, B>();
  }

  template <int Shapes, int P>
  static LINKCAST_INLINE void add(const TileCall<TileBf16>& call, const TileStart& start, std::size_t panel,
                                  std::size_t row, Sums& sums) {
    constexpr int n = P < sums_beside(Shapes) ? P : sums_beside(Shapes);
    static_assert(P % n == 0);
    constexpr std::make_integer_sequence<int, n> tiles;
    for (int v = 0; v < P; v += n) {
      load_sums<Tiles>(tiles, start.sums + row * start.stride + 16 * v, start.stride);
      for (int p = 0; p < call.count; ++p) multiply_depth<TileBf16, Shapes, n>(call.products[p], panel, P, v, row);
      store_sums<Tiles>(tiles, &sums.values[0][v][0]);
    }
  }

  /// Of row `row + r`.
  static LINKCAST_INLINE __m512 value(const TileCall<TileBf16>& /*call*/, const TileStart& /*start*/,
                                      std::size_t /*panel*/, std::size_t /*row*/, const Sums& sums, std::size_t r,
                                      int v) {
    return _mm512_load_ps(sums.values[r][v]);
  }
};

/// Bytes in fours, summed exactly: the high and the low bytes of a row are two rows of a tile. Sums become floats as
/// with the CPU's byte dot product (kernels_avx512_vnni.cpp), and are the same bit for bit.
template <class Unit, class Rows>
struct TileInt8 : Rows {
  using Tiles = Unit;
  static constexpr std::size_t tile_rows = 2;  // of a row
  static constexpr std::size_t block_rows = 8;

  struct Sums {
    alignas(64) std::int32_t values[2][16][4][16];  // of each product
  };

  template <int Sum, int A, int B>
  static LINKCAST_INLINE void multiply() {
    Tiles::template dot_u8s8<Sum, A, B>();
  }

  template <int Shapes, int P>
  static LINKCAST_INLINE void add(const TileCall<TileInt8>& call, const TileStart& /*start*/, std::size_t panel,
                                  std::size_t row, Sums& sums) {
    constexpr int n = P < sums_beside(Shapes) ? P : sums_beside(Shapes);
    static_assert(P % n == 0);
    constexpr std::make_integer_sequence<int, n> tiles;
    for (int v = 0; v < P; v += n) {
      for (int p = 0; p < call.count; ++p) {
        zero_sums<Tiles>(tiles);
        multiply_depth<TileInt8, Shapes, n>(call.products[p], panel, P, v, row);
        store_sums<Tiles>(tiles, &sums.values[p][0][v][0]);
      }
    }
  }

  static LINKCAST_INLINE __m512 value(const TileCall<TileInt8>& call, const TileStart& start, std::size_t panel,
                                      std::size_t row, const Sums& sums, std::size_t r, int v) {
    __m512 sum = _mm512_loadu_ps(start.sums + (row + r) * start.stride + 16 * v);
    for (int p = 0; p < call.count; ++p) {
      const Matrix& matrix = *call.products[p].matrix;
      const Operand& x = *call.products[p].x;
      const std::size_t first = (panel * 4 + static_cast<std::size_t>(v)) * 16;
      sum = Rows::add_integers(
          sum, _mm512_add_epi32(_mm512_load_si512(sums.values[p][2 * r][v]), Rows::first_of_high(matrix, panel, v)),
          _mm512_load_si512(sums.values[p][2 * r + 1][v]), matrix, first,
          x.scale == nullptr ? 1.0f / Rows::largest : x.scale[row + r]);
    }
    return sum;
  }
};

template <class Product, int Shapes, int P>
LINKCAST_INLINE void tile_dense_panel(const TileCall<Product>& call, const DenseLayer& layer, const DenseOutput& out,
                                      std::size_t panel) {
  typename Product::Sums sums;
  const TileStart start{layer.bias + panel * 4 * 16, 0};
  for (std::size_t block = 0; block < call.blocks.count; ++block) {
    const std::size_t row = call.blocks.first(block);
    Product::template add<Shapes, P>(call, start, panel, row, sums);
    for (std::size_t r = call.blocks.done(block); r < call.blocks.rows; ++r) {
      __m512 sum[1][P];
      LINKCAST_UNROLL
      for (int v = 0; v < P; ++v) sum[0][v] = Product::value(call, start, panel, row, sums, r, v);
      dense_store<Product, 1, P>(layer, sum, out, panel, row + r);
    }
  }
}

template <class Product, int Shapes>
void tile_dense_panels(const TileCall<Product>& call, const DenseLayer& layer, const DenseOutput& out) {
  const std::size_t whole = layer.matrix.vectors / 4;
  for (std::size_t panel = 0; panel < whole; ++panel) tile_dense_panel<Product, Shapes, 4>(call, layer, out, panel);
  switch (layer.matrix.vectors % 4) {
    case 1:
      return tile_dense_panel<Product, Shapes, 1>(call, layer, out, whole);
    case 2:
      return tile_dense_panel<Product, Shapes, 2>(call, layer, out, whole);
    case 3:
      return tile_dense_panel<Product, Shapes, 3>(call, layer, out, whole);
    default:
      return;
  }
}

template <class Product>
void tile_dense(const DenseLayer& layer, const Operand& x, std::size_t rows, float* y, std::size_t y_stride,
                std::size_t outputs, bool /*second_first*/) {
  if (rows == 0) return;
  TileCall<Product> call(rows);
  call.add(layer.matrix, x);
  call.configure();
  const DenseOutput out{y, y_stride, outputs};
  call.shapes == 1 ? tile_dense_panels<Product, 1>(call, layer, out) : tile_dense_panels<Product, 2>(call, layer, out);
  if (layer.activation == Activation::tanh || layer.activation == Activation::sigmoid) {
    activate_rows<CoarseAvx512>(y, y_stride, rows, outputs, layer.activation);
  }
}

/// Shapes is 0 when nothing is to be multiplied: the first step of an input that has been projected.
template <class Product, int Shapes>
void tile_lstm_blocks(const TileCall<Product>& call, const LstmArgs& args) {
  typename Product::Sums sums;
  const std::size_t units = args.recurrent.vectors / 4;  // blocks of sixteen
  for (std::size_t i = 0; i < units; ++i) {
    const std::size_t unit = args.reverse ? units - 1 - i : i;
    const TileStart start{args.gates + unit * 64, args.gates_stride};
    for (std::size_t block = 0; block < call.blocks.count; ++block) {
      const std::size_t row = call.blocks.first(block);
      if constexpr (Shapes > 0) Product::template add<Shapes, 4>(call, start, unit, row, sums);
      for (std::size_t r = call.blocks.done(block); r < call.blocks.rows; ++r) {
        __m512 gates[4];
        LINKCAST_UNROLL
        for (int v = 0; v < 4; ++v) {
          if constexpr (Shapes > 0) {
            gates[v] = Product::value(call, start, unit, row, sums, r, v);
          } else {
            gates[v] = _mm512_loadu_ps(start.sums + (row + r) * start.stride + 16 * v);
          }
        }
        lstm_state<Product>(args, unit, row + r, gates);
      }
    }
  }
}

template <class Product>
void tile_lstm_step(const LstmArgs& args) {
  if (args.rows == 0) return;
  TileCall<Product> call(args.rows);
  if (args.x.data != nullptr) call.add(args.input, args.x);
  if (args.h.data != nullptr) call.add(args.recurrent, args.h);
  if (call.count == 0) return tile_lstm_blocks<Product, 0>(call, args);
  call.configure();
  switch (call.shapes) {
    case 1:
      return tile_lstm_blocks<Product, 1>(call, args);
    case 2:
      return tile_lstm_blocks<Product, 2>(call, args);
    default:
      return tile_lstm_blocks<Product, 3>(call, args);
  }
}

/// multiply_panels on tiles, which read weights in one order.
template <class Product>
void tile_multiply(const DenseLayer& layer, const Operand& x, std::size_t rows, float* y, std::size_t stride,
                   bool /*reverse*/) {
  tile_dense<Product>(layer, x, rows, y, stride, layer.matrix.vectors * 16, false);
}

template <class Product>
constexpr Kernels make_tile_kernels(const char* name) {
  Kernels table;
  table.isa = Isa::avx512;
  table.name = name;
  table.format = Product::format;
  table.lanes = 16;
  table.group = Product::group;
  table.encoded = true;
  table.projection_rows = 16;  // from a whole tile on, projecting all steps at once saves no load of weights
  table.rows_apart = true;
  table.encoded_bytes = Product::encoded_bytes;
  table.encode = Product::encode;
  table.state_scale = fixed_scale<Product>();
  table.dense = tile_dense<Product>;
  table.lstm_step = tile_lstm_step<Product>;
  table.recurrence_step = recurrence_step<Product, tile_multiply<Product>>;
  table.affine = affine<CoarseAvx512>;
  table.softmax = softmax<CoarseAvx512>;
  table.normalise = normalise<CoarseAvx512>;
  table.release = Product::Tiles::release;
  return table;
}

}  // namespace
}  // namespace linkcast::kernels
