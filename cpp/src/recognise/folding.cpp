#include "recognise/folding.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

namespace linkcast::tflite {
namespace {

constexpr int kDeepest = 32;  // a hostile graph could nest without end
constexpr std::size_t kMostTerms = 16;
constexpr std::size_t kMostWeights = std::size_t{1} << 22;  // of a matrix that is put together here

/// factor[n] * base[n] * scale: `base` has as many elements as the sum or one for all, `scale` one or is absent.
struct Term {
  ExpressionId base = kNone;
  ExpressionId scale = kNone;
  std::vector<double> factor;
};

/// The terms and a constant, all of `offset.size()` elements.
struct Sum {
  std::vector<Term> terms;
  std::vector<double> offset;
};

/// W x + b, put together from several.
struct Linear {
  std::size_t units = 0;
  ExpressionId x = kNone;
  std::vector<double> weights;  // (units, size of x)
  std::vector<double> offset;   // (units)
};

class Folder {
 public:
  explicit Folder(Expressions& expressions) : expressions_(expressions) {}

  ExpressionId normalised(ExpressionId id) {
    const std::size_t size = at(id).size;
    const auto sum = sum_of(id, size, 0);
    if (!sum || sum->terms.size() != 2 || size < 2) return kNone;
    for (const int first : {0, 1}) {
      const auto& row = sum->terms[static_cast<std::size_t>(first)];
      const auto& mean = sum->terms[static_cast<std::size_t>(1 - first)];
      if (row.scale == kNone || row.scale != mean.scale || !is_mean(mean.base, row.base) || at(row.base).size != size)
        continue;
      bool opposite = true;
      for (std::size_t n = 0; n < size; ++n) opposite = opposite && row.factor[n] == -mean.factor[n];
      const float epsilon = opposite ? epsilon_of(row.scale, row.base, mean.base) : 0.0F;
      if (!(epsilon > 0.0F)) continue;
      return expressions_.affine(floats(row.factor), floats(sum->offset), expressions_.normalise(epsilon, row.base));
    }
    return kNone;
  }

  ExpressionId linear(ExpressionId id) {
    const auto map = linear_of(id, at(id).size, 0);
    return map ? write(*map) : kNone;
  }

 private:
  const Expression& at(ExpressionId id) const { return expressions_.at(id); }

  static std::vector<float> floats(const std::vector<double>& values) {
    return std::vector<float>(values.begin(), values.end());
  }

  // ---- sums -------------------------------------------------------------------------------------------------------

  /// What `id` adds up, of `size` elements: `id` has as many, or one for all of them.
  std::optional<Sum> sum_of(ExpressionId id, std::size_t size, int depth) const {
    if (depth > kDeepest) return std::nullopt;
    const auto& e = at(id);
    switch (e.kind) {
      case Kind::spread:
        return sum_of(e.x, size, depth + 1);
      case Kind::affine: {
        auto sum = sum_of(e.x, size, depth + 1);
        if (!sum) return sum;
        const auto& scale = expressions_.constant(e.first);
        const auto& offset = expressions_.constant(e.second);
        for (std::size_t n = 0; n < size; ++n) {
          const std::size_t own = scale.size() == 1 ? 0 : n;
          for (auto& term : sum->terms) term.factor[n] *= static_cast<double>(scale[own]);
          sum->offset[n] = sum->offset[n] * static_cast<double>(scale[own]) + static_cast<double>(offset[own]);
        }
        return sum;
      }
      case Kind::add: {
        auto sum = sum_of(e.x, size, depth + 1);
        const auto other = sum ? sum_of(e.y, size, depth + 1) : std::nullopt;
        if (!other) return other;
        for (const auto& term : other->terms) add(*sum, term);
        for (std::size_t n = 0; n < size; ++n) sum->offset[n] += other->offset[n];
        return sum->terms.size() > kMostTerms ? std::nullopt : sum;
      }
      case Kind::multiply:
        for (const auto& [factor, rest] : {std::pair(e.x, e.y), std::pair(e.y, e.x)}) {
          const auto scale = sum_of(factor, size, depth + 1);
          if (scale && is_root(*scale)) return scaled(scale->terms[0], sum_of(rest, size, depth + 1));
        }
        break;
      default:
        break;
    }
    return Sum{{{id, kNone, std::vector<double>(size, 1.0)}}, std::vector<double>(size)};
  }

  /// Whether the sum is one root, for all elements alike, times constants.
  bool is_root(const Sum& sum) const {
    return sum.terms.size() == 1 && sum.terms[0].scale == kNone && at(sum.terms[0].base).kind == Kind::root &&
           at(sum.terms[0].base).size == 1 &&
           std::all_of(sum.offset.begin(), sum.offset.end(), [](double o) { return o == 0.0; });
  }

  static std::optional<Sum> scaled(const Term& root, std::optional<Sum> sum) {
    if (!sum) return sum;
    Sum result{{}, std::vector<double>(sum->offset.size())};
    if (std::any_of(sum->offset.begin(), sum->offset.end(), [](double o) { return o != 0.0; })) {
      Term constant{root.base, kNone, sum->offset};
      for (std::size_t n = 0; n < constant.factor.size(); ++n) constant.factor[n] *= root.factor[n];
      add(result, constant);
    }
    for (auto& term : sum->terms) {
      if (term.scale != kNone) return std::nullopt;
      term.scale = root.base;
      for (std::size_t n = 0; n < term.factor.size(); ++n) term.factor[n] *= root.factor[n];
      add(result, term);
    }
    return result;
  }

  /// Adds a term to its like, and drops one that has become nothing.
  static void add(Sum& sum, const Term& term) {
    for (auto like = sum.terms.begin(); like != sum.terms.end(); ++like) {
      if (like->base != term.base || like->scale != term.scale) continue;
      for (std::size_t n = 0; n < term.factor.size(); ++n) like->factor[n] += term.factor[n];
      if (std::all_of(like->factor.begin(), like->factor.end(), [](double f) { return f == 0.0; }))
        sum.terms.erase(like);
      return;
    }
    sum.terms.push_back(term);
  }

  // ---- the normalisation of a layer ---------------------------------------------------------------------------------

  bool is_mean(ExpressionId id, ExpressionId x) const {
    const auto& e = at(id);
    if (e.kind != Kind::linear || e.size != 1 || e.x != x) return false;
    const auto& weights = expressions_.constant(e.first);
    const float share = 1.0F / static_cast<float>(weights.size());
    return std::all_of(weights.begin(), weights.end(), [share](float w) { return w == share; });
  }

  /// epsilon where `root` is 1 / sqrt(mean((x - mean)^2) + epsilon), else 0.
  float epsilon_of(ExpressionId root, ExpressionId x, ExpressionId mean) const {
    if (at(root).kind != Kind::root || at(root).first != 1 || at(root).size != 1) return 0.0F;
    const auto sum = sum_of(at(root).x, 1, 0);
    if (!sum || sum->terms.size() != 1 || sum->terms[0].scale != kNone || sum->terms[0].factor[0] != 1.0) return 0.0F;
    const auto& variance = at(sum->terms[0].base);
    if (variance.kind != Kind::linear || !is_mean(sum->terms[0].base, variance.x)) return 0.0F;
    const auto& squares = at(variance.x);
    if (squares.kind != Kind::multiply || squares.x != squares.y) return 0.0F;
    const auto difference = sum_of(squares.x, at(x).size, 0);
    if (!difference || difference->terms.size() != 2) return 0.0F;
    const auto is = [&](const Term& term, ExpressionId base, double factor) {
      return term.base == base && term.scale == kNone &&
             std::all_of(term.factor.begin(), term.factor.end(), [factor](double f) { return f == factor; });
    };
    const auto& terms = difference->terms;
    const bool plain =
        std::all_of(difference->offset.begin(), difference->offset.end(), [](double o) { return o == 0.0; });
    for (const double sign : {1.0, -1.0})
      for (const std::size_t first : {0U, 1U})
        if (plain && is(terms[first], x, sign) && is(terms[1 - first], mean, -sign))
          return static_cast<float>(sum->offset[0]);
    return 0.0F;
  }

  // ---- linear maps --------------------------------------------------------------------------------------------------

  /// `id`, repeated where it has one element, as a linear map of what is no linear map itself.
  std::optional<Linear> linear_of(ExpressionId id, std::size_t units, int depth) {
    if (depth > kDeepest) return std::nullopt;
    const auto sum = sum_of(id, units, depth);
    if (!sum || sum->terms.empty()) return std::nullopt;
    Linear whole{units, kNone, {}, sum->offset};
    std::vector<ExpressionId> operands;
    std::vector<std::vector<double>> maps;  // (units, size of the operand) for each
    for (const auto& term : sum->terms) {
      if (term.scale != kNone) return std::nullopt;
      const auto part = map_of(term.base, units, depth);
      if (!part) return std::nullopt;
      auto found = std::find(operands.begin(), operands.end(), part->x);
      if (found == operands.end()) {
        operands.push_back(part->x);
        maps.emplace_back(part->weights.size());
        found = operands.end() - 1;
      }
      auto& map = maps[static_cast<std::size_t>(found - operands.begin())];
      const std::size_t width = at(part->x).size;
      for (std::size_t u = 0; u < units; ++u) {
        for (std::size_t k = 0; k < width; ++k) map[u * width + k] += term.factor[u] * part->weights[u * width + k];
        whole.offset[u] += term.factor[u] * part->offset[u];
      }
    }
    whole.x = side_by_side(operands, depth);
    if (whole.x == kNone) return std::nullopt;
    for (std::size_t u = 0; u < units; ++u)
      for (std::size_t n = 0; n < maps.size(); ++n) {
        const auto row = maps[n].begin() + static_cast<std::ptrdiff_t>(u * at(operands[n]).size);
        whole.weights.insert(whole.weights.end(), row, row + static_cast<std::ptrdiff_t>(at(operands[n]).size));
      }
    return whole;
  }

  /// One term's base as a linear map.
  std::optional<Linear> map_of(ExpressionId base, std::size_t units, int depth) {
    const auto& e = at(base);
    const bool repeated = e.size == 1;
    if (units * std::max(e.size, e.x == kNone ? 0 : at(e.x).size) > kMostWeights) return std::nullopt;
    if (e.kind != Kind::linear) {
      if (e.kind == Kind::multiply || e.kind == Kind::root) return std::nullopt;
      Linear same{units, base, std::vector<double>(units * e.size), std::vector<double>(units)};
      for (std::size_t u = 0; u < units; ++u) same.weights[u * e.size + (repeated ? 0 : u)] = 1.0;
      return same;
    }
    const auto& rows = expressions_.constant(e.first);
    const ExpressionId x = e.x;
    const std::size_t inputs = at(x).size;
    const auto inner = at(x).kind == Kind::affine || at(x).kind == Kind::add || at(x).kind == Kind::linear
                           ? linear_of(x, inputs, depth + 1)
                           : std::optional<Linear>();
    if (!inner) {
      if (at(x).kind == Kind::add) return std::nullopt;
      Linear map{units, x, {}, std::vector<double>(units)};
      for (std::size_t u = 0; u < units; ++u) {
        const auto row = rows.begin() + static_cast<std::ptrdiff_t>(repeated ? 0 : u * inputs);
        map.weights.insert(map.weights.end(), row, row + static_cast<std::ptrdiff_t>(inputs));
      }
      return map;
    }
    const std::size_t width = at(inner->x).size;
    if (units * width > kMostWeights) return std::nullopt;
    Linear map{units, inner->x, std::vector<double>(units * width), std::vector<double>(units)};
    for (std::size_t u = 0; u < units; ++u)
      for (std::size_t k = 0; k < inputs; ++k) {
        const double weight = static_cast<double>(rows[(repeated ? 0 : u * inputs) + k]);
        for (std::size_t j = 0; j < width; ++j) map.weights[u * width + j] += weight * inner->weights[k * width + j];
        map.offset[u] += weight * inner->offset[k];
      }
    return map;
  }

  /// Vectors one behind the other as what one chain of layers computes; kNone when none does.
  ExpressionId side_by_side(const std::vector<ExpressionId>& parts, int depth) {
    if (parts.size() == 1) return parts[0];
    if (parts.empty() || depth > kDeepest) return kNone;
    const Expression first = at(parts[0]);
    const bool alike = std::all_of(parts.begin(), parts.end(), [&](ExpressionId part) {
      return at(part).kind == first.kind && at(part).first == first.first;
    });
    if (first.kind == Kind::activation && alike) {
      std::vector<ExpressionId> inner;
      for (const auto part : parts) inner.push_back(at(part).x);
      const auto joined = side_by_side(inner, depth + 1);
      return joined == kNone ? kNone : expressions_.activation(static_cast<Activation>(first.first), joined);
    }
    std::vector<Linear> maps;
    std::vector<ExpressionId> operands;
    Linear whole;
    for (const auto part : parts) {
      if (at(part).kind != Kind::linear && at(part).kind != Kind::affine) return kNone;
      auto map = linear_of(part, at(part).size, depth + 1);
      if (!map) return kNone;
      if (std::find(operands.begin(), operands.end(), map->x) == operands.end()) operands.push_back(map->x);
      whole.units += map->units;
      maps.push_back(std::move(*map));
    }
    if (operands == parts) return kNone;  // nothing was taken off
    std::size_t width = 0;
    std::vector<std::size_t> starts;
    for (const auto operand : operands) {
      starts.push_back(width);
      width += at(operand).size;
    }
    whole.x = side_by_side(operands, depth + 1);
    if (whole.x == kNone || whole.units * width > kMostWeights) return kNone;
    whole.weights.assign(whole.units * width, 0.0);
    std::size_t row = 0;
    for (const auto& map : maps) {
      const auto which =
          static_cast<std::size_t>(std::find(operands.begin(), operands.end(), map.x) - operands.begin());
      const std::size_t own = at(map.x).size;
      for (std::size_t u = 0; u < map.units; ++u, ++row)
        for (std::size_t k = 0; k < own; ++k) whole.weights[row * width + starts[which] + k] = map.weights[u * own + k];
      whole.offset.insert(whole.offset.end(), map.offset.begin(), map.offset.end());
    }
    return write(whole);
  }

  ExpressionId write(const Linear& map) {
    const auto product = expressions_.linear(expressions_.number_constant(floats(map.weights)), map.x);
    return expressions_.affine(std::vector<float>(map.units, 1.0F), floats(map.offset), product);
  }

  Expressions& expressions_;
};

}  // namespace

ExpressionId folded(Expressions& expressions, ExpressionId id) {
  Folder folder(expressions);
  const auto normalised = folder.normalised(id);
  return normalised != kNone ? normalised : folder.linear(id);
}

}  // namespace linkcast::tflite
