// Min-max scaling as scikit-learn's MinMaxScaler does it, of values or of their logarithms, as they are or as the
// difference to a reference.
#pragma once

#include <cstddef>
#include <vector>

namespace linkcast {

/// What a value is taken relative to before it is scaled.
enum class Reference { none, first, last };
const char* reference_name(Reference reference) noexcept;

/// How one feature, or the target, is scaled. The level of a value x is ln(max(x, 0) + log_offset) where there is a
/// log_offset, else x itself; then
///     scaled = (level - share * reference level - offset) * scale, cut to -bound..bound where there is a bound,
/// with the level of the window's first (oldest) sample or of a given value as the reference's, or 0 without one.
/// Ready to compute with; as a file has it, with min and max, it is linkcast.training.ranges.Range.
struct Range {
  double offset = 0;      ///< the minimum of what is scaled
  double scale = 1;       ///< 1 / (maximum - minimum); finite and not zero
  double log_offset = 0;  ///< in the feature's unit; 0: no logarithm
  Reference relative_to = Reference::none;
  double share = 1;  ///< of the reference level that is taken off; above 0, at most 1
  double bound = 0;  ///< of what is scaled, whose size is never above it; 0: none

  /// By how much the feature changes at `value` when what is scaled changes by 1.
  double slope(double value) const noexcept { return (log_offset > 0 ? value + log_offset : 1) / scale; }
};

/// All arithmetic is in float64 and rounded once.
class Scaler {
 public:
  Scaler() = default;
  /// @param ranges  (n_features) @throws std::invalid_argument
  explicit Scaler(std::vector<Range> ranges);

  std::size_t features() const noexcept { return ranges_.size(); }
  const Range& range(std::size_t feature) const noexcept { return ranges_[feature]; }
  const std::vector<Range>& ranges() const noexcept { return ranges_; }
  bool relative() const noexcept { return relative_; }  ///< at least one feature is

  /// Scales whole windows; a relative feature is so to its window's first step.
  /// @param features  (windows, steps, n_features), physical units
  /// @param scaled    same shape, dimensionless
  template <class Real>
  void transform(const Real* features, std::size_t windows, std::size_t steps, float* scaled) const noexcept;

  /// The two halves of that for one time step of a window that comes step by step.
  /// @param features  (n_features), physical units  @param levels  (n_features) out
  template <class Real>
  void level(const Real* features, double* levels) const noexcept;
  /// @param first   (n_features) levels of the window's first step
  /// @param scaled  (n_features) out
  void scale(const double* levels, const double* first, float* scaled) const noexcept;

  /// What was scaled, in physical units; at least 0 where there is a log_offset. A scaled value beyond a bound counts
  /// as the bound.
  /// @param scaled     (rows, n_features)
  /// @param features   same shape, may be `scaled`
  /// @param reference  n_features values in physical units for each row, from `stride` to `stride`: what the row's
  ///                   relative features are relative to; not read without such features
  template <class Real>
  void inverse_transform(const float* scaled, std::size_t rows, float* features, const Real* reference,
                         std::size_t stride) const noexcept;

 private:
  std::vector<Range> ranges_;  // (n_features)
  bool plain_ = true;          // neither logarithms, references nor bounds
  bool relative_ = false;
};

}  // namespace linkcast
