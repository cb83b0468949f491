// The mixture's online ridge regressions: what they learn from a tick's outcomes, and how they are solved. Included by the
// unit of each instruction set.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "engine/lanes.h"
#include "engine/mixture_arithmetic.h"

namespace linkcast::mixing {
namespace {

// Chosen as those of mixture_targets.h.
constexpr std::array<double, kFirst> kForgetFirst = {0.9999, 0.999, 0.99};
constexpr std::array<double, kAhead> kForgetAhead = {0.9999, 0.999};
constexpr double kRidge = 5e-4;  // of the mean of the Gram matrix' diagonal
constexpr double kLeastRidge = 0.021;

/// The first column that a row of a Triangle has.
constexpr std::size_t start_of(std::size_t row) noexcept { return row / 4 * 4; }

/// row_of(triangle, j)[k] is the number at row j, column k, for k from start_of(j).
template <class Numbers>
auto* row_of(Numbers& triangle, std::size_t row) noexcept {
  static constexpr std::array<std::uint8_t, kFeatures> kOffset = [] {
    std::array<std::uint8_t, kFeatures> offsets{};
    for (std::size_t j = 0, end = 0; j < kFeatures; end += kFeatures - start_of(j), ++j)
      offsets[j] = static_cast<std::uint8_t>(end - start_of(j));
    return offsets;
  }();
  return triangle.data() + kOffset[row];
}

inline double ridge_of(const Triangle& gram) noexcept {
  double trace = 0;
  for (std::size_t k = 0; k < kFeatures; ++k) trace += row_of(gram, k)[k];
  return kRidge * trace / kFeatures + kLeastRidge;
}

/// gram = forget * gram + weight * features * features^T
inline void add_outer(Triangle& gram, double forget, double weight,
                      const std::array<double, kFeatures>& features) noexcept {
  std::array<double, kFeatures> weighted;
  for (std::size_t k = 0; k < kFeatures; ++k) weighted[k] = weight * features[k];
#pragma GCC unroll 16
  for (std::size_t j = 0; j < kFeatures; ++j) {
    double* const row = row_of(gram, j);
    in_packs(
        kFeatures,
        [&]<class V>(std::size_t k) {
          store(row + k, forget * load<V>(row + k) + weighted[j] * load<V>(&features[k]));
        },
        start_of(j));
  }
}

/// Cholesky factor of gram + ridge * identity: factor^T * factor, row after row. On its diagonal stand reciprocals.
/// @return false: not positive definite
inline bool factor_of(const Triangle& gram, double ridge, Triangle& factor) noexcept {
  factor = gram;
  for (std::size_t j = 0; j < kFeatures; ++j) {
    double* const pivot = row_of(factor, j);
    const double square = pivot[j] + ridge;
    if (!(square > 1e-12)) return false;
    const double scale = 1 / std::sqrt(square);
    const auto each = [&](std::size_t row, const auto& act) { in_packs(kFeatures, act, start_of(row)); };
    each(j, [&]<class V>(std::size_t k) { store(pivot + k, load<V>(pivot + k) * scale); });
    pivot[j] = scale;
    for (std::size_t m = j + 1; m < kFeatures; ++m) {
      double* const row = row_of(factor, m);
      each(m, [&]<class V>(std::size_t k) { store(row + k, load<V>(row + k) - pivot[m] * load<V>(pivot + k)); });
    }
  }
  return true;
}

/// Solves factor^T * factor * weights = right, with the ridge's pull on the model's weight to 1.
template <class V, std::size_t L>
void substitute(const Triangle& factor, double ridge, Sides<L>& sides, std::size_t lane) noexcept {
  std::array<V, kFeatures> x;
  for (std::size_t k = 0; k < kFeatures; ++k) x[k] = load<V>(&sides.right[k][lane]);
  x[kModelFeature] = x[kModelFeature] + ridge;
  for (std::size_t j = 0; j < kFeatures; ++j) {
    const double* const row = row_of(factor, j);
    x[j] = x[j] * row[j];
    for (std::size_t k = j + 1; k < kFeatures; ++k) x[k] = x[k] - row[k] * x[j];
  }
  for (std::size_t j = kFeatures; j-- > 0;) {
    const double* const row = row_of(factor, j);
    V value = x[j];
    for (std::size_t k = kFeatures; k-- > j + 1;) value = value - row[k] * x[k];
    x[j] = value * row[j];
  }
  V wrong{};  // stays 0 where all are finite
  for (std::size_t k = 0; k < kFeatures; ++k) wrong = wrong + (x[k] - x[k]);
  for (std::size_t k = 0; k < kFeatures; ++k)
    store(&sides.weights[k][lane], wrong == 0 ? x[k] : load<V>(&sides.weights[k][lane]));
}

/// Weight of one sample in a least-squares fit that follows an L1 fit (iteratively reweighted least squares).
inline double robust_weight(double error, double usual) noexcept {
  return std::min(1 / (error + 0.3 * usual + 1e-4), 50.0);
}

inline void follow_error(double& usual, double error) noexcept {
  usual += 0.01 * (std::min(error, 5 * usual + 1e-6) - usual);
}

/// The solutions' answer to the features, in units.
template <class V, std::size_t L>
V answer_of(const Rows<kFeatures, L>& weights, const std::array<double, kFeatures>& features,
            std::size_t lane) noexcept {
  std::array<V, 4> sums{};
  for (std::size_t k = 0; k < kFeatures; k += 4)
    for (std::size_t chain = 0; chain < 4; ++chain)
      sums[chain] = sums[chain] + load<V>(&weights[k + chain][lane]) * features[k + chain];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/// What a regression forecasts.
template <class V, std::size_t L>
V regress(const Rows<kFeatures, L>& weights, const Moment& now, std::size_t lane) noexcept {
  return least(most(now.last + answer_of<V>(weights, now.features, lane) * now.unit, 0.0), now.highest);
}

/// right = forget * right + weighted * features
inline void add_step(Rows<kFeatures, 1>& right, double forget, double weighted,
                     const std::array<double, kFeatures>& features) noexcept {
  in_packs(kFeatures, [&]<class V>(std::size_t k) {
    store(&right[k][0], forget * load<V>(&right[k][0]) + weighted * load<V>(&features[k]));
  });
}

inline void learn_next(const Moment& then, double outcome, std::array<Regression, kFirst>& regressions) noexcept {
  const double step = (outcome - then.last) / then.unit;
  for (std::size_t g = 0; g < kFirst; ++g) {
    Regression& regression = regressions[g];
    const double error = std::fabs(step - answer_of<double>(regression.sides.weights, then.features, 0));
    const double weight = robust_weight(error, regression.error);
    follow_error(regression.error, error);
    add_outer(regression.gram, kForgetFirst[g], weight, then.features);
    add_step(regression.sides.right, kForgetFirst[g], weight * step, then.features);
  }
}

inline void learn(const Moment& then, const Rows<2, kBeyond>& step, std::size_t count,
                  std::array<SharedGram, kAhead>& grams) noexcept {
  const std::size_t lanes = std::min(count, kLanes);
  for (std::size_t g = 0; g < kAhead; ++g) {
    SharedGram& shared = grams[g];
    Rows<2, kBeyond> errors;
    for (std::size_t group = 0; group < 2; ++group) {
      const auto& sides = shared.sides[group];
      in_packs(lanes, [&]<class V>(std::size_t lane) {
        const V answer = answer_of<V>(sides.most.weights, then.features, lane);
        store(&errors[group][lane], size_of(load<V>(&step[group][lane]) - answer));
      });
      errors[group][kLanes] = std::fabs(step[group][kLanes] - answer_of<double>(sides.last.weights, then.features, 0));
    }
    double error = 0;
    for (std::size_t target = 0; target < count; ++target) error += errors[0][target] + errors[1][target];
    error /= static_cast<double>(2 * count);
    const double weight = robust_weight(error, shared.error), forget = kForgetAhead[g];
    follow_error(shared.error, error);
    add_outer(shared.gram, forget, weight, then.features);
    for (std::size_t group = 0; group < 2; ++group) {
      auto& sides = shared.sides[group];
      in_packs(lanes, [&]<class V>(std::size_t lane) {
        const V weighted = weight * load<V>(&step[group][lane]);
        for (std::size_t k = 0; k < kFeatures; ++k) {
          double* const right = &sides.most.right[k][lane];
          store(right, forget * load<V>(right) + weighted * then.features[k]);
        }
      });
      if (count > kLanes) add_step(sides.last.right, forget, weight * step[group][kLanes], then.features);
    }
  }
}

}  // namespace
}  // namespace linkcast::mixing
