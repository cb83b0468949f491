#include "engine/signature.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/environment.h"
#include "base/error.h"
#include "base/file.h"

namespace linkcast {
namespace {

constexpr std::size_t kMostKeyFileBytes = 64U << 10;
constexpr std::string_view kBegin = "-----BEGIN PUBLIC KEY-----";
constexpr std::string_view kEnd = "-----END PUBLIC KEY-----";

/// A SubjectPublicKeyInfo of Ed25519 (RFC 8410) up to the key itself.
constexpr std::array<unsigned char, 12> kBeforeKey = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                                      0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};

/// nullopt: it is no base64.
std::optional<std::string> decode_base64(std::string_view text) {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  unsigned bits = 0;
  unsigned kept = 0;
  std::size_t digits = 0;
  std::size_t padding = 0;
  for (const char c : text) {
    if (std::isspace(static_cast<unsigned char>(c))) continue;
    ++digits;
    if (c == '=') {
      ++padding;
      continue;
    }
    const std::size_t value = kDigits.find(c);
    if (value == std::string_view::npos || padding > 0) return std::nullopt;
    bits = bits << 6 | static_cast<unsigned>(value);
    kept += 6;
    if (kept < 8) continue;
    kept -= 8;
    bytes.push_back(static_cast<char>(bits >> kept & 0xffU));
  }
  if (digits % 4 != 0 || padding > 2) return std::nullopt;
  return bytes;
}

std::optional<Ed25519Key> parse_key(std::string_view base64) {
  const auto der = decode_base64(base64);
  Ed25519Key key;
  if (!der || der->size() != kBeforeKey.size() + key.size() ||
      std::memcmp(der->data(), kBeforeKey.data(), kBeforeKey.size()) != 0)
    return std::nullopt;
  std::memcpy(key.data(), der->data() + kBeforeKey.size(), key.size());
  return key;
}

}  // namespace

Signers Signers::read(const std::string& file) {
  std::string text;
  try {
    text = read_file(file, kMostKeyFileBytes);
  } catch (const LoadError& error) {
    throw LoadError(std::string("public key: ") + error.what() +
                    "; name a file that `linkcast keygen` wrote, or `openssl pkey -pubout`");
  }
  const auto refuse = [&](const std::string& what) { throw LoadError("public key: " + file + ": " + what); };
  if (text.find("PRIVATE KEY-----") != std::string::npos)
    refuse("expected a public key, got a private one: name its .pub, and keep this file with whoever signs");
  Signers signers{file, {}};
  for (std::size_t at = text.find(kBegin); at != std::string::npos; at = text.find(kBegin, at)) {
    at += kBegin.size();
    const std::size_t end = text.find(kEnd, at);
    const auto key = end == std::string::npos ? std::nullopt : parse_key(std::string_view(text).substr(at, end - at));
    if (!key)
      refuse("expected Ed25519 keys in PEM, got another kind of key or a damaged one as number " +
             std::to_string(signers.keys.size() + 1) + ": write it with `linkcast keygen` or `openssl pkey -pubout`");
    signers.keys.push_back(*key);
  }
  if (signers.keys.empty())
    refuse("expected \"" + std::string(kBegin) +
           "\", got none: write the file with `linkcast keygen` or `openssl pkey -pubout`");
  return signers;
}

Signers Signers::configured(const char* file) {
  if (!file) file = environment("LINKCAST_PUBLIC_KEY");
  return file ? read(file) : Signers{};
}

void Signers::check(const std::string& path, const std::string& bytes) const {
  if (keys.empty()) return;
  Ed25519Signature signature;
  std::string given;
  try {
    given = read_file(path + ".sig", kMostKeyFileBytes);
  } catch (const LoadError& error) {
    throw LoadError(std::string(error.what()) + "; the key in " + file +
                    " asks for a signature: sign the folder with `linkcast sign`, or get the signed one");
  }
  if (given.size() != signature.size())
    throw LoadError(path + ".sig: expected the 64 bytes of an Ed25519 signature, got " + std::to_string(given.size()) +
                    "; sign the folder anew with `linkcast sign`, or get it again");
  std::memcpy(signature.data(), given.data(), signature.size());
  if (std::any_of(keys.begin(), keys.end(),
                  [&](const Ed25519Key& key) { return verify_ed25519(key, bytes, signature); }))
    return;
  throw LoadError(path + ": its signature is not by " + (keys.size() > 1 ? "any key" : "the key") + " in " + file +
                  " over these bytes: it was signed with another key, or changed afterwards; name the signer's key, or "
                  "get the folder again");
}

}  // namespace linkcast
