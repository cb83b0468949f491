#include "product_bf16.h"
#include "table.h"
#include "vec_avx2.h"

namespace linkcast::kernels {

const Kernels& kernels_f32_avx2() {
  static constexpr Kernels table = make_kernels<Product<VecAvx2, float>>(Isa::avx2, "f32_avx2");
  return table;
}

const Kernels& kernels_bf16_avx2() {
  static constexpr Kernels table = make_kernels<ProductBf16<VecAvx2>>(Isa::avx2, "bf16_avx2");
  return table;
}

const Kernels& kernels_int8_avx2() {
  static constexpr Kernels table = make_kernels<Product<VecAvx2, std::int8_t>>(Isa::avx2, "int8_avx2");
  return table;
}

}  // namespace linkcast::kernels
