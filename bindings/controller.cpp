#include "engine/controller.h"

#include <pybind11/stl.h>

#include "base/text.h"
#include "bindings.h"

namespace linkcast::bindings {
namespace {

struct BoundController {
  BoundController(const BoundEngine& bound, const std::string& profile, const Controller::Options& options)
      : engine(bound.engine),
        forecaster(bound.models[engine->find(profile, Role::forecaster)]),
        allocator(bound.models[engine->find(profile, Role::allocator)]),
        controller(*engine, profile, options) {}

  std::shared_ptr<Engine> engine;
  std::shared_ptr<BoundModel> forecaster;
  std::shared_ptr<BoundModel> allocator;
  Controller controller;
  CauseLog log;
};

Decision ticked(BoundController& bound, const py::object& telemetry, const std::optional<double>& now_s) {
  const std::uint64_t now_ns = nanoseconds(now_s);
  const Lease forecaster(*bound.forecaster);
  const Lease allocator(*bound.allocator);
  if (telemetry.is_none()) return bound.controller.tick(static_cast<const double*>(nullptr), now_ns);
  const std::vector<Feature>& features = bound.engine->spec(bound.controller.stream().model()).features;
  const Rows row = as_row(telemetry, {static_cast<int>(features.size())}, "telemetry", &features);
  if (row.is_float32) return bound.controller.tick(static_cast<const float*>(row.array.data()), now_ns);
  return bound.controller.tick(static_cast<const double*>(row.array.data()), now_ns);
}

Decision tick(BoundController& bound, const py::object& telemetry, const std::optional<double>& now_s) {
  const Decision decision = ticked(bound, telemetry, now_s);
  const std::string& name = bound.engine->spec(bound.controller.stream().model()).name;
  bound.log.note(name, decision.forecast.source, decision.forecast.cause);
  return decision;
}

py::dict counts(const BoundController& bound) {
  const Controller::Counts& counts = bound.controller.counts();
  py::dict dict;
  dict["ticks"] = counts.ticks;
  dict["missing"] = counts.missing;
  dict["stalls"] = counts.stalls;
  dict["changes"] = counts.changes;
  dict["late"] = counts.late;
  return dict;
}

py::bytes controller_snapshot(const BoundController& bound) {
  const auto bytes = bound.controller.snapshot();
  return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void restore_controller(BoundController& bound, const py::bytes& snapshot, bool same_model) {
  const std::string_view bytes = snapshot;
  const Lease forecaster(*bound.forecaster);
  bound.controller.restore(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size(), same_model);
}

/// Name to weight, once there has been an answer by the mixture.
py::dict weights(const BoundController& bound) {
  py::dict dict;
  const Mixture* mixture = bound.controller.stream().mixture();
  if (!mixture || !bound.controller.stream().ready()) return dict;
  for (std::size_t expert = 0; expert < Mixture::kExperts; ++expert)
    dict[Mixture::expert_names()[expert]] = mixture->weight(0, expert);
  return dict;
}

/// What Engine.controller takes to make another one like it.
py::dict options(const BoundController& bound) {
  const Controller::Options& options = bound.controller.options();
  const Safeguard::Options& safeguard = options.stream.safeguard;
  py::dict dict;
  dict["capacity_mbps"] = options.capacity_mbps;
  dict["least_fraction"] = options.least_fraction;
  dict["most_fraction"] = options.most_fraction;
  dict["safe_fraction"] = options.safe_fraction;
  dict["headroom"] = options.headroom;
  dict["slew_per_s"] = options.slew_per_s;
  dict["hold_s"] = options.hold_s;
  dict["stall_s"] = options.stall_s;
  dict["measured_weight"] = options.measured_weight;
  dict["deadline_ms"] = static_cast<double>(options.deadline_ns) * 1e-6;
  dict["most_held"] = options.stream.most_held;
  dict["plausible_margin"] = safeguard.plausible_margin;
  dict["stand_in"] = stand_in_name(safeguard.stand_in);
  dict["stand_in_weight"] = safeguard.stand_in_weight;
  dict["risk"] = options.risk;
  dict["queue_ms"] = options.queue_ms;
  dict["congestion_step"] = options.congestion_step;
  dict["stall_cut"] = options.stall_cut;
  return dict;
}

std::string describe_decision(const Decision& decision) {
  std::string text = "Decision(" + std::to_string(decision.allocation_mbps) + " Mbit/s for a forecast of " +
                     std::to_string(decision.forecast.mbps) + " by " + source_name(decision.forecast.source);
  if (decision.allocation_cause != Cause::none) text += std::string(", ") + cause_name(decision.allocation_cause);
  if (decision.clamped) text += ", clamped";
  if (decision.holding) text += ", holding";
  if (decision.slewed) text += ", slewed";
  if (decision.stalled) text += ", stalled";
  if (decision.congested) text += ", congested";
  if (decision.silent) text += ", silent";
  return text + ")";
}

std::string decision_as_html(const Decision& decision) {
  py::dict values;
  values["allocation"] = std::to_string(decision.allocation_mbps) + " Mbit/s";
  values["forecast"] = std::to_string(decision.forecast.mbps) + " Mbit/s by " + source_name(decision.forecast.source);
  values["queue"] = std::to_string(decision.queue_ms) + " ms";
  values["said"] = describe_decision(decision);
  return html_of("Decision", values);
}

void bind_decision(py::module_& module) {
  py::class_<Decision>(module, "Decision", "What a controller decided in one tick.")
      .def_readonly("allocation_mbps", &Decision::allocation_mbps, "allocation_fraction of the link's capacity.")
      .def_readonly("allocation_fraction", &Decision::allocation_fraction, "0..1.")
      .def_readonly("forecast", &Decision::forecast,
                    R"(The Answer; its cause says why it was not the model, once the window is full.)")
      .def_readonly("action", &Decision::action, "The allocator's, from 0; -1 without telemetry.")
      .def_property_readonly(
          "allocation_cause", [](const Decision& decision) { return cause_name(decision.allocation_cause); },
          R"(Of the action: "none", "outside_training", "over_capacity", "not_finite"; "failed": there is none.)")
      .def_readonly("clamped", &Decision::clamped, "The minimum or the maximum set the target.")
      .def_readonly("holding", &Decision::holding, "The hold time kept the target as it was.")
      .def_readonly("slewed", &Decision::slewed, "The slew limit keeps the allocation from its target still.")
      .def_readonly("stalled", &Decision::stalled, "Telemetry has stopped.")
      .def_readonly("congested", &Decision::congested,
                    "A queue stands on a full link: the allocation rises by congestion_step a tick.")
      .def_readonly("silent", &Decision::silent,
                    "The latency has jumped without a queue before it: the allocation falls by stall_cut at most.")
      .def_readonly("queue_ms", &Decision::queue_ms,
                    "The queueing delay: the newest latency less the least of the last ten minutes.")
      .def_property_readonly(
          "latency_us", [](const Decision& decision) { return static_cast<double>(decision.latency_ns) * 1e-3; },
          "Of the tick.")
      .def("__repr__", &describe_decision)
      .def("_repr_html_", &decision_as_html);
}

}  // namespace

std::uint64_t nanoseconds(const std::optional<double>& now_s) {
  if (!now_s) return monotonic_ns();
  if (!(*now_s >= 0 && *now_s < 1e10))
    throw std::invalid_argument("now_s: expected seconds of a clock that does not go back, got " +
                                std::to_string(*now_s));
  return static_cast<std::uint64_t>(*now_s * 1e9);
}

void bind_controller(py::module_& module) {
  bind_decision(module);
  py::class_<BoundController>(
      module, "Controller",
      R"(The closed loop of one link: telemetry -> forecast -> the allocator's action -> limits -> allocation.

Made by Engine.controller. Used by one thread at a time.)")
      .def("tick", &tick, py::arg("telemetry"), py::arg("now_s") = py::none(),
           R"(One tick, once for each time step of the forecaster.

Args:
    telemetry: (features,) in physical units, or a mapping by name; None when none came.
    now_s: of a clock that does not go back; None: the monotonic clock.
Raises:
    ValueError: another shape, a value that is not finite or not in its unit (a bandwidth beyond ten times the capacity,
        say), or the clock went back; it was no tick then.)")
      .def(
          "advance",
          [](BoundController& bound) {
            const Lease forecaster(*bound.forecaster);
            bound.controller.advance();
          },
          "The work that can wait until the decision is applied; tick does it when it was not called.")
      .def(
          "prepare",
          [](BoundController& bound) {
            const Lease forecaster(*bound.forecaster);
            const Lease allocator(*bound.allocator);
            bound.controller.prepare();
          },
          "Stream.prepare, and the same of the decision: to be called shortly before the next tick.")
      .def(
          "reset", [](BoundController& bound) { bound.controller.reset(); },
          "As at the start: no telemetry, the safe allocation.")
      .def("snapshot", &controller_snapshot, "All that the next decisions depend on, as bytes: what restore takes.")
      .def("restore", &restore_controller, py::arg("snapshot"), py::arg("same_model") = true,
           R"(Goes on where the snapshot was taken.

With the same models, options and kernels, the same telemetry at the same times decides the same, bit for bit; so now_s
goes on from there, too. On another clock call reset() then, which keeps what was learnt. Options hold from the next tick
on.

Args:
    same_model: refuse the snapshot of another forecaster; False carries over what was learnt to a new one.
Raises:
    ValueError: damaged, of other features, of another risk, or of another model; all is as before then.)")
      .def("weights", &weights, "Each expert's weight in the forecast, by name; empty until the window is full.")
      .def_property_readonly("options", &options, "By name: what Engine.controller takes to make another one like it.")
      .def_property_readonly(
          "last", [](const BoundController& bound) { return bound.controller.last(); }, "The last decision.")
      .def("__repr__",
           [](const BoundController& bound) {
             return "Controller(" + bound.engine->spec(bound.controller.stream().model()).serves + ", " +
                    std::to_string(bound.controller.counts().ticks) + " ticks)";
           })
      .def_property_readonly("counts", &counts, "ticks, missing, stalls, changes, late.");
  py::class_<BoundEngine> engine = module.attr("Engine");
  const Controller::Options defaults;
  engine.def(
      "controller",
      [](const BoundEngine& bound, const std::string& profile, double capacity_mbps, double least_fraction,
         double most_fraction, double safe_fraction, double headroom, double slew_per_s, double hold_s, double stall_s,
         double measured_weight, double deadline_ms, std::size_t most_held, double plausible_margin,
         const std::string& stand_in, double stand_in_weight, double risk, double queue_ms, double congestion_step,
         double stall_cut) {
        if (!(deadline_ms >= 0))
          throw std::invalid_argument("deadline_ms: expected 0 or more, got " + text_of(deadline_ms));
        Controller::Options options;
        options.capacity_mbps = capacity_mbps;
        options.least_fraction = least_fraction;
        options.most_fraction = most_fraction;
        options.safe_fraction = safe_fraction;
        options.headroom = headroom;
        options.slew_per_s = slew_per_s;
        options.hold_s = hold_s;
        options.stall_s = stall_s;
        options.measured_weight = measured_weight;
        options.deadline_ns = static_cast<std::uint64_t>(deadline_ms * 1e6);
        options.stream.most_held = most_held;
        options.risk = risk;
        options.queue_ms = queue_ms;
        options.congestion_step = congestion_step;
        options.stall_cut = stall_cut;
        options.stream.safeguard = safeguard_options(plausible_margin, stand_in, stand_in_weight);
        return std::make_unique<BoundController>(bound, profile, options);
      },
      py::arg("profile"), py::kw_only(), py::arg("capacity_mbps"), py::arg("least_fraction") = defaults.least_fraction,
      py::arg("most_fraction") = defaults.most_fraction, py::arg("safe_fraction") = defaults.safe_fraction,
      py::arg("headroom") = defaults.headroom, py::arg("slew_per_s") = defaults.slew_per_s,
      py::arg("hold_s") = defaults.hold_s, py::arg("stall_s") = defaults.stall_s,
      py::arg("measured_weight") = defaults.measured_weight,
      py::arg("deadline_ms") = static_cast<double>(defaults.deadline_ns) * 1e-6,
      py::arg("most_held") = defaults.stream.most_held,
      py::arg("plausible_margin") = defaults.stream.safeguard.plausible_margin,
      py::arg("stand_in") = stand_in_name(defaults.stream.safeguard.stand_in),
      py::arg("stand_in_weight") = defaults.stream.safeguard.stand_in_weight, py::arg("risk") = defaults.risk,
      py::arg("queue_ms") = defaults.queue_ms, py::arg("congestion_step") = defaults.congestion_step,
      py::arg("stall_cut") = defaults.stall_cut,
      R"(The closed loop of one link: telemetry -> forecast -> the allocator's action -> limits -> allocation.

Args:
    profile: what the forecaster and the allocator serve: "internet".
    capacity_mbps: of the link.
    least_fraction: of the capacity that is always allocated.
    most_fraction: of the capacity that is allocated at most.
    safe_fraction: where the allocation starts, and goes when telemetry stops.
    headroom: the allocation is at least this times the forecast; 0: the allocator alone decides.
    slew_per_s: largest change of the fraction in a second; 0: no limit.
    hold_s: after a change, the allocation stays for this long.
    stall_s: telemetry older than this has stopped; 0: four time steps of the forecaster.
    measured_weight: of the newest measurement in the average that answers until the window is full.
    deadline_ms: a tick that takes longer is counted as late; 0: none.
    most_held: as in stream.
    plausible_margin, stand_in, stand_in_weight: as in forecaster_pool.
    risk: share of the ticks in which the allocation may be short of the demand: at least the quantile of 1 - risk is
        allocated. Where a Mbit/s short costs r times one too many, that is 1 / (1 + r). 0: the forecast is the least.
    queue_ms: queueing delay above which a full link is congested, and one that is not is silent if its latency has
        jumped; 0: the latency says nothing. What it says only ever raises an allocation.
    congestion_step: share of the capacity that each tick adds while a congested link is full.
    stall_cut: share of the capacity that a stall takes at most, and again in each stall_s that it lasts.
Raises:
    ValueError: an unknown profile, or an option out of range.)");
}

}  // namespace linkcast::bindings
