// Sigmoid, tanh and the LSTM cell over a vector type.
//
// Everything rests on 2^t with a relative error of 1.3e-7: sigmoid(x) = 1 / (1 + 2^(-x log2 e)) and
// tanh(x) = (1 - e) / (1 + e), e = 2^(-2 x log2 e). Absolute errors: sigmoid 1.2e-7, tanh 2e-7 (measured in the tests).
#pragma once

#include "network_spec.h"

#define LINKCAST_INLINE inline __attribute__((always_inline))
// Before a loop over registers: it has to be gone before the compiler decides what lives in registers. Four blocks of
// gates are sixteen.
#ifdef __AVX512F__
#define LINKCAST_UNROLL _Pragma("GCC unroll 16")
#else
#define LINKCAST_UNROLL _Pragma("GCC unroll 8")
#endif
#define LINKCAST_NO_UNROLL _Pragma("GCC unroll 1")

namespace linkcast::kernels {
namespace {

constexpr float minus_log2_e = -1.44269504f;
constexpr float minus_two_log2_e = -2.88539008f;

/// 2^t for t in -100..40, above it 2^40, below it between 0 and 2^-100; NaN stays NaN. The upper end keeps the product of
/// three (1 + 2^t) below the largest float.
template <class V>
LINKCAST_INLINE typename V::Float exp2_clamped(typename V::Float t) {
  using Float = typename V::Float;
  Float r;      // in -0.5..0.5
  Float whole;  // t - r, as times_power_of_two() takes it
  if constexpr (requires { V::fraction(t); }) {
    t = V::min(40.0f, t);
    r = V::fraction(t);
    whole = V::sub(t, r);
  } else {
    t = V::max(-100.0f, V::min(40.0f, t));
    const Float shift = V::set(12582912.0f);  // 1.5 * 2^23: adding it rounds to the nearest integer
    whole = V::add(t, shift);
    r = V::sub(t, V::sub(whole, shift));
  }
  // Minimax fits of 2^r in relative error (Lawson's iteration in float64), the constant term held at 1.
  Float p;
  if constexpr (requires { V::coarse; }) {  // 2.9e-6
    p = V::set(9.582843380e-3f);
    p = V::fma(p, r, V::set(5.590642563e-2f));
    p = V::fma(p, r, V::set(2.402409878e-1f));
    p = V::fma(p, r, V::set(6.931241934e-1f));
  } else {  // 9.2e-8
    p = V::set(1.326472731e-3f);
    p = V::fma(p, r, V::set(9.671512991e-3f));
    p = V::fma(p, r, V::set(5.550733581e-2f));
    p = V::fma(p, r, V::set(2.402224243e-1f));
    p = V::fma(p, r, V::set(6.931470037e-1f));
  }
  p = V::fma(p, r, V::set(1.0f));
  return V::times_power_of_two(p, whole);
}

/// c of the LSTM cell, from the powers of its gates: see lstm_cell.
template <class V>
LINKCAST_INLINE typename V::Float lstm_cell_state(typename V::Float ei, typename V::Float ef, typename V::Float eg,
                                                  typename V::Float c, float cell_limit) {
  using Float = typename V::Float;
  const Float one = V::set(1.0f);
  const Float ig = V::mul(V::add(one, ei), V::add(one, eg));
  const Float f = V::add(one, ef);
  c = V::mul(V::fma(c, ig, V::mul(V::sub(one, eg), f)), V::reciprocal(V::mul(ig, f)));
  return V::max(-cell_limit, V::min(cell_limit, c));
}

/// h of the LSTM cell, from the power of its output gate and its c.
template <class V>
LINKCAST_INLINE typename V::Float lstm_hidden_state(typename V::Float eo, typename V::Float c) {
  using Float = typename V::Float;
  const Float one = V::set(1.0f);
  const Float ec = exp2_clamped<V>(V::mul(c, V::set(minus_two_log2_e)));
  return V::mul(V::sub(one, ec), V::reciprocal(V::mul(V::add(one, eo), V::add(one, ec))));
}

/// The LSTM cell: c = f * c + i * g, h = o * tanh(c), from pre-activations i, g, f, o that already carry the factors
/// -log2(e), -2 log2(e), -log2(e), -log2(e). Sigmoids and tanhs share denominators, so there are two reciprocals and
/// not five:
///   c = (c (1 + ei)(1 + eg) + (1 - eg)(1 + ef)) / ((1 + ef)(1 + ei)(1 + eg)),  h = (1 - ec) / ((1 + eo)(1 + ec)).
/// c is kept within -cell_limit .. cell_limit.
template <class V>
LINKCAST_INLINE typename V::Float lstm_cell(const typename V::Float (&gates)[4], typename V::Float& c,
                                            float cell_limit) {
  using Float = typename V::Float;
  const Float ei = exp2_clamped<V>(gates[0]);
  const Float ef = exp2_clamped<V>(gates[1]);
  const Float eg = exp2_clamped<V>(gates[2]);
  const Float eo = exp2_clamped<V>(gates[3]);
  c = lstm_cell_state<V>(ei, ef, eg, c, cell_limit);
  return lstm_hidden_state<V>(eo, c);
}

template <class V>
LINKCAST_INLINE typename V::Float sigmoid(typename V::Float x) {
  return V::reciprocal(V::add(V::set(1.0f), exp2_clamped<V>(V::mul(x, V::set(minus_log2_e)))));
}

template <class V>
LINKCAST_INLINE typename V::Float tanh(typename V::Float x) {
  using Float = typename V::Float;
  const Float one = V::set(1.0f);
  const Float e = exp2_clamped<V>(V::mul(x, V::set(minus_two_log2_e)));
  return V::mul(V::sub(one, e), V::reciprocal(V::add(one, e)));
}

template <class V>
LINKCAST_INLINE typename V::Float activate(typename V::Float x, Activation activation) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return V::max(0.0f, x);
    case Activation::relu6:
      return V::min(6.0f, V::max(0.0f, x));
    case Activation::tanh:
      return tanh<V>(x);
    case Activation::sigmoid:
      return sigmoid<V>(x);
    case Activation::unit:
      return V::min(1.0f, V::max(0.0f, x));
    case Activation::most_one:
      return V::min(1.0f, x);
  }
  return x;
}

}  // namespace
}  // namespace linkcast::kernels
