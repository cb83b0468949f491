#include "c_api/bundle.h"

#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <sstream>

#include "base/error.h"

namespace linkcast::c_api {
namespace {

constexpr double kGoldenTolerance = 1e-3;  // of max(1, expected); scaled targets are 0..1

bool same_features(const ModelSpec& a, const ModelSpec& b) {
  return std::equal(a.features.begin(), a.features.end(), b.features.begin(), b.features.end(),
                    [](const Feature& x, const Feature& y) { return x.name == y.name && x.unit == y.unit; });
}

bool interchangeable(const ModelSpec& a, const ModelSpec& b) {
  return a.role == b.role && a.serves == b.serves && a.input_shape == b.input_shape &&
         a.output_shape == b.output_shape && a.step_s == b.step_s && same_features(a, b);
}

}  // namespace

Bundle::Bundle(const std::string& folder, const BundleOptions& options, const Bundle* before)
    : engine_(std::make_unique<Engine>(folder, options.model)), index_(engine_->metadata().models.size()) {
  std::iota(index_.begin(), index_.end(), std::size_t{0});
  if (before) keep_numbers(*before);
  number_.resize(index_.size());
  for (std::size_t number = 0; number < index_.size(); ++number) number_[index_[number]] = number;
  verify();
  pool_ = std::make_unique<ForecasterPool>(*engine_, options.pool);
  requests_.resize(index_.size());
  results_.resize(index_.size());
  warm(options.pool.batch);
}

void Bundle::keep_numbers(const Bundle& before) {
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

void Bundle::verify() const {
  for (const ModelSpec& spec : engine_->metadata().models) {
    Model& model = engine_->model(engine_->find(spec.name));
    const std::size_t inputs = model.row_inputs();
    const std::size_t outputs = model.row_outputs();
    // The golden outputs are TensorFlow's, perhaps of another machine and with other kernels. What the native kernels
    // may differ from TensorFlow Lite's by has been settled by the model itself; here a wrong file is to be found.
    const double tolerance = kGoldenTolerance + model.proof_error();
    for (std::size_t row = 0; row < spec.golden.count; ++row) {
      std::copy_n(spec.golden.inputs.data() + row * inputs, inputs, model.batch_input(1).get());
      const float* got = model.invoke_batch(1).get();
      for (std::size_t k = 0; k < outputs; ++k) {
        const double expected = spec.golden.outputs[row * outputs + k];
        if (std::fabs(got[k] - expected) <= tolerance * std::max(1.0, std::fabs(expected))) continue;
        std::ostringstream text;
        text << engine_->folder() << "/" << spec.file << ": golden input " << row << ": expected " << expected
             << " as manifest.json says, got " << got[k];
        throw LoadError(text.str());
      }
    }
  }
}

void Bundle::warm(std::size_t batch) const {
  for (std::size_t index = 0; index < index_.size(); ++index) {
    Model& model = engine_->model(index);
    model.invoke();
    model.batch_input(batch);
    model.invoke_batch(batch);
  }
}

std::string default_folder() {
  if (const char* named = std::getenv("LINKCAST_BUNDLE"); named && *named) return named;
  Dl_info self;
  if (!dladdr(reinterpret_cast<const void*>(&default_folder), &self) || !self.dli_fname)
    throw LoadError("the folder of the models: expected its name or LINKCAST_BUNDLE, got neither");
  const std::filesystem::path here = std::filesystem::path(self.dli_fname).parent_path();
  for (const char* relative : {".", "../share/linkcast", "../../share/linkcast"}) {
    const auto folder = (here / relative).lexically_normal();
    std::error_code ignored;
    if (std::filesystem::exists(folder / "metadata" / "manifest.json", ignored)) return folder.string();
  }
  throw LoadError(here.string() +
                  ": no models were installed beside the library; name a folder or set LINKCAST_BUNDLE");
}

}  // namespace linkcast::c_api
