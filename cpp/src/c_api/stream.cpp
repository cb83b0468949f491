#include "engine/stream.h"

#include <cmath>
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
constexpr std::size_t kFirstStreamOptions = sizeof(linkcast_stream_options);
constexpr std::size_t kFirstStreamInfo = sizeof(linkcast_stream_info);
constexpr std::size_t kFirstExpert = sizeof(linkcast_expert);

constexpr bool has_defaults(const linkcast_stream_options& given) {
  constexpr Stream::Options defaults;
  return has_default_safeguard(given) && given.most_held == defaults.most_held &&
         (given.mixture != 0) == defaults.mixture && given.horizon == defaults.outlook.horizon &&
         given.level == defaults.outlook.level;
}
static_assert(has_defaults(LINKCAST_STREAM_OPTIONS_INIT));

/// What a stream's handle stands for.
struct StreamHandle {
  std::shared_ptr<EngineHandle> engine;
  std::shared_ptr<ModelSet> models;  // whose models the stream runs on
  std::size_t model;                 // number, the same in every set of the engine
  Stream::Options options;
  std::vector<Answer> answers;  // (rows) of the last push
  std::unique_ptr<Stream> stream;
};

Pinned<StreamHandle> find_stream(const void* handle) noexcept { return {handle, Kind::stream}; }

/// The handle's stream on the engine's present models, empty. To be called within a Call, which keeps others out; the
/// models is fetched before it, because that may wait for a reload that waits for the call to end.
std::unique_ptr<Stream> make_stream(const StreamHandle& handle, ModelSet& models, std::size_t rows) {
  return std::make_unique<Stream>(models.engine(), models.index(handle.model), handle.options, rows);
}

/// Calls `run(handle)` while no other thread is in the engine.
template <class Run>
linkcast_status with_stream(const void* handle, Run run) {
  return in_its_engine<StreamHandle>(handle, Kind::stream, run);
}

linkcast_status check_row(const Stream& stream, std::size_t row) noexcept {
  if (row < stream.rows()) return LINKCAST_OK;
  return fail(LINKCAST_ERROR_ARGUMENT, "row: expected 0 to %zu, got %zu", stream.rows() - 1, row);
}

linkcast_status check_samples(const ModelSpec& spec, const Stream& stream, const float* samples, std::size_t values,
                              const std::uint8_t* present) noexcept {
  if (!samples) return LINKCAST_OK;
  const std::size_t features = stream.features();
  if (values != stream.rows() * features)
    return fail(LINKCAST_ERROR_ARGUMENT, "values: expected %zu floats, got %zu", stream.rows() * features, values);
  if (!present) return units_status(spec.features, spec.bounds, samples, values);
  for (std::size_t row = 0; row < stream.rows(); ++row) {
    if (!present[row]) continue;
    if (const auto status = units_status(spec.features, spec.bounds, samples + row * features, features)) return status;
  }
  return LINKCAST_OK;
}

linkcast_status push(StreamHandle& handle, const float* samples, std::size_t values, const std::uint8_t* present,
                     std::uint64_t deadline_ns, linkcast_answer* answers, std::size_t count, linkcast_result* result) {
  Stream& stream = *handle.stream;
  if (const auto status = check_struct(result, kFirstResult)) return status;
  if (const auto status = check_answers(answers, count, stream.rows())) return status;
  if (const auto status = check_samples(handle.models->engine().spec(stream.model()), stream, samples, values, present))
    return status;
  const std::uint64_t start = result || deadline_ns ? monotonic_ns() : 0;
  const Deadline deadline{deadline_ns ? start + deadline_ns : 0};
  const std::size_t full = stream.push(samples, present, handle.answers.data(), deadline);
  write_answers(handle.answers, count, answers);
  Source source = full > 0 ? Source::model : Source::none;
  Cause cause = Cause::none;
  for (std::size_t row = 0; full > 0 && row < stream.rows(); ++row) {
    if (!stream.ready(row)) continue;
    source = later_resort(source, handle.answers[row].source);
    if (cause == Cause::none) cause = handle.answers[row].cause;
  }
  linkcast_status status = LINKCAST_OK;
  if (full == 0)
    status = LINKCAST_NOT_READY;
  else if (source == Source::none)
    status = fail(LINKCAST_ERROR_NO_ANSWER, "stream: no answer, because of \"%s\"", cause_name(cause));
  return set_result(status, source, cause, result ? monotonic_ns() - start : 0, result);
}

/// linkcast_stream_horizon and linkcast_stream_peak.
linkcast_status look_ahead(linkcast_stream* handle, std::size_t row, std::size_t steps, bool peak,
                           linkcast_answer* answer) {
  return with_stream(handle, [&](StreamHandle& found) {
    Stream& stream = *found.stream;
    if (const auto status = check_answers(answer, 1, 1)) return status;
    if (const auto status = check_row(stream, row)) return status;
    const std::size_t most = stream.mixture() ? stream.mixture()->options().horizon : 0;
    if (most > 0 && (steps < 1 || steps > most))
      return fail(LINKCAST_ERROR_ARGUMENT, "steps: expected 1 to %zu, got %zu", most, steps);
    const Answer expected = most == 0 ? Answer{} : peak ? stream.peak(row, steps) : stream.horizon(row, steps);
    write_answers({&expected, 1}, 1, answer);
    return expected.source == Source::none ? LINKCAST_NOT_READY : LINKCAST_OK;
  });
}

}  // namespace
}  // namespace linkcast::c_api

using namespace linkcast;
using namespace linkcast::c_api;

extern "C" {

linkcast_status linkcast_stream_open(linkcast_engine* engine, linkcast_model model, size_t rows,
                                     const linkcast_stream_options* options, linkcast_stream** stream) {
  if (!stream) return fail(LINKCAST_ERROR_ARGUMENT, "stream: expected a place for the handle, got null");
  *stream = nullptr;
  if (rows == 0 || rows > LINKCAST_MAX_BATCH)
    return fail(LINKCAST_ERROR_ARGUMENT, "rows: expected 1 to %d, got %zu", LINKCAST_MAX_BATCH, rows);
  const auto make = [&](StreamHandle& opened, const linkcast_stream_options& given) {
    if (!known_model(*opened.models, model)) return LINKCAST_ERROR_ARGUMENT;
    opened.model = static_cast<std::size_t>(model);
    opened.options.most_held = given.most_held;
    opened.options.mixture = given.mixture != 0;
    opened.options.outlook = {given.horizon, given.level};
    opened.options.safeguard = safeguard_options(given);
    opened.answers.resize(rows);
    opened.stream = make_stream(opened, *opened.models, rows);
    return LINKCAST_OK;
  };
  return open_in_its_engine<StreamHandle>(engine, Kind::stream, options, kFirstStreamOptions,
                                          LINKCAST_STREAM_OPTIONS_INIT, stream, make);
}

linkcast_status linkcast_stream_close(linkcast_stream* handle) {
  return close_in_its_engine<StreamHandle>(handle, Kind::stream);
}

linkcast_status linkcast_stream_push(linkcast_stream* handle, const float* samples, size_t values,
                                     const uint8_t* present, uint64_t deadline_ns, linkcast_answer* answers,
                                     size_t count, linkcast_result* result) {
  return with_stream(handle, [&](StreamHandle& found) {
    return push(found, samples, values, present, deadline_ns, answers, count, result);
  });
}

linkcast_status linkcast_stream_advance(linkcast_stream* handle) {
  return with_stream(handle, [](StreamHandle& found) {
    found.stream->advance();
    return LINKCAST_OK;
  });
}

linkcast_status linkcast_stream_prepare(linkcast_stream* handle) {
  return with_stream(handle, [](StreamHandle& found) {
    found.stream->prepare();
    return LINKCAST_OK;
  });
}

linkcast_status linkcast_stream_reset(linkcast_stream* handle, size_t row) {
  return with_stream(handle, [&](StreamHandle& found) {
    if (row == LINKCAST_ALL_ROWS) {
      found.stream->reset();
      return LINKCAST_OK;
    }
    if (const auto status = check_row(*found.stream, row)) return status;
    found.stream->reset(row);
    return LINKCAST_OK;
  });
}

linkcast_status linkcast_stream_follow(linkcast_stream* handle) {
  const auto found = find_stream(handle);
  if (!found) return LINKCAST_ERROR_HANDLE;
  try {
    std::shared_ptr<ModelSet> models = found->engine->live.shared();
    const Call call(*found->engine);
    if (!call.models()) return LINKCAST_ERROR_BUSY;
    if (models == found->models) return LINKCAST_OK;
    auto stream = make_stream(*found, *models, found->stream->rows());
    const std::vector<std::byte> windows = found->stream->snapshot();
    stream->restore(windows.data(), windows.size(), false);
    found->stream = std::move(stream);  // before the models that the old stream refers to
    found->models = std::move(models);
    return LINKCAST_OK;
  }
  LINKCAST_CATCH
}

linkcast_status linkcast_stream_describe(linkcast_stream* handle, size_t row, linkcast_stream_info* info) {
  const auto found = find_stream(handle);
  if (!found) return LINKCAST_ERROR_HANDLE;
  if (!info) return fail(LINKCAST_ERROR_ARGUMENT, "info: expected a pointer, got null");
  if (const auto status = check_struct(info, kFirstStreamInfo)) return status;
  const std::shared_ptr<ModelSet> present = found->engine->live.shared();
  const Call call(*found->engine);
  if (!call.models()) return LINKCAST_ERROR_BUSY;
  const Stream& stream = *found->stream;
  if (const auto status = check_row(stream, row)) return status;
  linkcast_stream_info own = LINKCAST_STREAM_INFO_INIT;
  own.mode = stream.mode();
  own.mode_reason = stream.mode_reason().c_str();
  own.rows = stream.rows();
  own.ticks = stream.ticks();
  own.missing = stream.missing(row);
  own.window = static_cast<std::uint32_t>(stream.window());
  own.features = static_cast<std::uint32_t>(stream.features());
  own.samples_in = static_cast<std::uint32_t>(stream.samples_in(row));
  own.held = static_cast<std::uint32_t>(stream.held(row));
  own.outdated = present != found->models;
  own.exceeded = std::numeric_limits<double>::quiet_NaN();
  if (const Mixture* mixture = stream.mixture()) {
    own.horizon = static_cast<std::uint32_t>(mixture->options().horizon);
    own.experts = Mixture::kExperts;
    own.scored = mixture->scored(row);
    own.exceeded = mixture->exceeded(row);
  }
  write_struct(own, info);
  return LINKCAST_OK;
}

linkcast_status linkcast_stream_horizon(linkcast_stream* handle, size_t row, size_t steps, linkcast_answer* answer) {
  return look_ahead(handle, row, steps, false, answer);
}

linkcast_status linkcast_stream_peak(linkcast_stream* handle, size_t row, size_t steps, linkcast_answer* answer) {
  return look_ahead(handle, row, steps, true, answer);
}

linkcast_status linkcast_stream_expert(linkcast_stream* handle, size_t row, size_t index, linkcast_expert* expert) {
  return with_stream(handle, [&](StreamHandle& found) {
    if (!expert) return fail(LINKCAST_ERROR_ARGUMENT, "expert: expected a pointer, got null");
    if (const auto status = check_struct(expert, kFirstExpert)) return status;
    if (const auto status = check_row(*found.stream, row)) return status;
    const Mixture* mixture = found.stream->mixture();
    const std::size_t experts = mixture ? Mixture::kExperts : 0;
    if (index >= experts) return fail(LINKCAST_ERROR_ARGUMENT, "index: expected below %zu, got %zu", experts, index);
    const linkcast_expert own{sizeof(linkcast_expert), Mixture::expert_names()[index], mixture->weight(row, index),
                              mixture->error(row, index)};
    write_struct(own, expert);
    return LINKCAST_OK;
  });
}

linkcast_status linkcast_stream_snapshot(linkcast_stream* handle, void* bytes, size_t capacity, size_t* size) {
  return with_stream(handle, [&](StreamHandle& found) {
    const Stream& stream = *found.stream;
    return write_snapshot(stream.snapshot_size(), [&] { return stream.snapshot(); }, bytes, capacity, size);
  });
}

linkcast_status linkcast_stream_restore(linkcast_stream* handle, const void* bytes, size_t size) {
  return with_stream(handle, [&](StreamHandle& found) {
    if (!bytes) return fail(LINKCAST_ERROR_ARGUMENT, "bytes: expected a pointer, got null");
    found.stream->restore(static_cast<const std::byte*>(bytes), size);
    return LINKCAST_OK;
  });
}

linkcast_status linkcast_stream_snapshot_row(linkcast_stream* handle, size_t row, void* bytes, size_t capacity,
                                             size_t* size) {
  return with_stream(handle, [&](StreamHandle& found) {
    const Stream& stream = *found.stream;
    if (const auto status = check_row(stream, row)) return status;
    return write_snapshot(stream.row_snapshot_size(), [&] { return stream.snapshot_row(row); }, bytes, capacity, size);
  });
}

linkcast_status linkcast_stream_restore_row(linkcast_stream* handle, size_t row, const void* bytes, size_t size) {
  return with_stream(handle, [&](StreamHandle& found) {
    if (!bytes) return fail(LINKCAST_ERROR_ARGUMENT, "bytes: expected a pointer, got null");
    if (const auto status = check_row(*found.stream, row)) return status;
    found.stream->restore_row(row, static_cast<const std::byte*>(bytes), size);
    return LINKCAST_OK;
  });
}

}  // extern "C"
