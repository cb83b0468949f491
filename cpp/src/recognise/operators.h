// The one table of TensorFlow Lite's builtin operators: what each is called, what it takes and gives, which rule lays out
// its outputs, and what evaluates it for the native kernels. An operator is added here, and nowhere else.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace linkcast::tflite {

/// Builtin operator codes of the schema, those that the code names.
enum Code : int {
  kAdd = 0,
  kDequantize = 6,
  kMul = 18,
  kCustom = 32,
  kSub = 41,
  kDiv = 42,
  kSequenceLstm = 44,
  kCast = 53,
  kSlice = 65,
  kReduceMax = 82,
  kReduceMin = 89,
  kFloorDiv = 90,
  kFloorMod = 95,
  kSplitLengths = 102,
  kIf = 118,
  kWhile = 119,
  kBatchMatmul = 126,
};

class LayoutCall;
struct EvaluateCall;

struct OperatorRule {
  int code = 0;
  const char* name = nullptr;
  /// The newest version that TensorFlow Lite 2.17.1 knows; 0 when the operator is known by name only, and refused.
  int versions = 0;
  /// Element types of inputs and outputs, alternatives split by '|': "inputs>outputs". A letter is one tensor: f
  /// float32, h float16, i int32, l int64, b bool, u uint8, c int8, s int16, n int4. T, U and W stand for one type each
  /// of those listed behind " T=". '?' behind a letter: the input may be absent; '_': it has to be; '*': any number of
  /// tensors of this type, at least one. '.': any of these types. '!': a variable tensor, which the operator keeps state
  /// in; no other tensor may be one.
  const char* types = "";
  int options = 0;  ///< the schema's BuiltinOptions that the runtime reads; 0: it reads none
  /// Lays the outputs out from the inputs. @throws Misfit
  void (*layout)(LayoutCall& call) = nullptr;
  /// What it makes of two elements of whole numbers, of which shapes and loop counters are made: before it is stored in
  /// their type. Null where those need none.
  std::uint64_t (*number)(std::int64_t x, std::int64_t y) = nullptr;
  /// Evaluates it for the native kernels; null: only TensorFlow Lite runs it. @throws Misfit, NotNative
  void (*evaluate)(EvaluateCall& call) = nullptr;
  bool row_wise = false;        ///< treats each row of a batch by itself
  bool takes_empty = false;     ///< works on tensors without elements, too
  bool multiplies = false;      ///< with weights, of which one that is huge makes infinities and what is no number
  bool takes_infinity = false;  ///< a constant may be infinite: it is only compared or copied
  bool options_needed = true;   ///< false: the runtime does without, too

  bool gives_bool() const { return std::string_view(types).find(">b") != std::string_view::npos; }
};

/// The rule of a builtin code, or null when the schema of TensorFlow Lite 2.17.1 has none.
const OperatorRule* operator_rule(int builtin_code) noexcept;

/// "FULLY_CONNECTED" for 9; a custom operator by its own name; "operator 250" when the code is newer than the table.
std::string operator_name(int builtin_code, const char* custom_name = nullptr);

}  // namespace linkcast::tflite
