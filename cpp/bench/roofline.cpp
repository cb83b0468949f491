#include "roofline.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <limits>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace linkcast::bench {
namespace {

constexpr int rounds = 2000;
constexpr int sums = 12;                      // more than latency times throughput on any of them
constexpr std::size_t buffer_floats = 65536;  // 256 KB: far beyond the first-level cache, within the second

// The compiler must neither drop the sums nor know their values.
#define LINKCAST_KEEP(x, constraint) __asm__ volatile("" : "+" constraint(x))

struct Probe {
  std::size_t lanes;
  void (*multiply_adds)();            // rounds * sums vectors
  void (*read)(const float* values);  // buffer_floats
};

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

void read_scalar(const float* values) {
  float sum[4] = {};
  for (std::size_t i = 0; i < buffer_floats; i += 4) {
    for (std::size_t s = 0; s < 4; ++s) sum[s] += values[i + s];
  }
  float total = sum[0] + sum[1] + sum[2] + sum[3];
  __asm__ volatile("" : : "m"(total));
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

__attribute__((target("avx512f"))) void read_avx512(const float* values) {
  __m512 sum[8];
#pragma GCC unroll 16
  for (int s = 0; s < 8; ++s) sum[s] = _mm512_setzero_ps();
  for (std::size_t i = 0; i < buffer_floats; i += 128) {
#pragma GCC unroll 16
    for (std::size_t s = 0; s < 8; ++s) sum[s] = _mm512_add_ps(sum[s], _mm512_loadu_ps(values + i + 16 * s));
  }
#pragma GCC unroll 16
  for (int s = 0; s < 8; ++s) LINKCAST_KEEP(sum[s], "v");
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

__attribute__((target("avx2"))) void read_avx2(const float* values) {
  __m256 sum[8];
#pragma GCC unroll 16
  for (int s = 0; s < 8; ++s) sum[s] = _mm256_setzero_ps();
  for (std::size_t i = 0; i < buffer_floats; i += 64) {
#pragma GCC unroll 16
    for (std::size_t s = 0; s < 8; ++s) sum[s] = _mm256_add_ps(sum[s], _mm256_loadu_ps(values + i + 8 * s));
  }
#pragma GCC unroll 16
  for (int s = 0; s < 8; ++s) LINKCAST_KEEP(sum[s], "x");
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

void read_neon(const float* values) {
  float32x4_t sum[8];
#pragma GCC unroll 16
  for (int s = 0; s < 8; ++s) sum[s] = vdupq_n_f32(0.0f);
  for (std::size_t i = 0; i < buffer_floats; i += 32) {
#pragma GCC unroll 16
    for (std::size_t s = 0; s < 8; ++s) sum[s] = vaddq_f32(sum[s], vld1q_f32(values + i + 4 * s));
  }
#pragma GCC unroll 16
  for (int s = 0; s < 8; ++s) LINKCAST_KEEP(sum[s], "w");
}

#endif

Probe probe_of(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::avx512:
      return {16, multiply_adds_avx512, read_avx512};
    case Isa::avx2:
      return {8, multiply_adds_avx2, read_avx2};
#elif defined(__aarch64__)
    case Isa::neon:
      return {4, multiply_adds_neon, read_neon};
#endif
    default:
      return {1, multiply_adds_scalar, read_scalar};
  }
}

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

Roofline measure_roofline(Isa isa) {
  const Probe probe = probe_of(isa);
  const std::vector<float> values(buffer_floats, 1.0f);
  Roofline roofline;
  const double multiply_adds = static_cast<double>(probe.lanes) * rounds * sums;
  roofline.multiply_adds_per_s = multiply_adds / best_seconds(2000, probe.multiply_adds);
  const double bytes = static_cast<double>(buffer_floats * sizeof(float));
  roofline.l2_bytes_per_s = bytes / best_seconds(2000, [&] { probe.read(values.data()); });
  return roofline;
}

}  // namespace linkcast::bench
