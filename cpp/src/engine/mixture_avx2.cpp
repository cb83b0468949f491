#include "engine/mixture_unit.h"

namespace linkcast::mixing {

const Arithmetic& arithmetic_avx2() noexcept {
  static constexpr Arithmetic table = Unit::table("avx2");
  return table;
}

}  // namespace linkcast::mixing
