// The arithmetic of a mixture: one definition (mixture_targets.h, mixture_regressions.h), compiled for each width of
// registers, with the same bits from all.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "engine/mixture_parts.h"
#include "kernels/isa.h"

namespace linkcast::mixing {

/// The experts that all targets beyond one step share, by their forecasts, least first: sorted once a tick for the medians of
/// all.
struct Order {
  static constexpr std::size_t kSize = kNaive + 1;
  std::array<std::uint8_t, kSize> expert;
  std::array<double, kSize> value;

  /// Counts how many come before each: no branches, none of which could be foreseen.
  Order(const std::array<std::uint8_t, kSize>& experts, const std::array<double, kSize>& forecasts) noexcept {
    std::array<std::size_t, kSize> rank;
    for (std::size_t k = 0; k < kSize; ++k) {
      std::size_t later = 0;
      for (std::size_t before = 0; before < k; ++before) {
        const bool is_later = forecasts[before] > forecasts[k];
        rank[before] += is_later;
        later += is_later;
      }
      rank[k] = k - later;
    }
    for (std::size_t k = 0; k < kSize; ++k) expert[rank[k]] = experts[k], value[rank[k]] = forecasts[k];
  }
};

/// Targets whose outcomes have come, with what was expected of each.
template <std::size_t L>
struct Due {
  Rows<kExperts, L> expert;
  Rows<kInputs, L> inputs;
  Rows<kSpreads, L> spread;
  Lanes<L> answer;
  Lanes<L> outcome;
  Lanes<L> busy;  // the state of the link when they were expected
  std::array<bool, L> came;
  std::size_t steps;  // of the first of them
};

struct Arithmetic {
  /// What a tick expects of the first `count` targets beyond one step. Experts beyond the regressions are in `to` already.
  void (*expect)(const Moment& now, const Order& order, double slower, const Beyond<Targets>& of,
                 const std::array<SharedGram, kAhead>& grams, bool peaks, std::size_t count, Beyond<Expectations>& to);
  void (*expect_next)(const Moment& now, double slower, const Link& link, Expectations<1>& to);
  /// Weights and quantiles learn. @param turn  which of the aggregations are weighed anew
  void (*score)(const Beyond<Due>& due, const std::array<double, kLevels>& levels, std::size_t turn, std::size_t count,
                Beyond<Targets>& of);
  void (*score_next)(const Due<1>& due, const std::array<double, kLevels>& levels, bool weigh_spreads, Targets<1>& of);
  /// The regressions learn.
  void (*learn_next)(const Moment& then, double outcome, std::array<Regression, kFirst>& regressions);
  /// @param step  of the values, of the peaks: what came, in units
  void (*learn)(const Moment& then, const Rows<2, kBeyond>& step, std::size_t count,
                std::array<SharedGram, kAhead>& grams);
  void (*solve_next)(Regression& regression);
  void (*factorise)(SharedGram& gram);
  void (*solve)(SharedGram& gram, std::size_t group, std::size_t count);
};

/// For an instruction set that runs here.
const Arithmetic& arithmetic(Isa isa) noexcept;
/// For default_isa() when it was first asked for.
const Arithmetic& arithmetic();

// Each in a unit of its own.
const Arithmetic& arithmetic_portable() noexcept;
const Arithmetic& arithmetic_avx2() noexcept;
const Arithmetic& arithmetic_avx512() noexcept;

}  // namespace linkcast::mixing
