// Where the elements of a tensor come from: the arithmetic of reshapes, slices, transposes, splits, joins and broadcasts.
// The layout of a graph and its evaluation share it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "recognise/shape.h"

namespace linkcast::tflite {

/// An operator's inputs and options do not go together. The text is what stands behind its name: "starts outside its
/// input".
struct Misfit : std::runtime_error {
  using std::runtime_error::runtime_error;
};
[[noreturn]] void misfit(const std::string& what);
inline void require(bool holds, const char* what) {
  if (!holds) misfit(what);
}

using Values = std::vector<std::int64_t>;  // of a small tensor of whole numbers

/// A tensor made of another one's elements, each of which it names by its coordinates.
struct Move {
  Shape shape;    // of the result
  Shape extents;  // the coordinates that are walked through, row-major: as many as elements in `shape`
  std::vector<std::size_t> strides;  // of each coordinate, in elements of the source; a negative one wraps around
  std::size_t start = 0;
  std::size_t picked = 0;  // the coordinate that runs through `picks` and not through 0, 1, 2, ...
  Values picks;            // none: no coordinate does

  /// The source's element for each element of the result.
  std::vector<std::size_t> positions() const;
};

// All throw Misfit.

/// A dimension, counted from the end when negative.
std::size_t axis_of(std::int64_t given, std::size_t rank);
Shape with_dimension(Shape shape, std::size_t axis, std::int64_t extent);
Shape without_dimension(Shape shape, std::size_t axis);

/// As in NumPy: shapes are aligned at the end, a dimension of 1 is repeated.
Shape broadcast(const Shape& a, const Shape& b);
Move broadcast_to(const Shape& from, const Shape& to);

/// @param wanted  -1 for one dimension that follows from the others
Shape reshaped(const Shape& from, Shape wanted);
/// @param dropped  dimensions of 1; none: all of them
Shape squeezed(const Shape& from, const Values& dropped);
Move transposed(const Shape& from, const Values& order);
/// @param size  -1: up to the end
Move sliced(const Shape& from, const Values& begin, const Values& size);

struct StridedBounds {
  const Values& begin;
  const Values& end;
  const Values& stride;
  // A bit for each dimension: `begin` and `end` are the edges; of a dimension that is dropped only `begin` is taken.
  std::uint32_t from_edge, to_edge, dropped;
};
Move strided(const Shape& from, const StridedBounds& bounds);
/// Lengths that a dimension of `extent` is cut into. @param given  at least 1, or -1 for one of them: what is left
Values cut(std::int64_t extent, Values given);
/// Entries `begin` to `begin + extent` of one dimension.
Move part_of(const Shape& from, std::size_t axis, std::int64_t begin, std::int64_t extent);
/// Entries of one dimension, in a shape of their own.
Move gathered(const Shape& from, std::size_t axis, const Values& entries, const Shape& shape);

/// Tensors one behind the other along a dimension.
struct Join {
  Shape shape;
  std::size_t outer = 1;            // how often the parts' blocks follow each other
  std::vector<std::size_t> blocks;  // elements of each part, side by side

  /// @param lists  each part's elements
  template <class List>
  List of(const std::vector<List>& lists) const {
    List all;
    if (elements_of(shape) == 0) return all;
    for (std::size_t o = 0; o < outer; ++o)
      for (std::size_t n = 0; n < lists.size(); ++n) {
        const auto begin = lists[n].begin() + static_cast<std::ptrdiff_t>(o * blocks[n]);
        all.insert(all.end(), begin, begin + static_cast<std::ptrdiff_t>(blocks[n]));
      }
    return all;
  }
};
Join joined(const std::vector<Shape>& parts, std::size_t axis);

}  // namespace linkcast::tflite
