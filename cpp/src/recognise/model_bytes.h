// Reads a model's file into memory, and says what bytes are that are no .tflite model.
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

/// The same checks of a model that is in memory already.
/// @param name    stands for the file's in an error
/// @throws LoadError  empty, over `most`, or of another format, which is named
void check_model_bytes(const std::string& name, const std::vector<std::byte>& bytes, std::uint64_t most);

}  // namespace linkcast::tflite
