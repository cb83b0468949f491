// int8 weights with the CPU's byte dot product: four neighbouring k of a unit in each lane, summed exactly in integers.
//
// Inputs are rounded to 16 bits, x = scale * q with q in -32767..32767, and go through the product as two unsigned
// bytes: q = 256 * (high - 128) + low. Both read the same weights from memory, so the finer inputs cost no bandwidth.
#include "table.h"
#include "vec_avx512.h"

namespace linkcast::kernels {
namespace {

struct ProductInt8Vnni {
  using Vec = VecAvx512;
  using Float = __m512;
  static constexpr int max_rows = 3;  // two sums each
  static constexpr WeightFormat format = WeightFormat::int8;
  static constexpr std::size_t group = 4;
  static constexpr bool encoded = true;
  static constexpr float largest = 32767.0f;

  struct Ops {
    // The instruction's own type: as __m512i, GCC 12 copies every sum twice in each turn of the loop.
    typedef int Sum __attribute__((vector_size(64)));
    using Weight = __m512i;
    using Input = __m512i;
    static constexpr std::ptrdiff_t vector_bytes = 64;
    static constexpr std::ptrdiff_t input_bytes = 4;
    static LINKCAST_INLINE Sum zero() { return Sum{}; }
    static LINKCAST_INLINE Sum add(Sum a, Sum b) { return a + b; }
    static LINKCAST_INLINE Weight load_weight(const char* p) {
      __m512i weight = _mm512_loadu_si512(p);
      __asm__("" : "+v"(weight));  // in a register: else it is read once for the high bytes and again for the low ones
      return weight;
    }
    static LINKCAST_INLINE Input load_input(const char* p) {
      return _mm512_set1_epi32(*reinterpret_cast<const std::int32_t*>(p));
    }
    static LINKCAST_INLINE void multiply_add(Sum& sum, Weight w, Input x) {
      sum = (Sum)_mm512_dpbusd_epi32((__m512i)sum, x, w);
    }
  };

  /// High bytes in the first half of a row's stride, low bytes in the second.
  static std::size_t encoded_bytes(std::size_t depth) { return 2 * ((depth + 15) / 16 * 16); }

  /// @param q  sixteen integers -32767..32767
  static LINKCAST_INLINE void store_bytes(__m512i q, char* row, std::size_t stride, std::size_t k) {
    const __m512i high = _mm512_add_epi32(_mm512_srai_epi32(q, 8), _mm512_set1_epi32(128));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(row + k), _mm512_cvtepi32_epi8(high));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(row + stride / 2 + k), _mm512_cvtepi32_epi8(q));
  }

  /// @param scale  (rows): largest magnitude of the row / 32767, NaN when a value is not finite. Null: it is 1 / 32767.
  static void encode(const float* x, std::size_t stride, std::size_t rows, std::size_t depth, void* out,
                     std::size_t out_stride, float* scale) {
    for (std::size_t row = 0; row < rows; ++row) {
      const float* from = x + row * stride;
      char* to = static_cast<char*>(out) + row * out_stride;
      float step = 1.0f / largest;
      float inverse = largest;
      if (scale != nullptr) {
        step = row_step(from, depth);
        inverse = step > 1e-37f ? 1.0f / step : 0.0f;
        scale[row] = step;
      }
      for (std::size_t k = 0; k < depth; k += 16) {
        const std::size_t left = depth - k < 16 ? depth - k : 16;
        const __m512 values = _mm512_maskz_loadu_ps(VecAvx512::first(left), from + k);
        store_bytes(_mm512_cvtps_epi32(_mm512_mul_ps(values, _mm512_set1_ps(inverse))), to, out_stride, k);
      }
    }
  }

  static LINKCAST_INLINE float row_step(const float* x, std::size_t depth) {
    __m512 most = _mm512_setzero_ps();
    __m512 not_finite = _mm512_setzero_ps();  // a sum of zeros, unless a value is not finite
    for (std::size_t k = 0; k < depth; k += 16) {
      const std::size_t left = depth - k < 16 ? depth - k : 16;
      const __m512 values = _mm512_maskz_loadu_ps(VecAvx512::first(left), x + k);
      most = _mm512_max_ps(most, _mm512_abs_ps(values));
      not_finite = _mm512_fmadd_ps(values, _mm512_setzero_ps(), not_finite);
    }
    return _mm512_reduce_max_ps(most) * (1.0f / largest) + _mm512_reduce_add_ps(not_finite);
  }

  static LINKCAST_INLINE void encode_hidden(__m512 h, char* row, std::size_t stride, std::size_t block) {
    store_bytes(_mm512_cvtps_epi32(_mm512_mul_ps(h, _mm512_set1_ps(largest))), row, stride, block * 16);
  }

  template <int R, int P, bool Reverse, int S = split_of(2 * R * P)>  // of integers, whose order is no matter
  static LINKCAST_INLINE void add(Float (&sum)[R][P], const Matrix& matrix, std::size_t panel, const Operand& x,
                                  std::size_t row) {
    const std::size_t groups = (matrix.depth + 3) / 4;
    typename Ops::Sum integers[2 * R][P];  // high and low bytes of a row are two rows to the product
    LINKCAST_UNROLL
    for (int r = 0; r < 2 * R; ++r) {
      LINKCAST_UNROLL
      for (int v = 0; v < P; ++v) integers[r][v] = Ops::zero();
    }
    const Operand halves{x.data, x.stride / 2, nullptr};
    multiply_panel<Ops, 2 * R, P, Reverse>(integers, matrix, panel, groups, halves, 2 * row);
    LINKCAST_UNROLL
    for (int v = 0; v < P; ++v) {
      const std::size_t first = (panel * 4 + static_cast<std::size_t>(v)) * 16;
      const __m512i offset = _mm512_loadu_si512(matrix.offset + first);
      const __m512 scale = _mm512_loadu_ps(matrix.scale + first);
      LINKCAST_UNROLL
      for (int r = 0; r < R; ++r) {
        const __m512 high = _mm512_cvtepi32_ps(_mm512_sub_epi32((__m512i)integers[2 * r][v], offset));
        const __m512 total =
            _mm512_fmadd_ps(high, _mm512_set1_ps(256.0f), _mm512_cvtepi32_ps((__m512i)integers[2 * r + 1][v]));
        const float step = x.scale == nullptr ? 1.0f / largest : x.scale[row + static_cast<std::size_t>(r)];
        sum[r][v] = _mm512_fmadd_ps(total, _mm512_mul_ps(scale, _mm512_set1_ps(step)), sum[r][v]);
      }
    }
  }
};

}  // namespace

const Kernels& kernels_int8_avx512_vnni() {
  static constexpr Kernels table = make_kernels<ProductInt8Vnni>(Isa::avx512, "int8_avx512_vnni");
  return table;
}

}  // namespace linkcast::kernels
