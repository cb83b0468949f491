// Which instruction set the kernels use: detected once, or forced by name with LINKCAST_ISA.
#pragma once

#include <string>
#include <vector>

namespace linkcast {

enum class Isa { scalar, neon, avx2, avx512 };

/// Extensions of an ISA that reduced precision uses where the CPU has them.
struct CpuFeatures {
  bool avx2 = false;         // with FMA
  bool avx512 = false;       // F, BW, DQ and VL
  bool avx512_bf16 = false;  // vdpbf16ps
  bool avx512_vnni = false;  // vpdpbusd
  bool amx_bf16 = false;     // tdpbf16ps on tiles, with AVX-512's bfloat16; use needs tiles_permitted() too
  bool amx_int8 = false;     // tdpbusd on tiles; likewise, and compiled with the other
  bool neon = false;         // aarch64 Advanced SIMD
  bool neon_bf16 = false;    // bfdot, bfmmla
  bool neon_dot = false;     // sdot
  bool neon_i8mm = false;    // smmla
};

/// What this CPU and its operating system support, limited to what this build has kernels for. Detected on first use.
const CpuFeatures& cpu_features();

/// Asks the system for matrix tiles (Intel AMX) when the CPU has them, for the whole process; the first call asks, later
/// ones know. From then on the kernel refuses signal stacks (sigaltstack) without room for tiles, so this is asked when
/// kernels on tiles are wanted, and not before.
/// @return false: there are none, or the system refuses (a thread has a signal stack too small for them, or a filter)
bool tiles_permitted();

/// "scalar", "neon", "avx2" or "avx512".
const char* isa_name(Isa isa);

/// Every ISA that runs here, the slowest first; scalar is always one of them.
std::vector<Isa> supported_isas();

/// @throws std::invalid_argument  the name is unknown, or this machine does not run it; the text lists what is there
Isa isa_from_name(const std::string& name);

/// @throws std::invalid_argument  this machine does not run it; the text lists what is there
void require_supported(Isa isa);

/// The ISA named by the environment variable LINKCAST_ISA, else the fastest one supported.
/// @throws std::invalid_argument  as isa_from_name
Isa default_isa();

}  // namespace linkcast
