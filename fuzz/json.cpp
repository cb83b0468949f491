// Any bytes as JSON: what is parsed is written again, and the same when it is parsed once more.
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "check.h"

namespace {

using linkcast::Json;
using linkcast::LoadError;

/// What a typed access gives, or nullptr where the value is of another type: those are errors, and are met here, too.
template <class Get>
auto tried(Get get) -> decltype(&get()) {
  try {
    return &get();
  } catch (const LoadError&) {
    return nullptr;
  }
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char letter : text) {
    char code[8];
    if (static_cast<unsigned char>(letter) < 0x20 || letter == '"' || letter == '\\') {
      std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(letter)));
      out += code;
    } else {
      out += letter;
    }
  }
  return out + "\"";
}

std::string write(const Json& json) {
  std::string out;
  if (const auto* array = tried([&]() -> const Json::Array& { return json.array(); })) {
    for (const Json& item : *array) out += (out.empty() ? "[" : ",") + write(item);
    return out.empty() ? "[]" : out + "]";
  }
  if (const auto* object = tried([&]() -> const Json::Object& { return json.object(); })) {
    for (const auto& [key, value] : *object) {
      out += (out.empty() ? "{" : ",") + quoted(key) + ":" + write(value);
      FUZZ_CHECK(json.find(key) == &value, "key %s", key.c_str());
    }
    return out.empty() ? "{}" : out + "}";
  }
  if (const auto* text = tried([&]() -> const std::string& { return json.string(); })) return quoted(*text);
  try {
    static_cast<void>(json.count());
  } catch (const LoadError&) {
  }
  try {
    char text[40];
    std::snprintf(text, sizeof text, "%.17g", json.number());
    return text;
  } catch (const LoadError&) {
    return json.describe();  // null, true, false
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string first;
  try {
    first = write(Json::parse({reinterpret_cast<const char*>(data), size}, "input"));
  } catch (const LoadError& error) {
    FUZZ_CHECK(std::string_view(error.what()).starts_with("input: "), "%s", error.what());
    return 0;
  }
  try {
    const std::string second = write(Json::parse(first, "again"));
    FUZZ_CHECK(first == second, "%s, then %s", first.c_str(), second.c_str());
  } catch (const LoadError& error) {
    FUZZ_CHECK(false, "%s: %s", error.what(), first.c_str());
  }
  return 0;
}
