#include "engine/scaler.h"

#include "bindings.h"

namespace linkcast::bindings {
namespace {

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;

Scaler make_scaler(const Doubles& offset, const Doubles& scale) {
  return Scaler({offset.data(), offset.data() + offset.size()}, {scale.data(), scale.data() + scale.size()});
}

py::array_t<double> copy_of(const std::vector<double>& values) {
  return py::array_t<double>(static_cast<py::ssize_t>(values.size()), values.data());
}

std::vector<py::ssize_t> checked_shape(const Scaler& scaler, const py::array& values) {
  const std::vector<py::ssize_t> shape(values.shape(), values.shape() + values.ndim());
  if (shape.empty() || shape.back() != static_cast<py::ssize_t>(scaler.features()))
    throw std::invalid_argument("features: expected (..., " + std::to_string(scaler.features()) + "), got " +
                                shape_text(shape));
  return shape;
}

template <class Real>
py::array_t<float> transform(const Scaler& scaler, const py::array_t<Real, py::array::c_style>& features) {
  py::array_t<float> scaled(checked_shape(scaler, features));
  scaler.transform(features.data(), static_cast<std::size_t>(features.size()) / scaler.features(),
                   scaled.mutable_data());
  return scaled;
}

py::array_t<float> inverse_transform(const Scaler& scaler,
                                     const py::array_t<float, py::array::c_style | py::array::forcecast>& scaled) {
  py::array_t<float> features(checked_shape(scaler, scaled));
  scaler.inverse_transform(scaled.data(), static_cast<std::size_t>(scaled.size()) / scaler.features(),
                           features.mutable_data());
  return features;
}

}  // namespace

void bind_scaler(py::module_& module) {
  py::class_<Scaler>(module, "Scaler",
                     "Min-max scaling as scikit-learn's MinMaxScaler: scaled = (features - offset) * scale.")
      .def(py::init(&make_scaler), py::arg("offset"), py::arg("scale"),
           "offset, scale: (n_features,) float64; ValueError unless finite and no scale is zero.")
      .def_property_readonly(
          "offset", [](const Scaler& s) { return copy_of(s.offset()); }, "(n_features,) float64")
      .def_property_readonly(
          "scale", [](const Scaler& s) { return copy_of(s.scale()); }, "(n_features,) float64")
      .def("transform", &transform<float>, py::arg("features").noconvert())
      .def(
          "transform",
          [](const Scaler& s, const Doubles& features) {
            return transform<double>(s, py::array_t<double, py::array::c_style>(features));
          },
          py::arg("features"),
          "(..., n_features) in physical units -> same shape, float32, dimensionless; float64 arithmetic, rounded "
          "once.")
      .def("inverse_transform", &inverse_transform, py::arg("scaled"),
           "(..., n_features) dimensionless -> same shape, float32, physical units.");
}

}  // namespace linkcast::bindings
