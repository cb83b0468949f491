#include "engine/profile_forecaster.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <limits>

#include "bindings.h"

namespace linkcast::bindings {
namespace {

using Seconds = py::array_t<std::int64_t, py::array::c_style>;

struct BoundProfile {
  std::shared_ptr<Engine> engine;
  std::shared_ptr<BoundPool> pool;  // whose safeguard judges
  std::shared_ptr<BoundModel> model;
  ProfileForecaster forecaster;
};

BoundProfile make_profile(const BoundEngine& bound, const std::string& name, const py::object& profile,
                          const std::vector<std::size_t>& columns, double bandwidth_factor, double most_mbps) {
  const std::size_t model = bound.engine->find(name, Role::forecaster);
  const auto values = as_numbers(profile, "profile");
  return {bound.engine, bound.pool, bound.models[model],
          ProfileForecaster(*bound.engine, model, {values.data(), values.data() + values.size()}, columns,
                            bandwidth_factor, most_mbps)};
}

py::array_t<double> windows(const BoundProfile& bound, const Seconds& seconds, std::optional<double> in_use_mbps) {
  const ModelSpec& spec = bound.engine->spec(bound.forecaster.model());
  const auto count = static_cast<std::size_t>(seconds.size());
  py::array_t<double> windows(with_batch(count, {spec.input_shape.begin() + 1, spec.input_shape.end()}));
  bound.forecaster.build(seconds.data(), count, in_use_mbps.value_or(std::numeric_limits<double>::quiet_NaN()),
                         windows.mutable_data());
  return windows;
}

py::array_t<float> forecast_profiles(const py::list& forecasters, const Seconds& seconds,
                                     const std::vector<std::optional<double>>& in_use_mbps) {
  const std::size_t rows = forecasters.size();
  if (in_use_mbps.size() != rows)
    throw std::invalid_argument("in_use_mbps: expected one for each of " + std::to_string(rows) + " forecasters, got " +
                                std::to_string(in_use_mbps.size()));
  std::vector<py::ssize_t> shape{static_cast<py::ssize_t>(rows)};
  shape.insert(shape.end(), seconds.shape(), seconds.shape() + seconds.ndim());
  py::array_t<float> forecasts(shape);
  const auto count = static_cast<std::size_t>(seconds.size());
  float* row = forecasts.mutable_data();
  for (std::size_t k = 0; k < rows; ++k, row += count) {
    if (forecasters[k].is_none()) {
      std::fill_n(row, count, std::numeric_limits<float>::quiet_NaN());
      continue;
    }
    auto& bound = py::cast<BoundProfile&>(forecasters[k]);
    const double in_use = in_use_mbps[k].value_or(std::numeric_limits<double>::quiet_NaN());
    const Lease lease(*bound.model);
    run_in_parts(*bound.model, count, [&](std::size_t first, std::size_t part) {
      bound.forecaster.forecast_raw(seconds.data() + first, part, in_use, row + first);
    });
    const Forecaster& judge = forecaster_of(*bound.pool, bound.forecaster.model());
    for (std::size_t n = 0; n < count; ++n)
      if (judge.judge(row[n]) != Cause::none) row[n] = std::numeric_limits<float>::quiet_NaN();
  }
  return forecasts;
}

}  // namespace

void bind_profile_forecaster(py::module_& module) {
  py::class_<BoundProfile>(module, "ProfileForecaster", R"(A group's forecasts for times that have no telemetry.

The windows come from an hour-of-week profile. Used by one thread at a time.)")
      .def(py::init(&make_profile), py::arg("engine"), py::arg("model"), py::arg("profile"), py::arg("columns"),
           py::arg("bandwidth_factor"), py::arg("most_mbps"),
           R"(What does not change from one call to the next.

Args:
    engine, model: a forecaster's name, as in Engine.forecast.
    profile: (168, 4) telemetry by hour of the week, Monday 0:00 first.
    columns: (F,) the model's features, from features.feature_columns.
    bandwidth_factor: what the profile's bandwidths are multiplied with.
    most_mbps: no bandwidth of a window is above it.
Raises:
    ValueError: an unknown model, or another shape.)")
      .def("windows", &windows, py::arg("seconds"), py::arg("in_use_mbps") = py::none(),
           R"((n, T, F) float64, the window before each time, as features.profile_windows builds it.

Args:
    seconds: whole seconds of the wall clock since 1970.
    in_use_mbps: what the newest step has, and the others in proportion; None: what is typical.)")
      .def("__repr__", [](const BoundProfile& bound) {
        return "ProfileForecaster(" + bound.engine->spec(bound.forecaster.model()).name + ")";
      });
  module.def(
      "forecast_profiles", &forecast_profiles, py::arg("forecasters"), py::arg("seconds"), py::arg("in_use_mbps"),
      R"(The forecasts of several ProfileForecasters for the same times: windows built, scaled and run in one call.

Args:
    forecasters: None stands for one that has no profile: NaN.
    seconds: whole seconds of the wall clock since 1970, of any shape.
    in_use_mbps: for each forecaster what its newest steps have; None: what is typical.
Returns:
    (forecasters, *shape) float32, Mbit/s: as the model gives them, not counted; NaN where Engine.forecast would not
    let them pass.)");
}

}  // namespace linkcast::bindings
