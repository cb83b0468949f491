// linkcast.h in C++: RAII, spans and exceptions, header-only. C++17; the threads and the hot path are as linkcast.h
// says.
//
//     linkcast::Engine engine;                                  // the bundled models
//     linkcast::Stream stream = engine.stream("internet");
//     if (auto answer = stream.push({50.0f, 2.5f, 0.0f, 1.0f})) use(answer->mbps, answer->source);
//     stream.advance();
#ifndef LINKCAST_LINKCAST_HPP
#define LINKCAST_LINKCAST_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "linkcast/linkcast.h"

namespace linkcast {
/// Users write linkcast::Engine; to the linker it is another one than the library's own class of that name.
inline namespace api {

/// Thrown for every status but LINKCAST_OK and LINKCAST_NOT_READY; the text is linkcast_last_error's.
class Error : public std::runtime_error {
 public:
  explicit Error(linkcast_status status)
      : std::runtime_error(std::string(linkcast_status_name(status)) + ": " + linkcast_last_error()), status_(status) {}
  linkcast_status status() const noexcept { return status_; }

 private:
  linkcast_status status_;
};

inline void check(linkcast_status status) {
  if (status != LINKCAST_OK) throw Error(status);
}

/// Floats that stand together: of an array, a vector, a list, or a pointer and a count. They are not copied.
class Floats {
 public:
  Floats(const float* data, std::size_t size) noexcept : data_(data), size_(size) {}
  Floats(const std::vector<float>& values) noexcept : Floats(values.data(), values.size()) {}
  template <std::size_t N>
  Floats(const std::array<float, N>& values) noexcept : Floats(values.data(), N) {}
  template <std::size_t N>
  Floats(const float (&values)[N]) noexcept : Floats(values, N) {}
  Floats(std::initializer_list<float> values) noexcept : Floats(values.begin(), values.size()) {}

  const float* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }

 private:
  const float* data_;
  std::size_t size_;
};

/// The next bandwidth, Mbit/s.
struct Answer {
  float mbps;
  float p10;  ///< this and the next two: NaN where no band is known (yet)
  float p50;
  float p90;
  linkcast_source source;    ///< who gave it
  linkcast_cause cause;      ///< why it was not the model
  std::uint64_t latency_ns;  ///< of the model's work
  float reserve;             ///< what to reserve: the quantile that the options name; NaN as the band
};

inline Answer answer_of(const linkcast_answer& answer, std::uint64_t latency_ns) noexcept {
  return {answer.mbps,   answer.p10_mbps, answer.p50_mbps, answer.p90_mbps,
          answer.source, answer.cause,    latency_ns,      answer.reserve_mbps};
}

/// The answers of many rows, as linkcast.h has them.
using Answers = std::vector<linkcast_answer>;

inline Answers make_answers(std::size_t rows) { return Answers(rows, linkcast_answer LINKCAST_ANSWER_INIT); }

struct EngineCloser {
  void operator()(linkcast_engine* engine) const noexcept { linkcast_engine_close(engine); }
};
struct StreamCloser {
  void operator()(linkcast_stream* stream) const noexcept { linkcast_stream_close(stream); }
};
struct ControllerCloser {
  void operator()(linkcast_controller* controller) const noexcept { linkcast_controller_close(controller); }
};
struct RouteCloser {
  void operator()(linkcast_route* route) const noexcept { linkcast_route_close(route); }
};

struct NetworkCloser {
  void operator()(linkcast_network* network) const noexcept { linkcast_network_close(network); }
};

class Stream;
class Controller;

/// The models of a folder. With the streams and controllers opened on it: one thread at a time.
class Engine {
 public:
  static linkcast_engine_options default_options() noexcept { return LINKCAST_ENGINE_OPTIONS_INIT; }

  /// @param folder  holds models/ and metadata/; "" takes the bundled one  @throws Error
  explicit Engine(const std::string& folder = "", const linkcast_engine_options& options = default_options()) {
    linkcast_engine* opened = nullptr;
    check(linkcast_engine_open(folder.empty() ? nullptr : folder.c_str(), &options, &opened));
    handle_.reset(opened);
  }

  linkcast_engine* get() const noexcept { return handle_.get(); }

  /// Puts other models in place of the present ones; any thread, while another one calls. @throws Error  the present
  /// ones stay
  void reload(const std::string& folder = "") {
    check(linkcast_engine_reload(get(), folder.empty() ? nullptr : folder.c_str()));
  }

  std::size_t model_count() const {
    std::size_t count = 0;
    check(linkcast_model_count(get(), &count));
    return count;
  }

  linkcast_model find(const std::string& name, linkcast_role role = LINKCAST_ROLE_ANY) const {
    linkcast_model model = 0;
    check(linkcast_model_find(get(), name.c_str(), role, &model));
    return model;
  }

  linkcast_model_info describe(linkcast_model model) const {
    linkcast_model_info info = LINKCAST_MODEL_INFO_INIT;
    check(linkcast_model_describe(get(), model, &info));
    return info;
  }

  /// The native kernels that a model's choice was made from, call by call, with what each took.
  std::vector<linkcast_kernel_time> kernel_times(linkcast_model model) const {
    std::vector<linkcast_kernel_time> times(describe(model).kernel_times,
                                            linkcast_kernel_time LINKCAST_KERNEL_TIME_INIT);
    for (std::size_t index = 0; index < times.size(); ++index)
      check(linkcast_model_kernel_time(get(), model, index, &times[index]));
    return times;
  }

  /// One window. @param window (time steps, features), physical units  @param deadline_ns 0: none
  Answer forecast(linkcast_model model, Floats window, std::uint64_t deadline_ns = 0) {
    linkcast_result result = LINKCAST_RESULT_INIT;
    linkcast_answer answer = LINKCAST_ANSWER_INIT;
    check(linkcast_forecast(get(), model, window.data(), window.size(), deadline_ns, &answer, 1, &result));
    return answer_of(answer, result.latency_ns);
  }

  /// Many windows. @param windows (rows, time steps, features)  @param answers (rows) out
  linkcast_result forecast(linkcast_model model, Floats windows, Answers& answers, std::uint64_t deadline_ns = 0) {
    linkcast_result result = LINKCAST_RESULT_INIT;
    check(linkcast_forecast(get(), model, windows.data(), windows.size(), deadline_ns, answers.data(), answers.size(),
                            &result));
    return result;
  }

  /// The model's own numbers: not judged, not counted. @param windows (batch, time steps, features)  @param mbps (batch)
  void forecast_raw(linkcast_model model, Floats windows, float* mbps, std::size_t batch) {
    check(linkcast_forecast_raw(get(), model, windows.data(), windows.size(), mbps, batch));
  }

  /// Several models in one call: each request's own status is in its result.
  void forecast_many(linkcast_request* requests, std::size_t count, std::uint64_t deadline_ns = 0) {
    check(linkcast_forecast_many(get(), requests, count, deadline_ns));
  }

  /// @param state (features), physical units, on a link of the capacity that the allocator was trained on
  /// @return the action: a allocates (a + 1) * 10 %; safe for every state, see linkcast_decide
  std::int32_t decide(linkcast_model model, Floats state) {
    std::int32_t action = 0;
    check(linkcast_decide(get(), model, state.data(), state.size(), &action, 1, nullptr));
    return action;
  }

  /// Many states. @param states (batch, features)  @param actions (batch) out  @return its cause is the first row's
  linkcast_result decide(linkcast_model model, Floats states, std::int32_t* actions, std::size_t batch) {
    linkcast_result result = LINKCAST_RESULT_INIT;
    check(linkcast_decide(get(), model, states.data(), states.size(), actions, batch, &result));
    return result;
  }

  void prepare(linkcast_model model) { check(linkcast_model_prepare(get(), model)); }  ///< shortly before it is asked

  /// Sliding windows of a forecaster. @param name  a profile ("internet"), a service group or a model  @throws Error
  Stream stream(const std::string& name, std::size_t rows = 1) const;
  Stream stream(const std::string& name, std::size_t rows, const linkcast_stream_options& options) const;

  /// The closed loop of one link. @param profile  "internet"  @throws Error
  Controller controller(const std::string& profile, double capacity_mbps) const;
  Controller controller(const std::string& profile, const linkcast_controller_options& options) const;

  linkcast_model_stats stats(linkcast_model model) const {
    linkcast_model_stats stats = LINKCAST_MODEL_STATS_INIT;
    check(linkcast_model_read_stats(get(), model, &stats));
    return stats;
  }

 private:
  std::unique_ptr<linkcast_engine, EngineCloser> handle_;
};

/// A sliding window, or many of one model that tick together: one row each.
class Stream {
 public:
  static linkcast_stream_options default_options() noexcept { return LINKCAST_STREAM_OPTIONS_INIT; }

  Stream(const Engine& engine, linkcast_model model, std::size_t rows = 1,
         const linkcast_stream_options& options = default_options()) {
    linkcast_stream* opened = nullptr;
    check(linkcast_stream_open(engine.get(), model, rows, &options, &opened));
    handle_.reset(opened);
  }

  linkcast_stream* get() const noexcept { return handle_.get(); }

  /// One tick of a stream of one row. @return nothing until the window is full
  std::optional<Answer> push(Floats sample, std::uint64_t deadline_ns = 0) {
    return push_one(sample.data(), sample.size(), deadline_ns);
  }
  /// One tick in which no sample came.
  std::optional<Answer> push_missing(std::uint64_t deadline_ns = 0) { return push_one(nullptr, 0, deadline_ns); }

  /// One tick of every row.
  /// @param samples  (rows, features)
  /// @param answers  (rows) out; LINKCAST_SOURCE_NONE where the window is not full
  /// @param present  (rows) 0 where no sample came, or null
  /// @return its status is LINKCAST_NOT_READY while no window is full
  linkcast_result push(Floats samples, Answers& answers, const std::uint8_t* present = nullptr,
                       std::uint64_t deadline_ns = 0) {
    linkcast_result result = LINKCAST_RESULT_INIT;
    const linkcast_status status = linkcast_stream_push(get(), samples.data(), samples.size(), present, deadline_ns,
                                                        answers.data(), answers.size(), &result);
    if (status != LINKCAST_NOT_READY) check(status);
    return result;
  }

  /// The value `steps` ahead, and the highest of the next `steps`, after a push whose window was full.
  /// @return nothing while the row's window is not full, or without a mixture
  std::optional<Answer> horizon(std::size_t steps, std::size_t row = 0) const {
    return look_ahead(linkcast_stream_horizon, row, steps);
  }
  std::optional<Answer> peak(std::size_t steps, std::size_t row = 0) const {
    return look_ahead(linkcast_stream_peak, row, steps);
  }

  /// The mixture's experts, with their weights in this row's answers.
  std::vector<linkcast_expert> experts(std::size_t row = 0) const {
    std::vector<linkcast_expert> experts(describe(row).experts, linkcast_expert LINKCAST_EXPERT_INIT);
    for (std::size_t index = 0; index < experts.size(); ++index)
      check(linkcast_stream_expert(get(), row, index, &experts[index]));
    return experts;
  }

  void advance() { check(linkcast_stream_advance(get())); }
  void prepare() { check(linkcast_stream_prepare(get())); }  ///< shortly before the next push
  void reset(std::size_t row = LINKCAST_ALL_ROWS) { check(linkcast_stream_reset(get(), row)); }
  void follow() { check(linkcast_stream_follow(get())); }

  linkcast_stream_info describe(std::size_t row = 0) const {
    linkcast_stream_info info = LINKCAST_STREAM_INFO_INIT;
    check(linkcast_stream_describe(get(), row, &info));
    return info;
  }

  std::vector<unsigned char> snapshot() const {
    std::size_t size = 0;
    check(linkcast_stream_snapshot(get(), nullptr, 0, &size));
    std::vector<unsigned char> bytes(size);
    check(linkcast_stream_snapshot(get(), bytes.data(), bytes.size(), &size));
    return bytes;
  }
  void restore(const std::vector<unsigned char>& bytes) {
    check(linkcast_stream_restore(get(), bytes.data(), bytes.size()));
  }
  /// One row, as the snapshot of a stream of one row.
  std::vector<unsigned char> snapshot_row(std::size_t row) const {
    std::size_t size = 0;
    check(linkcast_stream_snapshot_row(get(), row, nullptr, 0, &size));
    std::vector<unsigned char> bytes(size);
    check(linkcast_stream_snapshot_row(get(), row, bytes.data(), bytes.size(), &size));
    return bytes;
  }
  void restore_row(std::size_t row, const std::vector<unsigned char>& bytes) {
    check(linkcast_stream_restore_row(get(), row, bytes.data(), bytes.size()));
  }

 private:
  std::optional<Answer> push_one(const float* sample, std::size_t values, std::uint64_t deadline_ns) {
    linkcast_result result = LINKCAST_RESULT_INIT;
    linkcast_answer answer = LINKCAST_ANSWER_INIT;
    const linkcast_status status =
        linkcast_stream_push(get(), sample, values, nullptr, deadline_ns, &answer, 1, &result);
    if (status == LINKCAST_NOT_READY) return std::nullopt;
    check(status);
    return answer_of(answer, result.latency_ns);
  }

  template <class Look>
  std::optional<Answer> look_ahead(Look look, std::size_t row, std::size_t steps) const {
    linkcast_answer answer = LINKCAST_ANSWER_INIT;
    const linkcast_status status = look(get(), row, steps, &answer);
    if (status == LINKCAST_NOT_READY) return std::nullopt;
    check(status);
    return answer_of(answer, 0);
  }

  std::unique_ptr<linkcast_stream, StreamCloser> handle_;
};

/// The closed loop of one link.
class Controller {
 public:
  static linkcast_controller_options default_options(double capacity_mbps) noexcept {
    linkcast_controller_options options = LINKCAST_CONTROLLER_OPTIONS_INIT;
    options.capacity_mbps = capacity_mbps;
    return options;
  }

  Controller(const Engine& engine, const std::string& profile, const linkcast_controller_options& options) {
    linkcast_controller* opened = nullptr;
    check(linkcast_controller_open(engine.get(), profile.c_str(), &options, &opened));
    handle_.reset(opened);
  }

  linkcast_controller* get() const noexcept { return handle_.get(); }

  linkcast_decision tick(Floats telemetry, std::uint64_t now_ns) {
    return tick(telemetry.data(), telemetry.size(), now_ns);
  }
  linkcast_decision tick_missing(std::uint64_t now_ns) { return tick(nullptr, 0, now_ns); }
  void advance() { check(linkcast_controller_advance(get())); }
  void prepare() { check(linkcast_controller_prepare(get())); }  ///< shortly before the next tick
  void reset() { check(linkcast_controller_reset(get())); }

  std::vector<unsigned char> snapshot() const {
    std::size_t size = 0;
    check(linkcast_controller_snapshot(get(), nullptr, 0, &size));
    std::vector<unsigned char> bytes(size);
    check(linkcast_controller_snapshot(get(), bytes.data(), bytes.size(), &size));
    return bytes;
  }
  void restore(const std::vector<unsigned char>& bytes, bool same_model = true) {
    check(linkcast_controller_restore(get(), bytes.data(), bytes.size(), same_model ? 1 : 0));
  }

  linkcast_controller_stats stats() const {
    linkcast_controller_stats stats = LINKCAST_CONTROLLER_STATS_INIT;
    check(linkcast_controller_read_stats(get(), &stats));
    return stats;
  }

 private:
  linkcast_decision tick(const float* telemetry, std::size_t values, std::uint64_t now_ns) {
    linkcast_decision decision = LINKCAST_DECISION_INIT;
    check(linkcast_controller_tick(get(), telemetry, values, now_ns, &decision));
    return decision;
  }

  std::unique_ptr<linkcast_controller, ControllerCloser> handle_;
};

inline Stream Engine::stream(const std::string& name, std::size_t rows) const {
  return stream(name, rows, Stream::default_options());
}
inline Stream Engine::stream(const std::string& name, std::size_t rows, const linkcast_stream_options& options) const {
  return Stream(*this, find(name, LINKCAST_ROLE_FORECASTER), rows, options);
}
inline Controller Engine::controller(const std::string& profile, double capacity_mbps) const {
  return controller(profile, Controller::default_options(capacity_mbps));
}
inline Controller Engine::controller(const std::string& profile, const linkcast_controller_options& options) const {
  return Controller(*this, profile, options);
}

/// Which of several paths to send over: the one with the best P10, left with a margin and after a minimum stay.
class Route {
 public:
  static linkcast_route_options default_options() noexcept { return LINKCAST_ROUTE_OPTIONS_INIT; }

  explicit Route(std::size_t paths, const linkcast_route_options& options = default_options()) {
    linkcast_route* opened = nullptr;
    check(linkcast_route_open(paths, &options, &opened));
    handle_.reset(opened);
  }

  linkcast_route* get() const noexcept { return handle_.get(); }

  /// @param p10_mbps  (paths, steps); what is not finite is no answer
  linkcast_route_choice choose(Floats p10_mbps, std::uint64_t now_ns) {
    linkcast_route_choice choice = LINKCAST_ROUTE_CHOICE_INIT;
    check(linkcast_route_choose(get(), p10_mbps.data(), p10_mbps.size(), now_ns, &choice));
    return choice;
  }

 private:
  std::unique_ptr<linkcast_route, RouteCloser> handle_;
};

/// One .tflite file as it stands: inputs and outputs by name.
///
///     linkcast::Network step("step.tflite");
///     const linkcast_tensor x = step.input("x"), h = step.input("h"), next = step.output("h_next");
///     for (;;) { write(x.data); step.run(); std::copy_n(next.data, next.values, h.data); }
class Network {
 public:
  static linkcast_engine_options default_options() noexcept { return LINKCAST_ENGINE_OPTIONS_INIT; }

  explicit Network(const std::string& path, const linkcast_engine_options& options = default_options()) {
    linkcast_network* opened = nullptr;
    check(linkcast_network_open(path.c_str(), &options, &opened));
    handle_.reset(opened);
  }

  linkcast_network* get() const noexcept { return handle_.get(); }

  linkcast_network_info describe() const {
    linkcast_network_info info = LINKCAST_NETWORK_INFO_INIT;
    check(linkcast_network_describe(get(), &info));
    return info;
  }

  /// @throws Error  no such name
  linkcast_tensor input(const std::string& name) const { return find(LINKCAST_EDGE_INPUT, name); }
  linkcast_tensor output(const std::string& name) const { return find(LINKCAST_EDGE_OUTPUT, name); }

  /// All of one edge, in the file's order.
  std::vector<linkcast_tensor> tensors(linkcast_edge edge) const {
    const linkcast_network_info info = describe();
    std::vector<linkcast_tensor> all(edge == LINKCAST_EDGE_INPUT ? info.inputs : info.outputs,
                                     linkcast_tensor LINKCAST_TENSOR_INIT);
    for (std::size_t k = 0; k < all.size(); ++k) check(linkcast_network_tensor(get(), edge, k, &all[k]));
    return all;
  }

  void run() { check(linkcast_network_run(get())); }
  void prepare() { check(linkcast_network_prepare(get())); }  ///< shortly before the next run

 private:
  linkcast_tensor find(linkcast_edge edge, const std::string& name) const {
    linkcast_tensor tensor = LINKCAST_TENSOR_INIT;
    check(linkcast_network_find(get(), edge, name.c_str(), &tensor));
    return tensor;
  }

  std::unique_ptr<linkcast_network, NetworkCloser> handle_;
};

inline linkcast_codec make_codec(double ratio, double compress_mbps, double decompress_mbps) noexcept {
  return {sizeof(linkcast_codec), ratio, compress_mbps, decompress_mbps};
}

/// The codec with the least transfer time, see linkcast_compression_choose. @return nothing while nothing is forecast
inline std::optional<linkcast_compression_choice> choose_compression(
    const std::vector<linkcast_codec>& codecs, std::uint64_t bytes, const Answer& forecast,
    const linkcast_compression_options& options = LINKCAST_COMPRESSION_OPTIONS_INIT) {
  linkcast_answer band = LINKCAST_ANSWER_INIT;
  band.mbps = forecast.mbps;
  band.p10_mbps = forecast.p10;
  band.p50_mbps = forecast.p50;
  band.p90_mbps = forecast.p90;
  linkcast_compression_choice choice = LINKCAST_COMPRESSION_CHOICE_INIT;
  const linkcast_status status =
      linkcast_compression_choose(codecs.data(), codecs.size(), bytes, &band, &options, &choice);
  if (status == LINKCAST_NOT_READY) return std::nullopt;
  check(status);
  return choice;
}

}  // namespace api
}  // namespace linkcast

#endif
