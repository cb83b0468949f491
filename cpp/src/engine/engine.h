// All models of a bundle folder behind their names: physical units in, physical units out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "engine/allocation.h"
#include "engine/metadata.h"
#include "engine/model.h"
#include "engine/signature.h"
#include "engine/stats.h"

namespace linkcast {

/// Not thread-safe: one thread at a time per object.
class Engine {
 public:
  /// Reads the metadata, checks every file against its SHA-256, loads every model, checks its shapes, and runs it on
  /// its golden inputs, scaled and in physical units, whose outputs have to be the golden ones.
  /// @param folder   holds models/ and metadata/
  /// @param options  its precision, kernels and second core are the forecasters'; allocators and fallbacks keep float32
  /// @param signers  those whose signature the folder has to have, if any
  /// @param texts    out, unless null: the metadata files as they were checked
  /// @throws LoadError  naming the file, and the key where there is one
  Engine(const std::string& folder, const Model::Options& options, const Signers& signers = Signers::configured(),
         MetadataTexts* texts = nullptr);

  /// Runs every model once for itself and once in a batch of this size, so that later calls find all memory there.
  void warm(std::size_t batch);

  const std::string& folder() const noexcept { return folder_; }
  const Metadata& metadata() const noexcept { return metadata_; }

  /// Model::prepare(); of an allocator what a decision will run.
  void prepare(std::size_t index);

  /// The index of the model with this name, or of the one that serves it in this role ("internet" as a forecaster is
  /// "internet_lstm"). @throws std::invalid_argument naming the known ones
  std::size_t find(const std::string& name) const;
  std::size_t find(const std::string& name, Role role) const;

  const ModelSpec& spec(std::size_t index) const noexcept { return metadata_.models[index]; }
  Model& model(std::size_t index) const noexcept { return *models_[index]; }

  /// Calls through groups, streams and controllers; any thread may read.
  ModelStats& stats(std::size_t index) noexcept { return stats_[index]; }
  const ModelStats& stats(std::size_t index) const noexcept { return stats_[index]; }

  /// The next value of each window as the model gives it: not judged, not counted (see Forecaster).
  /// @param windows  (batch, row inputs), physical units
  /// @param target   (batch, row outputs), physical units
  /// @throws UnitError  a value is not finite, or not of its feature's unit;  InvokeError
  template <class Real>
  void forecast_raw(std::size_t index, const Real* windows, std::size_t batch, float* target);

  /// The same for windows that stand scaled in model(index).batch_input(batch).
  /// @param newest  (batch) the last value in each window of the feature that has the target's name, physical units;
  ///                not read unless the target is relative to it
  void forecast_scaled(std::size_t index, const double* newest, std::size_t batch, float* target);

  /// Q-values of each state, as the network gives them: nothing is held to what training has seen.
  /// @param states (batch, features), physical units  @param q_values (batch, actions)  @throws as forecast_raw()
  template <class Real>
  void q_values(std::size_t index, const Real* states, std::size_t batch, float* q_values);

  /// The allocator's action in each state, safe for every one; causes and what comes back: see Allocation.
  /// @param states   (batch, features), physical units, on a link of the spec's capacity_mbps
  /// @param actions  (batch)
  /// @param causes   (batch), may be null
  /// @throws as forecast_raw()
  template <class Real>
  Cause decide(std::size_t index, const Real* states, std::size_t batch, std::int32_t* actions,
               Cause* causes = nullptr);

 private:
  void load(const ModelSpec& spec, const Model::Options& options);
  void verify(std::size_t index);
  void verify_physical(std::size_t index);
  template <class Real>
  const float* scale_and_invoke(std::size_t index, const Real* features, std::size_t batch);

  std::string folder_;
  Metadata metadata_;
  std::vector<std::unique_ptr<Model>> models_;            // as metadata_.models
  std::vector<std::unique_ptr<Allocation>> allocations_;  // as metadata_.models; null but for allocators
  std::deque<ModelStats> stats_;                          // as metadata_.models; counters do not move
};

}  // namespace linkcast
