#include "isa.h"

#include <stdexcept>

#include "base/environment.h"
#include "base/names.h"

#if defined(LINKCAST_KERNELS_X86)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#endif
#elif defined(LINKCAST_KERNELS_NEON) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace linkcast {
namespace {

#if defined(LINKCAST_KERNELS_X86)

struct CpuidLeaf {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

CpuidLeaf cpuid(unsigned leaf, unsigned subleaf) {
  CpuidLeaf out;
  __get_cpuid_count(leaf, subleaf, &out.eax, &out.ebx, &out.ecx, &out.edx);
  return out;
}

// XCR0 says which registers the operating system saves. Written as bytes so that no ISA flag is needed for it.
unsigned enabled_register_state() {
  unsigned eax = 0, edx = 0;
  __asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(eax), "=d"(edx) : "c"(0));
  return eax;
}

bool bit(unsigned value, unsigned index) { return ((value >> index) & 1u) != 0; }

// Bit positions: Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E.
CpuFeatures detect() {
  CpuFeatures features;
  const CpuidLeaf basic = cpuid(1, 0);
  const bool osxsave = bit(basic.ecx, 27);
  if (!osxsave) return features;
  const unsigned state = enabled_register_state();
  const bool ymm = (state & 0x06u) == 0x06u;
  const bool zmm = (state & 0xe6u) == 0xe6u;
  const CpuidLeaf extended = cpuid(7, 0);
  const CpuidLeaf extended1 = cpuid(7, 1);
  features.avx2 = ymm && bit(basic.ecx, 28) && bit(basic.ecx, 12) && bit(extended.ebx, 5);
  features.avx512 = features.avx2 && zmm && bit(extended.ebx, 16) && bit(extended.ebx, 17) && bit(extended.ebx, 30) &&
                    bit(extended.ebx, 31);
  features.avx512_bf16 = features.avx512 && bit(extended1.eax, 5);
  features.avx512_vnni = features.avx512 && bit(extended.ecx, 11);
  const bool tiles = (state & 0x60000u) == 0x60000u && bit(extended.edx, 24);
  features.amx_bf16 = features.avx512_bf16 && tiles && bit(extended.edx, 22);
  features.amx_int8 = features.avx512_bf16 && tiles && bit(extended.edx, 25);
  return features;
}

#if defined(__linux__)

// Linux saves tiles only for a process that has asked: Documentation/arch/x86/xstate.rst.
bool ask_for_tiles() {
  constexpr long arch_req_xcomp_perm = 0x1023;  // arch/x86/include/uapi/asm/prctl.h
  constexpr long xtiledata = 18;                // the state's bit in XCR0
  const int before = errno;
  const bool granted = syscall(SYS_arch_prctl, arch_req_xcomp_perm, xtiledata) == 0;
  errno = before;
  return granted;
}

#else

bool ask_for_tiles() { return false; }

#endif

#elif defined(LINKCAST_KERNELS_NEON)

CpuFeatures detect() {
  CpuFeatures features;
#if defined(__linux__)
  // Linux arch/arm64/include/uapi/asm/hwcap.h
  constexpr unsigned long hwcap_asimd = 1ul << 1;
  constexpr unsigned long hwcap_asimddp = 1ul << 20;
  constexpr unsigned long hwcap2_i8mm = 1ul << 13;
  constexpr unsigned long hwcap2_bf16 = 1ul << 14;
  const unsigned long hwcap = getauxval(AT_HWCAP);
  const unsigned long hwcap2 = getauxval(AT_HWCAP2);
  features.neon = (hwcap & hwcap_asimd) != 0;
  features.neon_dot = features.neon && (hwcap & hwcap_asimddp) != 0;
  features.neon_i8mm = features.neon && (hwcap2 & hwcap2_i8mm) != 0;
  features.neon_bf16 = features.neon && (hwcap2 & hwcap2_bf16) != 0;
#else
  features.neon = true;  // Advanced SIMD is part of the AArch64 baseline.
#endif
  return features;
}

bool ask_for_tiles() { return false; }

#else

CpuFeatures detect() { return {}; }
bool ask_for_tiles() { return false; }

#endif

constexpr Isa all_isas[] = {Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512};

bool supported(Isa isa) {
  const CpuFeatures& features = cpu_features();
  switch (isa) {
    case Isa::scalar:
      return true;
    case Isa::neon:
      return features.neon;
    case Isa::avx2:
      return features.avx2;
    case Isa::avx512:
      return features.avx512;
  }
  return false;
}

std::string supported_names() {
  std::string names;
  for (const Isa isa : supported_isas()) names += (names.empty() ? "" : ", ") + std::string(isa_name(isa));
  return names;
}

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

bool tiles_permitted() {
  static const bool permitted = (cpu_features().amx_bf16 || cpu_features().amx_int8) && ask_for_tiles();
  return permitted;
}

const char* isa_name(Isa isa) {
  static constexpr const char* names[] = {"scalar", "neon", "avx2", "avx512"};
  return name_of(names, isa);
}

std::vector<Isa> supported_isas() {
  std::vector<Isa> isas;
  for (const Isa isa : all_isas) {
    if (supported(isa)) isas.push_back(isa);
  }
  return isas;
}

void require_supported(Isa isa) {
  if (!supported(isa)) {
    throw std::invalid_argument("ISA: '" + std::string(isa_name(isa)) +
                                "' does not run on this machine; supported: " + supported_names());
  }
}

Isa isa_from_name(const std::string& name) {
  for (const Isa isa : all_isas) {
    if (name != isa_name(isa)) continue;
    require_supported(isa);
    return isa;
  }
  throw std::invalid_argument("ISA: unknown name '" + name + "'; supported: " + supported_names());
}

Isa default_isa() {
  if (const char* name = environment("LINKCAST_ISA")) return isa_from_name(name);
  return supported_isas().back();
}

}  // namespace linkcast
