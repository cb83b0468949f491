// Single .tflite files beside TensorFlow Lite on the same file, and beside the core's limit.
//
// Every contender is checked against TensorFlow Lite's own kernels before anything is timed. Contenders take turns, so
// that what disturbs the machine disturbs all of them, and ratios are those of one run.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "engine/model.h"

namespace linkcast::bench {

struct SideBySideOptions {
  std::vector<std::string> models;  // paths
  std::vector<Precision> precisions = {Precision::float32};
  std::size_t batch = 1;
  double paced_hz = 0.0;       // 0: back to back
  std::size_t iterations = 0;  // samples of each contender; 0: 2000, or 300 when paced
  bool kernels = false;        // also without the interpreter around them
  SecondCore second_core;      // if wanted, also on two cores
  std::string tflite_library;
};

/// Prints a table for each model. @throws LoadError, std::runtime_error (a wrong result)
void time_side_by_side(const SideBySideOptions& options);

}  // namespace linkcast::bench
