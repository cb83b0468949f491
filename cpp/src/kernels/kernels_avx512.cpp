#include "product_bf16.h"
#include "table.h"
#include "vec_avx512.h"

namespace linkcast::kernels {

const Kernels& kernels_f32_avx512() {
  static constexpr Kernels table = make_kernels<Product<VecAvx512, float>>(Isa::avx512, "f32_avx512");
  return table;
}

const Kernels& kernels_bf16_avx512() {
  static constexpr Kernels table = make_kernels<ProductBf16<VecAvx512>>(Isa::avx512, "bf16_avx512");
  return table;
}

const Kernels& kernels_int8_avx512() {
  static constexpr Kernels table = make_kernels<Product<VecAvx512, std::int8_t>>(Isa::avx512, "int8_avx512");
  return table;
}

}  // namespace linkcast::kernels
