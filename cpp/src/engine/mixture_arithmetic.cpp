#include "engine/mixture_arithmetic.h"

namespace linkcast::mixing {

const Arithmetic& arithmetic(Isa isa) noexcept {
#if defined(__x86_64__)
  if (isa == Isa::avx512) return arithmetic_avx512();
  if (isa == Isa::avx2) return arithmetic_avx2();
#endif
  static_cast<void>(isa);
  return arithmetic_portable();
}

const Arithmetic& arithmetic() {
  static const Arithmetic& chosen = arithmetic(default_isa());
  return chosen;
}

}  // namespace linkcast::mixing
