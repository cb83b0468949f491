#include "engine/route.h"

#include <pybind11/stl.h>

#include "bindings.h"

namespace linkcast::bindings {
namespace {

RouteChoice choose_path(RouteChooser& chooser, const py::object& p10_mbps, const std::optional<double>& now_s) {
  const auto values = as_numbers(p10_mbps, "p10_mbps");
  const auto paths = static_cast<py::ssize_t>(chooser.paths());
  const bool fits = (values.ndim() == 1 || (values.ndim() == 2 && values.shape(1) > 0)) && values.shape(0) == paths;
  if (!fits)
    throw std::invalid_argument("p10_mbps: expected (" + std::to_string(paths) + ",) or (" + std::to_string(paths) +
                                ", steps), got " + shape_text({values.shape(), values.shape() + values.ndim()}));
  return chooser.choose(values.data(), static_cast<std::size_t>(values.size() / paths), nanoseconds(now_s));
}

std::string describe_choice(const RouteChoice& choice) {
  return "RouteChoice(path " + std::to_string(choice.path) + ", " + std::to_string(choice.mbps) + " Mbit/s" +
         (choice.changed ? ", changed" : "") + (choice.staying ? ", staying" : "") + ")";
}

}  // namespace

void bind_route(py::module_& module) {
  py::class_<RouteChoice>(module, "RouteChoice", "What a RouteChooser chose.")
      .def_property_readonly(
          "path", [](const RouteChoice& choice) { return choice.path < 0 ? std::nullopt : std::optional(choice.path); },
          "From 0; None when all are gone.")
      .def_readonly("mbps", &RouteChoice::mbps, "What the path is forecast to carry at the least: its value.")
      .def_readonly("changed", &RouteChoice::changed, "Another one than before.")
      .def_readonly("staying", &RouteChoice::staying, "A better one is passed by, for the minimum stay.")
      .def("__repr__", &describe_choice);
  const RouteChooser::Options defaults;
  py::class_<RouteChooser>(module, "RouteChooser",
                           R"(Chooses the path with the best P10 over the horizon. Used by one thread at a time.

A path's value is the least P10 of its steps. The present path is left for one that is better by more than the margin,
once the minimum stay is over; one that is gone or carries nothing is left at once. Ties stay.)")
      .def(py::init([](std::size_t paths, double margin, double stay_s, double gone_s) {
             return std::make_unique<RouteChooser>(paths, RouteChooser::Options{margin, stay_s, gone_s});
           }),
           py::arg("paths"), py::kw_only(), py::arg("margin") = defaults.margin, py::arg("stay_s") = defaults.stay_s,
           py::arg("gone_s") = defaults.gone_s,
           R"(Args:
    paths: 1 to 65536.
    margin: share by which another path has to be better.
    stay_s: on a path, before it is left for a better one.
    gone_s: without an answer for longer, a path is gone.
Raises:
    ValueError: no path, too many, or an option below 0.)")
      .def("__repr__",
           [](const RouteChooser& chooser) {
             return "RouteChooser(" + std::to_string(chooser.paths()) + " paths, " + describe_choice(chooser.last()) +
                    ")";
           })
      .def("choose", &choose_path, py::arg("p10_mbps"), py::arg("now_s") = py::none(),
           R"(The path to send over.

Args:
    p10_mbps: (paths,) or (paths, steps ahead), Mbit/s; what is not finite is no answer, and is ignored.
    now_s: of a clock that does not go back; None: the monotonic clock.
Raises:
    ValueError: another shape, or the clock went back.)")
      .def_property_readonly("paths", &RouteChooser::paths)
      .def_property_readonly("last", [](const RouteChooser& chooser) { return chooser.last(); }, "The last choice.");
}

}  // namespace linkcast::bindings
