#include "tail.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace linkcast::kernels {
namespace {

constexpr std::uint32_t late_in_a_row = 4;   // times, after which the helper rests
constexpr std::uint32_t shortest_rest = 16;  // runs
constexpr std::uint32_t longest_rest = 4096;
constexpr unsigned looks_at_once = 16;   // between two looks at the clock
constexpr std::size_t rows_at_once = 2;  // that are projected: see Tail::project
constexpr std::size_t fewest_steps = 4;  // one core projects them in two halves under a deadline
constexpr std::size_t apart = 128;       // bytes; cores fetch lines in pairs

/// Asks for lines that are about to be written: another core has read them.
inline void prefetch_to_write(const float* from, std::size_t floats) noexcept {
  for (std::size_t k = 0; k < floats; k += alignment / sizeof(float)) {
#if defined(__x86_64__)
    asm volatile("prefetchw %0" ::"m"(from[k]));  // does nothing on a CPU that is too old
#else
    __builtin_prefetch(from + k, 1, 3);
#endif
  }
}

}  // namespace

std::size_t Tail::first_of(std::span<const Layer> layers) noexcept {
  for (std::size_t k = 0; k + 1 < layers.size(); ++k) {
    // What is behind a bidirectional layer are its own.
    if (layers[k].kind == LayerKind::bidirectional)
      k += 2;
    else if (layers[k].kind == LayerKind::lstm && layers[k + 1].kind == LayerKind::lstm &&
             layers[k].steps >= fewest_steps)
      return k;
  }
  return layers.size();
}

Tail::Tail(std::span<const Layer> layers, const Kernels& kernels, std::shared_ptr<Helper> helper, Patience patience)
    : kernels_(kernels), helper_(std::move(helper)), patience_(patience), first_(first_of(layers)) {
  last_ = first_ + 1;
  while (last_ + 1 < layers.size() && layers[last_ + 1].kind == LayerKind::lstm) ++last_;
  steps_ = layers[first_].steps;
  width_ = layers[first_].padded;
  inbox_stride_ = round_up(width_, apart / sizeof(float));
  std::size_t size = apart;
  const auto place = [&size](std::size_t bytes) {
    const std::size_t at = size;
    size += round_up(bytes, apart);
    return at;
  };
  struct Places {
    std::size_t gates, c, h, encoded_h[2];
  };
  const std::size_t inbox = place(steps_ * inbox_stride_ * sizeof(float));
  const std::size_t taken = place(steps_ * inbox_stride_ * sizeof(float));
  std::size_t encoded_bytes = 0;
  std::vector<Places> places;
  for (std::size_t k = first_ + 1; k <= last_; ++k) {
    const Layer& layer = layers[k];
    const std::size_t hidden =
        kernels.encoded ? round_up(kernels.encoded_bytes(layer.padded), alignment) : std::size_t{0};
    places.push_back({place((steps_ + 1) * layer.gates * sizeof(float)),
                      place(layer.padded * sizeof(float)),
                      place(steps_ * layer.padded * sizeof(float)),
                      {place(hidden), place(hidden)}});
    if (kernels.encoded)
      encoded_bytes = std::max(encoded_bytes, round_up(kernels.encoded_bytes(layer.inputs), alignment));
  }
  const std::size_t encoded = place(rows_at_once * encoded_bytes);

  memory_ = AlignedBuffer(size + apart);
  std::byte* base = memory_.data();
  base += (apart - reinterpret_cast<std::uintptr_t>(base) % apart) % apart;
  const auto floats = [base](std::size_t at) { return reinterpret_cast<float*>(base + at); };
  inbox_ = floats(inbox);
  taken_ = floats(taken);
  encoded_ = base + encoded;
  const float* input = taken_;
  std::size_t input_stride = inbox_stride_;
  for (std::size_t k = 0; k < places.size(); ++k) {
    const Layer& layer = layers[first_ + 1 + k];
    const Places& at = places[k];
    stages_.push_back({&layer,
                       input,
                       input_stride,
                       floats(at.gates),
                       floats(at.c),
                       floats(at.h),
                       layer.padded,
                       {base + at.encoded_h[0], base + at.encoded_h[1]}});
    input = stages_.back().h;
    input_stride = layer.padded;
  }
}

Tail::~Tail() { helper_->let_go(*this); }

Rows Tail::rows() const noexcept {
  const Stage& end = stages_.back();
  return {end.h, end.h_stride, steps_, end.layer->width};
}

bool Tail::begin() noexcept {
  ++counts_.alone;
  if (rest_ > 0) {
    --rest_;
    return false;
  }
  // After a run that has ended the helper has no more to do with it than to say that it is free.
  if (missed_ && helper_->has(*this)) return false;
  base_ += steps_ + 2;
  float_mode_ = float_mode();
  fed_.store(base_, std::memory_order_relaxed);
  if (!helper_->post(*this)) return false;
  --counts_.alone;
  missed_ = false;
  return true;
}

void Tail::feed(std::size_t step, const float* row) noexcept {
  float* to = inbox_ + step * inbox_stride_;
  std::memcpy(to, row, width_ * sizeof(float));
  fed_.store(base_ + step + 1, std::memory_order_release);
  if (step + 1 < steps_) prefetch_to_write(to + inbox_stride_, width_);
}

bool Tail::end(Deadline deadline) noexcept {
  const std::uint64_t whole = base_ + steps_;
  const std::uint64_t start = monotonic_ns();
  std::uint64_t done = done_.load(std::memory_order_acquire);
  for (unsigned looks = 1; done < whole; ++looks) {
    relax();
    done = done_.load(std::memory_order_acquire);
    if (looks % looks_at_once != 0 || done >= whole) continue;
    const std::uint64_t waited = monotonic_ns() - start;
    if (done <= base_ && waited > patience_.begin_ns && helper_->take_back(*this)) {
      ++counts_.missed;  // the system runs something else there
      rest_ = shortest_rest;
      return false;
    }
    const bool late = waited > patience_.end_ns;
    if (!late && !deadline.passed()) continue;
    give_up();
    if (late) rest();
    return false;
  }
  if (done > whole) {  // the caller itself had come to a halt
    missed_ = true;
    ++counts_.missed;
    return false;
  }
  ++counts_.helped;
  late_ = next_rest_ = 0;
  return true;
}

void Tail::give_up() noexcept {
  fed_.store(base_ + steps_ + 1, std::memory_order_relaxed);
  missed_ = true;
  ++counts_.missed;
}

/// A helper that keeps being late is asked less and less.
void Tail::rest() noexcept {
  if (++late_ < late_in_a_row) return;
  next_rest_ = std::clamp(2 * next_rest_, shortest_rest, longest_rest);
  rest_ = next_rest_;
}

/// Whether the step has been fed; `fed` counts steps. No: the run is given up, or the caller does not get on.
bool Tail::wait_for(std::size_t step, std::uint64_t& fed) const noexcept {
  std::uint64_t start = 0;
  for (unsigned looks = 1;; ++looks) {
    fed = fed_.load(std::memory_order_acquire) - base_;
    if (fed > step) return fed <= steps_;
    relax();
    if (looks % looks_at_once != 0) continue;
    const std::uint64_t now = monotonic_ns();
    if (start == 0) start = now;
    if (now - start > patience_.end_ns) return false;
  }
}

void Tail::help() noexcept {
  const Release release{kernels_};
  if (float_mode_ != float_mode()) set_float_mode(float_mode_);
  for (Stage& stage : stages_) stage.projected = 0;
  std::uint64_t taken = 0;
  for (std::size_t step = 0; step < steps_; ++step) {
    std::uint64_t fed = taken;
    if (fed <= step && !wait_for(step, fed)) {
      done_.store(base_ + steps_ + 1, std::memory_order_release);
      return;
    }
    std::memcpy(taken_ + taken * inbox_stride_, inbox_ + taken * inbox_stride_,
                (fed - taken) * inbox_stride_ * sizeof(float));
    taken = fed;
    for (std::size_t k = 0; k < stages_.size(); ++k) {
      Stage& stage = stages_[k];
      if (stage.projected <= step) project(stage, step, k == 0 ? taken : step + 1);
      run_step(stage, step);
    }
    done_.store(base_ + step + 1, std::memory_order_release);
  }
}

/// Rows of a stage's input as the products read them, `stride` floats apart: an LSTM's states, of the fixed scale.
Operand Tail::operand(const Stage& stage, std::size_t step, std::size_t rows, std::size_t stride) noexcept {
  const float* first = stage.input + step * stage.input_stride;
  if (!kernels_.encoded) return {first, stride * sizeof(float), nullptr};
  const std::size_t bytes = round_up(kernels_.encoded_bytes(stage.layer->inputs), alignment);
  kernels_.encode(first, stride, rows, stage.layer->inputs, encoded_, bytes, nullptr);
  return {encoded_, bytes, scales_of_states(kernels_, first, stride, rows, stage.layer->inputs, encoded_scale_)};
}

/// Gates of the input's next steps, unless run_step() makes them on its way. One core takes all steps at once: no row of
/// theirs is by itself, and none may be here, since the sums of one row and one block are split and have other last bits.
/// So one that is alone goes twice. Where blocks go in pairs nothing is split, but encoded rows gain by going twice anyhow.
void Tail::project(Stage& stage, std::size_t step, std::size_t ready) noexcept {
  const Layer& layer = *stage.layer;
  const bool two = ready - step >= rows_at_once;
  if (!two && !kernels_.encoded && layer.recurrent.vectors % 8 == 0) return;
  const Operand x = operand(stage, step, rows_at_once, two ? stage.input_stride : 0);
  kernels_.dense(layer.dense, x, rows_at_once, stage.gates + step * layer.gates, layer.gates, layer.gates, false);
  stage.projected = step + (two ? rows_at_once : 1);
}

void Tail::run_step(Stage& stage, std::size_t step) noexcept {
  const Layer& layer = *stage.layer;
  LstmArgs args;
  args.rows = 1;
  args.recurrent = layer.recurrent;
  args.cell_limit = layer.cell_limit;
  args.input = layer.dense.matrix;
  if (stage.projected > step) {
    args.gates = stage.gates + step * layer.gates;
    args.gates_stride = layer.gates;
  } else {
    args.gates = layer.dense.bias;
    args.x = operand(stage, step, 1, stage.input_stride);
  }
  args.c = stage.c;
  args.c_stride = layer.padded;
  args.h_out = stage.h + step * stage.h_stride;
  args.h_out_stride = stage.h_stride;
  args.h_encoded = stage.encoded_h[step % 2];
  args.h_encoded_stride = kernels_.encoded ? round_up(kernels_.encoded_bytes(layer.padded), alignment) : 0;
  args.reverse = step % 2 == 0;
  if (step > 0)
    args.h = kernels_.encoded ? Operand{stage.encoded_h[(step - 1) % 2], args.h_encoded_stride, nullptr}
                              : Operand{args.h_out - stage.h_stride, stage.h_stride * sizeof(float), nullptr};
  kernels_.lstm_step(args);
}

}  // namespace linkcast::kernels
