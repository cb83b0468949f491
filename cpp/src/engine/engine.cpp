#include "engine/engine.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>

#include "base/error.h"
#include "base/finite.h"

namespace linkcast {
namespace {

std::string shape_text(const std::vector<int>& shape) {
  std::string text = "(";
  for (std::size_t d = 0; d < shape.size(); ++d) text += (d ? ", " : "") + std::to_string(shape[d]);
  return text + ")";
}

}  // namespace

template <class Real>
void check_finite(const ModelSpec& spec, const Real* rows, std::size_t batch) {
  const std::size_t row = spec.steps() * spec.features.size();
  const std::size_t bad = first_not_finite(rows, batch * row);
  if (bad == batch * row) return;
  std::ostringstream text;
  text << (spec.window ? "window" : "state") << ": expected finite values, got " << rows[bad] << " for "
       << spec.features[bad % spec.features.size()].name;
  if (spec.window) text << " at time step " << bad % row / spec.features.size();
  if (batch > 1) text << " of row " << bad / row;
  throw std::invalid_argument(text.str());
}

template void check_finite(const ModelSpec&, const float*, std::size_t);
template void check_finite(const ModelSpec&, const double*, std::size_t);

Engine::Engine(const std::string& folder, const Model::Options& options)
    : folder_(folder), metadata_(Metadata::load(folder)) {
  for (const ModelSpec& spec : metadata_.models) load(spec, options);
}

void Engine::load(const ModelSpec& spec, const Model::Options& options) {
  const std::string path = folder_ + "/" + spec.file;
  const std::string manifest = folder_ + "/metadata/manifest.json: models." + spec.name;
  auto model_options = options;
  model_options.sha256 = spec.sha256;
  model_options.golden = spec.golden.inputs;
  // Reduced precision is for the forecasters: two Q-values can lie closer together than its error.
  if (spec.role != Role::forecaster) model_options.precision = Precision::float32;
  auto model = std::make_unique<Model>(path, model_options);
  if (model->input_shape() != spec.input_shape)
    throw LoadError(manifest + ".input_shape: expected the model's " + shape_text(model->input_shape()) + ", got " +
                    shape_text(spec.input_shape));
  if (model->output_shape() != spec.output_shape)
    throw LoadError(manifest + ".output_shape: expected the model's " + shape_text(model->output_shape()) + ", got " +
                    shape_text(spec.output_shape));
  if (spec.target && model->row_outputs() != 1)
    throw LoadError(manifest + ".output_shape: expected one value, got " + shape_text(spec.output_shape));
  models_.push_back(std::move(model));
  stats_.emplace_back();
}

std::size_t Engine::find(const std::string& name) const {
  std::string known;
  for (std::size_t k = 0; k < metadata_.models.size(); ++k) {
    if (metadata_.models[k].name == name) return k;
    known += (k ? ", " : "") + metadata_.models[k].name;
  }
  throw std::invalid_argument("model: expected one of " + known + "; got \"" + name + "\"");
}

std::size_t Engine::find(const std::string& name, Role role) const {
  std::string known;
  for (std::size_t k = 0; k < metadata_.models.size(); ++k) {
    const ModelSpec& spec = metadata_.models[k];
    if (spec.role != role) continue;
    if (spec.serves == name || spec.name == name) return k;
    known += (known.empty() ? "" : ", ") + spec.serves;
  }
  throw std::invalid_argument(std::string(role_name(role)) + ": expected one of " + known + "; got \"" + name + "\"");
}

template <class Real>
const float* Engine::scale_and_invoke(std::size_t index, const Real* features, std::size_t batch) {
  const ModelSpec& spec = metadata_.models[index];
  Model& model = *models_[index];
  check_finite(spec, features, batch);
  const std::size_t steps = spec.steps();
  if (batch == model.own_batch()) {
    spec.scaler.transform(features, batch, steps, model.input().get());
    model.invoke();
    return model.output().get();
  }
  spec.scaler.transform(features, batch, steps, model.batch_input(batch).get());
  return model.invoke_batch(batch).get();
}

template <class Real>
void Engine::forecast_raw(std::size_t index, const Real* windows, std::size_t batch, float* target) {
  const float* scaled = scale_and_invoke(index, windows, batch);
  const ModelSpec& spec = metadata_.models[index];
  const std::size_t row = spec.steps() * spec.features.size();
  spec.target_scaler->inverse_transform(scaled, batch, target, spec.newest_target(windows), row);
}

void Engine::forecast_scaled(std::size_t index, const double* newest, std::size_t batch, float* target) {
  const float* scaled = models_[index]->invoke_batch(batch).get();
  metadata_.models[index].target_scaler->inverse_transform(scaled, batch, target, newest, 1);
}

template <class Real>
void Engine::q_values(std::size_t index, const Real* states, std::size_t batch, float* q_values) {
  const float* outputs = scale_and_invoke(index, states, batch);
  std::copy_n(outputs, batch * metadata_.models[index].actions, q_values);
}

template <class Real>
void Engine::decide(std::size_t index, const Real* states, std::size_t batch, std::int32_t* actions) {
  const float* outputs = scale_and_invoke(index, states, batch);
  const std::size_t n = metadata_.models[index].actions;
  for (std::size_t row = 0; row < batch; ++row) {
    const float* q = outputs + row * n;
    actions[row] = static_cast<std::int32_t>(std::max_element(q, q + n) - q);
  }
}

template void Engine::forecast_raw(std::size_t, const float*, std::size_t, float*);
template void Engine::forecast_raw(std::size_t, const double*, std::size_t, float*);
template void Engine::q_values(std::size_t, const float*, std::size_t, float*);
template void Engine::q_values(std::size_t, const double*, std::size_t, float*);
template void Engine::decide(std::size_t, const float*, std::size_t, std::int32_t*);
template void Engine::decide(std::size_t, const double*, std::size_t, std::int32_t*);

}  // namespace linkcast
