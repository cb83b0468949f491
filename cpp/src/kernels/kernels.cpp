#include "kernels.h"

namespace linkcast::kernels {

const Kernels& select_kernels(Isa isa, Precision precision) {
  const bool bf16 = precision == Precision::bfloat16;
  const bool int8 = precision == Precision::int8;
  switch (isa) {
#if defined(LINKCAST_KERNELS_X86)
    case Isa::avx512:
      if (bf16) return cpu_features().avx512_bf16 ? kernels_bf16_avx512_dot() : kernels_bf16_avx512();
      if (int8) return cpu_features().avx512_vnni ? kernels_int8_avx512_vnni() : kernels_int8_avx512();
      return kernels_f32_avx512();
    case Isa::avx2:
      return bf16 ? kernels_bf16_avx2() : int8 ? kernels_int8_avx2() : kernels_f32_avx2();
#elif defined(LINKCAST_KERNELS_NEON)
    case Isa::neon:
      return bf16 ? kernels_bf16_neon() : int8 ? kernels_int8_neon() : kernels_f32_neon();
#endif
    default:
      return bf16 ? kernels_bf16_scalar() : int8 ? kernels_int8_scalar() : kernels_f32_scalar();
  }
}

}  // namespace linkcast::kernels
