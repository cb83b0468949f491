// bfloat16 weights and inputs, multiplied as they are and summed in float32: BFDOT takes two neighbouring k of a unit in
// each lane, BFMMLA four k of two units and two rows. Both round inner sums to odd and flush subnormal numbers, far below
// bfloat16's own rounding.
#include "table.h"
#include "vec_neon.h"

namespace linkcast::kernels {
namespace {

/// Eight weights. In a register before the first product: else GCC 12 reads them one by one between the products, and
/// not in pairs.
LINKCAST_INLINE bfloat16x8_t load_eight(const char* p) {
  float32x4_t weights = vld1q_f32(reinterpret_cast<const float*>(p));
  __asm__("" : "+w"(weights));
  return vreinterpretq_bf16_f32(weights);
}

/// Rows as bfloat16, with zeros up to a multiple of four. No scale.
struct EncodedBf16 {
  static constexpr WeightFormat format = WeightFormat::bfloat16;
  static constexpr bool encoded = true;

  static std::size_t encoded_bytes(std::size_t depth) { return (depth + 3) / 4 * 8; }

  static void encode(const float* x, std::size_t stride, std::size_t rows, std::size_t depth, void* out,
                     std::size_t out_stride, float* /*scale*/) {
    for (std::size_t row = 0; row < rows; ++row) {
      const float* from = x + row * stride;
      char* to = static_cast<char*>(out) + row * out_stride;
      for (std::size_t k = 0; k < depth; k += 4) {
        const auto values = k + 4 <= depth ? VecNeon::load(from + k) : VecNeon::load_first(from + k, depth - k);
        encode_hidden(values, to, out_stride, k / 4);
      }
    }
  }

  static LINKCAST_INLINE void encode_hidden(float32x4_t h, char* row, std::size_t /*stride*/, std::size_t block) {
    vst1_bf16(reinterpret_cast<bfloat16_t*>(row + block * 8), vcvt_bf16_f32(h));
  }
};

struct ProductBf16Dot : EncodedBf16 {
  using Vec = VecNeon;
  using Float = float32x4_t;
  static constexpr int max_rows = 5;  // of six, some sums would not stay in registers
  static constexpr std::size_t group = 2;

  struct Ops {
    using Sum = float32x4_t;
    using Weight = bfloat16x8_t;
    using Input = bfloat16x4_t;  // a pair, and nothing behind it
    static constexpr std::ptrdiff_t vector_bytes = 16;
    static constexpr std::ptrdiff_t input_bytes = 4;
    static LINKCAST_INLINE Sum zero() { return vdupq_n_f32(0.0f); }
    static LINKCAST_INLINE Sum add(Sum a, Sum b) { return vaddq_f32(a, b); }
    static LINKCAST_INLINE Weight load_weight(const char* p) { return load_eight(p); }
    static LINKCAST_INLINE Input load_input(const char* p) {
      return vcreate_bf16(*reinterpret_cast<const std::uint32_t*>(p));
    }
    static LINKCAST_INLINE void multiply_add(Sum& sum, Weight w, Input x) { sum = vbfdotq_lane_f32(sum, w, x, 0); }
  };

  template <int R, int P, bool Reverse, int S = split_of(R * P)>
  static LINKCAST_INLINE void add(Float (&sum)[R][P], const Matrix& matrix, std::size_t panel, const Operand& x,
                                  std::size_t row) {
    const std::size_t groups = (matrix.depth + 1) / 2;
    multiply_panel<Ops, R, P, Reverse, S>(sum, matrix, panel, groups, x, row);
  }
};

/// Rows go two by two, an odd one beside itself: a row's sums are the same whatever stands beside it.
struct ProductBf16Matrix : EncodedBf16 {
  using Vec = VecNeon;
  using Float = float32x4_t;
  static constexpr int max_rows = 6;  // 24 registers of sums, three of inputs and two of weights
  static constexpr std::size_t group = 4;
  static constexpr std::ptrdiff_t vector_bytes = 32;
  static constexpr std::ptrdiff_t input_bytes = 8;

  /// Outputs 0 and 1 of a vector for both rows, then 2 and 3.
  struct Tile {
    float32x4_t first, second;
  };

  /// Four k of row 2 i and of the row behind it, or of the first twice.
  template <int R>
  static LINKCAST_INLINE bfloat16x8_t load_rows(const char* const (&rows)[R], int i) {
    float64x2_t both = vld1q_dup_f64(reinterpret_cast<const double*>(rows[2 * i]));
    if (2 * i + 1 < R)
      both = vld1q_lane_f64(reinterpret_cast<const double*>(rows[2 * i + 1 < R ? 2 * i + 1 : 0]), both, 1);
    return vreinterpretq_bf16_f64(both);
  }

  template <int R, int P, bool Reverse, int S = 1>  // never split: a vector has two sums as it is
  static LINKCAST_INLINE void add(Float (&sum)[R][P], const Matrix& matrix, std::size_t panel, const Operand& x,
                                  std::size_t row) {
    constexpr int pairs = (R + 1) / 2;
    constexpr std::ptrdiff_t width = P < 4 ? P : 4;
    const auto groups = static_cast<std::ptrdiff_t>((matrix.depth + group - 1) / group);
    const std::ptrdiff_t panel_bytes = groups * 4 * vector_bytes;
    const std::ptrdiff_t first = Reverse ? groups - 1 : 0;
    const char* w = static_cast<const char*>(matrix.weights) + static_cast<std::ptrdiff_t>(panel) * panel_bytes +
                    first * width * vector_bytes;
    const char* rows[R];
    Tile tiles[pairs][P];
    LINKCAST_UNROLL
    for (int r = 0; r < R; ++r) {
      rows[r] = static_cast<const char*>(x.data) + (row + static_cast<std::size_t>(r)) * x.stride + first * input_bytes;
    }
    LINKCAST_UNROLL
    for (int i = 0; i < pairs; ++i) {
      LINKCAST_UNROLL
      for (int v = 0; v < P; ++v) tiles[i][v] = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)};
    }
    for (std::ptrdiff_t g = 0; g < groups; ++g) {
      bfloat16x8_t both[pairs];
      LINKCAST_UNROLL
      for (int i = 0; i < pairs; ++i) both[i] = load_rows<R>(rows, i);
      LINKCAST_UNROLL
      for (int v = 0; v < P; ++v) {
        const char* at = w + v / 4 * panel_bytes + v % 4 * vector_bytes;
        const bfloat16x8_t first_two = load_eight(at);
        const bfloat16x8_t last_two = load_eight(at + 16);
        LINKCAST_UNROLL
        for (int i = 0; i < pairs; ++i) {
          tiles[i][v].first = vbfmmlaq_f32(tiles[i][v].first, both[i], first_two);
          tiles[i][v].second = vbfmmlaq_f32(tiles[i][v].second, both[i], last_two);
        }
      }
      w += (Reverse ? -1 : 1) * width * vector_bytes;
      LINKCAST_UNROLL
      for (int r = 0; r < R; ++r) rows[r] += (Reverse ? -1 : 1) * input_bytes;
    }
    LINKCAST_UNROLL
    for (int r = 0; r < R; ++r) {
      LINKCAST_UNROLL
      for (int v = 0; v < P; ++v) {
        const float64x2_t first_two = vreinterpretq_f64_f32(tiles[r / 2][v].first);
        const float64x2_t last_two = vreinterpretq_f64_f32(tiles[r / 2][v].second);
        const float64x2_t product = r % 2 == 0 ? vzip1q_f64(first_two, last_two) : vzip2q_f64(first_two, last_two);
        sum[r][v] = vaddq_f32(sum[r][v], vreinterpretq_f32_f64(product));
      }
    }
  }
};

}  // namespace

const Kernels& kernels_bf16_neon_dot() {
  static constexpr Kernels table = make_kernels<ProductBf16Dot>(Isa::neon, "bf16_neon_dot");
  return table;
}

const Kernels& kernels_bf16_neon_matrix() {
  static constexpr Kernels table = make_kernels<ProductBf16Matrix>(Isa::neon, "bf16_neon_matrix");
  return table;
}

}  // namespace linkcast::kernels
