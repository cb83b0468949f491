// The metadata of a bundle folder: which models there are, what they read, how it is scaled, and the service groups.
//
// Five files in <folder>/metadata, each described by metadata/schema/<name>.schema.json. A file that breaks its
// schema is refused here with the file and the key.
#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/scaler.h"
#include "engine/signature.h"
#include "engine/units.h"

namespace linkcast {

enum class Role { forecaster, allocator, fallback };
const char* role_name(Role role) noexcept;

struct GoldenVectors {
  std::vector<float> inputs;   // (count, row inputs), scaled
  std::vector<float> outputs;  // (count, row outputs), scaled; from TensorFlow
  std::size_t count = 0;
  std::vector<double> physical_inputs;   // (count, row inputs), the same in physical units
  std::vector<double> physical_outputs;  // (count, row outputs), of the target; Q-values are as they are
};

struct ModelSpec {
  std::string name;
  std::string file;    // relative to the folder
  std::string sha256;  // 64 hexadecimal digits
  Role role = Role::forecaster;
  std::string serves;  // a profile or a service group
  std::vector<int> input_shape;
  std::vector<int> output_shape;
  std::size_t window = 0;  // time steps; 0: the input is (batch, features)
  double step_s = 0;       // seconds from one time step to the next; 0 without a window
  std::vector<Feature> features;
  std::vector<Bounds> bounds;  // (features) what their units allow
  std::optional<Feature> target;
  std::size_t actions = 0;  // allocators
  Scaler scaler;
  std::optional<Scaler> target_scaler;
  std::size_t target_column = 0;  // of the feature with the target's name: a target relative to "last" has one
  bool has_target_column = false;
  std::optional<std::array<double, 2>> target_range;  // lowest and highest target that training has seen
  std::optional<double> capacity_mbps;                // of the link that an allocator was trained on; it has one
  std::vector<Bounds> state_range;  // (features) allocators: lowest and highest value that training has seen; all
                                    // values where the manifest does not say it
  GoldenVectors golden;

  std::size_t steps() const noexcept { return window > 0 ? window : 1; }             ///< rows of features in an input
  const char* row_name() const noexcept { return window > 0 ? "window" : "state"; }  ///< what errors call an input
  /// Where the last value of the feature that has the target's name stands in a window, (steps(), features).
  template <class Real>
  const Real* newest_target(const Real* window_values) const noexcept {
    return window_values + (steps() - 1) * features.size() + target_column;
  }
};

struct ServiceGroup {
  std::string key;   // "social_media"
  std::string name;  // "Social Media"
  std::size_t group_id = 0;
  std::size_t default_service_id = 0;
  std::map<std::string, std::size_t> services;  // name -> id
  std::string model;
  std::string fallback;
  double max_bandwidth_mbps = 0;
};

/// How large a file of metadata/ may be: a hundred times what 14 models need.
constexpr std::size_t kMostMetadataBytes = 32U << 20;

/// The files of metadata/ by name.
using MetadataTexts = std::map<std::string, std::string>;

struct Metadata {
  std::vector<ModelSpec> models;     // in the manifest's order
  std::vector<ServiceGroup> groups;  // in the mapping's order

  /// Reads the files of `folder`, and checks the manifest's signature and each file that it lists against its SHA-256.
  /// What is checked is what is parsed: each file is read once.
  /// @param signers  those whose signature is asked for, if any
  /// @param texts    out, unless null: what was read, by file name ("scalers.json"), the manifest included
  /// @throws LoadError  naming the file and the key
  static Metadata load(const std::string& folder, const Signers& signers = {}, MetadataTexts* texts = nullptr);
};

}  // namespace linkcast
