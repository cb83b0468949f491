#include "roofline.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <iterator>
#include <limits>
#include <map>
#include <string_view>

#include "base/aligned.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace linkcast::bench {
namespace {

constexpr int rounds = 2000;
constexpr int sums = 12;                    // more than latency times throughput on any of them
constexpr std::size_t vectors_at_once = 8;  // read in a turn: as many sums, which hide an addition's latency
constexpr std::size_t chunk_floats = 512;   // a buffer is whole chunks for every number of streams and lanes

// The compiler must neither drop the sums nor know their values.
#define LINKCAST_KEEP(x, constraint) __asm__ volatile("" : "+" constraint(x))

/// Reads all of a buffer as the kernels read weights: each vector is multiplied and added as it comes, from several
/// panels beside each other, forwards or backwards.
using Read = void (*)(const float* values, std::size_t floats);

struct Probe {
  std::size_t lanes;
  void (*multiply_adds)();  // rounds * sums vectors
  Read forwards[3];         // one, two and four streams
  Read backwards[3];
};

/// Where vector `v` of turn `i` stands, of `turns`.
template <std::size_t Streams, bool Backwards>
constexpr std::size_t place(std::size_t i, std::size_t v, std::size_t turns, std::size_t floats, std::size_t lanes) {
  constexpr std::size_t each = vectors_at_once / Streams;
  const std::size_t turn = Backwards ? turns - 1 - i : i;
  return v / each * (floats / Streams) + (turn * each + v % each) * lanes;
}

void multiply_adds_scalar() {
  float sum[sums] = {};
  for (int s = 0; s < sums; ++s) LINKCAST_KEEP(sum[s], "m");
  float factor = 0.5f;
  LINKCAST_KEEP(factor, "m");
  for (int i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int s = 0; s < sums; ++s) sum[s] = sum[s] * factor + factor;
  }
  for (int s = 0; s < sums; ++s) __asm__ volatile("" : : "m"(sum[s]));
}

template <std::size_t Streams, bool Backwards>
void read_scalar(const float* values, std::size_t floats) {
  float sum[vectors_at_once] = {};
  float factor = 0.5f;
  LINKCAST_KEEP(factor, "m");
  const std::size_t turns = floats / vectors_at_once;
  for (std::size_t i = 0; i < turns; ++i) {
#pragma GCC unroll 16
    for (std::size_t v = 0; v < vectors_at_once; ++v)
      sum[v] += values[place<Streams, Backwards>(i, v, turns, floats, 1)] * factor;
  }
  for (float& total : sum) __asm__ volatile("" : : "m"(total));
}

#if defined(__x86_64__)

__attribute__((target("avx512f"))) void multiply_adds_avx512() {
  __m512 sum[sums];
#pragma GCC unroll 16
  for (int s = 0; s < sums; ++s) {
    sum[s] = _mm512_set1_ps(1.0f);
    LINKCAST_KEEP(sum[s], "v");
  }
  const __m512 factor = _mm512_set1_ps(0.5f);
  for (int i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int s = 0; s < sums; ++s) {
      sum[s] = _mm512_fmadd_ps(sum[s], factor, factor);
    }
  }
#pragma GCC unroll 16
  for (int s = 0; s < sums; ++s) LINKCAST_KEEP(sum[s], "v");
}

template <std::size_t Streams, bool Backwards>
__attribute__((target("avx512f"))) void read_avx512(const float* values, std::size_t floats) {
  __m512 sum[vectors_at_once];
#pragma GCC unroll 16
  for (std::size_t v = 0; v < vectors_at_once; ++v) sum[v] = _mm512_setzero_ps();
  const __m512 factor = _mm512_set1_ps(0.5f);
  const std::size_t turns = floats / (vectors_at_once * 16);
  for (std::size_t i = 0; i < turns; ++i) {
#pragma GCC unroll 16
    for (std::size_t v = 0; v < vectors_at_once; ++v)
      sum[v] =
          _mm512_fmadd_ps(_mm512_loadu_ps(values + place<Streams, Backwards>(i, v, turns, floats, 16)), factor, sum[v]);
  }
#pragma GCC unroll 16
  for (std::size_t v = 0; v < vectors_at_once; ++v) LINKCAST_KEEP(sum[v], "v");
}

/// vdpbf16ps: two products of bfloat16 in each of 16 lanes.
__attribute__((target("avx512f,avx512bf16"))) void multiply_adds_avx512_bf16() {
  __m512 sum[sums];
#pragma GCC unroll 16
  for (int s = 0; s < sums; ++s) {
    sum[s] = _mm512_set1_ps(1.0f);
    LINKCAST_KEEP(sum[s], "v");
  }
  const auto factor = (__m512bh)_mm512_set1_epi16(0x3e80);  // 0.25
  for (int i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int s = 0; s < sums; ++s) sum[s] = _mm512_dpbf16_ps(sum[s], factor, factor);
  }
#pragma GCC unroll 16
  for (int s = 0; s < sums; ++s) LINKCAST_KEEP(sum[s], "v");
}

/// vpdpbusd: four products of bytes in each of 16 lanes.
__attribute__((target("avx512f,avx512vnni"))) void multiply_adds_avx512_vnni() {
  __m512i sum[sums];
#pragma GCC unroll 16
  for (int s = 0; s < sums; ++s) {
    sum[s] = _mm512_set1_epi32(1);
    LINKCAST_KEEP(sum[s], "v");
  }
  __m512i factor = _mm512_set1_epi8(3);
  LINKCAST_KEEP(factor, "v");
  for (int i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int s = 0; s < sums; ++s) sum[s] = _mm512_dpbusd_epi32(sum[s], factor, factor);
  }
#pragma GCC unroll 16
  for (int s = 0; s < sums; ++s) LINKCAST_KEEP(sum[s], "v");
}

__attribute__((target("avx2,fma"))) void multiply_adds_avx2() {
  __m256 sum[sums];
#pragma GCC unroll 16
  for (int s = 0; s < sums; ++s) {
    sum[s] = _mm256_set1_ps(1.0f);
    LINKCAST_KEEP(sum[s], "x");
  }
  const __m256 factor = _mm256_set1_ps(0.5f);
  for (int i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int s = 0; s < sums; ++s) {
      sum[s] = _mm256_fmadd_ps(sum[s], factor, factor);
    }
  }
#pragma GCC unroll 16
  for (int s = 0; s < sums; ++s) LINKCAST_KEEP(sum[s], "x");
}

template <std::size_t Streams, bool Backwards>
__attribute__((target("avx2,fma"))) void read_avx2(const float* values, std::size_t floats) {
  __m256 sum[vectors_at_once];
#pragma GCC unroll 16
  for (std::size_t v = 0; v < vectors_at_once; ++v) sum[v] = _mm256_setzero_ps();
  const __m256 factor = _mm256_set1_ps(0.5f);
  const std::size_t turns = floats / (vectors_at_once * 8);
  for (std::size_t i = 0; i < turns; ++i) {
#pragma GCC unroll 16
    for (std::size_t v = 0; v < vectors_at_once; ++v)
      sum[v] =
          _mm256_fmadd_ps(_mm256_loadu_ps(values + place<Streams, Backwards>(i, v, turns, floats, 8)), factor, sum[v]);
  }
#pragma GCC unroll 16
  for (std::size_t v = 0; v < vectors_at_once; ++v) LINKCAST_KEEP(sum[v], "x");
}

#elif defined(__aarch64__)

void multiply_adds_neon() {
  float32x4_t sum[sums];
#pragma GCC unroll 16
  for (int s = 0; s < sums; ++s) {
    sum[s] = vdupq_n_f32(1.0f);
    LINKCAST_KEEP(sum[s], "w");
  }
  const float32x4_t factor = vdupq_n_f32(0.5f);
  for (int i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int s = 0; s < sums; ++s) {
      sum[s] = vfmaq_f32(factor, sum[s], factor);
    }
  }
#pragma GCC unroll 16
  for (int s = 0; s < sums; ++s) LINKCAST_KEEP(sum[s], "w");
}

template <std::size_t Streams, bool Backwards>
void read_neon(const float* values, std::size_t floats) {
  float32x4_t sum[vectors_at_once];
#pragma GCC unroll 16
  for (std::size_t v = 0; v < vectors_at_once; ++v) sum[v] = vdupq_n_f32(0.0f);
  const float32x4_t factor = vdupq_n_f32(0.5f);
  const std::size_t turns = floats / (vectors_at_once * 4);
  for (std::size_t i = 0; i < turns; ++i) {
#pragma GCC unroll 16
    for (std::size_t v = 0; v < vectors_at_once; ++v)
      sum[v] = vfmaq_f32(sum[v], vld1q_f32(values + place<Streams, Backwards>(i, v, turns, floats, 4)), factor);
  }
#pragma GCC unroll 16
  for (std::size_t v = 0; v < vectors_at_once; ++v) LINKCAST_KEEP(sum[v], "w");
}

#endif

#define LINKCAST_READS(read, backwards) {read<1, backwards>, read<2, backwards>, read<4, backwards>}

Probe probe_of(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::avx512:
      return {16, multiply_adds_avx512, LINKCAST_READS(read_avx512, false), LINKCAST_READS(read_avx512, true)};
    case Isa::avx2:
      return {8, multiply_adds_avx2, LINKCAST_READS(read_avx2, false), LINKCAST_READS(read_avx2, true)};
#elif defined(__aarch64__)
    case Isa::neon:
      return {4, multiply_adds_neon, LINKCAST_READS(read_neon, false), LINKCAST_READS(read_neon, true)};
#endif
    default:
      return {1, multiply_adds_scalar, LINKCAST_READS(read_scalar, false), LINKCAST_READS(read_scalar, true)};
  }
}

/// What an instruction of reduced precision does.
struct DotProbe {
  const char* kernels;   // that use it
  double multiply_adds;  // of the network in one instruction
  void (*run)();         // rounds * sums of them
};

constexpr DotProbe dot_probes[] = {
#if defined(__x86_64__)
    {"bf16_avx512_dot", 32, multiply_adds_avx512_bf16},
    {"int8_avx512_vnni", 32, multiply_adds_avx512_vnni},  // activations of 16 bits are two bytes, each multiplied
#endif
    {"", 0, nullptr},
};

template <class Body>
double best_seconds(int runs, const Body& body) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    body();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

}  // namespace

Roofline measure_roofline(Isa isa, std::size_t weight_bytes) {
  const Probe probe = probe_of(isa);
  const std::size_t floats = std::max(weight_bytes / sizeof(float) / chunk_floats, std::size_t{1}) * chunk_floats;
  const AlignedBuffer buffer(floats * sizeof(float), true);  // as weights lie
  const auto* const values = reinterpret_cast<const float*>(buffer.data());
  Roofline roofline;
  const double multiply_adds = static_cast<double>(probe.lanes) * rounds * sums;
  roofline.multiply_adds_per_s = multiply_adds / best_seconds(2000, probe.multiply_adds);
  const double bytes = static_cast<double>(floats * sizeof(float));
  const auto runs = static_cast<int>(std::clamp(2e8 / bytes, 50.0, 2000.0));
  for (std::size_t k = 0; k < std::size(probe.forwards); ++k) {
    roofline.weight_bytes_per_s =
        std::max({roofline.weight_bytes_per_s, bytes / best_seconds(runs, [&] { probe.forwards[k](values, floats); }),
                  // To and fro, as the steps of a window read: what was read last is still in the first-level cache.
                  2 * bytes / best_seconds(runs, [&] {
                    probe.forwards[k](values, floats);
                    probe.backwards[k](values, floats);
                  })});
  }
  return roofline;
}

double measure_multiply_adds(const kernels::Kernels& table) {
  static std::map<std::string_view, double> measured;
  const auto [found, is_new] = measured.try_emplace(table.name, 0.0);
  if (!is_new) return found->second;
  constexpr int runs = 2000;
  if (!table.encoded) {  // weights become float32 before they are multiplied
    const Probe probe = probe_of(table.isa);
    found->second = static_cast<double>(probe.lanes) * rounds * sums / best_seconds(runs, probe.multiply_adds);
  }
  for (const DotProbe& probe : dot_probes)
    if (table.name == std::string_view(probe.kernels))
      found->second = probe.multiply_adds * rounds * sums / best_seconds(runs, probe.run);
  return found->second;
}

}  // namespace linkcast::bench
