#include "recognise/movement.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <numeric>

namespace linkcast::tflite {
namespace {

constexpr std::int64_t kMostStride = INT32_MAX / 2;

/// Unsigned, so that the sizes of a tensor without elements may overflow.
std::vector<std::size_t> strides_of(const Shape& shape) {
  std::vector<std::size_t> strides(shape.size(), 1);
  for (std::size_t d = shape.size(); d-- > 1;) strides[d - 1] = strides[d] * static_cast<std::size_t>(shape[d]);
  return strides;
}

Move whole(const Shape& from) { return {from, from, strides_of(from), 0, 0, {}}; }

bool has_bit(std::uint32_t mask, std::size_t bit) { return ((mask >> bit) & 1U) != 0; }

}  // namespace

void misfit(const std::string& what) { throw Misfit(what); }

std::vector<std::size_t> Move::positions() const {
  if (elements_of(extents) == 0) return {};
  std::vector<std::size_t> result{start};
  for (std::size_t d = 0; d < extents.size(); ++d) {
    const auto extent = static_cast<std::size_t>(extents[d]);
    const bool picks_here = d == picked && !picks.empty();
    std::vector<std::size_t> next;
    next.reserve(result.size() * extent);
    for (const std::size_t base : result)
      for (std::size_t k = 0; k < extent; ++k)
        next.push_back(base + (picks_here ? static_cast<std::size_t>(picks[k]) : k) * strides[d]);
    result = std::move(next);
  }
  return result;
}

std::size_t axis_of(std::int64_t given, std::size_t rank) {
  const auto signed_rank = static_cast<std::int64_t>(rank);
  if (given < -signed_rank || given >= signed_rank)
    misfit("names dimension " + std::to_string(given) + " of a tensor that has " + std::to_string(rank));
  return static_cast<std::size_t>(given < 0 ? given + signed_rank : given);
}

Shape with_dimension(Shape shape, std::size_t axis, std::int64_t extent) {
  shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(axis), extent);
  return shape;
}

Shape without_dimension(Shape shape, std::size_t axis) {
  shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(axis));
  return shape;
}

Shape broadcast(const Shape& a, const Shape& b) {
  const std::size_t rank = std::max(a.size(), b.size());
  Shape shape(rank, 1);
  for (std::size_t d = 0; d < rank; ++d) {
    const std::int64_t p = d < a.size() ? a[a.size() - 1 - d] : 1;
    const std::int64_t q = d < b.size() ? b[b.size() - 1 - d] : 1;
    if (p != q && p != 1 && q != 1)
      misfit("has shapes that do not go together: " + shape_text(a) + " and " + shape_text(b));
    shape[rank - 1 - d] = p == 1 ? q : p;
  }
  return shape;
}

Move broadcast_to(const Shape& from, const Shape& to) {
  const auto own = strides_of(from);
  Move move{to, to, std::vector<std::size_t>(to.size(), 0), 0, 0, {}};
  for (std::size_t d = 0; d < from.size(); ++d)
    if (from[d] != 1) move.strides[to.size() - from.size() + d] = own[d];
  return move;
}

Shape reshaped(const Shape& from, Shape wanted) {
  const Shape given = wanted;
  const std::uint64_t count = elements_of(from);
  std::size_t open = wanted.size();
  std::uint64_t known = 1;
  for (std::size_t d = 0; d < wanted.size(); ++d) {
    if (wanted[d] == -1) {
      require(open == wanted.size(), "leaves two dimensions open");
      open = d;
    } else {
      require(wanted[d] >= 0 && wanted[d] <= INT32_MAX, "has a negative dimension");
      known = times(known, static_cast<std::uint64_t>(wanted[d]));
    }
  }
  if (open != wanted.size() && known != 0) wanted[open] = static_cast<std::int64_t>(count / known);
  if (elements_of(wanted) != count || (open != wanted.size() && known == 0))
    misfit("has a shape that does not fit: " + shape_text(from) + " can't become " + shape_text(given));
  return wanted;
}

Shape squeezed(const Shape& from, const Values& dropped) {
  std::vector<bool> named(from.size(), false);
  for (const std::int64_t given : dropped) named[axis_of(given, from.size())] = true;
  Shape shape;
  for (std::size_t d = 0; d < from.size(); ++d) {
    const bool drop = dropped.empty() ? from[d] == 1 : named[d];
    require(!drop || from[d] == 1, "drops a dimension that is not 1");
    if (!drop) shape.push_back(from[d]);
  }
  return shape;
}

Move transposed(const Shape& from, const Values& order) {
  if (order.size() != from.size())
    misfit("expected an order of " + std::to_string(from.size()) + " dimensions, got " + std::to_string(order.size()));
  const auto own = strides_of(from);
  std::vector<bool> used(from.size(), false);
  Move move;
  for (const std::int64_t entry : order) {
    const auto d = axis_of(entry, from.size());
    require(!used[d], "has an order that names a dimension twice");
    used[d] = true;
    move.shape.push_back(from[d]);
    move.strides.push_back(own[d]);
  }
  move.extents = move.shape;
  return move;
}

Move sliced(const Shape& from, const Values& begin, const Values& size) {
  require(begin.size() == from.size() && size.size() == from.size(), "has bounds that do not fit its input");
  Move move = whole(from);
  for (std::size_t d = 0; d < from.size(); ++d) {
    require(begin[d] >= 0 && begin[d] <= from[d], "starts outside its input");
    require(size[d] >= -1, "has a negative size");
    const std::int64_t count = size[d] == -1 ? from[d] - begin[d] : size[d];
    require(count <= from[d] - begin[d], "ends outside its input");
    move.extents[d] = count;
    move.start += static_cast<std::size_t>(begin[d]) * move.strides[d];
  }
  move.shape = move.extents;
  return move;
}

Move strided(const Shape& from, const StridedBounds& bounds) {
  const auto& [begin, end, stride, from_edge, to_edge, dropped] = bounds;
  require(begin.size() == from.size() && end.size() == begin.size() && stride.size() == begin.size(),
          "has bounds that do not fit its input");
  Move move = whole(from);
  move.shape.clear();
  for (std::size_t d = 0; d < from.size(); ++d) {
    const std::int64_t extent = from[d];
    const std::int64_t step = stride[d];
    if (step == 0 || step > kMostStride || step < -kMostStride)
      misfit("input 3: expected a stride other than 0 along dimension " + std::to_string(d) + ", got " +
             std::to_string(step));
    const std::int64_t lowest = step > 0 ? 0 : -1;
    const std::int64_t highest = step > 0 ? extent : extent - 1;
    const auto clamped = [&](std::int64_t k) { return std::clamp(k < 0 ? k + extent : k, lowest, highest); };
    std::int64_t first = has_bit(from_edge, d) ? (step > 0 ? 0 : extent - 1) : clamped(begin[d]);
    if (has_bit(dropped, d)) {
      require(step == 1, "drops a dimension with a stride other than 1");
      first = has_bit(from_edge, d) ? 0 : begin[d] < 0 ? begin[d] + extent : begin[d];
      if (first < 0 || first >= extent)
        misfit("takes entry " + std::to_string(begin[d]) + " of " + std::to_string(extent));
      move.extents[d] = 1;
    } else {
      const std::int64_t stop = has_bit(to_edge, d) ? (step > 0 ? extent : -1) : clamped(end[d]);
      const std::int64_t span = step > 0 ? stop - first : first - stop;
      move.extents[d] = span <= 0 ? 0 : (span + std::abs(step) - 1) / std::abs(step);
      move.shape.push_back(move.extents[d]);
    }
    move.start += static_cast<std::size_t>(first) * move.strides[d];
    move.strides[d] *= static_cast<std::size_t>(step);
  }
  return move;
}

Move part_of(const Shape& from, std::size_t axis, std::int64_t begin, std::int64_t extent) {
  Move move = whole(from);
  move.start = static_cast<std::size_t>(begin) * move.strides[axis];
  move.extents[axis] = extent;
  move.shape = move.extents;
  return move;
}

Values cut(std::int64_t extent, Values given) {
  const auto misfits = [] { misfit("has lengths that do not fit its input"); };
  std::int64_t left = extent;
  std::int64_t* open = nullptr;
  for (std::int64_t& length : given) {
    if (length == -1 && !open) {
      open = &length;
      continue;
    }
    if (length < 1 || length > left) misfits();
    left -= length;
  }
  if (!open && left != 0) misfits();
  if (open) *open = left;
  return given;
}

Move gathered(const Shape& from, std::size_t axis, const Values& entries, const Shape& shape) {
  for (const std::int64_t k : entries)
    if (k < 0 || k >= from[axis]) misfit("takes entry " + std::to_string(k) + " of " + std::to_string(from[axis]));
  Move move = whole(from);
  move.extents[axis] = static_cast<std::int64_t>(entries.size());
  move.picked = axis;
  move.picks = entries;
  move.shape = without_dimension(from, axis);
  move.shape.insert(move.shape.begin() + static_cast<std::ptrdiff_t>(axis), shape.begin(), shape.end());
  return move;
}

Join joined(const std::vector<Shape>& parts, std::size_t axis) {
  Join join;
  join.shape = parts[0];
  join.shape[axis] = 0;
  for (const Shape& part : parts) {
    Shape other = part;
    if (part.size() == parts[0].size()) other[axis] = parts[0][axis];
    if (other != parts[0]) misfit("joins " + shape_text(parts[0]) + " and " + shape_text(part));
    join.shape[axis] += part[axis];
    const Shape inner(part.begin() + static_cast<std::ptrdiff_t>(axis), part.end());
    join.blocks.push_back(static_cast<std::size_t>(elements_of(inner)));
  }
  join.outer =
      static_cast<std::size_t>(elements_of({parts[0].begin(), parts[0].begin() + static_cast<std::ptrdiff_t>(axis)}));
  return join;
}

}  // namespace linkcast::tflite
