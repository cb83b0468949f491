#include "engine/mixture_unit.h"

namespace linkcast::mixing {

const Arithmetic& arithmetic_portable() noexcept {
  static constexpr Arithmetic table = Unit::table("portable");
  return table;
}

}  // namespace linkcast::mixing
