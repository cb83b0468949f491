// int8 weights with SMMLA, the product of two rows and two outputs over eight k: the two rows are the high and the low
// bytes of one row, so that a single window fills the tile.
#include "product_int8_neon.h"

namespace linkcast::kernels {
namespace {

struct BytesMatrix {
  static constexpr std::size_t group = 8;
  static constexpr int max_rows = 3;  // with two sums each and two registers of weights for a vector of outputs

  struct Ops {
    using Sum = Int32Pair;  // of outputs 0 and 1, of outputs 2 and 3: (high, high, low, low) each
    struct Weight {
      int8x16_t first, second;
    };
    using Input = int8x16_t;
    static constexpr bool inputs_first = true;
    static constexpr std::ptrdiff_t vector_bytes = 32;
    static constexpr std::ptrdiff_t input_bytes = 16;
    static LINKCAST_INLINE Sum zero() { return {vdupq_n_s32(0), vdupq_n_s32(0)}; }
    static LINKCAST_INLINE Sum add(Sum a, Sum b) {
      return {vaddq_s32(a.first, b.first), vaddq_s32(a.second, b.second)};
    }
    static LINKCAST_INLINE Weight load_weight(const char* p) {
      const auto* bytes = reinterpret_cast<const std::int8_t*>(p);
      int8x16_t first = vld1q_s8(bytes);
      int8x16_t second = vld1q_s8(bytes + 16);
      __asm__("" : "+w"(first), "+w"(second));
      return {first, second};
    }
    static LINKCAST_INLINE Input load_input(const char* p) { return vld1q_s8(reinterpret_cast<const std::int8_t*>(p)); }
    static LINKCAST_INLINE void multiply_add(Sum& sum, Weight w, Input x) {
      sum.first = vmmlaq_s32(sum.first, x, w.first);
      sum.second = vmmlaq_s32(sum.second, x, w.second);
    }
  };

  static LINKCAST_INLINE int32x4_t high(Int32Pair sum) {
    return vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(sum.first), vreinterpretq_s64_s32(sum.second)));
  }
  static LINKCAST_INLINE int32x4_t low(Int32Pair sum) {
    return vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(sum.first), vreinterpretq_s64_s32(sum.second)));
  }

  static LINKCAST_INLINE int8x16_t arrange(int8x8_t high, int8x8_t low) { return vcombine_s8(high, low); }
  /// Two blocks of units share a group. Behind the last unit of an odd one stands what stood there, times zero weights.
  static LINKCAST_INLINE void store_four(int8x8_t high, int8x8_t low, char* row, std::size_t block) {
    auto* at = reinterpret_cast<std::int32_t*>(row + block / 2 * 16 + block % 2 * 4);
    vst1_lane_s32(at, vreinterpret_s32_s8(high), 0);
    vst1_lane_s32(at + 2, vreinterpret_s32_s8(low), 0);
  }
};

}  // namespace

const Kernels& kernels_int8_neon_i8mm() {
  static constexpr Kernels table = make_kernels<ProductInt8Neon<BytesMatrix>>(Isa::neon, "int8_neon_i8mm");
  return table;
}

}  // namespace linkcast::kernels
