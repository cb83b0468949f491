#include "c_api/engine.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <sstream>

#include "c_api/handles.h"
#include "c_api/status.h"
#include "c_api/structs.h"
#include "engine/folder.h"
#include "engine/stats.h"
#include "kernels/deadline.h"

namespace linkcast::c_api {
namespace {

// Sizes of the structs in the first version that had them.
constexpr std::size_t kFirstEngineOptions = sizeof(linkcast_engine_options);
constexpr std::size_t kFirstModelInfo = sizeof(linkcast_model_info);
constexpr std::size_t kFirstGroup = sizeof(linkcast_group);
constexpr std::size_t kFirstModelStats = offsetof(linkcast_model_stats, causes) + 5 * sizeof(std::uint64_t);

template <class Number>
void check_range(const char* name, Number value, long long least, long long most) {
  if (static_cast<long long>(value) >= least && static_cast<long long>(value) <= most) return;
  throw Error(LINKCAST_ERROR_ARGUMENT, std::string(name) + ": expected " + std::to_string(least) + " to " +
                                           std::to_string(most) + ", got " + std::to_string(value));
}

BundleOptions bundle_options(const linkcast_engine_options& given) {
  check_range("threads", given.threads, 1, 1024);
  check_range("batch", given.batch, 1, LINKCAST_MAX_BATCH);
  check_range("group_threads", given.group_threads, 1, 1024);
  BundleOptions options;
  if (given.backend) options.model.backend = backend_from_name(given.backend);
  options.model.threads = given.threads;
  if (given.tflite_library) options.model.tflite_library = given.tflite_library;
  options.groups.threads = given.group_threads;
  if (given.group_cpus) options.groups.cpus.assign(given.group_cpus, given.group_cpus + given.group_threads - 1);
  options.groups.spin_us = given.spin_us;
  options.groups.batch = given.batch;
  options.groups.safeguard = safeguard_options(given.safeguard);
  return options;
}

void log_bundle(const char* what, const Bundle& bundle) {
  std::ostringstream text;
  text << what << " " << bundle.engine().folder() << ": " << bundle.count() << " models";
  log(LINKCAST_LOG_INFO, text.str());
  for (std::size_t number = 0; number < bundle.count(); ++number) {
    const Model& model = bundle.engine().model(bundle.index(number));
    log(LINKCAST_LOG_INFO, bundle.spec(number).name + ": " + model.backend() + ", " + model.backend_reason());
  }
}

linkcast_role role_number(Role role) {
  switch (role) {
    case Role::forecaster:
      return LINKCAST_ROLE_FORECASTER;
    case Role::allocator:
      return LINKCAST_ROLE_ALLOCATOR;
    case Role::fallback:
      return LINKCAST_ROLE_FALLBACK;
  }
  return LINKCAST_ROLE_ANY;
}

std::size_t find_index(const Engine& engine, const char* name, linkcast_role role) {
  switch (role) {
    case LINKCAST_ROLE_ANY:
      return engine.find(name);
    case LINKCAST_ROLE_FORECASTER:
      return engine.find(name, Role::forecaster);
    case LINKCAST_ROLE_ALLOCATOR:
      return engine.find(name, Role::allocator);
    case LINKCAST_ROLE_FALLBACK:
      return engine.find(name, Role::fallback);
  }
  throw Error(LINKCAST_ERROR_ARGUMENT, "role: expected a linkcast_role, got " + std::to_string(static_cast<int>(role)));
}

/// What every call on rows of features checks, cheapest first.
linkcast_status check_rows(const Bundle& bundle, linkcast_model model, bool allocator, const float* features,
                           std::size_t values, const void* answers, std::size_t batch) noexcept {
  if (!features || !answers) return fail(LINKCAST_ERROR_ARGUMENT, "features and answers: expected pointers, got null");
  if (!known_model(bundle, model)) return LINKCAST_ERROR_ARGUMENT;
  const ModelSpec& spec = bundle.spec(static_cast<std::size_t>(model));
  if (allocator != (spec.role == Role::allocator))
    return fail(LINKCAST_ERROR_ARGUMENT, "model: expected %s, got %s",
                allocator ? "an allocator" : "a forecaster or a fallback", spec.name.c_str());
  const std::size_t row = std::max<std::size_t>(spec.window, 1) * spec.features.size();
  if (batch == 0 || batch > LINKCAST_MAX_BATCH)
    return fail(LINKCAST_ERROR_ARGUMENT, "batch: expected 1 to %d, got %zu", LINKCAST_MAX_BATCH, batch);
  if (values != batch * row)
    return fail(LINKCAST_ERROR_ARGUMENT, "values: expected %zu floats (%s takes %zu, times a batch of %zu), got %zu",
                batch * row, spec.name.c_str(), row, batch, values);
  return check_finite(features, values);
}

linkcast_status set_result(linkcast_status status, Source source, Cause cause, std::uint64_t latency_ns,
                           linkcast_result* result) noexcept {
  linkcast_result own = LINKCAST_RESULT_INIT;
  own.status = status;
  own.source = static_cast<linkcast_source>(source);
  own.cause = static_cast<linkcast_cause>(cause);
  own.latency_ns = latency_ns;
  write_struct(own, result);
  return status;
}

linkcast_status group_status(const GroupResult& result) noexcept {
  switch (result.status) {
    case GroupStatus::ok:
      return LINKCAST_OK;
    case GroupStatus::bad_window:
      return LINKCAST_ERROR_NOT_FINITE;
    case GroupStatus::no_answer:
      return LINKCAST_ERROR_NO_ANSWER;
  }
  return LINKCAST_ERROR_INTERNAL;
}

Deadline deadline_in(std::uint64_t budget_ns) noexcept { return budget_ns ? Deadline::in(budget_ns) : Deadline{}; }

/// Models without a stand-in: fallbacks and allocators.
template <class Run>
linkcast_status run_alone(Source source, linkcast_result* result, Run run) {
  if (!result) {
    run();
    return LINKCAST_OK;
  }
  const std::uint64_t start = monotonic_ns();
  run();
  return set_result(LINKCAST_OK, source, Cause::none, monotonic_ns() - start, result);
}

linkcast_status forecast_one(Bundle& bundle, linkcast_model model, const float* windows, float* forecasts,
                             std::size_t batch, Deadline deadline, linkcast_result* result) {
  const std::size_t index = bundle.index(static_cast<std::size_t>(model));
  if (bundle.engine().spec(index).role == Role::fallback)
    return run_alone(Source::fallback, result, [&] { bundle.engine().forecast(index, windows, batch, forecasts); });
  GroupResult answered;
  const GroupRequest request{index, windows, batch, forecasts, nullptr};
  bundle.groups().forecast({&request, 1}, {&answered, 1}, deadline);
  const linkcast_status status = group_status(answered);
  if (status == LINKCAST_ERROR_NO_ANSWER)
    fail(status, "%s: no answer, because of \"%s\", and nothing to fall back to",
         bundle.engine().spec(index).name.c_str(), cause_name(answered.cause));
  return set_result(status, answered.source, answered.cause, answered.latency_ns, result);
}

/// The k-th group: they lie as far apart as the caller's struct is large.
linkcast_group& group_at(linkcast_group* groups, std::size_t k) noexcept {
  return *reinterpret_cast<linkcast_group*>(reinterpret_cast<unsigned char*>(groups) + k * groups->size);
}

linkcast_status check_groups(const Bundle& bundle, linkcast_group* groups, std::size_t count) noexcept {
  if (!groups || count == 0) return fail(LINKCAST_ERROR_ARGUMENT, "groups: expected at least one, got none");
  if (count > bundle.count())
    return fail(LINKCAST_ERROR_ARGUMENT, "groups: expected at most %zu, got %zu", bundle.count(), count);
  if (const auto status = check_struct(groups, kFirstGroup)) return status;
  for (std::size_t k = 0; k < count; ++k) {
    const linkcast_group& group = group_at(groups, k);
    if (group.size != groups->size)
      return fail(LINKCAST_ERROR_STRUCT_SIZE, "groups: expected the same size in each, got %zu and %zu", groups->size,
                  group.size);
    const auto status =
        check_rows(bundle, group.model, false, group.windows, group.values, group.forecasts_mbps, group.batch);
    // A window that is not finite is a matter of its group alone.
    if (status != LINKCAST_OK && status != LINKCAST_ERROR_NOT_FINITE) return status;
  }
  return LINKCAST_OK;
}

linkcast_status forecast_all(Bundle& bundle, linkcast_group* groups, std::size_t count, Deadline deadline) {
  if (const auto status = check_groups(bundle, groups, count)) return status;
  for (std::size_t k = 0; k < count; ++k) {
    const linkcast_group& group = group_at(groups, k);
    bundle.requests()[k] = {bundle.index(static_cast<std::size_t>(group.model)), group.windows, group.batch,
                            group.forecasts_mbps, nullptr};
  }
  bundle.groups().forecast({bundle.requests().data(), count}, {bundle.results().data(), count}, deadline);
  for (std::size_t k = 0; k < count; ++k) {
    const GroupResult& answered = bundle.results()[k];
    linkcast_group& group = group_at(groups, k);
    group.result.size = sizeof(linkcast_result);
    set_result(group_status(answered), answered.source, answered.cause, answered.latency_ns, &group.result);
  }
  return LINKCAST_OK;
}

}  // namespace

const char* EngineHandle::keep(std::string_view text) {
  const std::lock_guard lock(texts_lock);
  for (const std::string& kept : texts)
    if (kept == text) return kept.c_str();
  return texts.emplace_back(text).c_str();
}

Pinned<EngineHandle> find_engine(linkcast_engine* handle) noexcept { return {handle, Kind::engine}; }

bool known_model(const Bundle& bundle, linkcast_model model) noexcept {
  if (model >= 0 && static_cast<std::size_t>(model) < bundle.count()) return true;
  fail(LINKCAST_ERROR_ARGUMENT, "model: expected 0 to %zu, got %d", bundle.count() - 1, static_cast<int>(model));
  return false;
}

linkcast_status check_finite(const float* values, std::size_t count) noexcept {
  // x * 0 is 0 for finite x, and NaN for the others; a sum, so that the loop needs no branch.
  float sum = 0;
  for (std::size_t k = 0; k < count; ++k) sum += values[k] * 0.0F;
  if (sum == 0.0F) return LINKCAST_OK;
  std::size_t first = 0;
  while (std::isfinite(values[first])) ++first;
  return fail(LINKCAST_ERROR_NOT_FINITE, "features: expected finite values, got %f at position %zu",
              static_cast<double>(values[first]), first);
}

Safeguard::Options safeguard_options(const linkcast_safeguard& given) {
  if (given.held != LINKCAST_SOURCE_LAST && given.held != LINKCAST_SOURCE_EWMA)
    throw Error(LINKCAST_ERROR_ARGUMENT,
                "held: expected LINKCAST_SOURCE_LAST or LINKCAST_SOURCE_EWMA, got " + std::to_string(given.held));
  Safeguard::Options options;
  options.plausible_margin = given.plausible_margin;
  options.ewma_weight = given.ewma_weight;
  options.held = given.held == LINKCAST_SOURCE_LAST ? Safeguard::Held::last : Safeguard::Held::ewma;
  return options;
}

Call::Call(EngineHandle& engine) noexcept : engine_(engine), bundle_(engine.live.enter()) {
  if (!bundle_) fail(LINKCAST_ERROR_BUSY, "%s: another thread is calling on this engine", engine.folder.c_str());
}

}  // namespace linkcast::c_api

using namespace linkcast;
using namespace linkcast::c_api;

extern "C" {

linkcast_status linkcast_engine_open(const char* folder, const linkcast_engine_options* options,
                                     linkcast_engine** engine) {
  if (!engine) return fail(LINKCAST_ERROR_ARGUMENT, "engine: expected a place for the handle, got null");
  *engine = nullptr;
  try {
    linkcast_engine_options given = LINKCAST_ENGINE_OPTIONS_INIT;
    if (const auto status = read_struct(options, kFirstEngineOptions, given)) return status;
    const auto opened = std::make_shared<EngineHandle>(folder ? folder : default_folder(), bundle_options(given));
    log_bundle("opened", *opened->live.shared());
    *engine = static_cast<linkcast_engine*>(open_handle(Kind::engine, opened.get()));
    opened->self = opened;  // until linkcast_engine_close
    return LINKCAST_OK;
  }
  LINKCAST_CATCH
}

linkcast_status linkcast_engine_close(linkcast_engine* handle) {
  if (!handle) return LINKCAST_OK;
  auto engine = find_engine(handle);
  if (!engine) return LINKCAST_ERROR_HANDLE;
  try {
    const std::string closed = "closed " + engine->folder;
    std::shared_ptr<EngineHandle> opened = engine->self;  // outlives the call below, and is freed last
    {
      const Call call(*opened);  // a stream or a controller of this engine may be at work, too
      if (!call.bundle()) return LINKCAST_ERROR_BUSY;
      if (const auto status = engine.close()) return status;
      opened->self.reset();
    }
    log(LINKCAST_LOG_INFO, closed);
    return LINKCAST_OK;
  }
  LINKCAST_CATCH
}

linkcast_status linkcast_engine_reload(linkcast_engine* handle, const char* folder) {
  const auto engine = find_engine(handle);
  if (!engine) return LINKCAST_ERROR_HANDLE;
  try {
    const std::lock_guard reloading(engine->reloading);
    const std::string from = folder ? folder : engine->folder;
    try {
      auto fresh = std::make_shared<Bundle>(from, engine->options, engine->live.shared().get());
      log_bundle("reloaded", *fresh);
      engine->live.publish(std::move(fresh));
      return LINKCAST_OK;
    } catch (const std::exception& error) {
      log(LINKCAST_LOG_ERROR, "reload of " + from + " failed, the present models stay: " + error.what());
      throw;
    }
  }
  LINKCAST_CATCH
}

linkcast_status linkcast_model_count(linkcast_engine* handle, size_t* count) {
  const auto engine = find_engine(handle);
  if (!engine) return LINKCAST_ERROR_HANDLE;
  if (!count) return fail(LINKCAST_ERROR_ARGUMENT, "count: expected a pointer, got null");
  *count = engine->live.shared()->count();
  return LINKCAST_OK;
}

linkcast_status linkcast_model_find(linkcast_engine* handle, const char* name, linkcast_role role,
                                    linkcast_model* model) {
  const auto engine = find_engine(handle);
  if (!engine) return LINKCAST_ERROR_HANDLE;
  if (!name || !model) return fail(LINKCAST_ERROR_ARGUMENT, "name and model: expected pointers, got null");
  try {
    const std::shared_ptr<Bundle> bundle = engine->live.shared();
    *model = static_cast<linkcast_model>(bundle->number(find_index(bundle->engine(), name, role)));
    return LINKCAST_OK;
  } catch (const std::invalid_argument& error) {
    return fail(LINKCAST_ERROR_NOT_FOUND, "%s", error.what());
  }
  LINKCAST_CATCH
}

linkcast_status linkcast_model_describe(linkcast_engine* handle, linkcast_model number, linkcast_model_info* info) {
  const auto engine = find_engine(handle);
  if (!engine) return LINKCAST_ERROR_HANDLE;
  if (!info) return fail(LINKCAST_ERROR_ARGUMENT, "info: expected a pointer, got null");
  if (const auto status = check_struct(info, kFirstModelInfo)) return status;
  try {
    const std::shared_ptr<Bundle> bundle = engine->live.shared();
    if (!known_model(*bundle, number)) return LINKCAST_ERROR_ARGUMENT;
    const ModelSpec& spec = bundle->spec(static_cast<std::size_t>(number));
    const Model& model = bundle->engine().model(bundle->index(static_cast<std::size_t>(number)));
    linkcast_model_info own{};
    own.name = engine->keep(spec.name);
    own.serves = engine->keep(spec.serves);
    own.backend = engine->keep(model.backend());
    own.backend_reason = engine->keep(model.backend_reason());
    own.isa = engine->keep(model.isa());
    own.role = role_number(spec.role);
    own.window = static_cast<std::uint32_t>(spec.window);
    own.features = static_cast<std::uint32_t>(spec.features.size());
    own.outputs = static_cast<std::uint32_t>(model.row_outputs());
    own.step_s = spec.step_s;
    write_struct(own, info);
    return LINKCAST_OK;
  }
  LINKCAST_CATCH
}

linkcast_status linkcast_forecast(linkcast_engine* handle, linkcast_model model, const float* windows, size_t values,
                                  float* forecasts_mbps, size_t batch, uint64_t deadline_ns, linkcast_result* result) {
  const auto engine = find_engine(handle);
  if (!engine) return LINKCAST_ERROR_HANDLE;
  const Call call(*engine);
  if (!call.bundle()) return LINKCAST_ERROR_BUSY;
  const Deadline deadline = deadline_in(deadline_ns);
  try {
    if (const auto status = check_struct(result, kFirstResult)) return status;
    if (const auto status = check_rows(*call.bundle(), model, false, windows, values, forecasts_mbps, batch))
      return status;
    return forecast_one(*call.bundle(), model, windows, forecasts_mbps, batch, deadline, result);
  }
  LINKCAST_CATCH
}

linkcast_status linkcast_forecast_groups(linkcast_engine* handle, linkcast_group* groups, size_t count,
                                         uint64_t deadline_ns) {
  const auto engine = find_engine(handle);
  if (!engine) return LINKCAST_ERROR_HANDLE;
  const Call call(*engine);
  if (!call.bundle()) return LINKCAST_ERROR_BUSY;
  const Deadline deadline = deadline_in(deadline_ns);
  try {
    return forecast_all(*call.bundle(), groups, count, deadline);
  }
  LINKCAST_CATCH
}

linkcast_status linkcast_decide(linkcast_engine* handle, linkcast_model model, const float* states, size_t values,
                                int32_t* actions, size_t batch, linkcast_result* result) {
  const auto engine = find_engine(handle);
  if (!engine) return LINKCAST_ERROR_HANDLE;
  const Call call(*engine);
  if (!call.bundle()) return LINKCAST_ERROR_BUSY;
  try {
    if (const auto status = check_struct(result, kFirstResult)) return status;
    if (const auto status = check_rows(*call.bundle(), model, true, states, values, actions, batch)) return status;
    const std::size_t index = call.bundle()->index(static_cast<std::size_t>(model));
    return run_alone(Source::model, result, [&] { call.bundle()->engine().decide(index, states, batch, actions); });
  }
  LINKCAST_CATCH
}

linkcast_status linkcast_stats(linkcast_engine* handle, linkcast_model model, linkcast_model_stats* stats) {
  const auto engine = find_engine(handle);
  if (!engine) return LINKCAST_ERROR_HANDLE;
  if (!stats) return fail(LINKCAST_ERROR_ARGUMENT, "stats: expected a pointer, got null");
  if (const auto status = check_struct(stats, kFirstModelStats)) return status;
  try {
    const std::shared_ptr<Bundle> bundle = engine->live.shared();
    if (!known_model(*bundle, model)) return LINKCAST_ERROR_ARGUMENT;
    const ModelStats& from = bundle->engine().stats(bundle->index(static_cast<std::size_t>(model)));
    linkcast_model_stats own = LINKCAST_MODEL_STATS_INIT;
    own.calls = from.latency.count();
    own.p50_ns = from.latency.percentile_ns(0.5);
    own.p90_ns = from.latency.percentile_ns(0.9);
    own.p99_ns = from.latency.percentile_ns(0.99);
    own.p999_ns = from.latency.percentile_ns(0.999);
    own.max_ns = from.latency.max_ns();
    own.late = from.late.value();
    static_assert(std::size(linkcast_model_stats{}.sources) == kSources &&
                  std::size(linkcast_model_stats{}.causes) == kCauses);
    for (std::size_t k = 0; k < kSources; ++k) own.sources[k] = from.sources[k].value();
    for (std::size_t k = 0; k < kCauses; ++k) own.causes[k] = from.causes[k].value();
    own.switches = from.switches.value();
    write_struct(own, stats);
    return LINKCAST_OK;
  }
  LINKCAST_CATCH
}

const char* linkcast_source_name(linkcast_source source) {
  return source >= LINKCAST_SOURCE_MODEL && source <= LINKCAST_SOURCE_NONE ? source_name(static_cast<Source>(source))
                                                                           : "unknown source";
}

const char* linkcast_cause_name(linkcast_cause cause) {
  return cause >= LINKCAST_CAUSE_NONE && cause <= LINKCAST_CAUSE_BEATEN ? cause_name(static_cast<Cause>(cause))
                                                                        : "unknown cause";
}

}  // extern "C"
