// What an engine's handle stands for.
#pragma once

#include <cstring>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fork.h"
#include "c_api/handles.h"
#include "c_api/hot_swap.h"
#include "c_api/model_set.h"
#include "c_api/status.h"
#include "c_api/structs.h"
#include "linkcast/linkcast.h"

namespace linkcast::c_api {

struct EngineHandle {
  EngineHandle(std::string folder_, ModelSetOptions options_)
      : folder(std::move(folder_)),
        options(std::move(options_)),
        live(std::make_shared<ModelSet>(folder, options, nullptr)) {}

  const char* keep(std::string_view text);

  std::shared_ptr<EngineHandle> self;  // until it is closed; streams and controllers hold it too
  const std::string folder;            // that was opened
  const ModelSetOptions options;
  HotSwap<ModelSet> live;
  ForkLock reloading;  // one reload at a time
  ForkLock texts_lock;
  std::list<std::string> texts;  // handed out by linkcast_model_describe, each once; under texts_lock
};

/// Reads what a caller gives over the defaults in `given`. Null gives those.
linkcast_status read_engine_options(const linkcast_engine_options* options, linkcast_engine_options& given) noexcept;
/// Of each model. @throws Error, std::invalid_argument
Model::Options model_options(const linkcast_engine_options& given);

/// The engine behind a handle; false, and the text for linkcast_last_error, when it is none.
Pinned<EngineHandle> find_engine(linkcast_engine* handle) noexcept;

/// One hot call: holds the handle, so that a second thread is turned away and no reload frees what is in use.
class Call {
 public:
  explicit Call(EngineHandle& engine) noexcept;
  ~Call() {
    if (models_) engine_.live.leave();
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  /// The models; nullptr, and the text for linkcast_last_error, when another thread is calling.
  ModelSet* models() const noexcept { return models_; }

 private:
  EngineHandle& engine_;
  ModelSet* models_;
};

/// Runs `run(object)` of an open handle, whose `engine` no other thread is in meanwhile.
template <class Object, class Run>
linkcast_status in_its_engine(const void* handle, Kind kind, Run run) {
  const Pinned<Object> found(handle, kind);
  if (!found) return LINKCAST_ERROR_HANDLE;
  const Call call(*found->engine);
  if (!call.models()) return LINKCAST_ERROR_BUSY;
  try {
    return run(*found);
  }
  LINKCAST_CATCH
}

/// Opens a handle of an object on an engine's present models: `make(engine, models)` gives it, or an Error.
/// @param given  options with their defaults; where `options` has some, they are read over those
template <class Object, class Handle, class Options, class Make>
linkcast_status open_in_its_engine(linkcast_engine* handle, Kind kind, const Options* options, std::size_t first_size,
                                   Options given, Handle** out, Make make) {
  const auto engine = find_engine(handle);
  if (!engine) return LINKCAST_ERROR_HANDLE;
  try {
    if (const auto status = read_struct(options, first_size, given)) return status;
    auto models = engine->live.shared();  // before the call: it may wait for a reload that waits for the call to end
    const Call call(*engine);
    if (!call.models()) return LINKCAST_ERROR_BUSY;
    auto opened = std::make_unique<Object>();
    opened->engine = engine->self;
    opened->models = std::move(models);
    if (const auto status = make(*opened, given)) return status;
    open_owned(kind, std::move(opened), out);
    return LINKCAST_OK;
  }
  LINKCAST_CATCH
}

/// A snapshot of `needed` bytes that `take()` gives; without `bytes` the size alone.
template <class Take>
linkcast_status write_snapshot(std::size_t needed, const Take& take, void* bytes, std::size_t capacity,
                               std::size_t* size) {
  if (!size) return fail(LINKCAST_ERROR_ARGUMENT, "size: expected a pointer, got null");
  *size = needed;
  if (!bytes) return LINKCAST_OK;
  if (capacity < needed)
    return fail(LINKCAST_ERROR_ARGUMENT, "capacity: expected at least %zu bytes, got %zu", needed, capacity);
  const std::vector<std::byte> taken = take();
  std::memcpy(bytes, taken.data(), taken.size());
  return LINKCAST_OK;
}

/// Closes a handle of an object that belongs to an engine, and frees it.
template <class Object>
linkcast_status close_in_its_engine(const void* handle, Kind kind) {
  if (!handle) return LINKCAST_OK;
  Pinned<Object> found(handle, kind);
  if (!found) return LINKCAST_ERROR_HANDLE;
  const std::shared_ptr<EngineHandle> engine = found->engine;  // outlives the call
  const Call call(*engine);
  if (!call.models()) return LINKCAST_ERROR_BUSY;
  return close_and_free(found);
}

/// Whether `model` is one of the set's; else the text for linkcast_last_error stands.
bool known_model(const ModelSet& models, linkcast_model model) noexcept;

/// Whether every value is finite and of its feature's unit; allocates nothing, where the core would throw.
linkcast_status units_status(const std::vector<Feature>& features, const std::vector<Bounds>& bounds,
                             const float* values, std::size_t count) noexcept;

/// What an options struct says of when the model's forecast can't be used, and what answers then. @throws Error
template <class Options>
Safeguard::Options safeguard_options(const Options& given) {
  if (given.stand_in != LINKCAST_SOURCE_LAST && given.stand_in != LINKCAST_SOURCE_FORECAST_MEAN)
    throw Error(LINKCAST_ERROR_ARGUMENT,
                "stand_in: expected LINKCAST_SOURCE_LAST or LINKCAST_SOURCE_FORECAST_MEAN, got " +
                    std::to_string(static_cast<int>(given.stand_in)));
  Safeguard::Options options;
  options.plausible_margin = given.plausible_margin;
  options.stand_in_weight = given.stand_in_weight;
  options.stand_in =
      given.stand_in == LINKCAST_SOURCE_LAST ? Safeguard::StandIn::last : Safeguard::StandIn::forecast_mean;
  return options;
}

/// Whether the _INIT macro of an options struct gives what the core's options default to.
template <class Options>
constexpr bool has_default_safeguard(const Options& given) {
  constexpr Safeguard::Options defaults;
  return given.plausible_margin == defaults.plausible_margin && given.stand_in_weight == defaults.stand_in_weight &&
         (given.stand_in == LINKCAST_SOURCE_LAST) == (defaults.stand_in == Safeguard::StandIn::last);
}

linkcast_source source_number(Source source) noexcept;
linkcast_cause cause_number(Cause cause) noexcept;

// Sizes of the structs in the first version that had them.
constexpr std::size_t kFirstResult = sizeof(linkcast_result);
constexpr std::size_t kFirstAnswer = sizeof(linkcast_answer);

/// Whether there is room for as many answers as there are rows.
linkcast_status check_answers(const linkcast_answer* answers, std::size_t count, std::size_t rows) noexcept;

/// Writes `count` answers; those that `from` does not have are nobody's.
void write_answers(std::span<const Answer> from, std::size_t count, linkcast_answer* answers) noexcept;

linkcast_status set_result(linkcast_status status, Source source, Cause cause, std::uint64_t latency_ns,
                           linkcast_result* result) noexcept;

}  // namespace linkcast::c_api
