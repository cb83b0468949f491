#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "recognise/layout_checks.h"

namespace linkcast::tflite::layout {
namespace {

constexpr std::size_t kMostSliceRank = 5;
constexpr std::size_t kMostTransposeRank = 6;

Shape checked_shape(const Values& dims) {
  require(dims.size() <= kMostRank, "has an output of more than 8 dimensions");
  for (const std::int64_t d : dims) require(d >= 0 && d <= INT32_MAX, "has an output with a negative dimension");
  return dims;
}

void give_joined(LayoutCall& call, const std::vector<Shape>& shapes, std::size_t d) {
  const Join join = joined(shapes, d);
  call.give(join.shape);
  call.work = elements_of(join.shape);
  if (call.work > kMostValues || !whole_numbers(call.out[0].type)) return;
  std::vector<Values> lists;
  for (const auto* part : call.in) {
    if (!part->values && elements_of(part->shape) > 0) return;
    lists.push_back(part->values ? *part->values : Values());
  }
  call.give_values(0, join.of(lists));
}

void padded(LayoutCall& call, std::int64_t most_of_extent) {
  const auto& widths = call.values(1);
  Shape shape = call.shape(0);
  require(!shape.empty() && shape.size() <= 4, "expects 1 to 4 dimensions");
  require(call.shape(1) == Shape({static_cast<std::int64_t>(shape.size()), 2}),
          "has paddings that do not fit its input");
  for (std::size_t d = 0; d < shape.size(); ++d) {
    const std::int64_t before = widths[2 * d];
    const std::int64_t after = widths[2 * d + 1];
    require(before >= 0 && after >= 0 && before <= (1 << 24) && after <= (1 << 24), "has a negative padding");
    if (most_of_extent >= 0)
      require(before <= shape[d] - most_of_extent && after <= shape[d] - most_of_extent, "mirrors more than there is");
    shape[d] += before + after;
  }
  call.give(std::move(shape));
  call.work = elements_of(call.out[0].shape);
}

std::int64_t block_of(const LayoutCall& call) {
  const std::int64_t block = call.option<std::int32_t>(0, 0);
  require(call.rank(0) == 4 && block >= 1 && block <= 1024, "expects 4 dimensions and a block from 1 to 1024");
  return block;
}

}  // namespace

void reshape(LayoutCall& call) {
  if (call.has(1)) {
    require(call.rank(1) == 1, "expects its shape as a vector");
    require(call.shape(1)[0] <= static_cast<std::int64_t>(kMostRank), "has an output of more than 8 dimensions");
  } else {
    require(call.has_option(0), "has no shape");
  }
  call.give_reshaped(0, reshaped(call.shape(0), call.has(1) ? call.values(1) : call.option_list(0)));
}

void squeeze(LayoutCall& call) { call.give_reshaped(0, squeezed(call.shape(0), call.option_list(0))); }

void expand_dims(LayoutCall& call) {
  const Shape& shape = call.shape(0);
  require(shape.size() < kMostRank, "has an output of more than 8 dimensions");
  call.give_reshaped(0, with_dimension(shape, axis_of(call.value(1), shape.size() + 1), 1));
}

void transpose(LayoutCall& call) {
  require(call.rank(0) <= kMostTransposeRank && call.rank(1) == 1, "expects at most 6 dimensions");
  call.give_moved(0, 0, transposed(call.shape(0), call.values(1)));
}

void concatenate(LayoutCall& call) {
  check_activation_function(call.option<std::int8_t>(1, 0));
  require(call.option<std::int8_t>(1, 0) == 0, "has a fused activation that its kernel does not compute");
  require(call.rank(0) <= 6, "expects at most 6 dimensions");
  std::vector<Shape> shapes;
  for (std::size_t n = 0; n < call.in.size(); ++n) {
    const auto& part = *call.in[n];
    shapes.push_back(part.shape);
    if (!quantised(part.type)) continue;
    check_activation(part, "input " + std::to_string(n));
    check_activation(call.out[0], "output 0");
    require(part.type != kTypeInt8 || part.scale == call.out[0].scale, "joins quantised values of different scales");
  }
  give_joined(call, shapes, axis_of(call.option<std::int32_t>(0, 0), call.rank(0)));
}

void pack(LayoutCall& call) {
  const auto& first = call.shape(0);
  require(first.size() < 6, "expects at most 5 dimensions");
  for (std::size_t n = 0; n < call.in.size(); ++n)
    if (call.shape(n) != first) misfit("packs " + shape_text(first) + " and " + shape_text(call.shape(n)));
  const std::int64_t count = call.option<std::int32_t>(0, 0);
  if (count != static_cast<std::int64_t>(call.in.size()))
    misfit("packs " + std::to_string(count) + " tensors and has " + std::to_string(call.in.size()) + " inputs");
  const auto d = axis_of(call.option<std::int32_t>(1, 0), first.size() + 1);
  give_joined(call, std::vector<Shape>(call.in.size(), with_dimension(first, d, 1)), d);
}

void unpack(LayoutCall& call) {
  const Shape& shape = call.shape(0);
  require(!shape.empty() && shape.size() <= 6, "expects 1 to 6 dimensions");
  const auto d = axis_of(call.option<std::int32_t>(1, 0), shape.size());
  const auto parts = shape[d];
  if (call.option<std::int32_t>(0, 0) != parts || parts != static_cast<std::int64_t>(call.out.size()))
    misfit("unpacks " + std::to_string(parts) + " tensors, names " + std::to_string(call.option<std::int32_t>(0, 0)) +
           " and has " + std::to_string(call.out.size()) + " outputs");
  for (std::size_t n = 0; n < call.out.size(); ++n) {
    Move move = part_of(shape, d, static_cast<std::int64_t>(n), 1);
    move.shape = without_dimension(shape, d);
    call.give_moved(n, 0, move);
  }
}

void split(LayoutCall& call) {
  const Shape& shape = call.shape(1);
  const auto d = axis_of(call.value(0), shape.size());
  const std::int64_t parts = call.option<std::int32_t>(0, 0);
  if (parts < 1 || parts != static_cast<std::int64_t>(call.out.size()) || shape[d] % parts != 0)
    misfit("splits " + shape_text(shape) + " into " + std::to_string(parts) + " parts and has " +
           std::to_string(call.out.size()) + " outputs");
  const std::int64_t extent = shape[d] / parts;
  for (std::size_t n = 0; n < call.out.size(); ++n)
    call.give_moved(n, 1, part_of(shape, d, static_cast<std::int64_t>(n) * extent, extent));
}

void split_lengths(LayoutCall& call) {
  const auto& x = call.shape(0);
  const auto d = axis_of(call.value(2), x.size());
  const auto lengths = cut(x[d], call.values(1));
  require(lengths.size() == call.out.size() && call.rank(1) == 1 &&
              call.option<std::int32_t>(0, 0) == static_cast<std::int32_t>(lengths.size()),
          "has other outputs than lengths");
  std::int64_t sum = 0;
  for (std::size_t n = 0; n < lengths.size(); ++n) {
    call.give_moved(n, 0, part_of(x, d, sum, lengths[n]));
    sum += lengths[n];
  }
}

void slice(LayoutCall& call) {
  require(call.rank(0) >= 1 && call.rank(0) <= kMostSliceRank && call.rank(1) == 1 && call.rank(2) == 1,
          "has bounds that do not fit its input");
  call.give_moved(0, 0, sliced(call.shape(0), call.values(1), call.values(2)));
}

void strided_slice(LayoutCall& call) {
  require(call.rank(1) == 1 && call.rank(2) == 1 && call.rank(3) == 1, "has bounds that are no vectors");
  require(call.rank(0) >= 1 && call.rank(0) <= kMostSliceRank, "has bounds that do not fit its input");
  require(call.option<std::int32_t>(2, 0) == 0 && call.option<std::int32_t>(3, 0) == 0,
          "has an ellipsis or a new dimension, which is refused");
  require(!call.option<bool>(5, false), "has ends that are offsets, which is refused");
  const auto mask = [&](int field) { return static_cast<std::uint32_t>(call.option<std::int32_t>(field, 0)); };
  call.give_moved(0, 0,
                  strided(call.shape(0), {call.values(1), call.values(2), call.values(3), mask(0), mask(1), mask(4)}));
  require(elements_of(call.out[0].shape) > 0, "gives a tensor without elements");
}

void update_slice(LayoutCall& call) {
  require(call.rank(0) >= 1 && call.rank(0) <= kMostSliceRank && call.rank(1) == call.rank(0) &&
              call.shape(2) == Shape{static_cast<std::int64_t>(call.rank(0))},
          "has an update that does not fit");
  for (std::size_t d = 0; d < call.rank(0); ++d)
    require(call.shape(1)[d] <= call.shape(0)[d], "has an update larger than its input");
  call.give(call.shape(0));
  call.work = elements_of(call.shape(0));
}

void gather(LayoutCall& call) {
  const auto& x = call.shape(0);
  require(x.size() >= 1 && call.rank(1) <= 3 && x.size() + call.rank(1) <= kMostRank + 1,
          "has an output of more than 8 dimensions");
  require(call.option<std::int32_t>(1, 0) == 0, "has batch dimensions, which are refused");
  const auto d = axis_of(call.option<std::int32_t>(0, 0), x.size());
  call.give_moved(0, 0, gathered(x, d, call.values(1), call.shape(1)));
}

void tile(LayoutCall& call) {
  const auto& times_of = call.values(1);
  Shape shape = call.shape(0);
  require(times_of.size() == shape.size() && call.rank(1) == 1 && !shape.empty(),
          "has repetitions that do not fit its input");
  for (std::size_t d = 0; d < shape.size(); ++d) {
    require(times_of[d] >= 1 && times_of[d] <= INT32_MAX / std::max<std::int64_t>(shape[d], 1),
            "has repetitions that do not fit its input");
    shape[d] *= times_of[d];
  }
  call.give(std::move(shape));
  call.work = elements_of(call.out[0].shape);
}

void broadcast_to(LayoutCall& call) {
  const Shape wanted = checked_shape(call.values(1));
  require(call.rank(1) == 1 && broadcast_of(call.shape(0), wanted) == wanted, "has a shape that does not fit");
  call.give(wanted);
  call.work = elements_of(wanted);
}

void fill(LayoutCall& call) {
  require(call.rank(0) == 1 && call.rank(1) == 0, "expects a shape and one value");
  call.give(checked_shape(call.values(0)));
  call.work = elements_of(call.out[0].shape);
  if (call.in[1]->values && call.work <= kMostValues)
    call.give_values(0, Values(static_cast<std::size_t>(call.work), (*call.in[1]->values)[0]));
}

void pad(LayoutCall& call) {
  padded(call, -1);
  if (call.has(2)) require(elements_of(call.shape(2)) == 1, "expects one value to pad with");
  if (quantised(call.in[0]->type)) check_activations(call);
}

void mirror_pad(LayoutCall& call) {
  const int mode = call.option<std::int8_t>(0, 0);
  require(mode == 0 || mode == 1, "has a mode that is neither REFLECT nor SYMMETRIC");
  padded(call, mode == 0 ? 1 : 0);
}

void reverse(LayoutCall& call) {
  require(call.rank(1) == 1 && call.values(1).size() == 1, "expects one dimension to reverse");
  axis_of(call.values(1)[0], call.rank(0));
  require(call.values(1)[0] >= 0, "names a negative dimension");
  call.give(call.shape(0));
  call.work = elements_of(call.shape(0));
}

void shape_of(LayoutCall& call) {
  auto& out = call.out[0];
  require(out.type == call.option<std::int8_t>(0, 0), "has an output of another type than its options say");
  call.give({static_cast<std::int64_t>(call.rank(0))});
  call.give_values(0, call.shape(0));
}

void rank_of(LayoutCall& call) {
  call.give({});
  call.give_values(0, {static_cast<std::int64_t>(call.rank(0))});
}

void range(LayoutCall& call) {
  const std::int64_t start = call.value(0);
  const std::int64_t limit = call.value(1);
  const std::int64_t delta = call.value(2);
  for (const std::size_t input : {0, 1, 2}) require(call.rank(input) == 0, "expects three numbers");
  const std::int64_t most = std::int64_t{1} << 31;
  require(std::abs(start) < most && std::abs(limit) < most && std::abs(delta) < most && delta != 0 &&
              (delta > 0 ? start < limit : start > limit),
          "has bounds that do not go together");
  const std::int64_t count = (std::abs(limit - start) + std::abs(delta) - 1) / std::abs(delta);
  call.give({count});
  call.work = static_cast<std::uint64_t>(count);
  if (call.work > kMostValues) return;
  Values values;
  for (std::int64_t n = 0; n < count; ++n) values.push_back(start + n * delta);
  call.give_values(0, std::move(values));
}

void blocks_to_space(LayoutCall& call) {
  const std::int64_t block = block_of(call);
  Shape shape = call.shape(0);
  require(shape[3] % (block * block) == 0, "has blocks that do not fit its input");
  shape = {shape[0], shape[1] * block, shape[2] * block, shape[3] / (block * block)};
  call.give(std::move(shape));
  call.work = elements_of(call.shape(0));
}

void space_to_blocks(LayoutCall& call) {
  const std::int64_t block = block_of(call);
  Shape shape = call.shape(0);
  require(shape[1] % block == 0 && shape[2] % block == 0, "has blocks that do not fit its input");
  shape = {shape[0], shape[1] / block, shape[2] / block, shape[3] * block * block};
  call.give(std::move(shape));
  call.work = elements_of(call.shape(0));
}

}  // namespace linkcast::tflite::layout
