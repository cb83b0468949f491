// Every kind of misuse of the C ABI, from outside: a status and a text, and nothing has changed.
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "c_abi.h"
#include "check.h"

TEST(wrong_handles_give_a_status) {
  linkcast::Stream stream(engine(), internet());
  const std::vector<float> values = window();
  linkcast_answer answer = LINKCAST_ANSWER_INIT;
  auto* garbage = reinterpret_cast<linkcast_engine*>(std::uintptr_t{0x123450});
  auto* wrong = reinterpret_cast<linkcast_engine*>(stream.get());
  int on_stack = 0;
  auto* foreign = reinterpret_cast<linkcast_engine*>(&on_stack);
  for (linkcast_engine* handle : {static_cast<linkcast_engine*>(nullptr), garbage, wrong, foreign}) {
    CHECK_EQ(linkcast_forecast(handle, 0, values.data(), values.size(), 0, &answer, 1, nullptr), LINKCAST_ERROR_HANDLE);
    CHECK_EQ(linkcast_forecast_many(handle, nullptr, 0, 0), LINKCAST_ERROR_HANDLE);
    CHECK_EQ(linkcast_engine_reload(handle, nullptr), LINKCAST_ERROR_HANDLE);
    std::size_t count = 0;
    CHECK_EQ(linkcast_model_count(handle, &count), LINKCAST_ERROR_HANDLE);
    linkcast_stream* opened = nullptr;
    CHECK_EQ(linkcast_stream_open(handle, 0, 1, nullptr, &opened), LINKCAST_ERROR_HANDLE);
    CHECK(opened == nullptr);
    CHECK_EQ(linkcast_stream_push(reinterpret_cast<linkcast_stream*>(handle == wrong ? garbage : handle),
                                  kSample.data(), 4, nullptr, 0, &answer, 1, nullptr),
             LINKCAST_ERROR_HANDLE);
    CHECK_EQ(linkcast_controller_advance(reinterpret_cast<linkcast_controller*>(handle)), LINKCAST_ERROR_HANDLE);
    if (handle) CHECK_EQ(linkcast_engine_close(handle), LINKCAST_ERROR_HANDLE);
  }
  CHECK_EQ(linkcast_engine_close(nullptr), LINKCAST_OK);
  CHECK_EQ(linkcast_stream_close(nullptr), LINKCAST_OK);
}

TEST(a_closed_handle_gives_a_status_even_when_its_place_is_taken) {
  linkcast_stream* closed = nullptr;
  CHECK_EQ(linkcast_stream_open(engine().get(), internet(), 1, nullptr, &closed), LINKCAST_OK);
  CHECK_EQ(linkcast_stream_close(closed), LINKCAST_OK);
  linkcast::Stream next(engine(), internet());
  CHECK_EQ(linkcast_stream_close(closed), LINKCAST_ERROR_HANDLE);
  CHECK_EQ(linkcast_stream_advance(closed), LINKCAST_ERROR_HANDLE);
  CHECK_EQ(linkcast_stream_advance(next.get()), LINKCAST_OK);
}

TEST(null_pointers_give_a_status) {
  linkcast_engine* handle = engine().get();
  const std::vector<float> values = window();
  linkcast_answer answer = LINKCAST_ANSWER_INIT;
  std::int32_t action = 0;
  linkcast_model model = 0;
  CHECK_EQ(linkcast_engine_open(nullptr, nullptr, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_model_count(handle, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_model_find(handle, nullptr, LINKCAST_ROLE_ANY, &model), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_model_find(handle, "internet", LINKCAST_ROLE_FORECASTER, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_model_describe(handle, 0, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_model_kernel_time(handle, 0, 0, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_model_read_stats(handle, 0, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_forecast(handle, internet(), nullptr, 40, 0, &answer, 1, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_forecast(handle, internet(), values.data(), 40, 0, nullptr, 1, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_forecast_many(handle, nullptr, 1, 0), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_forecast_raw(handle, internet(), nullptr, 40, &answer.mbps, 1), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_forecast_raw(handle, internet(), values.data(), 40, nullptr, 1), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_decide(handle, allocator(), nullptr, 4, &action, 1, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_decide(handle, allocator(), kSample.data(), 4, nullptr, 1, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_stream_open(handle, internet(), 1, nullptr, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_controller_open(handle, nullptr, nullptr, nullptr), LINKCAST_ERROR_ARGUMENT);
  linkcast::Stream stream(engine(), internet());
  CHECK_EQ(linkcast_stream_push(stream.get(), kSample.data(), 4, nullptr, 0, nullptr, 1, nullptr),
           LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_stream_describe(stream.get(), 0, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_stream_snapshot(stream.get(), nullptr, 0, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_stream_restore(stream.get(), nullptr, 8), LINKCAST_ERROR_ARGUMENT);
  linkcast::Controller controller(engine(), "internet", linkcast::Controller::default_options(10.0));
  CHECK_EQ(linkcast_controller_tick(controller.get(), kSample.data(), 4, 1, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_controller_read_stats(controller.get(), nullptr), LINKCAST_ERROR_ARGUMENT);
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
  linkcast_answer answer = LINKCAST_ANSWER_INIT;
  std::int32_t action = 0;
  linkcast_engine* handle = engine().get();
  CHECK_EQ(linkcast_forecast(handle, -1, values.data(), 40, 0, &answer, 1, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_forecast(handle, 14, values.data(), 40, 0, &answer, 1, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_forecast(handle, internet(), values.data(), 36, 0, &answer, 1, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK(error_has("40") && error_has("36"));
  CHECK_EQ(linkcast_forecast(handle, internet(), values.data(), 0, 0, &answer, 0, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_forecast(handle, allocator(), values.data(), 4, 0, &answer, 1, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_forecast_raw(handle, internet(), values.data(), 40, &answer.mbps, 2), LINKCAST_ERROR_ARGUMENT);
  CHECK(error_has("80") && error_has("40"));
  CHECK_EQ(linkcast_forecast_raw(handle, allocator(), values.data(), 4, &answer.mbps, 1), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_decide(handle, internet(), values.data(), 40, &action, 1, nullptr), LINKCAST_ERROR_ARGUMENT);
  linkcast_stream* stream = nullptr;
  CHECK_EQ(linkcast_stream_open(handle, allocator(), 1, nullptr, &stream), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_stream_open(handle, internet(), 0, nullptr, &stream), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_stream_open(handle, internet(), LINKCAST_MAX_BATCH + 1, nullptr, &stream), LINKCAST_ERROR_ARGUMENT);
  linkcast_stream_options stand_in = linkcast::Stream::default_options();
  stand_in.stand_in = LINKCAST_SOURCE_MODEL;
  CHECK_EQ(linkcast_stream_open(handle, internet(), 1, &stand_in, &stream), LINKCAST_ERROR_ARGUMENT);
  CHECK(error_has("LINKCAST_SOURCE_FORECAST_MEAN"));
  linkcast::Stream two_rows(engine(), internet(), 2);
  CHECK_EQ(linkcast_stream_push(two_rows.get(), values.data(), 8, nullptr, 0, &answer, 1, nullptr),
           LINKCAST_ERROR_ARGUMENT);
  CHECK(error_has("expected 2 answers, got 1"));
  CHECK_EQ(linkcast_stream_reset(two_rows.get(), 2), LINKCAST_ERROR_ARGUMENT);
  linkcast_stream_info row_info = LINKCAST_STREAM_INFO_INIT;
  CHECK_EQ(linkcast_stream_describe(two_rows.get(), 2, &row_info), LINKCAST_ERROR_ARGUMENT);
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
  linkcast_answer answer = LINKCAST_ANSWER_INIT;
  std::int32_t action = 0;
  for (const float bad : {kNan, std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
    values[17] = bad;
    CHECK_EQ(linkcast_forecast(engine().get(), internet(), values.data(), 40, 0, &answer, 1, nullptr),
             LINKCAST_ERROR_NOT_FINITE);
    CHECK(error_has("17"));
    CHECK_EQ(linkcast_forecast_raw(engine().get(), internet(), values.data(), 40, &answer.mbps, 1),
             LINKCAST_ERROR_NOT_FINITE);
    const std::array<float, 4> state{20.0F, bad, 0.0F, 1.0F};
    CHECK_EQ(linkcast_decide(engine().get(), allocator(), state.data(), 4, &action, 1, nullptr),
             LINKCAST_ERROR_NOT_FINITE);
    linkcast::Stream stream(engine(), internet());
    for (int tick = 0; tick < 9; ++tick) stream.push(kSample);
    CHECK_EQ(linkcast_stream_push(stream.get(), state.data(), 4, nullptr, 0, &answer, 1, nullptr),
             LINKCAST_ERROR_NOT_FINITE);
    CHECK_EQ(stream.describe().samples_in, 9U);
    linkcast::Controller controller(engine(), "internet", linkcast::Controller::default_options(10.0));
    linkcast_decision decision = LINKCAST_DECISION_INIT;
    CHECK_EQ(linkcast_controller_tick(controller.get(), state.data(), 4, 1, &decision), LINKCAST_ERROR_NOT_FINITE);
  }
}

TEST(values_in_other_units_give_a_status_that_says_what_they_look_like) {
  std::vector<float> values = window();
  values[39] = 99.8F;
  linkcast_answer answer = LINKCAST_ANSWER_INIT;
  std::int32_t action = 0;
  CHECK_EQ(linkcast_forecast(engine().get(), internet(), values.data(), 40, 0, &answer, 1, nullptr),
           LINKCAST_ERROR_UNIT);
  CHECK(error_has("reliability: expected a fraction 0..1, got 99.8 (percent?) at position 39"));
  const std::array<float, 4> percent{28.0F, 12.5F, 5.0F, 1.0F};
  CHECK_EQ(linkcast_decide(engine().get(), allocator(), percent.data(), 4, &action, 1, nullptr), LINKCAST_ERROR_UNIT);
  const std::array<float, 4> bits{28.0F, 12.5e6F, 0.0F, 1.0F};
  CHECK_EQ(linkcast_decide(engine().get(), allocator(), bits.data(), 4, &action, 1, nullptr), LINKCAST_ERROR_UNIT);
  CHECK(error_has("(bit/s?)"));
  linkcast::Stream stream(engine(), internet());
  CHECK_EQ(linkcast_stream_push(stream.get(), percent.data(), 4, nullptr, 0, &answer, 1, nullptr), LINKCAST_ERROR_UNIT);
  CHECK_EQ(stream.describe().ticks, 0U);
  linkcast::Stream rows(engine(), internet(), 2);
  std::array<float, 8> two{28.0F, 12.5F, 0.0F, 1.0F, 28.0F, 12.5F, 5.0F, 1.0F};
  const std::array<std::uint8_t, 2> present{1, 0};
  std::array<linkcast_answer, 2> answers{linkcast_answer LINKCAST_ANSWER_INIT, linkcast_answer LINKCAST_ANSWER_INIT};
  CHECK_EQ(linkcast_stream_push(rows.get(), two.data(), 8, nullptr, 0, answers.data(), 2, nullptr),
           LINKCAST_ERROR_UNIT);
  CHECK_EQ(linkcast_stream_push(rows.get(), two.data(), 8, present.data(), 0, answers.data(), 2, nullptr),
           LINKCAST_NOT_READY);  // the row of the bad value is not read
  // Of several requests the one in other units fails alone.
  linkcast_result result = LINKCAST_RESULT_INIT;
  linkcast_request request{sizeof request, internet(), values.data(), 40, &answer, 1, &result};
  CHECK_EQ(linkcast_forecast_many(engine().get(), &request, 1, 0), LINKCAST_OK);
  CHECK_EQ(result.status, LINKCAST_ERROR_UNIT);
  CHECK(std::isnan(answer.mbps));
  linkcast::Controller controller(engine(), "internet", linkcast::Controller::default_options(10.0));
  linkcast_decision decision = LINKCAST_DECISION_INIT;
  CHECK_EQ(linkcast_controller_tick(controller.get(), percent.data(), 4, 1, &decision), LINKCAST_ERROR_UNIT);
  const std::array<float, 4> much{28.0F, 101.0F, 0.0F, 1.0F};
  CHECK_EQ(linkcast_controller_tick(controller.get(), much.data(), 4, 1, &decision), LINKCAST_ERROR_UNIT);
  CHECK(error_has("10 times the link's capacity of 10 Mbit/s, got 101"));
  CHECK_EQ(controller.stats().ticks, 0U);
  CHECK_EQ(std::string(linkcast_status_name(LINKCAST_ERROR_UNIT)), "value not in its unit");
}

TEST(structs_of_another_size_give_a_status_or_their_part) {
  linkcast_engine* opened = nullptr;
  linkcast_engine_options options = linkcast::Engine::default_options();
  const std::size_t first = offsetof(linkcast_engine_options, public_key);  // in 0.1.0
  for (const std::size_t size : {std::size_t{0}, sizeof(std::size_t), first - 8, sizeof options + 100000}) {
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
  CHECK_EQ(linkcast_stream_open(engine().get(), internet(), 1, &later.known, &stream), LINKCAST_OK);
  CHECK_EQ(linkcast_stream_close(stream), LINKCAST_OK);
  later.added = 1;
  CHECK_EQ(linkcast_stream_open(engine().get(), internet(), 1, &later.known, &stream), LINKCAST_ERROR_STRUCT_SIZE);

  const std::vector<float> values = window();
  linkcast_answer answer = LINKCAST_ANSWER_INIT;
  linkcast_result result{};
  CHECK_EQ(linkcast_forecast(engine().get(), internet(), values.data(), 40, 0, &answer, 1, &result),
           LINKCAST_ERROR_STRUCT_SIZE);
  linkcast_model_info info{};
  CHECK_EQ(linkcast_model_describe(engine().get(), 0, &info), LINKCAST_ERROR_STRUCT_SIZE);
  linkcast_kernel_time time{};
  CHECK_EQ(linkcast_model_kernel_time(engine().get(), 0, 0, &time), LINKCAST_ERROR_STRUCT_SIZE);
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
