#include "engine/allocation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/aligned.h"

namespace linkcast {
namespace {

std::size_t bandwidth_column(const ModelSpec& spec) {
  const auto is_bandwidth = [](const Feature& feature) { return feature.unit == "Mbit/s"; };
  return static_cast<std::size_t>(std::find_if(spec.features.begin(), spec.features.end(), is_bandwidth) -
                                  spec.features.begin());
}

}  // namespace

Allocation::Allocation(const ModelSpec& spec, Model& model)
    : spec_(spec),
      model_(model),
      features_(spec.features.size()),
      actions_(spec.actions),
      bandwidth_(bandwidth_column(spec)),
      cell_mbps_(*spec.capacity_mbps / static_cast<double>(spec.actions * kCells)),
      state_(features_),
      rehearsed_(features_),
      rows_(kRows * features_),
      scaled_(aligned_floats(kRows * features_)),
      q_values_(aligned_floats(kRows * actions_)) {
  if (ChosenNetwork* network = model.network())
    network->reserve(kRows);
  else if (model.own_batch() != 1)
    model.batch_input(kRows);
  for (std::size_t f = 0; f < features_; ++f)
    rehearsed_[f] =
        f == bandwidth_ ? *spec.capacity_mbps / 2 : std::midpoint(spec.state_range[f].least, spec.state_range[f].most);
}

void Allocation::prepare() {
  const Model::Kept kept(model_, kRows);
  std::int32_t action = 0;
  decide(rehearsed_.data(), 1, &action);
}

template <class Real>
Cause Allocation::decide(const Real* states, std::size_t batch, std::int32_t* actions, Cause* causes) {
  Cause first_cause = Cause::none;
  const double capacity = *spec_.capacity_mbps;
  for (std::size_t row = 0; row < batch; ++row, states += features_) {
    const auto bandwidth = static_cast<double>(states[bandwidth_]);
    if (bandwidth >= capacity * kFull) {
      const Cause cause = bandwidth > capacity * (2 - kFull) ? Cause::over_capacity : Cause::none;
      actions[row] = static_cast<std::int32_t>(actions_ - 1);
      if (causes) causes[row] = cause;
      if (first_cause == Cause::none) first_cause = cause;
      continue;
    }
    bool held = false;
    for (std::size_t f = 0; f < features_; ++f) {
      const auto value = static_cast<double>(states[f]);
      state_[f] = f == bandwidth_ ? value : std::clamp(value, spec_.state_range[f].least, spec_.state_range[f].most);
      held |= state_[f] != value;
    }
    const std::size_t cell = std::min(static_cast<std::size_t>(bandwidth / cell_mbps_), actions_ * kCells - 1);
    const std::size_t above = (cell / kCells + 1) * kCells;  // the first cell of the next action
    const std::size_t first = above > kRows ? above - kRows : 0;
    put_rows(first);
    const float* q = run();
    Cause cause = held ? Cause::outside_training : Cause::none;
    std::size_t action = 0;
    for (std::size_t k = first; k <= cell; ++k) action = std::max(action, choose(k, q + k % kRows * actions_, &cause));
    actions[row] = static_cast<std::int32_t>(action);
    if (causes) causes[row] = cause;
    if (first_cause == Cause::none) first_cause = cause;
  }
  return first_cause;
}

template Cause Allocation::decide(const float*, std::size_t, std::int32_t*, Cause*);
template Cause Allocation::decide(const double*, std::size_t, std::int32_t*, Cause*);

/// The best action that a cell allows.
std::size_t Allocation::choose(std::size_t cell, const float* q, Cause* cause) const noexcept {
  const std::size_t holds = cell / kCells;
  const std::size_t lowest = holds > 0 ? holds - 1 : 0;
  const std::size_t highest = std::min(holds + kHeadroom - 1, actions_ - 1);
  float sum = 0;  // NaN when one of them is not finite
  for (std::size_t a = lowest; a <= highest; ++a) sum += q[a] * 0.0f;
  if (sum == 0.0f) return static_cast<std::size_t>(std::max_element(q + lowest, q + highest + 1) - q);
  *cause = Cause::not_finite;
  return highest;
}

/// state_ in each of kRows cells from `first` on, each in its own row.
void Allocation::put_rows(std::size_t first) noexcept {
  for (std::size_t k = first; k < first + kRows; ++k) {
    double* row = rows_.data() + k % kRows * features_;
    std::copy(state_.begin(), state_.end(), row);
    row[bandwidth_] = (static_cast<double>(k) + 0.5) * cell_mbps_;
  }
}

/// rows_ -> Q-values, (kRows, actions). @throws InvokeError
const float* Allocation::run() {
  if (ChosenNetwork* network = model_.network()) {
    spec_.scaler.transform(rows_.data(), kRows, 1, scaled_.get());
    network->run(scaled_.get(), kRows, q_values_.get());
    return q_values_.get();
  }
  if (model_.own_batch() == 1) {
    for (std::size_t row = 0; row < kRows; ++row) {
      spec_.scaler.transform(rows_.data() + row * features_, 1, 1, model_.input().get());
      model_.invoke();
      std::copy_n(model_.output().get(), actions_, q_values_.get() + row * actions_);
    }
    return q_values_.get();
  }
  spec_.scaler.transform(rows_.data(), kRows, 1, model_.batch_input(kRows).get());
  return model_.invoke_batch(kRows).get();
}

}  // namespace linkcast
