#include "engine/scaler.h"

#include <pybind11/stl.h>

#include <optional>

#include "bindings.h"

namespace linkcast::bindings {
namespace {

using Doubles = py::array_t<double, py::array::c_style>;
using Words = std::vector<std::optional<std::string>>;

Reference reference_from_name(const std::string& name) {
  for (const Reference reference : {Reference::first, Reference::last})
    if (name == reference_name(reference)) return reference;
  throw std::invalid_argument("relative_to: expected \"first\", \"last\" or None, got \"" + name + "\"");
}

void check_count(const char* what, std::size_t expected, std::size_t count) {
  if (count != expected)
    throw std::invalid_argument(std::string("scaler: expected ") + what + " for each of " + std::to_string(expected) +
                                " features, got " + std::to_string(count));
}

std::optional<Doubles> optional_numbers(const py::object& values, const std::string& what) {
  return values.is_none() ? std::nullopt : std::optional(as_numbers(values, what));
}

Scaler make_scaler(const py::object& offsets, const py::object& scales, const py::object& log_offsets,
                   const std::optional<Words>& relative_to, const py::object& shares, const py::object& bounds) {
  const Doubles offset = as_numbers(offsets, "offset");
  const Doubles scale = as_numbers(scales, "scale");
  const auto log_offset = optional_numbers(log_offsets, "log_offset");
  const auto share = optional_numbers(shares, "share");
  const auto bound = optional_numbers(bounds, "bound");
  const auto features = static_cast<std::size_t>(offset.size());
  check_count("one scale", features, static_cast<std::size_t>(scale.size()));
  if (log_offset) check_count("one log_offset", features, static_cast<std::size_t>(log_offset->size()));
  if (relative_to) check_count("one relative_to", features, relative_to->size());
  if (share) check_count("one share", features, static_cast<std::size_t>(share->size()));
  if (bound) check_count("one bound", features, static_cast<std::size_t>(bound->size()));
  std::vector<Range> ranges(features);
  for (std::size_t f = 0; f < features; ++f) {
    ranges[f].offset = offset.data()[f];
    ranges[f].scale = scale.data()[f];
    if (log_offset) ranges[f].log_offset = log_offset->data()[f];
    if (relative_to && (*relative_to)[f]) ranges[f].relative_to = reference_from_name(*(*relative_to)[f]);
    if (share) ranges[f].share = share->data()[f];
    if (bound) ranges[f].bound = bound->data()[f];
  }
  return Scaler(std::move(ranges));
}

/// One field of every feature's range.
py::array_t<double> field(const Scaler& scaler, double Range::* member) {
  py::array_t<double> values(static_cast<py::ssize_t>(scaler.features()));
  for (std::size_t f = 0; f < scaler.features(); ++f) values.mutable_data()[f] = scaler.range(f).*member;
  return values;
}

Words relative_to(const Scaler& scaler) {
  Words words;
  for (const Range& range : scaler.ranges())
    words.push_back(range.relative_to == Reference::none
                        ? std::nullopt
                        : std::optional<std::string>(reference_name(range.relative_to)));
  return words;
}

/// The shape of values that end in the features, or in the steps and features of windows.
std::vector<py::ssize_t> checked_shape(const Scaler& scaler, const py::array& values, bool windows) {
  const std::vector<py::ssize_t> shape(values.shape(), values.shape() + values.ndim());
  if (shape.size() < (windows ? 2 : 1) || shape.back() != static_cast<py::ssize_t>(scaler.features()))
    throw std::invalid_argument(std::string("features: expected (..., ") + (windows ? "steps, " : "") +
                                std::to_string(scaler.features()) + "), got " + shape_text(shape));
  return shape;
}

template <class Real>
py::array_t<float> transform_array(const Scaler& scaler, const py::array_t<Real, py::array::c_style>& features) {
  for (const Range& range : scaler.ranges())
    if (range.relative_to == Reference::last)
      throw std::invalid_argument(
          "transform: expected features, got a scaler of a target that is relative to \"last\"");
  const auto shape = checked_shape(scaler, features, scaler.relative());
  py::array_t<float> scaled(shape);
  const std::size_t steps = scaler.relative() ? static_cast<std::size_t>(shape[shape.size() - 2]) : 1;
  if (features.size() > 0)
    scaler.transform(features.data(), static_cast<std::size_t>(features.size()) / scaler.features() / steps, steps,
                     scaled.mutable_data());
  return scaled;
}

py::array_t<float> transform(const Scaler& scaler, const py::object& features) {
  using Floats = py::array_t<float, py::array::c_style>;
  if (py::isinstance<Floats>(features) && !py::hasattr(features, "mask"))
    return transform_array(scaler, py::reinterpret_borrow<Floats>(features));
  return transform_array(scaler, as_numbers(features, "features"));
}

py::array_t<float> inverse_transform(const Scaler& scaler, const py::object& scaled_values,
                                     const py::object& references) {
  const py::array_t<float, py::array::c_style | py::array::forcecast> scaled(as_numbers(scaled_values, "scaled"));
  const auto reference = optional_numbers(references, "reference");
  const auto shape = checked_shape(scaler, scaled, false);
  if (scaler.relative() && !reference)
    throw std::invalid_argument("reference: expected the values that these are relative to, got none");
  if (reference && checked_shape(scaler, *reference, false) != shape)
    throw std::invalid_argument("reference: expected " + shape_text(shape) + ", got " +
                                shape_text(checked_shape(scaler, *reference, false)));
  py::array_t<float> features(shape);
  scaler.inverse_transform(scaled.data(), static_cast<std::size_t>(scaled.size()) / scaler.features(),
                           features.mutable_data(), reference ? reference->data() : nullptr, scaler.features());
  return features;
}

}  // namespace

void bind_scaler(py::module_& module) {
  py::class_<Scaler>(module, "Scaler",
                     R"(Min-max scaling as scikit-learn's MinMaxScaler, of values or of their logarithms.

The level of a value x is ln(max(x, 0) + log_offset) where there is a log_offset, else x itself; then
scaled = (level - share * reference level - offset) * scale, with the level of the window's first step (relative_to "first") or
of a value that is given ("last", of a target) as the reference's, or 0. Cut to -bound..bound where there is a bound. All
in float64, rounded once.)")
      .def(py::init(&make_scaler), py::arg("offset"), py::arg("scale"), py::arg("log_offset") = py::none(),
           py::arg("relative_to") = py::none(), py::arg("share") = py::none(), py::arg("bound") = py::none(),
           R"(Each for every feature.

Args:
    offset, scale: float64; the minimum, and 1 / (maximum - minimum).
    log_offset: above 0, in the feature's unit; 0: no logarithm. None: none has one.
    relative_to: "first", "last" or None. None: none is relative.
    share: of the reference level that is taken off, above 0 and at most 1. None: all of it.
    bound: above 0, of what is scaled; 0: no bound. None: none has one.
Raises:
    ValueError: not as many of each, not finite, a scale of zero, a log_offset or a bound below 0, a share out
        of range, or another word.)")
      .def_property_readonly(
          "offset", [](const Scaler& s) { return field(s, &Range::offset); }, "(n_features,) float64")
      .def_property_readonly(
          "scale", [](const Scaler& s) { return field(s, &Range::scale); }, "(n_features,) float64")
      .def_property_readonly(
          "log_offset", [](const Scaler& s) { return field(s, &Range::log_offset); },
          "(n_features,) float64; 0 where there is no logarithm")
      .def_property_readonly("relative_to", &relative_to, R"("first", "last" or None for each feature)")
      .def_property_readonly(
          "share", [](const Scaler& s) { return field(s, &Range::share); },
          "(n_features,) float64; of the reference level that is taken off")
      .def_property_readonly(
          "bound", [](const Scaler& s) { return field(s, &Range::bound); },
          "(n_features,) float64; 0 where there is no bound")
      .def("__repr__",
           [](const Scaler& scaler) { return "Scaler(" + std::to_string(scaler.features()) + " features)"; })
      .def("transform", &transform, py::arg("features"),
           R"((..., n_features) in physical units -> same shape, float32, dimensionless.

Where a feature is relative to "first": (..., steps, n_features), whole windows, oldest step first.)")
      .def("inverse_transform", &inverse_transform, py::arg("scaled"), py::arg("reference") = py::none(),
           R"((..., n_features) dimensionless -> same shape, float32, physical units; at least 0 with a log_offset.

Args:
    reference: same shape, physical units: what relative features are relative to; None when none is.)");
}

}  // namespace linkcast::bindings
