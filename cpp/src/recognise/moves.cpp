// What moves data without a look at it, and what makes whole numbers of shapes.
#include "recognise/evaluate.h"
#include "recognise/node_options.h"

namespace linkcast::tflite::evaluate {
namespace {

/// Calls `take` with the list of a value that is in use, and the same list of another one.
template <class Take>
void of_its_kind(const Value& from, Value& to, Take take) {
  if (from.symbolic())
    take(from.elements, to.elements);
  else if (from.whole())
    take(from.integers, to.integers);
  else
    take(from.floats, to.floats);
}

void give(EvaluateCall& call, const Value& from, const Move& move) {
  readable_size(move.shape);
  Value value{from.type, move.shape, {}, {}, {}};
  const auto positions = move.positions();
  of_its_kind(from, value, [&](const auto& list, auto& into) {
    into.reserve(positions.size());
    for (const std::size_t n : positions) into.push_back(list[n]);
  });
  call.give(std::move(value));
}

void give_in_shape(EvaluateCall& call, const Value& from, Shape shape) {
  Value value = from;
  value.shape = std::move(shape);
  call.give(std::move(value));
}

Values dimensions(const EvaluateCall& call) {
  const auto& options = call.options<DimensionsOptions>();
  require(options.count >= 0 && options.count <= 8, "has no dimensions");
  return {options.dims, options.dims + options.count};
}

/// Joins the inputs, whose shapes are `shapes`, along dimension `d`.
void join(EvaluateCall& call, const std::vector<Shape>& shapes, std::size_t d) {
  const auto& like = *call.input(0);
  bool symbolic = false;
  for (std::size_t n = 0; n < call.in.size(); ++n) {
    require(call.input(n)->type == like.type, "mixes types");
    symbolic = symbolic || call.input(n)->symbolic();
  }
  const Join join = joined(shapes, d);
  readable_size(join.shape);
  Value value{like.type, join.shape, {}, {}, {}};
  const auto all = [&](auto& into, const auto& list_of) {
    std::vector<std::decay_t<decltype(into)>> lists;
    for (const auto& part : call.in) lists.push_back(list_of(*part));
    into = join.of(lists);
  };
  require(!symbolic || !value.whole(), "joins masks");
  if (value.whole())
    all(value.integers, [](const Value& part) { return part.integers; });
  else if (symbolic)
    all(value.elements, elements_from);
  else
    all(value.floats, [](const Value& part) { return part.floats; });
  call.give(std::move(value));
}

}  // namespace

void reshape(EvaluateCall& call) {
  const auto& from = *call.input(0);
  give_in_shape(call, from, reshaped(from.shape, call.has(1) ? call.integers(1) : dimensions(call)));
}

void expand_dims(EvaluateCall& call) {
  const auto& from = *call.input(0);
  give_in_shape(call, from, with_dimension(from.shape, axis_of(call.integer(1), from.shape.size() + 1), 1));
}

void squeeze(EvaluateCall& call) {
  const auto& from = *call.input(0);
  give_in_shape(call, from, squeezed(from.shape, dimensions(call)));
}

void transpose(EvaluateCall& call) {
  const auto& from = *call.input(0);
  give(call, from, transposed(from.shape, call.integers(1)));
}

void slice(EvaluateCall& call) {
  const auto& from = *call.input(0);
  give(call, from, sliced(from.shape, call.integers(1), call.integers(2)));
}

void strided_slice(EvaluateCall& call) {
  const auto& options = call.options<StridedSliceOptions>();
  require(options.ellipsis_mask == 0 && options.new_axis_mask == 0 && !options.offset,
          "has bounds of a form that is not read");
  const auto& from = *call.input(0);
  const auto bits = [](int mask) { return static_cast<std::uint32_t>(mask); };
  give(call, from,
       strided(from.shape, {call.integers(1), call.integers(2), call.integers(3), bits(options.begin_mask),
                            bits(options.end_mask), bits(options.shrink_axis_mask)}));
}

void split(EvaluateCall& call) {
  const auto& from = *call.input(1);
  const int count = call.options<SplitOptions>().count;
  const auto d = axis_of(call.integer(0), from.shape.size());
  require(count > 0 && from.shape[d] % count == 0, "does not divide its input");
  const std::int64_t extent = from.shape[d] / count;
  for (int part = 0; part < count; ++part) give(call, from, part_of(from.shape, d, part * extent, extent));
}

void split_lengths(EvaluateCall& call) {
  const auto& from = *call.input(0);
  const auto d = axis_of(call.integer(2), from.shape.size());
  std::int64_t begin = 0;
  for (const std::int64_t length : cut(from.shape[d], call.integers(1))) {
    give(call, from, part_of(from.shape, d, begin, length));
    begin += length;
  }
}

void reverse(EvaluateCall& call) {
  const auto& from = *call.input(0);
  const auto d = axis_of(call.integer(1), from.shape.size());
  Values backwards;
  for (std::int64_t n = from.shape[d]; n > 0; --n) backwards.push_back(n - 1);
  give(call, from, gathered(from.shape, d, backwards, {from.shape[d]}));
}

void unpack(EvaluateCall& call) {
  const auto& from = *call.input(0);
  const auto d = axis_of(call.options<PackOptions>().axis, from.shape.size());
  for (std::int64_t part = 0; part < from.shape[d]; ++part) {
    Move move = part_of(from.shape, d, part, 1);
    move.shape = without_dimension(move.shape, d);
    give(call, from, move);
  }
}

void gather(EvaluateCall& call) {
  const auto& options = call.options<GatherOptions>();
  require(options.batch_dims == 0, "has batch dimensions");
  const auto& from = *call.input(0);
  const auto d = axis_of(options.axis, from.shape.size());
  give(call, from, gathered(from.shape, d, call.integers(1), call.input(1)->shape));
}

void concatenate(EvaluateCall& call) {
  const auto& options = call.options<ConcatenationOptions>();
  require(options.activation == 0, "has a fused activation without a native kernel");
  std::vector<Shape> shapes;
  for (std::size_t n = 0; n < call.in.size(); ++n) shapes.push_back(call.input(n)->shape);
  join(call, shapes, axis_of(options.axis, call.input(0)->shape.size()));
}

void pack(EvaluateCall& call) {
  const auto d = axis_of(call.options<PackOptions>().axis, call.input(0)->shape.size() + 1);
  std::vector<Shape> shapes;
  for (std::size_t n = 0; n < call.in.size(); ++n) {
    require(call.input(n)->shape.size() == call.input(0)->shape.size(), "packs shapes that do not go together");
    shapes.push_back(with_dimension(call.input(n)->shape, d, 1));
  }
  join(call, shapes, d);
}

void shape_of(EvaluateCall& call) {
  const auto& shape = call.input(0)->shape;
  call.give({kTypeInt32, {static_cast<std::int64_t>(shape.size())}, {}, shape, {}});
}

void fill(EvaluateCall& call) {
  const auto& with = *call.input(1);
  require(!with.symbolic() && with.size() == 1, "needs one constant");
  Value value{with.type, call.integers(0), {}, {}, {}};
  const auto count = readable_size(value.shape);
  if (with.whole())
    value.integers.assign(count, with.integers[0]);
  else
    value.floats.assign(count, with.floats[0]);
  call.give(std::move(value));
}

void tile(EvaluateCall& call) {
  const auto& from = *call.input(0);
  const auto& times_of = call.integers(1);
  require(times_of.size() == from.shape.size(), "has repetitions that do not fit its input");
  Move move;
  std::size_t stride = from.size();
  for (std::size_t d = 0; d < times_of.size(); ++d) {
    require(times_of[d] >= 1 && from.shape[d] >= 1, "has repetitions that do not fit its input");
    stride /= static_cast<std::size_t>(from.shape[d]);
    move.shape.push_back(from.shape[d] * times_of[d]);
    move.extents.insert(move.extents.end(), {times_of[d], from.shape[d]});
    move.strides.insert(move.strides.end(), {0, stride});
  }
  give(call, from, move);
}

void spread_out(EvaluateCall& call) {
  const auto& from = *call.input(0);
  require(broadcast(from.shape, call.integers(1)) == call.integers(1), "has a shape that does not fit");
  give(call, from, broadcast_to(from.shape, call.integers(1)));
}

void reduce_whole(EvaluateCall& call) {
  const auto& from = *call.input(0);
  require(from.whole() && !from.symbolic() && !from.integers.empty(), "reduces activations");
  std::vector<bool> chosen(from.shape.size(), false);
  for (const std::int64_t given : call.integers(1)) chosen[axis_of(given, chosen.size())] = true;
  const bool keep = call.options<ReducerOptions>().keep_dims;
  Value value{from.type, {}, {}, {}, {}};
  for (std::size_t d = 0; d < chosen.size(); ++d) {
    require(chosen[d] || from.shape[d] == 1, "reduces whole numbers to more than one");
    if (!chosen[d] || keep) value.shape.push_back(1);
  }
  std::int64_t result = from.integers[0];
  for (std::size_t n = 1; n < from.integers.size(); ++n)
    result = stored(from.type, call.rule.number(result, from.integers[n]));
  value.integers = {result};
  call.give(std::move(value));
}

}  // namespace linkcast::tflite::evaluate
