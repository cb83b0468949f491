#include "recognise/operators.h"

#include <algorithm>
#include <iterator>

#include "recognise/evaluate.h"
#include "recognise/layout.h"

namespace linkcast::tflite {
namespace {

// What operators make of two whole numbers; one with a single input has 0 as its first. Sums and products go through
// unsigned numbers, because a damaged file may overflow.
using Whole = std::int64_t;
using Bits = std::uint64_t;
constexpr Bits bits(Whole x) { return static_cast<Bits>(x); }
Bits plus(Whole x, Whole y) { return bits(x) + bits(y); }
Bits minus(Whole x, Whole y) { return bits(x) - bits(y); }
Bits product(Whole x, Whole y) { return bits(x) * bits(y); }
Bits quotient(Whole x, Whole y) { return bits(x / y); }  // the layout refuses divisors that are not above 0
Bits floor_quotient(Whole x, Whole y) { return bits(x / y - (x % y < 0 ? 1 : 0)); }
Bits floor_remainder(Whole x, Whole y) { return bits(x % y < 0 ? x % y + y : x % y); }
Bits larger(Whole x, Whole y) { return bits(std::max(x, y)); }
Bits smaller(Whole x, Whole y) { return bits(std::min(x, y)); }
Bits less(Whole x, Whole y) { return x < y; }
Bits less_equal(Whole x, Whole y) { return x <= y; }
Bits greater(Whole x, Whole y) { return x > y; }
Bits greater_equal(Whole x, Whole y) { return x >= y; }
Bits equal(Whole x, Whole y) { return x == y; }
Bits not_equal(Whole x, Whole y) { return x != y; }
Bits both(Whole x, Whole y) { return x != 0 && y != 0; }
Bits either(Whole x, Whole y) { return x != 0 || y != 0; }

// Types that arithmetic and moves take, as the kernels of TensorFlow Lite 2.17.1 do.
#define NUMBERS " T=fil"
#define QUANTISED_NUMBERS " T=filcu"
#define MOVED " T=filbcus"

// In the order of their codes. The versions are the newest that 2.17.1 registers for each.
// clang-format off
constexpr OperatorRule kOperators[] = {
    {.code = kAdd, .name = "ADD", .versions = 5, .types = "TT>T" QUANTISED_NUMBERS, .options = 11, .layout = layout::binary, .number = plus, .evaluate = evaluate::arithmetic, .row_wise = true},
    {.code = 1, .name = "AVERAGE_POOL_2D", .versions = 3, .types = "T>T T=fcu", .options = 5, .layout = layout::pool},
    {.code = 2, .name = "CONCATENATION", .versions = 4, .types = "T*>T" MOVED, .options = 10, .layout = layout::concatenate, .evaluate = evaluate::concatenate, .takes_empty = true},
    {.code = 3, .name = "CONV_2D", .versions = 8, .types = "fff?>f|fcf?>f|cci?>c|uui?>u", .options = 1, .layout = layout::convolution, .multiplies = true},
    {.code = 4, .name = "DEPTHWISE_CONV_2D", .versions = 7, .types = "fff?>f|fcf?>f|cci?>c|uui?>u", .options = 2, .layout = layout::depthwise, .multiplies = true},
    {.code = 5, .name = "DEPTH_TO_SPACE", .versions = 2, .types = "T>T T=filcu", .options = 94, .layout = layout::blocks_to_space},
    {.code = kDequantize, .name = "DEQUANTIZE", .versions = 5, .types = "T>f T=hcus", .layout = layout::same, .evaluate = evaluate::dequantize, .row_wise = true},
    {.code = 7, .name = "EMBEDDING_LOOKUP"},
    {.code = 8, .name = "FLOOR", .versions = 1, .types = "f>f", .layout = layout::same},
    {.code = 9, .name = "FULLY_CONNECTED", .versions = 12, .types = "fff?>f|fcf?>f|fnf?>f|cci?>c|uui?>u|scl?>s", .options = 8, .layout = layout::fully_connected, .evaluate = evaluate::fully_connected, .row_wise = true, .multiplies = true},
    {.code = 10, .name = "HASHTABLE_LOOKUP"},
    {.code = 11, .name = "L2_NORMALIZATION", .versions = 2, .types = "f>f", .options = 12, .layout = layout::normalise},
    {.code = 12, .name = "L2_POOL_2D", .versions = 1, .types = "f>f", .options = 5, .layout = layout::pool},
    {.code = 13, .name = "LOCAL_RESPONSE_NORMALIZATION"},
    {.code = 14, .name = "LOGISTIC", .versions = 3, .types = "T>T T=fcus", .layout = layout::same, .evaluate = evaluate::activation<Activation::sigmoid>, .row_wise = true},
    {.code = 15, .name = "LSH_PROJECTION"},
    {.code = 16, .name = "LSTM", .versions = 4, .types = "fW?WWWW?WWWW?W?W?f?fffW?f?f!f!f?f?f?f?>f W=fcu", .options = 14, .layout = layout::lstm, .multiplies = true},
    {.code = 17, .name = "MAX_POOL_2D", .versions = 3, .types = "T>T T=fcu", .options = 5, .layout = layout::pool},
    {.code = kMul, .name = "MUL", .versions = 7, .types = "TT>T" QUANTISED_NUMBERS, .options = 21, .layout = layout::binary, .number = product, .evaluate = evaluate::arithmetic, .row_wise = true, .multiplies = true},
    {.code = 19, .name = "RELU", .versions = 3, .types = "T>T T=fcu", .layout = layout::same, .evaluate = evaluate::activation<Activation::relu>, .row_wise = true},
    {.code = 20, .name = "RELU_N1_TO_1", .versions = 1, .types = "f>f", .layout = layout::same},
    {.code = 21, .name = "RELU6", .versions = 3, .types = "T>T T=fcu", .layout = layout::same, .evaluate = evaluate::activation<Activation::relu6>, .row_wise = true},
    {.code = 22, .name = "RESHAPE", .versions = 1, .types = "Ti?>T" MOVED, .options = 17, .layout = layout::reshape, .evaluate = evaluate::reshape, .takes_empty = true, .options_needed = false},
    {.code = 23, .name = "RESIZE_BILINEAR", .versions = 4, .types = "Ti>T T=fcu", .options = 15, .layout = layout::resize},
    {.code = 24, .name = "RNN", .versions = 3, .types = "fWWff!>f W=fcu", .options = 7, .layout = layout::rnn, .multiplies = true},
    {.code = 25, .name = "SOFTMAX", .versions = 3, .types = "T>T T=fcus", .options = 9, .layout = layout::softmax, .evaluate = evaluate::softmax, .row_wise = true},
    {.code = 26, .name = "SPACE_TO_DEPTH", .versions = 2, .types = "T>T T=filcu", .options = 19, .layout = layout::space_to_blocks},
    {.code = 27, .name = "SVDF"},
    {.code = 28, .name = "TANH", .versions = 3, .types = "T>T T=fcus", .layout = layout::same, .evaluate = evaluate::activation<Activation::tanh>, .row_wise = true},
    {.code = 29, .name = "CONCAT_EMBEDDINGS"},
    {.code = 30, .name = "SKIP_GRAM"},
    {.code = 31, .name = "CALL"},
    {.code = kCustom, .name = "CUSTOM"},
    {.code = 33, .name = "EMBEDDING_LOOKUP_SPARSE"},
    {.code = 34, .name = "PAD", .versions = 4, .types = "Ti>T|Tl>T T=filcu", .layout = layout::pad},
    {.code = 35, .name = "UNIDIRECTIONAL_SEQUENCE_RNN", .versions = 3, .types = "fWWff!>f W=fcu", .options = 31, .layout = layout::rnn, .multiplies = true},
    {.code = 36, .name = "GATHER", .versions = 7, .types = "TI>T T=filbcus I=il", .options = 23, .layout = layout::gather, .evaluate = evaluate::gather},
    {.code = 37, .name = "BATCH_TO_SPACE_ND"},
    {.code = 38, .name = "SPACE_TO_BATCH_ND"},
    {.code = 39, .name = "TRANSPOSE", .versions = 6, .types = "Ti>T" MOVED, .layout = layout::transpose, .evaluate = evaluate::transpose},
    {.code = 40, .name = "MEAN", .versions = 3, .types = "Ti>T T=fcu", .options = 27, .layout = layout::reduce, .evaluate = evaluate::mean},
    {.code = kSub, .name = "SUB", .versions = 5, .types = "TT>T" QUANTISED_NUMBERS, .options = 28, .layout = layout::binary, .number = minus, .evaluate = evaluate::arithmetic, .row_wise = true},
    {.code = kDiv, .name = "DIV", .versions = 2, .types = "TT>T T=fi", .options = 29, .layout = layout::binary, .number = quotient, .evaluate = evaluate::arithmetic},
    {.code = 43, .name = "SQUEEZE", .versions = 2, .types = "T>T" MOVED, .options = 30, .layout = layout::squeeze, .evaluate = evaluate::squeeze},
    {.code = kSequenceLstm, .name = "UNIDIRECTIONAL_SEQUENCE_LSTM", .versions = 4, .types = "fW?WWWW?WWWW?W?W?f?fffW?f?f!f!f?f?f?f?>f|ccccccccc___iiii__c!s!____>c W=fcu", .options = 71, .layout = layout::lstm, .evaluate = evaluate::fused_lstm, .multiplies = true},
    {.code = 45, .name = "STRIDED_SLICE", .versions = 8, .types = "Tiii>T" MOVED, .options = 32, .layout = layout::strided_slice, .evaluate = evaluate::strided_slice},
    {.code = 46, .name = "BIDIRECTIONAL_SEQUENCE_RNN"},
    {.code = 47, .name = "EXP", .versions = 2, .types = "f>f", .layout = layout::same},
    {.code = 48, .name = "TOPK_V2", .versions = 3, .types = "Ti>Ti T=filcu", .layout = layout::top_k},
    {.code = 49, .name = "SPLIT", .versions = 4, .types = "iT>T* T=ficu", .options = 35, .layout = layout::split, .evaluate = evaluate::split},
    {.code = 50, .name = "LOG_SOFTMAX", .versions = 2, .types = "f>f", .layout = layout::softmax},
    {.code = 51, .name = "DELEGATE"},
    {.code = 52, .name = "BIDIRECTIONAL_SEQUENCE_LSTM"},
    {.code = kCast, .name = "CAST", .versions = 6, .types = "T>U T=filbcu U=filbcu", .layout = layout::same, .evaluate = evaluate::cast},
    {.code = 54, .name = "PRELU", .versions = 1, .types = "ff>f", .layout = layout::prelu},
    {.code = 55, .name = "MAXIMUM", .versions = 4, .types = "TT>T" NUMBERS, .layout = layout::binary, .number = larger, .takes_infinity = true},
    {.code = 56, .name = "ARG_MAX", .versions = 3, .types = "TI>O T=ficu I=il O=il", .options = 40, .layout = layout::arg_extreme},
    {.code = 57, .name = "MINIMUM", .versions = 4, .types = "TT>T" NUMBERS, .layout = layout::binary, .number = smaller, .evaluate = evaluate::minimum, .takes_infinity = true},
    {.code = 58, .name = "LESS", .versions = 3, .types = "TT>b" NUMBERS, .layout = layout::binary, .number = less, .evaluate = evaluate::whole},
    {.code = 59, .name = "NEG", .versions = 1, .types = "T>T" NUMBERS, .layout = layout::same, .number = minus, .evaluate = evaluate::negate},
    {.code = 60, .name = "PADV2", .versions = 4, .types = "TiT>T|TlT>T T=filcu", .layout = layout::pad, .takes_infinity = true},
    {.code = 61, .name = "GREATER", .versions = 2, .types = "TT>b" NUMBERS, .layout = layout::binary, .number = greater, .evaluate = evaluate::whole},
    {.code = 62, .name = "GREATER_EQUAL", .versions = 3, .types = "TT>b" NUMBERS, .layout = layout::binary, .number = greater_equal, .evaluate = evaluate::whole},
    {.code = 63, .name = "LESS_EQUAL", .versions = 2, .types = "TT>b" NUMBERS, .layout = layout::binary, .number = less_equal, .evaluate = evaluate::whole},
    {.code = 64, .name = "SELECT", .versions = 4, .types = "bTT>T" MOVED, .layout = layout::select, .evaluate = evaluate::select, .takes_infinity = true},
    {.code = kSlice, .name = "SLICE", .versions = 6, .types = "TII>T T=filbcus I=il", .layout = layout::slice, .evaluate = evaluate::slice, .takes_empty = true},
    {.code = 66, .name = "SIN", .versions = 1, .types = "f>f", .layout = layout::same},
    {.code = 67, .name = "TRANSPOSE_CONV", .versions = 5, .types = "ifff?>f", .options = 49, .layout = layout::transposed_convolution, .multiplies = true},
    {.code = 68, .name = "SPARSE_TO_DENSE"},
    {.code = 69, .name = "TILE", .versions = 3, .types = "TI>T T=filb I=il", .layout = layout::tile, .evaluate = evaluate::tile},
    {.code = 70, .name = "EXPAND_DIMS", .versions = 1, .types = "TI>T T=filbcus I=il", .layout = layout::expand_dims, .evaluate = evaluate::expand_dims},
    {.code = 71, .name = "EQUAL", .versions = 4, .types = "TT>b T=filb", .layout = layout::binary, .number = equal},
    {.code = 72, .name = "NOT_EQUAL", .versions = 3, .types = "TT>b T=filb", .layout = layout::binary, .number = not_equal, .evaluate = evaluate::not_equal},
    {.code = 73, .name = "LOG", .versions = 2, .types = "f>f", .layout = layout::same},
    {.code = 74, .name = "SUM", .versions = 2, .types = "Ti>T" NUMBERS, .options = 27, .layout = layout::reduce, .number = plus},
    {.code = 75, .name = "SQRT", .versions = 1, .types = "f>f", .layout = layout::same, .evaluate = evaluate::root<false>},
    {.code = 76, .name = "RSQRT", .versions = 3, .types = "f>f", .layout = layout::same, .evaluate = evaluate::root<true>},
    {.code = 77, .name = "SHAPE", .versions = 1, .types = "T>O T=filbcus O=il", .options = 55, .layout = layout::shape_of, .evaluate = evaluate::shape_of, .takes_empty = true},
    {.code = 78, .name = "POW", .versions = 1, .types = "ff>f", .layout = layout::binary},
    {.code = 79, .name = "ARG_MIN", .versions = 3, .types = "TI>O T=ficu I=il O=il", .options = 57, .layout = layout::arg_extreme},
    {.code = 80, .name = "FAKE_QUANT"},
    {.code = 81, .name = "REDUCE_PROD", .versions = 2, .types = "Ti>T" NUMBERS, .options = 27, .layout = layout::reduce, .number = product, .evaluate = evaluate::reduce_whole},
    {.code = kReduceMax, .name = "REDUCE_MAX", .versions = 3, .types = "Ti>T" QUANTISED_NUMBERS, .options = 27, .layout = layout::reduce, .number = larger},
    {.code = 83, .name = "PACK", .versions = 4, .types = "T*>T" MOVED, .options = 59, .layout = layout::pack, .evaluate = evaluate::pack},
    {.code = 84, .name = "LOGICAL_OR", .versions = 1, .types = "bb>b", .layout = layout::binary, .number = either},
    {.code = 85, .name = "ONE_HOT", .versions = 1, .types = "IiTT>T T=fil I=il", .options = 61, .layout = layout::one_hot},
    {.code = 86, .name = "LOGICAL_AND", .versions = 1, .types = "bb>b", .layout = layout::binary, .number = both, .evaluate = evaluate::whole},
    {.code = 87, .name = "LOGICAL_NOT", .versions = 1, .types = "b>b", .layout = layout::same, .number = equal},
    {.code = 88, .name = "UNPACK", .versions = 4, .types = "T>T* T=filbcu", .options = 64, .layout = layout::unpack, .evaluate = evaluate::unpack},
    {.code = kReduceMin, .name = "REDUCE_MIN", .versions = 3, .types = "Ti>T" QUANTISED_NUMBERS, .options = 27, .layout = layout::reduce, .number = smaller},
    {.code = kFloorDiv, .name = "FLOOR_DIV", .versions = 3, .types = "TT>T T=fi", .layout = layout::binary, .number = floor_quotient},
    {.code = 91, .name = "REDUCE_ANY", .versions = 1, .types = "bi>b", .options = 27, .layout = layout::reduce, .evaluate = evaluate::any},
    {.code = 92, .name = "SQUARE", .versions = 1, .types = "f>f", .layout = layout::same, .evaluate = evaluate::square},
    {.code = 93, .name = "ZEROS_LIKE", .versions = 1, .types = "T>T" NUMBERS, .layout = layout::same, .number = product},
    {.code = 94, .name = "FILL", .versions = 4, .types = "IT>T T=filb I=il", .layout = layout::fill, .evaluate = evaluate::fill, .takes_empty = true, .takes_infinity = true},
    {.code = kFloorMod, .name = "FLOOR_MOD", .versions = 2, .types = "TT>T T=fil", .layout = layout::binary, .number = floor_remainder},
    {.code = 96, .name = "RANGE", .versions = 2, .types = "TTT>T T=il", .layout = layout::range},
    {.code = 97, .name = "RESIZE_NEAREST_NEIGHBOR", .versions = 4, .types = "Ti>T T=fcu", .options = 74, .layout = layout::resize},
    {.code = 98, .name = "LEAKY_RELU", .versions = 2, .types = "T>T T=fcu", .options = 75, .layout = layout::same},
    {.code = 99, .name = "SQUARED_DIFFERENCE", .versions = 2, .types = "TT>T T=fi", .layout = layout::binary, .evaluate = evaluate::squared_difference},
    {.code = 100, .name = "MIRROR_PAD", .versions = 3, .types = "TI>T T=fil I=il", .options = 77, .layout = layout::mirror_pad},
    {.code = 101, .name = "ABS", .versions = 5, .types = "f>f", .layout = layout::same},
    {.code = kSplitLengths, .name = "SPLIT_V", .versions = 2, .types = "TIi>T* T=fil I=il", .options = 79, .layout = layout::split_lengths, .evaluate = evaluate::split_lengths},
    {.code = 103, .name = "UNIQUE"},
    {.code = 104, .name = "CEIL", .versions = 1, .types = "f>f", .layout = layout::same},
    {.code = 105, .name = "REVERSE_V2", .versions = 3, .types = "Ti>T T=filb", .layout = layout::reverse, .evaluate = evaluate::reverse},
    {.code = 106, .name = "ADD_N", .versions = 1, .types = "T*>T T=fi", .layout = layout::add_n},
    {.code = 107, .name = "GATHER_ND"},
    {.code = 108, .name = "COS", .versions = 1, .types = "f>f", .layout = layout::same},
    {.code = 109, .name = "WHERE"},
    {.code = 110, .name = "RANK", .versions = 1, .types = "T>i T=filbcus", .layout = layout::rank_of},
    {.code = 111, .name = "ELU", .versions = 1, .types = "f>f", .layout = layout::same},
    {.code = 112, .name = "REVERSE_SEQUENCE"},
    {.code = 113, .name = "MATRIX_DIAG"},
    {.code = 114, .name = "QUANTIZE", .versions = 3, .types = "f>T|U>V T=cus U=cu V=cu", .layout = layout::same, .row_wise = true},
    {.code = 115, .name = "MATRIX_SET_DIAG"},
    {.code = 116, .name = "ROUND", .versions = 1, .types = "f>f", .layout = layout::same},
    {.code = 117, .name = "HARD_SWISH", .versions = 1, .types = "f>f", .layout = layout::same},
    {.code = kIf, .name = "IF", .versions = 1, .types = "b.*>.*", .options = 92, .layout = layout::control_flow, .takes_empty = true, .multiplies = true},
    {.code = kWhile, .name = "WHILE", .versions = 1, .types = ".*>.*", .options = 93, .layout = layout::control_flow, .evaluate = evaluate::loop, .takes_empty = true, .multiplies = true},
    {.code = 120, .name = "NON_MAX_SUPPRESSION_V4"},
    {.code = 121, .name = "NON_MAX_SUPPRESSION_V5"},
    {.code = 122, .name = "SCATTER_ND"},
    {.code = 123, .name = "SELECT_V2", .versions = 2, .types = "bTT>T" MOVED, .layout = layout::select_broadcast, .evaluate = evaluate::select, .takes_infinity = true},
    {.code = 124, .name = "DENSIFY"},
    {.code = 125, .name = "SEGMENT_SUM"},
    {.code = 126, .name = "BATCH_MATMUL", .versions = 4, .types = "ff>f|fc>f", .options = 101, .layout = layout::batch_matmul, .evaluate = evaluate::batch_matmul, .multiplies = true},
    {.code = 127, .name = "PLACEHOLDER_FOR_GREATER_OP_CODES"},
    {.code = 128, .name = "CUMSUM", .versions = 1, .types = "Ti>T" NUMBERS, .options = 102, .layout = layout::cumulate},
    {.code = 129, .name = "CALL_ONCE"},
    {.code = 130, .name = "BROADCAST_TO", .versions = 3, .types = "TI>T T=filb I=il", .layout = layout::broadcast_to, .evaluate = evaluate::spread_out},
    {.code = 131, .name = "RFFT2D"},
    {.code = 132, .name = "CONV_3D"},
    {.code = 133, .name = "IMAG"},
    {.code = 134, .name = "REAL"},
    {.code = 135, .name = "COMPLEX_ABS"},
    {.code = 136, .name = "HASHTABLE"},
    {.code = 137, .name = "HASHTABLE_FIND"},
    {.code = 138, .name = "HASHTABLE_IMPORT"},
    {.code = 139, .name = "HASHTABLE_SIZE"},
    {.code = 140, .name = "REDUCE_ALL", .versions = 1, .types = "bi>b", .options = 27, .layout = layout::reduce},
    {.code = 141, .name = "CONV_3D_TRANSPOSE"},
    {.code = 142, .name = "VAR_HANDLE"},
    {.code = 143, .name = "READ_VARIABLE"},
    {.code = 144, .name = "ASSIGN_VARIABLE"},
    {.code = 145, .name = "BROADCAST_ARGS"},
    {.code = 146, .name = "RANDOM_STANDARD_NORMAL"},
    {.code = 147, .name = "BUCKETIZE"},
    {.code = 148, .name = "RANDOM_UNIFORM"},
    {.code = 149, .name = "MULTINOMIAL"},
    {.code = 150, .name = "GELU", .versions = 2, .types = "f>f", .options = 116, .layout = layout::same},
    {.code = 151, .name = "DYNAMIC_UPDATE_SLICE", .versions = 1, .types = "TTI>T T=filb I=il", .layout = layout::update_slice},
    {.code = 152, .name = "RELU_0_TO_1", .versions = 1, .types = "f>f", .layout = layout::same, .evaluate = evaluate::activation<Activation::unit>},
    {.code = 153, .name = "UNSORTED_SEGMENT_PROD"},
    {.code = 154, .name = "UNSORTED_SEGMENT_MAX"},
    {.code = 155, .name = "UNSORTED_SEGMENT_SUM"},
    {.code = 156, .name = "ATAN2"},
    {.code = 157, .name = "UNSORTED_SEGMENT_MIN"},
    {.code = 158, .name = "SIGN", .versions = 2, .types = "f>f", .layout = layout::same},
    {.code = 159, .name = "BITCAST"},
    {.code = 160, .name = "BITWISE_XOR"},
    {.code = 161, .name = "RIGHT_SHIFT"},
};
// clang-format on

constexpr bool in_order() {
  for (int code = 0; code < static_cast<int>(std::size(kOperators)); ++code)
    if (kOperators[code].code != code) return false;
  return true;
}
static_assert(std::size(kOperators) == 162 && in_order());

}  // namespace

const OperatorRule* operator_rule(int builtin_code) noexcept {
  return builtin_code >= 0 && builtin_code < static_cast<int>(std::size(kOperators)) ? &kOperators[builtin_code]
                                                                                     : nullptr;
}

std::string operator_name(int builtin_code, const char* custom_name) {
  if (builtin_code == kCustom && custom_name && *custom_name) return custom_name;
  if (const auto* rule = operator_rule(builtin_code)) return rule->name;
  return "operator " + std::to_string(builtin_code);
}

}  // namespace linkcast::tflite
