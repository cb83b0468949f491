// What looks at a whole vector at once, and what layer normalisation is written with. Also how elements make up vectors.
#include <algorithm>
#include <cmath>

#include "recognise/evaluate.h"
#include "recognise/node_options.h"

namespace linkcast::tflite {

Lines lines_of(const Shape& shape, const std::vector<const std::vector<Element>*>& operands,
               const Expressions& expressions) {
  const std::uint64_t size = elements_of(shape);
  Lines lines;
  lines.count = static_cast<std::size_t>(size);
  if (size < 2) return lines;
  const auto along = [&](std::size_t length, std::size_t stride) {
    return Lines{length, stride, static_cast<std::size_t>(size) / length};
  };
  for (const auto* elements : operands) {
    std::size_t stride = 1;
    for (std::size_t d = shape.size(); d-- > 0;) {
      const auto extent = static_cast<std::size_t>(shape[d]);
      if (extent > 1) {
        const auto& first = elements->front();
        const auto& second = (*elements)[stride];
        if (first.expression != kNone && second.expression == first.expression && second.index == first.index + 1)
          return along(extent, stride);
      }
      stride *= extent;
    }
  }
  const bool apart = std::all_of(operands.begin(), operands.end(), [&](const auto* elements) {
    return std::all_of(elements->begin(), elements->end(), [&](const Element& e) {
      if (e.expression != kNone) return expressions.at(e.expression).size == 1;
      return elements->front().expression == kNone && e.constant == elements->front().constant;
    });
  });
  return apart ? lines : along(static_cast<std::size_t>(shape.back()), 1);
}

namespace evaluate {
namespace {

/// One over the number of elements, as a row of weights: a mean is a linear map.
ExpressionId mean_of(Expressions& expressions, ExpressionId x) {
  const std::size_t size = expressions.at(x).size;
  const auto weights = expressions.number_constant(std::vector<float>(size, 1.0f / static_cast<float>(size)));
  return expressions.linear(weights, x);
}

/// Gives the input with each line replaced: `numbers` for constants, `expression` for the others.
template <class Numbers, class Of>
void replace_lines(EvaluateCall& call, const Lines& lines, Numbers numbers, Of expression) {
  const auto& from = call.floats(0);
  Value value{from.type, from.shape, {}, {}, elements_from(from)};
  std::vector<Element> line(lines.length);
  for (std::size_t l = 0; l < lines.count; ++l) {
    for (std::size_t n = 0; n < lines.length; ++n) line[n] = value.elements[lines.at(l, n)];
    if (constant(line.data(), lines.length))
      numbers(line);
    else
      call.evaluator.put(expression(call.evaluator.vector_of(line.data(), lines.length)), line.data());
    for (std::size_t n = 0; n < lines.length; ++n) value.elements[lines.at(l, n)] = line[n];
  }
  call.give(std::move(value));
}

template <class Number, class Of>
void each_element(EvaluateCall& call, Number number, Of expression) {
  const auto elements = elements_from(call.floats(0));
  const auto lines = lines_of(call.floats(0).shape, {&elements}, call.evaluator.expressions);
  const auto numbers = [&](std::vector<Element>& line) {
    for (auto& e : line) e.constant = number(e.constant);
  };
  replace_lines(call, lines, numbers, expression);
}

}  // namespace

bool constant(const Element* elements, std::size_t count) {
  const bool all = all_constant(elements, count);
  require(all || none_constant(elements, count), "mixes constants and activations in one vector");
  return all;
}

void by_lines(EvaluateCall& call, const Combine& combine) {
  const auto& a = call.floats(0);
  const auto& b = call.floats(1);
  Value value{kTypeFloat32, broadcast(a.shape, b.shape), {}, {}, {}};
  const std::size_t size = readable_size(value.shape);
  const auto spread = [&](const Value& from) {
    const auto positions = broadcast_to(from.shape, value.shape).positions();
    const auto elements = elements_from(from);
    std::vector<Element> result(size);
    for (std::size_t n = 0; n < size; ++n) result[n] = elements[positions[n]];
    return result;
  };
  const auto left = spread(a);
  const auto right = spread(b);
  value.elements.resize(size);
  const Lines lines = lines_of(value.shape, {&left, &right}, call.evaluator.expressions);
  std::vector<Element> x(lines.length);
  std::vector<Element> y(lines.length);
  std::vector<Element> result(lines.length);
  for (std::size_t line = 0; line < lines.count; ++line) {
    for (std::size_t n = 0; n < lines.length; ++n) {
      x[n] = left[lines.at(line, n)];
      y[n] = right[lines.at(line, n)];
    }
    std::fill(result.begin(), result.end(), Element{});
    combine(x.data(), y.data(), lines.length, result.data());
    for (std::size_t n = 0; n < lines.length; ++n) value.elements[lines.at(line, n)] = result[n];
  }
  call.give(std::move(value));
}

void softmax(EvaluateCall& call) {
  const float beta = call.options<SoftmaxOptions>().beta;
  require(std::isfinite(beta) && beta > 0.0f, "has a beta that is not above 0");
  const auto& x = call.floats(0);
  require(x.size() > 0, "has no elements");
  const Lines lines{x.width(), 1, x.size() / x.width()};
  const auto numbers = [](std::vector<Element>&) { misfit("works on constants"); };
  replace_lines(call, lines, numbers, [&](ExpressionId row) {
    for (const auto& piece : call.evaluator.expressions.at(row).pieces)
      require(piece.size == call.evaluator.expressions.at(piece.source).size,
              "runs over another dimension than the features");
    return call.evaluator.expressions.softmax(beta, row);
  });
}

void mean(EvaluateCall& call) {
  auto& evaluator = call.evaluator;
  const auto& x = call.floats(0);
  const bool keep = call.options<ReducerOptions>().keep_dims;
  require(x.size() > 0, "has no elements");
  std::vector<bool> chosen(x.shape.size(), false);
  for (const std::int64_t given : call.integers(1)) chosen[axis_of(given, chosen.size())] = true;
  Value value{kTypeFloat32, {}, {}, {}, {}};
  Lines lines{1, 1, x.size()};
  std::size_t stride = 1;
  for (std::size_t d = x.shape.size(); d-- > 0;) {
    const auto extent = static_cast<std::size_t>(x.shape[d]);
    if (!chosen[d] || keep) value.shape.insert(value.shape.begin(), chosen[d] ? 1 : x.shape[d]);
    if (chosen[d] && extent > 1) {
      require(lines.length == 1, "averages over more than the features");
      lines = {extent, stride, x.size() / extent};
    }
    stride *= extent;
  }
  const auto elements = elements_from(x);
  std::vector<Element> line(lines.length);
  for (std::size_t l = 0; l < lines.count; ++l) {
    for (std::size_t n = 0; n < lines.length; ++n) line[n] = elements[lines.at(l, n)];
    auto& result = value.elements.emplace_back(line[0]);
    if (lines.length == 1) continue;
    if (constant(line.data(), lines.length)) {
      double sum = 0.0;
      for (const auto& e : line) sum += static_cast<double>(e.constant);
      result.constant = static_cast<float>(sum / static_cast<double>(lines.length));
      continue;
    }
    const auto row = evaluator.vector_of(line.data(), lines.length);
    for (const auto& piece : evaluator.expressions.at(row).pieces)
      require(piece.size == evaluator.expressions.at(piece.source).size, "averages over more than the features");
    evaluator.put(mean_of(evaluator.expressions, row), &result);
  }
  call.give(std::move(value));
}

void square(EvaluateCall& call) {
  each_element(
      call, [](float x) { return x * x; }, [&](ExpressionId x) { return call.evaluator.expressions.multiply(x, x); });
}

void squared_difference(EvaluateCall& call) {
  auto& expressions = call.evaluator.expressions;
  by_lines(call, [&](const Element* x, const Element* y, std::size_t width, Element* result) {
    const bool x_constant = constant(x, width);
    const bool y_constant = constant(y, width);
    if (x_constant && y_constant) {
      for (std::size_t n = 0; n < width; ++n)
        result[n].constant = (x[n].constant - y[n].constant) * (x[n].constant - y[n].constant);
      return;
    }
    require(!x_constant && !y_constant, "works on a constant");
    const auto minus = expressions.affine(std::vector<float>(width, -1.0f), std::vector<float>(width),
                                          call.evaluator.vector_of(y, width));
    const auto difference = expressions.add(call.evaluator.vector_of(x, width), minus);
    call.evaluator.put(expressions.multiply(difference, difference), result);
  });
}

void negate(EvaluateCall& call) {
  const auto& from = *call.input(0);
  if (from.whole()) {
    Value value = from;
    for (auto& v : value.integers) v = stored(from.type, call.rule.number(0, v));
    return call.give(std::move(value));
  }
  auto& expressions = call.evaluator.expressions;
  each_element(
      call, [](float x) { return -x; },
      [&](ExpressionId x) {
        const std::size_t size = expressions.at(x).size;
        return expressions.affine(std::vector<float>(size, -1.0f), std::vector<float>(size), x);
      });
}

template <bool inverse>
void root(EvaluateCall& call) {
  each_element(
      call, [](float x) { return inverse ? 1.0f / std::sqrt(x) : std::sqrt(x); },
      [&](ExpressionId x) { return call.evaluator.expressions.root(inverse, x); });
}
template void root<false>(EvaluateCall&);
template void root<true>(EvaluateCall&);

}  // namespace evaluate

}  // namespace linkcast::tflite
