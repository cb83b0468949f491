#include "engine/stream.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "base/error.h"

namespace linkcast {
namespace {

constexpr float kNoForecast = std::numeric_limits<float>::quiet_NaN();

// A snapshot: the header, then for each stream its record, `window` bytes that mark held samples, and its samples,
// (window, features) float64, oldest first; then the scores of SkillSwitch when it is on. Byte order of the machine;
// kMagic reads otherwise on another.
constexpr std::uint64_t kMagic = 0x3173776c6b6e696c;  // "linklws1"

struct SnapshotHeader {
  std::uint64_t magic = kMagic;
  char sha256[64] = {};  // of the model file
  std::uint64_t streams = 0;
  std::uint64_t window = 0;
  std::uint64_t features = 0;
  std::uint64_t ticks = 0;
};

struct StreamRecord {
  std::uint64_t count = 0;
  std::uint64_t gap = 0;
  std::uint64_t missing = 0;
};

[[noreturn]] void refuse_snapshot(const std::string& what) { throw std::invalid_argument("snapshot: " + what); }

std::size_t checked_window(const Engine& engine, std::size_t forecaster, std::size_t streams) {
  const ModelSpec& spec = engine.spec(forecaster);
  if (spec.role != Role::forecaster || spec.window == 0)
    throw std::invalid_argument("stream: expected a forecaster with a window, got " + spec.name);
  if (streams == 0) throw std::invalid_argument("stream: expected at least 1 stream, got 0");
  return spec.window;
}

}  // namespace

StreamFleet::StreamFleet(Engine& engine, std::size_t forecaster, std::size_t streams, const Options& options)
    : engine_(engine),
      model_(forecaster),
      streams_(streams),
      window_(checked_window(engine, forecaster, streams)),
      features_(engine.spec(forecaster).features.size()),
      options_(options),
      safeguard_(engine, forecaster, streams, options.safeguard),
      skill_(streams, options.switch_to_ewma),
      answers_(tflite::aligned_floats(streams)),
      history_(streams * window_ * features_),
      levels_(streams * window_ * features_),
      is_held_(streams * window_),
      counts_(streams),
      gaps_(streams),
      missing_(streams),
      causes_(streams, Cause::none) {
  const ModelSpec& spec = engine.spec(forecaster);
  if (skill_.on() && spec.features[spec.target_column].name != spec.target->name)
    throw std::invalid_argument("switch_to_ewma: needs " + spec.target->name + " among the features of " + spec.name);
  Model& model = engine.model(forecaster);
  Network* network = model.network();
  if (!network) {
    mode_reason_ = std::string("TensorFlow Lite runs the model: ") + model.backend_reason();
  } else if (!network->can_step()) {
    mode_reason_ = "the model does not end in the last step of an LSTM, so a step can't be taken by itself";
  } else if (window_ == 1) {
    mode_reason_ = "a window of one time step has no state to keep";
  } else {
    mode_reason_ = "the native kernels take one time step for each push";
    network_ = network;
  }
  const std::size_t slots = std::max<std::size_t>(window_ - 1, 1);
  samples_ = tflite::aligned_floats(slots * streams * features_);
  if (network_) {
    states_ = tflite::aligned_floats(slots * streams * network_->state_size());
    network_->reserve(slots * streams);
  } else {
    windows_ = tflite::aligned_floats(streams * window_ * features_);
    model.batch_input(streams);
  }
}

StreamFleet::~StreamFleet() = default;

double* StreamFleet::sample_at(std::size_t stream, std::size_t position) noexcept {
  return history_.data() + (stream * window_ + position) * features_;
}

double* StreamFleet::level_at(std::size_t stream, std::size_t position) noexcept {
  return levels_.data() + (stream * window_ + position) * features_;
}

template <class Real>
std::size_t StreamFleet::push(const Real* samples, const std::uint8_t* present, float* forecasts, Source* sources,
                              Deadline deadline) {
  const std::uint64_t start = monotonic_ns();
  const ModelSpec& spec = engine_.spec(model_);
  check_units("sample", spec.features, spec.bounds, samples, streams_, 1, present);
  advance();
  take(samples, present);
  const auto full = [this](std::size_t s) { return counts_[s] >= window_; };
  std::size_t ready = 0;
  for (std::size_t s = 0; s < streams_; ++s) ready += full(s);
  const Cause run = ready > 0 ? answer() : Cause::none;
  const std::size_t position = (ticks_ - 1) % window_;
  if (ready > 0 && run == Cause::none)
    spec.target_scaler->inverse_transform(answers_.get(), streams_, forecasts,
                                          sample_at(0, position) + spec.target_column, window_ * features_);
  ModelStats& stats = engine_.stats(model_);
  for (std::size_t s = 0; s < streams_; ++s) {
    Source source = Source::none;
    causes_[s] = Cause::none;
    if (!full(s)) {
      forecasts[s] = kNoForecast;
    } else {
      causes_[s] = run == Cause::none ? safeguard_.judge(forecasts[s]) : run;
      const bool usable = causes_[s] == Cause::none;
      source = Source::model;
      const double average = skill_.on() ? ewma(s) : 0;
      if (skill_.on()) skill_.expect(s, usable ? forecasts[s] : kNoForecast, average);
      if (skill_.switched(s)) {
        forecasts[s] = static_cast<float>(average);
        source = Source::ewma;
        if (usable) causes_[s] = Cause::beaten;
      } else if (!usable) {
        source = safeguard_.rescue(s, sample_at(s, position), &forecasts[s]);
      }
      if (source == Source::model || skill_.switched(s)) safeguard_.keep(s, forecasts[s]);
      stats.count(source, causes_[s]);
    }
    if (sources) sources[s] = source;
  }
  if (ready > 0) {
    const std::uint64_t end = monotonic_ns();
    stats.latency.record(end - start);
    if (deadline.set() && end > deadline.at_ns) stats.late.add();
  }
  return ready;
}

template std::size_t StreamFleet::push(const float*, const std::uint8_t*, float*, Source*, Deadline);
template std::size_t StreamFleet::push(const double*, const std::uint8_t*, float*, Source*, Deadline);

/// Brings each stream's sample of this tick, or the one held for it, into history_, levels_ and samples_.
template <class Real>
void StreamFleet::take(const Real* samples, const std::uint8_t* present) {
  const ModelSpec& spec = engine_.spec(model_);
  const std::size_t position = ticks_ % window_;
  const std::size_t before = (ticks_ + window_ - 1) % window_;
  for (std::size_t s = 0; s < streams_; ++s) {
    const bool came = !present || present[s];
    double* sample = sample_at(s, position);
    if (came) {
      std::copy_n(samples + s * features_, features_, sample);
      gaps_[s] = 0;
    } else {
      std::copy_n(sample_at(s, before), features_, sample);
      ++missing_[s];
      if (++gaps_[s] > options_.most_held) counts_[s] = 0;
    }
    is_held_[s * window_ + position] = !came;
    if (came || counts_[s] > 0) counts_[s] = std::min(counts_[s] + 1, window_);
    spec.scaler.level(sample, level_at(s, position));
    const double measured = came ? sample[spec.target_column] : std::nan("");
    if (skill_.on() && skill_.score(s, measured)) engine_.stats(model_).switches.add();
  }
  ++ticks_;
  scale_newest(ticks_ % window_, samples_.get());
  pending_ = true;
}

/// The last tick's samples, scaled for windows that began with the samples at `first`. @param rows (streams, features)
void StreamFleet::scale_newest(std::size_t first, float* rows) noexcept {
  const Scaler& scaler = engine_.spec(model_).scaler;
  const std::size_t newest = (ticks_ - 1) % window_;
  for (std::size_t s = 0; s < streams_; ++s)
    scaler.scale(level_at(s, newest), level_at(s, first), rows + s * features_);
}

/// The scaled answers of all streams, those whose window is not full included.
Cause StreamFleet::answer() noexcept {
  if (network_) {
    const std::size_t oldest = (ticks_ - 1) % (window_ - 1);
    float* states = states_.get() + oldest * streams_ * network_->state_size();
    network_->step(samples_.get(), features_, streams_, states, answers_.get());
    return Cause::none;
  }
  const Scaler& scaler = engine_.spec(model_).scaler;
  const std::size_t first = ticks_ % window_;
  float* step = windows_.get();
  for (std::size_t s = 0; s < streams_; ++s)
    for (std::size_t k = 0; k < window_; ++k, step += features_)
      scaler.scale(level_at(s, (first + k) % window_), level_at(s, first), step);
  Model& model = engine_.model(model_);
  try {
    std::copy_n(windows_.get(), streams_ * window_ * features_, model.batch_input(streams_).get());
    std::copy_n(model.invoke_batch(streams_).get(), streams_, answers_.get());
    return Cause::none;
  } catch (const std::exception&) {  // InvokeError: the cause tells
    return Cause::failed;
  }
}

/// The moving average of the target's measured values in a full window, begun with the oldest.
double StreamFleet::ewma(std::size_t stream) noexcept {
  const std::size_t column = engine_.spec(model_).target_column;
  double level = sample_at(stream, ticks_ % window_)[column];
  for (std::size_t k = 1; k < window_; ++k)
    level += kEwmaAlpha * (sample_at(stream, (ticks_ + k) % window_)[column] - level);
  return level;
}

void StreamFleet::advance() noexcept {
  if (!pending_) return;
  pending_ = false;
  if (!network_) return;
  // The oldest state has given its answer: it starts anew, with this sample as its first.
  const std::size_t slots = window_ - 1;
  const std::size_t slot_floats = streams_ * network_->state_size();
  std::fill_n(states_.get() + (ticks_ - 1) % slots * slot_floats, slot_floats, 0.0f);
  const std::size_t row = streams_ * features_;
  if (engine_.spec(model_).scaler.relative()) {
    // The state that began `age` ticks ago takes the sample relative to that tick's.
    for (std::size_t age = 0; age < slots; ++age)
      scale_newest((ticks_ - 1 + window_ - age) % window_, samples_.get() + (ticks_ - 1 + slots - age) % slots * row);
  } else if (streams_ == 1) {
    network_->step(samples_.get(), 0, slots, states_.get(), nullptr);
    return;
  } else {
    for (std::size_t slot = 1; slot < slots; ++slot) std::copy_n(samples_.get(), row, samples_.get() + slot * row);
  }
  network_->step(samples_.get(), features_, slots * streams_, states_.get(), nullptr);
}

void StreamFleet::reset(std::size_t stream) noexcept {
  // States are not touched: one that answers has started window - 1 ticks ago, and by then every one has started anew.
  counts_[stream] = 0;
  gaps_[stream] = 0;
  causes_[stream] = Cause::none;
  safeguard_.forget(stream);
  skill_.forget(stream);
}

void StreamFleet::reset() noexcept {
  for (std::size_t s = 0; s < streams_; ++s) reset(s);
}

std::size_t StreamFleet::held(std::size_t stream) const noexcept {
  std::size_t held = 0;
  for (std::size_t k = 0; k < counts_[stream]; ++k)
    held += is_held_[stream * window_ + (ticks_ + window_ - 1 - k) % window_];
  return held;
}

/// Of a snapshot without scores.
std::size_t StreamFleet::windows_size() const noexcept {
  return sizeof(SnapshotHeader) + streams_ * (sizeof(StreamRecord) + window_ + window_ * features_ * sizeof(double));
}

std::size_t StreamFleet::snapshot_size() const noexcept { return windows_size() + skill_.snapshot_size(); }

std::vector<std::byte> StreamFleet::snapshot() const {
  std::vector<std::byte> bytes(snapshot_size());
  std::byte* to = bytes.data();
  const auto put = [&to](const void* from, std::size_t size) {
    std::memcpy(to, from, size);
    to += size;
  };
  SnapshotHeader header;
  engine_.spec(model_).sha256.copy(header.sha256, sizeof(header.sha256));
  header.streams = streams_;
  header.window = window_;
  header.features = features_;
  header.ticks = ticks_;
  put(&header, sizeof(header));
  for (std::size_t s = 0; s < streams_; ++s) {
    const StreamRecord record{counts_[s], gaps_[s], missing_[s]};
    put(&record, sizeof(record));
    for (std::size_t k = 0; k < window_; ++k) put(&is_held_[s * window_ + (ticks_ + k) % window_], 1);
    for (std::size_t k = 0; k < window_; ++k)
      put(&history_[(s * window_ + (ticks_ + k) % window_) * features_], features_ * sizeof(double));
  }
  skill_.snapshot(to);
  return bytes;
}

void StreamFleet::restore(const std::byte* bytes, std::size_t size, bool same_model) {
  const auto take_bytes = [&bytes](void* to, std::size_t count) {
    std::memcpy(to, bytes, count);
    bytes += count;
  };
  SnapshotHeader header;
  if (size < sizeof(header))
    refuse_snapshot("expected at least " + std::to_string(sizeof(header)) + " bytes, got " + std::to_string(size));
  take_bytes(&header, sizeof(header));
  if (header.magic != kMagic) refuse_snapshot("these are not the bytes of one, or another kind of machine wrote them");
  if (header.streams != streams_ || header.window != window_ || header.features != features_)
    refuse_snapshot("expected (streams, window, features) of (" + std::to_string(streams_) + ", " +
                    std::to_string(window_) + ", " + std::to_string(features_) + "), got (" +
                    std::to_string(header.streams) + ", " + std::to_string(header.window) + ", " +
                    std::to_string(header.features) + ")");
  const std::byte* scores = bytes + (windows_size() - sizeof(header));
  std::size_t scores_size = size - std::min(size, windows_size());
  if (size < windows_size())
    refuse_snapshot("expected at least " + std::to_string(windows_size()) + " bytes, got " + std::to_string(size));
  if (scores_size > 0 && !SkillSwitch::is_snapshot(scores, scores_size, streams_))
    refuse_snapshot("expected the scores of switch_to_ewma or nothing behind the windows, got " +
                    std::to_string(scores_size) + " bytes");
  const bool of_model = engine_.spec(model_).sha256 == std::string(header.sha256, sizeof(header.sha256));
  if (!of_model) scores_size = 0;
  if (same_model && !of_model) refuse_snapshot("it is of another model file than " + engine_.spec(model_).name);

  std::vector<StreamRecord> records(streams_);
  std::vector<std::uint8_t> is_held(is_held_.size());
  std::vector<double> history(history_.size());
  for (std::size_t s = 0; s < streams_; ++s) {
    take_bytes(&records[s], sizeof(StreamRecord));
    take_bytes(&is_held[s * window_], window_);
    take_bytes(&history[s * window_ * features_], window_ * features_ * sizeof(double));
    if (records[s].count > window_) refuse_snapshot("a count is larger than the window");
  }
  if (!std::all_of(history.begin(), history.end(), [](double value) { return std::isfinite(value); }))
    refuse_snapshot("a sample is not finite");

  history_ = std::move(history);
  is_held_ = std::move(is_held);
  replay(header.ticks);
  for (std::size_t s = 0; s < streams_; ++s) {
    counts_[s] = records[s].count;
    gaps_[s] = records[s].gap;
    missing_[s] = records[s].missing;
    causes_[s] = Cause::none;
    safeguard_.forget(s);
  }
  skill_.restore(scores, scores_size);
}

/// Makes the states from the window's samples, which stand in history_ with the oldest first, and puts history_ in
/// order.
void StreamFleet::replay(std::uint64_t ticks) {
  for (std::size_t s = 0; s < streams_; ++s) {
    const auto shift = static_cast<std::ptrdiff_t>(window_ - ticks % window_);  // the oldest stands at ticks % window
    const auto held = is_held_.begin() + static_cast<std::ptrdiff_t>(s * window_);
    std::rotate(held, held + shift, held + static_cast<std::ptrdiff_t>(window_));
    double* samples = sample_at(s, 0);
    std::rotate(samples, samples + static_cast<std::size_t>(shift) * features_, samples + window_ * features_);
  }
  const Scaler& scaler = engine_.spec(model_).scaler;
  for (std::size_t s = 0; s < streams_; ++s)
    for (std::size_t k = 0; k < window_; ++k) scaler.level(sample_at(s, k), level_at(s, k));
  for (ticks_ = ticks - std::min<std::uint64_t>(ticks, window_); ticks_ < ticks;) {
    ++ticks_;
    scale_newest(ticks_ % window_, samples_.get());
    pending_ = true;
    advance();
  }
}

}  // namespace linkcast
