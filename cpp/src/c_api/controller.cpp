#include "engine/controller.h"

#include <cstddef>
#include <memory>
#include <vector>

#include "c_api/engine.h"
#include "c_api/handles.h"
#include "c_api/status.h"
#include "c_api/structs.h"

namespace linkcast::c_api {
namespace {

// Sizes of the structs in the first version that had them.
constexpr std::size_t kFirstControllerOptions = offsetof(linkcast_controller_options, queue_ms);
constexpr std::size_t kFirstDecision = offsetof(linkcast_decision, queue_ms);
constexpr std::size_t kFirstStats = sizeof(linkcast_controller_stats);

constexpr bool has_defaults(const linkcast_controller_options& given) {
  constexpr Controller::Options defaults;
  return has_default_safeguard(given) && given.capacity_mbps == defaults.capacity_mbps &&
         given.least_fraction == defaults.least_fraction && given.most_fraction == defaults.most_fraction &&
         given.safe_fraction == defaults.safe_fraction && given.headroom == defaults.headroom &&
         given.slew_per_s == defaults.slew_per_s && given.hold_s == defaults.hold_s &&
         given.stall_s == defaults.stall_s && given.measured_weight == defaults.measured_weight &&
         given.deadline_ns == defaults.deadline_ns && given.most_held == defaults.stream.most_held &&
         given.risk == defaults.risk && given.queue_ms == defaults.queue_ms &&
         given.congestion_step == defaults.congestion_step && given.stall_cut == defaults.stall_cut;
}
static_assert(has_defaults(LINKCAST_CONTROLLER_OPTIONS_INIT));

/// What a controller's handle stands for.
struct ControllerHandle {
  std::shared_ptr<EngineHandle> engine;
  std::shared_ptr<ModelSet> models;  // whose models the controller runs on
  std::unique_ptr<Controller> controller;
};

Controller::Options controller_options(const linkcast_controller_options& given) {
  Controller::Options options;
  options.capacity_mbps = given.capacity_mbps;
  options.least_fraction = given.least_fraction;
  options.most_fraction = given.most_fraction;
  options.safe_fraction = given.safe_fraction;
  options.headroom = given.headroom;
  options.slew_per_s = given.slew_per_s;
  options.hold_s = given.hold_s;
  options.stall_s = given.stall_s;
  options.measured_weight = given.measured_weight;
  options.deadline_ns = given.deadline_ns;
  options.stream.most_held = given.most_held;
  options.risk = given.risk;
  options.queue_ms = given.queue_ms;
  options.congestion_step = given.congestion_step;
  options.stall_cut = given.stall_cut;
  options.stream.safeguard = safeguard_options(given);
  return options;
}

std::unique_ptr<Controller> make_controller(Engine& engine, const char* profile, const Controller::Options& options) {
  try {
    engine.find(profile, Role::forecaster);
    engine.find(profile, Role::allocator);
  } catch (const std::invalid_argument& error) {
    throw Error(LINKCAST_ERROR_NOT_FOUND, error.what());
  }
  return std::make_unique<Controller>(engine, profile, options);
}

/// Calls `run(controller)` while no other thread is in the engine.
template <class Run>
linkcast_status with_controller(const void* handle, Run run) {
  return in_its_engine<ControllerHandle>(handle, Kind::controller,
                                         [&](ControllerHandle& found) { return run(*found.controller); });
}

linkcast_status tick(Controller& controller, const float* telemetry, std::size_t values, std::uint64_t now_ns,
                     linkcast_decision* decision) {
  if (!decision) return fail(LINKCAST_ERROR_ARGUMENT, "decision: expected a pointer, got null");
  if (const auto status = check_struct(decision, kFirstDecision)) return status;
  if (telemetry) {
    if (values != controller.features())
      return fail(LINKCAST_ERROR_ARGUMENT, "values: expected %zu floats, got %zu", controller.features(), values);
    if (const auto status = units_status(controller.feature_list(), controller.bounds(), telemetry, values))
      return status;
  }
  const Decision& made = controller.tick(telemetry, now_ns);
  linkcast_decision own = LINKCAST_DECISION_INIT;
  own.allocation_mbps = made.allocation_mbps;
  own.allocation_fraction = made.allocation_fraction;
  own.forecast_mbps = made.forecast.mbps;
  own.p10_mbps = made.forecast.p10;
  own.p50_mbps = made.forecast.p50;
  own.p90_mbps = made.forecast.p90;
  own.source = source_number(made.forecast.source);
  own.cause = cause_number(made.forecast.cause);
  own.action = made.action;
  own.limits = (made.clamped ? LINKCAST_LIMIT_CLAMPED : 0U) | (made.slewed ? LINKCAST_LIMIT_SLEWED : 0U) |
               (made.holding ? LINKCAST_LIMIT_HOLDING : 0U) | (made.stalled ? LINKCAST_LIMIT_STALLED : 0U) |
               (made.congested ? LINKCAST_LIMIT_CONGESTED : 0U) | (made.silent ? LINKCAST_LIMIT_SILENT : 0U);
  own.latency_ns = made.latency_ns;
  own.reserve_mbps = made.forecast.reserve;
  own.allocation_cause = cause_number(made.allocation_cause);
  own.queue_ms = made.queue_ms;
  write_struct(own, decision);
  return LINKCAST_OK;
}

}  // namespace
}  // namespace linkcast::c_api

using namespace linkcast;
using namespace linkcast::c_api;

extern "C" {

linkcast_status linkcast_controller_open(linkcast_engine* handle, const char* profile,
                                         const linkcast_controller_options* options, linkcast_controller** controller) {
  if (!controller || !profile || !options)
    return fail(LINKCAST_ERROR_ARGUMENT, "profile, options and controller: expected pointers, got null");
  *controller = nullptr;
  const auto make = [&](ControllerHandle& opened, const linkcast_controller_options& given) {
    opened.controller = make_controller(opened.models->engine(), profile, controller_options(given));
    return LINKCAST_OK;
  };
  return open_in_its_engine<ControllerHandle>(handle, Kind::controller, options, kFirstControllerOptions,
                                              LINKCAST_CONTROLLER_OPTIONS_INIT, controller, make);
}

linkcast_status linkcast_controller_close(linkcast_controller* handle) {
  return close_in_its_engine<ControllerHandle>(handle, Kind::controller);
}

linkcast_status linkcast_controller_tick(linkcast_controller* handle, const float* telemetry, size_t values,
                                         uint64_t now_ns, linkcast_decision* decision) {
  return with_controller(handle,
                         [&](Controller& controller) { return tick(controller, telemetry, values, now_ns, decision); });
}

linkcast_status linkcast_controller_advance(linkcast_controller* handle) {
  return with_controller(handle, [](Controller& controller) {
    controller.advance();
    return LINKCAST_OK;
  });
}

linkcast_status linkcast_controller_prepare(linkcast_controller* handle) {
  return with_controller(handle, [](Controller& controller) {
    controller.prepare();
    return LINKCAST_OK;
  });
}

linkcast_status linkcast_controller_reset(linkcast_controller* handle) {
  return with_controller(handle, [](Controller& controller) {
    controller.reset();
    return LINKCAST_OK;
  });
}

linkcast_status linkcast_controller_snapshot(linkcast_controller* handle, void* bytes, size_t capacity, size_t* size) {
  return with_controller(handle, [&](Controller& controller) {
    return write_snapshot(controller.snapshot_size(), [&] { return controller.snapshot(); }, bytes, capacity, size);
  });
}

linkcast_status linkcast_controller_restore(linkcast_controller* handle, const void* bytes, size_t size,
                                            int32_t same_model) {
  return with_controller(handle, [&](Controller& controller) {
    if (!bytes) return fail(LINKCAST_ERROR_ARGUMENT, "bytes: expected a pointer, got null");
    controller.restore(static_cast<const std::byte*>(bytes), size, same_model != 0);
    return LINKCAST_OK;
  });
}

linkcast_status linkcast_controller_read_stats(linkcast_controller* handle, linkcast_controller_stats* stats) {
  return with_controller(handle, [&](Controller& controller) {
    if (!stats) return fail(LINKCAST_ERROR_ARGUMENT, "stats: expected a pointer, got null");
    if (const auto status = check_struct(stats, kFirstStats)) return status;
    linkcast_controller_stats own = LINKCAST_CONTROLLER_STATS_INIT;
    own.ticks = controller.counts().ticks;
    own.missing = controller.counts().missing;
    own.stalls = controller.counts().stalls;
    own.changes = controller.counts().changes;
    own.late = controller.counts().late;
    write_struct(own, stats);
    return LINKCAST_OK;
  });
}

}  // extern "C"
