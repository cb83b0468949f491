// Lays a graph's tensors out before the runtime does: each operator's rule gives the shapes of its outputs, and the
// values of the whole numbers that shapes, indices and loop counters are made of.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "recognise/flatbuffer.h"
#include "recognise/movement.h"
#include "recognise/operators.h"
#include "recognise/shape.h"

namespace linkcast::tflite {

/// What is known of a tensor before anything runs.
struct TensorFacts {
  int type = 0;
  Shape shape;
  /// The values of a small tensor of int32, int64 or bool; null where they depend on the model's input.
  std::shared_ptr<const Values> values;
  bool constant = false;
  std::size_t scales = 0;  ///< of a quantised tensor: 1, or one per slice along `quantized_dimension`
  int quantized_dimension = 0;
  float scale = 0.0f;    ///< the first one
  bool centred = true;   ///< every zero point is 0
  bool nan = false;      ///< a float constant with a value that is no number
  float largest = 0.0f;  ///< magnitude of a float constant
};

/// One operator as its rule sees it: inputs and options in, outputs laid out. What does not fit throws Misfit.
class LayoutCall {
 public:
  LayoutCall(int code, const OperatorRule& rule, const FlatTable* options, std::vector<const TensorFacts*> inputs,
             std::vector<TensorFacts> outputs, std::vector<const TensorFacts*> intermediates)
      : code(code),
        rule(rule),
        in(std::move(inputs)),
        out(std::move(outputs)),
        intermediates(std::move(intermediates)),
        options_(options) {}

  const int code;
  const OperatorRule& rule;
  const std::vector<const TensorFacts*> in;  // null where an input is absent
  std::vector<TensorFacts> out;              // as declared; the rule sets shape and values
  const std::vector<const TensorFacts*> intermediates;
  std::uint64_t work = 0;           // multiplications and moves of one run, roughly
  std::uint64_t scratch_bytes = 0;  // that the runtime's kernel allocates beside its outputs

  bool has(std::size_t input) const noexcept { return input < in.size() && in[input]; }
  const Shape& shape(std::size_t input) const noexcept { return in[input]->shape; }
  std::size_t rank(std::size_t input) const noexcept { return in[input]->shape.size(); }
  /// The values of an input that the layout depends on; there are none where only a run would tell.
  const Values& values(std::size_t input) const;
  std::int64_t value(std::size_t input) const;  ///< of an input with one element

  template <class T>
  T option(int field, T absent) const {
    return options_ ? options_->get<T>(field, absent) : absent;
  }
  bool has_option(int field) const { return options_ && options_->has(field); }
  Values option_list(int field) const;

  void give(Shape shape) { out[0].shape = std::move(shape); }
  /// Output `n` is a part of `input`: its shape, and its values where those are known and few.
  void give_moved(std::size_t n, std::size_t input, const Move& move);
  /// Output 0 is the input in another shape.
  void give_reshaped(std::size_t input, Shape shape);
  void give_values(std::size_t n, Values values);

 private:
  const FlatTable* options_;
};

/// The rules that the table of operators names.
namespace layout {
// layout.cpp: what computes element by element, and what reduces
void same(LayoutCall& call);    // outputs like the first input
void binary(LayoutCall& call);  // broadcast
void select(LayoutCall& call);
void select_broadcast(LayoutCall& call);
void prelu(LayoutCall& call);
void softmax(LayoutCall& call);
void normalise(LayoutCall& call);
void add_n(LayoutCall& call);
void cumulate(LayoutCall& call);
void reduce(LayoutCall& call);
void arg_extreme(LayoutCall& call);
void top_k(LayoutCall& call);
void one_hot(LayoutCall& call);
void control_flow(LayoutCall& call);  // IF and WHILE: the verifier follows them itself
// layout_products.cpp: what multiplies with weights, or looks through windows
void fully_connected(LayoutCall& call);
void convolution(LayoutCall& call);
void depthwise(LayoutCall& call);
void transposed_convolution(LayoutCall& call);
void pool(LayoutCall& call);
void resize(LayoutCall& call);
void batch_matmul(LayoutCall& call);
void lstm(LayoutCall& call);
void rnn(LayoutCall& call);
// layout_moves.cpp: what moves data, and what makes whole numbers of shapes
void reshape(LayoutCall& call);
void squeeze(LayoutCall& call);
void expand_dims(LayoutCall& call);
void transpose(LayoutCall& call);
void concatenate(LayoutCall& call);
void pack(LayoutCall& call);
void unpack(LayoutCall& call);
void split(LayoutCall& call);
void split_lengths(LayoutCall& call);
void slice(LayoutCall& call);
void strided_slice(LayoutCall& call);
void update_slice(LayoutCall& call);
void gather(LayoutCall& call);
void tile(LayoutCall& call);
void broadcast_to(LayoutCall& call);
void fill(LayoutCall& call);
void pad(LayoutCall& call);
void mirror_pad(LayoutCall& call);
void reverse(LayoutCall& call);
void shape_of(LayoutCall& call);
void rank_of(LayoutCall& call);
void range(LayoutCall& call);
void blocks_to_space(LayoutCall& call);
void space_to_blocks(LayoutCall& call);
}  // namespace layout

}  // namespace linkcast::tflite
