#include "engine/on_off.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace linkcast {
namespace {

// Chosen as those of mixture.cpp, where half or twice as much changes little.
constexpr double kReturn = 0.005;     // of an envelope towards the newest value: half of the way in some 140 values
constexpr double kBecomesBusy = 0.5;  // between the envelopes
constexpr double kBecomesQuiet = 0.3;
constexpr double kFollow = 0.2;  // of a level, by each value; by the first of a stay more
constexpr double kFollowFirst = 0.5;
constexpr double kLeastStays = 3;
constexpr double kMostCount = 9007199254740992.0;  // whole numbers are exact up to here

}  // namespace

void OnOff::observe(double measured) noexcept {
  if (started == 0) {
    lowest = highest = measured;
    level = {measured, measured};
    started = 1;
    return;
  }
  highest = std::max(measured, highest + kReturn * (measured - highest));
  lowest = std::min(measured, lowest + kReturn * (measured - lowest));
  const std::size_t before = busy != 0;
  const double edge = lowest + (before ? kBecomesQuiet : kBecomesBusy) * (highest - lowest);
  const std::size_t now = measured > edge;
  age = std::min(age + 1, kMostCount);
  if (now != before) {
    if (whole != 0) {
      stay[before][static_cast<std::size_t>(ended[before]) % kStays] = age;
      ended[before] = std::min(ended[before] + 1, kMostCount);
    }
    busy = static_cast<double>(now);
    age = 0;
    whole = 1;
  }
  level[now] += (now != before ? kFollowFirst : kFollow) * (measured - level[now]);
}

void OnOff::miss() noexcept { age = std::min(age + started, kMostCount); }

std::array<bool, OnOff::kMostSteps + 1> OnOff::ends() const noexcept {
  const std::size_t now = busy != 0;
  // Of the earlier stays, how many had 1, 2, .. kMostSteps ticks more, and at the end what is no such number: counters of six
  // bits side by side, since neither a branch could be foreseen nor a store be waited for.
  constexpr std::size_t kBits = 6;
  static_assert(kStays < 1u << kBits && kMostSteps * kBits < 64);
  std::uint64_t left = 0, longer = 0;
  for (const double whole_stay : stay[now]) {
    const auto more = static_cast<std::int64_t>(whole_stay - age);
    longer += more > 0;
    left += std::uint64_t{1} << kBits * std::min<std::uint64_t>(static_cast<std::uint64_t>(more) - 1, kMostSteps);
  }
  std::array<bool, kMostSteps + 1> ends{};
  std::uint64_t over = 0;
  for (std::size_t steps = 1; steps <= kMostSteps; ++steps, left >>= kBits) {
    over += left % (1u << kBits);
    ends[steps] = ended[now] >= kLeastStays && 2 * over > longer;
  }
  return ends;
}

bool OnOff::ends_next() const noexcept {
  const std::size_t now = busy != 0;
  std::int64_t longer = 0, over = 0;
  for (const double ticks : stay[now]) longer += ticks > age, over += ticks == age + 1;
  return ended[now] >= kLeastStays && 2 * over > longer;
}

bool OnOff::is_sound(double most) const noexcept {
  const auto within = [most](double value) { return std::fabs(value) <= most; };
  const auto flag = [](double value) { return value == 0 || value == 1; };
  const auto count = [](double value) { return value >= 0 && value <= kMostCount && value == std::floor(value); };
  const auto counts = [&count](const auto& values) { return std::all_of(values.begin(), values.end(), count); };
  return within(lowest) && within(highest) && std::all_of(level.begin(), level.end(), within) && flag(busy) &&
         count(age) && flag(started) && flag(whole) && counts(ended) && std::all_of(stay.begin(), stay.end(), counts);
}

}  // namespace linkcast
