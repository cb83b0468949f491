// Lays a graph's tensors out before the runtime does: each operator's rule gives the shapes of its outputs, and the
// values of the whole numbers that shapes, indices and loop counters are made of.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "recognise/flatbuffer.h"
#include "recognise/operators.h"

namespace linkcast::tflite {

/// Element types by the schema's numbers.
enum ElementType : int {
  kTypeFloat32 = 0,
  kTypeFloat16 = 1,
  kTypeInt32 = 2,
  kTypeUint8 = 3,
  kTypeInt64 = 4,
  kTypeBool = 6,
  kTypeInt16 = 7,
  kTypeInt8 = 9,
  kTypeInt4 = 17,
};
std::string element_type_name(int type);
/// Bits of one element; 0 for a type that no operator of ours takes (strings, resources, complex numbers, ...).
int bits_of(int type) noexcept;

using Shape = std::vector<std::int64_t>;
std::string shape_text(const Shape& shape);
/// Elements of a tensor, held at 2^62 where the product is larger.
std::uint64_t elements_of(const Shape& shape) noexcept;
std::uint64_t bytes_of(int type, const Shape& shape) noexcept;

/// What is known of a tensor before anything runs.
struct TensorFacts {
  int type = 0;
  Shape shape;
  /// The values of a small tensor of int32, int64 or bool; null where they depend on the model's input.
  std::shared_ptr<const std::vector<std::int64_t>> values;
  bool constant = false;
  std::size_t scales = 0;  ///< of a quantised tensor: 1, or one per slice along `quantized_dimension`
  int quantized_dimension = 0;
  float scale = 0.0F;    ///< the first one
  bool centred = true;   ///< every zero point is 0
  bool nan = false;      ///< a float constant with a value that is no number
  float largest = 0.0F;  ///< magnitude of a float constant
};

/// One operator as its rule sees it: inputs and options in, outputs laid out.
class LayoutCall {
 public:
  using Fail = std::function<void(const std::string&)>;  // throws

  LayoutCall(int code, const OperatorRule& rule, const FlatTable* options, std::vector<const TensorFacts*> inputs,
             std::vector<TensorFacts> outputs, std::vector<const TensorFacts*> intermediates, const Fail& fail)
      : code(code),
        rule(rule),
        in(std::move(inputs)),
        out(std::move(outputs)),
        intermediates(std::move(intermediates)),
        options_(options),
        fail_(fail) {}

  const int code;
  const OperatorRule& rule;
  const std::vector<const TensorFacts*> in;  // null where an input is absent
  std::vector<TensorFacts> out;              // as declared; the rule sets shape and values
  const std::vector<const TensorFacts*> intermediates;
  std::uint64_t work = 0;           // multiplications and moves of one run, roughly
  std::uint64_t scratch_bytes = 0;  // that the runtime's kernel allocates beside its outputs

  [[noreturn]] void fail(const std::string& what) const;
  void require(bool holds, const char* what) const {
    if (!holds) fail(what);
  }

  bool has(std::size_t input) const noexcept { return input < in.size() && in[input]; }
  const Shape& shape(std::size_t input) const noexcept { return in[input]->shape; }
  std::size_t rank(std::size_t input) const noexcept { return in[input]->shape.size(); }
  /// The values of an input that the layout depends on. @throws LoadError when only a run would tell
  const std::vector<std::int64_t>& values(std::size_t input) const;
  std::int64_t value(std::size_t input) const;  ///< of an input with one element
  /// A dimension, counted from the end when negative. @throws LoadError when there is none
  std::size_t axis(std::int64_t given, std::size_t rank) const;

  template <class T>
  T option(int field, T absent) const {
    return options_ ? options_->get<T>(field, absent) : absent;
  }
  FlatVector<std::int32_t> option_list(int field) const {
    return options_ ? options_->vector<std::int32_t>(field, "an option") : FlatVector<std::int32_t>();
  }

  void give(Shape shape) { out[0].shape = std::move(shape); }

 private:
  const FlatTable* options_;
  const Fail& fail_;
};

/// The rules that the table of operators names.
namespace layout {
void same(LayoutCall& call);    // outputs like the first input
void binary(LayoutCall& call);  // broadcast
void select(LayoutCall& call);
void select_broadcast(LayoutCall& call);
void prelu(LayoutCall& call);
void softmax(LayoutCall& call);
void normalise(LayoutCall& call);
void add_n(LayoutCall& call);
void cumulate(LayoutCall& call);
void fully_connected(LayoutCall& call);
void convolution(LayoutCall& call);
void depthwise(LayoutCall& call);
void transposed_convolution(LayoutCall& call);
void pool(LayoutCall& call);
void resize(LayoutCall& call);
void batch_matmul(LayoutCall& call);
void lstm(LayoutCall& call);
void rnn(LayoutCall& call);
void reduce(LayoutCall& call);
void arg_extreme(LayoutCall& call);
void top_k(LayoutCall& call);
void one_hot(LayoutCall& call);
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
void control_flow(LayoutCall& call);  // IF and WHILE: the verifier follows them itself
}  // namespace layout

}  // namespace linkcast::tflite
