// Ed25519 signatures (RFC 8032), checked by libsodium or OpenSSL's libcrypto, whichever this machine has.
//
// Why dlopen: a signature is checked where a public key is configured, and nowhere else is either library needed. Why no
// code of our own: theirs is read by more eyes.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace linkcast {

using Ed25519Key = std::array<unsigned char, 32>;  // public
using Ed25519Signature = std::array<unsigned char, 64>;

/// Whether `signature` is the key's over the message. @throws LoadError  this machine has neither library
bool verify_ed25519(const Ed25519Key& key, std::string_view message, const Ed25519Signature& signature);

// With one of the libraries; nullopt when this machine does not have it.
std::optional<bool> verify_with_sodium(const Ed25519Key& key, std::string_view message,
                                       const Ed25519Signature& signature);
std::optional<bool> verify_with_openssl(const Ed25519Key& key, std::string_view message,
                                        const Ed25519Signature& signature);

}  // namespace linkcast
