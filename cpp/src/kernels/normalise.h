// What looks at a whole row at once: softmax, and the normalisation of a layer.
//
// The lanes behind a row's last whole vector take no part: they are filled with what changes neither a maximum nor a sum
// of squares, and are not stored.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>

#include "activation.h"

namespace linkcast::kernels {
namespace {

/// Calls step(i, n) for each vector of a row: n elements from i on.
template <class V, class Step>
LINKCAST_INLINE void each_vector(std::size_t width, Step step) {
  std::size_t i = 0;
  for (; i + V::lanes <= width; i += V::lanes) step(i, V::lanes);
  if (i < width) step(i, width - i);
}

/// y[i] = exp(beta (x[i] - max x)) / sum over the row; no exponent is above 0, so that nothing overflows. beta > 0.
template <class V>
void softmax(const float* x, std::size_t x_stride, std::size_t rows, std::size_t width, float beta, float* y,
             std::size_t y_stride) {
  constexpr float lowest = -std::numeric_limits<float>::infinity();
  const auto factor = V::set(-minus_log2_e * beta);
  for (std::size_t row = 0; row < rows; ++row, x += x_stride, y += y_stride) {
    auto top = V::set(lowest);
    each_vector<V>(width, [&](std::size_t i, std::size_t n) {
      top = V::larger(top, n == V::lanes ? V::load(x + i) : V::load_first(x + i, n, lowest));
    });
    const auto largest = V::set(V::largest_of(top));
    auto sum = V::zero();
    each_vector<V>(width, [&](std::size_t i, std::size_t n) {
      // A lane behind the end is 2^-100, beside a sum of at least 1.
      const auto value = n == V::lanes ? V::load(x + i) : V::load_first(x + i, n, lowest);
      const auto power = exp2_clamped<V>(V::mul(V::sub(value, largest), factor));
      sum = V::add(sum, power);
      if (n == V::lanes)
        V::store(y + i, power);
      else
        V::store_first(y + i, power, n);
    });
    const auto share = V::set(1.0f / V::sum_of(sum));
    each_vector<V>(width, [&](std::size_t i, std::size_t n) {
      if (n == V::lanes)
        V::store(y + i, V::mul(V::load(y + i), share));
      else
        V::store_first(y + i, V::mul(V::load_first(y + i, n), share), n);
    });
  }
}

/// y[i] = (x[i] - mean) / sqrt(variance + epsilon), both over the row (Ba, Kiros, Hinton 2016). The variance is that of
/// the differences, which does not cancel.
template <class V>
void normalise(const float* x, std::size_t x_stride, std::size_t rows, std::size_t width, float epsilon, float* y,
               std::size_t y_stride) {
  const float share = 1.0f / static_cast<float>(width);
  for (std::size_t row = 0; row < rows; ++row, x += x_stride, y += y_stride) {
    auto sum = V::zero();
    each_vector<V>(width, [&](std::size_t i, std::size_t n) {
      sum = V::add(sum, n == V::lanes ? V::load(x + i) : V::load_first(x + i, n));
    });
    const float middle = V::sum_of(sum) * share;
    const auto mean = V::set(middle);
    auto squares = V::zero();
    each_vector<V>(width, [&](std::size_t i, std::size_t n) {
      const auto away = V::sub(n == V::lanes ? V::load(x + i) : V::load_first(x + i, n, middle), mean);
      squares = V::fma(away, away, squares);
    });
    const auto scale = V::set(1.0f / std::sqrt(V::sum_of(squares) * share + epsilon));
    each_vector<V>(width, [&](std::size_t i, std::size_t n) {
      if (n == V::lanes)
        V::store(y + i, V::mul(V::sub(V::load(x + i), mean), scale));
      else
        V::store_first(y + i, V::mul(V::sub(V::load_first(x + i, n), mean), scale), n);
    });
  }
}

}  // namespace
}  // namespace linkcast::kernels
