// Sums and products of activations that one native layer computes after all.
#pragma once

#include <cstdint>

#include "recognise/expression.h"

namespace linkcast::tflite {

/// What may be spent on the foldings of one graph, in multiplications about: half a second. A file of a few kilobytes could
/// ask for hours.
struct FoldingBudget {
  std::uint64_t left = std::uint64_t{1} << 31;
};

/// The vector `id`, a sum or a product, written without it: as the normalisation of a layer, whatever operators that
/// was spelled with, or as one linear map where all that is added is linear (a dueling network's V + A - mean(A); its two
/// streams then run side by side as one). kNone when it is neither.
/// @throws NotNative  the budget is spent
ExpressionId folded(Expressions& expressions, ExpressionId id, FoldingBudget& budget);

}  // namespace linkcast::tflite
