// Calls one workload of the kernels a given number of times and does nothing else, for tools that count instructions:
// the difference between N and 2 N calls is the cost of N, whatever loading costs.
//
//   kernel-calls WORKLOAD CALLS [KERNELS]      LINKCAST_ISA chooses the instruction set, KERNELS one of its tables by name
//
// The networks have the shipped models' shapes and random weights, so that a count depends on no model file.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <vector>

#include "kernels/choice.h"
#include "kernels/network.h"
#include "network_reference.h"

using namespace linkcast;

namespace {

struct Workload {
  const char* name;
  bool forecaster;    // else the allocator
  std::size_t batch;  // windows, or states of a stream
  bool step;          // one time step of each, not the whole window
};

constexpr Workload kWorkloads[] = {
    {"forecast", true, 1, false}, {"forecast_100", true, 100, false}, {"push", true, 1, true},
    {"advance", true, 9, true},   {"decide", false, 1, false},        {"decide_100", false, 100, false},
};

void call(const Workload& workload, long calls, const kernels::Kernels& table) {
  Network network(workload.forecaster ? reference::forecaster(1) : reference::allocator(1), table);
  network.reserve(workload.batch);
  const std::size_t row = network.steps() * network.features();
  const auto input = reference::Random(2).floats(workload.batch * row, 0.0f, 1.0f);
  std::vector<float> states(workload.step ? workload.batch * network.state_size() : 0);
  std::vector<float> output(workload.batch * network.outputs());
  for (long i = 0; i < calls; ++i) {
    if (workload.step) {
      network.step(input.data(), 0, workload.batch, states.data(), workload.batch == 1 ? output.data() : nullptr);
    } else {
      network.run(input.data(), workload.batch, output.data());
    }
  }
}

}  // namespace

int main(int argc, char** argv) try {
  const long calls = argc == 3 || argc == 4 ? std::atol(argv[2]) : 0;
  for (const Workload& workload : kWorkloads) {
    if (calls < 1 || std::strcmp(argv[1], workload.name) != 0) continue;
    const Isa isa = default_isa();
    call(workload, calls,
         argc == 4 ? kernels_from_name(argv[3], isa) : kernels::select_kernels(isa, Precision::float32));
    return 0;
  }
  std::fprintf(stderr, "usage: kernel-calls WORKLOAD CALLS [KERNELS]; workloads:");
  for (const Workload& workload : kWorkloads) std::fprintf(stderr, " %s", workload.name);
  std::fprintf(stderr, "\n");
  return 2;
} catch (const std::exception& error) {
  std::fprintf(stderr, "kernel-calls: %s\n", error.what());
  return 1;
}
