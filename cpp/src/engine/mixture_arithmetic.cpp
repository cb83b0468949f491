#include "engine/mixture_arithmetic.h"

#include "kernels/isa.h"

namespace linkcast::mixing {

std::vector<const Arithmetic*> arithmetics() {
  std::vector<const Arithmetic*> all{&arithmetic_portable()};
#if defined(__x86_64__)
  if (cpu_features().avx2) all.push_back(&arithmetic_avx2());
  if (cpu_features().avx512) all.push_back(&arithmetic_avx512());
#endif
  return all;
}

const Arithmetic& arithmetic() {
  static const Arithmetic& widest = *arithmetics().back();
  return widest;
}

}  // namespace linkcast::mixing
