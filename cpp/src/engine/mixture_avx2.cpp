#include "engine/mixture_unit.h"

namespace linkcast::mixing {

const Arithmetic& arithmetic_avx2() noexcept { return kArithmetic; }

}  // namespace linkcast::mixing
