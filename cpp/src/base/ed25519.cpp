#include "base/ed25519.h"

#include <dlfcn.h>

#include <initializer_list>
#include <memory>

#include "base/error.h"

namespace linkcast {
namespace {

/// The first of the libraries that there is; never closed: OpenSSL leaves work for the end of the process.
void* open_first(std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
  return nullptr;
}

template <class Function>
bool find(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  return function != nullptr;
}

/// What is called of libcrypto, from the documentation of OpenSSL 1.1.1 and 3.
struct OpenSsl {
  struct Key;      // EVP_PKEY
  struct Context;  // EVP_MD_CTX

  Key* (*new_key)(int type, void* engine, const unsigned char* key, std::size_t size);
  void (*free_key)(Key* key);
  Context* (*new_context)();
  void (*free_context)(Context* context);
  int (*start)(Context* context, void** key_context, const void* digest, void* engine, Key* key);
  int (*verify)(Context* context, const unsigned char* signature, std::size_t signature_size,
                const unsigned char* message, std::size_t size);
  int (*mark_errors)();
  int (*drop_errors)();

  bool load(void* library) {
    return find(library, "EVP_PKEY_new_raw_public_key", new_key) && find(library, "EVP_PKEY_free", free_key) &&
           find(library, "EVP_MD_CTX_new", new_context) && find(library, "EVP_MD_CTX_free", free_context) &&
           find(library, "EVP_DigestVerifyInit", start) && find(library, "EVP_DigestVerify", verify) &&
           find(library, "ERR_set_mark", mark_errors) && find(library, "ERR_pop_to_mark", drop_errors);
  }
};

constexpr int kOpenSslEd25519 = 1087;  // EVP_PKEY_ED25519

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

}  // namespace

std::optional<bool> verify_with_sodium(const Ed25519Key& key, std::string_view message,
                                       const Ed25519Signature& signature) {
  void* library = open_first({"libsodium.so.26", "libsodium.so.23"});
  int (*start)() = nullptr;
  int (*verify)(const unsigned char* signature, const unsigned char* message, unsigned long long size,
                const unsigned char* key) = nullptr;
  if (!library || !find(library, "sodium_init", start) ||
      !find(library, "crypto_sign_ed25519_verify_detached", verify) || start() < 0)
    return std::nullopt;
  return verify(signature.data(), bytes_of(message), message.size(), key.data()) == 0;
}

std::optional<bool> verify_with_openssl(const Ed25519Key& key, std::string_view message,
                                        const Ed25519Signature& signature) {
  void* library = open_first({"libcrypto.so.3", "libcrypto.so.1.1"});
  OpenSsl ssl{};
  if (!library || !ssl.load(library)) return std::nullopt;
  ssl.mark_errors();  // what it says of a wrong signature is none of the program's errors
  bool right = false;
  bool able = false;  // out of memory, or a policy of the machine without this algorithm
  {
    const std::unique_ptr<OpenSsl::Key, void (*)(OpenSsl::Key*)> own(
        ssl.new_key(kOpenSslEd25519, nullptr, key.data(), key.size()), ssl.free_key);
    const std::unique_ptr<OpenSsl::Context, void (*)(OpenSsl::Context*)> context(ssl.new_context(), ssl.free_context);
    able = own && context && ssl.start(context.get(), nullptr, nullptr, nullptr, own.get()) == 1;
    right =
        able && ssl.verify(context.get(), signature.data(), signature.size(), bytes_of(message), message.size()) == 1;
  }
  ssl.drop_errors();
  return able ? std::optional<bool>(right) : std::nullopt;
}

bool verify_ed25519(const Ed25519Key& key, std::string_view message, const Ed25519Signature& signature) {
  if (const auto answer = verify_with_sodium(key, message, signature)) return *answer;
  if (const auto answer = verify_with_openssl(key, message, signature)) return *answer;
  throw LoadError(
      "a public key is configured, and neither libsodium nor OpenSSL's libcrypto is here to check a signature with: "
      "install one of them (libsodium23, libssl3)");
}

}  // namespace linkcast
