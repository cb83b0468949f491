#include "engine/mixture_unit.h"

namespace linkcast::mixing {

const Arithmetic& arithmetic_portable() noexcept { return kArithmetic; }

}  // namespace linkcast::mixing
