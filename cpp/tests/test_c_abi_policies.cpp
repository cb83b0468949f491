// Routes, compression levels and the controller's word on trouble, through the C ABI; the rules themselves are tested in
// test_route.cpp, test_compression.cpp, test_congestion.cpp and test_controller.cpp.
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "linkcast/linkcast.hpp"

namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

bool error_has(const std::string& part) { return std::string(linkcast_last_error()).find(part) != std::string::npos; }

linkcast::Answer forecast(float mbps, float p10, float p50, float p90) {
  return {mbps, p10, p50, p90, LINKCAST_SOURCE_MIXTURE, LINKCAST_CAUSE_NONE, 0, kNone};
}

}  // namespace

TEST(a_route_is_kept_for_its_stay_and_left_for_a_clearly_better_one) {
  linkcast_route_options options = linkcast::Route::default_options();
  options.margin = 0.25;
  linkcast::Route route(2, options);
  CHECK_EQ(route.choose({8.0F, 4.0F}, 0).path, 0);
  const linkcast_route_choice waiting = route.choose({8.0F, 40.0F}, 9 * kSecond);
  CHECK_EQ(waiting.path, 0);
  CHECK_EQ(waiting.staying, 1);
  CHECK_EQ(route.choose({8.0F, 10.0F}, 10 * kSecond).path, 0);  // 8 * 1.25 is not above 10
  const linkcast_route_choice left = route.choose({9.0F, 8.0F, 20.0F, 12.0F}, 11 * kSecond);
  CHECK_EQ(left.path, 1);
  CHECK_EQ(left.changed, 1);
  CHECK_EQ(left.mbps, 12.0);
  CHECK_EQ(route.choose({kNone, kNone}, 20 * kSecond).path, -1);
}

TEST(wrong_calls_of_a_route_give_a_status) {
  linkcast_route* opened = nullptr;
  CHECK_EQ(linkcast_route_open(0, nullptr, &opened), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_route_open(2, nullptr, nullptr), LINKCAST_ERROR_ARGUMENT);
  linkcast_route_options options = linkcast::Route::default_options();
  options.margin = -1;
  CHECK_EQ(linkcast_route_open(2, &options, &opened), LINKCAST_ERROR_ARGUMENT);
  CHECK(error_has("margin: expected 0 or more"));
  options.size = 8;
  CHECK_EQ(linkcast_route_open(2, &options, &opened), LINKCAST_ERROR_STRUCT_SIZE);
  CHECK_EQ(linkcast_route_open(2, nullptr, &opened), LINKCAST_OK);
  linkcast_route_choice choice = LINKCAST_ROUTE_CHOICE_INIT;
  const std::array<float, 3> p10{1, 2, 3};
  CHECK_EQ(linkcast_route_choose(opened, p10.data(), 3, 5, &choice), LINKCAST_ERROR_ARGUMENT);
  CHECK(error_has("expected a multiple of 2 paths, got 3"));
  CHECK_EQ(linkcast_route_choose(opened, nullptr, 2, 5, &choice), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_route_choose(opened, p10.data(), 2, 5, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_route_choose(opened, p10.data(), 2, 5, &choice), LINKCAST_OK);
  CHECK_EQ(linkcast_route_choose(opened, p10.data(), 2, 4, &choice), LINKCAST_ERROR_ARGUMENT);
  CHECK(error_has("does not go back"));
  choice.size = 4;
  CHECK_EQ(linkcast_route_choose(opened, p10.data(), 2, 6, &choice), LINKCAST_ERROR_STRUCT_SIZE);
  CHECK_EQ(linkcast_stream_advance(reinterpret_cast<linkcast_stream*>(opened)), LINKCAST_ERROR_HANDLE);
  CHECK_EQ(linkcast_route_close(opened), LINKCAST_OK);
  CHECK_EQ(linkcast_route_close(opened), LINKCAST_ERROR_HANDLE);
  CHECK_EQ(linkcast_route_choose(opened, p10.data(), 2, 6, &choice), LINKCAST_ERROR_HANDLE);
  CHECK(error_has("route: expected an open one"));
  CHECK_EQ(linkcast_route_close(nullptr), LINKCAST_OK);
}

TEST(the_codec_with_the_least_transfer_time_is_chosen) {
  // 8 Mbit one after the other: at 2 Mbit/s 4, 2.05, 1.81 s; at 10 0.8, 0.45, 0.53 s.
  const std::vector<linkcast_codec> codecs{linkcast::make_codec(0.5, 200, 800), linkcast::make_codec(0.4, 40, 800)};
  linkcast_compression_options options = LINKCAST_COMPRESSION_OPTIONS_INIT;
  options.overlap = 0;
  const auto careful = linkcast::choose_compression(codecs, 1'000'000, forecast(10, 2, 10, 1000), options);
  CHECK(careful.has_value());
  CHECK_EQ(careful->codec, 1);
  CHECK_NEAR(careful->seconds, 1.81, 1e-9);
  CHECK_NEAR(careful->seconds_p50, 0.2 + 0.32 + 0.01, 1e-9);
  options.by = LINKCAST_QUANTILE_P50;
  const auto median = linkcast::choose_compression(codecs, 1'000'000, forecast(10, 2, 10, 1000), options);
  CHECK_EQ(median->codec, 0);
  CHECK_NEAR(median->seconds, 0.45, 1e-9);
  CHECK(!linkcast::choose_compression(codecs, 1, forecast(kNone, kNone, kNone, kNone)).has_value());
  CHECK_EQ(linkcast::choose_compression({}, 1'000'000, forecast(8, 8, 8, 8))->seconds, 1.0);
}

TEST(wrong_calls_of_compression_give_a_status) {
  linkcast_codec codec = linkcast::make_codec(0.5, 200, 800);
  linkcast_answer band = LINKCAST_ANSWER_INIT;
  linkcast_compression_choice choice = LINKCAST_COMPRESSION_CHOICE_INIT;
  CHECK_EQ(linkcast_compression_choose(&codec, 1, 1, nullptr, nullptr, &choice), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_compression_choose(&codec, 1, 1, &band, nullptr, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_compression_choose(nullptr, 1, 1, &band, nullptr, &choice), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_compression_choose(&codec, 65, 1, &band, nullptr, &choice), LINKCAST_ERROR_ARGUMENT);
  linkcast_compression_options options = LINKCAST_COMPRESSION_OPTIONS_INIT;
  options.by = static_cast<linkcast_quantile>(90);
  CHECK_EQ(linkcast_compression_choose(&codec, 1, 1, &band, &options, &choice), LINKCAST_ERROR_ARGUMENT);
  CHECK(error_has("got 90"));
  codec.ratio = 0;
  CHECK_EQ(linkcast_compression_choose(&codec, 1, 1, &band, nullptr, &choice), LINKCAST_ERROR_ARGUMENT);
  CHECK(error_has("for codec 0"));
  codec.size = 8;
  CHECK_EQ(linkcast_compression_choose(&codec, 1, 1, &band, nullptr, &choice), LINKCAST_ERROR_STRUCT_SIZE);
}

TEST(a_decision_says_whether_its_link_is_congested_or_silent_and_older_structs_are_taken) {
  const char* folder = std::getenv("LINKCAST_BUNDLE");
  linkcast::Engine engine(folder ? folder : "");
  linkcast_controller_options options = linkcast::Controller::default_options(50);
  for (const bool full : {true, false}) {
    linkcast::Controller controller(engine, "internet", options);
    linkcast_decision decision = LINKCAST_DECISION_INIT;
    std::uint64_t second = 1;
    for (; second < 20; ++second) decision = controller.tick({40.0F, 5.0F, 0.0F, 1.0F}, second * kSecond);
    CHECK_EQ(decision.limits & (LINKCAST_LIMIT_CONGESTED | LINKCAST_LIMIT_SILENT), 0U);
    const float carried = full ? static_cast<float>(decision.allocation_mbps) : 0.0F;
    decision = controller.tick({400.0F, carried, 0.0F, 1.0F}, second * kSecond);
    CHECK_NEAR(decision.queue_ms, 360, 1e-9);
    CHECK_EQ(decision.limits & (LINKCAST_LIMIT_CONGESTED | LINKCAST_LIMIT_SILENT),
             full ? LINKCAST_LIMIT_CONGESTED : LINKCAST_LIMIT_SILENT);
    linkcast_decision before = LINKCAST_DECISION_INIT;  // as a program of before queue_ms has it
    before.size = offsetof(linkcast_decision, queue_ms);
    before.queue_ms = -1;
    CHECK_EQ(linkcast_controller_tick(controller.get(), nullptr, 0, (second + 1) * kSecond, &before), LINKCAST_OK);
    CHECK_EQ(before.queue_ms, -1.0);
  }
  linkcast_controller* opened = nullptr;
  options.stall_cut = 7;
  CHECK_EQ(linkcast_controller_open(engine.get(), "internet", &options, &opened), LINKCAST_ERROR_ARGUMENT);
  CHECK(error_has("stall_cut: expected 0..1, got 7"));
  options.size = offsetof(linkcast_controller_options, queue_ms);  // what follows is not read
  CHECK_EQ(linkcast_controller_open(engine.get(), "internet", &options, &opened), LINKCAST_OK);
  CHECK_EQ(linkcast_controller_close(opened), LINKCAST_OK);
}
