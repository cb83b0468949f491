// The C ABI, called at random: good, closed, foreign and made-up handles, sizes that do not fit, structs of older and newer
// headers, values of every kind, reloads, second engines, networks by their tensors' names. Whatever comes has to end in a
// status. Every function of the C ABI is called here: tests/test_fuzzing.py holds this file to the exports.
//
// Every buffer is as long as what the call is told of it and stands on the heap, so that AddressSanitizer sees a byte read
// or written beyond.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "linkcast/linkcast.h"

namespace {

constexpr std::size_t kFeatures = 4, kWindow = 10;
constexpr float kValues[] = {0.0F,  0.5F,  1.0F,   20.0F, 100.0F,   99.9F,     -1.0F,
                             1e30F, 3e38F, 1e-40F, NAN,   INFINITY, -INFINITY, 1e6F};

/// A struct of the header on the heap, as long as its size says.
template <class Struct>
class Sized {
 public:
  Sized(FuzzedDataProvider& from, const Struct& whole, std::size_t count = 1) : count_(count) {
    const std::size_t own = sizeof(Struct);
    const std::size_t sizes[] = {own,       own,       own,     own,     own, own, own + 8,
                                 own + 256, own + 264, own - 8, own / 2, 8,   0,   SIZE_MAX};
    size_ = from.PickValueInArray(sizes);
    stride_ = size_ < sizeof(std::size_t) ? sizeof(std::size_t) : std::min(size_, own + 512);
    // Structs lie as far apart as they are large. Where their size is refused, only its field is read.
    bytes_.reset(static_cast<unsigned char*>(std::calloc(std::max<std::size_t>(count, 1), stride_)));
    for (std::size_t k = 0; k < count; ++k) {
      std::memcpy(bytes_.get() + k * stride_, &whole, std::min(stride_, own));
      std::memcpy(bytes_.get() + k * stride_, &size_, sizeof(size_));
    }
    if (count > 1 && from.ConsumeIntegralInRange(0, 15) == 0) {  // sizes that differ
      const std::size_t larger = size_ + 8;
      std::memcpy(bytes_.get() + (count - 1) * stride_, &larger, sizeof(larger));
    }
    if (stride_ > own && from.ConsumeIntegralInRange(0, 3) == 0) bytes_.get()[own] = 1;  // a field not known here
  }

  Struct* get() { return reinterpret_cast<Struct*>(bytes_.get()); }
  Struct* get_or_null(FuzzedDataProvider& from) { return from.ConsumeIntegralInRange(0, 7) ? get() : nullptr; }
  /// Puts another one at the k-th place, but for its size.
  void set(std::size_t k, const Struct& whole) {
    const std::size_t end = std::min(stride_, sizeof(Struct));
    std::memcpy(bytes_.get() + k * stride_ + sizeof(size_), reinterpret_cast<const char*>(&whole) + sizeof(size_),
                end - sizeof(size_));
  }
  bool whole() const { return size_ == sizeof(Struct); }
  Struct read(std::size_t k = 0) const {
    Struct own{};
    std::memcpy(&own, bytes_.get() + k * stride_, std::min(stride_, sizeof(Struct)));
    return own;
  }

 private:
  struct Free {
    void operator()(unsigned char* bytes) const { std::free(bytes); }
  };
  std::size_t count_, size_ = 0, stride_ = 0;
  std::unique_ptr<unsigned char, Free> bytes_;
};

std::vector<float> numbers(FuzzedDataProvider& from, std::size_t count) {
  static constexpr std::array<float, kFeatures> kSound{20.0F, 10.0F, 0.001F, 0.999F};
  std::vector<float> values(count);
  for (std::size_t k = 0; k < count; ++k) values[k] = kSound[k % kFeatures];
  for (int wild = from.ConsumeIntegralInRange(0, 3); wild > 1 && count > 0; --wild)
    values[from.ConsumeIntegralInRange<std::size_t>(0, count - 1)] = from.PickValueInArray(kValues);
  values.shrink_to_fit();
  return values;
}

std::size_t count_near(FuzzedDataProvider& from, std::size_t right) {
  const std::size_t counts[] = {right, right,     right, right, right, right, right + 1, right > 0 ? right - 1 : 0,
                                0,     2 * right, 3};
  return from.PickValueInArray(counts);
}

const char* text(FuzzedDataProvider& from, std::initializer_list<const char*> known) {
  if (from.ConsumeIntegralInRange(0, 7) == 0) return nullptr;
  if (from.ConsumeIntegralInRange(0, 7) == 0) {
    static std::array<std::string, 8> others;  // as many as one call takes
    static std::size_t next = 0;
    std::string& other = others[next++ % others.size()];
    other = from.ConsumeRandomLengthString(12);
    return other.c_str();
  }
  return *(known.begin() + from.ConsumeIntegralInRange<std::size_t>(0, known.size() - 1));
}

double number(FuzzedDataProvider& from, double usual) {
  const double values[] = {
      usual, usual, usual, 0.0, 1.0, -1.0, 0.5, 1e308, static_cast<double>(NAN), static_cast<double>(INFINITY), 1e-300};
  return from.PickValueInArray(values);
}

/// Counts what it is told in `user`, and may take itself away, which a log function may do.
void listen(linkcast_log_level level, const char* said, void* user) {
  FUZZ_CHECK(level >= LINKCAST_LOG_ERROR && level <= LINKCAST_LOG_INFO, "level %d", static_cast<int>(level));
  FUZZ_CHECK(said != nullptr && *said != '\0', "a message without a text");
  auto* told = static_cast<std::size_t*>(user);
  if (told && ++*told % 4 == 0) linkcast_set_log(nullptr, nullptr, level);
}

struct Opened {
  linkcast_stream* handle;
  std::size_t rows;
};

class Calls {
 public:
  Calls(linkcast_engine* engine, FuzzedDataProvider& from) : engine_(engine), from_(from) {}
  ~Calls() {
    for (const Opened& stream : streams_) linkcast_stream_close(stream.handle);
    for (auto* controller : controllers_) linkcast_controller_close(controller);
    for (auto* route : routes_) linkcast_route_close(route);
    for (auto* network : networks_) linkcast_network_close(network);
    linkcast_engine_close(second_);
    linkcast_set_log(nullptr, nullptr, LINKCAST_LOG_WARNING);
  }

  void run() {
    for (int calls = 0; calls < 60 && from_.remaining_bytes() > 0; ++calls) {
      switch (from_.ConsumeIntegralInRange(0, 27)) {
        case 0:
          return_status(reload());
          break;
        case 1:
          return_status(describe());
          break;
        case 2:
          return_status(forecast());
          break;
        case 3:
          return_status(forecast_many());
          break;
        case 4:
          return_status(decide());
          break;
        case 5:
          return_status(open_stream());
          break;
        case 6:
          return_status(close_stream());
          break;
        case 7:
        case 8:
        case 9:
          return_status(push());
          break;
        case 10:
          return_status(ask_stream());
          break;
        case 11:
          return_status(stream_snapshot());
          break;
        case 12:
          return_status(open_controller());
          break;
        case 13:
        case 14:
        case 15:
          return_status(tick());
          break;
        case 16:
          return_status(controller_snapshot());
          break;
        case 17:
          return_status(routes());
          break;
        case 18:
          return_status(compression());
          break;
        case 19:
          return_status(ask_controller());
          break;
        case 20:
          return_status(prepare());
          break;
        case 21:
          return_status(forecast_raw());
          break;
        case 22:
          return_status(names_and_log());
          break;
        case 23:
          return_status(second_engine());
          break;
        case 24:
          return_status(open_network());
          break;
        case 25:
        case 26:
          return_status(step_network());
          break;
        default:
          return_status(ask_network());
      }
    }
  }

 private:
  static void return_status(linkcast_status status) {
    FUZZ_CHECK(status != LINKCAST_ERROR_INTERNAL, "an internal error: %s", linkcast_last_error());
    FUZZ_CHECK(std::strcmp(linkcast_status_name(status), "unknown status") != 0, "status %d", static_cast<int>(status));
    FUZZ_CHECK(std::strlen(linkcast_last_error()) < 1024, "a text without an end");
  }

  /// Mostly a good one, else what is none, or is one of another kind.
  template <class Handle>
  Handle* handle(Handle* good) {
    if (from_.ConsumeIntegralInRange(0, 11)) return good;
    const std::uintptr_t others[] = {0,
                                     1,
                                     0x123450,
                                     SIZE_MAX,
                                     reinterpret_cast<std::uintptr_t>(engine_),
                                     reinterpret_cast<std::uintptr_t>(second_),
                                     reinterpret_cast<std::uintptr_t>(closed_),
                                     reinterpret_cast<std::uintptr_t>(closed_engine_),
                                     reinterpret_cast<std::uintptr_t>(closed_network_),
                                     reinterpret_cast<std::uintptr_t>(networks_.empty() ? nullptr : networks_[0]),
                                     reinterpret_cast<std::uintptr_t>(good) + 1,
                                     reinterpret_cast<std::uintptr_t>(good) ^ 0x100,
                                     reinterpret_cast<std::uintptr_t>(this)};
    return reinterpret_cast<Handle*>(from_.PickValueInArray(others));
  }

  linkcast_engine* engine() { return handle(second_ && from_.ConsumeBool() ? second_ : engine_); }

  /// Where something is written or read: seldom nowhere.
  template <class Value>
  Value* place(Value* at) {
    return from_.ConsumeIntegralInRange(0, 15) ? at : nullptr;
  }

  linkcast_model model() {
    const linkcast_model models[] = {0, 0, 0, 1, 2, 3, 4, -1, INT32_MAX, INT32_MIN};
    return from_.PickValueInArray(models);
  }

  Opened stream() {
    if (streams_.empty()) return {nullptr, 1};
    const Opened& opened = streams_[from_.ConsumeIntegralInRange<std::size_t>(0, streams_.size() - 1)];
    return {handle(opened.handle), opened.rows};
  }

  std::size_t some_row(const Opened& of) {
    const std::size_t rows[] = {0, 0, of.rows - 1, of.rows, SIZE_MAX};
    return from_.PickValueInArray(rows);
  }

  linkcast_controller* controller() {
    if (controllers_.empty()) return nullptr;
    return handle(controllers_[from_.ConsumeIntegralInRange<std::size_t>(0, controllers_.size() - 1)]);
  }

  std::uint64_t deadline() {
    const std::uint64_t deadlines[] = {0, 0, 1, 1'000'000'000, UINT64_MAX};
    return from_.PickValueInArray(deadlines);
  }

  linkcast_status reload() {
    if (from_.ConsumeIntegralInRange(0, 15)) return LINKCAST_OK;  // seldom: it loads and proves every model
    const auto status = linkcast_engine_reload(engine(), text(from_, {std::getenv("LINKCAST_BUNDLE"), "/", ""}));
    for (const Opened& stream : streams_)
      if (from_.ConsumeBool()) return_status(linkcast_stream_follow(handle(stream.handle)));
    return status;
  }

  linkcast_status describe() {
    std::size_t count = 0;
    return_status(linkcast_model_count(engine(), place(&count)));
    linkcast_model found = 0;
    const auto role = static_cast<linkcast_role>(from_.ConsumeIntegralInRange(-1, 5));
    return_status(
        linkcast_model_find(engine(), text(from_, {"internet", "streaming", "internet_lstm"}), role, place(&found)));
    Sized info(from_, linkcast_model_info LINKCAST_MODEL_INFO_INIT);
    return_status(linkcast_model_describe(engine(), model(), info.get_or_null(from_)));
    Sized time(from_, linkcast_kernel_time LINKCAST_KERNEL_TIME_INIT);
    return_status(linkcast_model_kernel_time(engine(), model(), from_.ConsumeIntegralInRange<std::size_t>(0, 16),
                                             time.get_or_null(from_)));
    Sized stats(from_, linkcast_model_stats LINKCAST_MODEL_STATS_INIT);
    return linkcast_model_read_stats(engine(), model(), stats.get_or_null(from_));
  }

  void check_answers(linkcast_status status, const Sized<linkcast_answer>& answers, std::size_t count) {
    if (status != LINKCAST_OK || !answers.whole()) return;
    for (std::size_t k = 0; k < count; ++k) {
      const auto answer = answers.read(k);
      FUZZ_CHECK(answer.source == LINKCAST_SOURCE_NONE ? std::isnan(answer.mbps) : std::isfinite(answer.mbps),
                 "%g Mbit/s from %s", static_cast<double>(answer.mbps), linkcast_source_name(answer.source));
    }
  }

  linkcast_status forecast() {
    const std::size_t count = from_.ConsumeIntegralInRange<std::size_t>(0, 4);
    const auto values = numbers(from_, count_near(from_, count * kWindow * kFeatures));
    Sized answers(from_, linkcast_answer LINKCAST_ANSWER_INIT, count);
    Sized result(from_, linkcast_result LINKCAST_RESULT_INIT);
    const auto status = linkcast_forecast(engine(), model(), place(values.data()), values.size(), deadline(),
                                          place(answers.get()), count, result.get_or_null(from_));
    check_answers(status, answers, count);
    return status;
  }

  linkcast_status forecast_many() {
    const auto windows = numbers(from_, count_near(from_, kWindow * kFeatures));
    Sized first(from_, linkcast_answer LINKCAST_ANSWER_INIT), second(from_, linkcast_answer LINKCAST_ANSWER_INIT);
    Sized result(from_, linkcast_result LINKCAST_RESULT_INIT);
    const std::size_t count = from_.ConsumeIntegralInRange<std::size_t>(0, 2);
    Sized requests(from_, linkcast_request LINKCAST_REQUEST_INIT, count);
    for (std::size_t k = 0; k < count; ++k)
      requests.set(k, {sizeof(linkcast_request), model(), place(windows.data()), windows.size(),
                       place((k == 0 ? first : second).get()), 1, result.get_or_null(from_)});
    return linkcast_forecast_many(engine(), place(requests.get()), count, deadline());
  }

  linkcast_status forecast_raw() {
    const std::size_t batch = from_.ConsumeIntegralInRange<std::size_t>(0, 4);
    const auto windows = numbers(from_, count_near(from_, batch * kWindow * kFeatures));
    std::vector<float> mbps(batch);
    return linkcast_forecast_raw(engine(), model(), place(windows.data()), windows.size(), place(mbps.data()), batch);
  }

  linkcast_status decide() {
    const std::size_t batch = from_.ConsumeIntegralInRange<std::size_t>(0, 4);
    const auto states = numbers(from_, count_near(from_, batch * kFeatures));
    std::vector<std::int32_t> actions(batch, -7);
    Sized result(from_, linkcast_result LINKCAST_RESULT_INIT);
    const auto status = linkcast_decide(engine(), model(), place(states.data()), states.size(), place(actions.data()),
                                        batch, result.get_or_null(from_));
    if (status == LINKCAST_OK)
      for (const std::int32_t action : actions) FUZZ_CHECK(action >= 0 && action < 10, "action %d", action);
    return status;
  }

  linkcast_status open_stream() {
    if (streams_.size() >= 4) return LINKCAST_OK;
    const std::size_t counts[] = {1, 1, 2, 3, 0, LINKCAST_MAX_BATCH + 1, SIZE_MAX};
    const std::size_t rows = from_.PickValueInArray(counts);
    linkcast_stream_options given LINKCAST_STREAM_OPTIONS_INIT;
    if (from_.ConsumeBool()) {
      given.horizon = from_.ConsumeIntegralInRange<std::uint32_t>(0, 11);
      given.level = number(from_, 0.95);
      given.plausible_margin = number(from_, 0.5);
      given.stand_in_weight = number(from_, 0.3);
      given.stand_in = static_cast<linkcast_source>(from_.ConsumeIntegralInRange(-1, 8));
      given.most_held = from_.ConsumeIntegralInRange<std::uint32_t>(0, 5);
      given.mixture = from_.ConsumeIntegralInRange(-1, 2);
    }
    Sized options(from_, given);
    linkcast_stream* opened = nullptr;
    const auto status = linkcast_stream_open(engine(), model(), rows, options.get_or_null(from_), place(&opened));
    FUZZ_CHECK((status == LINKCAST_OK) == (opened != nullptr), "status %d", static_cast<int>(status));
    if (opened) streams_.push_back({opened, rows});
    return status;
  }

  linkcast_status close_stream() {
    if (streams_.empty()) return linkcast_stream_close(handle<linkcast_stream>(nullptr));
    closed_ = streams_.back().handle;
    streams_.pop_back();
    const auto status = linkcast_stream_close(closed_);
    FUZZ_CHECK(status == LINKCAST_OK, "%s", linkcast_last_error());
    return linkcast_stream_advance(closed_) == LINKCAST_ERROR_HANDLE ? LINKCAST_OK : LINKCAST_ERROR_INTERNAL;
  }

  linkcast_status push() {
    const Opened to = stream();
    const auto samples = numbers(from_, count_near(from_, to.rows * kFeatures));
    const std::size_t count = count_near(from_, to.rows);
    Sized answers(from_, linkcast_answer LINKCAST_ANSWER_INIT, count);
    Sized result(from_, linkcast_result LINKCAST_RESULT_INIT);
    const std::vector<std::uint8_t> present(to.rows, from_.ConsumeBool());
    const auto status = linkcast_stream_push(to.handle, from_.ConsumeIntegralInRange(0, 7) ? samples.data() : nullptr,
                                             samples.size(), from_.ConsumeBool() ? present.data() : nullptr, deadline(),
                                             answers.get(), count, result.get_or_null(from_));
    check_answers(status, answers, count);
    return from_.ConsumeBool() ? linkcast_stream_advance(to.handle) : status;
  }

  linkcast_status ask_stream() {
    const Opened of = stream();
    const std::size_t row = some_row(of), steps = from_.ConsumeIntegralInRange<std::size_t>(0, 12);
    Sized answer(from_, linkcast_answer LINKCAST_ANSWER_INIT);
    auto status = linkcast_stream_horizon(of.handle, row, steps, answer.get_or_null(from_));
    check_answers(status, answer, 1);
    return_status(status);
    return_status(linkcast_stream_peak(of.handle, row, steps, answer.get_or_null(from_)));
    Sized expert(from_, linkcast_expert LINKCAST_EXPERT_INIT);
    return_status(linkcast_stream_expert(of.handle, row, from_.ConsumeIntegralInRange<std::size_t>(0, 16),
                                         expert.get_or_null(from_)));
    Sized info(from_, linkcast_stream_info LINKCAST_STREAM_INFO_INIT);
    return_status(linkcast_stream_describe(of.handle, row, info.get_or_null(from_)));
    return from_.ConsumeBool() ? linkcast_stream_reset(of.handle, row) : LINKCAST_OK;
  }

  template <class Handle, class Take>
  std::vector<unsigned char> snapshot(Handle* of, const Take& take) {
    std::size_t size = 0;
    if (take(of, nullptr, 0, &size) != LINKCAST_OK) return {};
    std::vector<unsigned char> bytes(size);
    return_status(take(of, bytes.data(), from_.ConsumeIntegralInRange(0, 7) ? size : size - 1, place(&size)));
    if (!bytes.empty() && from_.ConsumeIntegralInRange(0, 3) == 0)
      bytes[from_.ConsumeIntegralInRange<std::size_t>(0, bytes.size() - 1)] ^= 0x40;
    if (from_.ConsumeIntegralInRange(0, 7) == 0)
      bytes.resize(from_.ConsumeIntegralInRange<std::size_t>(0, bytes.size()));
    bytes.shrink_to_fit();
    return bytes;
  }

  linkcast_status stream_snapshot() {
    if (from_.ConsumeBool()) {  // one row, into another one
      const Opened of = stream(), to = stream();
      const std::size_t row = some_row(of);
      const auto one =
          snapshot(of.handle, [row](linkcast_stream* handle, void* bytes, std::size_t capacity, std::size_t* size) {
            return linkcast_stream_snapshot_row(handle, row, bytes, capacity, size);
          });
      return linkcast_stream_restore_row(to.handle, some_row(to), place(one.data()), one.size());
    }
    const auto bytes = snapshot(stream().handle, linkcast_stream_snapshot);
    return linkcast_stream_restore(stream().handle, place(bytes.data()), bytes.size());
  }

  linkcast_status controller_snapshot() {
    const auto bytes = snapshot(controller(), linkcast_controller_snapshot);
    return linkcast_controller_restore(controller(), place(bytes.data()), bytes.size(), from_.ConsumeBool());
  }

  linkcast_status open_controller() {
    if (controllers_.size() >= 3) return LINKCAST_OK;
    linkcast_controller_options given LINKCAST_CONTROLLER_OPTIONS_INIT;
    given.capacity_mbps = number(from_, 100);
    if (from_.ConsumeBool())
      for (double* option : {&given.least_fraction, &given.most_fraction, &given.safe_fraction, &given.headroom,
                             &given.slew_per_s, &given.hold_s, &given.stall_s, &given.measured_weight, &given.risk,
                             &given.queue_ms, &given.congestion_step, &given.stall_cut})
        if (from_.ConsumeIntegralInRange(0, 5) == 0) *option = number(from_, *option);
    Sized options(from_, given);
    linkcast_controller* opened = nullptr;
    const auto status = linkcast_controller_open(engine(), text(from_, {"internet", "internet", "streaming"}),
                                                 options.get_or_null(from_), place(&opened));
    FUZZ_CHECK((status == LINKCAST_OK) == (opened != nullptr), "status %d", static_cast<int>(status));
    if (opened) controllers_.push_back(opened);
    return status;
  }

  linkcast_status tick() {
    auto* of = controller();
    const auto telemetry = numbers(from_, count_near(from_, kFeatures));
    const std::uint64_t steps[] = {0, 1, 1'000'000'000, 1'000'000'000, 30'000'000'000, std::uint64_t{1} << 62};
    now_ += from_.PickValueInArray(steps);
    Sized decision(from_, linkcast_decision LINKCAST_DECISION_INIT);
    const auto status = linkcast_controller_tick(of, from_.ConsumeIntegralInRange(0, 5) ? telemetry.data() : nullptr,
                                                 telemetry.size(), now_, decision.get_or_null(from_));
    if (status == LINKCAST_OK && decision.whole()) {
      const auto made = decision.read();
      FUZZ_CHECK(made.allocation_fraction >= 0 && made.allocation_fraction <= 1 && std::isfinite(made.allocation_mbps),
                 "%g of the link, %g Mbit/s", made.allocation_fraction, made.allocation_mbps);
    }
    return from_.ConsumeBool() ? linkcast_controller_advance(of) : status;
  }

  linkcast_status ask_controller() {
    auto* of = controller();
    Sized stats(from_, linkcast_controller_stats LINKCAST_CONTROLLER_STATS_INIT);
    return_status(linkcast_controller_read_stats(of, stats.get_or_null(from_)));
    if (from_.ConsumeBool()) return linkcast_controller_reset(of);
    if (from_.ConsumeBool() || controllers_.empty()) return LINKCAST_OK;
    of = controllers_.back();
    controllers_.pop_back();
    return linkcast_controller_close(of);
  }

  linkcast_status routes() {
    const std::size_t counts[] = {1, 2, 3, 0, SIZE_MAX};
    const std::size_t paths = from_.PickValueInArray(counts);
    Sized options(from_, linkcast_route_options{sizeof(linkcast_route_options), number(from_, 0.1), number(from_, 10),
                                                number(from_, 3)});
    linkcast_route* opened = nullptr;
    const auto status = linkcast_route_open(paths, options.get_or_null(from_), place(&opened));
    FUZZ_CHECK((status == LINKCAST_OK) == (opened != nullptr), "status %d", static_cast<int>(status));
    if (status != LINKCAST_OK) return status;
    routes_.push_back(opened);
    std::vector<float> p10 = numbers(from_, count_near(from_, paths * 2));
    Sized choice(from_, linkcast_route_choice LINKCAST_ROUTE_CHOICE_INIT);
    const auto chosen =
        linkcast_route_choose(handle(opened), place(p10.data()), p10.size(), now_, choice.get_or_null(from_));
    if (chosen == LINKCAST_OK && choice.whole())
      FUZZ_CHECK(choice.read().path >= -1 && choice.read().path < static_cast<std::int32_t>(paths), "path %d of %zu",
                 choice.read().path, paths);
    return chosen;
  }

  linkcast_status compression() {
    const std::size_t count = from_.ConsumeIntegralInRange<std::size_t>(0, 3);
    Sized codecs(from_,
                 linkcast_codec{sizeof(linkcast_codec), number(from_, 0.5), number(from_, 800), number(from_, 900)},
                 count);
    linkcast_answer band LINKCAST_ANSWER_INIT;
    for (float* value : {&band.mbps, &band.p10_mbps, &band.p50_mbps, &band.p90_mbps})
      *value = from_.PickValueInArray(kValues);
    Sized given(from_, band);
    Sized options(from_,
                  linkcast_compression_options{sizeof(linkcast_compression_options),
                                               static_cast<linkcast_quantile>(from_.ConsumeIntegralInRange(9, 51)),
                                               from_.ConsumeIntegralInRange(-1, 2)});
    Sized choice(from_, linkcast_compression_choice LINKCAST_COMPRESSION_CHOICE_INIT);
    const auto status =
        linkcast_compression_choose(place(codecs.get()), count, from_.ConsumeIntegral<std::uint64_t>(),
                                    given.get_or_null(from_), options.get_or_null(from_), choice.get_or_null(from_));
    if (status == LINKCAST_OK && choice.whole())
      FUZZ_CHECK(choice.read().codec >= -1 && choice.read().codec < static_cast<std::int32_t>(count), "codec %d",
                 choice.read().codec);
    return status;
  }

  linkcast_status prepare() {
    return_status(linkcast_model_prepare(engine(), model()));
    return_status(linkcast_stream_prepare(stream().handle));
    return linkcast_controller_prepare(controller());
  }

  linkcast_status names_and_log() {
    const auto any = from_.ConsumeIntegral<std::int32_t>();
    for (const int number : {any, any % 16}) {
      const char* const named[] = {linkcast_status_name(static_cast<linkcast_status>(number)),
                                   linkcast_source_name(static_cast<linkcast_source>(number)),
                                   linkcast_cause_name(static_cast<linkcast_cause>(number))};
      for (const char* name : named) FUZZ_CHECK(name != nullptr && *name != '\0', "no name for %d", number);
    }
    FUZZ_CHECK(std::strcmp(linkcast_version(), LINKCAST_VERSION) == 0, "version %s", linkcast_version());
    const auto level = static_cast<linkcast_log_level>(from_.ConsumeIntegralInRange(-1, 5));
    return linkcast_set_log(from_.ConsumeBool() ? listen : nullptr, place(&told_), level);
  }

  /// What an engine or a network is opened with. `cpus` is for pool_cpus, as long as its threads say.
  linkcast_engine_options engine_options(std::vector<std::int32_t>& cpus) {
    linkcast_engine_options given LINKCAST_ENGINE_OPTIONS_INIT;
    if (from_.ConsumeBool()) return given;
    // Of what is allowed, only what takes neither hundreds of threads nor the memory of the largest batch.
    const std::int32_t threads[] = {1, 1, 1, 2, 3, 0, -1, 1025, INT32_MIN};
    const std::uint32_t pools[] = {1, 1, 1, 2, 3, 0, 1025, UINT32_MAX};
    const std::uint32_t batches[] = {1, 1, 1, 2, 4, 0, LINKCAST_MAX_BATCH + 1, UINT32_MAX};
    const std::int32_t cpu_numbers[] = {0, 0, 0, 1, -1, 9999, INT32_MAX};
    const std::uint64_t spins[] = {1000, 1000, 1, 100, 0, 60'000'001, UINT64_MAX};
    given.backend = some(text(from_, {"auto", "native", "tflite", "gpu", ""}));
    given.tflite_library = some(text(from_, {"/nowhere.so", "libm.so.6", "/", ""}));
    given.threads = from_.PickValueInArray(threads);
    given.batch = from_.PickValueInArray(batches);
    given.pool_threads = from_.PickValueInArray(pools);
    given.spin_us = from_.ConsumeIntegralInRange<std::uint32_t>(0, 100);
    if (from_.ConsumeIntegralInRange(0, 3) == 0 && given.pool_threads > 1 && given.pool_threads < 1024) {
      cpus.assign(given.pool_threads - 1, from_.PickValueInArray(cpu_numbers));
      given.pool_cpus = cpus.data();
    }
    given.plausible_margin = number(from_, 0.5);
    given.stand_in_weight = number(from_, 0.3);
    given.stand_in = static_cast<linkcast_source>(from_.ConsumeIntegralInRange(-1, 8));
    given.public_key = some(text(from_, {"/nowhere.pem", manifest_.c_str(), "/", ""}));
    given.precision = some(text(from_, {"float32", "bfloat16", "int8", "int4"}));
    given.kernels = some(text(from_, {"f32_scalar", "f32_avx2", "f32_avx512", "bf16_avx512", "i8_scalar", "none"}));
    given.second_core = some(text(from_, {"any", "any", "0", "1", "9999", "-1", "one", ""}));
    given.helper_spin_us = from_.PickValueInArray(spins);
    given.load_seconds = number(from_, 0.0);
    return given;
  }

  /// Mostly the default, so that several options can be right at once.
  const char* some(const char* option) { return from_.ConsumeIntegralInRange(0, 2) == 0 ? option : nullptr; }

  linkcast_status second_engine() {
    if (second_) {  // what was opened on it lives on
      if (from_.ConsumeIntegralInRange(0, 3)) return LINKCAST_OK;
      closed_engine_ = second_;
      second_ = nullptr;
      const auto status = linkcast_engine_close(closed_engine_);
      FUZZ_CHECK(status == LINKCAST_OK, "%s", linkcast_last_error());
      return LINKCAST_OK;
    }
    if (from_.ConsumeIntegralInRange(0, 15)) {  // no engine of these is to be closed, or is one
      auto* foreign = reinterpret_cast<linkcast_engine*>(streams_.empty() ? nullptr : streams_[0].handle);
      linkcast_engine* const none[] = {nullptr, closed_engine_, foreign, reinterpret_cast<linkcast_engine*>(1)};
      linkcast_engine* const chosen = from_.PickValueInArray(none);
      const auto status = linkcast_engine_close(chosen);
      FUZZ_CHECK(status == (chosen ? LINKCAST_ERROR_HANDLE : LINKCAST_OK), "status %d", static_cast<int>(status));
      return status;
    }
    std::vector<std::int32_t> cpus;  // seldom, as a reload: it loads and proves every model
    Sized options(from_, engine_options(cpus));
    linkcast_engine* opened = nullptr;
    const char* folder = text(from_, {std::getenv("LINKCAST_BUNDLE"), std::getenv("LINKCAST_BUNDLE"), "/", ""});
    const auto status = linkcast_engine_open(folder, options.get_or_null(from_), place(&opened));
    FUZZ_CHECK((status == LINKCAST_OK) == (opened != nullptr), "status %d", static_cast<int>(status));
    second_ = opened;
    return status;
  }

  linkcast_network* network() {
    if (networks_.empty()) return handle<linkcast_network>(nullptr);
    return handle(networks_[from_.ConsumeIntegralInRange<std::size_t>(0, networks_.size() - 1)]);
  }

  linkcast_status open_network() {
    if (networks_.size() >= 3 || (!networks_.empty() && from_.ConsumeIntegralInRange(0, 3) == 0)) {
      closed_network_ = networks_.back();
      networks_.pop_back();
      const auto status = linkcast_network_close(closed_network_);
      FUZZ_CHECK(status == LINKCAST_OK, "%s", linkcast_last_error());
      FUZZ_CHECK(linkcast_network_run(closed_network_) == LINKCAST_ERROR_HANDLE, "a closed network that runs");
      return linkcast_network_close(from_.ConsumeBool() ? closed_network_ : nullptr);
    }
    const char* known = text(from_, {"lstm_cell", "gru_cell", "lstm_chunk", "state_alone", "square_cell", "relu_cell",
                                     "decoder", "dueling", "dense_int8", "classes_uint8", "lstm_int8", "nothing"});
    const std::string path = std::string(std::getenv("LINKCAST_FUZZ_MODELS")) + "/" + (known ? known : "") + ".tflite";
    const char* const paths[] = {path.c_str(),      path.c_str(), path.c_str(), path.c_str(),
                                 manifest_.c_str(), "/",          "",           nullptr};
    std::vector<std::int32_t> cpus;
    Sized options(from_, engine_options(cpus));
    linkcast_network* opened = nullptr;
    const auto status =
        linkcast_network_open(from_.PickValueInArray(paths), options.get_or_null(from_), place(&opened));
    FUZZ_CHECK((status == LINKCAST_OK) == (opened != nullptr), "status %d", static_cast<int>(status));
    if (opened) networks_.push_back(opened);
    return status;
  }

  linkcast_edge edge() {
    const int edges[] = {
        LINKCAST_EDGE_INPUT, LINKCAST_EDGE_INPUT, LINKCAST_EDGE_OUTPUT, LINKCAST_EDGE_OUTPUT, -1, 2, INT32_MIN};
    return static_cast<linkcast_edge>(from_.PickValueInArray(edges));
  }

  static void check_tensor(const linkcast_tensor& tensor) {
    FUZZ_CHECK(tensor.name != nullptr && tensor.data != nullptr && (tensor.shape != nullptr || tensor.rank == 0),
               "a tensor without a name, numbers or a shape");
    std::size_t values = 1;
    for (std::size_t k = 0; k < tensor.rank; ++k) values *= static_cast<std::size_t>(tensor.shape[k]);
    FUZZ_CHECK(values == tensor.values, "%s: %zu values, and %zu by its shape", tensor.name, tensor.values, values);
  }

  linkcast_status ask_network() {
    auto* of = network();
    Sized info(from_, linkcast_network_info LINKCAST_NETWORK_INFO_INIT);
    return_status(linkcast_network_describe(of, info.get_or_null(from_)));
    Sized tensor(from_, linkcast_tensor LINKCAST_TENSOR_INIT);
    const std::size_t indices[] = {0, 0, 1, 2, 3, 1000, SIZE_MAX};
    const linkcast_edge at = edge();
    auto* given = tensor.get_or_null(from_);
    auto status = linkcast_network_tensor(of, at, from_.PickValueInArray(indices), given);
    return_status(status);
    if (status == LINKCAST_OK && tensor.whole()) {
      const linkcast_tensor placed = tensor.read();
      check_tensor(placed);
      linkcast_tensor named LINKCAST_TENSOR_INIT;
      FUZZ_CHECK(linkcast_network_find(of, at, placed.name, &named) == LINKCAST_OK, "%s", linkcast_last_error());
      FUZZ_CHECK(named.data == placed.data, "%s: two tensors of one name", placed.name);
    }
    status = linkcast_network_find(
        of, edge(), text(from_, {"x", "y", "h", "c", "h_next", "c_next", "serving_default_x:0", "Identity", ""}),
        tensor.get_or_null(from_));
    if (status == LINKCAST_OK && tensor.whole()) check_tensor(tensor.read());
    return status;
  }

  /// All of every input is written and of every output read, and what fits is carried over, as by a caller with a state.
  linkcast_status step_network() {
    auto* of = network();
    linkcast_network_info info LINKCAST_NETWORK_INFO_INIT;
    if (const auto status = linkcast_network_describe(of, &info)) return status;
    FUZZ_CHECK(info.outputs > 0 && std::isfinite(info.proof_error), "%zu outputs, %g off TensorFlow Lite", info.outputs,
               info.proof_error);
    linkcast_tensor in LINKCAST_TENSOR_INIT, out LINKCAST_TENSOR_INIT;
    for (std::size_t k = 0; k < info.inputs; ++k) {
      FUZZ_CHECK(linkcast_network_tensor(of, LINKCAST_EDGE_INPUT, k, &in) == LINKCAST_OK, "%s", linkcast_last_error());
      check_tensor(in);
      const auto values = numbers(from_, in.values);
      if (from_.ConsumeBool()) std::copy(values.begin(), values.end(), in.data);
    }
    const auto status = linkcast_network_run(of);
    if (status != LINKCAST_OK) {
      FUZZ_CHECK(status == LINKCAST_ERROR_INVOKE, "status %d", static_cast<int>(status));
      return status;
    }
    for (std::size_t k = 0; k < info.outputs; ++k) {
      FUZZ_CHECK(linkcast_network_tensor(of, LINKCAST_EDGE_OUTPUT, k, &out) == LINKCAST_OK, "%s",
                 linkcast_last_error());
      check_tensor(out);
      const std::vector<float> read(out.data, out.data + out.values);
      if (linkcast_network_tensor(of, LINKCAST_EDGE_INPUT, k, &in) == LINKCAST_OK && in.values == read.size())
        std::copy(read.begin(), read.end(), in.data);
    }
    return_status(linkcast_network_prepare(handle(of)));
    return linkcast_network_run(handle(of));
  }

  linkcast_engine* engine_;
  FuzzedDataProvider& from_;
  std::vector<Opened> streams_;
  std::vector<linkcast_controller*> controllers_;
  std::vector<linkcast_route*> routes_;
  std::vector<linkcast_network*> networks_;
  linkcast_engine* second_ = nullptr;  // opened by the calls themselves, with options of theirs
  linkcast_stream* closed_ = nullptr;
  linkcast_engine* closed_engine_ = nullptr;
  linkcast_network* closed_network_ = nullptr;
  const std::string manifest_ = std::string(std::getenv("LINKCAST_BUNDLE")) + "/metadata/manifest.json";
  std::size_t told_ = 0;  // by the log
  std::uint64_t now_ = 1'000'000'000;
};

linkcast_engine* engine = nullptr;

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*count*/, char*** /*arguments*/) {
  linkcast_engine_options options LINKCAST_ENGINE_OPTIONS_INIT;
  auto status = LINKCAST_ERROR_LOAD;  // on a busy machine, an instrumented load may take more than its ten seconds
  for (int tries = 0; tries < 5 && status != LINKCAST_OK; ++tries)
    status = linkcast_engine_open(std::getenv("LINKCAST_BUNDLE"), &options, &engine);
  FUZZ_CHECK(status == LINKCAST_OK, "%s", linkcast_last_error());
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider from(data, size);
  Calls(engine, from).run();
  return 0;
}
