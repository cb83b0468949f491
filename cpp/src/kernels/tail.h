// One window on two cores. LSTMs that stand one behind another are a pipeline: the caller runs the first, and hands each
// step of it to a helper that runs those behind it, the tail, one step later. A word goes one way for each step, and no one
// waits for an answer but at the end.
//
// The helper works in memory of its own: what the caller finds it has not done in time, the caller does itself, from its own
// copy of the first layer's steps, and the late helper disturbs nobody. Every sum is added in the order that one core adds it
// in, so that the bits are the same.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "base/clock.h"
#include "helper.h"
#include "network_impl.h"

namespace linkcast::kernels {

class Tail final : public Helper::Task {
 public:
  /// Where the first LSTM is behind which another stands, of four steps or more; layers.size() when there is none.
  static std::size_t first_of(std::span<const Layer> layers) noexcept;

  /// @param layers       of a network that has a tail; like the kernels, they outlive this
  Tail(std::span<const Layer> layers, const Kernels& kernels, std::shared_ptr<Helper> helper, Patience patience);
  ~Tail();
  Tail(const Tail&) = delete;
  Tail& operator=(const Tail&) = delete;

  std::size_t first() const noexcept { return first_; }
  std::size_t last() const noexcept { return last_; }
  HelpCounts counts() const noexcept { return counts_; }

  // The caller's side, in this order. Nothing of it allocates, locks or enters the system.

  /// Whether a helper has been asked.
  bool begin() noexcept;
  /// Step `step` of the first LSTM, `row` (width), is there.
  void feed(std::size_t step, const float* row) noexcept;
  /// Whether the tail has run: rows() are the last LSTM's. No: the caller runs it itself.
  bool end(Deadline deadline) noexcept;
  /// The run is given up: the helper need not go on.
  void give_up() noexcept;
  Rows rows() const noexcept;

  void help() noexcept override;

 private:
  /// What an LSTM of the tail works with.
  struct Stage {
    const Layer* layer = nullptr;
    const float* input = nullptr;  // (steps, input_stride)
    std::size_t input_stride = 0;
    float* gates = nullptr;  // (steps + 1, layer gates)
    float* c = nullptr;      // (padded)
    float* h = nullptr;      // (steps, h_stride)
    std::size_t h_stride = 0;
    std::byte* encoded_h[2] = {nullptr, nullptr};
    std::size_t projected = 0;  // steps
  };

  bool wait_for(std::size_t step, std::uint64_t& fed) const noexcept;
  Operand operand(const Stage& stage, std::size_t step, std::size_t rows, std::size_t stride) noexcept;
  void project(Stage& stage, std::size_t step, std::size_t ready) noexcept;
  void run_step(Stage& stage, std::size_t step) noexcept;
  void rest() noexcept;

  const Kernels& kernels_;
  std::shared_ptr<Helper> helper_;
  Patience patience_;
  std::size_t first_ = 0;  // layers
  std::size_t last_ = 0;
  std::size_t steps_ = 0;
  std::size_t width_ = 0;  // of the first LSTM, in whole vectors
  HelpCounts counts_;
  bool missed_ = false;     // the last run: the helper may still be at it
  std::uint32_t rest_ = 0;  // runs in which the helper is not asked
  std::uint32_t next_rest_ = 0;
  std::uint32_t late_ = 0;  // times in a row

  AlignedBuffer memory_;
  float* inbox_ = nullptr;  // (steps, inbox_stride_): the caller writes, the helper reads
  std::size_t inbox_stride_ = 0;
  float* taken_ = nullptr;        // (steps, inbox_stride_): what the helper has read
  std::byte* encoded_ = nullptr;  // (2 rows) of the longest encoding
  float encoded_scale_[2] = {};   // of these rows, where one is NaN
  std::vector<Stage> stages_;

  // Steps are counted on from run to run, steps + 2 in each, so that nobody has to write the other's line to begin anew.
  // One more than there are steps: who counts has given the run up.
  alignas(128) std::atomic<std::uint64_t> fed_{0};  // the caller writes this line
  std::uint64_t base_ = 0;                          // of the present run
  std::uint64_t float_mode_ = 0;
  alignas(128) std::atomic<std::uint64_t> done_{0};  // the helper writes this line
};

}  // namespace linkcast::kernels
