#include "kernels/isa.h"

#include <cstdlib>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#include "check.h"

using linkcast::default_isa;
using linkcast::Isa;
using linkcast::isa_from_name;
using linkcast::isa_name;
using linkcast::supported_isas;

TEST(scalar_is_always_supported_and_the_fastest_stands_last) {
  const auto isas = supported_isas();
  CHECK(!isas.empty());
  CHECK(isas.front() == Isa::scalar);
  for (std::size_t i = 1; i < isas.size(); ++i) CHECK(isas[i - 1] < isas[i]);
}

TEST(every_supported_isa_is_found_by_its_name) {
  for (const Isa isa : supported_isas()) CHECK(isa_from_name(isa_name(isa)) == isa);
}

TEST(an_unknown_isa_name_is_refused_with_the_supported_ones) {
  CHECK_THROWS(isa_from_name("avx1024"), "unknown name 'avx1024'; supported: scalar");
  CHECK_THROWS(isa_from_name(""), "unknown name");
  CHECK_THROWS(isa_from_name("AVX2"), "unknown name");
}

TEST(an_isa_of_another_machine_is_refused) {
  const bool x86 = linkcast::cpu_features().avx2;
  CHECK_THROWS(isa_from_name(x86 ? "neon" : "avx2"), "does not run on this machine");
}

#if defined(__aarch64__) && defined(__linux__)
TEST(extensions_are_those_of_the_cpus_own_registers) {
  // The kernel answers reads of the ID registers where it says so (HWCAP_CPUID). Fields: Arm Architecture Reference
  // Manual for A-profile, D23.2.
  if ((getauxval(AT_HWCAP) & (1ul << 11)) == 0) return;
  unsigned long isar0 = 0, isar1 = 0;
  __asm__("mrs %0, ID_AA64ISAR0_EL1" : "=r"(isar0));
  __asm__("mrs %0, ID_AA64ISAR1_EL1" : "=r"(isar1));
  const auto field = [](unsigned long bits, unsigned first) { return (bits >> first) & 15u; };
  CHECK_EQ(linkcast::cpu_features().neon_dot, field(isar0, 44) >= 1);
  CHECK_EQ(linkcast::cpu_features().neon_bf16, field(isar1, 44) >= 1);
  CHECK_EQ(linkcast::cpu_features().neon_i8mm, field(isar1, 52) >= 1);
}
#endif

TEST(the_environment_forces_an_isa_by_name) {
  setenv("LINKCAST_ISA", "scalar", 1);
  CHECK(default_isa() == Isa::scalar);
  setenv("LINKCAST_ISA", "sse", 1);
  CHECK_THROWS(default_isa(), "unknown name 'sse'");
  setenv("LINKCAST_ISA", "", 1);
  CHECK(default_isa() == supported_isas().back());
  unsetenv("LINKCAST_ISA");
  CHECK(default_isa() == supported_isas().back());
}
