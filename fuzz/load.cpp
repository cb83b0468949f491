// Any bytes as a model: what the verifier lets through is loaded, allocated and run, on TensorFlow Lite and in batches.
#include <cstring>
#include <new>
#include <stdexcept>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "engine/model.h"
#include "flatbuffer_mutator.h"

namespace {

linkcast::Model::Options options(linkcast::Backend backend) {
  linkcast::Model::Options options;
  options.backend = backend;
  options.limits.tensor_bytes = std::uint64_t{4} << 20;
  options.limits.load_seconds = 0.2;  // bounds the work of a run, too: a sanitizer is slow
  return options;
}

void run(linkcast::Model& model, float value) {
  if (model.inputs().size() != 1 || model.outputs().size() != 1) {  // by name, and no batches
    for (const auto& input : model.inputs()) std::fill_n(input.memory.get(), input.size, value);
    model.invoke();
    return;
  }
  std::fill_n(model.input().get(), model.row_inputs() * model.own_batch(), value);
  model.invoke();
  for (const std::size_t batch : {std::size_t{1}, std::size_t{3}}) {
    const auto& input = model.batch_input(batch);
    std::fill_n(input.get(), batch * model.row_inputs(), value);
    model.invoke_batch(batch);
  }
}

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t most, unsigned seed) {
  return fuzz::mutate_model(data, size, most, seed);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto* first = reinterpret_cast<const std::byte*>(data);
  try {
    linkcast::Model model({first, first + size}, "input", options(linkcast::Backend::tflite));
    for (const float value : {0.5F, -1e30F}) run(model, value);
  } catch (const linkcast::LoadError& error) {
    FUZZ_CHECK(std::strncmp(error.what(), "input", 5) == 0, "an error that does not name the file: %s", error.what());
  } catch (const linkcast::InvokeError&) {  // the runtime refuses to run it, in its own words
  }
  return 0;
}
