// int8 weights with the CPU's byte dot product: four neighbouring k of a unit in each lane, summed exactly in integers.
#include <type_traits>

#include "rows_int8.h"
#include "table.h"

namespace linkcast::kernels {
namespace {

struct ProductInt8Vnni : RowsInt8 {
  struct Nothing {};
  static constexpr bool adds_late = true;  // has add_to
  static constexpr int max_rows = 3;       // two sums each

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

  template <int R, int P, bool Reverse, int S = split_of(2 * R * P)>  // of integers, whose order is no matter
  static LINKCAST_INLINE void add(Float (&sum)[R][P], const Matrix& matrix, std::size_t panel, const Operand& x,
                                  std::size_t row) {
    multiply<R, P, Reverse>(matrix, panel, x, row, sum, [&](int r, int v) { return sum[r][v]; }, Nothing{});
  }

  /// sum = start + product. The start is read when the product is there: it would take the registers of P of its sums.
  /// @param start    (R), each P vectors
  /// @param between  called with 0, 1 and 2 when so many quarters of the product and one more are there
  template <int R, int P, bool Reverse, class Between = Nothing>
  static LINKCAST_INLINE void add_to(const float* const (&start)[R], Float (&sum)[R][P], const Matrix& matrix,
                                     std::size_t panel, const Operand& x, std::size_t row,
                                     const Between& between = {}) {
    multiply<R, P, Reverse>(
        matrix, panel, x, row, sum,
        [&](int r, int v) { return Vec::load(start[r] + static_cast<std::size_t>(v) * Vec::lanes); }, between);
  }

 private:
  template <int R, int P, bool Reverse, class Start, class Between>
  static LINKCAST_INLINE void multiply(const Matrix& matrix, std::size_t panel, const Operand& x, std::size_t row,
                                       Float (&sum)[R][P], const Start& start, const Between& between) {
    const std::size_t groups = (matrix.depth + 3) / 4;
    typename Ops::Sum integers[2 * R][P];  // high and low bytes of a row are two rows to the product
    LINKCAST_UNROLL
    for (int r = 0; r < 2 * R; ++r) {
      LINKCAST_UNROLL
      for (int v = 0; v < P; ++v)
        integers[r][v] = r % 2 == 0 ? (typename Ops::Sum)first_of_high(matrix, panel, v) : Ops::zero();
    }
    const Operand halves{x.data, x.stride / 2, nullptr};
    if constexpr (std::is_same_v<Between, Nothing>) {
      multiply_panel<Ops, 2 * R, P, Reverse>(integers, matrix, panel, groups, halves, 2 * row);
    } else {
      const std::ptrdiff_t panel_bytes = static_cast<std::ptrdiff_t>(groups) * 4 * Ops::vector_bytes;
      const char* w = static_cast<const char*>(matrix.weights) + static_cast<std::ptrdiff_t>(panel) * panel_bytes;
      std::size_t done = 0;
      LINKCAST_NO_UNROLL
      for (std::size_t quarter = 0; quarter < 4; ++quarter) {
        __asm__("" : "+r"(quarter));  // the product's code once, and not four times
        const std::size_t end = groups * (quarter + 1) / 4;
        const std::size_t from = Reverse ? groups - end : done;
        const Operand part{static_cast<const char*>(x.data) + from * Ops::input_bytes, x.stride / 2, nullptr};
        accumulate<Ops, 2 * R, P, Reverse>(integers, w + static_cast<std::ptrdiff_t>(from) * 4 * Ops::vector_bytes,
                                           panel_bytes, end - done, part, 2 * row);
        done = end;
        if (quarter < 3) between(static_cast<int>(quarter));
      }
    }
    LINKCAST_UNROLL
    for (int v = 0; v < P; ++v) {
      const std::size_t first = (panel * 4 + static_cast<std::size_t>(v)) * 16;
      LINKCAST_UNROLL
      for (int r = 0; r < R; ++r) {
        const float step = x.scale == nullptr ? 1.0f / largest : x.scale[row + static_cast<std::size_t>(r)];
        sum[r][v] = add_integers(start(r, v), (__m512i)integers[2 * r][v], (__m512i)integers[2 * r + 1][v], matrix,
                                 first, step);
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
