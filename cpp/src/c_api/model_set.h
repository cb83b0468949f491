// What one folder gives: the engine, verified and warm, and where each of the handle's model numbers stands in it. A
// reload makes the next set.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "base/room.h"
#include "engine/engine.h"
#include "engine/forecaster_pool.h"
#include "engine/signature.h"

namespace linkcast::c_api {

struct ModelSetOptions {
  Model::Options model;
  ForecasterPool::Options pool;  // with the largest batch that room is made for
  Signers signers;               // of every folder that is loaded
};

/// One thread at a time uses it.
class ModelSet {
 public:
  /// Loads `folder`, with all that an engine checks, and calls whatever has to be called once before it is quick.
  /// @param before  the set whose model numbers are to be kept, or nullptr
  /// @throws LoadError  also when a model of `before` is missing or has another input or output
  ModelSet(const std::string& folder, const ModelSetOptions& options, const ModelSet* before);

  Engine& engine() const noexcept { return *engine_; }
  ForecasterPool& pool() const noexcept { return *pool_; }
  std::vector<ForecastRequest>& requests() noexcept { return requests_; }  ///< (count) memory for a call of pool()
  std::vector<ForecastResult>& results() noexcept { return results_; }     ///< (count)

  /// Model numbers run from 0 to count() - 1.
  std::size_t count() const noexcept { return index_.size(); }
  std::size_t index(std::size_t number) const noexcept { return index_[number]; }
  const ModelSpec& spec(std::size_t number) const noexcept { return engine_->spec(index_[number]); }
  std::size_t number(std::size_t index) const noexcept { return number_[index]; }

 private:
  /// Behind all that a bundle frees, wherever that is: a reload, or the last stream that follows.
  struct GiveBack {
    ~GiveBack() { give_back_room(); }
  };

  void keep_numbers(const ModelSet& before);

  GiveBack give_back_;  // first, so that it goes last
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<ForecasterPool> pool_;
  std::vector<ForecastRequest> requests_;
  std::vector<ForecastResult> results_;
  std::vector<std::size_t> index_;   // (count): number -> the engine's index
  std::vector<std::size_t> number_;  // (count): the other way
};

}  // namespace linkcast::c_api
