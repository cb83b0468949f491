// What the times depend on beside the program: the processor, the kernel, and how busy they are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "json_writer.h"

namespace linkcast::bench {

/// Nothing where the system does not tell.
std::optional<std::size_t> last_level_cache_bytes();

/// What changes while a program runs.
struct MachineState {
  std::optional<double> frequency_mhz;                   // of the CPU this thread is on
  std::optional<double> temperature_c;                   // the hottest thermal zone
  std::optional<double> load_average;                    // processes that run or wait, mean of a minute
  std::optional<std::uint64_t> stolen_ticks, cpu_ticks;  // of all CPUs since the machine started

  static MachineState now();
};

/// The members of "machine": what can't be read is null.
void write_machine(JsonWriter& json, const MachineState& begin, const MachineState& end);

/// "AMD EPYC, 2 CPUs, Linux 6.1 (PREEMPT_DYNAMIC)": for people.
std::string describe_machine();

/// What one reading of the monotonic clock takes, ns: part of every time.
double clock_cost_ns();

}  // namespace linkcast::bench
