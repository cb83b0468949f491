#include "c_api/model_set.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace linkcast::c_api {
namespace {

bool same_features(const ModelSpec& a, const ModelSpec& b) {
  return std::equal(a.features.begin(), a.features.end(), b.features.begin(), b.features.end(),
                    [](const Feature& x, const Feature& y) { return x.name == y.name && x.unit == y.unit; });
}

bool interchangeable(const ModelSpec& a, const ModelSpec& b) {
  return a.role == b.role && a.serves == b.serves && a.input_shape == b.input_shape &&
         a.output_shape == b.output_shape && a.step_s == b.step_s && same_features(a, b);
}

}  // namespace

ModelSet::ModelSet(const std::string& folder, const ModelSetOptions& options, const ModelSet* before)
    : engine_(std::make_unique<Engine>(folder, options.model, options.signers)),
      index_(engine_->metadata().models.size()) {
  std::iota(index_.begin(), index_.end(), std::size_t{0});
  if (before) keep_numbers(*before);
  number_.resize(index_.size());
  for (std::size_t number = 0; number < index_.size(); ++number) number_[index_[number]] = number;
  pool_ = std::make_unique<ForecasterPool>(*engine_, options.pool);
  requests_.resize(index_.size());
  results_.resize(index_.size());
  engine_->warm(options.pool.batch);
}

void ModelSet::keep_numbers(const ModelSet& before) {
  std::vector<std::size_t> kept;
  for (std::size_t number = 0; number < before.count(); ++number) {
    const ModelSpec& old = before.spec(number);
    const auto found =
        std::find_if(index_.begin(), index_.end(), [&](std::size_t k) { return engine_->spec(k).name == old.name; });
    if (found == index_.end()) throw LoadError(engine_->folder() + ": it has no " + old.name + ", which is in use");
    if (!interchangeable(engine_->spec(*found), old))
      throw LoadError(engine_->folder() + ": " + old.name + " has another role, input or output than the one in use");
    kept.push_back(*found);
    index_.erase(found);
  }
  kept.insert(kept.end(), index_.begin(), index_.end());  // models that are new
  index_ = std::move(kept);
}

}  // namespace linkcast::c_api
