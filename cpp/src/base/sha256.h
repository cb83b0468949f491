// SHA-256 (FIPS 180-4), to check a model file against its manifest.
#pragma once

#include <cstddef>
#include <string>

namespace linkcast {

/// 64 lower-case hexadecimal digits.
std::string sha256(const std::byte* data, std::size_t size);

}  // namespace linkcast
