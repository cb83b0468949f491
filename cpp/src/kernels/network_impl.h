// What a Network is made of: the packed layers, the workspace, and how each layer runs. network.cpp has the calls and the
// layers that look at each step by itself, network_recurrence.cpp those that have a state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/aligned.h"
#include "base/clock.h"
#include "kernels.h"
#include "network.h"
#include "packed_network.h"

namespace linkcast {
namespace kernels {

/// Rows on their way through the layers: time-major, row t * batch + b.
struct Rows {
  const float* data = nullptr;
  std::size_t stride = 0;  // floats
  std::size_t steps = 1;
  std::size_t width = 0;
  Operand encoded{};  // of an LSTM: the same rows as its next step read them; null where there are none
};

/// Scales of encoded states, where the fixed one can't do: it says of no row that a number of it is NaN.
/// @param states  (rows, stride floats) of `units`
/// @return `scales`, (rows), or null: the fixed one does for all
const float* scales_of_states(const Kernels& kernels, const float* states, std::size_t stride, std::size_t rows,
                              std::size_t units, float* scales) noexcept;

/// A part of the workspace, for one size of batch.
struct Workspace {
  AlignedBuffer memory;
  std::size_t batch = 0;
  float* rows[2] = {nullptr, nullptr};  // (steps * batch, padded) of the largest layer
  float* unmasked = nullptr;            // (steps, features) of one window; null without a mask
  std::uint32_t* taken = nullptr;       // (steps) how many of its steps there are in `unmasked`, up to each; likewise
  float* gates = nullptr;               // (steps * batch, blocks, 4, lanes) of the largest LSTM that projects at once
  float* cell = nullptr;                // (batch, padded) of the largest LSTM
  float* products = nullptr;            // (batch, products) of the largest recurrence
  std::byte* encoded = nullptr;         // (steps * batch) rows of the longest encoding
  float* encoded_scale = nullptr;       // (steps * batch)
  std::byte* hidden[2] = {nullptr, nullptr};  // (steps * batch) encoded rows that an LSTM writes
  std::byte* state = nullptr;                 // (batch) encoded rows of a caller's state, or of a recurrence's
  float* state_scale = nullptr;               // (batch)
};

/// Where a recurrence writes, and in which order it reads the steps of its input.
struct Course {
  float* out = nullptr;    // (rows, stride)
  std::size_t stride = 0;  // floats
  bool backwards = false;
  bool by_step = true;  // state s of the input's step s goes to row s; else states follow each other as they come
};

/// At the end of a run or step.
struct Release {
  const Kernels& kernels;
  ~Release() {
    if (kernels.release != nullptr) kernels.release();
  }
};

}  // namespace kernels

namespace kernels {
class Tail;
}

struct Network::Impl : kernels::PackedNetwork {
  const kernels::Kernels* kernels;
  kernels::Workspace work;
  Deadline deadline;          // of the present run
  bool second_first = false;  // every second run reads half of its dense weights first that the other reads last
  bool given_up = false;      // because it passed
  /// Dense layers take one row at a time, unless the kernels keep rows apart: how their sums are split depends on how
  /// many rows go together, so that a row of a step would differ in its last bits with what stands beside it.
  bool row_by_row = false;
  std::unique_ptr<kernels::Tail> tail;  // of a window on two cores; null: one
  bool feeding = false;                 // the tail, in the present run of its first layer

  Impl(const NetworkSpec& spec, const kernels::Kernels& chosen)
      : PackedNetwork(pack_network(spec, chosen)), kernels(&chosen) {}
  ~Impl();
  void reserve(std::size_t batch);
  [[gnu::noinline]] bool run_with_gaps(const float* input, std::size_t batch, float* output);
  void run_part(const float* input, std::size_t batch, float* output);
  std::size_t take_unmasked(const float* window);
  void run_masked(const float* window, std::size_t kept, float* output);
  void step_part(const float* samples, std::size_t sample_stride, std::size_t batch, float* states, float* output);
  kernels::Rows gather_input(const float* input, std::size_t batch);
  kernels::Operand operand(const kernels::Rows& rows, std::size_t count, std::size_t depth);
  kernels::Operand part(const kernels::Operand& whole, std::size_t row) const;
  /// The half of the workspace where `data` does not stand.
  float* other(const float* data) const {
    const bool in_first =
        !std::less<>()(data, work.rows[0]) && std::less<>()(data, static_cast<const float*>(work.rows[1]));
    return in_first ? work.rows[1] : work.rows[0];
  }
  kernels::Operand lstm_input(const kernels::Layer& layer, const kernels::Rows& in, std::size_t rows);
  /// Where an LSTM that reads `in` writes its encoded rows: not where those of the LSTM before stand.
  std::byte* encoded_states(const kernels::Rows& in) const {
    return in.encoded.data == work.hidden[0] ? work.hidden[1] : work.hidden[0];
  }
  kernels::Rows run_layer(const kernels::Layer& layer, const kernels::Rows& in, std::size_t batch);
  kernels::Rows run_recurrent(const kernels::Layer& layer, const kernels::Rows& in, std::size_t batch,
                              const kernels::Course& course);
  kernels::Rows run_lstm(const kernels::Layer& layer, const kernels::Rows& in, std::size_t batch,
                         const kernels::Course& course);
  kernels::Rows run_recurrence(const kernels::Layer& layer, const kernels::Rows& in, std::size_t batch,
                               const kernels::Course& course);
  kernels::Rows run_reverse(const kernels::Layer& layer, const kernels::Rows& in, std::size_t batch);
  kernels::Rows run_bidirectional(const kernels::Layer& layer, const kernels::Rows& states, std::size_t batch);
  kernels::RecurrenceArgs recurrence_args(const kernels::Layer& layer, std::size_t batch) const;
  void project(const kernels::Layer& layer, const kernels::Operand& x, std::size_t step, const kernels::Rows& in,
               std::size_t batch, const kernels::Course& course);
  kernels::Rows run_dense(const kernels::Layer& layer, const kernels::Rows& in, std::size_t batch, float* y,
                          std::size_t y_stride, std::size_t outputs);
  void dense_by_rows(const kernels::Layer& layer, const kernels::Rows& in, std::size_t rows, float* y,
                     std::size_t y_stride, std::size_t outputs_written);
  kernels::Rows run_affine(const kernels::Layer& layer, const kernels::Rows& in, std::size_t batch);
  kernels::Rows run_flatten(const kernels::Layer& layer, const kernels::Rows& in, std::size_t batch);
  [[gnu::noinline]] std::size_t run_next(std::size_t i, kernels::Rows& now, std::size_t batch);
  std::size_t run_tail(const kernels::Layer& layer, kernels::Rows& rows);
  kernels::Rows run_by_row(const kernels::Layer& layer, const kernels::Rows& in, std::size_t batch, float* y,
                           std::size_t y_stride);
  kernels::Rows run_unmask(const kernels::Layer& layer, const kernels::Rows& in, std::size_t batch);
  kernels::Rows run_repeat(const kernels::Layer& layer, const kernels::Rows& in, std::size_t batch);
  kernels::Rows step_lstm(const kernels::Layer& layer, const kernels::Rows& in, std::size_t batch, float* states);
  kernels::Rows step_recurrence(const kernels::Layer& layer, const kernels::Rows& in, std::size_t batch, float* states);
  void finish(const kernels::Rows& rows, std::size_t first_layer, std::size_t batch, float* output);
  bool projects_at_once(std::size_t batch) const { return batch < kernels->projection_rows; }
  /// With a deadline, the input projection is cut in two, so that neither part takes longer than a time step of all
  /// layers.
  std::size_t steps_at_once(std::size_t steps) const { return deadline.set() ? (steps + 1) / 2 : steps; }
};

}  // namespace linkcast
