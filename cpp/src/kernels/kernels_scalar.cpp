#include "product_bf16.h"
#include "table.h"
#include "vec_scalar.h"

namespace linkcast::kernels {

const Kernels& kernels_f32_scalar() {
  static constexpr Kernels table = make_kernels<Product<VecScalar, float>>(Isa::scalar, "f32_scalar");
  return table;
}

const Kernels& kernels_bf16_scalar() {
  static constexpr Kernels table = make_kernels<ProductBf16<VecScalar>>(Isa::scalar, "bf16_scalar");
  return table;
}

const Kernels& kernels_int8_scalar() {
  static constexpr Kernels table = make_kernels<Product<VecScalar, std::int8_t>>(Isa::scalar, "int8_scalar");
  return table;
}

}  // namespace linkcast::kernels
