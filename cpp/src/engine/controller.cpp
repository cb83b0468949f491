#include "engine/controller.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <sstream>
#include <stdexcept>

#include "base/error.h"
#include "base/finite.h"
#include "base/sha256.h"
#include "engine/allocation.h"

namespace linkcast {
namespace {

constexpr double kSteps = 4;  // of the forecaster, that telemetry may be late by default

void require(bool holds, const char* option, const char* expected, double value) {
  if (holds) return;
  std::ostringstream text;
  text << option << ": expected " << expected << ", got " << value;
  throw std::invalid_argument(text.str());
}

void check(const Controller::Options& options) {
  require(options.capacity_mbps > 0 && std::isfinite(options.capacity_mbps), "capacity_mbps", "a number above 0",
          options.capacity_mbps);
  require(options.least_fraction >= 0 && options.least_fraction <= 1, "least_fraction", "0..1", options.least_fraction);
  require(options.most_fraction >= options.least_fraction && options.most_fraction <= 1, "most_fraction",
          "least_fraction..1", options.most_fraction);
  require(options.safe_fraction >= options.least_fraction && options.safe_fraction <= options.most_fraction,
          "safe_fraction", "least_fraction..most_fraction", options.safe_fraction);
  require(options.headroom >= 0 && std::isfinite(options.headroom), "headroom", "0 or more", options.headroom);
  require(options.slew_per_s >= 0, "slew_per_s", "0 or more", options.slew_per_s);
  require(options.hold_s >= 0, "hold_s", "0 or more", options.hold_s);
  require(options.stall_s >= 0, "stall_s", "0 or more", options.stall_s);
  require(options.queue_ms >= 0 && std::isfinite(options.queue_ms), "queue_ms", "0 or more", options.queue_ms);
  require(options.congestion_step >= 0 && options.congestion_step <= 1, "congestion_step", "0..1",
          options.congestion_step);
  require(options.stall_cut >= 0 && options.stall_cut <= 1, "stall_cut", "0..1", options.stall_cut);
  require(options.measured_weight > 0 && options.measured_weight <= 1, "measured_weight", "above 0 and at most 1",
          options.measured_weight);
}

std::size_t column(const ModelSpec& spec, const std::string& feature, const std::string& user) {
  for (std::size_t f = 0; f < spec.features.size(); ++f)
    if (spec.features[f].name == feature) return f;
  throw std::invalid_argument("controller: " + user + " needs " + feature + ", which " + spec.name + " does not read");
}

// A snapshot: the header, the record, the newest telemetry (features) float64, then the stream's. Byte order of the
// machine; kMagic reads otherwise on another.
constexpr std::uint64_t kMagic = 0x316c74636b6e696c;  // "linkctl1"

struct SnapshotHeader {
  std::uint64_t magic = kMagic;
  std::uint64_t features = 0;
  std::uint64_t stream = 0;  // bytes of it at the end
  char content[64] = {};     // SHA-256 of what follows
};

struct Record {
  std::uint64_t telemetry_ns, tick_ns, target_ns, trouble_ns;
  std::uint64_t has_telemetry, started, retargeted, in_trouble, stalled;  // 0 or 1
  std::uint64_t ticks, missing, stalls, changes, late;
  double measured_mean_mbps;  // NaN: no telemetry yet
  double target_fraction, allocation_fraction, fraction_before_trouble;
  CongestionDetector::Numbers detector;
};

[[noreturn]] void refuse_snapshot(const std::string& what) { throw std::invalid_argument("snapshot: " + what); }

double seconds(std::uint64_t from_ns, std::uint64_t to_ns) { return static_cast<double>(to_ns - from_ns) * 1e-9; }

}  // namespace

/// Where the calls of a rehearsal are counted.
struct Controller::Stats {
  ModelStats allocator;
  ModelStats forecaster;
};

/// A controller that runs what the next tick will run.
struct Controller::Rehearsal {
  Stats stats;
  Controller controller;
  std::uint64_t now_ns = 0;

  Rehearsal(Engine& engine, const std::string& profile, const Options& options)
      : controller(engine, profile, options, &stats) {}
};

Controller::~Controller() = default;

Controller::Controller(Engine& engine, const std::string& profile, const Options& options, Stats* stats)
    : engine_(engine),
      options_(options),
      allocator_(engine.find(profile, Role::allocator)),
      allocator_stats_(stats ? stats->allocator : engine.stats(allocator_)),
      stream_(engine, engine.find(profile, Role::forecaster), stream_options(options), 1,
              stats ? &stats->forecaster : nullptr),
      detector_({options.queue_ms, CongestionDetector::Options{}.full}) {
  check(options);
  const ModelSpec& forecaster = engine.spec(stream_.model());
  const ModelSpec& allocator = engine.spec(allocator_);
  bandwidth_ = column(forecaster, forecaster.target->name, "the target");
  for (const Feature& feature : allocator.features)
    columns_.push_back(column(forecaster, feature.name, allocator.name));
  to_trained_capacity_ = *allocator.capacity_mbps / options.capacity_mbps;
  for (std::size_t f = 0; f < forecaster.features.size(); ++f)
    bounds_.push_back(on_link(forecaster.bounds[f], forecaster.features[f], options.capacity_mbps));
  for (std::size_t f = 0; f < forecaster.features.size() && options.queue_ms > 0; ++f) {
    if (forecaster.features[f].name != "latency_ms") continue;
    latency_ = f;
    watches_latency_ = true;
  }
  telemetry_.resize(forecaster.features.size());
  state_.resize(allocator.features.size());
  if (options_.stall_s == 0) options_.stall_s = kSteps * forecaster.step_s;
  reset();
}

Stream::Options Controller::stream_options(const Options& options) {
  require(options.risk >= 0 && options.risk < 1, "risk", "a share, 0 or more and below 1", options.risk);
  Stream::Options stream = options.stream;
  stream.safeguard.measured_weight = options.measured_weight;
  if (options.risk > 0) stream.outlook.level = 1 - options.risk;
  stream.outlook.horizon = 1;  // the next tick is what an allocation of this tick serves
  return stream;
}

void Controller::reset() noexcept {
  stream_.reset();
  has_telemetry_ = started_ = retargeted_ = in_trouble_ = false;
  detector_.reset();
  target_fraction_ = options_.safe_fraction;
  decision_ = {};
  decision_.allocation_fraction = options_.safe_fraction;
  decision_.allocation_mbps = options_.safe_fraction * options_.capacity_mbps;
}

template <class Real>
const Decision& Controller::tick(const Real* telemetry, std::uint64_t now_ns) {
  const std::uint64_t start = monotonic_ns();
  if (started_ && now_ns < tick_ns_)
    throw std::invalid_argument("now_ns: expected a clock that does not go back, got " + std::to_string(now_ns) +
                                " after " + std::to_string(tick_ns_));
  if (telemetry) check_units("telemetry", feature_list(), bounds_, telemetry, 1, 1);
  if (has_telemetry_ && seconds(telemetry_ns_, now_ns) > options_.stall_s) stall();
  stream_.push(telemetry, nullptr, &decision_.forecast);
  ++counts_.ticks;
  if (telemetry) {
    std::copy_n(telemetry, telemetry_.size(), telemetry_.begin());
    telemetry_ns_ = now_ns;
    has_telemetry_ = true;
    decision_.stalled = false;
  } else {
    ++counts_.missing;
  }
  watch(telemetry, now_ns);
  decision_.action = -1;
  decision_.allocation_cause = Cause::none;
  apply(bound(has_telemetry_ ? decide() : options_.safe_fraction, telemetry != nullptr, now_ns), now_ns);
  tick_ns_ = now_ns;
  started_ = true;
  decision_.latency_ns = monotonic_ns() - start;
  if (options_.deadline_ns && decision_.latency_ns > options_.deadline_ns) ++counts_.late;
  return decision_;
}

template const Decision& Controller::tick(const float*, std::uint64_t);
template const Decision& Controller::tick(const double*, std::uint64_t);

/// Telemetry that has stopped says nothing about the link: the window and the average start anew when it comes back.
void Controller::stall() noexcept {
  has_telemetry_ = false;
  decision_.stalled = true;
  ++counts_.stalls;
  stream_.reset();
  detector_.lost();
}

/// What the latency says. The bandwidth was carried under the allocation of the last tick.
template <class Real>
void Controller::watch(const Real* telemetry, std::uint64_t now_ns) noexcept {
  if (telemetry && watches_latency_)
    detector_.observe(telemetry_[latency_], telemetry_[bandwidth_], decision_.allocation_mbps, seconds(0, now_ns));
  decision_.congested = detector_.state() == LinkState::congested;
  decision_.silent = detector_.state() == LinkState::stalled;
  decision_.queue_ms = detector_.queue_ms();
}

/// What trouble asks for: more than `asked`, never less. @param measured  there is telemetry of this tick
double Controller::bound(double asked, bool measured, std::uint64_t now_ns) noexcept {
  if (!decision_.congested && !decision_.silent && !decision_.stalled) {
    in_trouble_ = false;
    return asked;
  }
  const double present = decision_.allocation_fraction;
  if (!in_trouble_) {
    in_trouble_ = true;
    fraction_before_trouble_ = present;
    trouble_ns_ = now_ns;
  }
  const double cuts = 1 + std::floor(seconds(trouble_ns_, now_ns) / options_.stall_s);
  asked = std::max(asked, fraction_before_trouble_ - cuts * options_.stall_cut);
  if (decision_.congested && detector_.full() && measured) asked = std::max(asked, present + options_.congestion_step);
  return asked;
}

/// The fraction of the capacity that the allocator and the headroom ask for.
double Controller::decide() {
  const ModelSpec& allocator = engine_.spec(allocator_);
  const auto forecast = static_cast<double>(decision_.forecast.mbps);
  for (std::size_t f = 0; f < columns_.size(); ++f) {
    state_[f] = telemetry_[columns_[f]];
    if (columns_[f] == bandwidth_)
      state_[f] =
          std::min(std::max(state_[f], forecast) * to_trained_capacity_, *allocator.capacity_mbps * kMostCapacities);
  }
  ModelStats& stats = allocator_stats_;
  const std::uint64_t start = monotonic_ns();
  double asked = 1;
  try {
    decision_.allocation_cause = engine_.decide(allocator_, state_.data(), 1, &decision_.action);
    asked = (decision_.action + 1.0) / static_cast<double>(allocator.actions);
    stats.count(Source::model, decision_.allocation_cause);
  } catch (const InvokeError&) {
    decision_.allocation_cause = Cause::failed;
    stats.count(Source::none, Cause::failed);
  }
  stats.latency.record(monotonic_ns() - start);
  double least_mbps = options_.headroom * forecast;
  const auto reserve = static_cast<double>(decision_.forecast.reserve);
  if (options_.risk > 0 && std::isfinite(reserve)) least_mbps = std::max(least_mbps, reserve);
  return std::max(asked, least_mbps / options_.capacity_mbps);
}

/// Sets the target and moves the allocation towards it, as far as the limits let them.
void Controller::apply(double asked, std::uint64_t now_ns) noexcept {
  const double wanted = std::clamp(asked, options_.least_fraction, options_.most_fraction);
  decision_.clamped = wanted != asked;
  const bool held = retargeted_ && seconds(target_ns_, now_ns) < options_.hold_s;
  decision_.holding = wanted != target_fraction_ && held && !decision_.stalled;
  if (wanted != target_fraction_ && !decision_.holding) {
    target_fraction_ = wanted;
    target_ns_ = now_ns;
    retargeted_ = true;
  }
  const double before = decision_.allocation_fraction;
  double fraction = target_fraction_;
  if (options_.slew_per_s > 0) {
    const double most = options_.slew_per_s * (started_ ? seconds(tick_ns_, now_ns) : 0);
    fraction = std::clamp(fraction, before - most, before + most);
  }
  decision_.slewed = fraction != target_fraction_;
  counts_.changes += fraction != before;
  decision_.allocation_fraction = fraction;
  decision_.allocation_mbps = fraction * options_.capacity_mbps;
}

void Controller::prepare() {
  const ModelSpec& forecaster = engine_.spec(stream_.model());
  const Forecaster::Kept forecast(stream_.forecaster(), 1);
  const Model::Kept decision(engine_.model(allocator_), Allocation::kRows);
  if (!rehearsal_) rehearsal_ = std::make_unique<Rehearsal>(engine_, engine_.spec(allocator_).serves, options_);
  if (!has_telemetry_) return;
  Rehearsal& rehearsal = *rehearsal_;
  const std::size_t ticks = rehearsal.controller.stream_.ready() ? 1 : stream_.window();
  for (std::size_t tick = 0; tick < ticks; ++tick) {
    rehearsal.now_ns += static_cast<std::uint64_t>(forecaster.step_s * 1e9);
    rehearsal.controller.tick(telemetry_.data(), rehearsal.now_ns);
  }
  stream_.touch();
}

std::size_t Controller::snapshot_size() const noexcept {
  return sizeof(SnapshotHeader) + sizeof(Record) + telemetry_.size() * sizeof(double) + stream_.snapshot_size();
}

std::vector<std::byte> Controller::snapshot() const {
  const std::vector<std::byte> stream = stream_.snapshot();
  const Record record{telemetry_ns_,
                      tick_ns_,
                      target_ns_,
                      trouble_ns_,
                      has_telemetry_,
                      started_,
                      retargeted_,
                      in_trouble_,
                      decision_.stalled,
                      counts_.ticks,
                      counts_.missing,
                      counts_.stalls,
                      counts_.changes,
                      counts_.late,
                      stream_.measured(),
                      target_fraction_,
                      decision_.allocation_fraction,
                      fraction_before_trouble_,
                      detector_.snapshot()};
  SnapshotHeader header{.features = telemetry_.size(), .stream = stream.size()};
  std::vector<std::byte> bytes(sizeof(header));
  const auto put = [&bytes](const void* from, std::size_t size) {
    const auto* begin = static_cast<const std::byte*>(from);
    bytes.insert(bytes.end(), begin, begin + size);
  };
  bytes.reserve(snapshot_size());
  put(&record, sizeof(record));
  put(telemetry_.data(), telemetry_.size() * sizeof(double));
  put(stream.data(), stream.size());
  sha256(bytes.data() + sizeof(header), bytes.size() - sizeof(header)).copy(header.content, sizeof(header.content));
  std::memcpy(bytes.data(), &header, sizeof(header));
  return bytes;
}

void Controller::restore(const std::byte* bytes, std::size_t size, bool same_model) {
  SnapshotHeader header;
  Record record;
  const std::size_t fixed = sizeof(header) + sizeof(record);
  if (size < fixed)
    refuse_snapshot("expected at least " + std::to_string(fixed) + " bytes, got " + std::to_string(size));
  std::memcpy(&header, bytes, sizeof(header));
  if (header.magic != kMagic)
    refuse_snapshot("these are not the bytes of a controller's, or another kind of machine wrote them");
  if (header.features != telemetry_.size())
    refuse_snapshot("expected " + std::to_string(telemetry_.size()) + " features, got " +
                    std::to_string(header.features));
  const std::size_t telemetry = telemetry_.size() * sizeof(double);
  if (size - fixed < telemetry || size - fixed - telemetry != header.stream)
    refuse_snapshot("expected " + std::to_string(snapshot_size()) + " bytes, got " + std::to_string(size));
  if (sha256(bytes + sizeof(header), size - sizeof(header)) != std::string(header.content, sizeof(header.content)))
    refuse_snapshot("its content is damaged");
  std::memcpy(&record, bytes + sizeof(header), sizeof(record));
  std::vector<double> newest(telemetry_.size());
  std::memcpy(newest.data(), bytes + fixed, telemetry);
  const auto is_share = [](double value) { return value >= 0 && value <= 1; };
  if (!all_finite(newest.data(), newest.size()) || std::isinf(record.measured_mean_mbps) ||
      !is_share(record.target_fraction) || !is_share(record.allocation_fraction) ||
      !is_share(record.fraction_before_trouble))
    refuse_snapshot("a number is not finite, or a share not of 0..1");
  const auto is_past = [&](bool set, std::uint64_t ns) { return !set || ns <= record.tick_ns; };
  if (!is_past(record.has_telemetry != 0, record.telemetry_ns) || !is_past(record.retargeted != 0, record.target_ns) ||
      !is_past(record.in_trouble != 0, record.trouble_ns))
    refuse_snapshot("a time lies after its last tick");
  CongestionDetector detector = detector_;
  if (!detector.restore(record.detector, seconds(0, record.tick_ns)))
    refuse_snapshot("what is usual of the latency is damaged");
  stream_.restore(bytes + fixed + telemetry, header.stream, same_model);
  stream_.remember_measured(0, record.measured_mean_mbps);

  detector_ = detector;
  telemetry_ = std::move(newest);
  telemetry_ns_ = record.telemetry_ns;
  tick_ns_ = record.tick_ns;
  target_ns_ = record.target_ns;
  trouble_ns_ = record.trouble_ns;
  has_telemetry_ = record.has_telemetry != 0;
  started_ = record.started != 0;
  retargeted_ = record.retargeted != 0;
  in_trouble_ = record.in_trouble != 0;
  counts_ = {record.ticks, record.missing, record.stalls, record.changes, record.late};
  target_fraction_ = record.target_fraction;
  fraction_before_trouble_ = record.fraction_before_trouble;
  decision_ = {};
  decision_.allocation_fraction = record.allocation_fraction;
  decision_.allocation_mbps = record.allocation_fraction * options_.capacity_mbps;
  decision_.stalled = record.stalled != 0;
}

}  // namespace linkcast
