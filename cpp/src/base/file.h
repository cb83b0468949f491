// Whole files, read with a limit.
#pragma once

#include <cstddef>
#include <string>

namespace linkcast {

/// The content of a regular file. Nothing is read of what is none (a folder, a FIFO, a device) or of what is larger.
/// @throws LoadError  naming the file: "<path>: expected a file of at most 16777216 bytes, got 1000000000"
std::string read_file(const std::string& path, std::size_t most_bytes);

}  // namespace linkcast
