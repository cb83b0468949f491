// The mixture's online ridge regressions: what they learn from a tick's outcomes, and when they are solved.
#include <algorithm>
#include <array>
#include <cmath>

#include "engine/mixture.h"
#include "engine/sums.h"

namespace linkcast {
namespace {

// Chosen as those of mixture.cpp.
constexpr double kForgetFirst[] = {0.9999, 0.999, 0.99};
constexpr double kForgetAhead[] = {0.9999, 0.999};
constexpr double kRidge = 5e-4;  // of the mean of the Gram matrix' diagonal
constexpr double kLeastRidge = 0.021;
constexpr std::size_t kSolveEvery = 16;   // ticks: each regression is solved once in so many
constexpr std::size_t kSolveTargets = 4;  // targets solved in one tick

template <std::size_t N>
double trace_of(const std::array<double, N>& packed, std::size_t size) noexcept {
  double trace = 0;
  for (std::size_t row = 0, at = 0; row < size; ++row, at += row + 1) trace += packed[at];
  return trace;
}

/// Cholesky factor of gram + ridge * identity, both lower triangles row after row. @return false: not positive definite
bool factorise(const double* gram, double ridge, std::size_t size, double* factor) noexcept {
  for (std::size_t j = 0, row_j = 0; j < size; ++j, row_j += j)
    for (std::size_t k = 0, row_k = 0; k <= j; ++k, row_k += k) {
      double value = gram[row_j + k] + (j == k ? ridge : 0);
      for (std::size_t m = 0; m < k; ++m) value -= factor[row_j + m] * factor[row_k + m];
      if (k < j) {
        factor[row_j + k] = value / factor[row_k + k];
      } else {
        if (!(value > 1e-12)) return false;
        factor[row_j + k] = std::sqrt(value);
      }
    }
  return true;
}

/// Solves factor * factor^T * weights = right, with the ridge's pull on weight `pulled` to 1.
template <std::size_t N>
void substitute(const double* factor, double ridge, std::size_t pulled, const std::array<double, N>& right,
                std::array<double, N>& weights) noexcept {
  std::array<double, N> x;
  for (std::size_t j = 0, row = 0; j < N; ++j, row += j) {
    double value = right[j] + (j == pulled ? ridge : 0);
    for (std::size_t m = 0; m < j; ++m) value -= factor[row + m] * x[m];
    x[j] = value / factor[row + j];
  }
  // Column by column from the last, so that the factor is read along its rows.
  for (std::size_t j = N; j-- > 0;) {
    const std::size_t row = j * (j + 1) / 2;
    x[j] /= factor[row + j];
    for (std::size_t m = 0; m < j; ++m) x[m] -= factor[row + m] * x[j];
  }
  for (const double value : x)
    if (!std::isfinite(value)) return;
  weights = x;
}

/// gram = forget * gram + weight * features * features^T
template <std::size_t N, std::size_t P>
void add_outer(std::array<double, P>& gram, double forget, double weight,
               const std::array<double, N>& features) noexcept {
  double* row = gram.data();
  for (std::size_t j = 0; j < N; ++j) {
    const double weighted = weight * features[j];
    for (std::size_t k = 0; k <= j; ++k) row[k] = forget * row[k] + weighted * features[k];
    row += j + 1;
  }
}

/// Weight of one sample in a least-squares fit that follows an L1 fit (iteratively reweighted least squares).
double robust_weight(double error, double usual) noexcept { return std::min(1 / (error + 0.3 * usual + 1e-4), 50.0); }

void follow_error(double& usual, double error) noexcept { usual += 0.01 * (std::min(error, 5 * usual + 1e-6) - usual); }

}  // namespace

/// The regressions of one step ahead.
void Mixture::learn_first(Link& link, const Moment& then, double outcome) noexcept {
  const double step = (outcome - then.last) / then.unit;
  for (std::size_t g = 0; g < kFirst; ++g) {
    Regression& regression = link.regression[g];
    const double error = std::fabs(step - dot(regression.weights, then.features));
    const double weight = robust_weight(error, regression.error);
    follow_error(regression.error, error);
    add_outer(regression.gram, kForgetFirst[g], weight, then.features);
    for (std::size_t k = 0; k < kFeatures; ++k)
      regression.right[k] = kForgetFirst[g] * regression.right[k] + weight * step * then.features[k];
  }
  const std::size_t turn = link.ticks % kSolveEvery;
  if (turn >= kFirst) return;
  Regression& regression = link.regression[turn];
  const double ridge = kRidge * trace_of(regression.gram, kFeatures) / kFeatures + kLeastRidge;
  std::array<double, kPacked> factor;
  if (factorise(regression.gram.data(), ridge, kFeatures, factor.data()))
    substitute(factor.data(), ridge, kModelFeature, regression.right, regression.weights);
}

/// The regressions of the other targets learn the tick whose outcomes are all in.
void Mixture::learn_ahead(std::size_t row) noexcept {
  const Link& link = links_[row];
  const std::uint64_t tick = link.ticks - options_.horizon;
  const Moment& then = moment(row, tick);
  std::array<double, 2 * kMostHorizon - 1> step;  // (count) of each target, in units
  double peak = outcome(link, tick + 1);
  for (std::size_t h = 1; h <= options_.horizon; ++h) {
    const double reached = outcome(link, tick + h);
    if (!std::isfinite(reached)) return;
    peak = std::max(peak, reached);
    step[h - 1] = (reached - then.last) / then.unit;
    if (h > 1) step[options_.horizon + h - 2] = (peak - then.last) / then.unit;
  }
  for (std::size_t g = 0; g < kAhead; ++g) {
    SharedGram& shared = grams_[row * kAhead + g];
    double error = 0;
    for (std::size_t index = 1; index < count_; ++index)
      error += std::fabs(step[index] - dot(sides_[row * (count_ - 1) + index - 1].weights[g], then.features));
    error /= static_cast<double>(count_ - 1);
    const double weight = robust_weight(error, shared.error);
    follow_error(shared.error, error);
    add_outer(shared.gram, kForgetAhead[g], weight, then.features);
    for (std::size_t index = 1; index < count_; ++index) {
      auto& right = sides_[row * (count_ - 1) + index - 1].right[g];
      for (std::size_t k = 0; k < kFeatures; ++k)
        right[k] = kForgetAhead[g] * right[k] + weight * step[index] * then.features[k];
    }
  }
}

/// A part of the solving in each tick: no tick takes much longer than another.
void Mixture::solve_ahead(std::size_t row) noexcept {
  constexpr std::size_t kTurns =
      (2 * kMostHorizon - 2 + kSolveTargets - 1) / kSolveTargets;  // substitutions of one Gram
  static_assert(kFirst + kAhead * kTurns <= kSolveEvery);
  const std::size_t turn = links_[row].ticks % kSolveEvery;
  if (turn < kFirst) return;
  const std::size_t g = (turn - kFirst) / kTurns, part = (turn - kFirst) % kTurns;
  if (g >= kAhead) return;
  SharedGram& shared = grams_[row * kAhead + g];
  if (part == 0) {
    shared.ridge = kRidge * trace_of(shared.gram, kFeatures) / kFeatures + kLeastRidge;
    shared.factored = factorise(shared.gram.data(), shared.ridge, kFeatures, shared.factor.data());
  }
  if (shared.factored == 0) return;
  const std::size_t end = std::min(1 + (part + 1) * kSolveTargets, count_);
  for (std::size_t index = 1 + part * kSolveTargets; index < end; ++index) {
    AheadSides& sides = sides_[row * (count_ - 1) + index - 1];
    substitute(shared.factor.data(), shared.ridge, kModelFeature, sides.right[g], sides.weights[g]);
  }
}

}  // namespace linkcast
