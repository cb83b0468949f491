// The C ABI from outside, through the shared library and its headers alone: what it answers. Misuse: test_c_abi_misuse.cpp.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "c_abi.h"
#include "check.h"

namespace {

/// (10, 8): the same with the calendar of midnight, Monday.
std::vector<float> group_window() {
  std::vector<float> values;
  for (int step = 0; step < 10; ++step) {
    values.insert(values.end(), kSample.begin(), kSample.end());
    values.insert(values.end(), {0.0F, 1.0F, 0.0F, 1.0F});
  }
  return values;
}

/// A copy of the bundle that a test may damage; removed at the end.
class Copy {
 public:
  Copy() {
    std::string name = (std::filesystem::temp_directory_path() / "linkcast_c_abi_XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("no temporary folder");
    folder_ = name;
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

TEST(forecasters_streams_and_controllers_run_at_the_precision_that_is_asked_for) {
  for (const char* precision : {"bfloat16", "int8"}) {
    linkcast_engine_options options = linkcast::Engine::default_options();
    options.precision = precision;
    linkcast::Engine reduced(bundle(), options);
    const linkcast_model model = reduced.find("internet", LINKCAST_ROLE_FORECASTER);
    const linkcast_model_info info = reduced.describe(model);
    CHECK_EQ(std::string(info.precision), precision);
    CHECK(info.proof_error > 0 && info.proof_error <= 5e-2);
    const bool gains = std::string(info.backend_reason).find("does not gain") == std::string::npos;
    CHECK_EQ(std::string(info.kernels).find("f32") == std::string::npos, gains);
    const std::string allocates = reduced.describe(reduced.find("internet", LINKCAST_ROLE_ALLOCATOR)).kernels;
    CHECK_EQ(allocates.rfind("f32", 0), std::size_t{0});
    // The range of the scaled target is a few Mbit/s on this link.
    CHECK_NEAR(reduced.forecast(model, window()).mbps, engine().forecast(internet(), window()).mbps, 0.2);
    linkcast::Stream stream(reduced, model);
    linkcast::Stream exact(engine(), internet());
    const linkcast_controller_options on_link = linkcast::Controller::default_options(100);
    linkcast::Controller controller(reduced, "internet", on_link);
    for (int tick = 0; tick < 20; ++tick) {
      std::vector<float> sample(kSample.begin(), kSample.end());
      sample[1] += std::sin(static_cast<float>(tick));
      const auto answer = stream.push(sample);
      const auto plain = exact.push(sample);
      const auto decision = controller.tick(sample, static_cast<std::uint64_t>(tick + 1) * 1'000'000'000U);
      if (!answer) continue;
      CHECK_NEAR(answer->mbps, plain->mbps, 0.2);
      CHECK_NEAR(decision.forecast_mbps, answer->mbps, 0.2);
    }
  }
}

TEST(a_precision_or_kernels_that_are_none_are_refused_by_name) {
  linkcast_engine_options options = linkcast::Engine::default_options();
  linkcast_engine* opened = nullptr;
  options.precision = "float16";
  CHECK_EQ(linkcast_engine_open(bundle().c_str(), &options, &opened), LINKCAST_ERROR_ARGUMENT);
  CHECK(error_has("precision: expected \"float32\", \"bfloat16\" or \"int8\", got \"float16\""));
  options.precision = nullptr;
  options.kernels = "f32_amz";
  CHECK_EQ(linkcast_engine_open(bundle().c_str(), &options, &opened), LINKCAST_ERROR_ARGUMENT);
  CHECK(error_has("kernels: expected one of those that run here"));
  CHECK(error_has("got \"f32_amz\""));
  const char* const before = std::getenv("LINKCAST_ISA");
  const std::string kept = before ? before : "";
  CHECK_EQ(setenv("LINKCAST_ISA", "mmx", 1), 0);
  const linkcast_status by_environment = linkcast_engine_open(bundle().c_str(), nullptr, &opened);
  CHECK_EQ(before ? setenv("LINKCAST_ISA", kept.c_str(), 1) : unsetenv("LINKCAST_ISA"), 0);
  CHECK_EQ(by_environment, LINKCAST_ERROR_ARGUMENT);
  CHECK(error_has("ISA: unknown name 'mmx'; supported: scalar"));
  CHECK(opened == nullptr);
}

TEST(a_window_on_two_cores_has_the_answer_of_one_and_a_reload_keeps_the_helper) {
  CHECK_EQ(std::string(engine().describe(internet()).second_core), "");
  linkcast_engine_options options = linkcast::Engine::default_options();
  options.second_core = "any";
  options.helper_spin_us = 20000;
  linkcast::Engine shared(bundle(), options);
  for (int loaded = 0; loaded < 2; ++loaded) {
    const std::string said = shared.describe(internet()).second_core;  // which of them is the machine's say
    CHECK(said.starts_with("two cores: a window takes ") || said.starts_with("one core: "));
    CHECK_EQ(std::string(shared.describe(allocator()).second_core), "");
    for (int k = 0; k < 50; ++k)
      CHECK_EQ(shared.forecast(internet(), window()).mbps, engine().forecast(internet(), window()).mbps);
    shared.reload(bundle());
  }
}

TEST(what_loading_may_take_is_an_option_and_no_other_number_than_seconds) {
  linkcast_engine_options options = linkcast::Engine::default_options();
  linkcast_engine* opened = nullptr;
  options.load_seconds = 1e-9;
  CHECK_EQ(linkcast_engine_open(bundle().c_str(), &options, &opened), LINKCAST_ERROR_LOAD);
  CHECK(error_has("over the limit of"));
  for (const double none : {-1.0, 1e7, std::nan("")}) {
    options.load_seconds = none;
    CHECK_EQ(linkcast_engine_open(bundle().c_str(), &options, &opened), LINKCAST_ERROR_ARGUMENT);
    CHECK(error_has("load_seconds: expected a number above 0 and up to 1e6"));
  }
  CHECK(opened == nullptr);
  options.load_seconds = 1000.0;
  linkcast::Engine slow(bundle(), options);
  CHECK(std::string(slow.describe(internet()).backend).size() > 0);
}

TEST(a_second_core_that_is_none_is_refused_with_those_that_there_are) {
  linkcast_engine_options options = linkcast::Engine::default_options();
  linkcast_engine* opened = nullptr;
  options.second_core = "4096";
  CHECK_EQ(linkcast_engine_open(bundle().c_str(), &options, &opened), LINKCAST_ERROR_ARGUMENT);
  CHECK(error_has("second_core: expected \"any\" or a CPU that this process may run on ("));
  CHECK(error_has("got \"4096\""));
  options.second_core = "any";
  options.helper_spin_us = 0;
  CHECK_EQ(linkcast_engine_open(bundle().c_str(), &options, &opened), LINKCAST_ERROR_ARGUMENT);
  CHECK(error_has("helper_spin_us: expected 1 to 60000000, got 0"));
  CHECK(opened == nullptr);
}

TEST(prepare_changes_no_answer_and_counts_nothing) {
  linkcast::Stream prepared(engine(), internet());
  linkcast::Stream plain(engine(), internet());
  const linkcast_controller_options options = linkcast::Controller::default_options(100);
  linkcast::Controller first(engine(), "internet", options);
  linkcast::Controller second(engine(), "internet", options);
  const auto calls = [](linkcast_model model) { return engine().stats(model).calls; };
  for (int tick = 0; tick < 20; ++tick) {
    std::vector<float> sample(kSample.begin(), kSample.end());
    sample[1] += std::sin(static_cast<float>(tick));
    const std::uint64_t before[] = {calls(internet()), calls(allocator())};
    prepared.prepare();
    first.prepare();
    CHECK_EQ(calls(internet()), before[0]);
    CHECK_EQ(calls(allocator()), before[1]);
    const auto one = prepared.push(sample);
    const auto other = plain.push(sample);
    CHECK_EQ(one.has_value(), other.has_value());
    if (one) CHECK(one->mbps == other->mbps);
    const auto now = static_cast<std::uint64_t>(tick + 1) * 1'000'000'000U;
    CHECK(first.tick(sample, now).allocation_mbps == second.tick(sample, now).allocation_mbps);
  }
  CHECK(first.snapshot() == second.snapshot());
}

TEST(a_model_is_prepared_without_a_trace_in_answers_or_statistics) {
  const std::vector<float> samples = window();
  const linkcast_model models[] = {internet(), allocator(), engine().find("streaming", LINKCAST_ROLE_FALLBACK)};
  const linkcast::Answer before = engine().forecast(internet(), samples);
  for (const linkcast_model model : models) {
    const linkcast_model_stats counted = engine().stats(model);
    for (int call = 0; call < 3; ++call) engine().prepare(model);
    const linkcast_model_stats now = engine().stats(model);
    CHECK_EQ(now.calls, counted.calls);
    CHECK(std::equal(std::begin(now.sources), std::end(now.sources), std::begin(counted.sources)));
    CHECK(std::equal(std::begin(now.causes), std::end(now.causes), std::begin(counted.causes)));
  }
  const linkcast::Answer after = engine().forecast(internet(), samples);
  CHECK(before.mbps == after.mbps && before.source == after.source);
  CHECK_EQ(linkcast_model_prepare(engine().get(), 99), LINKCAST_ERROR_ARGUMENT);
  CHECK(error_has("model: expected 0 to 13, got 99"));
  CHECK_EQ(linkcast_model_prepare(nullptr, 0), LINKCAST_ERROR_HANDLE);
}

TEST(what_the_kernels_were_chosen_from_can_be_read_with_its_times) {
  linkcast_engine_options options = LINKCAST_ENGINE_OPTIONS_INIT;
  options.precision = "int8";
  const linkcast::Engine reduced("", options);
  const linkcast_model model = reduced.find("internet", LINKCAST_ROLE_FORECASTER);
  const std::string kernels = reduced.describe(model).kernels;
  std::map<std::string, std::size_t> candidates;  // by call
  std::map<std::string, double> chosen, float32;  // us
  for (const linkcast_kernel_time& time : reduced.kernel_times(model)) {
    ++candidates[time.call];
    CHECK(time.us > 0);
    if (std::string(time.kernels).starts_with("f32")) float32.try_emplace(time.call, time.us);
    if (!time.runs) continue;
    CHECK(kernels.find(time.kernels) != std::string::npos);
    CHECK(chosen.try_emplace(time.call, time.us).second);
  }
  CHECK_EQ(candidates.size(), 4U);
  for (const char* call : {"step", "window", "few", "many"}) {
    CHECK(candidates[call] >= 2);
    CHECK(chosen.at(call) <= float32.at(call));  // an opt-in is never slower than the default
  }

  // Of float32 kernels that were asked for nothing is measured.
  options.precision = "float32";
  const std::string plain = std::string("f32_") + reduced.describe(model).isa;
  options.kernels = plain.c_str();
  const linkcast::Engine forced("", options);
  const auto times = forced.kernel_times(model);
  CHECK_EQ(times.size(), 4U);
  for (const linkcast_kernel_time& time : times) CHECK(time.runs == 1 && std::isnan(time.us) && time.kernels == plain);
  linkcast_kernel_time beyond = LINKCAST_KERNEL_TIME_INIT;
  CHECK_EQ(linkcast_model_kernel_time(forced.get(), model, 4, &beyond), LINKCAST_ERROR_ARGUMENT);
  CHECK(error_has("index: expected below 4, got 4"));
}

linkcast_stream_options model_alone() {
  linkcast_stream_options options = linkcast::Stream::default_options();
  options.mixture = 0;
  return options;
}

TEST(a_stream_gives_what_the_full_window_gives) {
  linkcast::Stream stream(engine(), internet(), 1, model_alone());
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

TEST(a_stream_with_a_mixture_tells_its_band_its_experts_and_what_is_further_ahead) {
  linkcast::Stream stream(engine(), internet());
  const std::vector<float> samples = window();
  CHECK(!stream.horizon(5));
  std::optional<linkcast::Answer> answer;
  for (std::size_t step = 0; step < 100; ++step) {
    answer = stream.push(linkcast::Floats(&samples[4 * (step % 10)], 4));
    stream.advance();
  }
  CHECK_EQ(answer->source, LINKCAST_SOURCE_MIXTURE);
  CHECK(answer->p10 <= answer->p50 && answer->p50 <= answer->p90);
  CHECK(answer->reserve > 0);
  CHECK(stream.peak(10)->mbps >= stream.horizon(10)->mbps);
  double sum = 0;
  for (const linkcast_expert& expert : stream.experts()) sum += expert.weight;
  CHECK_NEAR(sum, 1, 1e-9);
  CHECK_EQ(std::string(stream.experts()[0].name), "model");
  const linkcast_stream_info info = stream.describe();
  CHECK_EQ(info.horizon, 10U);
  CHECK_EQ(info.scored, 90U);
  CHECK(info.exceeded >= 0 && info.exceeded < 0.3);
  linkcast_answer out = LINKCAST_ANSWER_INIT;
  CHECK_EQ(linkcast_stream_horizon(stream.get(), 0, 11, &out), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(std::string(linkcast_last_error()), "steps: expected 1 to 10, got 11");
  CHECK_EQ(linkcast_stream_peak(stream.get(), 1, 1, &out), LINKCAST_ERROR_ARGUMENT);
  linkcast_expert expert = LINKCAST_EXPERT_INIT;
  CHECK_EQ(linkcast_stream_expert(stream.get(), 0, info.experts, &expert), LINKCAST_ERROR_ARGUMENT);
  expert.size = 1;
  CHECK_EQ(linkcast_stream_expert(stream.get(), 0, 0, &expert), LINKCAST_ERROR_STRUCT_SIZE);
}

TEST(rows_that_tick_together_give_what_each_gives_alone) {
  constexpr std::size_t kRows = 3;
  linkcast::Stream stream(engine(), internet(), kRows, model_alone());
  linkcast::Answers answers = linkcast::make_answers(kRows);
  for (std::size_t step = 0; step < 10; ++step) {
    std::vector<float> samples;
    for (std::size_t row = 0; row < kRows; ++row) {
      const std::vector<float> one = window(static_cast<float>(row));
      samples.insert(samples.end(), &one[4 * step], &one[4 * step] + 4);
    }
    const linkcast_result result = stream.push(samples, answers);
    stream.advance();
    CHECK_EQ(result.status, step < 9 ? LINKCAST_NOT_READY : LINKCAST_OK);
    CHECK_EQ(result.source, step < 9 ? LINKCAST_SOURCE_NONE : LINKCAST_SOURCE_MODEL);
    if (step < 9) CHECK(std::isnan(answers[0].mbps) && answers[0].source == LINKCAST_SOURCE_NONE);
  }
  for (std::size_t row = 0; row < kRows; ++row) {
    CHECK_EQ(answers[row].source, LINKCAST_SOURCE_MODEL);
    CHECK_NEAR(answers[row].mbps, engine().forecast(internet(), window(static_cast<float>(row))).mbps, 1e-3);
  }
  const std::array<std::uint8_t, kRows> present{1, 0, 1};
  std::vector<float> samples(4 * kRows, kNan);  // the row without a sample is not read
  for (const std::size_t row : {0U, 2U}) std::copy(kSample.begin(), kSample.end(), &samples[4 * row]);
  CHECK_EQ(stream.push(samples, answers, present.data()).status, LINKCAST_OK);
  CHECK_EQ(stream.describe(1).missing, std::uint64_t{1});
  CHECK_EQ(stream.describe(2).missing, std::uint64_t{0});

  linkcast::Stream other(engine(), internet(), kRows, model_alone());
  other.restore(stream.snapshot());
  linkcast::Answers again = linkcast::make_answers(kRows);
  CHECK_EQ(linkcast_stream_push(stream.get(), nullptr, 0, nullptr, 0, answers.data(), kRows, nullptr), LINKCAST_OK);
  CHECK_EQ(linkcast_stream_push(other.get(), nullptr, 0, nullptr, 0, again.data(), kRows, nullptr), LINKCAST_OK);
  for (std::size_t row = 0; row < kRows; ++row) CHECK_NEAR(answers[row].mbps, again[row].mbps, 1e-3);
  stream.reset(1);
  CHECK_EQ(stream.describe(0).samples_in, 10U);
  CHECK_EQ(stream.describe(1).samples_in, 0U);
  stream.reset();
  CHECK_EQ(stream.describe(0).samples_in, 0U);
  CHECK_EQ(stream.describe(0).rows, std::uint64_t{kRows});
}

TEST(answers_may_lie_further_apart_than_this_versions) {
  struct Later {
    linkcast_answer known;
    std::uint64_t added;
  };
  std::array<Later, 2> answers{};
  for (Later& answer : answers) answer = {LINKCAST_ANSWER_INIT, 17};
  for (Later& answer : answers) answer.known.size = sizeof answer;
  std::vector<float> windows = window();
  const std::vector<float> second = window(1);
  windows.insert(windows.end(), second.begin(), second.end());
  CHECK_EQ(linkcast_forecast(engine().get(), internet(), windows.data(), 80, 0, &answers[0].known, 2, nullptr),
           LINKCAST_OK);
  CHECK_NEAR(answers[1].known.mbps, engine().forecast(internet(), second).mbps, 1e-4);
  CHECK(answers[0].added == 17 && answers[1].added == 17 && answers[1].known.size == sizeof(Later));
  answers[1].known.size = sizeof(linkcast_answer);
  CHECK_EQ(linkcast_forecast(engine().get(), internet(), windows.data(), 80, 0, &answers[0].known, 2, nullptr),
           LINKCAST_ERROR_STRUCT_SIZE);
}

TEST(a_snapshot_goes_on_where_it_was_taken) {
  linkcast::Stream one(engine(), internet());
  for (int tick = 0; tick < 12; ++tick) one.push(kSample);
  linkcast::Stream two(engine(), internet());
  two.restore(one.snapshot());
  CHECK_NEAR(one.push(kSample)->mbps, two.push(kSample)->mbps, 1e-3);
}

TEST(a_row_moves_to_another_stream_and_goes_on_bit_for_bit) {
  linkcast::Stream three(engine(), internet(), 3);
  linkcast::Answers together = linkcast::make_answers(3);
  linkcast::Stream one(engine(), internet());
  std::vector<float> samples(3 * kSample.size());
  const auto fill = [&](int tick) {
    for (std::size_t k = 0; k < samples.size(); ++k)
      samples[k] =
          kSample[k % 4] * (k % 4 == 1 ? 1.0F + 0.1F * static_cast<float>((tick * 7 + static_cast<int>(k)) % 5) : 1.0F);
  };
  const auto of_row = [&](std::size_t row) {
    return std::vector<float>(samples.begin() + static_cast<std::ptrdiff_t>(4 * row),
                              samples.begin() + static_cast<std::ptrdiff_t>(4 * row + 4));
  };
  for (int tick = 0; tick < 25; ++tick) fill(tick), three.push(samples, together);
  for (int tick = 0; tick < 4; ++tick) one.push(kSample);  // to be forgotten
  one.restore_row(0, three.snapshot_row(1));
  for (int tick = 25; tick < 60; ++tick) {
    fill(tick);
    three.push(samples, together);
    const auto alone = one.push(of_row(1));
    CHECK(together[1].mbps == alone->mbps && together[1].p90_mbps == alone->p90);
  }
  std::size_t size = 0;
  CHECK_EQ(linkcast_stream_snapshot_row(three.get(), 3, nullptr, 0, &size), LINKCAST_ERROR_ARGUMENT);
  const auto all = three.snapshot();
  CHECK_EQ(linkcast_stream_restore_row(three.get(), 0, all.data(), all.size()), LINKCAST_ERROR_ARGUMENT);
}

TEST(a_missing_sample_is_held) {
  linkcast::Stream stream(engine(), internet());
  for (int tick = 0; tick < 10; ++tick) stream.push(kSample);
  CHECK(stream.push_missing().has_value());
  CHECK_EQ(stream.describe().held, 1U);
  CHECK_EQ(stream.describe().missing, std::uint64_t{1});
}

TEST(several_models_in_one_call_give_what_single_calls_give) {
  const std::array<linkcast_model, 2> models{engine().find("streaming", LINKCAST_ROLE_FORECASTER),
                                             engine().find("gaming", LINKCAST_ROLE_FORECASTER)};
  const std::vector<float> values = group_window();
  std::array<linkcast_request, 2> requests{};
  std::array<linkcast_result, 2> results{};
  linkcast::Answers answers = linkcast::make_answers(2);
  for (std::size_t k = 0; k < 2; ++k) {
    results[k] = LINKCAST_RESULT_INIT;
    requests[k] = LINKCAST_REQUEST_INIT;
    requests[k].model = models[k];
    requests[k].windows = values.data();
    requests[k].values = values.size();
    requests[k].answers = &answers[k];
    requests[k].count = 1;
    requests[k].result = &results[k];
  }
  engine().forecast_many(requests.data(), requests.size());
  for (std::size_t k = 0; k < 2; ++k) {
    CHECK_EQ(results[k].status, LINKCAST_OK);
    CHECK_EQ(answers[k].source, LINKCAST_SOURCE_MODEL);
    CHECK_EQ(answers[k].mbps, engine().forecast(models[k], values).mbps);
  }
  std::vector<float> bad = values;
  bad[5] = kNan;
  requests[1].windows = bad.data();
  engine().forecast_many(requests.data(), requests.size());
  CHECK_EQ(results[0].status, LINKCAST_OK);
  CHECK_EQ(results[1].status, LINKCAST_ERROR_NOT_FINITE);
  CHECK(std::isnan(answers[1].mbps));
}

TEST(raw_forecasts_are_the_models_numbers_and_are_not_counted) {
  std::vector<float> windows = window();
  const std::vector<float> second = window(5.0F);
  windows.insert(windows.end(), second.begin(), second.end());
  const auto answers_so_far = [] {
    const linkcast_model_stats stats = engine().stats(internet());
    return std::accumulate(std::begin(stats.sources), std::end(stats.sources), std::uint64_t{0});
  };
  const std::uint64_t before = answers_so_far();
  std::array<float, 2> raw{};
  engine().forecast_raw(internet(), windows, raw.data(), raw.size());
  CHECK_EQ(answers_so_far(), before);
  linkcast::Answers answers = linkcast::make_answers(2);
  engine().forecast(internet(), windows, answers);
  for (std::size_t row = 0; row < 2; ++row) {
    CHECK_EQ(answers[row].source, LINKCAST_SOURCE_MODEL);
    CHECK_EQ(raw[row], answers[row].mbps);
  }
  CHECK(raw[0] != raw[1]);
}

TEST(a_missed_deadline_is_answered_by_the_fallback) {
  const linkcast_model streaming = engine().find("streaming", LINKCAST_ROLE_FORECASTER);
  const linkcast::Answer forecast = engine().forecast(streaming, group_window(), 1);  // 1 ns
  CHECK_EQ(forecast.source, LINKCAST_SOURCE_FALLBACK);
  CHECK_EQ(forecast.cause, LINKCAST_CAUSE_DEADLINE);
  CHECK(std::isfinite(forecast.mbps));
  const linkcast_model_stats stats = engine().stats(streaming);
  CHECK(stats.sources[LINKCAST_SOURCE_FALLBACK] >= 1 && stats.causes[LINKCAST_CAUSE_DEADLINE] >= 1);
}

TEST(a_controller_goes_on_from_a_snapshot) {
  const linkcast_controller_options options = linkcast::Controller::default_options(100.0);
  linkcast::Controller controller(engine(), "internet", options);
  std::uint64_t now_ns = 0;
  for (int tick = 0; tick < 15; ++tick, now_ns += 1'000'000'000) controller.tick(kSample, now_ns);
  const std::vector<unsigned char> bytes = controller.snapshot();
  linkcast::Controller other(engine(), "internet", options);
  other.restore(bytes);
  const linkcast_decision expected = controller.tick(kSample, now_ns);
  const linkcast_decision decision = other.tick(kSample, now_ns);
  CHECK_EQ(decision.allocation_mbps, expected.allocation_mbps);
  CHECK_EQ(decision.reserve_mbps, expected.reserve_mbps);
  CHECK_EQ(other.stats().ticks, std::uint64_t{16});
  std::size_t size = 0;
  std::vector<unsigned char> few(8);
  CHECK_EQ(linkcast_controller_snapshot(controller.get(), few.data(), few.size(), &size), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(size, bytes.size());
  CHECK_EQ(linkcast_controller_snapshot(controller.get(), nullptr, 0, nullptr), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_controller_restore(controller.get(), nullptr, 8, 1), LINKCAST_ERROR_ARGUMENT);
  CHECK_EQ(linkcast_controller_restore(controller.get(), bytes.data(), 8, 0), LINKCAST_ERROR_ARGUMENT);
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
  linkcast::Controller controller = engine().controller("internet", 50.0);
  const linkcast_decision decision = controller.tick(over, 1);
  CHECK(decision.allocation_cause == LINKCAST_CAUSE_OVER_CAPACITY && decision.allocation_mbps == 50.0);
  CHECK(engine().stats(allocator()).causes[LINKCAST_CAUSE_OVER_CAPACITY] >= 1);
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
