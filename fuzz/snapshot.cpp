// Damaged snapshots of streams and controllers whose checksums fit: what is taken must not lead a loop astray.
//
// An input is a list of edits of a sound snapshot (where, how, what), which the hashes are then made to fit, and what
// comes after: ticks. So a few bytes reach every number of it.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <stdexcept>
#include <vector>

#include "base/error.h"
#include "base/sha256.h"
#include "bundle.h"
#include "check.h"
#include "engine/controller.h"
#include "engine/stream.h"

namespace {

using linkcast::Answer;
using linkcast::Controller;
using linkcast::Source;
using linkcast::Stream;

constexpr double kCapacity = 100;
// Of the headers in stream.cpp and controller.cpp: where the hash of what follows stands, at their ends.
constexpr std::size_t kHash = 64, kStreamHeader = 8 + 64 + 6 * 8 + 8 + kHash, kControllerHeader = 3 * 8 + kHash;

constexpr std::uint64_t kBits[] = {0,
                                   1,
                                   2,
                                   9,
                                   10,
                                   11,
                                   0x7FF0000000000000,  // infinity
                                   0xFFF0000000000000,
                                   0x7FF8000000000000,  // NaN
                                   0x7FEFFFFFFFFFFFFF,  // the largest double
                                   0xFFEFFFFFFFFFFFFF,
                                   0x0000000000000001,  // the least
                                   0x3FF0000000000000,  // 1
                                   0xBFF0000000000000,
                                   0x4024000000000000,  // 10
                                   0x7E37E43C8800759C,  // 1e300
                                   0xFE37E43C8800759C,
                                   0x01A56E1FC2F8F359,  // 1e-300
                                   0x43F0000000000000,  // 2^64
                                   0xFFFFFFFFFFFFFFFF,
                                   0x7FFFFFFFFFFFFFFF,
                                   0x8000000000000000};

void rehash(std::byte* bytes, std::size_t header, std::size_t size) {
  linkcast::sha256(bytes + header, size - header).copy(reinterpret_cast<char*>(bytes) + header - kHash, kHash);
}

/// A stream's hash is of its header too, with that of what follows in its place.
void rehash_stream(std::byte* bytes, std::size_t size) {
  rehash(bytes, kStreamHeader, size);
  linkcast::sha256(bytes, kStreamHeader).copy(reinterpret_cast<char*>(bytes) + kStreamHeader - kHash, kHash);
}

void edit(FuzzedDataProvider& from, std::vector<std::byte>& bytes) {
  for (int edits = from.ConsumeIntegralInRange(0, 12); edits > 0; --edits) {
    std::size_t at = from.ConsumeIntegralInRange<std::size_t>(0, bytes.size() - 1);
    switch (from.ConsumeIntegralInRange(0, 4)) {
      case 0:
        bytes[at] = std::byte{from.ConsumeIntegral<std::uint8_t>()};
        break;
      case 1: {  // a whole number or a double
        at = std::min(at / 8 * 8, bytes.size() - 8);
        const std::uint64_t bits = from.PickValueInArray(kBits);
        std::memcpy(&bytes[at], &bits, sizeof(bits));
        break;
      }
      case 2: {
        at = std::min(at / 8 * 8, bytes.size() - 8);
        const auto value = from.ConsumeFloatingPoint<double>();
        std::memcpy(&bytes[at], &value, sizeof(value));
        break;
      }
      case 3: {  // many of them
        at = at / 8 * 8;
        const std::uint64_t bits = from.PickValueInArray(kBits);
        for (std::size_t n = from.ConsumeIntegralInRange<std::size_t>(1, 64); n > 0 && at + 8 <= bytes.size();
             --n, at += 8)
          std::memcpy(&bytes[at], &bits, sizeof(bits));
        break;
      }
      default:
        bytes.resize(std::max<std::size_t>(at, 1));
    }
  }
}

bool is_sound(const Answer& answer) {
  if (answer.source == Source::none) return std::isnan(answer.mbps);
  if (answer.source != Source::mixture) return std::isfinite(answer.mbps);  // no band
  return std::isfinite(answer.mbps) && answer.mbps >= 0 && answer.p10 <= answer.p50 && answer.p50 <= answer.p90 &&
         answer.p10 >= 0 && std::isfinite(answer.p90) && std::isfinite(answer.reserve) && answer.p10 <= answer.mbps &&
         answer.mbps <= answer.p90;
}

void check_answer(const Answer& answer) {
  FUZZ_CHECK(is_sound(answer), "an answer of %g in %g, %g, %g, reserve %g, from %s", static_cast<double>(answer.mbps),
             static_cast<double>(answer.p10), static_cast<double>(answer.p50), static_cast<double>(answer.p90),
             static_cast<double>(answer.reserve), source_name(answer.source));
}

void fill(FuzzedDataProvider& from, double* sample) {
  const double mbps[] = {10.0, 11.0, 50.0, 0.0, 99.0};
  sample[0] = 20;
  sample[1] = from.PickValueInArray(mbps);
  sample[2] = 0.001;
  sample[3] = 0.999;
}

void fuzz_stream(FuzzedDataProvider& from) {
  const std::size_t rows = from.ConsumeBool() ? 1 : 2;
  Stream::Options options;
  options.outlook.horizon = from.ConsumeBool() ? 1 : 3;
  options.mixture = from.ConsumeIntegralInRange(0, 7) > 0;
  linkcast::Engine& engine = bundle();
  const std::size_t model = engine.find("internet", linkcast::Role::forecaster);
  Stream stream(engine, model, options, rows);
  std::vector<double> samples(rows * 4);
  std::vector<Answer> answers(rows);
  for (int tick = 0; tick < 14; ++tick) {
    for (std::size_t row = 0; row < rows; ++row) {
      const double sample[] = {20.0, 10.0 + tick % 5, 0.001, 0.999};
      std::copy_n(sample, 4, &samples[row * 4]);
    }
    stream.push(samples.data(), nullptr, answers.data());
  }
  auto bytes = stream.snapshot();
  edit(from, bytes);
  if (bytes.size() >= kStreamHeader) rehash_stream(bytes.data(), bytes.size());
  const auto before = stream.snapshot();
  try {
    stream.restore(bytes.data(), bytes.size(), from.ConsumeBool());
  } catch (const std::invalid_argument&) {
    FUZZ_CHECK(stream.snapshot() == before, "a refused snapshot has changed the stream");
  }
  for (int ticks = from.ConsumeIntegralInRange(0, 40); ticks > 0; --ticks) {
    for (std::size_t row = 0; row < rows; ++row) fill(from, &samples[row * 4]);
    stream.push(from.ConsumeIntegralInRange(0, 5) ? samples.data() : nullptr, nullptr, answers.data());
    for (const Answer& answer : answers) check_answer(answer);
    if (from.ConsumeBool()) check_answer(stream.peak(0, options.outlook.horizon));
    if (from.ConsumeBool()) check_answer(stream.horizon(rows - 1, options.outlook.horizon));
    if (stream.mixture()) static_cast<void>(stream.mixture()->scored(0));
    stream.advance();
  }
}

void fuzz_controller(FuzzedDataProvider& from) {
  Controller::Options options;
  options.capacity_mbps = kCapacity;
  options.hold_s = from.ConsumeBool() ? 5 : 0;
  options.slew_per_s = from.ConsumeBool() ? 0.1 : 0;
  Controller controller(bundle(), "internet", options);
  std::uint64_t now = 1'000'000'000;
  double sample[4] = {20, 10, 0.001, 0.999};
  for (int tick = 0; tick < 13; ++tick) controller.tick(sample, now += 1'000'000'000);
  auto bytes = controller.snapshot();
  const std::size_t inner = bytes.size() - controller.stream().snapshot_size();
  edit(from, bytes);
  if (bytes.size() >= inner + kStreamHeader) rehash_stream(bytes.data() + inner, bytes.size() - inner);
  if (bytes.size() >= kControllerHeader) rehash(bytes.data(), kControllerHeader, bytes.size());
  const auto before = controller.snapshot();
  try {
    controller.restore(bytes.data(), bytes.size(), from.ConsumeBool());
  } catch (const std::invalid_argument&) {
    FUZZ_CHECK(controller.snapshot() == before, "a refused snapshot has changed the controller");
  }
  for (int ticks = from.ConsumeIntegralInRange(0, 40); ticks > 0; --ticks) {
    fill(from, sample);
    const std::uint64_t steps[] = {1, 1'000'000'000, 1'000'000'000, 60'000'000'000};
    now += from.PickValueInArray(steps);
    try {
      const auto& decision = controller.tick(from.ConsumeIntegralInRange(0, 5) ? sample : nullptr, now);
      FUZZ_CHECK(decision.allocation_fraction >= 0 && decision.allocation_fraction <= 1 &&
                     decision.allocation_mbps == decision.allocation_fraction * kCapacity,
                 "%g of the link, %g Mbit/s", decision.allocation_fraction, decision.allocation_mbps);
      FUZZ_CHECK(std::isfinite(decision.queue_ms), "a queue of %g ms", decision.queue_ms);
    } catch (const std::invalid_argument&) {  // a snapshot may say that its clock was far ahead
      controller.reset();
    }
    controller.advance();
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*count*/, char*** /*arguments*/) {
  for (int tries = 0; tries < 5;
       ++tries) {  // on a busy machine, an instrumented load may take more than its ten seconds
    try {
      bundle();
      break;
    } catch (const linkcast::LoadError& error) {
      std::fprintf(stderr, "%s\n", error.what());
    }
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider from(data, size);
  if (from.ConsumeBool())
    fuzz_stream(from);
  else
    fuzz_controller(from);
  return 0;
}
