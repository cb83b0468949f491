#include "engine/route.h"

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

#include "c_api/handles.h"
#include "c_api/status.h"
#include "c_api/structs.h"

namespace linkcast::c_api {
namespace {

// Sizes of the structs in the first version that had them.
constexpr std::size_t kFirstRouteOptions = sizeof(linkcast_route_options);
constexpr std::size_t kFirstRouteChoice = sizeof(linkcast_route_choice);

constexpr bool has_defaults(const linkcast_route_options& given) {
  constexpr RouteChooser::Options defaults;
  return given.margin == defaults.margin && given.stay_s == defaults.stay_s && given.gone_s == defaults.gone_s;
}
static_assert(has_defaults(LINKCAST_ROUTE_OPTIONS_INIT));

/// What a route's handle stands for. It has no engine to keep other threads out, so it does that itself.
struct RouteHandle {
  explicit RouteHandle(RouteChooser of) : chooser(std::move(of)) {}
  RouteChooser chooser;
  std::atomic_flag busy = ATOMIC_FLAG_INIT;
};

linkcast_status choose(RouteChooser& chooser, const float* p10_mbps, std::size_t values, std::uint64_t now_ns,
                       linkcast_route_choice* choice) {
  if (!p10_mbps || !choice) return fail(LINKCAST_ERROR_ARGUMENT, "p10_mbps and choice: expected pointers, got null");
  if (const auto status = check_struct(choice, kFirstRouteChoice)) return status;
  if (values == 0 || values % chooser.paths() != 0)
    return fail(LINKCAST_ERROR_ARGUMENT, "values: expected a multiple of %zu paths, got %zu", chooser.paths(), values);
  const RouteChoice& made = chooser.choose(p10_mbps, values / chooser.paths(), now_ns);
  write_struct(linkcast_route_choice{sizeof(linkcast_route_choice), made.path, made.changed, made.staying, made.mbps},
               choice);
  return LINKCAST_OK;
}

}  // namespace
}  // namespace linkcast::c_api

using namespace linkcast;
using namespace linkcast::c_api;

extern "C" {

linkcast_status linkcast_route_open(size_t paths, const linkcast_route_options* options, linkcast_route** route) {
  if (!route) return fail(LINKCAST_ERROR_ARGUMENT, "route: expected a pointer, got null");
  *route = nullptr;
  if (paths < 1 || paths > LINKCAST_MAX_BATCH)
    return fail(LINKCAST_ERROR_ARGUMENT, "paths: expected 1 to %d, got %zu", LINKCAST_MAX_BATCH, paths);
  try {
    linkcast_route_options given = LINKCAST_ROUTE_OPTIONS_INIT;
    if (const auto status = read_struct(options, kFirstRouteOptions, given)) return status;
    RouteChooser chooser(paths, {given.margin, given.stay_s, given.gone_s});
    open_owned(Kind::route, std::make_unique<RouteHandle>(std::move(chooser)), route);
    return LINKCAST_OK;
  }
  LINKCAST_CATCH
}

linkcast_status linkcast_route_close(linkcast_route* handle) {
  if (!handle) return LINKCAST_OK;
  Pinned<RouteHandle> route(handle, Kind::route);
  if (!route) return LINKCAST_ERROR_HANDLE;
  return close_and_free(route);
}

linkcast_status linkcast_route_choose(linkcast_route* handle, const float* p10_mbps, size_t values, uint64_t now_ns,
                                      linkcast_route_choice* choice) {
  const Pinned<RouteHandle> route(handle, Kind::route);
  if (!route) return LINKCAST_ERROR_HANDLE;
  if (route->busy.test_and_set(std::memory_order_acquire))
    return fail(LINKCAST_ERROR_BUSY, "route: another thread is choosing; each thread opens its own");
  struct Release {
    std::atomic_flag& busy;
    ~Release() { busy.clear(std::memory_order_release); }
  } const release{route->busy};
  try {
    return c_api::choose(route->chooser, p10_mbps, values, now_ns, choice);
  }
  LINKCAST_CATCH
}

}  // extern "C"
