// Expected forecasts come from whole windows, run by the engine and by TensorFlow Lite's own kernels.
#include "engine/stream.h"

#include <array>
#include <cmath>
#include <cstring>
#include <deque>
#include <limits>

#include "bundle.h"
#include "check.h"

using namespace linkcast;

namespace {

constexpr std::size_t kFeatures = 4;
constexpr std::size_t kWindow = 10;

std::size_t internet() { return bundle().find("internet", Role::forecaster); }

/// Streams that answer with the model's own forecast, which is what is compared here; test_mixture.cpp has the others.
Stream::Options model_alone(std::size_t most_held = 3) {
  Stream::Options options;
  options.most_held = most_held;
  options.mixture = false;
  return options;
}

Stream open_stream(std::size_t most_held = 3) {
  const Stream::Options options = model_alone(most_held);
  return Stream(bundle(), internet(), options);
}

float whole_window(Engine& engine, std::size_t model, const double* window) {
  float forecast = 0;
  engine.forecast_raw(model, window, 1, &forecast);
  return forecast;
}

/// The forecast of the window that ends with sample `last`.
float expected(const std::vector<double>& samples, std::size_t last) {
  return whole_window(bundle(), internet(), samples.data() + (last + 1 - kWindow) * kFeatures);
}

/// One tick of a stream of one row; null: without a sample. @return whether its window is full
template <class Real>
bool push(Stream& stream, const Real* sample, float* mbps) {
  Answer answer;
  const bool full = stream.push(sample, nullptr, &answer) == 1;
  CHECK_EQ(full, answer.source != Source::none);
  *mbps = answer.mbps;
  return full;
}

bool push_missing(Stream& stream, float* mbps) { return push<double>(stream, nullptr, mbps); }

/// Pushes samples first..last and returns the last forecast.
float push_all(Stream& stream, const std::vector<double>& samples, std::size_t first, std::size_t last) {
  float forecast = 0;
  for (std::size_t k = first; k <= last; ++k) push(stream, samples.data() + k * kFeatures, &forecast);
  return forecast;
}

}  // namespace

TEST(every_push_of_ten_thousand_equals_the_full_window) {
  constexpr std::size_t kTicks = 10'000;
  Engine& engine = bundle();
  Stream stream = open_stream();
  const auto samples = telemetry(engine, internet(), kTicks, 1);
  CHECK_EQ(std::string(stream.mode()), engine.model(internet()).network() ? "incremental" : "window");
  for (std::size_t k = 0; k < kTicks; ++k) {
    float forecast = 0;
    const bool ready = push(stream, samples.data() + k * kFeatures, &forecast);
    if (k % 3) stream.advance();  // a push does it when nobody else did
    CHECK_EQ(ready, k + 1 >= kWindow);
    if (!ready) CHECK(std::isnan(forecast));
    if (ready) CHECK_NEAR(forecast, expected(samples, k), tolerance(engine, internet()));
  }
  CHECK_EQ(stream.ticks(), kTicks);
}

TEST(every_push_equals_the_full_window_on_tensorflow_lite) {
  Engine tflite = open_bundle(Backend::tflite);
  for (const char* name : {"internet_lstm", "streaming_model"}) {
    const std::size_t model = bundle().find(name);
    const std::size_t features = bundle().spec(model).features.size();
    Stream stream(bundle(), model, model_alone());
    Stream window(tflite, model, model_alone());
    CHECK_EQ(std::string(window.mode()), "window");
    CHECK(window.mode_reason().find("TensorFlow Lite") != std::string::npos);
    const auto samples = telemetry(bundle(), model, 100, 2);
    for (std::size_t k = 0; k < 100; ++k) {
      float forecast = 0;
      float by_window = 0;
      const bool ready = push(stream, samples.data() + k * features, &forecast);
      CHECK_EQ(push(window, samples.data() + k * features, &by_window), ready);
      if (!ready) continue;
      const float whole = whole_window(tflite, model, samples.data() + (k + 1 - kWindow) * features);
      CHECK_NEAR(forecast, whole, 2 * tolerance(bundle(), model));  // two sums, each 1e-6 from the exact one
      CHECK_NEAR(by_window, whole, tolerance(bundle(), model));
    }
  }
}

namespace {

/// Logarithms, references and plain ranges, mixed; the model is what it is, so only the agreement says something.
const char* const kTransforms = R"({"features": {
  "latency_ms": {"min": 0, "max": 6, "log_offset": 1},
  "bandwidth_mbps": {"min": -2, "max": 2, "log_offset": 0.01, "relative_to": "first", "share": 0.8},
  "packet_loss": {"min": 0, "max": 2},
  "reliability": {"min": -1, "max": 1, "relative_to": "first"}},
  "target": {"min": -1.5, "max": 1, "log_offset": 0.02, "relative_to": "last"}})";

/// (count, kFeatures) random values, of latency and bandwidth from 15 to 25, fractions from 0 to 1: all transforms stay
/// within 0..1.
std::vector<double> values_around_20(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform(15, 25);
  std::vector<double> samples(count * kFeatures);
  for (std::size_t k = 0; k < samples.size(); ++k)
    samples[k] = k % kFeatures < 2 ? uniform(random) : (uniform(random) - 15) / 10;
  return samples;
}

/// The scaled output for a window and what it stands for, from the formulas of metadata/schema/scalers.schema.json.
double transformed_forecast(Engine& engine, std::size_t model, const double* window) {
  std::vector<float> scaled;
  for (std::size_t k = 0; k < kWindow; ++k) {
    const double* x = window + k * kFeatures;
    scaled.push_back(static_cast<float>(std::log(x[0] + 1) / 6));
    scaled.push_back(static_cast<float>((std::log(x[1] + 0.01) - 0.8 * std::log(window[1] + 0.01) + 2) / 4));
    scaled.push_back(static_cast<float>(x[2] / 2));
    scaled.push_back(static_cast<float>((x[3] - window[3] + 1) / 2));
  }
  std::copy(scaled.begin(), scaled.end(), engine.model(model).batch_input(1).get());
  const auto output = static_cast<double>(engine.model(model).invoke_batch(1)[0]);
  const double last = window[(kWindow - 1) * kFeatures + 1];
  return std::max((last + 0.02) * std::exp(output * 2.5 - 1.5) - 0.02, 0.0);
}

}  // namespace

TEST(every_push_of_ten_thousand_equals_the_full_window_with_logarithms_and_references) {
  constexpr std::size_t kTicks = 10'000;
  BundleCopy copy;
  copy.set_scalers("internet_lstm", kTransforms);
  Engine engine(copy.folder(), {});
  Engine tflite = [&] {
    Model::Options options;
    options.backend = Backend::tflite;
    return Engine(copy.folder(), options);
  }();
  const std::size_t model = engine.find("internet_lstm");
  Stream::Options any = model_alone();
  any.safeguard.plausible_margin = 1e9;
  Stream stream(engine, model, any);
  Stream window(tflite, model, any);
  CHECK_EQ(std::string(window.mode()), "window");
  Stream three_rows(engine, model, any, 3);
  const auto samples = values_around_20(kTicks, 13);
  for (std::size_t k = 0; k < kTicks; ++k) {
    const double* sample = samples.data() + k * kFeatures;
    float forecast = 0;
    const bool ready = push(stream, sample, &forecast);
    if (k % 3) stream.advance();
    CHECK_EQ(ready, k + 1 >= kWindow);
    std::vector<double> three(sample, sample + kFeatures);  // the same link, and two of its past
    for (const std::size_t before : {100U, 200U})
      three.insert(three.end(), samples.data() + (k < before ? 0 : k - before) * kFeatures,
                   samples.data() + (k < before ? 1 : k - before + 1) * kFeatures);
    Answer answers[3];
    if (k < 2'000) three_rows.push(three.data(), nullptr, answers);
    float by_window = 0;
    if (k < 200) push(window, sample, &by_window);
    if (!ready) continue;
    const double* begin = sample - (kWindow - 1) * kFeatures;
    const double wanted = transformed_forecast(engine, model, begin);
    CHECK_NEAR(forecast, wanted, tolerance(engine, model, wanted));
    CHECK_NEAR(whole_window(engine, model, begin), wanted, tolerance(engine, model, wanted));
    if (k < 200) CHECK_NEAR(by_window, wanted, 2 * tolerance(engine, model, wanted));
    if (k < 2'000) CHECK_NEAR(answers[0].mbps, wanted, tolerance(engine, model, wanted));
    if (k < 2'000 && k >= 200 + kWindow) {
      const double past = transformed_forecast(engine, model, begin - 200 * kFeatures);
      CHECK_NEAR(answers[2].mbps, past, tolerance(engine, model, past));
    }
  }
}

TEST(with_references_held_samples_resets_and_snapshots_stay_right) {
  BundleCopy copy;
  copy.set_scalers("internet_lstm", kTransforms);
  Engine engine(copy.folder(), {});
  const std::size_t model = engine.find("internet_lstm");
  const auto samples = values_around_20(400, 14);
  Stream::Options any = model_alone();
  any.safeguard.plausible_margin = 1e9;
  Stream stream(engine, model, any);
  std::vector<double> window;  // what the stream should have seen since it was empty
  std::mt19937 random(15);
  std::size_t compared = 0;
  for (std::size_t k = 0; k < 400; ++k) {
    const double* sample = samples.data() + k * kFeatures;
    float forecast = 0;
    const bool missing = random() % 8 == 0 && !window.empty();
    if (missing) {
      push_missing(stream, &forecast);
      const std::vector<double> last(window.end() - kFeatures, window.end());
      window.insert(window.end(), last.begin(), last.end());
    } else {
      push(stream, sample, &forecast);
      window.insert(window.end(), sample, sample + kFeatures);
    }
    if (stream.samples_in() == 0) window.clear();  // too many were missing
    CHECK_EQ(stream.ready(), window.size() >= kWindow * kFeatures);
    if (stream.ready()) {
      const double wanted = transformed_forecast(engine, model, window.data() + window.size() - kWindow * kFeatures);
      CHECK_NEAR(forecast, wanted, tolerance(engine, model, wanted));
      ++compared;
    }
    if (k % 5 == 0) {  // goes on where it was, after other things
      const auto snapshot = stream.snapshot();
      push_all(stream, samples, 100, 100 + k % 23);
      stream.restore(snapshot.data(), snapshot.size());
    }
    if (random() % 60 == 0) {
      stream.reset();
      window.clear();
    }
  }
  CHECK(compared > 150);
}

TEST(samples_may_be_float32) {
  Stream stream = open_stream();
  Stream wide = open_stream();
  const auto samples = telemetry(bundle(), internet(), 12, 3);
  for (std::size_t k = 0; k < 12; ++k) {
    const std::vector<float> sample(samples.begin() + static_cast<std::ptrdiff_t>(k * kFeatures),
                                    samples.begin() + static_cast<std::ptrdiff_t>((k + 1) * kFeatures));
    const std::vector<double> same(sample.begin(), sample.end());
    float a = 0;
    float b = 0;
    CHECK_EQ(push(stream, sample.data(), &a), push(wide, same.data(), &b));
    CHECK(a == b || (std::isnan(a) && std::isnan(b)));
  }
}

TEST(a_missing_tick_holds_the_last_sample) {
  Stream stream = open_stream();
  auto samples = telemetry(bundle(), internet(), 14, 4);
  for (const std::size_t k : {11, 12})  // what the stream should put in their place
    std::copy_n(samples.begin() + 10 * kFeatures, kFeatures,
                samples.begin() + static_cast<std::ptrdiff_t>(k * kFeatures));
  push_all(stream, samples, 0, 10);
  float forecast = 0;
  for (const std::size_t k : {11, 12}) {
    CHECK(push_missing(stream, &forecast));
    CHECK_NEAR(forecast, expected(samples, k), tolerance(bundle(), internet()));
  }
  CHECK_EQ(stream.held(), 2U);
  CHECK_EQ(stream.missing(), 2U);
  CHECK_NEAR(push_all(stream, samples, 13, 13), expected(samples, 13), tolerance(bundle(), internet()));
  CHECK_EQ(stream.held(), 2U);
}

TEST(after_too_many_missing_ticks_a_whole_window_has_to_come) {
  Stream stream = open_stream(2);
  const auto samples = telemetry(bundle(), internet(), 40, 5);
  push_all(stream, samples, 0, 15);
  float forecast = 0;
  CHECK(push_missing(stream, &forecast));
  CHECK(push_missing(stream, &forecast));
  CHECK(!push_missing(stream, &forecast));
  CHECK(std::isnan(forecast));
  CHECK_EQ(stream.samples_in(), 0U);
  for (std::size_t k = 16; k < 25; ++k) CHECK(!push(stream, samples.data() + k * kFeatures, &forecast));
  CHECK(push(stream, samples.data() + 25 * kFeatures, &forecast));
  CHECK_NEAR(forecast, expected(samples, 25), tolerance(bundle(), internet()));
  CHECK_EQ(stream.held(), 0U);
}

TEST(before_the_first_sample_missing_ticks_leave_a_stream_empty) {
  Stream stream = open_stream();
  const auto samples = telemetry(bundle(), internet(), kWindow, 6);
  float forecast = 0;
  for (int k = 0; k < 13; ++k) CHECK(!push_missing(stream, &forecast));
  CHECK_EQ(stream.samples_in(), 0U);
  CHECK_NEAR(push_all(stream, samples, 0, kWindow - 1), expected(samples, kWindow - 1),
             tolerance(bundle(), internet()));
}

TEST(a_reset_stream_is_like_a_new_one) {
  const auto samples = telemetry(bundle(), internet(), 60, 7);
  for (std::size_t before = 1; before < 25; ++before) {
    Stream stream = open_stream();
    push_all(stream, samples, 0, before);
    stream.reset();
    float forecast = 0;
    for (std::size_t k = 30; k < 39; ++k) CHECK(!push(stream, samples.data() + k * kFeatures, &forecast));
    for (std::size_t k = 39; k < 60; ++k) {
      CHECK(push(stream, samples.data() + k * kFeatures, &forecast));
      CHECK_NEAR(forecast, expected(samples, k), tolerance(bundle(), internet()));
    }
  }
}

TEST(a_restored_stream_goes_on_where_the_snapshot_was_taken) {
  const auto samples = telemetry(bundle(), internet(), 60, 8);
  for (std::size_t before = 0; before < 25; ++before) {
    Stream stream = open_stream();
    float forecast = 0;
    if (before > 0) push_all(stream, samples, 0, before - 1);
    if (before > 5) CHECK_EQ(push_missing(stream, &forecast), before > 8);
    const auto snapshot = stream.snapshot();
    Stream other = open_stream();
    push_all(other, samples, 30, 47);  // to be forgotten
    other.restore(snapshot.data(), snapshot.size());
    CHECK_EQ(other.ticks(), stream.ticks());
    CHECK_EQ(other.held(), stream.held());
    CHECK_EQ(other.missing(), stream.missing());
    for (std::size_t k = before; k < before + 22; ++k) {
      float a = 0;
      float b = 0;
      CHECK_EQ(push(stream, samples.data() + k * kFeatures, &a), push(other, samples.data() + k * kFeatures, &b));
      if (!std::isnan(a)) CHECK_NEAR(a, b, tolerance(bundle(), internet()));
      CHECK_EQ(std::isnan(a), std::isnan(b));
    }
  }
}

TEST(a_snapshot_of_another_shape_or_model_or_a_damaged_one_is_refused_and_changes_nothing) {
  const auto samples = telemetry(bundle(), internet(), 20, 9);
  Stream stream = open_stream();
  push_all(stream, samples, 0, 14);
  const auto snapshot = stream.snapshot();
  const auto refused = [&](std::vector<std::byte> bytes, const char* why) {
    CHECK_THROWS(stream.restore(bytes.data(), bytes.size()), why);
  };
  refused({snapshot.begin(), snapshot.begin() + 8}, "bytes, got 8");
  refused({snapshot.begin(), snapshot.end() - 1}, "bytes, got");
  auto damaged = snapshot;
  damaged[0] ^= std::byte{1};
  refused(damaged, "not the bytes of one");
  damaged = snapshot;
  damaged[20] ^= std::byte{1};  // the hash
  refused(damaged, "another model file");
  // The last sample: squares of the largest that a push takes are finite, those of 1e258 are not.
  for (const double beyond : {std::numeric_limits<double>::infinity(), 1e258, -1e39}) {
    damaged = snapshot;
    std::memcpy(damaged.data() + damaged.size() - sizeof(beyond), &beyond, sizeof(beyond));
    refused(damaged, "a sample is not finite in float32");
  }
  damaged = snapshot;
  damaged[damaged.size() - 20] ^= std::byte{1};  // a sample's last bits: what comes would be a little beside
  refused(damaged, "its content is damaged");
  for (std::size_t at = 0; at < 256; ++at) {  // the header, and more
    damaged = snapshot;
    damaged[at] ^= std::byte{1};
    refused(damaged, "snapshot: ");
    if (at >= 8 && at < 72)  // the model file's hash
      CHECK_THROWS(stream.restore(damaged.data(), damaged.size(), false), "its content is damaged");
  }
  CHECK(stream.snapshot() == snapshot);
  Stream two_rows(bundle(), internet(), model_alone(), 2);
  CHECK_THROWS(two_rows.restore(snapshot.data(), snapshot.size()), "(2, 10, 4), got (1, 10, 4)");
  Stream other(bundle(), bundle().find("datacenter", Role::forecaster), model_alone());
  CHECK_THROWS(other.restore(snapshot.data(), snapshot.size()), "another model file");
  other.restore(snapshot.data(), snapshot.size(), false);
  CHECK(other.ready());
  CHECK_NEAR(push_all(stream, samples, 15, 15), expected(samples, 15), tolerance(bundle(), internet()));
}

TEST(a_sample_that_is_not_finite_is_refused_and_is_no_tick) {
  const auto samples = telemetry(bundle(), internet(), 20, 10);
  Stream stream = open_stream();
  push_all(stream, samples, 0, 14);
  const double bad[kFeatures] = {1, std::nan(""), 0, 1};
  float forecast = 0;
  CHECK_THROWS(push(stream, bad, &forecast), "sample: expected finite values, got nan for bandwidth_mbps");
  CHECK_EQ(stream.ticks(), 15U);
  CHECK_NEAR(push_all(stream, samples, 15, 15), expected(samples, 15), tolerance(bundle(), internet()));
}

TEST(each_row_gets_what_a_stream_of_its_own_gives) {
  for (const std::size_t rows : {1U, 2U, 5U, 13U, 60U}) {
    Stream together(bundle(), internet(), model_alone(), rows);
    std::deque<Stream> alone;
    for (std::size_t row = 0; row < rows; ++row) alone.emplace_back(bundle(), internet(), model_alone());
    std::mt19937 random(11);
    std::vector<std::uint8_t> present(rows);
    std::vector<Answer> answers(rows);
    for (unsigned tick = 0; tick < 45; ++tick) {
      const auto samples = telemetry(bundle(), internet(), rows, 100 + tick);
      for (auto& p : present) p = random() % 4 != 0;
      const bool none_came = tick == 30;
      if (tick == 20) {
        together.reset(rows / 2);
        alone[rows / 2].reset();
      }
      const std::size_t full = none_came ? together.push<double>(nullptr, nullptr, answers.data())
                                         : together.push(samples.data(), present.data(), answers.data());
      std::size_t expected_full = 0;
      for (std::size_t row = 0; row < rows; ++row) {
        float one = 0;
        const bool came = present[row] && !none_came;
        const bool is_full = push(alone[row], came ? samples.data() + row * kFeatures : nullptr, &one);
        expected_full += is_full;
        CHECK_EQ(std::isnan(answers[row].mbps), !is_full);
        if (is_full) CHECK_NEAR(answers[row].mbps, one, tolerance(bundle(), internet()));
        CHECK(answers[row].source == (is_full ? Source::model : Source::none));
        CHECK_EQ(together.ready(row), is_full);
        CHECK_EQ(together.held(row), alone[row].held());
        CHECK_EQ(together.missing(row), alone[row].missing());
      }
      CHECK_EQ(full, expected_full);
    }
    Stream restored(bundle(), internet(), model_alone(), rows);
    const auto snapshot = together.snapshot();
    restored.restore(snapshot.data(), snapshot.size());
    const auto samples = telemetry(bundle(), internet(), rows, 999);
    std::vector<Answer> again(rows);
    CHECK_EQ(together.push(samples.data(), nullptr, answers.data()),
             restored.push(samples.data(), nullptr, again.data()));
    for (std::size_t row = 0; row < rows; ++row)
      if (together.ready(row)) CHECK_NEAR(answers[row].mbps, again[row].mbps, tolerance(bundle(), internet()));
  }
}

TEST(an_implausible_forecast_is_answered_with_the_last_good_one_and_counted) {
  const auto samples = telemetry(bundle(), bundle().find("internet", Role::forecaster), kWindow + 1, 12);
  float wanted[2];  // the forecasts of the two windows
  {
    Engine engine = open_bundle();
    Stream stream(engine, engine.find("internet", Role::forecaster), model_alone());
    for (std::size_t k = 0; k <= kWindow; ++k)
      push(stream, samples.data() + k * kFeatures, &wanted[k < kWindow ? 0 : 1]);
  }
  CHECK(wanted[0] != wanted[1]);
  // Training has seen what lies between the two, so that one of them is plausible and the other is not.
  const double between = (static_cast<double>(wanted[0]) + static_cast<double>(wanted[1])) / 2;
  const bool first_is_low = wanted[0] < wanted[1];
  const BundleCopy copy(first_is_low ? -1e6 : between, first_is_low ? between : 1e6);
  Engine engine(copy.folder(), {});
  const std::size_t model = engine.find("internet", Role::forecaster);
  Stream::Options options = model_alone();
  options.safeguard.plausible_margin = 0;
  Stream stream(engine, model, options);
  Answer answer;
  for (std::size_t k = 0; k < kWindow; ++k) stream.push(samples.data() + k * kFeatures, nullptr, &answer);
  CHECK(answer.source == Source::model && answer.cause == Cause::none);
  CHECK_EQ(answer.mbps, wanted[0]);
  const auto snapshot = stream.snapshot();
  stream.push(samples.data() + kWindow * kFeatures, nullptr, &answer);
  CHECK(answer.source == Source::last && answer.cause == Cause::implausible);
  CHECK_EQ(answer.mbps, wanted[0]);
  Stream restored(engine, model, options);  // knows the last good one, too
  restored.restore(snapshot.data(), snapshot.size());
  restored.push(samples.data() + kWindow * kFeatures, nullptr, &answer);
  CHECK(answer.source == Source::last);
  CHECK_EQ(answer.mbps, wanted[0]);
  CHECK_EQ(engine.stats(model).causes[static_cast<std::size_t>(Cause::implausible)].value(), 2U);
}

TEST(what_was_measured_answers_before_the_window_is_full_where_it_is_asked_for) {
  // By hand: 2, then 2 + 0.5 * (4 - 2), held at a tick without a sample, then 3 + 0.5 * (8 - 3).
  Stream::Options options = model_alone(3);
  options.safeguard.measured_weight = 0.5;
  Stream stream(bundle(), internet(), options);
  Answer answer;
  const std::array<double, 4> measured{2, 4, 0, 8};  // 0: no sample
  const std::array<float, 4> mean{2.0F, 3.0F, 3.0F, 5.5F};
  for (std::size_t k = 0; k < measured.size(); ++k) {
    const std::array<double, kFeatures> sample{30, measured[k], 0, 1};
    CHECK_EQ(stream.push(measured[k] > 0 ? sample.data() : nullptr, nullptr, &answer), 0U);
    CHECK(answer.source == Source::measured_mean && answer.cause == Cause::none);
    CHECK_EQ(answer.mbps, mean[k]);
  }
  stream.reset();
  stream.push(static_cast<const double*>(nullptr), nullptr, &answer);
  CHECK(answer.source == Source::none);
  options.safeguard.measured_weight = 1.5;
  CHECK_THROWS(Stream(bundle(), internet(), options), "measured_weight");
}

TEST(what_is_no_forecaster_or_has_no_rows_is_refused) {
  CHECK_THROWS(Stream(bundle(), bundle().find("internet_ddqn"), {}), "expected a forecaster");
  CHECK_THROWS(Stream(bundle(), bundle().find("gaming_fallback"), {}), "expected a forecaster");
  CHECK_THROWS(Stream(bundle(), internet(), {}, 0), "rows: expected 1 to 65536, got 0");
}

TEST(prepare_changes_nothing_of_the_stream) {
  for (const std::size_t rows : {1, 9}) {
    Stream prepared(bundle(), internet(), {}, rows);
    Stream plain(bundle(), internet(), {}, rows);
    const auto samples = telemetry(bundle(), internet(), 30 * rows, 8);
    std::vector<Answer> one(rows), other(rows);
    for (std::size_t tick = 0; tick < 30; ++tick) {
      prepared.prepare();  // also before the first sample, and while the last push's advance is still to do
      const double* now = tick % 7 == 3 ? nullptr : samples.data() + tick * rows * kFeatures;
      prepared.push(now, nullptr, one.data());
      plain.push(now, nullptr, other.data());
      if (tick % 3) prepared.advance();
      for (std::size_t row = 0; row < rows; ++row) {
        CHECK_EQ(std::memcmp(&one[row].mbps, &other[row].mbps, sizeof(float)), 0);
        CHECK_EQ(std::memcmp(&one[row].reserve, &other[row].reserve, sizeof(float)), 0);
      }
    }
    prepared.advance();
    plain.advance();
    CHECK(prepared.snapshot() == plain.snapshot());
  }
}
