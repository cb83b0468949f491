// Any bytes as a model that the native kernels may run: what they run has to be what TensorFlow Lite gives.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "engine/model.h"
#include "engine/proof.h"
#include "flatbuffer_mutator.h"
#include "recognise/model_file.h"

namespace {

using linkcast::Backend;
using linkcast::Model;

Model::Options options(Backend backend) {
  Model::Options options;
  options.backend = backend;
  options.limits.tensor_bytes = std::uint64_t{4} << 20;
  options.limits.load_seconds = 0.5;
  return options;
}

/// (batch, answer): of the same windows.
std::vector<float> answers(Model& model, const std::vector<float>& windows, std::size_t batch) {
  if (model.inputs().size() != 1 || model.outputs().size() != 1) {  // by name, one behind the other, and no batches
    auto next = windows.begin();
    for (const auto& input : model.inputs()) {
      std::copy_n(next, input.size, input.memory.get());
      next += static_cast<std::ptrdiff_t>(input.size);
    }
    model.invoke();
    std::vector<float> all;
    for (const auto& output : model.outputs())
      all.insert(all.end(), output.memory.get(), output.memory.get() + output.size);
    return all;
  }
  const auto& input = model.batch_input(batch);
  std::copy_n(windows.begin(), batch * model.row_inputs(), input.get());
  const auto& output = model.invoke_batch(batch);
  return {output.get(), output.get() + batch * model.row_outputs()};
}

/// Whether a file that has passed the gate divides by a root, as normalisations do.
bool normalises(const std::vector<std::byte>& bytes) {
  const std::string name = "input";
  const auto graphs = linkcast::tflite::read_graphs({bytes.data(), bytes.size()}, {name, std::uint64_t{4} << 20});
  for (const auto& graph : graphs)
    for (const auto& node : graph.operators)
      if (node.label.starts_with("RSQRT")) return true;
  return false;
}

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t most, unsigned seed) {
  return fuzz::mutate_model(data, size, most, seed);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto* first = reinterpret_cast<const std::byte*>(data);
  const std::vector<std::byte> bytes(first, first + size);
  try {
    Model native(bytes, "input", options(Backend::automatic));
    const std::string& reason = native.backend_reason();
    // Caught by the proof, and all the same read as something that it is not; unless floats overflow in it.
    FUZZ_CHECK(reason.find("answer of another size") == std::string::npos, "%s", reason.c_str());
    if (std::string(native.backend()) != "native") return 0;

    Model plain(bytes, "input", options(Backend::tflite));
    FUZZ_CHECK(native.row_inputs() == plain.row_inputs() && native.row_outputs() == plain.row_outputs(), "%zu, %zu",
               native.row_outputs(), plain.row_outputs());
    constexpr std::size_t kBatch = 2;
    std::mt19937 random(static_cast<unsigned>(size));
    std::normal_distribution<float> normal;
    std::size_t values = 0;
    for (const auto& input : native.inputs()) values += input.size;
    std::vector<float> windows(std::max(values, kBatch * native.row_inputs()));
    std::generate(windows.begin(), windows.end(), [&] { return normal(random); });
    double unit = 1;
    for (const float value : windows) unit = std::max(unit, std::fabs(static_cast<double>(value)));
    const auto expected = answers(plain, windows, kBatch);
    const auto got = answers(native, windows, kBatch);
    // XNNPACK, which the plain one has, rounds the activations in front of int8 weights in a way of its own. A
    // normalisation behind them multiplies that without a bound, and the plain one says nothing of the weights as floats
    // then; tests hold those files to float weights (tests/test_delegate.py, "layer_norm_dynamic_range").
    const bool rounded = native.proof_error() > 1e-5;
    if (rounded && normalises(bytes)) return 0;
    const double tolerance = rounded ? 5e-2 : linkcast::proof_tolerance(linkcast::Precision::float32);
    for (std::size_t n = 0; n < got.size(); ++n) {
      const auto wanted = static_cast<double>(expected[n]), seen = static_cast<double>(got[n]);
      if (!std::isfinite(wanted) && !std::isfinite(seen)) continue;
      FUZZ_CHECK(std::fabs(seen - wanted) <= tolerance * std::max(unit, std::fabs(wanted)),
                 "output %zu of %zu: native %g, TensorFlow Lite %g; %s", n, got.size(), seen, wanted, reason.c_str());
    }
  } catch (const linkcast::LoadError&) {
  } catch (const linkcast::InvokeError&) {
  }
  return 0;
}
