// The median of the newest values of a link, kept in order as they come and go.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace linkcast {

/// Of the newest N values. Plain numbers alone, since snapshots carry it over as bytes.
template <std::size_t N>
struct RollingMedian {
  std::array<double, N> newest;  // by order of arrival; the oldest is at `next` once there are N
  std::array<double, N> sorted;  // the same `count` values
  double count, next;            // whole numbers

  void add(double value) noexcept {
    const auto at = static_cast<std::size_t>(next);
    auto place = static_cast<std::size_t>(count);
    if (place == N)
      place = static_cast<std::size_t>(std::lower_bound(sorted.begin(), sorted.end() - 1, newest[at]) - sorted.begin());
    else
      count = static_cast<double>(place + 1);
    // From where the oldest goes, or behind the last, to where the new value is in order.
    const auto last = static_cast<std::size_t>(count) - 1;
    for (; place > 0 && sorted[place - 1] > value; --place) sorted[place] = sorted[place - 1];
    for (; place < last && sorted[place + 1] < value; ++place) sorted[place] = sorted[place + 1];
    sorted[place] = value;
    newest[at] = value;
    next = static_cast<double>((at + 1) % N);
  }

  /// @param otherwise  where there is no value
  double median(double otherwise) const noexcept {
    const auto size = static_cast<std::size_t>(count);
    return size == 0 ? otherwise : 0.5 * sorted[(size - 1) / 2] + 0.5 * sorted[size / 2];
  }

  /// Whether bytes from outside are one. @param most  of any value
  bool is_sound(double most) const noexcept {
    const auto whole = [](double number, double end) {
      return number >= 0 && number <= end && number == std::floor(number);
    };
    const auto within = [most](double value) { return std::fabs(value) <= most; };
    if (!whole(count, N) || !whole(next, N - 1) || !std::all_of(newest.begin(), newest.end(), within) ||
        !std::all_of(sorted.begin(), sorted.end(), within))
      return false;
    const auto size = static_cast<std::size_t>(count);
    if (size < N && static_cast<std::size_t>(next) != size) return false;
    const auto end = sorted.begin() + static_cast<std::ptrdiff_t>(size);
    return std::is_sorted(sorted.begin(), end) && std::is_permutation(sorted.begin(), end, newest.begin());
  }
};

}  // namespace linkcast
