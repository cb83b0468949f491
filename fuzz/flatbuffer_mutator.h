// Mutates .tflite files as files, not as bytes: what it changes is a number that means something.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fuzz {

/// Bytes of libFuzzer that become another file: most often one number of the graph (a shape, a tensor's index, an operator's
/// code or version, a type, an option, a scale, a length), changed in its place; now and then bytes as libFuzzer does it.
/// @return the new size
std::size_t mutate_model(std::uint8_t* data, std::size_t size, std::size_t most, unsigned seed);

}  // namespace fuzz
