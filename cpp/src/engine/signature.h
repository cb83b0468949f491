// Who may have signed a bundle. manifest.json holds the SHA-256 of every other file, so that its signature is the
// bundle's.
#pragma once

#include <string>
#include <vector>

#include "base/ed25519.h"

namespace linkcast {

/// Public keys, any of which will do: while one follows another, both stand in the file.
struct Signers {
  std::string file;              // where they were read
  std::vector<Ed25519Key> keys;  // none: no signature is asked for

  /// Of a PEM file ("BEGIN PUBLIC KEY", as OpenSSL and `linkcast keygen` write it), one block after the other.
  /// @throws LoadError  naming the file: it is none, or has another kind of key
  static Signers read(const std::string& file);

  /// Those of `file`, or where that is null of $LINKCAST_PUBLIC_KEY; none where that names none either.
  static Signers configured(const char* file = nullptr);

  /// Asks for a signature over `bytes`, the content of `path`: 64 bytes in `path`.sig. Without keys, for nothing.
  /// @throws LoadError  there is none, or it is not one of the keys' over these bytes
  void check(const std::string& path, const std::string& bytes) const;
};

}  // namespace linkcast
