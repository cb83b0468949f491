// An allocator's decisions, made safe for every state: a projection of its network that can be proved in a paragraph.
//
// Let A be the actions; action a allocates (a + 1) / A of the link's capacity C. Let u = A * bandwidth / C, the carried
// bandwidth in actions, and let the axis u be cut into cells of 1 / kCells, cell k = floor(u * kCells). The action that
// holds all of cell k is n(k) = floor(k / kCells). All else in a state is held to the box that training has seen. In
// each cell the network is asked once, at the cell's middle, and chooses by its Q-values among the actions from one
// below n(k) on,
//
//     chosen(k) in max(0, n(k) - 1) .. min(A - 1, n(k) - 1 + kHeadroom),
//
// and the decision is the largest choice of this cell and of those below it, or the last action on a full link (u >=
// A):
//
//     action(u) = max(chosen(0), ..., chosen(k)),     action = A - 1 where u >= A.
//
// Proof. (1) More bandwidth never means a smaller allocation: k grows with u, a maximum over more cells is not smaller,
// and A - 1 is the largest action. (2) A full link gets all, by the last line. (3) No state gets less than one action
// below what it carries: n(k) holds it, and action(u) >= chosen(k) >= n(k) - 1. None of this depends on what the
// network gives; where a Q-value is not finite the largest action allowed counts as chosen, so it holds then as well.
//
// Cells j with n(j) + kHeadroom <= n(k) can't raise the maximum: chosen(j) <= n(j) - 1 + kHeadroom <= n(k) - 1 <=
// chosen(k). What is left lies in the kRows cells that end with those of action n(k): one small batch, of the same size
// for every state. The proof takes chosen(j) for a function of the cell and the rest of the state; but a network's last
// bits depend on where a row stands in a batch, and near a tie a bit decides. So cell j stands in row j mod kRows,
// always.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/metadata.h"
#include "engine/model.h"
#include "engine/stats.h"

namespace linkcast {

/// Not thread-safe, and it uses the model: one thread at a time for both.
class Allocation {
 public:
  static constexpr std::size_t kCells = 4;     ///< of one action
  static constexpr std::size_t kHeadroom = 3;  ///< actions that the network chooses among beyond the one below n(k)
  static constexpr std::size_t kRows = kHeadroom * kCells;  ///< cells that the network is asked about for a state
  /// A link is full from this share of its capacity on: float32 and a change of capacity round a full link's bandwidth.
  static constexpr double kFull = 1 - 1e-6;

  /// Everything is sized here: decide() allocates nothing where the model takes its own batch or the native kernels
  /// run.
  /// @param spec   an allocator with a capacity and a feature in Mbit/s; kept by reference
  /// @param model  its model; kept by reference
  Allocation(const ModelSpec& spec, Model& model);

  /// @param states   (batch, features), physical units, in bounds (units.h)
  /// @param actions  (batch) out
  /// @param causes   (batch) out, null when not wanted: over_capacity, the bandwidth is beyond the link's capacity;
  ///                 outside_training, a feature was held to the trained box; not_finite, of a Q-value
  /// @return the first row's cause that is not none
  /// @throws InvokeError
  template <class Real>
  Cause decide(const Real* states, std::size_t batch, std::int32_t* actions, Cause* causes = nullptr);

  /// Brings weights and code into the caches, shortly before the next decide(). @throws InvokeError
  void prepare();

 private:
  std::size_t choose(std::size_t cell, const float* q, Cause* cause) const noexcept;
  void put_rows(std::size_t first) noexcept;
  const float* run();

  const ModelSpec& spec_;
  Model& model_;
  std::size_t features_;
  std::size_t actions_;
  std::size_t bandwidth_;  // column
  double cell_mbps_;
  std::vector<double> state_;          // (features) held to the box
  std::vector<double> rehearsed_;      // (features) what prepare() decides on: the middle of the box
  std::vector<double> rows_;           // (kRows, features) physical units
  std::shared_ptr<float[]> scaled_;    // (kRows, features)
  std::shared_ptr<float[]> q_values_;  // (kRows, actions)
};

}  // namespace linkcast
