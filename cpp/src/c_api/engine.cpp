#include "c_api/engine.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <limits>
#include <sstream>

#include "base/clock.h"
#include "c_api/handles.h"
#include "c_api/status.h"
#include "c_api/structs.h"
#include "engine/folder.h"
#include "engine/stats.h"

namespace linkcast::c_api {
namespace {

// Sizes of the structs in the first version that had them.
constexpr std::size_t kFirstEngineOptions = offsetof(linkcast_engine_options, public_key);
constexpr std::size_t kFirstModelInfo = offsetof(linkcast_model_info, precision);
constexpr std::size_t kFirstKernelTime = sizeof(linkcast_kernel_time);
constexpr std::size_t kFirstRequest = sizeof(linkcast_request);
constexpr std::size_t kFirstModelStats = sizeof(linkcast_model_stats);

static_assert(has_default_safeguard(linkcast_engine_options LINKCAST_ENGINE_OPTIONS_INIT));

template <class Number>
void check_range(const char* name, Number value, long long least, long long most) {
  if (static_cast<long long>(value) >= least && static_cast<long long>(value) <= most) return;
  throw Error(LINKCAST_ERROR_ARGUMENT, std::string(name) + ": expected " + std::to_string(least) + " to " +
                                           std::to_string(most) + ", got " + std::to_string(value));
}

ModelSetOptions model_set_options(const linkcast_engine_options& given) {
  check_range("batch", given.batch, 1, LINKCAST_MAX_BATCH);
  check_range("pool_threads", given.pool_threads, 1, 1024);
  ModelSetOptions options;
  options.model = model_options(given);
  options.pool.threads = given.pool_threads;
  if (given.pool_cpus) options.pool.cpus.assign(given.pool_cpus, given.pool_cpus + given.pool_threads - 1);
  options.pool.spin_us = given.spin_us;
  options.pool.batch = given.batch;
  options.pool.safeguard = safeguard_options(given);
  options.signers = Signers::configured(given.public_key);
  return options;
}

void log_models(const char* what, const ModelSet& models) {
  std::ostringstream text;
  text << what << " " << models.engine().folder() << ": " << models.count() << " models";
  log(LINKCAST_LOG_INFO, text.str());
  for (std::size_t number = 0; number < models.count(); ++number) {
    const Model& model = models.engine().model(models.index(number));
    log(LINKCAST_LOG_INFO, models.spec(number).name + ": " + model.backend() + ", " + model.backend_reason());
  }
}

// The numbers of linkcast.h, in the order of the core's enumerators.
constexpr linkcast_role kRoles[] = {LINKCAST_ROLE_FORECASTER, LINKCAST_ROLE_ALLOCATOR, LINKCAST_ROLE_FALLBACK};
constexpr linkcast_source kSourceNumbers[] = {
    LINKCAST_SOURCE_NONE, LINKCAST_SOURCE_MODEL,         LINKCAST_SOURCE_MIXTURE,      LINKCAST_SOURCE_FALLBACK,
    LINKCAST_SOURCE_LAST, LINKCAST_SOURCE_FORECAST_MEAN, LINKCAST_SOURCE_MEASURED_MEAN};
constexpr linkcast_cause kCauseNumbers[] = {
    LINKCAST_CAUSE_NONE,        LINKCAST_CAUSE_DEADLINE,         LINKCAST_CAUSE_FAILED,       LINKCAST_CAUSE_NOT_FINITE,
    LINKCAST_CAUSE_IMPLAUSIBLE, LINKCAST_CAUSE_OUTSIDE_TRAINING, LINKCAST_CAUSE_OVER_CAPACITY};
static_assert(std::size(kSourceNumbers) == kSources && std::size(kCauseNumbers) == kCauses);

std::size_t find_index(const Engine& engine, const char* name, linkcast_role role) {
  if (role == LINKCAST_ROLE_ANY) return engine.find(name);
  for (std::size_t k = 0; k < std::size(kRoles); ++k)
    if (role == kRoles[k]) return engine.find(name, static_cast<Role>(k));
  throw Error(LINKCAST_ERROR_ARGUMENT, "role: expected a linkcast_role, got " + std::to_string(static_cast<int>(role)));
}

/// What every call on rows of features checks, cheapest first.
linkcast_status check_rows(const ModelSet& models, linkcast_model model, bool allocator, const float* features,
                           std::size_t values, const void* answers, std::size_t batch) noexcept {
  if (!features || !answers) return fail(LINKCAST_ERROR_ARGUMENT, "features and answers: expected pointers, got null");
  if (!known_model(models, model)) return LINKCAST_ERROR_ARGUMENT;
  const ModelSpec& spec = models.spec(static_cast<std::size_t>(model));
  if (allocator != (spec.role == Role::allocator))
    return fail(LINKCAST_ERROR_ARGUMENT, "model: expected %s, got %s",
                allocator ? "an allocator" : "a forecaster or a fallback", spec.name.c_str());
  const std::size_t row = std::max<std::size_t>(spec.window, 1) * spec.features.size();
  if (batch == 0 || batch > LINKCAST_MAX_BATCH)
    return fail(LINKCAST_ERROR_ARGUMENT, "batch: expected 1 to %d, got %zu", LINKCAST_MAX_BATCH, batch);
  if (values != batch * row)
    return fail(LINKCAST_ERROR_ARGUMENT, "values: expected %zu floats (%s takes %zu, times a batch of %zu), got %zu",
                batch * row, spec.name.c_str(), row, batch, values);
  return units_status(spec.features, spec.bounds, features, values);
}

linkcast_status forecast_status(const ForecastResult& result) noexcept {
  switch (result.status) {
    case ForecastStatus::ok:
      return LINKCAST_OK;
    case ForecastStatus::bad_window:
      return LINKCAST_ERROR_NOT_FINITE;
    case ForecastStatus::no_answer:
      return LINKCAST_ERROR_NO_ANSWER;
    case ForecastStatus::wrong_unit:
      return LINKCAST_ERROR_UNIT;
  }
  return LINKCAST_ERROR_INTERNAL;
}

Deadline deadline_in(std::uint64_t budget_ns) noexcept { return budget_ns ? Deadline::in(budget_ns) : Deadline{}; }

/// A model without a stand-in: an allocator. `run` gives the cause.
template <class Run>
linkcast_status run_alone(Source source, linkcast_result* result, Run run) {
  if (!result) {
    run();
    return LINKCAST_OK;
  }
  const std::uint64_t start = monotonic_ns();
  const Cause cause = run();
  return set_result(LINKCAST_OK, source, cause, monotonic_ns() - start, result);
}

linkcast_status forecast_one(ModelSet& models, linkcast_model model, const float* windows, linkcast_answer* answers,
                             std::size_t count, Deadline deadline, linkcast_result* result) {
  const std::size_t index = models.index(static_cast<std::size_t>(model));
  ForecastResult answered;
  const ForecastRequest request{index, windows, count};
  models.pool().forecast({&request, 1}, {&answered, 1}, deadline);
  write_answers(answered.answers, count, answers);
  const linkcast_status status = forecast_status(answered);
  if (status == LINKCAST_ERROR_NO_ANSWER)
    fail(status, "%s: no answer, because of \"%s\", and nothing to fall back to",
         models.engine().spec(index).name.c_str(), cause_name(answered.cause));
  return set_result(status, answered.source, answered.cause, answered.latency_ns, result);
}

linkcast_status check_requests(const ModelSet& models, linkcast_request* requests, std::size_t count) noexcept {
  if (!requests || count == 0) return fail(LINKCAST_ERROR_ARGUMENT, "requests: expected at least one, got none");
  if (count > models.count())
    return fail(LINKCAST_ERROR_ARGUMENT, "requests: expected at most %zu, got %zu", models.count(), count);
  if (const auto status = check_structs(requests, count, kFirstRequest)) return status;
  for (std::size_t k = 0; k < count; ++k) {
    const linkcast_request& request = struct_at(requests, k);
    if (const auto status = check_struct(request.result, kFirstResult)) return status;
    const auto status =
        check_rows(models, request.model, false, request.windows, request.values, request.answers, request.count);
    // A window that is not finite, or in other units, is a matter of its request alone.
    if (status != LINKCAST_OK && status != LINKCAST_ERROR_NOT_FINITE && status != LINKCAST_ERROR_UNIT) return status;
    if (const auto room = check_answers(request.answers, request.count, request.count)) return room;
  }
  return LINKCAST_OK;
}

linkcast_status forecast_all(ModelSet& models, linkcast_request* requests, std::size_t count, Deadline deadline) {
  if (const auto status = check_requests(models, requests, count)) return status;
  for (std::size_t k = 0; k < count; ++k) {
    const linkcast_request& request = struct_at(requests, k);
    models.requests()[k] = {models.index(static_cast<std::size_t>(request.model)), request.windows, request.count};
  }
  models.pool().forecast({models.requests().data(), count}, {models.results().data(), count}, deadline);
  for (std::size_t k = 0; k < count; ++k) {
    const ForecastResult& answered = models.results()[k];
    const linkcast_request& request = struct_at(requests, k);
    write_answers(answered.answers, request.count, request.answers);
    set_result(forecast_status(answered), answered.source, answered.cause, answered.latency_ns, request.result);
  }
  return LINKCAST_OK;
}

}  // namespace

linkcast_status read_engine_options(const linkcast_engine_options* options, linkcast_engine_options& given) noexcept {
  return read_struct(options, kFirstEngineOptions, given);
}

Model::Options model_options(const linkcast_engine_options& given) {
  check_range("threads", given.threads, 1, 1024);
  Model::Options options;
  if (given.backend) options.backend = backend_from_name(given.backend);
  options.threads = given.threads;
  if (given.precision) options.precision = precision_from_name(given.precision);
  if (given.kernels) options.kernels = given.kernels;
  options.second_core = SecondCore::from(given.second_core ? given.second_core : "", given.helper_spin_us);
  if (given.load_seconds != 0) options.limits.load_seconds = given.load_seconds;
  if (given.tflite_library) options.tflite_library = given.tflite_library;
  return options;
}

const char* EngineHandle::keep(std::string_view text) {
  const std::lock_guard lock(texts_lock);
  for (const std::string& kept : texts)
    if (kept == text) return kept.c_str();
  return texts.emplace_back(text).c_str();
}

Pinned<EngineHandle> find_engine(linkcast_engine* handle) noexcept { return {handle, Kind::engine}; }

bool known_model(const ModelSet& models, linkcast_model model) noexcept {
  if (model >= 0 && static_cast<std::size_t>(model) < models.count()) return true;
  fail(LINKCAST_ERROR_ARGUMENT, "model: expected 0 to %zu, got %d", models.count() - 1, static_cast<int>(model));
  return false;
}

linkcast_status units_status(const std::vector<Feature>& features, const std::vector<Bounds>& bounds,
                             const float* values, std::size_t count) noexcept {
  const std::size_t bad = first_out_of_bounds(bounds, values, count);
  if (bad == count) return LINKCAST_OK;
  const std::size_t f = bad % bounds.size();
  char text[512];
  write_bounds_text(features[f], bounds[f], static_cast<double>(values[bad]), text, sizeof text);
  return fail(is_finite(static_cast<double>(values[bad])) ? LINKCAST_ERROR_UNIT : LINKCAST_ERROR_NOT_FINITE,
              "features: %s at position %zu", text, bad);
}

linkcast_source source_number(Source source) noexcept { return kSourceNumbers[static_cast<std::size_t>(source)]; }
linkcast_cause cause_number(Cause cause) noexcept { return kCauseNumbers[static_cast<std::size_t>(cause)]; }

linkcast_status check_answers(const linkcast_answer* answers, std::size_t count, std::size_t rows) noexcept {
  if (!answers) return fail(LINKCAST_ERROR_ARGUMENT, "answers: expected a pointer, got null");
  if (count != rows) return fail(LINKCAST_ERROR_ARGUMENT, "count: expected %zu answers, got %zu", rows, count);
  return check_structs(answers, count, kFirstAnswer);
}

void write_answers(std::span<const Answer> from, std::size_t count, linkcast_answer* answers) noexcept {
  for (std::size_t row = 0; row < count; ++row) {
    const Answer answer = row < from.size() ? from[row] : Answer{};
    const linkcast_answer own{
        sizeof(linkcast_answer),    answer.mbps,   answer.p10, answer.p50, answer.p90, source_number(answer.source),
        cause_number(answer.cause), answer.reserve};
    write_struct(own, &struct_at(answers, row));
  }
}

linkcast_status set_result(linkcast_status status, Source source, Cause cause, std::uint64_t latency_ns,
                           linkcast_result* result) noexcept {
  const linkcast_result own{sizeof(linkcast_result), status, source_number(source), cause_number(cause), latency_ns};
  write_struct(own, result);
  return status;
}

Call::Call(EngineHandle& engine) noexcept : engine_(engine), models_(engine.live.enter()) {
  if (!models_) fail(LINKCAST_ERROR_BUSY, "%s: another thread is calling on this engine", engine.folder.c_str());
}

namespace {

/// Runs `run(models)` while no other thread is in the engine.
template <class Run>
linkcast_status in_call(linkcast_engine* handle, Run run) {
  const auto engine = find_engine(handle);
  if (!engine) return LINKCAST_ERROR_HANDLE;
  const Call call(*engine);
  if (!call.models()) return LINKCAST_ERROR_BUSY;
  try {
    return run(*call.models());
  }
  LINKCAST_CATCH
}

/// Of each call every candidate; where nothing was measured, what runs it.
std::vector<linkcast_kernel_time> kernel_times(const Model& model) {
  std::vector<linkcast_kernel_time> times;
  if (!model.network()) return times;
  const KernelChoices& choices = model.network()->choices();
  for (std::size_t of = 0; of < choices.size(); ++of) {
    const KernelChoice& choice = choices[of];
    if (!choice.kernels) continue;
    const char* call = call_class_name(static_cast<CallClass>(of));
    const auto add = [&](const kernels::Kernels& candidate, double us) {
      times.push_back({sizeof(linkcast_kernel_time), call, candidate.name, us, &candidate == choice.kernels ? 1 : 0});
    };
    for (const KernelChoice::Time& measured : choice.times) add(*measured.kernels, measured.us);
    if (choice.times.empty()) add(*choice.kernels, std::numeric_limits<double>::quiet_NaN());
  }
  return times;
}

/// Fills `*out`, which errors call `what`, for a model that there is: `run(engine, models)` writes it.
template <class Out, class Run>
linkcast_status of_model(linkcast_engine* handle, linkcast_model model, const char* what, Out* out,
                         std::size_t first_size, Run run) {
  const auto engine = find_engine(handle);
  if (!engine) return LINKCAST_ERROR_HANDLE;
  if (!out) return fail(LINKCAST_ERROR_ARGUMENT, "%s: expected a pointer, got null", what);
  if (const auto status = check_struct(out, first_size)) return status;
  try {
    const std::shared_ptr<ModelSet> models = engine->live.shared();
    if (!known_model(*models, model)) return LINKCAST_ERROR_ARGUMENT;
    run(*engine, *models);
    return LINKCAST_OK;
  }
  LINKCAST_CATCH
}

}  // namespace
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
    if (const auto status = read_engine_options(options, given)) return status;
    const auto opened = std::make_shared<EngineHandle>(folder ? folder : default_folder(), model_set_options(given));
    log_models("opened", *opened->live.shared());
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
      if (!call.models()) return LINKCAST_ERROR_BUSY;
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
      auto fresh = std::make_shared<ModelSet>(from, engine->options, engine->live.shared().get());
      log_models("reloaded", *fresh);
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
    const std::shared_ptr<ModelSet> models = engine->live.shared();
    *model = static_cast<linkcast_model>(models->number(find_index(models->engine(), name, role)));
    return LINKCAST_OK;
  } catch (const std::invalid_argument& error) {
    return fail(LINKCAST_ERROR_NOT_FOUND, "%s", error.what());
  }
  LINKCAST_CATCH
}

linkcast_status linkcast_model_describe(linkcast_engine* handle, linkcast_model model, linkcast_model_info* info) {
  return of_model(handle, model, "info", info, kFirstModelInfo, [&](EngineHandle& engine, ModelSet& models) {
    const auto number = static_cast<std::size_t>(model);
    const ModelSpec& spec = models.spec(number);
    const Model& loaded = models.engine().model(models.index(number));
    linkcast_model_info own{};
    own.name = engine.keep(spec.name);
    own.serves = engine.keep(spec.serves);
    own.backend = engine.keep(loaded.backend());
    own.backend_reason = engine.keep(loaded.backend_reason());
    own.isa = engine.keep(loaded.isa());
    own.role = kRoles[static_cast<std::size_t>(spec.role)];
    own.window = static_cast<std::uint32_t>(spec.window);
    own.features = static_cast<std::uint32_t>(spec.features.size());
    own.outputs = static_cast<std::uint32_t>(loaded.row_outputs());
    own.step_s = spec.step_s;
    own.precision = engine.keep(precision_name(loaded.precision()));
    own.kernels = engine.keep(loaded.kernels());
    own.proof_error = loaded.proof_error();
    own.second_core = engine.keep(loaded.second_core());
    own.kernel_times = kernel_times(loaded).size();
    write_struct(own, info);
  });
}

linkcast_status linkcast_model_kernel_time(linkcast_engine* handle, linkcast_model model, size_t index,
                                           linkcast_kernel_time* time) {
  return of_model(handle, model, "time", time, kFirstKernelTime, [&](EngineHandle&, ModelSet& models) {
    const auto times = kernel_times(models.engine().model(models.index(static_cast<std::size_t>(model))));
    if (index >= times.size())
      throw Error(LINKCAST_ERROR_ARGUMENT,
                  "index: expected below " + std::to_string(times.size()) + ", got " + std::to_string(index));
    write_struct(times[index], time);
  });
}

linkcast_status linkcast_forecast(linkcast_engine* handle, linkcast_model model, const float* windows, size_t values,
                                  uint64_t deadline_ns, linkcast_answer* answers, size_t count,
                                  linkcast_result* result) {
  return in_call(handle, [&](ModelSet& models) {
    const Deadline deadline = deadline_in(deadline_ns);
    if (const auto status = check_struct(result, kFirstResult)) return status;
    if (const auto status = check_rows(models, model, false, windows, values, answers, count)) return status;
    if (const auto status = check_answers(answers, count, count)) return status;
    return forecast_one(models, model, windows, answers, count, deadline, result);
  });
}

linkcast_status linkcast_forecast_many(linkcast_engine* handle, linkcast_request* requests, size_t count,
                                       uint64_t deadline_ns) {
  return in_call(handle,
                 [&](ModelSet& models) { return forecast_all(models, requests, count, deadline_in(deadline_ns)); });
}

linkcast_status linkcast_forecast_raw(linkcast_engine* handle, linkcast_model model, const float* windows,
                                      size_t values, float* mbps, size_t batch) {
  return in_call(handle, [&](ModelSet& models) {
    if (const auto status = check_rows(models, model, false, windows, values, mbps, batch)) return status;
    models.engine().forecast_raw(models.index(static_cast<std::size_t>(model)), windows, batch, mbps);
    return LINKCAST_OK;
  });
}

linkcast_status linkcast_decide(linkcast_engine* handle, linkcast_model model, const float* states, size_t values,
                                int32_t* actions, size_t batch, linkcast_result* result) {
  return in_call(handle, [&](ModelSet& models) {
    if (const auto status = check_struct(result, kFirstResult)) return status;
    if (const auto status = check_rows(models, model, true, states, values, actions, batch)) return status;
    const std::size_t index = models.index(static_cast<std::size_t>(model));
    return run_alone(Source::model, result, [&] { return models.engine().decide(index, states, batch, actions); });
  });
}

linkcast_status linkcast_model_prepare(linkcast_engine* handle, linkcast_model model) {
  return in_call(handle, [&](ModelSet& models) {
    if (!known_model(models, model)) return LINKCAST_ERROR_ARGUMENT;
    const std::size_t index = models.index(static_cast<std::size_t>(model));
    if (models.engine().spec(index).role == Role::allocator)
      models.engine().prepare(index);
    else
      models.pool().prepare(index);
    return LINKCAST_OK;
  });
}

linkcast_status linkcast_model_read_stats(linkcast_engine* handle, linkcast_model model, linkcast_model_stats* stats) {
  return of_model(handle, model, "stats", stats, kFirstModelStats, [&](EngineHandle&, ModelSet& models) {
    const ModelStats& from = models.engine().stats(models.index(static_cast<std::size_t>(model)));
    linkcast_model_stats own = LINKCAST_MODEL_STATS_INIT;
    own.calls = from.latency.count();
    own.p50_ns = from.latency.percentile_ns(0.5);
    own.p90_ns = from.latency.percentile_ns(0.9);
    own.p99_ns = from.latency.percentile_ns(0.99);
    own.p999_ns = from.latency.percentile_ns(0.999);
    own.max_ns = from.latency.max_ns();
    own.late = from.late.value();
    static_assert(kSources <= std::size(linkcast_model_stats{}.sources) &&
                  kCauses <= std::size(linkcast_model_stats{}.causes));
    for (std::size_t k = 0; k < kSources; ++k)
      own.sources[source_number(static_cast<Source>(k))] = from.sources[k].value();
    for (std::size_t k = 0; k < kCauses; ++k) own.causes[cause_number(static_cast<Cause>(k))] = from.causes[k].value();
    write_struct(own, stats);
  });
}

const char* linkcast_source_name(linkcast_source source) {
  for (std::size_t k = 0; k < kSources; ++k)
    if (source_number(static_cast<Source>(k)) == source) return source_name(static_cast<Source>(k));
  return "unknown source";
}

const char* linkcast_cause_name(linkcast_cause cause) {
  for (std::size_t k = 0; k < kCauses; ++k)
    if (cause_number(static_cast<Cause>(k)) == cause) return cause_name(static_cast<Cause>(k));
  return "unknown cause";
}

}  // extern "C"
