// What this core can do at most, measured: the yardstick beside every time that linkcast-bench prints.
#pragma once

#include "kernels/isa.h"

namespace linkcast::bench {

struct Roofline {
  double multiply_adds_per_s = 0.0;  // float32, of independent fused multiply-adds in registers
  double l2_bytes_per_s = 0.0;       // read, over 256 KB again and again
};

/// Best of many short runs, with the vectors of `isa`. Takes about a tenth of a second.
Roofline measure_roofline(Isa isa);

}  // namespace linkcast::bench
