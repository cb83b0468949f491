// The table of kernels of one ISA and precision. Chosen once, when a network is built; inner loops trust their caller.
//
// A linear layer's weights are packed as they are read: panels of up to four vectors of outputs, and in a panel
// [group of k][vector][lane][k in the group]. An LSTM's panel is one block of units with its four gates i, f, c, o, so
// that the gates of a unit meet in one lane. Outputs are padded to whole vectors with zero weights; depth is not padded
// in float32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "isa.h"
#include "network_spec.h"

namespace linkcast {

/// Of the weights. Accumulation, activations and state are float32 in each of them.
enum class Precision { float32, bfloat16, int8 };

namespace kernels {

/// A packed weight matrix.
struct Matrix {
  const void* weights = nullptr;  // (panels, groups, width, lanes, group); width is 4, less in the last panel
  std::size_t depth = 0;          // k: inputs of each output
  std::size_t vectors = 0;        // outputs / lanes, rounded up
  const float* scale = nullptr;   // (vectors * lanes), int8 only: a weight is its integer times its output's scale
  const std::int32_t* offset = nullptr;  // (vectors * lanes), int8 only: -128 * the sum of an output's integers
};

/// Rows as the products read them: float32, or encoded by Kernels::encode.
struct Operand {
  const void* data = nullptr;
  std::size_t stride = 0;        // bytes from row to row
  const float* scale = nullptr;  // (rows), only when the encoding has a scale
};

/// y = activation(b + W x).
struct DenseLayer {
  Matrix matrix;
  const float* bias = nullptr;  // (vectors * lanes)
  // No activation, ReLU and the like are the same two instructions with other limits; tanh and sigmoid are a second pass.
  float low = -std::numeric_limits<float>::infinity();
  float high = std::numeric_limits<float>::infinity();
  Activation activation = Activation::none;  // only tanh and sigmoid are looked at

  bool bounded() const {
    return low != -std::numeric_limits<float>::infinity() || high != std::numeric_limits<float>::infinity();
  }
};

/// One time step of an LSTM for `rows` rows. Pre-activations carry factors from packing: -log2(e), and -2 log2(e) for
/// c.
struct LstmArgs {
  std::size_t rows = 0;
  Matrix recurrent;
  Matrix input;                  // its product is added unless x.data is null
  Operand x;                     // (rows, inputs)
  const float* gates = nullptr;  // (rows, blocks, 4, lanes) to start from: the projected input, or everyone's bias
  std::size_t gates_stride = 0;  // floats; 0 when every row starts from the bias
  Operand h;                     // (rows, units); null data: the state is zero, and c is not read
  float* c = nullptr;            // (rows, c_stride): updated
  std::size_t c_stride = 0;      // floats
  float cell_limit = std::numeric_limits<float>::max();
  float* h_out = nullptr;  // (rows, h_out_stride), written in whole vectors; must not overlap h
  std::size_t h_out_stride = 0;
  void* h_encoded = nullptr;         // rows for the next step's h; unless the encoding is float32 itself
  std::size_t h_encoded_stride = 0;  // bytes
  // One row's sums are added in the order that a row has among others, so that it has the bits that it has there. A
  // window by itself takes the order that is quicker.
  bool as_one_of_many = false;
  bool reverse = false;  // walk the weights backwards: what the step before read last is still in L1
};

/// One time step, for `rows` rows, of a GRU or of an LSTM with other activations than its usual ones: products with the
/// weights, then the cell element by element. Gates stand one behind the other, each `padded` floats: z, r, g of a GRU,
/// i, f, c, o of an LSTM. With tanh and sigmoid, a GRU's pre-activations carry factors from packing as an LSTM's do.
struct RecurrenceArgs {
  enum class Cell { gru_reset_after, gru_reset_before, lstm };
  Cell cell = Cell::gru_reset_after;
  Activation activation = Activation::tanh;
  Activation gate_activation = Activation::sigmoid;
  std::size_t rows = 0;
  std::size_t padded = 0;  // units, in whole vectors
  DenseLayer
      input;  // all in whole panels. Its product is written to `gates` unless x.data is null: then it stands there already
  Operand x;                     // (rows, inputs)
  float* gates = nullptr;        // (rows, gates_stride)
  std::size_t gates_stride = 0;  // floats
  DenseLayer recurrent;          // of h: every gate, but not g when its reset gate comes before; a bias for every gate
  DenseLayer candidate;          // gru_reset_before: what is multiplied with r * h
  const float* h = nullptr;      // (rows, h_stride); null: the state is zero, and c is not read
  std::size_t h_stride = 0;      // floats
  float* c = nullptr;            // lstm: (rows, c_stride): updated
  std::size_t c_stride = 0;      // floats
  float cell_limit = std::numeric_limits<float>::max();
  float* h_out = nullptr;  // (rows, h_out_stride), written in whole vectors; must not overlap h
  std::size_t h_out_stride = 0;
  float* products = nullptr;        // (rows, products_stride): of h and the weights; gru_reset_before's r * h is last
  std::size_t products_stride = 0;  // floats
  void* encoded = nullptr;          // rows for h, and for r * h; unless the encoding is float32 itself
  std::size_t encoded_stride = 0;   // bytes
  float* encoded_scale = nullptr;   // (rows)
  bool reverse = false;             // walk the weights backwards: what the step before read last is still in L1
};

enum class WeightFormat { float32, bfloat16, int8 };

struct Kernels {
  Isa isa = Isa::scalar;
  const char* name = "";
  WeightFormat format = WeightFormat::float32;
  std::size_t lanes = 1;            // floats in a vector
  std::size_t group = 1;            // consecutive k that a lane holds together
  bool encoded = false;             // operands are not plain float32 rows
  float state_scale = 0.0f;         // the fixed one of encoded states, which lie in -1 .. 1; 0: the encoding has none
  std::size_t projection_rows = 0;  // below: an LSTM's input is projected for all steps at once, above: step by step
  bool rows_apart = false;          // a row has the same bits whatever rows are computed with it

  /// Bytes of an encoded row.
  std::size_t (*encoded_bytes)(std::size_t depth) = nullptr;
  /// x (rows, stride floats) -> out (rows, out_stride bytes) and scale (rows). Null when operands are float32.
  void (*encode)(const float* x, std::size_t stride, std::size_t rows, std::size_t depth, void* out,
                 std::size_t out_stride, float* scale) = nullptr;
  /// y (rows, y_stride floats); `outputs` floats of each row are written, at most vectors * lanes. Calls take turns
  /// with `second_first`: weights are read in another order, and the result is the same.
  void (*dense)(const DenseLayer& layer, const Operand& x, std::size_t rows, float* y, std::size_t y_stride,
                std::size_t outputs, bool second_first) = nullptr;
  void (*lstm_step)(const LstmArgs& args) = nullptr;
  void (*recurrence_step)(const RecurrenceArgs& args) = nullptr;
  /// y = activation(x * scale + offset) over (rows, stride floats), in place; `width` floats of each row, padded to
  /// whole vectors.
  void (*affine)(float* x, std::size_t stride, std::size_t rows, std::size_t width, const float* scale,
                 const float* offset, Activation activation) = nullptr;
  /// What looks at a whole row: x (rows, x_stride floats) -> y (rows, y_stride), `width` floats of each. They may not
  /// overlap.
  using RowKernel = void (*)(const float* x, std::size_t x_stride, std::size_t rows, std::size_t width, float parameter,
                             float* y, std::size_t y_stride);
  RowKernel softmax = nullptr;    // parameter: beta
  RowKernel normalise = nullptr;  // parameter: epsilon
  /// Gives back what the calls of a run left in use on this thread. Null: nothing.
  void (*release)() = nullptr;
};

/// The tables of an ISA and precision that this CPU runs, the presumed best first; never empty. `isa` is supported.
/// Tables of float32 give one another's bits, so that which of them runs can't be seen in an answer.
std::vector<const Kernels*> candidates(Isa isa, Precision precision);

/// The first of candidates().
const Kernels& select_kernels(Isa isa, Precision precision);

const Kernels& kernels_f32_scalar();
const Kernels& kernels_bf16_scalar();
const Kernels& kernels_int8_scalar();
const Kernels& kernels_f32_avx2();
const Kernels& kernels_bf16_avx2();
const Kernels& kernels_int8_avx2();
const Kernels& kernels_f32_avx512();
const Kernels& kernels_bf16_avx512();
const Kernels& kernels_bf16_avx512_dot();  // vdpbf16ps
const Kernels& kernels_int8_avx512();
const Kernels& kernels_int8_avx512_vnni();  // vpdpbusd
// On matrix tiles; the process has to have them: see tiles_permitted() in isa.h.
const Kernels& kernels_bf16_avx512_amx();  // tdpbf16ps
const Kernels& kernels_int8_avx512_amx();  // tdpbusd
const Kernels& kernels_f32_neon();
const Kernels& kernels_bf16_neon();
const Kernels& kernels_bf16_neon_dot();     // bfdot
const Kernels& kernels_bf16_neon_matrix();  // bfmmla
const Kernels& kernels_int8_neon();
const Kernels& kernels_int8_neon_dotprod();  // sdot
const Kernels& kernels_int8_neon_i8mm();     // smmla

}  // namespace kernels
}  // namespace linkcast
