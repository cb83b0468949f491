// The C ABI, called at random: good, closed, foreign and made-up handles, sizes that do not fit, structs of older and newer
// headers, values of every kind, reloads. Whatever comes has to end in a status.
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
    if (stride_ > own && from.ConsumeIntegralInRange(0, 3) == 0) bytes_.get()[own] = 1;  // a field not known here
  }

  Struct* get() { return reinterpret_cast<Struct*>(bytes_.get()); }
  Struct* get_or_null(FuzzedDataProvider& from) { return from.ConsumeIntegralInRange(0, 7) ? get() : nullptr; }
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
    static std::string other;
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
  }

  void run() {
    for (int calls = 0; calls < 60 && from_.remaining_bytes() > 0; ++calls) {
      switch (from_.ConsumeIntegralInRange(0, 19)) {
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
        default:
          return_status(ask_controller());
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
                                     reinterpret_cast<std::uintptr_t>(closed_),
                                     reinterpret_cast<std::uintptr_t>(good) + 1,
                                     reinterpret_cast<std::uintptr_t>(good) ^ 0x100,
                                     reinterpret_cast<std::uintptr_t>(this)};
    return reinterpret_cast<Handle*>(from_.PickValueInArray(others));
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
    const auto status = linkcast_engine_reload(handle(engine_), text(from_, {std::getenv("LINKCAST_BUNDLE"), "/", ""}));
    for (const Opened& stream : streams_)
      if (from_.ConsumeBool()) return_status(linkcast_stream_follow(handle(stream.handle)));
    return status;
  }

  linkcast_status describe() {
    std::size_t count = 0;
    return_status(linkcast_model_count(handle(engine_), &count));
    linkcast_model found = 0;
    const auto role = static_cast<linkcast_role>(from_.ConsumeIntegralInRange(-1, 5));
    return_status(
        linkcast_model_find(handle(engine_), text(from_, {"internet", "streaming", "internet_lstm"}), role, &found));
    Sized info(from_, linkcast_model_info LINKCAST_MODEL_INFO_INIT);
    return_status(linkcast_model_describe(handle(engine_), model(), info.get_or_null(from_)));
    Sized stats(from_, linkcast_model_stats LINKCAST_MODEL_STATS_INIT);
    return linkcast_model_read_stats(handle(engine_), model(), stats.get_or_null(from_));
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
    const auto status = linkcast_forecast(handle(engine_), model(), values.data(), values.size(), deadline(),
                                          answers.get(), count, result.get_or_null(from_));
    check_answers(status, answers, count);
    return status;
  }

  linkcast_status forecast_many() {
    const auto first = numbers(from_, count_near(from_, kWindow * kFeatures));
    Sized answers(from_, linkcast_answer LINKCAST_ANSWER_INIT, 1);
    Sized result(from_, linkcast_result LINKCAST_RESULT_INIT);
    linkcast_request request LINKCAST_REQUEST_INIT;
    request = {sizeof(request), model(), first.data(), first.size(), answers.get(), 1, result.get_or_null(from_)};
    const std::size_t count = from_.ConsumeIntegralInRange<std::size_t>(0, 2);
    Sized requests(from_, request, count);
    return linkcast_forecast_many(handle(engine_), requests.get(), count, deadline());
  }

  linkcast_status decide() {
    const std::size_t batch = from_.ConsumeIntegralInRange<std::size_t>(0, 4);
    const auto states = numbers(from_, count_near(from_, batch * kFeatures));
    std::vector<std::int32_t> actions(batch, -7);
    Sized result(from_, linkcast_result LINKCAST_RESULT_INIT);
    const auto status = linkcast_decide(handle(engine_), model(), states.data(), states.size(), actions.data(), batch,
                                        result.get_or_null(from_));
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
    const auto status = linkcast_stream_open(handle(engine_), model(), rows, options.get_or_null(from_), &opened);
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
    return_status(take(of, bytes.data(), from_.ConsumeIntegralInRange(0, 7) ? size : size - 1, &size));
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
      return linkcast_stream_restore_row(to.handle, some_row(to), one.data(), one.size());
    }
    const auto bytes = snapshot(stream().handle, linkcast_stream_snapshot);
    return linkcast_stream_restore(stream().handle, bytes.data(), bytes.size());
  }

  linkcast_status controller_snapshot() {
    const auto bytes = snapshot(controller(), linkcast_controller_snapshot);
    return linkcast_controller_restore(controller(), bytes.data(), bytes.size(), from_.ConsumeBool());
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
    const auto status = linkcast_controller_open(handle(engine_), text(from_, {"internet", "internet", "streaming"}),
                                                 options.get_or_null(from_), &opened);
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
    const auto status = linkcast_route_open(paths, options.get_or_null(from_), &opened);
    if (status != LINKCAST_OK) return status;
    routes_.push_back(opened);
    std::vector<float> p10 = numbers(from_, count_near(from_, paths * 2));
    Sized choice(from_, linkcast_route_choice LINKCAST_ROUTE_CHOICE_INIT);
    const auto chosen = linkcast_route_choose(handle(opened), p10.data(), p10.size(), now_, choice.get_or_null(from_));
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
    const auto status = linkcast_compression_choose(codecs.get(), count, from_.ConsumeIntegral<std::uint64_t>(),
                                                    given.get(), options.get_or_null(from_), choice.get_or_null(from_));
    if (status == LINKCAST_OK && choice.whole())
      FUZZ_CHECK(choice.read().codec >= -1 && choice.read().codec < static_cast<std::int32_t>(count), "codec %d",
                 choice.read().codec);
    return status;
  }

  linkcast_engine* engine_;
  FuzzedDataProvider& from_;
  std::vector<Opened> streams_;
  std::vector<linkcast_controller*> controllers_;
  std::vector<linkcast_route*> routes_;
  linkcast_stream* closed_ = nullptr;
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
