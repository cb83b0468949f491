// The part of TensorFlow Lite's C ABI that linkcast uses, declared from its public documentation (runtime 2.17).
//
// Handles are opaque, enums are plain ints of the documented values, and every function is an entry of `Api`, which
// Runtime fills with dlsym. Nothing here is linked against.
#pragma once

#include <cstdarg>
#include <cstddef>
#include <cstdint>

namespace linkcast::tflite {

struct Model;
struct InterpreterOptions;
struct InterpreterHandle;
struct Tensor;
struct OpaqueContext;
struct OpaqueNode;
struct OpaqueTensor;
struct OpaqueDelegate;  // also what the XNNPACK delegate is
struct Operator;

using Status = int;  // 0 is success
inline constexpr Status kOk = 0;
inline constexpr Status kError = 1;
const char* status_name(Status status) noexcept;

using DataType = int;
inline constexpr DataType kFloat32 = 1, kInt32 = 2, kUint8 = 3, kInt16 = 7, kInt8 = 9;

inline constexpr int kBuiltinDelegate = 51;  // the builtin code of a node that a delegate has replaced

/// An array of `size` values behind its size; the runtime owns every one that we meet.
struct IntArray {
  int size;
  int data[1];
};

/// Memory of ours that a tensor lives in: at least 64-byte aligned, at least the tensor's size.
struct CustomAllocation {
  void* data;
  std::size_t bytes;
};

/// An affine quantisation: real = scale * (value - zero_point).
struct QuantizationParams {
  float scale;
  std::int32_t zero_point;
};

/// An array of `size` floats behind its size.
struct FloatArray {
  int size;
  float data[1];
};

/// One scale for the whole tensor, or one per slice along `quantized_dimension`; behind Quantization when its type
/// is 1.
struct AffineQuantization {
  const FloatArray* scale;
  const IntArray* zero_point;
  std::int32_t quantized_dimension;
};

struct Quantization {
  int type;  // 0: none, 1: affine
  const void* params;
};
inline constexpr int kAffineQuantization = 1;

/// What TfLiteOpaqueDelegateCreate takes; copied by the runtime.
struct OpaqueDelegateBuilder {
  void* data;
  Status (*prepare)(OpaqueContext* context, OpaqueDelegate* delegate, void* data);
  Status (*copy_from_buffer_handle)(OpaqueContext*, OpaqueDelegate*, void*, int, OpaqueTensor*);
  Status (*copy_to_buffer_handle)(OpaqueContext*, OpaqueDelegate*, void*, int, OpaqueTensor*);
  void (*free_buffer_handle)(OpaqueContext*, OpaqueDelegate*, void*, int*);
  std::int64_t flags;
};
inline constexpr std::int64_t kDelegateAllowsDynamicTensors = 1;

/// What a delegate kernel's init receives as its buffer.
struct OpaqueDelegateParams {
  OpaqueDelegate* delegate;
  void* delegate_data;
  IntArray* nodes_to_replace;
  IntArray* input_tensors;
  IntArray* output_tensors;
};

/// The XNNPACK delegate's options start with the thread count; later versions append fields, so the size is generous
/// and the runtime's own default fills it.
struct XnnpackOptions {
  std::int32_t num_threads;
  unsigned char rest[252];
};

using ErrorReporter = void (*)(void* user_data, const char* format, std::va_list args);

// X(return type, name behind "TfLite", parameters)
#define LINKCAST_TFLITE_FUNCTIONS(X)                                                                                   \
  X(const char*, Version, ())                                                                                          \
  X(Model*, ModelCreateWithErrorReporter, (const void*, std::size_t, ErrorReporter, void*))                            \
  X(void, ModelDelete, (Model*))                                                                                       \
  X(InterpreterOptions*, InterpreterOptionsCreate, ())                                                                 \
  X(void, InterpreterOptionsDelete, (InterpreterOptions*))                                                             \
  X(void, InterpreterOptionsSetNumThreads, (InterpreterOptions*, std::int32_t))                                        \
  X(void, InterpreterOptionsAddDelegate, (InterpreterOptions*, OpaqueDelegate*))                                       \
  X(void, InterpreterOptionsSetErrorReporter, (InterpreterOptions*, ErrorReporter, void*))                             \
  X(InterpreterHandle*, InterpreterCreate, (const Model*, const InterpreterOptions*))                                  \
  X(void, InterpreterDelete, (InterpreterHandle*))                                                                     \
  X(Status, InterpreterAllocateTensors, (InterpreterHandle*))                                                          \
  X(Status, InterpreterInvoke, (InterpreterHandle*))                                                                   \
  X(Status, InterpreterResetVariableTensors, (InterpreterHandle*))                                                     \
  X(std::int32_t, InterpreterGetVariableTensorCount, (const InterpreterHandle*))                                       \
  X(Status, InterpreterResizeInputTensor, (InterpreterHandle*, std::int32_t, const int*, std::int32_t))                \
  X(Status, InterpreterSetCustomAllocationForTensor, (InterpreterHandle*, int, const CustomAllocation*, std::int64_t)) \
  X(std::int32_t, InterpreterGetInputTensorCount, (const InterpreterHandle*))                                          \
  X(std::int32_t, InterpreterGetOutputTensorCount, (const InterpreterHandle*))                                         \
  X(Tensor*, InterpreterGetInputTensor, (const InterpreterHandle*, std::int32_t))                                      \
  X(const Tensor*, InterpreterGetOutputTensor, (const InterpreterHandle*, std::int32_t))                               \
  X(const int*, InterpreterInputTensorIndices, (const InterpreterHandle*))                                             \
  X(const int*, InterpreterOutputTensorIndices, (const InterpreterHandle*))                                            \
  X(DataType, TensorType, (const Tensor*))                                                                             \
  X(const char*, TypeGetName, (DataType))                                                                              \
  X(std::int32_t, TensorNumDims, (const Tensor*))                                                                      \
  X(std::int32_t, TensorDim, (const Tensor*, std::int32_t))                                                            \
  X(std::size_t, TensorByteSize, (const Tensor*))                                                                      \
  X(void*, TensorData, (const Tensor*))                                                                                \
  X(const char*, TensorName, (const Tensor*))                                                                          \
  X(QuantizationParams, TensorQuantizationParams, (const Tensor*))                                                     \
  X(Operator*, OperatorCreate, (int, const char*, int, void*))                                                         \
  X(void, OperatorDelete, (Operator*))                                                                                 \
  X(int, OperatorGetBuiltInCode, (const Operator*))                                                                    \
  X(const char*, OperatorGetCustomName, (const Operator*))                                                             \
  X(Status, OperatorSetInitWithData, (Operator*, void* (*)(void*, OpaqueContext*, const char*, std::size_t)))          \
  X(Status, OperatorSetFreeWithData, (Operator*, void (*)(void*, OpaqueContext*, void*)))                              \
  X(Status, OperatorSetPrepareWithData, (Operator*, Status (*)(void*, OpaqueContext*, OpaqueNode*)))                   \
  X(Status, OperatorSetInvokeWithData, (Operator*, Status (*)(void*, OpaqueContext*, OpaqueNode*)))                    \
  X(IntArray*, IntArrayCreate, (int))                                                                                  \
  X(void, IntArrayFree, (IntArray*))

// What delegates need, ours and XNNPACK, and the reading of a graph: all there, or the build has no delegates (the
// one for armv7 that the wheel carries) and every graph runs on the runtime's own kernels.
#define LINKCAST_TFLITE_DELEGATE_FUNCTIONS(X)                                                     \
  X(XnnpackOptions, XNNPackDelegateOptionsDefault, ())                                            \
  X(OpaqueDelegate*, XNNPackDelegateCreate, (const XnnpackOptions*))                              \
  X(void, XNNPackDelegateDelete, (OpaqueDelegate*))                                               \
  X(OpaqueDelegate*, OpaqueDelegateCreate, (const OpaqueDelegateBuilder*))                        \
  X(void, OpaqueDelegateDelete, (OpaqueDelegate*))                                                \
  X(Status, OpaqueContextGetExecutionPlan, (OpaqueContext*, IntArray**))                          \
  X(Status, OpaqueContextGetNodeAndRegistration, (OpaqueContext*, int, OpaqueNode**, Operator**)) \
  X(Status, OpaqueContextReplaceNodeSubsetsWithDelegateKernels,                                   \
    (OpaqueContext*, Operator*, const IntArray*, OpaqueDelegate*))                                \
  X(OpaqueTensor*, OpaqueContextGetOpaqueTensor, (const OpaqueContext*, int))                     \
  X(Status, OpaqueContextGetInputs, (const OpaqueContext*, const int**, int*))                    \
  X(Status, OpaqueContextGetOutputs, (const OpaqueContext*, const int**, int*))                   \
  X(std::size_t, OpaqueContextGetNumNodes, (const OpaqueContext*))                                \
  X(std::size_t, OpaqueContextGetNumTensors, (const OpaqueContext*))                              \
  X(Status, OpaqueContextResizeTensor, (OpaqueContext*, OpaqueTensor*, IntArray*))                \
  X(Status, OpaqueContextAcquireSubgraphContext, (OpaqueContext*, int, OpaqueContext**))          \
  X(Status, OpaqueContextReleaseSubgraphContext, (OpaqueContext*, int))                           \
  X(Status, OpaqueContextMarkSubgraphAsDelegationSkippable, (OpaqueContext*, int))                \
  X(void, OpaqueContextReportError, (OpaqueContext*, const char*, ...))                           \
  X(Status, OpaqueNodeInputs, (const OpaqueNode*, const int**, int*))                             \
  X(Status, OpaqueNodeOutputs, (const OpaqueNode*, const int**, int*))                            \
  X(const OpaqueTensor*, OpaqueNodeGetInput, (const OpaqueContext*, const OpaqueNode*, int))      \
  X(OpaqueTensor*, OpaqueNodeGetOutput, (OpaqueContext*, const OpaqueNode*, int))                 \
  X(void*, OpaqueNodeGetBuiltinData, (const OpaqueNode*))                                         \
  X(void*, OpaqueNodeGetUserData, (const OpaqueNode*))                                            \
  X(DataType, OpaqueTensorType, (const OpaqueTensor*))                                            \
  X(std::int32_t, OpaqueTensorNumDims, (const OpaqueTensor*))                                     \
  X(std::int32_t, OpaqueTensorDim, (const OpaqueTensor*, std::int32_t))                           \
  X(int, OpaqueTensorIsVariable, (const OpaqueTensor*))                                           \
  X(std::size_t, OpaqueTensorByteSize, (const OpaqueTensor*))                                     \
  X(void*, OpaqueTensorData, (const OpaqueTensor*))                                               \
  X(int, OpaqueTensorGetAllocationType, (const OpaqueTensor*))                                    \
  X(const char*, OpaqueTensorName, (const OpaqueTensor*))                                         \
  X(QuantizationParams, OpaqueTensorGetQuantizationParams, (const OpaqueTensor*))                 \
  X(Quantization, OpaqueTensorGetQuantization, (const OpaqueTensor*))

// Functions that not every version has; null when absent. Up to 2.17 OperatorCreate ignores its user data, and
// OperatorCreateWithData keeps it; later versions have the first one alone, and it does.
#define LINKCAST_TFLITE_OPTIONAL_FUNCTIONS(X) X(Operator*, OperatorCreateWithData, (int, const char*, int, void*))

/// The functions by name: `api.InterpreterInvoke(...)` calls TfLiteInterpreterInvoke.
struct Api {
#define LINKCAST_DECLARE(result, name, parameters) result(*name) parameters = nullptr;
  LINKCAST_TFLITE_FUNCTIONS(LINKCAST_DECLARE)
  LINKCAST_TFLITE_DELEGATE_FUNCTIONS(LINKCAST_DECLARE)
  LINKCAST_TFLITE_OPTIONAL_FUNCTIONS(LINKCAST_DECLARE)
#undef LINKCAST_DECLARE
};

}  // namespace linkcast::tflite
