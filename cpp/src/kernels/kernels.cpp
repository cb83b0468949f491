#include "kernels.h"

namespace linkcast::kernels {

std::vector<const Kernels*> candidates(Isa isa, Precision precision) {
  std::vector<const Kernels*> tables;
  // The first that is added is the one presumed best.
  const auto add = [&](Precision of, bool has, const Kernels& table) {
    if (of == precision && has) tables.push_back(&table);
  };
  switch (isa) {
#if defined(LINKCAST_KERNELS_X86)
    case Isa::avx512:
      add(Precision::float32, true, kernels_f32_avx512());
      add(Precision::bfloat16, cpu_features().avx512_bf16, kernels_bf16_avx512_dot());
      add(Precision::bfloat16, true, kernels_bf16_avx512());
      add(Precision::int8, cpu_features().avx512_vnni, kernels_int8_avx512_vnni());
      add(Precision::int8, true, kernels_int8_avx512());
      // Tiles last: that they gain has to be measured. Asking for them changes the process, so only who would use them
      // asks.
      if (precision != Precision::float32 && tiles_permitted()) {
        add(Precision::bfloat16, cpu_features().amx_bf16, kernels_bf16_avx512_amx());
        add(Precision::int8, cpu_features().amx_int8, kernels_int8_avx512_amx());
      }
      break;
    case Isa::avx2:
      add(Precision::float32, true, kernels_f32_avx2());
      add(Precision::bfloat16, true, kernels_bf16_avx2());
      add(Precision::int8, true, kernels_int8_avx2());
      break;
#elif defined(LINKCAST_KERNELS_NEON)
    case Isa::neon:
      add(Precision::float32, true, kernels_f32_neon());
      add(Precision::bfloat16, cpu_features().neon_bf16, kernels_bf16_neon_matrix());
      add(Precision::bfloat16, cpu_features().neon_bf16, kernels_bf16_neon_dot());
      add(Precision::bfloat16, true, kernels_bf16_neon());
      add(Precision::int8, cpu_features().neon_i8mm, kernels_int8_neon_i8mm());
      add(Precision::int8, cpu_features().neon_dot, kernels_int8_neon_dotprod());
      add(Precision::int8, true, kernels_int8_neon());
      break;
#endif
    default:
      add(Precision::float32, true, kernels_f32_scalar());
      add(Precision::bfloat16, true, kernels_bf16_scalar());
      add(Precision::int8, true, kernels_int8_scalar());
      break;
  }
  return tables;
}

const Kernels& select_kernels(Isa isa, Precision precision) { return *candidates(isa, precision).front(); }

}  // namespace linkcast::kernels
