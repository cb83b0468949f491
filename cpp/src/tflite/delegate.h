// The delegate that runs a whole graph as one native network, inside a TensorFlow Lite interpreter.
#pragma once

#include <optional>
#include <string>

#include "kernels/network.h"
#include "kernels/network_spec.h"
#include "tflite/c_api.h"
#include "tflite/recognise.h"

namespace linkcast::tflite {

class Runtime;

/// Claims a graph as a whole or not at all. Add handle() to one interpreter's delegates before it is created; must
/// outlive that interpreter, which uses it from its own thread. The claimed graph takes any batch: resize the input,
/// allocate, invoke.
///
/// The environment variable LINKCAST_TEST_WRONG_KERNEL=1 is a test hook: it adds an error to the output, so that a test
/// can see that the proof at load catches a wrong kernel.
class NativeDelegate {
 public:
  /// @throws std::runtime_error  the runtime can't create a delegate
  NativeDelegate(const Runtime& runtime, Isa isa, Precision precision);
  NativeDelegate(const NativeDelegate&) = delete;
  NativeDelegate& operator=(const NativeDelegate&) = delete;
  ~NativeDelegate();

  OpaqueDelegate* handle() const noexcept { return delegate_; }

  /// Whether the interpreter runs the native network. Settled when the interpreter has been created.
  bool claimed() const noexcept { return claimed_; }
  /// Why the graph was not claimed, naming the first operator that stood in the way; "" when it was.
  const std::string& reason() const noexcept { return reason_; }

  const NetworkSpec* spec() const noexcept { return recognised_ ? &recognised_->spec : nullptr; }
  const Network* network() const noexcept { return network_ ? &*network_ : nullptr; }
  /// Whether the file's weights are int8 that TFLite itself multiplies with activations rounded to int8, which the
  /// native network does not round: the two then differ by that rounding.
  bool quantised_weights() const noexcept { return recognised_ && recognised_->quantised_weights; }

 private:
  void read(OpaqueContext* context);
  Status claim(OpaqueContext* context);
  Status resize_output(OpaqueContext* context);
  Status run(OpaqueContext* context) noexcept;

  static Status on_prepare(OpaqueContext* context, OpaqueDelegate* delegate, void* self);
  static void* on_kernel_init(void* self, OpaqueContext* context, const char* buffer, std::size_t length);
  static void on_kernel_free(void* self, OpaqueContext* context, void* kernel);
  static Status on_kernel_prepare(void* self, OpaqueContext* context, OpaqueNode* node);
  static Status on_kernel_invoke(void* self, OpaqueContext* context, OpaqueNode* node);

  const Api& api_;
  Isa isa_;
  Precision precision_;
  bool wrong_on_purpose_;
  OpaqueDelegate* delegate_ = nullptr;
  OpaqueContext* primary_ = nullptr;
  std::optional<RecognisedNetwork> recognised_;
  std::optional<Network> network_;
  int input_ = -1;  // tensor indices in the primary graph
  int output_ = -1;
  bool claimed_ = false;
  std::string reason_;
};

}  // namespace linkcast::tflite
