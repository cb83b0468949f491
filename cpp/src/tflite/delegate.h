// The delegate that runs a whole graph as one native network, inside a TensorFlow Lite interpreter.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/choice.h"
#include "kernels/network_spec.h"
#include "recognise/recognise.h"
#include "tflite/c_api.h"

namespace linkcast::tflite {

class Runtime;

/// Claims a graph as a whole or not at all. Add handle() to one interpreter's delegates before it is created; must
/// outlive that interpreter, which uses it from its own thread. The claimed graph takes any batch: resize the input,
/// allocate, invoke.
///
/// The environment variable LINKCAST_TEST_WRONG_KERNEL=1 is a test hook: it adds an error to the output, so that a test
/// can see that the proof at load catches a wrong kernel; "steps" adds one to what is expected of steps. Only a build with
/// LINKCAST_TEST_HOOKS has it: that of the C++ tests.
class NativeDelegate {
 public:
  /// @param kernels  forces some by name; "" takes those that measure best (see ChosenNetwork)
  /// @throws std::runtime_error  the runtime can't create a delegate
  NativeDelegate(const Runtime& runtime, Isa isa, Precision precision, const std::string& kernels,
                 const SecondCore& second_core = {});

  /// For another interpreter over the same model: shares the network of `other`, which has claimed its graph, and reads
  /// nothing anew. The interpreters of both must then be used by one thread at a time.
  NativeDelegate(const Runtime& runtime, const NativeDelegate& other);

  NativeDelegate(const NativeDelegate&) = delete;
  NativeDelegate& operator=(const NativeDelegate&) = delete;
  ~NativeDelegate();

  OpaqueDelegate* handle() const noexcept { return delegate_; }

  /// Whether the interpreter runs the native network. Settled when the interpreter has been created.
  bool claimed() const noexcept { return claimed_; }
  /// Why the graph was not claimed, naming the first operator that stood in the way; "" when it was.
  const std::string& reason() const noexcept { return reason_; }

  /// What the graph computes, and the network that runs it; null when the graph was not claimed.
  const NetworkSpec* spec() const noexcept { return claimed_ ? &graph_->recognised.spec : nullptr; }
  const ChosenNetwork* network() const noexcept { return claimed_ ? &graph_->network : nullptr; }
  ChosenNetwork* network() noexcept { return claimed_ ? &graph_->network : nullptr; }
  /// Whether the graph has its recurrent state among its inputs or outputs; it keeps its own batch then.
  bool steps() const noexcept { return claimed_ && graph_->recognised.state.has_value(); }
  /// Whether the file's weights are int8 that TFLite itself multiplies with activations rounded to int8, which the
  /// native network does not round: the two then differ by that rounding.
  bool quantised_weights() const noexcept { return claimed_ && graph_->recognised.quantised_weights; }
  /// A test asks for steps that are wrong.
  bool steps_wrong_on_purpose() const noexcept { return steps_wrong_on_purpose_; }

 private:
  struct NativeGraph {
    RecognisedNetwork recognised;
    ChosenNetwork network;
    std::vector<int> inputs;  // tensor indices in the primary graph
    std::vector<int> outputs;
    std::vector<float> states = {};  // of a network that steps: (batch, its state)
    std::vector<float> answer = {};  // (batch, outputs) where the graph has no such output
  };

  void create();
  void read(OpaqueContext* context);
  Status claim(OpaqueContext* context);
  Status resize_output(OpaqueContext* context);
  Status resize(OpaqueContext* context, int tensor, const Shape& shape, int batch);
  Status prepare_steps(OpaqueContext* context);
  Status run(OpaqueContext* context) noexcept;
  Status run_steps(OpaqueContext* context) noexcept;

  static Status on_prepare(OpaqueContext* context, OpaqueDelegate* delegate, void* self);
  static void* on_kernel_init(void* self, OpaqueContext* context, const char* buffer, std::size_t length);
  static void on_kernel_free(void* self, OpaqueContext* context, void* kernel);
  static Status on_kernel_prepare(void* self, OpaqueContext* context, OpaqueNode* node);
  static Status on_kernel_invoke(void* self, OpaqueContext* context, OpaqueNode* node);

  const Api& api_;
  Isa isa_;
  Precision precision_;
  std::string kernels_;
  SecondCore second_core_;
  bool steps_wrong_on_purpose_ = false;
  bool wrong_on_purpose_ = false;
  OpaqueDelegate* delegate_ = nullptr;
  OpaqueContext* primary_ = nullptr;
  std::shared_ptr<NativeGraph> graph_;
  bool claimed_ = false;
  std::string reason_ = "no interpreter has offered its graph";
};

}  // namespace linkcast::tflite
