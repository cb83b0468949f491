// Expected values: the test vectors of RFC 8032, section 7.1; by both libraries, where this machine has them.
#include "base/ed25519.h"

#include <string>

#include "check.h"

namespace {

struct Vector {
  const char* key;
  const char* message;
  const char* signature;
};

constexpr Vector kVectors[] = {
    {"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
     "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
    {"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
     "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
    {"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
     "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"},
    {"ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
     "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
     "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
     "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"},
};

std::string bytes(const std::string& hex) {
  std::string text;
  for (std::size_t at = 0; at < hex.size(); at += 2)
    text.push_back(static_cast<char>(std::stoi(hex.substr(at, 2), nullptr, 16)));
  return text;
}

template <class Bytes>
Bytes exactly(const std::string& hex) {
  const std::string text = bytes(hex);
  Bytes all;
  CHECK_EQ(text.size(), all.size());
  for (std::size_t n = 0; n < all.size(); ++n) all[n] = static_cast<unsigned char>(text[n]);
  return all;
}

using Verify = std::optional<bool> (*)(const linkcast::Ed25519Key&, std::string_view,
                                       const linkcast::Ed25519Signature&);

/// Calls `check(verify, key, message, signature)` on each vector with each library of this machine.
template <class Check>
void on_each_vector(Check check) {
  int libraries = 0;
  for (const Verify verify : {linkcast::verify_with_sodium, linkcast::verify_with_openssl}) {
    libraries += verify({}, "", {}).has_value();
    if (!verify({}, "", {})) continue;
    for (const Vector& vector : kVectors)
      check(verify, exactly<linkcast::Ed25519Key>(vector.key), bytes(vector.message),
            exactly<linkcast::Ed25519Signature>(vector.signature));
  }
  CHECK(libraries > 0);
}

}  // namespace

TEST(published_signatures_are_right) {
  on_each_vector([](Verify verify, const auto& key, const std::string& message, const auto& signature) {
    CHECK_EQ(verify(key, message, signature).value(), true);
    CHECK_EQ(linkcast::verify_ed25519(key, message, signature), true);
  });
}

TEST(every_flipped_bit_of_a_signature_makes_it_wrong) {
  on_each_vector([](Verify verify, const auto& key, const std::string& message, const auto& signature) {
    for (std::size_t bit = 0; bit < 8 * signature.size(); ++bit) {
      auto flipped = signature;
      flipped[bit / 8] = static_cast<unsigned char>(flipped[bit / 8] ^ (1U << bit % 8));
      CHECK_EQ(verify(key, message, flipped).value(), false);
    }
  });
}

TEST(another_message_and_another_key_make_it_wrong) {
  on_each_vector([](Verify verify, const auto& key, const std::string& message, const auto& signature) {
    CHECK_EQ(verify(key, message + '\0', signature).value(), false);
    auto other = key;
    other[0] = static_cast<unsigned char>(other[0] ^ 1U);
    // OpenSSL says of some bytes that they are no key; that is no right signature either.
    CHECK_EQ(verify(other, message, signature).value_or(false), false);
  });
}
