// Sums and products of activations that one native layer computes after all.
#pragma once

#include "recognise/expression.h"

namespace linkcast::tflite {

/// The vector `id`, a sum or a product, written without it: as the normalisation of a layer, whatever operators that
/// was spelled with, or as one linear map where all that is added is linear (a dueling network's V + A - mean(A); its two
/// streams then run side by side as one). kNone when it is neither.
ExpressionId folded(Expressions& expressions, ExpressionId id);

}  // namespace linkcast::tflite
