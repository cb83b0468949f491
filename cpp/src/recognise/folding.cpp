#include "recognise/folding.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

namespace linkcast::tflite {
namespace {

constexpr int kDeepest = 32;               // a hostile graph could nest without end
constexpr std::size_t kMostVisits = 1024;  // of expressions, for one sum
constexpr std::size_t kMostTerms = 16;
constexpr std::size_t kMostWeights = std::size_t{1} << 22;   // of a matrix that is put together here
constexpr std::size_t kMostProducts = std::size_t{1} << 26;  // for one

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
  Folder(Expressions& expressions, FoldingBudget& budget) : expressions_(expressions), budget_(budget) {}

  /// (x - m) s or x s - m s, each times constants and in any order, with m = mean(x) and s = 1 / sqrt(v + epsilon),
  /// v = mean((x - m)^2).
  ExpressionId normalised(ExpressionId id) {
    std::vector<ExpressionId> roots;
    if (at(id).size > 1) roots_in(id, 0, roots);
    for (const auto root : roots) {
      const auto found = normalised(id, root);
      if (found != kNone) return found;
    }
    return kNone;
  }

  ExpressionId linear(ExpressionId id) {
    const auto map = linear_of(id, at(id).size, 0);
    return map ? write(*map) : kNone;
  }

 private:
  const Expression& at(ExpressionId id) const { return expressions_.at(id); }

  void spend(std::uint64_t multiplications) {
    if (multiplications > budget_.left) throw NotNative("the model's sums and products take too long to be folded");
    budget_.left -= multiplications;
  }

  static std::vector<float> floats(const std::vector<double>& values) {
    return std::vector<float>(values.begin(), values.end());
  }

  // ---- the normalisation of a layer ---------------------------------------------------------------------------------

  ExpressionId normalised(ExpressionId id, ExpressionId root) {
    const std::size_t size = at(id).size;
    const auto norm = normalisation_of(root, size);
    if (!norm) return kNone;
    whole_ = norm->x;
    const auto sum = sum_of(id, size, 0);
    whole_ = kNone;
    if (!sum || sum->terms.size() != 2) return kNone;
    const auto& first = sum->terms[0];
    const auto& second = sum->terms[1];
    const auto& row = first.base == norm->x ? first : second;
    const auto& mean = first.base == norm->x ? second : first;
    if (row.base != norm->x || mean.base != norm->mean || row.scale != root || mean.scale != root) return kNone;
    for (std::size_t n = 0; n < size; ++n)
      if (row.factor[n] != -mean.factor[n]) return kNone;
    return expressions_.affine(floats(row.factor), floats(sum->offset), expressions_.normalise(norm->epsilon, norm->x));
  }

  // ---- sums -------------------------------------------------------------------------------------------------------

  /// What `id` adds up, of `size` elements: `id` has as many, or one for all of them.
  std::optional<Sum> sum_of(ExpressionId id, std::size_t size, int depth) {
    if (depth > kDeepest || ++visits_ > kMostVisits) return std::nullopt;
    spend(size);
    const Expression& e = at(id);
    if (id == whole_) return Sum{{{id, kNone, std::vector<double>(size, 1.0)}}, std::vector<double>(size)};
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
           at(sum.terms[0].base).size == 1 && all(sum.offset, 0.0);
  }

  static std::optional<Sum> scaled(const Term& root, std::optional<Sum> sum) {
    if (!sum) return sum;
    Sum result{{}, std::vector<double>(sum->offset.size())};
    if (!all(sum->offset, 0.0)) {
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
      if (all(like->factor, 0.0)) sum.terms.erase(like);
      return;
    }
    sum.terms.push_back(term);
  }

  bool is_mean(ExpressionId id, ExpressionId x) const {
    const auto& e = at(id);
    if (e.kind != Kind::linear || e.size != 1 || e.x != x) return false;
    const auto& weights = expressions_.constant(e.first);
    const float share = 1.0f / static_cast<float>(weights.size());
    return std::all_of(weights.begin(), weights.end(), [share](float w) { return w == share; });
  }

  /// Adds each 1 / sqrt of one element that `id` is made of.
  void roots_in(ExpressionId id, int depth, std::vector<ExpressionId>& found) {
    if (depth > kDeepest || ++visits_ > kMostVisits) return;
    const Expression& e = at(id);
    const bool seen = std::find(found.begin(), found.end(), id) != found.end();
    if (e.kind == Kind::root && e.first == 1 && e.size == 1 && !seen) found.push_back(id);
    const bool sum = e.kind == Kind::add || e.kind == Kind::multiply;
    if (sum || e.kind == Kind::spread || e.kind == Kind::affine) roots_in(e.x, depth + 1, found);
    if (sum) roots_in(e.y, depth + 1, found);
  }

  struct Normalisation {
    ExpressionId x = kNone;     // the row
    ExpressionId mean = kNone;  // one element
    float epsilon = 0.0f;
  };

  /// What `root` normalises, where it is 1 / sqrt(mean((x - mean)^2) + epsilon) of a row of `size`.
  std::optional<Normalisation> normalisation_of(ExpressionId root, std::size_t size) {
    const auto sum = sum_of(at(root).x, 1, 0);
    if (!sum || sum->terms.size() != 1 || sum->terms[0].scale != kNone || sum->terms[0].factor[0] != 1.0)
      return std::nullopt;
    const auto& variance = at(sum->terms[0].base);
    const auto epsilon = static_cast<float>(sum->offset[0]);
    if (variance.kind != Kind::linear || !is_mean(sum->terms[0].base, variance.x) || !(epsilon > 0.0f))
      return std::nullopt;
    const auto& squares = at(variance.x);
    if (squares.kind != Kind::multiply || squares.x != squares.y || squares.size != size) return std::nullopt;
    const auto& difference = at(squares.x);
    if (difference.kind != Kind::add) return std::nullopt;
    for (const ExpressionId x : {difference.x, difference.y}) {
      whole_ = x;
      const auto parts = sum_of(squares.x, size, 0);
      whole_ = kNone;
      if (!parts || parts->terms.size() != 2 || !all(parts->offset, 0.0)) continue;
      const auto& row = parts->terms[parts->terms[0].base == x ? 0 : 1];
      const auto& mean = parts->terms[parts->terms[0].base == x ? 1 : 0];
      if (row.base == x && is_mean(mean.base, x) && row.scale == kNone && mean.scale == kNone && all(row.factor, 1.0) &&
          all(mean.factor, -1.0))
        return Normalisation{x, mean.base, epsilon};
    }
    return std::nullopt;
  }

  static bool all(const std::vector<double>& values, double wanted) {
    return std::all_of(values.begin(), values.end(), [wanted](double v) { return v == wanted; });
  }

  // ---- linear maps --------------------------------------------------------------------------------------------------

  /// `id`, repeated where it has one element, as a linear map of what is no linear map itself.
  std::optional<Linear> linear_of(ExpressionId id, std::size_t units, int depth) {
    if (depth > kDeepest || ++visits_ > kMostVisits) return std::nullopt;
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
    spend(units * std::max(e.size, e.x == kNone ? 0 : at(e.x).size));
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
    if (units * width > kMostWeights || inputs * units * width > kMostProducts) return std::nullopt;
    spend(inputs * units * width);
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
    spend(whole.units * width);
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
    return expressions_.affine(std::vector<float>(map.units, 1.0f), floats(map.offset), product);
  }

  Expressions& expressions_;
  FoldingBudget& budget_;
  ExpressionId whole_ = kNone;  // is not looked into by sum_of
  std::size_t visits_ = 0;      // of expressions
};

}  // namespace

ExpressionId folded(Expressions& expressions, ExpressionId id, FoldingBudget& budget) {
  Folder folder(expressions, budget);
  const auto normalised = folder.normalised(id);
  return normalised != kNone ? normalised : folder.linear(id);
}

}  // namespace linkcast::tflite
