// Which kernels run a network: measured once, on this CPU, for each class of call.
//
// Of float32 only tables that give the same bits compete, so that a time never shows in an answer. At a reduced
// precision every table of it competes, and float32 with them: where none gains, float32 runs.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "helper.h"
#include "isa.h"
#include "kernels.h"
#include "network.h"
#include "network_spec.h"

namespace linkcast {

/// Calls that other things bind. A stream's steps are one class whatever their number, so that a row of a stream is the
/// same bit for bit whatever stands beside it.
enum class CallClass { step, window, few, many };
inline constexpr std::size_t call_classes = 4;

/// "step" (of a stream), "window" (one), "few" (2 to 7 windows), "many".
const char* call_class_name(CallClass of) noexcept;
CallClass class_of_run(std::size_t batch) noexcept;

/// The kernels of a class of call, and what was measured.
struct KernelChoice {
  struct Time {
    const kernels::Kernels* kernels = nullptr;
    double us = 0.0;  ///< of a call: a step of one state and of nine; 1, 4 or 16 windows
  };
  const kernels::Kernels* kernels = nullptr;  ///< null: the network has no such call
  std::vector<Time> times;                    ///< empty: there was nothing to choose from, or they were asked for
};
using KernelChoices = std::array<KernelChoice, call_classes>;

Precision precision_of(const kernels::Kernels& table) noexcept;

/// The table of this name among those that an ISA has here, of any precision.
/// @throws std::invalid_argument  there is none; the text lists what there is
const kernels::Kernels& kernels_from_name(const std::string& name, Isa isa);
/// The same for a network of this precision, which float32 kernels run as well. @throws  also when they are of another
const kernels::Kernels& kernels_from_name(const std::string& name, Isa isa, Precision precision);

/// Runs a NetworkSpec on the kernels that measured best; see Network, whose contract its calls have.
class ChosenNetwork {
 public:
  /// One reading: microseconds of a call on a table.
  using Stopwatch =
      std::function<double(const kernels::Kernels& table, CallClass of, const std::function<void()>& call)>;

  struct Options {
    std::string kernels;  ///< forces a table of the precision, or of float32; "" measures
    Stopwatch stopwatch;  ///< empty: the clock
    SecondCore second_core = {};
  };

  /// Measures where there is a choice and none is known yet: a network of the same shape, ISA and precision that was
  /// built earlier in this process has settled it, whatever its weights.
  /// @throws std::invalid_argument  as Network; `kernels` names none of this ISA's, or one of another precision
  ChosenNetwork(const NetworkSpec& spec, Isa isa, Precision precision, const Options& options);
  ChosenNetwork(const NetworkSpec& spec, Isa isa, Precision precision)
      : ChosenNetwork(spec, isa, precision, Options()) {}

  Isa isa() const { return front().isa(); }
  Precision precision() const { return precision_; }  ///< that was asked for
  const KernelChoices& choices() const { return choices_; }
  bool forced() const { return forced_; }
  /// The tables that run, by class where they differ: "f32_avx512", or "bf16_avx512_dot (step, window), ...".
  std::string kernels_name() const;
  /// Of step(), or where there are no steps, of one window.
  const char* step_kernels() const noexcept;
  /// What there is to say of the choice: that a reduced precision does not gain, and where; or "".
  std::string notice() const;
  /// What came of a second core: "" when none was asked for; else whether one window runs on two cores, and what was
  /// measured, or what is in the way. Measured anew for each network: it is the machine's state as well as its make.
  const std::string& second_core() const noexcept { return second_core_; }
  bool shares_window() const noexcept;
  HelpCounts help_counts() const { return network(CallClass::window).help_counts(); }

  std::size_t steps() const { return front().steps(); }
  std::size_t features() const { return front().features(); }
  std::size_t output_steps() const { return front().output_steps(); }
  std::size_t outputs() const { return front().outputs(); }
  std::size_t weight_bytes() const;  ///< of every table that runs
  std::size_t multiply_adds() const { return front().multiply_adds(); }
  std::size_t bytes_read() const { return network(CallClass::window).bytes_read(); }
  void reserve(std::size_t batch);
  bool run(const float* input, std::size_t batch, float* output, Deadline deadline = {}) noexcept {
    return network(class_of_run(batch)).run(input, batch, output, deadline);
  }

  bool can_step() const { return front().can_step(); }
  std::size_t state_size() const { return network(CallClass::step).state_size(); }
  void step(const float* samples, std::size_t sample_stride, std::size_t batch, float* states, float* output) noexcept {
    network(CallClass::step).step(samples, sample_stride, batch, states, output);
  }

  /// For a proof of each table that runs: from now on the k-th of `networks()` runs every call; chosen() ends it.
  std::size_t networks() const { return networks_.size(); }
  const kernels::Kernels& only(std::size_t k);
  void chosen() noexcept;

 private:
  void share_window(const SecondCore& place, const Stopwatch& stopwatch);
  const Network& front() const { return *networks_.front(); }
  Network& network(CallClass of) const { return *of_[static_cast<std::size_t>(of)]; }

  Precision precision_;
  bool forced_ = false;
  std::string second_core_;
  KernelChoices choices_;
  std::vector<std::unique_ptr<Network>> networks_;  // one for each table that runs
  std::array<Network*, call_classes> of_{};         // none null: a class without calls has another's
  std::size_t reserved_ = 1;
};

}  // namespace linkcast
