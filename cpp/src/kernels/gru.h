// The cells of recurrences whose products stand in memory: the GRU, and the LSTM with any activations.
#pragma once

#include "activation.h"
#include "kernels.h"

namespace linkcast::kernels {
namespace {

/// The gates of one row, from its input's products and those of its state.
template <class V>
struct GateSums {
  const float* gates;
  const float* products;
  std::size_t padded;

  typename V::Float input(std::size_t gate, std::size_t at) const { return V::load(gates + gate * padded + at); }
  typename V::Float state(std::size_t gate, std::size_t at) const { return V::load(products + gate * padded + at); }
  typename V::Float sum(std::size_t gate, std::size_t at) const { return V::add(input(gate, at), state(gate, at)); }
};

/// h = z * h + (1 - z) * g from pre-activations z and g that carry the factors -log2(e) and -2 log2(e). Sigmoid and
/// tanh share a denominator, so that there is one reciprocal:
///   h = (h (1 + eg) + ez (1 - eg)) / ((1 + ez)(1 + eg)).
template <class V>
LINKCAST_INLINE typename V::Float gru_cell(typename V::Float z, typename V::Float g, typename V::Float h) {
  using Float = typename V::Float;
  const Float one = V::set(1.0f);
  const Float ez = exp2_clamped<V>(z);
  const Float eg = exp2_clamped<V>(g);
  const Float kept = V::add(one, eg);
  const Float total = V::fma(h, kept, V::mul(ez, V::sub(one, eg)));
  return V::mul(total, V::reciprocal(V::mul(V::add(one, ez), kept)));
}

/// The reset gate, from a pre-activation that carries its factor when it is a sigmoid's.
template <class V, bool Plain>
LINKCAST_INLINE typename V::Float reset_gate(typename V::Float r, Activation function) {
  if constexpr (Plain) return V::reciprocal(V::add(V::set(1.0f), exp2_clamped<V>(r)));
  return activate<V>(r, function);
}

/// r * h of one row, of which gru_reset_before makes its candidate.
template <class V, bool Plain>
LINKCAST_INLINE void gru_reset_row(const RecurrenceArgs& args, const GateSums<V>& sums, const float* h, float* reset) {
  for (std::size_t i = 0; i < args.padded; i += V::lanes)
    V::store(reset + i, V::mul(reset_gate<V, Plain>(sums.sum(1, i), args.gate_activation), V::load(h + i)));
}

/// @tparam Plain  sigmoid and tanh, with factors from packing
/// @param h  null: zero
template <class V, bool Plain>
LINKCAST_INLINE void gru_row(const RecurrenceArgs& args, const GateSums<V>& sums, const float* h, float* h_out) {
  using Float = typename V::Float;
  const bool after = args.cell == RecurrenceArgs::Cell::gru_reset_after;
  for (std::size_t i = 0; i < args.padded; i += V::lanes) {
    const Float before = h != nullptr ? V::load(h + i) : V::zero();
    const Float candidate =
        after ? V::fma(reset_gate<V, Plain>(sums.sum(1, i), args.gate_activation), sums.state(2, i), sums.input(2, i))
              : sums.sum(2, i);
    if constexpr (Plain) {
      V::store(h_out + i, gru_cell<V>(sums.sum(0, i), candidate, before));
    } else {
      const Float z = activate<V>(sums.sum(0, i), args.gate_activation);
      const Float g = activate<V>(candidate, args.activation);
      V::store(h_out + i, V::fma(z, V::sub(before, g), g));
    }
  }
}

/// An LSTM of any activations: no factors stand in its pre-activations.
/// @param first  the cell state is zero, whatever stands in c
template <class V>
LINKCAST_INLINE void lstm_row(const RecurrenceArgs& args, const GateSums<V>& sums, bool first, float* c, float* h_out) {
  using Float = typename V::Float;
  for (std::size_t i = 0; i < args.padded; i += V::lanes) {
    const Float written =
        V::mul(activate<V>(sums.sum(0, i), args.gate_activation), activate<V>(sums.sum(2, i), args.activation));
    const Float kept = activate<V>(sums.sum(1, i), args.gate_activation);
    const Float cell =
        V::max(-args.cell_limit, V::min(args.cell_limit, V::fma(kept, first ? V::zero() : V::load(c + i), written)));
    V::store(c + i, cell);
    V::store(h_out + i, V::mul(activate<V>(sums.sum(3, i), args.gate_activation), activate<V>(cell, args.activation)));
  }
}

}  // namespace
}  // namespace linkcast::kernels
