#include "engine/mixture_unit.h"

namespace linkcast::mixing {

const Arithmetic& arithmetic_avx512() noexcept {
  static constexpr Arithmetic table = Unit::table("avx512");
  return table;
}

}  // namespace linkcast::mixing
