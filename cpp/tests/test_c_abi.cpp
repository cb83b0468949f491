// The C ABI from outside, through the shared library and its headers alone: answers, and every kind of misuse.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "linkcast/linkcast.hpp"

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr std::array<float, 4> kSample{50.0F, 2.5F, 0.001F, 0.999F};

std::string bundle() {
  const char* folder = std::getenv("LINKCAST_BUNDLE");
  return folder ? folder : "";
}

/// One engine for all cases: opening one loads and proves every model.
linkcast::Engine& engine() {
  static linkcast::Engine only(bundle());
  return only;
}

linkcast_model internet() { return engine().find("internet", LINKCAST_ROLE_FORECASTER); }
linkcast_model allocator() { return engine().find("internet", LINKCAST_ROLE_ALLOCATOR); }

/// (10, 4): a link whose bandwidth moves a little.
std::vector<float> window(float phase = 0) {
  std::vector<float> values;
  for (int step = 0; step < 10; ++step) {
    values.insert(values.end(), kSample.begin(), kSample.end());
    values[values.size() - 3] += std::sin(phase + static_cast<float>(step));
  }
  return values;
}

/// (10, 8): the same with the calendar of midnight, Monday.
std::vector<float> group_window() {
  std::vector<float> values;
  for (int step = 0; step < 10; ++step) {
    values.insert(values.end(), kSample.begin(), kSample.end());
    values.insert(values.end(), {0.0F, 1.0F, 0.0F, 1.0F});
  }
  return values;
}

bool error_has(const std::string& part) { return std::string(linkcast_last_error()).find(part) != std::string::npos; }

/// A copy of the bundle that a test may damage; removed at the end.
class Copy {
 public:
  Copy() : folder_(std::filesystem::temp_directory_path() / ("linkcast_c_abi_" + std::to_string(std::rand()))) {
    std::filesystem::create_directories(folder_);
    for (const char* name : {"models", "metadata"})
      std::filesystem::copy(std::filesystem::path(bundle()) / name, folder_ / name,
                            std::filesystem::copy_options::recursive);
  }
  ~Copy() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  std::string folder() const { return folder_.string(); }
  void flip_a_bit(const char* file) const {
    std::fstream stream(folder_ / file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(1000);
    const int byte = stream.get();
    stream.seekp(1000);
    stream.put(static_cast<char>(byte ^ 1));
  }

 private:
  std::filesystem::path folder_;
};

}  // namespace

TEST(every_model_is_described) {
  CHECK_EQ(engine().model_count(), std::size_t{14});
  const linkcast_model_info info = engine().describe(internet());
  CHECK_EQ(std::string(info.name), "internet_lstm");
  CHECK_EQ(info.role, LINKCAST_ROLE_FORECASTER);
  CHECK_EQ(info.window, 10U);
  CHECK_EQ(info.features, 4U);
  CHECK_EQ(info.outputs, 1U);
  CHECK_EQ(engine().describe(allocator()).outputs, 10U);
  CHECK_EQ(engine().find("internet_lstm"), internet());
}

TEST(a_stream_gives_what_the_full_window_gives) {
  linkcast::Stream stream(engine(), internet());
  const std::vector<float> samples = window();
  for (std::size_t step = 0; step < 10; ++step) {
    const auto forecast = stream.push(linkcast::Floats(&samples[4 * step], 4));
    CHECK_EQ(forecast.has_value(), step == 9);
    if (!forecast) continue;
    CHECK_EQ(forecast->source, LINKCAST_SOURCE_MODEL);
    // 1e-6 of the scaled target: the promise of a stream; the target's range is below 1000 Mbit/s.
    CHECK_NEAR(forecast->mbps, engine().forecast(internet(), samples).mbps, 1e-3);
  }
  CHECK_EQ(std::string(stream.describe().mode), "incremental");
}

TEST(streams_that_tick_together_give_what_each_gives_alone) {
  constexpr std::size_t kStreams = 3;
  linkcast::Streams streams(engine(), internet(), kStreams);
  std::array<float, kStreams> forecasts{};
  std::array<std::uint8_t, kStreams> sources{};
  for (std::size_t step = 0; step < 10; ++step) {
    std::vector<float> samples;
    for (std::size_t s = 0; s < kStreams; ++s) {
      const std::vector<float> one = window(static_cast<float>(s));
      samples.insert(samples.end(), &one[4 * step], &one[4 * step] + 4);
    }
    streams.push(samples, forecasts.data(), nullptr, sources.data());
    streams.advance();
    if (step < 9) CHECK_EQ(int{sources[0]}, int{LINKCAST_SOURCE_NONE});
  }
  for (std::size_t s = 0; s < kStreams; ++s) {
    CHECK_EQ(int{sources[s]}, int{LINKCAST_SOURCE_MODEL});
    CHECK_NEAR(forecasts[s], engine().forecast(internet(), window(static_cast<float>(s))).mbps, 1e-3);
  }
}

TEST(a_snapshot_goes_on_where_it_was_taken) {
  linkcast::Stream one(engine(), internet());
  for (int tick = 0; tick < 12; ++tick) one.push(kSample);
  linkcast::Stream two(engine(), internet());
  two.restore(one.snapshot());
  CHECK_NEAR(one.push(kSample)->mbps, two.push(kSample)->mbps, 1e-3);
}

TEST(a_missing_sample_is_held) {
  linkcast::Stream stream(engine(), internet());
  for (int tick = 0; tick < 10; ++tick) stream.push(kSample);
  CHECK(stream.push_missing().has_value());
  CHECK_EQ(stream.describe().held, 1U);
  CHECK_EQ(stream.describe().missing, std::uint64_t{1});
}

TEST(groups_in_one_call_give_what_single_calls_give) {
  const std::array<linkcast_model, 2> models{engine().find("streaming", LINKCAST_ROLE_FORECASTER),
                                             engine().find("gaming", LINKCAST_ROLE_FORECASTER)};
  const std::vector<float> values = group_window();
  std::array<linkcast_group, 2> groups{};
  std::array<float, 2> forecasts{};
  for (std::size_t k = 0; k < 2; ++k) {
    groups[k] = LINKCAST_GROUP_INIT;
    groups[k].model = models[k];
    groups[k].windows = values.data();
    groups[k].values = values.size();
    groups[k].forecasts_mbps = &forecasts[k];
    groups[k].batch = 1;
  }
  engine().forecast_groups(groups.data(), groups.size());
  for (std::size_t k = 0; k < 2; ++k) {
    CHECK_EQ(groups[k].result.status, LINKCAST_OK);
    CHECK_EQ(forecasts[k], engine().forecast(models[k], values).mbps);
  }
  std::vector<float> bad = values;
  bad[5] = kNan;
  groups[1].windows = bad.data();
  engine().forecast_groups(groups.data(), groups.size());
  CHECK_EQ(groups[0].result.status, LINKCAST_OK);
  CHECK_EQ(groups[1].result.status, LINKCAST_ERROR_NOT_FINITE);
}

TEST(a_missed_deadline_is_answered_by_the_fallback) {
  const linkcast_model streaming = engine().find("streaming", LINKCAST_ROLE_FORECASTER);
  const linkcast::Forecast forecast = engine().forecast(streaming, group_window(), 1);  // 1 ns
  CHECK_EQ(forecast.source, LINKCAST_SOURCE_FALLBACK);
  CHECK_EQ(forecast.cause, LINKCAST_CAUSE_DEADLINE);
  CHECK(std::isfinite(forecast.mbps));
  const linkcast_model_stats stats = engine().stats(streaming);
  CHECK(stats.sources[LINKCAST_SOURCE_FALLBACK] >= 1 && stats.causes[LINKCAST_CAUSE_DEADLINE] >= 1);
}

TEST(a_controller_decides_within_its_limits) {
  linkcast_controller_options options = linkcast::Controller::default_options(100.0);
  options.least_fraction = 0.2;
  options.most_fraction = 0.5;
  options.safe_fraction = 0.5;
  linkcast::Controller controller(engine(), "internet", options);
  std::uint64_t now_ns = 1'000'000'000;
  for (int tick = 0; tick < 20; ++tick, now_ns += 1'000'000'000) {
    const linkcast_decision decision = controller.tick(kSample, now_ns);
    CHECK(decision.allocation_fraction >= 0.2 && decision.allocation_fraction <= 0.5);
    controller.advance();
  }
  linkcast_decision decision = LINKCAST_DECISION_INIT;
  for (int tick = 0; tick < 20; ++tick, now_ns += 1'000'000'000) decision = controller.tick_missing(now_ns);
  CHECK(decision.limits & LINKCAST_LIMIT_STALLED);
  CHECK_EQ(controller.stats().stalls, std::uint64_t{1});
  CHECK_EQ(linkcast_controller_tick(controller.get(), kSample.data(), 4, 1, &decision), LINKCAST_ERROR_ARGUMENT);
}

TEST(wrong_handles_give_a_status) {
  linkcast::Stream stream(engine(), internet());
  const std::vector<float> values = window();
  float mbps = 0;
  auto* garbage = reinterpret_cast<linkcast_engine*>(std::uintptr_t{0x123450});
  auto* wrong = reinterpret_cast<linkcast_engine*>(stream.get());
  int on_stack = 0;
  auto* foreign = reinterpret_cast<linkcast_engine*>(&on_stack);
  for (linkcast_engine* handle : {static_cast<linkcast_engine*>(nullptr), garbage, wrong, foreign}) {
    CHECK_EQ(linkcast_forecast(handle, 0, values.data(), values.size(), &mbps, 1, 0, nullptr), LINKCAST_ERROR_HANDLE);
    CHECK_EQ(linkcast_forecast_groups(handle, nullptr, 0, 0), LINKCAST_ERROR_HANDLE);
    CHECK_EQ(linkcast_engine_reload(handle, nullptr), LINKCAST_ERROR_HANDLE);
    std::size_t count = 0;
    CHECK_EQ(linkcast_model_count(handle, &count), LINKCAST_ERROR_HANDLE);
    linkcast_stream* opened = nullptr;
    CHECK_EQ(linkcast_stream_open(handle, 0, nullptr, &opened), LINKCAST_ERROR_HANDLE);
    CHECK(opened == nullptr);
    CHECK_EQ(linkcast_stream_push(reinterpret_cast<linkcast_stream*>(handle == wrong ? garbage : handle),
                                  kSample.data(), 4, &mbps, 0, nullptr),
             LINKCAST_ERROR_HANDLE);
    CHECK_EQ(linkcast_controller_advance(reinterpret_cast<linkcast_controller*>(handle)), LINKCAST_ERROR_HANDLE);
    if (handle) CHECK_EQ(linkcast_engine_close(handle), LINKCAST_ERROR_HANDLE);
  }
  CHECK_EQ(linkcast_engine_close(nullptr), LINKCAST_OK);
  CHECK_EQ(linkcast_stream_close(nullptr), LINKCAST_OK);
}

TEST(a_closed_handle_gives_a_status_even_when_its_place_is_taken) {
  linkcast_stream* closed = nullptr;
  CHECK_EQ(linkcast_stream_open(engine().get(), internet(), nullptr, &closed), LINKCAST_OK);
  CHECK_EQ(linkcast_stream_close(closed), LINKCAST_OK);
  linkcast::Stream next(engine(), internet());
  CHECK_EQ(linkcast_stream_close(closed), LINKCAST_ERROR_HANDLE);
  CHECK_EQ(linkcast_stream_advance(closed), LINKCAST_ERROR_HANDLE);
  CHECK_EQ(linkcast_stream_advance(next.get()), LINKCAST_OK);
}

TEST(null_pointers_give_a_status) {
  linkcast_engine* handle = engine().get();
  const std::vector<float> values = window();
  float mbps = 0;
  std::int32_t action = 0;
  linkcast_model model = 0;
  CHECK_EQ(linkcast_engine_open(nullptr, nullptr, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_model_count(handle, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_model_find(handle, nullptr, LINKCAST_ROLE_ANY, &model), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_model_find(handle, "internet", LINKCAST_ROLE_FORECASTER, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_model_describe(handle, 0, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_stats(handle, 0, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_forecast(handle, internet(), nullptr, 40, &mbps, 1, 0, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_forecast(handle, internet(), values.data(), 40, nullptr, 1, 0, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_forecast_groups(handle, nullptr, 1, 0), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_decide(handle, allocator(), nullptr, 4, &action, 1, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_decide(handle, allocator(), kSample.data(), 4, nullptr, 1, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_stream_open(handle, internet(), nullptr, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_streams_open(handle, internet(), 1, nullptr, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_controller_open(handle, nullptr, nullptr, nullptr), LINKCAST_ERROR_ARGUMENT);
  linkcast::Stream stream(engine(), internet());
  CHECK_EQ(linkcast_stream_push(stream.get(), kSample.data(), 4, nullptr, 0, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_stream_describe(stream.get(), nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_stream_snapshot(stream.get(), nullptr, 0, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_stream_restore(stream.get(), nullptr, 8), LINKCAST_ERROR_ARGUMENT);
  linkcast::Streams streams(engine(), internet(), 2);
  CHECK_EQ(linkcast_streams_push(streams.get(), nullptr, 8, nullptr, &mbps, nullptr, 0), LINKCAST_ERROR_ARGUMENT);
  linkcast::Controller controller(engine(), "internet", linkcast::Controller::default_options(10.0));
  CHECK_EQ(linkcast_controller_tick(controller.get(), kSample.data(), 4, 1, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_controller_stats(controller.get(), nullptr), LINKCAST_ERROR_ARGUMENT);
}

TEST(unknown_names_give_a_status_that_names_the_known) {
  linkcast_model model = -1;
  CHECK_EQ(linkcast_model_find(engine().get(), "banana", LINKCAST_ROLE_FORECASTER, &model), LINKCAST_ERROR_NOT_FOUND);
  CHECK(error_has("internet") && error_has("streaming") && error_has("banana"));
  CHECK_EQ(model, -1);
  CHECK_EQ(linkcast_model_find(engine().get(), "internet", static_cast<linkcast_role>(77), &model),
           LINKCAST_ERROR_ARGUMENT);
  linkcast_controller* controller = nullptr;
  const linkcast_controller_options options = linkcast::Controller::default_options(10.0);
  CHECK_EQ(linkcast_controller_open(engine().get(), "banana", &options, &controller), LINKCAST_ERROR_NOT_FOUND);
  CHECK_EQ(std::string(linkcast_status_name(static_cast<linkcast_status>(99))), "unknown status");
}

TEST(numbers_out_of_range_give_a_status) {
  const std::vector<float> values = window();
  float mbps = 0;
  std::int32_t action = 0;
  linkcast_engine* handle = engine().get();
  CHECK_EQ(linkcast_forecast(handle, -1, values.data(), 40, &mbps, 1, 0, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_forecast(handle, 14, values.data(), 40, &mbps, 1, 0, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_forecast(handle, internet(), values.data(), 36, &mbps, 1, 0, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK(error_has("40") && error_has("36"));
  CHECK_EQ(linkcast_forecast(handle, internet(), values.data(), 0, &mbps, 0, 0, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_forecast(handle, allocator(), values.data(), 4, &mbps, 1, 0, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_decide(handle, internet(), values.data(), 40, &action, 1, nullptr), LINKCAST_ERROR_ARGUMENT);
  linkcast_stream* stream = nullptr;
  CHECK_EQ(linkcast_stream_open(handle, allocator(), nullptr, &stream), LINKCAST_ERROR_ARGUMENT);
  linkcast_streams* streams = nullptr;
  CHECK_EQ(linkcast_streams_open(handle, internet(), 0, nullptr, &streams), LINKCAST_ERROR_ARGUMENT);
  linkcast_engine_options options = linkcast::Engine::default_options();
  options.threads = 0;
  linkcast_engine* opened = nullptr;
  CHECK_EQ(linkcast_engine_open(bundle().c_str(), &options, &opened), LINKCAST_ERROR_ARGUMENT);
  options = linkcast::Engine::default_options();
  options.backend = "banana";
  CHECK_EQ(linkcast_engine_open(bundle().c_str(), &options, &opened), LINKCAST_ERROR_ARGUMENT);
  CHECK(opened == nullptr && error_has("banana"));
  linkcast_controller_options controller_options = linkcast::Controller::default_options(0.0);
  linkcast_controller* controller = nullptr;
  CHECK_EQ(linkcast_controller_open(handle, "internet", &controller_options, &controller), LINKCAST_ERROR_ARGUMENT);
}

TEST(values_that_are_not_finite_give_a_status_and_leave_a_stream_as_it_was) {
  std::vector<float> values = window();
  float mbps = 0;
  std::int32_t action = 0;
  for (const float bad : {kNan, std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
    values[17] = bad;
    CHECK_EQ(linkcast_forecast(engine().get(), internet(), values.data(), 40, &mbps, 1, 0, nullptr),
             LINKCAST_ERROR_NOT_FINITE);
    CHECK(error_has("17"));
    const std::array<float, 4> state{20.0F, bad, 0.0F, 1.0F};
    CHECK_EQ(linkcast_decide(engine().get(), allocator(), state.data(), 4, &action, 1, nullptr),
             LINKCAST_ERROR_NOT_FINITE);
    linkcast::Stream stream(engine(), internet());
    for (int tick = 0; tick < 9; ++tick) stream.push(kSample);
    CHECK_EQ(linkcast_stream_push(stream.get(), state.data(), 4, &mbps, 0, nullptr), LINKCAST_ERROR_NOT_FINITE);
    CHECK_EQ(stream.describe().samples_in, 9U);
    linkcast::Controller controller(engine(), "internet", linkcast::Controller::default_options(10.0));
    linkcast_decision decision = LINKCAST_DECISION_INIT;
    CHECK_EQ(linkcast_controller_tick(controller.get(), state.data(), 4, 1, &decision), LINKCAST_ERROR_NOT_FINITE);
  }
}

TEST(values_in_other_units_give_a_status_that_says_what_they_look_like) {
  std::vector<float> values = window();
  values[39] = 99.8F;
  float mbps = 0;
  std::int32_t action = 0;
  CHECK_EQ(linkcast_forecast(engine().get(), internet(), values.data(), 40, &mbps, 1, 0, nullptr), LINKCAST_ERROR_UNIT);
  CHECK(error_has("reliability: expected a fraction 0..1, got 99.8 (percent?) at position 39"));
  const std::array<float, 4> percent{28.0F, 12.5F, 5.0F, 1.0F};
  CHECK_EQ(linkcast_decide(engine().get(), allocator(), percent.data(), 4, &action, 1, nullptr), LINKCAST_ERROR_UNIT);
  const std::array<float, 4> bits{28.0F, 12.5e6F, 0.0F, 1.0F};
  CHECK_EQ(linkcast_decide(engine().get(), allocator(), bits.data(), 4, &action, 1, nullptr), LINKCAST_ERROR_UNIT);
  CHECK(error_has("(bit/s?)"));
  linkcast::Stream stream(engine(), internet());
  CHECK_EQ(linkcast_stream_push(stream.get(), percent.data(), 4, &mbps, 0, nullptr), LINKCAST_ERROR_UNIT);
  linkcast::Streams streams(engine(), internet(), 1);
  CHECK_EQ(linkcast_streams_push(streams.get(), percent.data(), 4, nullptr, &mbps, nullptr, 0), LINKCAST_ERROR_UNIT);
  linkcast::Controller controller(engine(), "internet", linkcast::Controller::default_options(10.0));
  linkcast_decision decision = LINKCAST_DECISION_INIT;
  CHECK_EQ(linkcast_controller_tick(controller.get(), percent.data(), 4, 1, &decision), LINKCAST_ERROR_UNIT);
  const std::array<float, 4> much{28.0F, 101.0F, 0.0F, 1.0F};
  CHECK_EQ(linkcast_controller_tick(controller.get(), much.data(), 4, 1, &decision), LINKCAST_ERROR_UNIT);
  CHECK(error_has("10 times the link's capacity of 10 Mbit/s, got 101"));
  CHECK_EQ(controller.stats().ticks, 0U);
  CHECK_EQ(std::string(linkcast_status_name(LINKCAST_ERROR_UNIT)), "value not in its unit");
}

TEST(decisions_are_safe_for_every_state_and_say_what_is_special) {
  std::vector<float> states;  // rising bandwidth in rows of 60, from 0.02 to ten times the capacity of 100 Mbit/s
  for (const float latency : {0.05F, 28.0F, 400.0F, 1e4F, 3.4e38F})
    for (const float loss : {0.0F, 0.1F, 1.0F})
      for (int k = 1; k <= 60; ++k)
        states.insert(
            states.end(),
            {latency, k <= 50 ? 2.0F * static_cast<float>(k) : 100.0F * static_cast<float>(k - 50), loss, 1.0F - loss});
  const std::size_t rows = states.size() / 4;
  std::vector<std::int32_t> actions(rows);
  linkcast_result result = LINKCAST_RESULT_INIT;
  CHECK_EQ(linkcast_decide(engine().get(), allocator(), states.data(), states.size(), actions.data(), rows, &result),
           LINKCAST_OK);
  CHECK(result.source == LINKCAST_SOURCE_MODEL && result.cause == LINKCAST_CAUSE_OUTSIDE_TRAINING);
  for (std::size_t row = 0; row < rows; ++row) {
    const float carried = states[row * 4 + 1];
    CHECK(row % 60 == 0 || actions[row] >= actions[row - 1]);
    CHECK(carried < 100.0F || actions[row] == 9);
    CHECK(static_cast<float>(actions[row] + 2) * 10.0F >= std::min(carried, 100.0F));
  }
  const std::array<float, 4> over{28.0F, 120.0F, 0.0F, 1.0F};
  result = engine().decide(allocator(), over, actions.data(), 1);
  CHECK(result.cause == LINKCAST_CAUSE_OVER_CAPACITY && actions[0] == 9);
  linkcast::Controller controller(engine(), "internet", linkcast::Controller::default_options(50.0));
  const linkcast_decision decision = controller.tick(over, 1);
  CHECK(decision.allocation_cause == LINKCAST_CAUSE_OVER_CAPACITY && decision.allocation_mbps == 50.0);
  CHECK(engine().stats(allocator()).over_capacity >= 1);
}

TEST(a_stream_on_which_the_moving_average_is_better_answers_with_that_and_says_so) {
  linkcast_stream_options options = LINKCAST_STREAM_OPTIONS_INIT;
  options.switch_to_ewma = 20;
  options.safeguard.plausible_margin = 1e9;
  linkcast::Stream stream(engine(), internet(), options);
  const linkcast_model_stats before = engine().stats(internet());
  // The model's forecasts are met with other values than it says, the average's with what it says: whatever the model
  // is, it is worse.
  std::vector<float> values(10, 2.5f);
  float average = 2.5f;
  std::uint64_t by_average = 0;
  for (int tick = 0; tick < 80; ++tick) {
    const auto forecast = stream.push({50.0f, values.back(), 0.0f, 1.0f});
    if (!forecast) continue;
    average = values[values.size() - 10];
    for (std::size_t k = values.size() - 9; k < values.size(); ++k) average += 0.3f * (values[k] - average);
    if (forecast->cause == LINKCAST_CAUSE_BEATEN) {
      ++by_average;
      CHECK_EQ(forecast->source, LINKCAST_SOURCE_EWMA);
      CHECK_NEAR(forecast->mbps, average, 1e-4);
    }
    values.push_back(average + (tick % 2 ? 1e-3f : 0));
  }
  CHECK(by_average > 40);
  const linkcast_stream_info info = stream.describe();
  CHECK(info.switched == 1 && info.skill < -0.05);
  const linkcast_model_stats after = engine().stats(internet());
  CHECK_EQ(after.causes[LINKCAST_CAUSE_BEATEN] - before.causes[LINKCAST_CAUSE_BEATEN], by_average);
  CHECK_EQ(after.switches - before.switches, 1U);
  CHECK_EQ(std::string(linkcast_cause_name(LINKCAST_CAUSE_BEATEN)), "beaten");
}

TEST(structs_of_another_size_give_a_status_or_their_part) {
  linkcast_engine* opened = nullptr;
  linkcast_engine_options options = linkcast::Engine::default_options();
  for (const std::size_t size : {std::size_t{0}, sizeof(std::size_t), sizeof options - 8, sizeof options + 100000}) {
    options.size = size;
    CHECK_EQ(linkcast_engine_open(bundle().c_str(), &options, &opened), LINKCAST_ERROR_STRUCT_SIZE);
  }
  // What a later header would have: accepted while its new field asks for nothing.
  struct Later {
    linkcast_stream_options known;
    std::uint64_t added;
  } later{LINKCAST_STREAM_OPTIONS_INIT, 0};
  later.known.size = sizeof later;
  linkcast_stream* stream = nullptr;
  CHECK_EQ(linkcast_stream_open(engine().get(), internet(), &later.known, &stream), LINKCAST_OK);
  CHECK_EQ(linkcast_stream_close(stream), LINKCAST_OK);
  later.added = 1;
  CHECK_EQ(linkcast_stream_open(engine().get(), internet(), &later.known, &stream), LINKCAST_ERROR_STRUCT_SIZE);

  // What the first header had: its structs are read and written as far as they go.
  linkcast_stream_options first = LINKCAST_STREAM_OPTIONS_INIT;
  first.size = offsetof(linkcast_stream_options, switch_to_ewma);
  first.switch_to_ewma = 200'000;  // behind its end: not read
  CHECK_EQ(linkcast_stream_open(engine().get(), internet(), &first, &stream), LINKCAST_OK);
  linkcast_stream_info told = LINKCAST_STREAM_INFO_INIT;
  told.size = offsetof(linkcast_stream_info, skill);
  told.skill = 17;
  CHECK_EQ(linkcast_stream_describe(stream, &told), LINKCAST_OK);
  CHECK(told.window == 10 && told.skill == 17);
  CHECK_EQ(linkcast_stream_close(stream), LINKCAST_OK);
  first.size = sizeof first;
  CHECK_EQ(linkcast_stream_open(engine().get(), internet(), &first, &stream), LINKCAST_ERROR_ARGUMENT);
  linkcast_model_stats stats = LINKCAST_MODEL_STATS_INIT;
  stats.size = offsetof(linkcast_model_stats, causes) + 5 * sizeof(std::uint64_t);
  stats.causes[LINKCAST_CAUSE_BEATEN] = stats.switches = 17;
  CHECK_EQ(linkcast_stats(engine().get(), internet(), &stats), LINKCAST_OK);
  CHECK(stats.causes[LINKCAST_CAUSE_BEATEN] == 17 && stats.switches == 17);
  linkcast_controller_options loop = linkcast::Controller::default_options(10.0);
  CHECK_EQ(loop.switch_to_ewma, 60U);
  loop.size = offsetof(linkcast_controller_options, switch_to_ewma);
  linkcast::Controller earlier(engine(), "internet", loop);
  linkcast_decision made = LINKCAST_DECISION_INIT;
  made.size = offsetof(linkcast_decision, cause);
  made.cause = LINKCAST_CAUSE_FAILED;
  CHECK_EQ(linkcast_controller_tick(earlier.get(), kSample.data(), 4, 1, &made), LINKCAST_OK);
  CHECK_EQ(made.cause, LINKCAST_CAUSE_FAILED);

  const std::vector<float> values = window();
  float mbps = 0;
  linkcast_result result{};
  CHECK_EQ(linkcast_forecast(engine().get(), internet(), values.data(), 40, &mbps, 1, 0, &result),
           LINKCAST_ERROR_STRUCT_SIZE);
  linkcast_model_info info{};
  CHECK_EQ(linkcast_model_describe(engine().get(), 0, &info), LINKCAST_ERROR_STRUCT_SIZE);
  linkcast_decision decision{};
  linkcast::Controller controller(engine(), "internet", linkcast::Controller::default_options(10.0));
  CHECK_EQ(linkcast_controller_tick(controller.get(), kSample.data(), 4, 1, &decision), LINKCAST_ERROR_STRUCT_SIZE);
}

TEST(a_damaged_snapshot_is_refused) {
  linkcast::Stream stream(engine(), internet());
  for (int tick = 0; tick < 10; ++tick) stream.push(kSample);
  std::vector<unsigned char> bytes = stream.snapshot();
  CHECK_EQ(linkcast_stream_restore(stream.get(), bytes.data(), bytes.size() / 2), LINKCAST_ERROR_ARGUMENT);
  bytes[0] ^= 0xFFU;
  CHECK_EQ(linkcast_stream_restore(stream.get(), bytes.data(), bytes.size()), LINKCAST_ERROR_ARGUMENT);
  std::size_t size = 0;
  CHECK_EQ(linkcast_stream_snapshot(stream.get(), bytes.data(), 1, &size), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(stream.describe().samples_in, 10U);
}

TEST(the_error_text_is_the_threads_own) {
  linkcast_engine_close(reinterpret_cast<linkcast_engine*>(std::uintptr_t{0x10}));
  CHECK(error_has("engine"));
  std::string other = "none";
  std::thread([&] { other = linkcast_last_error(); }).join();
  CHECK_EQ(other, "");
}

TEST(a_missing_folder_is_a_load_error) {
  linkcast_engine* opened = nullptr;
  CHECK_EQ(linkcast_engine_open("/nowhere", nullptr, &opened), LINKCAST_ERROR_LOAD);
  CHECK(opened == nullptr && error_has("/nowhere"));
}

TEST(a_bad_folder_leaves_the_present_models_and_is_logged) {
  linkcast::Engine own(bundle());
  const linkcast_model model = own.find("internet", LINKCAST_ROLE_FORECASTER);
  const float before = own.forecast(model, window()).mbps;
  std::vector<std::string> lines;
  const auto note = [](linkcast_log_level, const char* text, void* user) {
    static_cast<std::vector<std::string>*>(user)->push_back(text);
  };
  CHECK_EQ(linkcast_set_log(note, &lines, LINKCAST_LOG_ERROR), LINKCAST_OK);
  const Copy copy;
  copy.flip_a_bit("models/internet_lstm.tflite");
  CHECK_EQ(linkcast_engine_reload(own.get(), copy.folder().c_str()), LINKCAST_ERROR_LOAD);
  CHECK(error_has("internet_lstm.tflite"));
  CHECK_EQ(linkcast_set_log(nullptr, nullptr, LINKCAST_LOG_ERROR), LINKCAST_OK);
  CHECK_EQ(lines.size(), std::size_t{1});
  CHECK(lines[0].find("the present models stay") != std::string::npos);
  CHECK_EQ(own.forecast(model, window()).mbps, before);
}

TEST(a_stream_outlives_a_reload_and_its_engine_and_follows_when_asked) {
  auto own = std::make_unique<linkcast::Engine>(bundle());
  linkcast::Stream stream(*own, own->find("internet", LINKCAST_ROLE_FORECASTER));
  linkcast::Stream reference(engine(), internet());
  const auto push_both = [&] {
    const auto one = stream.push(kSample);
    const auto other = reference.push(kSample);
    CHECK_EQ(one.has_value(), other.has_value());
    if (one) CHECK_NEAR(one->mbps, other->mbps, 1e-3);
  };
  for (int tick = 0; tick < 12; ++tick) push_both();
  own->reload();
  CHECK_EQ(stream.describe().outdated, 1);
  push_both();
  stream.follow();
  CHECK_EQ(stream.describe().outdated, 0);
  CHECK_EQ(stream.describe().samples_in, 10U);
  push_both();
  own.reset();
  push_both();
}
