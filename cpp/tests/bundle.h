// The models of the source tree for tests, and telemetry for them.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

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

/// A copy of the bundle in which training has seen only targets from `lowest` to `highest`. Gone with the object.
class BundleCopy {
 public:
  BundleCopy(double lowest, double highest) {
    namespace fs = std::filesystem;
    std::string name = (fs::temp_directory_path() / "linkcast-XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("no temporary folder");
    folder_ = name;
    for (const char* part : {"models", "metadata"})
      fs::copy(fs::path(std::getenv("LINKCAST_BUNDLE")) / part, folder_ / part, fs::copy_options::recursive);
    std::ostringstream text;
    text << std::ifstream(folder_ / "metadata/manifest.json").rdbuf();
    std::ostringstream range;
    range.precision(17);
    range << "[" << lowest << ", " << highest << "]";
    std::ofstream(folder_ / "metadata/manifest.json") << with_range(text.str(), range.str());
  }
  ~BundleCopy() { std::filesystem::remove_all(folder_); }
  BundleCopy(const BundleCopy&) = delete;
  BundleCopy& operator=(const BundleCopy&) = delete;
  std::string folder() const { return folder_.string(); }

 private:
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

/// A forecast's tolerance in the target's unit: 1e-6 of its range, as native kernels may differ by the order of sums.
inline double tolerance(const linkcast::Engine& engine, std::size_t model) {
  return 1e-6 / engine.spec(model).target_scaler->scale()[0];
}

/// Random telemetry: (count, features) between the minimum and maximum of each feature, physical units.
inline std::vector<double> telemetry(const linkcast::Engine& engine, std::size_t model, std::size_t count,
                                     unsigned seed) {
  const linkcast::Scaler& scaler = engine.spec(model).scaler;
  const std::size_t features = engine.spec(model).features.size();
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform(0, 1);
  std::vector<double> samples(count * features);
  for (std::size_t k = 0; k < samples.size(); ++k)
    samples[k] = scaler.offset()[k % features] + uniform(random) / scaler.scale()[k % features];
  return samples;
}
