// The models of the source tree for tests, and telemetry for them.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/sha256.h"
#include "engine/engine.h"

inline linkcast::Engine open_bundle(linkcast::Backend backend = linkcast::Backend::automatic) {
  const char* folder = std::getenv("LINKCAST_BUNDLE");
  if (!folder) throw std::runtime_error("LINKCAST_BUNDLE is not set");
  linkcast::Model::Options options;
  options.backend = backend;
  return linkcast::Engine(folder, options);
}

/// The engine that most tests share.
inline linkcast::Engine& bundle() {
  static linkcast::Engine engine = open_bundle();
  return engine;
}

/// A copy of the bundle, to be changed. Gone with the object.
class BundleCopy {
 public:
  BundleCopy() {
    namespace fs = std::filesystem;
    std::string name = (fs::temp_directory_path() / "linkcast-XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("no temporary folder");
    folder_ = name;
    for (const char* part : {"models", "metadata"})
      fs::copy(fs::path(std::getenv("LINKCAST_BUNDLE")) / part, folder_ / part, fs::copy_options::recursive);
  }
  /// In which training has seen only targets from `lowest` to `highest`.
  BundleCopy(double lowest, double highest) : BundleCopy() {
    std::ostringstream range;
    range.precision(17);
    range << "[" << lowest << ", " << highest << "]";
    write("manifest", with_range(read("manifest"), range.str()));
  }
  ~BundleCopy() { std::filesystem::remove_all(folder_); }
  BundleCopy(const BundleCopy&) = delete;
  BundleCopy& operator=(const BundleCopy&) = delete;
  std::string folder() const { return folder_.string(); }

  /// Replaces what scalers.json says of a model. @param json  an object
  void set_scalers(const std::string& model, const std::string& json) {
    std::string text = read("scalers");
    const std::size_t open = text.find('{', text.find("\"" + model + "\":"));
    std::size_t close = open;
    for (int depth = 0; depth > 0 || close == open; ++close) depth += (text[close] == '{') - (text[close] == '}');
    write("scalers", text.replace(open, close - open, json));
    seal(model);
  }

  /// Replaces a text that stands once in a metadata file.
  void replace(const std::string& stem, const std::string& from, const std::string& to) {
    std::string text = read(stem);
    const std::size_t at = text.find(from);
    if (at == std::string::npos) throw std::runtime_error(stem + ".json: no " + from);
    write(stem, text.replace(at, from.size(), to));
  }

 private:
  /// What the manifest says of scalers.json and of the model's golden rows follows the change: by the scalers, which
  /// have tests of their own, and by the model.
  void seal(const std::string& name) {
    std::string manifest = read("manifest");
    const std::string scalers = read("scalers");
    const std::string key = "\"metadata/scalers.json\": \"";
    manifest.replace(manifest.find(key) + key.size(), 64,
                     linkcast::sha256(reinterpret_cast<const std::byte*>(scalers.data()), scalers.size()));
    write("manifest", manifest);
    for (const linkcast::ModelSpec& spec : linkcast::Metadata::load(folder()).models)
      if (spec.name == name) write("manifest", with_physical(manifest, spec));
  }

  /// The manifest with golden rows in physical units that follow the scalers: other outputs of the same inputs; or, of
  /// an allocator, whose outputs have no unit, the inputs that are scaled to the same.
  std::string with_physical(std::string manifest, const linkcast::ModelSpec& spec) const {
    linkcast::Model model(folder() + "/" + spec.file, {});
    const std::size_t inputs = model.row_inputs();
    std::ostringstream rows;
    rows.precision(17);
    rows << "[";
    for (std::size_t row = 0; row < spec.golden.count; ++row) {
      rows << (row ? ", [" : "[");
      if (spec.target_scaler) {
        const double* features = spec.golden.physical_inputs.data() + row * inputs;
        spec.scaler.transform(features, 1, spec.steps(), model.input().get());
        model.invoke();
        float target = 0;
        spec.target_scaler->inverse_transform(model.output().get(), 1, &target, spec.newest_target(features), 1);
        rows << target;
      } else {
        for (std::size_t k = 0; k < inputs; ++k) {
          const linkcast::Range& range = spec.scaler.range(k);
          rows << (k ? ", " : "")
               << range.offset + static_cast<double>(spec.golden.inputs[row * inputs + k]) / range.scale;
        }
      }
      rows << "]";
    }
    rows << "]";
    const std::size_t physical = manifest.find("\"physical\":", manifest.find("\"" + spec.name + "\": {"));
    const std::size_t open =
        manifest.find('[', manifest.find(spec.target_scaler ? "\"outputs\":" : "\"inputs\":", physical));
    std::size_t close = open;
    for (int depth = 0; depth > 0 || close == open; ++close)
      depth += (manifest[close] == '[') - (manifest[close] == ']');
    return manifest.replace(open, close - open, rows.str());
  }

  std::string read(const std::string& stem) const {
    std::ostringstream text;
    text << std::ifstream(folder_ / "metadata" / (stem + ".json")).rdbuf();
    return text.str();
  }

  void write(const std::string& stem, const std::string& text) const {
    std::ofstream(folder_ / "metadata" / (stem + ".json")) << text;
  }

  /// The manifest with every target_range replaced.
  static std::string with_range(std::string manifest, const std::string& range) {
    const std::string key = "\"target_range\":";
    for (std::size_t at = manifest.find(key); at != std::string::npos; at = manifest.find(key, at + key.size())) {
      const std::size_t open = manifest.find('[', at), close = manifest.find(']', at);
      manifest.replace(open, close - open + 1, range);
    }
    return manifest;
  }

  std::filesystem::path folder_;
};

/// A forecast's tolerance in the target's unit: 1e-6 of the scaled output, as native kernels may differ by the order of
/// sums. @param mbps  about what is forecast; it counts where the target is scaled by its logarithm
inline double tolerance(const linkcast::Engine& engine, std::size_t model, double mbps = 100) {
  return 1e-6 * engine.spec(model).target_scaler->range(0).slope(mbps);
}

/// Random telemetry: (count, features) between the minimum and maximum of each feature, physical units, and fractions
/// within 0..1; where those are
/// of what is relative to another value, around a 25th of the highest target that training has seen.
inline std::vector<double> telemetry(const linkcast::Engine& engine, std::size_t model, std::size_t count,
                                     unsigned seed) {
  const linkcast::Scaler& scaler = engine.spec(model).scaler;
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(0, 1);
  std::vector<float> values(count * scaler.features());
  for (float& value : values) value = uniform(random);
  const auto& range = engine.spec(model).target_range;
  // A model that was trained at every scale takes any: 20 Mbit/s then.
  const std::vector<double> around(scaler.features(), range ? std::min((*range)[1] / 25, 20.0) : 20.0);
  scaler.inverse_transform(values.data(), count, values.data(), around.data(), 0);
  std::vector<double> held(values.begin(), values.end());
  const auto& features = engine.spec(model).features;
  for (std::size_t k = 0; k < held.size(); ++k)
    if (features[k % features.size()].unit == "fraction") held[k] = std::clamp(held[k], 0.0, 1.0);
  return held;
}
