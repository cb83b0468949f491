// Min-max scaling as scikit-learn's MinMaxScaler does it.
#pragma once

#include <cstddef>
#include <vector>

namespace linkcast {

class Scaler {
 public:
  Scaler() = default;
  /// @param offset  (n_features), physical units: the minimum
  /// @param scale   (n_features), 1 / (maximum - minimum); finite and not zero
  /// @throws std::invalid_argument
  Scaler(std::vector<double> offset, std::vector<double> scale);

  std::size_t features() const noexcept { return offset_.size(); }
  const std::vector<double>& offset() const noexcept { return offset_; }
  const std::vector<double>& scale() const noexcept { return scale_; }

  /// scaled[r, f] = (features[r, f] - offset[f]) * scale[f], in float64, rounded once.
  /// @param features  (rows, n_features), row-major, physical units
  /// @param scaled    same shape, dimensionless; may alias `features`
  template <class Real>
  void transform(const Real* features, std::size_t rows, float* scaled) const noexcept;

  /// features[r, f] = scaled[r, f] / scale[f] + offset[f], in float64, rounded once.
  void inverse_transform(const float* scaled, std::size_t rows, float* features) const noexcept;

 private:
  std::vector<double> offset_;  // (n_features)
  std::vector<double> scale_;   // (n_features)
};

}  // namespace linkcast
