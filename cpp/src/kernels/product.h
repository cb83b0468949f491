// The product of packed weights and a few rows: sum[r][v] += sum over k of w[k][v] * x[r][k], all sums in registers.
#pragma once

#include "activation.h"
#include "kernels.h"

namespace linkcast::kernels {
namespace {

/// The FMA has a latency of about four and one or two start each cycle: keep about eight sums in flight, by splitting k.
constexpr int split_of(int sums) { return sums >= 8 ? 1 : sums >= 4 ? 2 : sums >= 2 ? 4 : 8; }

template <class V>
LINKCAST_INLINE typename V::Float load_weight(const float* p) {
  return V::load(p);
}
template <class V>
LINKCAST_INLINE typename V::Float load_weight(const std::uint16_t* p) {
  return V::load_bf16(p);
}
template <class V>
LINKCAST_INLINE typename V::Float load_weight(const std::int8_t* p) {
  return V::load_int8(p);
}

constexpr WeightFormat format_of(float) { return WeightFormat::float32; }
constexpr WeightFormat format_of(std::uint16_t) { return WeightFormat::bfloat16; }
constexpr WeightFormat format_of(std::int8_t) { return WeightFormat::int8; }

/// Weights stored as float, bfloat16 (uint16_t) or int8; rows and arithmetic in float32.
template <class V, class Weight>
struct Product {
  using Vec = V;
  using Float = typename V::Float;
  static constexpr int max_rows = V::max_rows;
  static constexpr WeightFormat format = format_of(Weight{});
  static constexpr std::size_t group = 1;
  static constexpr bool encoded = false;

  /// @param panel    which panel of the matrix; it is P vectors wide
  /// @param row      first of R rows of x
  template <int R, int P, bool Reverse>
  static LINKCAST_INLINE void add(Float (&sum)[R][P], const Matrix& matrix, std::size_t panel, const Operand& x,
                                  std::size_t row) {
    if constexpr (format == WeightFormat::int8) {
      Float integers[R][P];
      for (int r = 0; r < R; ++r) {
        for (int v = 0; v < P; ++v) integers[r][v] = V::zero();
      }
      accumulate<R, P, Reverse>(integers, matrix, panel, x, row);
      for (int v = 0; v < P; ++v) {
        const Float scale = V::load(matrix.scale + (panel * 4 + static_cast<std::size_t>(v)) * V::lanes);
        for (int r = 0; r < R; ++r) sum[r][v] = V::fma(integers[r][v], scale, sum[r][v]);
      }
    } else {
      accumulate<R, P, Reverse>(sum, matrix, panel, x, row);
    }
  }

 private:
  template <int R, int P, bool Reverse>
  static LINKCAST_INLINE void accumulate(Float (&sum)[R][P], const Matrix& matrix, std::size_t panel, const Operand& x,
                                         std::size_t row) {
    constexpr int S = split_of(R * P);
    constexpr std::ptrdiff_t width = P * static_cast<std::ptrdiff_t>(V::lanes);
    constexpr std::ptrdiff_t direction = Reverse ? -1 : 1;
    const std::size_t depth = matrix.depth;
    const std::size_t first = Reverse ? depth - 1 : 0;
    const Weight* w = static_cast<const Weight*>(matrix.weights) + panel * 4 * V::lanes * depth + first * width;
    const float* rows[R];
    for (int r = 0; r < R; ++r) {
      const char* data = static_cast<const char*>(x.data) + (row + static_cast<std::size_t>(r)) * x.stride;
      rows[r] = reinterpret_cast<const float*>(data) + first;
    }
    Float split[S][R][P];
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < P; ++v) {
        split[0][r][v] = sum[r][v];
        for (int s = 1; s < S; ++s) split[s][r][v] = V::zero();
      }
    }
    std::size_t k = 0;
    for (; k + S <= depth; k += S) {
      for (int s = 0; s < S; ++s) {
        multiply_add<R, P>(split[s], w + s * direction * width, rows, s * direction);
      }
      w += S * direction * width;
      for (int r = 0; r < R; ++r) rows[r] += S * direction;
    }
    for (; k < depth; ++k) {
      multiply_add<R, P>(split[0], w, rows, 0);
      w += direction * width;
      for (int r = 0; r < R; ++r) rows[r] += direction;
    }
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < P; ++v) {
        for (int s = S / 2; s > 0; s /= 2) {
          for (int i = 0; i < s; ++i) split[i][r][v] = V::add(split[i][r][v], split[i + s][r][v]);
        }
        sum[r][v] = split[0][r][v];
      }
    }
  }

  template <int R, int P>
  static LINKCAST_INLINE void multiply_add(Float (&sum)[R][P], const Weight* w, const float* const (&rows)[R],
                                           std::ptrdiff_t k) {
    Float weights[P];
    for (int v = 0; v < P; ++v) weights[v] = load_weight<V>(w + v * static_cast<std::ptrdiff_t>(V::lanes));
    for (int r = 0; r < R; ++r) {
      const Float x = V::set(rows[r][k]);
      for (int v = 0; v < P; ++v) sum[r][v] = V::fma(weights[v], x, sum[r][v]);
    }
  }
};

/// Calls body.template operator()<R>(row) for blocks of rows, as even as they come, none larger than MaxRows.
template <int MaxRows, class Body>
LINKCAST_INLINE void for_row_blocks(std::size_t rows, const Body& body) {
  std::size_t blocks = (rows + MaxRows - 1) / MaxRows;
  for (std::size_t row = 0; row < rows; --blocks) {
    const std::size_t left = rows - row;
    const std::size_t count = (left + blocks - 1) / blocks;
    switch (count) {
      case 1:
        body.template operator()<1>(row);
        break;
      case 2:
        if constexpr (MaxRows >= 2) body.template operator()<2>(row);
        break;
      case 3:
        if constexpr (MaxRows >= 3) body.template operator()<3>(row);
        break;
      case 4:
        if constexpr (MaxRows >= 4) body.template operator()<4>(row);
        break;
      case 5:
        if constexpr (MaxRows >= 5) body.template operator()<5>(row);
        break;
      default:
        if constexpr (MaxRows >= 6) body.template operator()<6>(row);
        break;
    }
    row += count;
  }
}

}  // namespace
}  // namespace linkcast::kernels
