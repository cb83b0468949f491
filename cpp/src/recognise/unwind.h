// Walks from what a network computes back to its input, layer by layer.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "recognise/expression.h"
#include "recognise/folding.h"
#include "recognise/layer.h"

namespace linkcast::tflite {

struct Unwound {
  std::vector<Layer> layers;             // in the order in which they run
  std::vector<ExpressionId> last_steps;  // of each recurrence among them, without those of bidirectional ones
  std::optional<float> mask_value;       // of the steps that the recurrences leave out; none: they leave none out
};

/// The layers that turn the steps of the batch's `window`th window into `rows`, one for each time step or one alone.
/// @throws NotNative  naming what is no layer
Unwound unwind(std::vector<ExpressionId> rows, std::size_t window, std::size_t steps, Expressions& expressions,
               FoldingBudget& budget);

}  // namespace linkcast::tflite
