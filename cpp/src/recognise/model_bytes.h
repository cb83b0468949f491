// Reads a model's file into memory, and says what a file is that is no .tflite model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace linkcast::tflite {

/// @param most  bytes that the file may have
/// @throws LoadError  naming the file: missing, not a regular file, empty, over `most`, or of another format, which is
///                    named
std::vector<std::byte> read_model_bytes(const std::string& path, std::uint64_t most);

}  // namespace linkcast::tflite
