#include "engine/stream.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "c_api/engine.h"
#include "c_api/handles.h"
#include "c_api/status.h"
#include "c_api/structs.h"

namespace linkcast::c_api {
namespace {

// Sizes of the structs in the first version that had them.
constexpr std::size_t kFirstStreamOptions = offsetof(linkcast_stream_options, switch_to_ewma);
constexpr std::size_t kFirstStreamInfo = offsetof(linkcast_stream_info, skill);  // `switched` stands in its padding

/// What a stream's handle stands for, and a handle of many streams.
struct StreamsHandle {
  std::shared_ptr<EngineHandle> engine;
  std::shared_ptr<Bundle> bundle;  // whose models the streams run on
  std::size_t model;               // number, the same in every bundle of the engine
  StreamFleet::Options options;
  std::vector<Source> sources;  // (streams)
  std::unique_ptr<StreamFleet> fleet;
};

/// The handle's streams on the engine's present models, empty. To be called within a Call, which keeps others out; the
/// bundle is fetched before it, because that may wait for a reload that waits for the call to end.
std::unique_ptr<StreamFleet> make_fleet(const StreamsHandle& streams, Bundle& bundle, std::size_t count) {
  return std::make_unique<StreamFleet>(bundle.engine(), bundle.index(streams.model), count, streams.options);
}

linkcast_status open_streams(linkcast_engine* handle, linkcast_model model, std::size_t count,
                             const linkcast_stream_options* options, Kind kind, void** out) {
  if (!out) return fail(LINKCAST_ERROR_ARGUMENT, "stream: expected a place for the handle, got null");
  *out = nullptr;
  const auto engine = find_engine(handle);
  if (!engine) return LINKCAST_ERROR_HANDLE;
  try {
    linkcast_stream_options given = LINKCAST_STREAM_OPTIONS_INIT;
    if (const auto status = read_struct(options, kFirstStreamOptions, given)) return status;
    if (count == 0 || count > LINKCAST_MAX_BATCH)
      return fail(LINKCAST_ERROR_ARGUMENT, "count: expected 1 to %d, got %zu", LINKCAST_MAX_BATCH, count);
    auto bundle = engine->live.shared();
    const Call call(*engine);
    if (!call.bundle()) return LINKCAST_ERROR_BUSY;
    if (!known_model(*bundle, model)) return LINKCAST_ERROR_ARGUMENT;
    auto opened = std::make_unique<StreamsHandle>();
    opened->engine = engine->self;
    opened->bundle = std::move(bundle);
    opened->model = static_cast<std::size_t>(model);
    opened->options.most_held = given.most_held;
    opened->options.safeguard = safeguard_options(given.safeguard);
    opened->options.switch_to_ewma = given.switch_to_ewma;
    opened->sources.resize(count);
    opened->fleet = make_fleet(*opened, *opened->bundle, count);
    *out = open_handle(kind, opened.get());
    static_cast<void>(opened.release());  // close_streams frees it
    return LINKCAST_OK;
  }
  LINKCAST_CATCH
}

linkcast_status close_streams(const void* handle, Kind kind) {
  if (!handle) return LINKCAST_OK;
  Pinned<StreamsHandle> streams(handle, kind);
  if (!streams) return LINKCAST_ERROR_HANDLE;
  const std::shared_ptr<EngineHandle> engine = streams->engine;  // outlives the call
  const Call call(*engine);
  if (!call.bundle()) return LINKCAST_ERROR_BUSY;
  StreamsHandle* closed = &*streams;
  if (const auto status = streams.close()) return status;
  const std::unique_ptr<StreamsHandle> freed(closed);
  return LINKCAST_OK;
}

/// Calls `run(streams)` while no other thread is in the engine.
template <class Run>
linkcast_status with_streams(const void* handle, Kind kind, Run run) {
  const Pinned<StreamsHandle> streams(handle, kind);
  if (!streams) return LINKCAST_ERROR_HANDLE;
  const Call call(*streams->engine);
  if (!call.bundle()) return LINKCAST_ERROR_BUSY;
  try {
    return run(*streams);
  }
  LINKCAST_CATCH
}

linkcast_status check_values(const StreamsHandle& streams, std::size_t values) noexcept {
  const std::size_t expected = streams.fleet->streams() * streams.fleet->features();
  if (values == expected) return LINKCAST_OK;
  return fail(LINKCAST_ERROR_ARGUMENT, "values: expected %zu floats, got %zu", expected, values);
}

linkcast_status follow(const void* handle, Kind kind) {
  const Pinned<StreamsHandle> streams(handle, kind);
  if (!streams) return LINKCAST_ERROR_HANDLE;
  try {
    std::shared_ptr<Bundle> bundle = streams->engine->live.shared();
    const Call call(*streams->engine);
    if (!call.bundle()) return LINKCAST_ERROR_BUSY;
    if (bundle == streams->bundle) return LINKCAST_OK;
    auto fleet = make_fleet(*streams, *bundle, streams->fleet->streams());
    const std::vector<std::byte> window = streams->fleet->snapshot();
    fleet->restore(window.data(), window.size(), false);
    streams->fleet = std::move(fleet);  // before the bundle that the old fleet refers to
    streams->bundle = std::move(bundle);
    return LINKCAST_OK;
  }
  LINKCAST_CATCH
}

linkcast_status push_one(StreamsHandle& streams, const float* sample, std::size_t values, float* forecast,
                         std::uint64_t deadline_ns, linkcast_result* result) {
  if (!forecast) return fail(LINKCAST_ERROR_ARGUMENT, "forecast_mbps: expected a pointer, got null");
  if (const auto status = check_struct(result, kFirstResult)) return status;
  if (sample) {
    if (const auto status = check_values(streams, values)) return status;
    if (const auto status = check_finite(sample, values)) return status;
  }
  const std::uint64_t start = result || deadline_ns ? monotonic_ns() : 0;
  const Deadline deadline{deadline_ns ? start + deadline_ns : 0};
  const std::uint8_t present = sample != nullptr;
  Source source = Source::none;
  streams.fleet->push(sample, &present, forecast, &source, deadline);
  linkcast_status status = LINKCAST_OK;
  if (source == Source::none)
    status = streams.fleet->ready(0) ? fail(LINKCAST_ERROR_NO_ANSWER, "stream: no answer, because of \"%s\"",
                                            cause_name(streams.fleet->cause(0)))
                                     : LINKCAST_NOT_READY;
  if (!result) return status;
  linkcast_result own = LINKCAST_RESULT_INIT;
  own.status = status;
  own.source = static_cast<linkcast_source>(source);
  own.cause = static_cast<linkcast_cause>(streams.fleet->cause(0));
  own.latency_ns = monotonic_ns() - start;
  write_struct(own, result);
  return status;
}

linkcast_status push_all(StreamsHandle& streams, const float* samples, std::size_t values, const std::uint8_t* present,
                         float* forecasts, std::uint8_t* sources, Deadline deadline) {
  if (!samples || !forecasts)
    return fail(LINKCAST_ERROR_ARGUMENT, "samples and forecasts_mbps: expected pointers, got null");
  if (const auto status = check_values(streams, values)) return status;
  const std::size_t features = streams.fleet->features();
  for (std::size_t row = 0; row < streams.fleet->streams(); ++row) {
    if (present && !present[row]) continue;
    if (const auto status = check_finite(samples + row * features, features)) return status;
  }
  streams.fleet->push(samples, present, forecasts, streams.sources.data(), deadline);
  if (sources)
    for (std::size_t row = 0; row < streams.sources.size(); ++row)
      sources[row] = static_cast<std::uint8_t>(streams.sources[row]);
  return LINKCAST_OK;
}

}  // namespace
}  // namespace linkcast::c_api

using namespace linkcast;
using namespace linkcast::c_api;

extern "C" {

linkcast_status linkcast_stream_open(linkcast_engine* engine, linkcast_model model,
                                     const linkcast_stream_options* options, linkcast_stream** stream) {
  return open_streams(engine, model, 1, options, Kind::stream, reinterpret_cast<void**>(stream));
}

linkcast_status linkcast_stream_close(linkcast_stream* stream) { return close_streams(stream, Kind::stream); }

linkcast_status linkcast_stream_push(linkcast_stream* handle, const float* sample, size_t values, float* forecast_mbps,
                                     uint64_t deadline_ns, linkcast_result* result) {
  return with_streams(handle, Kind::stream, [&](StreamsHandle& streams) {
    return push_one(streams, sample, values, forecast_mbps, deadline_ns, result);
  });
}

linkcast_status linkcast_stream_advance(linkcast_stream* handle) {
  return with_streams(handle, Kind::stream, [](StreamsHandle& streams) {
    streams.fleet->advance();
    return LINKCAST_OK;
  });
}

linkcast_status linkcast_stream_reset(linkcast_stream* handle) {
  return with_streams(handle, Kind::stream, [](StreamsHandle& streams) {
    streams.fleet->reset();
    return LINKCAST_OK;
  });
}

linkcast_status linkcast_stream_follow(linkcast_stream* handle) { return follow(handle, Kind::stream); }

linkcast_status linkcast_stream_describe(linkcast_stream* handle, linkcast_stream_info* info) {
  const Pinned<StreamsHandle> streams(handle, Kind::stream);
  if (!streams) return LINKCAST_ERROR_HANDLE;
  if (!info) return fail(LINKCAST_ERROR_ARGUMENT, "info: expected a pointer, got null");
  if (const auto status = check_struct(info, kFirstStreamInfo)) return status;
  const std::shared_ptr<Bundle> present = streams->engine->live.shared();
  const Call call(*streams->engine);
  if (!call.bundle()) return LINKCAST_ERROR_BUSY;
  const StreamFleet& fleet = *streams->fleet;
  linkcast_stream_info own = LINKCAST_STREAM_INFO_INIT;
  own.mode = fleet.mode();
  own.mode_reason = fleet.mode_reason().c_str();
  own.ticks = fleet.ticks();
  own.missing = fleet.missing(0);
  own.window = static_cast<std::uint32_t>(fleet.window());
  own.features = static_cast<std::uint32_t>(fleet.features());
  own.samples_in = static_cast<std::uint32_t>(fleet.samples_in(0));
  own.held = static_cast<std::uint32_t>(fleet.held(0));
  own.outdated = present != streams->bundle;
  own.switched = fleet.switched(0);
  own.skill = fleet.skill(0);
  write_struct(own, info);
  return LINKCAST_OK;
}

linkcast_status linkcast_stream_snapshot(linkcast_stream* handle, void* bytes, size_t capacity, size_t* size) {
  return with_streams(handle, Kind::stream, [&](StreamsHandle& streams) {
    if (!size) return fail(LINKCAST_ERROR_ARGUMENT, "size: expected a pointer, got null");
    const std::vector<std::byte> window = streams.fleet->snapshot();
    *size = window.size();
    if (!bytes) return LINKCAST_OK;
    if (capacity < window.size())
      return fail(LINKCAST_ERROR_ARGUMENT, "capacity: expected at least %zu bytes, got %zu", window.size(), capacity);
    std::memcpy(bytes, window.data(), window.size());
    return LINKCAST_OK;
  });
}

linkcast_status linkcast_stream_restore(linkcast_stream* handle, const void* bytes, size_t size) {
  return with_streams(handle, Kind::stream, [&](StreamsHandle& streams) {
    if (!bytes) return fail(LINKCAST_ERROR_ARGUMENT, "bytes: expected a pointer, got null");
    streams.fleet->restore(static_cast<const std::byte*>(bytes), size);
    return LINKCAST_OK;
  });
}

linkcast_status linkcast_streams_open(linkcast_engine* engine, linkcast_model model, size_t count,
                                      const linkcast_stream_options* options, linkcast_streams** streams) {
  return open_streams(engine, model, count, options, Kind::streams, reinterpret_cast<void**>(streams));
}

linkcast_status linkcast_streams_close(linkcast_streams* streams) { return close_streams(streams, Kind::streams); }

linkcast_status linkcast_streams_push(linkcast_streams* handle, const float* samples, size_t values,
                                      const uint8_t* present, float* forecasts_mbps, uint8_t* sources,
                                      uint64_t deadline_ns) {
  const Deadline deadline = deadline_ns ? Deadline::in(deadline_ns) : Deadline{};
  return with_streams(handle, Kind::streams, [&](StreamsHandle& streams) {
    return push_all(streams, samples, values, present, forecasts_mbps, sources, deadline);
  });
}

linkcast_status linkcast_streams_advance(linkcast_streams* handle) {
  return with_streams(handle, Kind::streams, [](StreamsHandle& streams) {
    streams.fleet->advance();
    return LINKCAST_OK;
  });
}

linkcast_status linkcast_streams_reset(linkcast_streams* handle, size_t index) {
  return with_streams(handle, Kind::streams, [&](StreamsHandle& streams) {
    if (index >= streams.fleet->streams())
      return fail(LINKCAST_ERROR_ARGUMENT, "index: expected 0 to %zu, got %zu", streams.fleet->streams() - 1, index);
    streams.fleet->reset(index);
    return LINKCAST_OK;
  });
}

linkcast_status linkcast_streams_follow(linkcast_streams* handle) { return follow(handle, Kind::streams); }

}  // extern "C"
