// The verifier on bytes that no one should trust. Built with sanitizers it shows that nothing is read outside the file.
#include "recognise/verifier.h"

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "recognise/flatbuffer.h"
#include "recognise/model_bytes.h"
#include "recognise/operators.h"

using namespace linkcast;
using namespace linkcast::tflite;

namespace {

using Bytes = std::vector<std::byte>;

std::vector<std::string> bundled_models() {
  const char* folder = std::getenv("LINKCAST_BUNDLE");
  CHECK(folder != nullptr);
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(folder) + "/models"))
    if (entry.path().extension() == ".tflite") paths.push_back(entry.path().string());
  CHECK(!paths.empty());
  return paths;
}

/// In memory of its own size, so that a sanitizer sees a read behind the end. Returns "" or what it was refused for.
std::string verdict(const Bytes& bytes, const VerifierLimits& limits = {}) {
  const std::unique_ptr<std::byte[]> exact(new std::byte[bytes.size()]);
  std::memcpy(exact.get(), bytes.data(), bytes.size());
  try {
    verify("model", exact.get(), bytes.size(), limits);
    return "";
  } catch (const LoadError& error) {
    return error.what();
  }
}

}  // namespace

TEST(bundled_models_pass) {
  for (const auto& path : bundled_models()) CHECK_EQ(verdict(read_model_bytes(path, 1 << 24)), "");
}

TEST(damaged_bytes_are_refused_or_pass_and_nothing_is_read_outside_them) {
  std::mt19937 random(20241);
  const auto draw = [&](std::size_t count) { return std::uniform_int_distribution<std::size_t>(0, count - 1)(random); };
  std::size_t refused = 0;
  std::size_t passed = 0;
  for (const auto& path : bundled_models()) {
    const Bytes whole = read_model_bytes(path, 1 << 24);
    // The tables, not the weights, are where damage does harm: small models are mostly tables.
    const int rounds = whole.size() < 20'000 ? 400 : 40;
    for (int round = 0; round < rounds; ++round) {
      Bytes damaged = whole;
      const std::size_t at = draw(2) == 0 ? draw(damaged.size()) : draw(std::min<std::size_t>(damaged.size(), 1500));
      switch (draw(4)) {
        case 0:
          damaged[at] ^= static_cast<std::byte>(1U << draw(8));
          break;
        case 1: {
          const std::int32_t numbers[] = {-1, 0, 1, 0x7FFFFFFF, -0x7FFFFFFF, 1 << 16, static_cast<std::int32_t>(at)};
          const std::size_t word = std::min(at / 4 * 4, damaged.size() / 4 * 4 - 4);
          std::memcpy(&damaged[word], &numbers[draw(std::size(numbers))], 4);
          break;
        }
        case 2: {
          const std::size_t from = draw(damaged.size());
          const std::size_t count = std::min(draw(64) + 1, damaged.size() - std::max(at, from));
          std::memmove(&damaged[at], &whole[from], count);
          break;
        }
        default:
          damaged.resize(at + 1);
      }
      const auto words = verdict(damaged);
      CHECK(words.empty() || words.starts_with("model: "));
      ++(words.empty() ? passed : refused);
    }
  }
  CHECK(refused > 500);
  CHECK(passed > 50);
}

TEST(a_bool_of_any_byte_but_zero_is_true) {  // found by fuzzing: 32 for an LSTM's time_major
  const std::array<std::uint8_t, 3> bytes{0, 1, 32};
  const FlatBytes flat(bytes.data(), bytes.size());
  CHECK(!flat.read<bool>(0, "a field"));
  CHECK(flat.read<bool>(1, "a field"));
  CHECK(flat.read<bool>(2, "a field"));
}

TEST(random_bytes_behind_the_identifier_are_refused) {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    Bytes bytes(8 + random() % 200);
    for (auto& b : bytes) b = static_cast<std::byte>(random() % 4 == 0 ? random() : random() % 16);
    std::memcpy(&bytes[4], "TFL3", 4);
    CHECK(!verdict(bytes).empty());
  }
}

TEST(a_limit_is_met_before_anything_is_allocated) {
  const Bytes whole = read_model_bytes(bundled_models().front(), 1 << 24);
  CHECK(verdict(whole, {.tensor_bytes = 16}).find("over the limit of 16 bytes") != std::string::npos);
  CHECK(verdict(whole, {.work = 10}).find("over the limit of 10") != std::string::npos);
}

TEST(every_operator_of_the_table_has_a_name_and_what_is_taken_has_a_rule) {
  int taken = 0;
  for (int code = 0; const auto* rule = operator_rule(code); ++code) {
    CHECK(rule->name != nullptr && *rule->name != '\0');
    CHECK_EQ(operator_name(code), std::string(rule->name));
    if (rule->versions == 0) continue;
    ++taken;
    CHECK(rule->layout != nullptr);
    const std::string types = rule->types;
    const auto arrow = types.find('>');
    CHECK(arrow != std::string::npos);
    // Every type variable has its set.
    for (const char letter : types.substr(0, types.find(' ')))
      if (letter >= 'A' && letter <= 'Z') CHECK(types.find(std::string(" ") + letter + "=") != std::string::npos);
  }
  CHECK(taken > 90);
  CHECK_EQ(std::string(operator_rule(kWhile)->name), "WHILE");
  CHECK_EQ(std::string(operator_rule(126)->name), "BATCH_MATMUL");
  CHECK(operator_rule(-1) == nullptr);
  CHECK_EQ(operator_name(250), "operator 250");
}
