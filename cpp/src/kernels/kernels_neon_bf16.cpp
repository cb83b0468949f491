// bfloat16 weights and inputs with the CPU's dot product (BFDOT): two neighbouring k of a unit in each lane, summed in
// float32. The instruction rounds its inner sums to odd and flushes subnormal numbers, far below bfloat16's own rounding.
#include "table.h"
#include "vec_neon.h"

namespace linkcast::kernels {
namespace {

struct ProductBf16Dot {
  using Vec = VecNeon;
  using Float = float32x4_t;
  static constexpr int max_rows = VecNeon::max_rows;
  static constexpr WeightFormat format = WeightFormat::bfloat16;
  static constexpr std::size_t group = 2;
  static constexpr bool encoded = true;

  struct Ops {
    using Sum = float32x4_t;
    using Weight = bfloat16x8_t;
    using Input = bfloat16x4_t;  // a pair, and nothing behind it
    static constexpr std::ptrdiff_t vector_bytes = 16;
    static constexpr std::ptrdiff_t input_bytes = 4;
    static LINKCAST_INLINE Sum zero() { return vdupq_n_f32(0.0f); }
    static LINKCAST_INLINE Sum add(Sum a, Sum b) { return vaddq_f32(a, b); }
    static LINKCAST_INLINE Weight load_weight(const char* p) {
      return vld1q_bf16(reinterpret_cast<const bfloat16_t*>(p));
    }
    static LINKCAST_INLINE Input load_input(const char* p) {
      return vcreate_bf16(*reinterpret_cast<const std::uint32_t*>(p));
    }
    static LINKCAST_INLINE void multiply_add(Sum& sum, Weight w, Input x) { sum = vbfdotq_lane_f32(sum, w, x, 0); }
  };

  static std::size_t encoded_bytes(std::size_t depth) { return (depth + 3) / 4 * 8; }

  /// (rows, depth) as bfloat16, with zeros behind them. No scale.
  static void encode(const float* x, std::size_t stride, std::size_t rows, std::size_t depth, void* out,
                     std::size_t out_stride, float* /*scale*/) {
    for (std::size_t row = 0; row < rows; ++row) {
      const float* from = x + row * stride;
      char* to = static_cast<char*>(out) + row * out_stride;
      for (std::size_t k = 0; k < depth; k += 4) {
        const Float values = k + 4 <= depth ? VecNeon::load(from + k) : VecNeon::load_first(from + k, depth - k);
        encode_hidden(values, to, out_stride, k / 4);
      }
    }
  }

  static LINKCAST_INLINE void encode_hidden(Float h, char* row, std::size_t /*stride*/, std::size_t block) {
    vst1_bf16(reinterpret_cast<bfloat16_t*>(row + block * 8), vcvt_bf16_f32(h));
  }

  template <int R, int P, bool Reverse>
  static LINKCAST_INLINE void add(Float (&sum)[R][P], const Matrix& matrix, std::size_t panel, const Operand& x,
                                  std::size_t row) {
    const std::size_t groups = (matrix.depth + 1) / 2;
    multiply_panel<Ops, R, P, Reverse>(sum, matrix, panel, groups, x, row);
  }
};

}  // namespace

const Kernels& kernels_bf16_neon_dot() {
  static constexpr Kernels table = make_kernels<ProductBf16Dot>(Isa::neon, "bf16_neon_dot");
  return table;
}

}  // namespace linkcast::kernels
