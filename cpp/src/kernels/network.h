// A whole model as one call: packed weights, a workspace sized in advance, and the kernels of one ISA.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "helper.h"
#include "isa.h"
#include "kernels.h"
#include "network_spec.h"

namespace linkcast {

/// How the windows went that a helper was to share.
struct HelpCounts {
  std::uint64_t helped = 0;
  std::uint64_t alone = 0;   ///< the helper was asleep, at another network's, or rests after being late again and again
  std::uint64_t missed = 0;  ///< it did not end in time, and the caller took over
};

/// How long a window's caller waits for a helper that it has run ahead of, before it does the work itself.
struct Patience {
  std::uint64_t begin_ns = 0;  ///< until it begins
  std::uint64_t end_ns = 0;    ///< until it has done it
};

/// Runs a NetworkSpec. One thread at a time uses an object; different objects are independent.
class Network {
 public:
  /// Folds, rounds once and packs the weights. `spec` is not kept.
  /// @throws std::invalid_argument  sizes in the spec do not fit together, or the machine does not run the ISA
  Network(const NetworkSpec& spec, Isa isa, Precision precision = Precision::float32);
  /// The same on a table of kernels that this machine runs.
  Network(const NetworkSpec& spec, const kernels::Kernels& table);
  ~Network();
  Network(Network&&) noexcept;
  Network& operator=(Network&&) noexcept;

  Isa isa() const;
  /// Name of the chosen kernels, "f32_avx512" for example.
  const char* kernels_name() const { return table().name; }
  const kernels::Kernels& table() const;
  /// The layers' kinds and sizes as text: networks with the same one do the same work.
  std::string shape() const;

  std::size_t steps() const;         // of the input; 1 when it is not a sequence
  std::size_t features() const;      // of the input
  std::size_t output_steps() const;  // 1 unless the output is a sequence
  std::size_t outputs() const;       // of each step
  std::size_t weight_bytes() const;  // packed, with biases
  /// That a run of one window reads at least: a recurrent matrix once for each step behind the first, others once.
  std::size_t bytes_read() const;
  std::size_t multiply_adds()
      const;  // of one window, without padding; the first step's zero state is counted as others are

  /// Allocates the workspace for batches of up to `batch` windows; a larger batch then runs in several parts.
  /// @throws std::bad_alloc
  void reserve(std::size_t batch);

  /// Allocates nothing and throws nothing after reserve(); before it, nothing is computed. State starts from zero.
  /// @param input     (batch, steps, features)
  /// @param output    (batch, output_steps, outputs); must not overlap input
  /// @param deadline  looked at before each time step of each LSTM
  /// @return false when the deadline passed and the run was given up; what stands in output is of no use then
  bool run(const float* input, std::size_t batch, float* output, Deadline deadline = {}) noexcept;

  // Two cores for one window: a helper runs the LSTMs that stand behind the first one (see tail.h).

  /// Whether there are such LSTMs.
  bool has_tail() const;
  /// From now on run() of one window shares those with the helper, which gives the same bits; null: with none.
  void share_tail(std::shared_ptr<Helper> helper, Patience patience);
  HelpCounts help_counts() const;

  // Streaming: the LSTM state is the caller's, and every call moves it by one time step.

  /// Whether step() can be used: the layers before the last step work on each time step by itself, and there is a last
  /// step.
  bool can_step() const;
  /// Floats in the state of one window; all zero is the state before the first sample.
  std::size_t state_size() const;
  /// Advances `batch` states by one sample each.
  /// @param samples        (batch, features), rows `sample_stride` floats apart; 0 gives every state the same sample
  /// @param states         (batch, state_size), updated; 64-byte alignment is best, none is needed
  /// @param output         (batch, outputs): what run() gives for the samples so far; null when it is not wanted
  void step(const float* samples, std::size_t sample_stride, std::size_t batch, float* states, float* output) noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace linkcast
