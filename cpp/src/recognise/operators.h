// The one table of TensorFlow Lite's builtin operators: what each is called, what it takes and gives, and which rule
// lays out its outputs. An operator is added here, and nowhere else.
#pragma once

namespace linkcast::tflite {

/// Builtin operator codes of the schema, those that the code names.
enum Code : int {
  kAdd = 0,
  kConcatenation = 2,
  kDequantize = 6,
  kFullyConnected = 9,
  kLogistic = 14,
  kLstm = 16,
  kMul = 18,
  kRelu = 19,
  kRelu6 = 21,
  kReshape = 22,
  kTanh = 28,
  kCustom = 32,
  kGather = 36,
  kTranspose = 39,
  kSub = 41,
  kDiv = 42,
  kSqueeze = 43,
  kSequenceLstm = 44,
  kStridedSlice = 45,
  kSplit = 49,
  kCast = 53,
  kMaximum = 55,
  kMinimum = 57,
  kLess = 58,
  kGreater = 61,
  kGreaterEqual = 62,
  kLessEqual = 63,
  kSlice = 65,
  kExpandDims = 70,
  kEqual = 71,
  kNotEqual = 72,
  kSum = 74,
  kShape = 77,
  kReduceProd = 81,
  kReduceMax = 82,
  kPack = 83,
  kLogicalOr = 84,
  kLogicalAnd = 86,
  kUnpack = 88,
  kReduceMin = 89,
  kFloorDiv = 90,
  kFill = 94,
  kFloorMod = 95,
  kIf = 118,
  kWhile = 119,
  kBatchMatmul = 126,
};

class LayoutCall;

struct OperatorRule {
  const char* name;
  /// The newest version that TensorFlow Lite 2.17.1 knows; 0 when the operator is known by name only, and refused.
  int versions = 0;
  /// Element types of inputs and outputs, alternatives split by '|': "inputs>outputs". A letter is one tensor: f
  /// float32, h float16, i int32, l int64, b bool, u uint8, c int8, s int16, n int4. T, U and W stand for one type each
  /// of those listed behind " T=". '?' behind a letter: the input may be absent; '_': it has to be; '*': any number of
  /// tensors of this type, at least one. '.': any of these types. '!': a
  /// variable tensor, which the operator keeps state in; no other tensor may be one.
  const char* types = "";
  int options = 0;  ///< the schema's BuiltinOptions that the runtime reads; 0: it reads none
  /// Lays the outputs out from the inputs. @throws LoadError through the call
  void (*layout)(LayoutCall& call) = nullptr;
  bool row_wise = false;        ///< treats each row of a batch by itself
  bool takes_empty = false;     ///< works on tensors without elements, too
  bool multiplies = false;      ///< with weights, of which one that is huge makes infinities and what is no number
  bool takes_infinity = false;  ///< a constant may be infinite: it is only compared or copied
  bool options_needed = true;   ///< false: the runtime does without, too
};

/// The rule of a builtin code (its name as well: operator_name in graph.h), or null when the schema of TensorFlow
/// Lite 2.17.1 has none.
const OperatorRule* operator_rule(int builtin_code) noexcept;

}  // namespace linkcast::tflite
