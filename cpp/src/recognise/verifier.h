// The gate before TensorFlow Lite: reads a .tflite file without the runtime and refuses what the runtime can't be
// trusted with. No byte of a file reaches the runtime before this has passed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace linkcast::tflite {

/// What a model may cost; a file that asks for more is refused before anything is allocated.
struct VerifierLimits {
  std::uint64_t tensor_bytes = std::uint64_t{128} << 20;  ///< of all that the graph computes, constants not counted
  std::uint64_t work = std::uint64_t{2} << 30;            ///< multiplications and moves of one run, roughly
};

/// What a file says of itself that the runtime does not.
struct VerifiedModel {
  /// Whether every shape comes out as the file declares it: where a dimension is open, another one may, which a delegate
  /// that plans by what is declared is not made for.
  bool as_declared = false;
  std::vector<std::string> inputs, outputs;  ///< names, in the file's order
};

/// Checks the FlatBuffer itself (offsets, lengths, identifier), buffers, tensors (types, sizes in 64 bits,
/// quantisation), operators (known ones in known versions, inputs, types, options), the order in which tensors are
/// written and read, and lays the whole graph out, loops included: every shape, every index and every loop's end has to
/// be visible in the file.
/// @param path  how errors call the file
/// @throws LoadError  naming the file, the operator and its node, and what was expected; or the limit
VerifiedModel verify(const std::string& path, const void* bytes, std::size_t size, const VerifierLimits& limits);

}  // namespace linkcast::tflite
