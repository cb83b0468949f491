#include "engine/stream.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "base/aligned.h"
#include "base/finite.h"
#include "base/sha256.h"
#include "base/text.h"
#include "engine/units.h"

namespace linkcast {
namespace {

// A snapshot: the header, then for each row its record, `window` bytes that mark held samples, and its samples, (window,
// features) float64, oldest first; then the mixture. Byte order of the machine; kMagic reads otherwise on another.
constexpr std::uint64_t kMagic = 0x3673776c6b6e696c;  // "linklws6"

struct SnapshotHeader {
  std::uint64_t magic = kMagic;
  char sha256[64] = {};  // of the model file
  std::uint64_t rows = 0;
  std::uint64_t window = 0;
  std::uint64_t features = 0;
  std::uint64_t ticks = 0;
  std::uint64_t mixture = 0;  // bytes of it at the end
  std::uint64_t horizon = 0;
  double level = 0;       // of the mixture
  char content[64] = {};  // see content_of
};

struct RowRecord {
  std::uint64_t count = 0;
  std::uint64_t gap = 0;
  std::uint64_t missing = 0;
  Safeguard::Earlier earlier = {};  // forecasts: what stands in for the model's next one
};

/// SHA-256 of the header with that of what follows in its place for it: a flipped bit would teach a link what it never
/// showed, or make states of samples that never came.
std::string content_of(SnapshotHeader header, const std::byte* following, std::size_t size) {
  sha256(following, size).copy(header.content, sizeof(header.content));
  return sha256(reinterpret_cast<const std::byte*>(&header), sizeof(header));
}

[[noreturn]] void refuse_snapshot(const std::string& what) { throw std::invalid_argument("snapshot: " + what); }

std::size_t checked_window(const Engine& engine, std::size_t forecaster, std::size_t rows) {
  const ModelSpec& spec = engine.spec(forecaster);
  if (spec.role != Role::forecaster || spec.window == 0)
    throw std::invalid_argument("stream: expected a forecaster with a window, got " + spec.name);
  if (rows == 0 || rows > Stream::kMostRows)
    throw std::invalid_argument("rows: expected 1 to " + std::to_string(Stream::kMostRows) + ", got " +
                                std::to_string(rows));
  return spec.window;
}

}  // namespace

/// A stream that runs what the next push will run. Its rows are few, but of the kernels of many.
struct Stream::Rehearsal {
  static constexpr std::size_t kMostRows = 6;

  ModelStats stats;
  std::vector<double> samples;  // (rows, features)
  std::vector<Answer> answers;  // (rows)
  Stream stream;

  Rehearsal(Stream& of, std::size_t rows)
      : samples(rows * of.features_), answers(rows), stream(of.engine_, of.model_, of.options_, rows, &stats) {}
};

Stream::~Stream() = default;

Stream::Stream(Engine& engine, std::size_t forecaster, const Options& options, std::size_t rows, ModelStats* stats)
    : engine_(engine),
      model_(forecaster),
      rows_(rows),
      window_(checked_window(engine, forecaster, rows)),
      features_(engine.spec(forecaster).features.size()),
      options_(options),
      forecaster_(engine, forecaster, rows, options.safeguard, stats),
      mbps_(rows),
      history_(rows * window_ * features_),
      levels_(rows * window_ * features_),
      is_held_(rows * window_),
      counts_(rows),
      gaps_(rows),
      missing_(rows),
      targets_(window_),
      causes_(rows) {
  const ModelSpec& spec = engine.spec(forecaster);
  if (options.mixture && spec.has_target_column && window_ >= Mixture::kLeastWindow)
    mixture_ = std::make_unique<Mixture>(rows, window_, options.outlook);
  Model& model = engine.model(forecaster);
  ChosenNetwork* network = model.network();
  if (!network) {
    mode_reason_ = std::string("TensorFlow Lite runs the model: ") + model.backend_reason();
  } else if (!network->can_step()) {
    mode_reason_ =
        "the model does not end in the last step of a recurrence that reads oldest first, or leaves out steps by a "
        "mask, so a step can't be taken by itself";
  } else if (window_ == 1) {
    mode_reason_ = "a window of one time step has no state to keep";
  } else {
    mode_reason_ = "the native kernels take one time step for each push";
    network_ = network;
  }
  const std::size_t slots = std::max<std::size_t>(window_ - 1, 1);
  samples_ = aligned_floats(slots * rows * features_);
  if (network_) {
    states_ = aligned_floats(slots * rows * network_->state_size());
    network_->reserve(slots * rows);
  } else {
    forecaster_.reserve_windows(rows);
  }
}

double* Stream::sample_at(std::size_t row, std::size_t position) noexcept {
  return history_.data() + (row * window_ + position) * features_;
}

double* Stream::level_at(std::size_t row, std::size_t position) noexcept {
  return levels_.data() + (row * window_ + position) * features_;
}

template <class Real>
std::size_t Stream::push(const Real* samples, const std::uint8_t* present, Answer* answers, Deadline deadline) {
  const std::uint64_t start = monotonic_ns();
  const ModelSpec& spec = engine_.spec(model_);
  if (samples) check_units("sample", spec.features, spec.bounds, samples, rows_, 1, present);
  advance();
  take(samples, present);
  std::size_t full = 0;
  for (std::size_t row = 0; row < rows_; ++row) full += ready(row);
  const Cause cause = full > 0 ? run() : Cause::none;
  if (full > 0 && cause == Cause::none)
    spec.target_scaler->inverse_transform(forecaster_.outputs(), rows_, mbps_.data(),
                                          sample_at(0, (ticks_ - 1) % window_) + spec.target_column,
                                          window_ * features_);
  for (std::size_t row = 0; row < rows_; ++row)
    answers[row] = ready(row) ? settle(row, cause) : forecaster_.measured_answer(row);
  if (full > 0) forecaster_.count_call(start, deadline);
  return full;
}

template std::size_t Stream::push(const float*, const std::uint8_t*, Answer*, Deadline);
template std::size_t Stream::push(const double*, const std::uint8_t*, Answer*, Deadline);

/// The answer of a full window: the model's forecast in mbps_, or what stands in where it can't be used.
/// @param run  why the model gave none; Cause::none: it gave one
Answer Stream::settle(std::size_t row, Cause run) noexcept {
  Answer answer = forecaster_.settle(row, mbps_[row], run, sample_at(row, (ticks_ - 1) % window_));
  causes_[row] = answer.cause;
  if (mixture_) mix(row, answer);
  if (answer.source == Source::last || answer.source == Source::forecast_mean || answer.source == Source::none) {
    // What is measured now says more about the link than what the model said before.
    const Answer measured = forecaster_.measured_answer(row, answer.cause);
    if (measured.source != Source::none) answer = measured;
  }
  forecaster_.count(answer);
  return answer;
}

namespace {

/// A finite float32.
float narrow(double value) noexcept {
  return static_cast<float>(std::min(value, static_cast<double>(std::numeric_limits<float>::max())));
}

Answer answer_of(const Outlook& outlook, Cause cause) noexcept {
  return {narrow(outlook.mbps),
          narrow(outlook.p10),
          narrow(outlook.p50),
          narrow(outlook.p90),
          narrow(outlook.reserve),
          Source::mixture,
          cause};
}

}  // namespace

/// The mixture answers in the model's place, which is one of its experts.
void Stream::mix(std::size_t row, Answer& answer) noexcept {
  const std::size_t column = engine_.spec(model_).target_column;
  for (std::size_t k = 0; k < window_; ++k) targets_[k] = sample_at(row, (ticks_ + k) % window_)[column];
  answer = answer_of(mixture_->answer(row, targets_.data(), static_cast<double>(answer.mbps)), answer.cause);
}

Answer Stream::ahead(std::size_t row, bool peak, std::size_t steps) noexcept {
  if (!mixture_ || !ready(row)) return {};
  return answer_of(peak ? mixture_->peak(row, steps) : mixture_->at(row, steps), causes_[row]);
}

Answer Stream::horizon(std::size_t row, std::size_t steps) noexcept { return ahead(row, false, steps); }
Answer Stream::peak(std::size_t row, std::size_t steps) noexcept { return ahead(row, true, steps); }

/// Brings each row's sample of this tick, or the one held for it, into history_, levels_ and samples_.
template <class Real>
void Stream::take(const Real* samples, const std::uint8_t* present) {
  const ModelSpec& spec = engine_.spec(model_);
  const std::size_t position = ticks_ % window_;
  const std::size_t before = (ticks_ + window_ - 1) % window_;
  for (std::size_t row = 0; row < rows_; ++row) {
    const bool came = samples && (!present || present[row]);
    double* sample = sample_at(row, position);
    if (came) {
      std::copy_n(samples + row * features_, features_, sample);
      gaps_[row] = 0;
    } else {
      std::copy_n(sample_at(row, before), features_, sample);
      ++missing_[row];
      if (++gaps_[row] > options_.most_held) {
        if (mixture_ && counts_[row] > 0) mixture_->interrupt(row);
        counts_[row] = 0;
      }
    }
    if (came) forecaster_.observe(row, sample[spec.target_column]);
    if (mixture_) mixture_->observe(row, came ? sample[spec.target_column] : kUnknown);
    is_held_[row * window_ + position] = !came;
    if (came || counts_[row] > 0) counts_[row] = std::min(counts_[row] + 1, window_);
    spec.scaler.level(sample, level_at(row, position));
  }
  ++ticks_;
  scale_newest(ticks_ % window_, samples_.get());
  pending_ = true;
  states_moved_ = false;
}

/// The last tick's samples, scaled for windows that began with the samples at `first`. @param rows (rows, features)
void Stream::scale_newest(std::size_t first, float* rows) noexcept {
  const Scaler& scaler = engine_.spec(model_).scaler;
  const std::size_t newest = (ticks_ - 1) % window_;
  for (std::size_t row = 0; row < rows_; ++row)
    scaler.scale(level_at(row, newest), level_at(row, first), rows + row * features_);
}

/// The model's scaled outputs for all rows, those whose window is not full included.
Cause Stream::run() noexcept {
  if (network_) {
    const std::size_t oldest = (ticks_ - 1) % (window_ - 1);
    float* states = states_.get() + oldest * rows_ * network_->state_size();
    network_->step(samples_.get(), features_, rows_, states, forecaster_.outputs());
    return Cause::none;
  }
  const Scaler& scaler = engine_.spec(model_).scaler;
  const std::size_t first = ticks_ % window_;
  float* step = forecaster_.windows();
  for (std::size_t row = 0; row < rows_; ++row)
    for (std::size_t k = 0; k < window_; ++k, step += features_)
      scaler.scale(level_at(row, (first + k) % window_), level_at(row, first), step);
  return forecaster_.run(rows_, {});
}

void Stream::advance() noexcept {
  if (!pending_) return;
  pending_ = false;
  if (network_ && !states_moved_) move_states();
  if (!mixture_) return;
  for (std::size_t row = 0; row < rows_; ++row) mixture_->advance(row);
}

/// Every state takes the last tick's sample in.
void Stream::move_states() noexcept {
  // The oldest state has given its answer: it starts anew, with this sample as its first.
  const std::size_t slots = window_ - 1;
  const std::size_t slot_floats = rows_ * network_->state_size();
  std::fill_n(states_.get() + (ticks_ - 1) % slots * slot_floats, slot_floats, 0.0f);
  const std::size_t row = rows_ * features_;
  if (engine_.spec(model_).scaler.relative()) {
    // The state that began `age` ticks ago takes the sample relative to that tick's.
    for (std::size_t age = 0; age < slots; ++age)
      scale_newest((ticks_ - 1 + window_ - age) % window_, samples_.get() + (ticks_ - 1 + slots - age) % slots * row);
  } else if (rows_ == 1) {
    network_->step(samples_.get(), 0, slots, states_.get(), nullptr);
    return;
  } else {
    for (std::size_t slot = 1; slot < slots; ++slot) std::copy_n(samples_.get(), row, samples_.get() + slot * row);
  }
  network_->step(samples_.get(), features_, slots * rows_, states_.get(), nullptr);
}

/// The last sample that a row got. @return whether there was one
bool Stream::newest(std::size_t row, double* sample) noexcept {
  if (counts_[row] == 0) return false;
  std::copy_n(sample_at(row, (ticks_ + window_ - 1) % window_), features_, sample);
  return true;
}

void Stream::prepare() {
  const std::size_t rows = std::min(rows_, Rehearsal::kMostRows);
  const Forecaster::Kept kept(forecaster_, rows);
  if (!rehearsal_) rehearsal_ = std::make_unique<Rehearsal>(*this, rows);
  Rehearsal& rehearsal = *rehearsal_;
  double* const samples = rehearsal.samples.data();
  if (!newest(0, samples)) return;  // nothing is forecast in the next ticks
  for (std::size_t row = 1; row < rows; ++row)
    if (!newest(row, samples + row * features_)) std::copy_n(samples, features_, samples + row * features_);
  const std::size_t ticks = rehearsal.stream.ready() ? 1 : window_;
  for (std::size_t tick = 0; tick < ticks; ++tick) rehearsal.stream.push(samples, nullptr, rehearsal.answers.data());
  touch();
}

/// What the next push reads and writes of this stream alone.
void Stream::touch() const noexcept {
  if (network_) {
    const std::size_t slot = rows_ * network_->state_size();
    prefetch(states_.get() + ticks_ % (window_ - 1) * slot, slot);
  }
  prefetch(samples_.get(), rows_ * features_);
  prefetch(history_.data(), history_.size());
  prefetch(levels_.data(), levels_.size());
  prefetch(this, 1);
  if (mixture_) prefetch(mixture_.get(), 1);
}

void Stream::reset(std::size_t row) noexcept {
  // States are not touched: one that answers has started window - 1 ticks ago, and by then every one has started anew.
  counts_[row] = 0;
  gaps_[row] = 0;
  forecaster_.forget(row);
  if (mixture_) mixture_->interrupt(row);
}

void Stream::reset() noexcept {
  for (std::size_t row = 0; row < rows_; ++row) reset(row);
}

void Stream::forget(std::size_t row) noexcept {
  reset(row);
  if (mixture_) mixture_->forget(row);
}

std::size_t Stream::held(std::size_t row) const noexcept {
  std::size_t held = 0;
  for (std::size_t k = 0; k < counts_[row]; ++k) held += is_held_[row * window_ + (ticks_ + window_ - 1 - k) % window_];
  return held;
}

std::size_t Stream::snapshot_size(std::size_t rows) const noexcept {
  const std::size_t row = sizeof(RowRecord) + window_ + window_ * features_ * sizeof(double);
  return sizeof(SnapshotHeader) + rows * (row + (mixture_ ? mixture_->snapshot_size() / rows_ : 0));
}

std::vector<std::byte> Stream::snapshot() const { return snapshot_of(0, rows_); }

std::vector<std::byte> Stream::snapshot_row(std::size_t row) const { return snapshot_of(row, 1); }

/// All rows, or one.
std::vector<std::byte> Stream::snapshot_of(std::size_t first, std::size_t rows) const {
  std::vector<std::byte> bytes(snapshot_size(rows));
  std::byte* to = bytes.data();
  const auto put = [&to](const void* from, std::size_t size) {
    std::memcpy(to, from, size);
    to += size;
  };
  SnapshotHeader header;
  engine_.spec(model_).sha256.copy(header.sha256, sizeof(header.sha256));
  header.rows = rows;
  header.window = window_;
  header.features = features_;
  header.ticks = ticks_;
  header.mixture = mixture_ ? mixture_->snapshot_size() / rows_ * rows : 0;
  header.horizon = mixture_ ? options_.outlook.horizon : 0;
  header.level = mixture_ ? options_.outlook.level : 0;
  put(&header, sizeof(header));
  for (std::size_t row = first; row < first + rows; ++row) {
    const RowRecord record{counts_[row], gaps_[row], missing_[row], forecaster_.earlier(row)};
    put(&record, sizeof(record));
    for (std::size_t k = 0; k < window_; ++k) put(&is_held_[row * window_ + (ticks_ + k) % window_], 1);
    for (std::size_t k = 0; k < window_; ++k)
      put(&history_[(row * window_ + (ticks_ + k) % window_) * features_], features_ * sizeof(double));
  }
  if (mixture_ && rows == rows_)
    mixture_->snapshot(to);
  else if (mixture_)
    mixture_->snapshot_row(first, to);
  content_of(header, bytes.data() + sizeof(header), bytes.size() - sizeof(header))
      .copy(header.content, sizeof(header.content));
  std::memcpy(bytes.data(), &header, sizeof(header));
  return bytes;
}

void Stream::restore(const std::byte* bytes, std::size_t size, bool same_model) {
  const auto take_bytes = [&bytes](void* to, std::size_t count) {
    std::memcpy(to, bytes, count);
    bytes += count;
  };
  SnapshotHeader header;
  if (size < sizeof(header))
    refuse_snapshot("expected at least " + std::to_string(sizeof(header)) + " bytes, got " + std::to_string(size));
  take_bytes(&header, sizeof(header));
  if (header.magic != kMagic)
    refuse_snapshot("these are not the bytes of one, or another version or kind of machine wrote them");
  if (header.rows != rows_ || header.window != window_ || header.features != features_)
    refuse_snapshot("expected (rows, window, features) of (" + std::to_string(rows_) + ", " + std::to_string(window_) +
                    ", " + std::to_string(features_) + "), got (" + std::to_string(header.rows) + ", " +
                    std::to_string(header.window) + ", " + std::to_string(header.features) + ")");
  if (header.horizon != (mixture_ ? options_.outlook.horizon : 0))
    refuse_snapshot("expected a horizon of " + std::to_string(mixture_ ? options_.outlook.horizon : 0) +
                    " steps (0: no mixture), got " + std::to_string(header.horizon));
  if (size != snapshot_size() || header.mixture != (mixture_ ? mixture_->snapshot_size() : 0))
    refuse_snapshot("expected " + std::to_string(snapshot_size()) + " bytes, got " + std::to_string(size));
  const bool is_same_model = engine_.spec(model_).sha256 == std::string(header.sha256, sizeof(header.sha256));
  if (same_model && !is_same_model) refuse_snapshot("it is of another model file than " + engine_.spec(model_).name);

  if (header.level != (mixture_ ? options_.outlook.level : 0))
    refuse_snapshot("expected a level of " + text_of(options_.outlook.level) + ", got " + text_of(header.level));

  const std::byte* content = bytes;
  std::vector<RowRecord> records(rows_);
  std::vector<std::uint8_t> is_held(is_held_.size());
  std::vector<double> history(history_.size());
  for (std::size_t row = 0; row < rows_; ++row) {
    take_bytes(&records[row], sizeof(RowRecord));
    take_bytes(&is_held[row * window_], window_);
    take_bytes(&history[row * window_ * features_], window_ * features_ * sizeof(double));
    if (records[row].count > window_) refuse_snapshot("a count is larger than the window");
    const Safeguard::Earlier earlier = records[row].earlier;
    if (std::isinf(earlier.last) || std::isinf(earlier.mean)) refuse_snapshot("an earlier forecast is not finite");
  }
  if (!std::all_of(history.begin(), history.end(), is_finite)) refuse_snapshot("a sample is not finite in float32");
  if (mixture_ && !mixture_->is_snapshot(bytes, mixture_->snapshot_size()))
    refuse_snapshot("what the mixture has learnt is damaged");

  if (content_of(header, content, size - sizeof(header)) != std::string(header.content, sizeof(header.content)))
    refuse_snapshot("its content is damaged");

  if (mixture_) mixture_->restore(bytes);
  history_ = std::move(history);
  is_held_ = std::move(is_held);
  replay(header.ticks);
  pending_ = states_moved_ = true;  // the mixture may have been kept before it had learnt from its last tick
  for (std::size_t row = 0; row < rows_; ++row) {
    counts_[row] = records[row].count;
    gaps_[row] = records[row].gap;
    missing_[row] = records[row].missing;
    forecaster_.forget(row);
    if (is_same_model)
      forecaster_.remember(row, records[row].earlier);  // another model's forecasts say nothing of this
  }
}

void Stream::restore_row(std::size_t row, const std::byte* bytes, std::size_t size, bool same_model) {
  Stream one(engine_, model_, options_, 1);
  one.restore(bytes, size, same_model);
  one.advance();
  advance();
  // Rings are read from the present tick on: positions shift by what the two have ticked apart.
  for (std::size_t k = 0; k < window_; ++k) {
    const std::size_t from = (one.ticks_ + k) % window_, to = (ticks_ + k) % window_;
    std::copy_n(one.sample_at(0, from), features_, sample_at(row, to));
    std::copy_n(one.level_at(0, from), features_, level_at(row, to));
    is_held_[row * window_ + to] = one.is_held_[from];
  }
  if (network_) {
    const std::size_t slots = window_ - 1, state = network_->state_size();
    for (std::size_t k = 0; k < slots; ++k)
      std::copy_n(one.states_.get() + (one.ticks_ + k) % slots * state, state,
                  states_.get() + ((ticks_ + k) % slots * rows_ + row) * state);
  }
  if (mixture_) mixture_->copy_row(row, *one.mixture_, 0);
  counts_[row] = one.counts_[0];
  gaps_[row] = one.gaps_[0];
  missing_[row] = one.missing_[0];
  causes_[row] = Cause::none;
  forecaster_.forget(row);
  forecaster_.remember(row, one.forecaster_.earlier(0));
}

/// Makes the states from the window's samples, which stand in history_ with the oldest first, and puts history_ in
/// order.
void Stream::replay(std::uint64_t ticks) {
  for (std::size_t row = 0; row < rows_; ++row) {
    const auto shift = static_cast<std::ptrdiff_t>(window_ - ticks % window_);  // the oldest stands at ticks % window
    const auto held = is_held_.begin() + static_cast<std::ptrdiff_t>(row * window_);
    std::rotate(held, held + shift, held + static_cast<std::ptrdiff_t>(window_));
    double* samples = sample_at(row, 0);
    std::rotate(samples, samples + static_cast<std::size_t>(shift) * features_, samples + window_ * features_);
  }
  const Scaler& scaler = engine_.spec(model_).scaler;
  for (std::size_t row = 0; row < rows_; ++row)
    for (std::size_t k = 0; k < window_; ++k) scaler.level(sample_at(row, k), level_at(row, k));
  for (ticks_ = ticks - std::min<std::uint64_t>(ticks, window_); ticks_ < ticks;) {
    ++ticks_;
    scale_newest(ticks_ % window_, samples_.get());
    if (network_) move_states();
  }
  pending_ = false;
}

}  // namespace linkcast
