// What this core can do at most, measured: the yardstick beside every time that linkcast-bench prints.
#pragma once

#include <cstddef>

#include "kernels/isa.h"
#include "kernels/kernels.h"

namespace linkcast::bench {

struct Roofline {
  double multiply_adds_per_s = 0.0;  // float32, of independent fused multiply-adds in registers
  double weight_bytes_per_s = 0.0;   // read again and again, from whichever caches hold so many
};

/// Best of many short runs, with the vectors of `isa`, in the orders in which the kernels read. Takes about a fifth of a
/// second.
/// @param weight_bytes  how many lie there to be read: those of a network
Roofline measure_roofline(Isa isa, std::size_t weight_bytes);

/// Multiply-adds a second of the instruction that these kernels multiply with, independent ones in registers; 0 where that
/// is not known (matrix tiles, Arm's dot products). Measured once in a process.
double measure_multiply_adds(const kernels::Kernels& table);

}  // namespace linkcast::bench
