#include "engine/scaler.h"

#include <cmath>
#include <stdexcept>
#include <string>

namespace linkcast {

Scaler::Scaler(std::vector<double> offset, std::vector<double> scale)
    : offset_(std::move(offset)), scale_(std::move(scale)) {
  if (offset_.size() != scale_.size() || offset_.empty())
    throw std::invalid_argument("scaler: expected one offset and one scale for each feature, got " +
                                std::to_string(offset_.size()) + " and " + std::to_string(scale_.size()));
  for (std::size_t f = 0; f < offset_.size(); ++f)
    if (!std::isfinite(offset_[f]) || !std::isfinite(scale_[f]) || scale_[f] == 0)
      throw std::invalid_argument("scaler: feature " + std::to_string(f) +
                                  ": expected a finite offset and a finite scale that is not zero");
}

template <class Real>
void Scaler::transform(const Real* features, std::size_t rows, float* scaled) const noexcept {
  const std::size_t n = offset_.size();
  const double* offset = offset_.data();
  const double* scale = scale_.data();
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t f = 0; f < n; ++f)
      scaled[r * n + f] = static_cast<float>((static_cast<double>(features[r * n + f]) - offset[f]) * scale[f]);
}

template void Scaler::transform(const float*, std::size_t, float*) const noexcept;
template void Scaler::transform(const double*, std::size_t, float*) const noexcept;

void Scaler::inverse_transform(const float* scaled, std::size_t rows, float* features) const noexcept {
  const std::size_t n = offset_.size();
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t f = 0; f < n; ++f)
      features[r * n + f] = static_cast<float>(static_cast<double>(scaled[r * n + f]) / scale_[f] + offset_[f]);
}

}  // namespace linkcast
