// Folding and packing of weights, once, when a network is built.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels.h"

namespace linkcast::kernels {

/// A linear map in float64, so that folding rounds once.
struct LinearMap {
  std::size_t outputs = 0;
  std::size_t inputs = 0;
  std::vector<double> weights;  // (outputs, inputs)
  std::vector<double> bias;     // (outputs)
};

/// y = W (x * scale + offset) + b becomes y = W' x + b'.
void fold_input(LinearMap& map, const std::vector<double>& scale, const std::vector<double>& offset);

/// Which output stands in lane `lane` of vector `vector`; `map.outputs` or more for padding.
using OutputOrder = std::size_t (*)(std::size_t vector, std::size_t lane, std::size_t lanes, std::size_t units);

/// Outputs in their own order.
std::size_t dense_order(std::size_t vector, std::size_t lane, std::size_t lanes, std::size_t units);
/// Blocks of units with their four gates beside one another; outputs are (4, units).
std::size_t lstm_order(std::size_t vector, std::size_t lane, std::size_t lanes, std::size_t units);
/// One gate behind the other, each in whole vectors; outputs are (gates, units).
std::size_t gate_order(std::size_t vector, std::size_t lane, std::size_t lanes, std::size_t units);

/// A matrix whose pointers are still offsets into the bytes that hold it.
struct PackedMatrix {
  std::size_t depth = 0;
  std::size_t vectors = 0;
  std::size_t weights = 0;  // bytes from the start
  std::size_t scale = 0;    // only with int8
  std::size_t offset = 0;   // only with int8
};

/// Collects packed weights in the order in which they are read, each part on its own cache line.
class Packer {
 public:
  explicit Packer(const Kernels& kernels) : kernels_(kernels) {}

  PackedMatrix matrix(const LinearMap& map, std::size_t vectors, OutputOrder order, std::size_t units);
  /// @param values  (outputs); padding is zero
  std::size_t vector(const std::vector<double>& values, std::size_t vectors, OutputOrder order, std::size_t units);

  const std::vector<std::byte>& bytes() const { return bytes_; }
  Matrix view(const PackedMatrix& packed, const std::byte* base) const;

 private:
  template <class T>
  std::size_t append(const std::vector<T>& values);

  const Kernels& kernels_;
  std::vector<std::byte> bytes_;
};

/// Round to nearest even, as the hardware does.
std::uint16_t to_bfloat16(float x);

}  // namespace linkcast::kernels
