#include "engine/engine.h"

#include <algorithm>
#include <stdexcept>

#include "base/error.h"

namespace linkcast {
namespace {

std::string shape_text(const std::vector<int>& shape) {
  std::string text = "(";
  for (std::size_t d = 0; d < shape.size(); ++d) text += (d ? ", " : "") + std::to_string(shape[d]);
  return text + ")";
}

constexpr double kGoldenTolerance = 1e-3;    // of max(1, expected); scaled targets are 0..1
constexpr double kPhysicalTolerance = 1e-4;  // likewise, in the target's unit; kernels differ by 2.2e-5 (proof.h)

[[noreturn]] void refuse_golden(const std::string& what, std::size_t row, double expected, double got) {
  std::ostringstream text;
  text.precision(9);
  text << what << " " << row << ": expected " << expected << " as manifest.json says, got " << got;
  throw LoadError(text.str());
}

}  // namespace

Engine::Engine(const std::string& folder, const Model::Options& options, const Signers& signers, MetadataTexts* texts)
    : folder_(folder), metadata_(Metadata::load(folder, signers, texts)) {
  for (const ModelSpec& spec : metadata_.models) load(spec, options);
  for (std::size_t index = 0; index < models_.size(); ++index) {
    verify(index);
    verify_physical(index);
  }
}

/// The golden outputs are TensorFlow's, perhaps of another machine and with other kernels. What the native kernels may
/// differ from TensorFlow Lite's by has been settled by the model itself; here a wrong file is to be found.
void Engine::verify(std::size_t index) {
  const ModelSpec& spec = metadata_.models[index];
  Model& model = *models_[index];
  const std::size_t inputs = model.row_inputs();
  const std::size_t outputs = model.row_outputs();
  const double tolerance = kGoldenTolerance + model.proof_error();
  for (std::size_t row = 0; row < spec.golden.count; ++row) {
    std::copy_n(spec.golden.inputs.data() + row * inputs, inputs, model.batch_input(1).get());
    const float* got = model.invoke_batch(1).get();
    for (std::size_t k = 0; k < outputs; ++k) {
      const double expected = spec.golden.outputs[row * outputs + k];
      if (!(std::fabs(got[k] - expected) <= tolerance * std::max(1.0, std::fabs(expected))))
        refuse_golden(folder_ + "/" + spec.file + ": golden input", row, expected, got[k]);
    }
  }
}

/// Where the model is right, what differs comes from feature_list.json or scalers.json.
void Engine::verify_physical(std::size_t index) {
  const ModelSpec& spec = metadata_.models[index];
  const std::size_t inputs = models_[index]->row_inputs();
  const std::size_t outputs = models_[index]->row_outputs();
  const double tolerance = kPhysicalTolerance + models_[index]->proof_error();
  std::vector<float> got(outputs);
  for (std::size_t row = 0; row < spec.golden.count; ++row) {
    const double* features = spec.golden.physical_inputs.data() + row * inputs;
    if (spec.target)
      forecast_raw(index, features, 1, got.data());
    else
      q_values(index, features, 1, got.data());
    for (std::size_t k = 0; k < outputs; ++k) {
      const double expected = spec.golden.physical_outputs[row * outputs + k];
      if (got[k] == static_cast<float>(expected)) continue;  // infinite, perhaps
      const double unit = spec.target ? std::fabs(spec.target_scaler->range(0).slope(expected)) : 1.0;
      if (!(std::fabs(got[k] - expected) <= tolerance * std::max(unit, spec.target ? 0.0 : std::fabs(expected))))
        refuse_golden(folder_ + "/metadata/scalers.json: " + spec.name + ": golden input in physical units", row,
                      expected, got[k]);
    }
  }
}

void Engine::warm(std::size_t batch) {
  for (const auto& model : models_) {
    model->invoke();
    model->batch_input(batch);
    model->invoke_batch(batch);
  }
}

void Engine::prepare(std::size_t index) {
  if (allocations_[index])
    allocations_[index]->prepare();
  else
    models_[index]->prepare();
}

void Engine::load(const ModelSpec& spec, const Model::Options& options) {
  const std::string path = folder_ + "/" + spec.file;
  const std::string manifest = folder_ + "/metadata/manifest.json: models." + spec.name;
  auto model_options = options;
  model_options.sha256 = spec.sha256;
  model_options.golden = spec.golden.inputs;
  // Reduced precision is for the forecasters: two Q-values can lie closer together than its error.
  if (spec.role != Role::forecaster) {
    model_options.precision = Precision::float32;
    model_options.kernels.clear();
    model_options.second_core = {};
  }
  auto model = std::make_unique<Model>(path, model_options);
  if (!model->single())
    throw LoadError(path + ": expected a model with 1 input and 1 output, got " +
                    std::to_string(model->inputs().size()) + " and " + std::to_string(model->outputs().size()));
  if (model->input_shape() != spec.input_shape)
    throw LoadError(manifest + ".input_shape: expected the model's " + shape_text(model->input_shape()) + ", got " +
                    shape_text(spec.input_shape));
  if (model->output_shape() != spec.output_shape)
    throw LoadError(manifest + ".output_shape: expected the model's " + shape_text(model->output_shape()) + ", got " +
                    shape_text(spec.output_shape));
  if (spec.target && model->row_outputs() != 1)
    throw LoadError(manifest + ".output_shape: expected one value, got " + shape_text(spec.output_shape));
  models_.push_back(std::move(model));
  allocations_.push_back(spec.role == Role::allocator ? std::make_unique<Allocation>(spec, *models_.back()) : nullptr);
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
  const std::size_t steps = spec.steps();
  check_units(spec.row_name(), spec.features, spec.bounds, features, batch, steps);
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
Cause Engine::decide(std::size_t index, const Real* states, std::size_t batch, std::int32_t* actions, Cause* causes) {
  const ModelSpec& spec = metadata_.models[index];
  check_units(spec.row_name(), spec.features, spec.bounds, states, batch, 1);
  return allocations_[index]->decide(states, batch, actions, causes);
}

template void Engine::forecast_raw(std::size_t, const float*, std::size_t, float*);
template void Engine::forecast_raw(std::size_t, const double*, std::size_t, float*);
template void Engine::q_values(std::size_t, const float*, std::size_t, float*);
template void Engine::q_values(std::size_t, const double*, std::size_t, float*);
template Cause Engine::decide(std::size_t, const float*, std::size_t, std::int32_t*, Cause*);
template Cause Engine::decide(std::size_t, const double*, std::size_t, std::int32_t*, Cause*);

}  // namespace linkcast
