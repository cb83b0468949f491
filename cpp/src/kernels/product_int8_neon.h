// int8 weights with one of the CPU's byte products, summed exactly in integers. For translation units compiled for it.
//
// Inputs are rounded to 16 bits, x = scale * q with q in -32639..32639, and go through the product as two signed bytes:
// q = 256 * high + low, so that no sum needs an offset. Both read the same weights from memory, and the finer inputs cost
// no bandwidth.
#pragma once

#include <cmath>
#include <limits>

#include "table.h"
#include "vec_neon.h"

namespace linkcast::kernels {
namespace {

/// `Bytes` is the instruction: how many k it takes (`group`), how it reads, and where it puts the sums of the high and
/// of the low bytes. An encoded row is [group of k][high bytes of the group, then its low bytes].
template <class Bytes>
struct ProductInt8Neon {
  using Vec = VecNeon;
  using Float = float32x4_t;
  static constexpr int max_rows = Bytes::max_rows;
  static constexpr WeightFormat format = WeightFormat::int8;
  static constexpr std::size_t group = Bytes::group;
  static constexpr bool encoded = true;
  static constexpr float largest = 32639.0f;  // 127 * 256 + 127: its high byte is 127 and not 128

  static std::size_t encoded_bytes(std::size_t depth) { return (depth + 7) / 8 * 16; }

  /// Eight integers, as the bytes of k .. k + 7, k a multiple of eight.
  static LINKCAST_INLINE void store_eight(int16x8_t q, char* row, std::size_t k) {
    // The high byte is rounded, so that what is left of q is the low byte with its sign.
    vst1q_s8(reinterpret_cast<std::int8_t*>(row + 2 * k), Bytes::arrange(vrshrn_n_s16(q, 8), vmovn_s16(q)));
  }

  static LINKCAST_INLINE int16x4_t quantise(Float x, float inverse) {
    return vmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(x, inverse)));
  }

  /// @param scale  (rows): largest magnitude of the row / 32639, NaN when a value is not finite. Null: it is 1 / 32639.
  static void encode(const float* x, std::size_t stride, std::size_t rows, std::size_t depth, void* out,
                     std::size_t out_stride, float* scale) {
    for (std::size_t row = 0; row < rows; ++row) {
      const float* from = x + row * stride;
      char* to = static_cast<char*>(out) + row * out_stride;
      float inverse = largest;
      if (scale != nullptr) {
        scale[row] = row_step(from, depth);
        inverse = scale[row] > 1e-37f ? 1.0f / scale[row] : 0.0f;
      }
      std::size_t k = 0;
      for (; k + 8 <= depth; k += 8) {
        const int16x4_t first = quantise(VecNeon::load(from + k), inverse);
        store_eight(vcombine_s16(first, quantise(VecNeon::load(from + k + 4), inverse)), to, k);
      }
      if (k < depth) {
        float rest[8] = {};
        for (std::size_t i = k; i < depth; ++i) rest[i - k] = from[i];
        const int16x4_t first = quantise(VecNeon::load(rest), inverse);
        store_eight(vcombine_s16(first, quantise(VecNeon::load(rest + 4), inverse)), to, k);
      }
    }
  }

  static LINKCAST_INLINE float row_step(const float* x, std::size_t depth) {
    Float most = VecNeon::zero();  // NaN once a value is
    std::size_t k = 0;
    for (; k + 4 <= depth; k += 4) most = vmaxq_f32(most, vabsq_f32(VecNeon::load(x + k)));
    if (k < depth) most = vmaxq_f32(most, vabsq_f32(VecNeon::load_first(x + k, depth - k)));
    const float step = vmaxvq_f32(most) * (1.0f / largest);
    return std::isfinite(step) ? step : std::numeric_limits<float>::quiet_NaN();
  }

  static LINKCAST_INLINE void encode_hidden(Float h, char* row, std::size_t /*stride*/, std::size_t block) {
    const int16x4_t q = quantise(h, largest);
    const int16x8_t twice = vcombine_s16(q, q);
    Bytes::store_four(vrshrn_n_s16(twice, 8), vmovn_s16(twice), row, block);
  }

  template <int R, int P, bool Reverse, int S = split_of(2 * R * P)>  // of integers, whose order is no matter
  static LINKCAST_INLINE void add(Float (&sum)[R][P], const Matrix& matrix, std::size_t panel, const Operand& x,
                                  std::size_t row) {
    const std::size_t groups = (matrix.depth + group - 1) / group;
    typename Bytes::Ops::Sum integers[R][P];
    LINKCAST_UNROLL
    for (int r = 0; r < R; ++r) {
      LINKCAST_UNROLL
      for (int v = 0; v < P; ++v) integers[r][v] = Bytes::Ops::zero();
    }
    multiply_panel<typename Bytes::Ops, R, P, Reverse, S>(integers, matrix, panel, groups, x, row);
    float step[R];  // of a high byte: 256 times that of a low one
    LINKCAST_UNROLL
    for (int r = 0; r < R; ++r) {
      step[r] = 256.0f * (x.scale == nullptr ? 1.0f / largest : x.scale[row + static_cast<std::size_t>(r)]);
    }
    LINKCAST_UNROLL
    for (int v = 0; v < P; ++v) {
      const Float scale = VecNeon::load(matrix.scale + (panel * 4 + static_cast<std::size_t>(v)) * VecNeon::lanes);
      LINKCAST_UNROLL
      for (int r = 0; r < R; ++r) {
        const Float low = vcvtq_n_f32_s32(Bytes::low(integers[r][v]), 8);
        const Float total = vaddq_f32(vcvtq_f32_s32(Bytes::high(integers[r][v])), low);
        sum[r][v] = vfmaq_f32(sum[r][v], total, vmulq_n_f32(scale, step[r]));
      }
    }
  }
};

/// The sums of a row and a vector of outputs, in two registers.
struct Int32Pair {
  int32x4_t first, second;
};

}  // namespace
}  // namespace linkcast::kernels
