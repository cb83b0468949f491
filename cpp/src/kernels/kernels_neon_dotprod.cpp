// int8 weights with SDOT: four neighbouring k of a unit in each lane, once for the high and once for the low bytes.
#include "product_int8_neon.h"

namespace linkcast::kernels {
namespace {

struct BytesDot {
  static constexpr std::size_t group = 4;
  static constexpr int max_rows = 3;  // two sums each

  struct Ops {
    using Sum = Int32Pair;  // of the high bytes, of the low ones
    using Weight = int8x16_t;
    using Input = int8x8_t;
    static constexpr std::ptrdiff_t vector_bytes = 16;
    static constexpr std::ptrdiff_t input_bytes = 8;
    static LINKCAST_INLINE Sum zero() { return {vdupq_n_s32(0), vdupq_n_s32(0)}; }
    static LINKCAST_INLINE Sum add(Sum a, Sum b) {
      return {vaddq_s32(a.first, b.first), vaddq_s32(a.second, b.second)};
    }
    static LINKCAST_INLINE Weight load_weight(const char* p) {
      int8x16_t weight = vld1q_s8(reinterpret_cast<const std::int8_t*>(p));
      __asm__("" : "+w"(weight));
      return weight;
    }
    static LINKCAST_INLINE Input load_input(const char* p) { return vld1_s8(reinterpret_cast<const std::int8_t*>(p)); }
    static LINKCAST_INLINE void multiply_add(Sum& sum, Weight w, Input x) {
      sum.first = vdotq_lane_s32(sum.first, w, x, 0);
      sum.second = vdotq_lane_s32(sum.second, w, x, 1);
    }
  };

  static LINKCAST_INLINE int32x4_t high(Int32Pair sum) { return sum.first; }
  static LINKCAST_INLINE int32x4_t low(Int32Pair sum) { return sum.second; }

  static LINKCAST_INLINE int8x16_t arrange(int8x8_t high, int8x8_t low) {
    const int32x4_t four = vreinterpretq_s32_s8(vcombine_s8(high, high));
    return vreinterpretq_s8_s32(vzip1q_s32(four, vreinterpretq_s32_s8(vcombine_s8(low, low))));
  }
  static LINKCAST_INLINE void store_four(int8x8_t high, int8x8_t low, char* row, std::size_t block) {
    const int32x2_t both = vzip1_s32(vreinterpret_s32_s8(high), vreinterpret_s32_s8(low));
    vst1_s8(reinterpret_cast<std::int8_t*>(row + block * 8), vreinterpret_s8_s32(both));
  }
};

}  // namespace

const Kernels& kernels_int8_neon_dotprod() {
  static constexpr Kernels table = make_kernels<ProductInt8Neon<BytesDot>>(Isa::neon, "int8_neon_dotprod");
  return table;
}

}  // namespace linkcast::kernels
