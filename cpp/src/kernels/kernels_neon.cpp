#include "table.h"
#include "vec_neon.h"

namespace linkcast::kernels {

const Kernels& kernels_f32_neon() {
  static constexpr Kernels table = make_kernels<Product<VecNeon, float>>(Isa::neon, "f32_neon");
  return table;
}

const Kernels& kernels_bf16_neon() {
  static constexpr Kernels table = make_kernels<Product<VecNeon, std::uint16_t>>(Isa::neon, "bf16_neon");
  return table;
}

const Kernels& kernels_int8_neon() {
  static constexpr Kernels table = make_kernels<Product<VecNeon, std::int8_t>>(Isa::neon, "int8_neon");
  return table;
}

}  // namespace linkcast::kernels
