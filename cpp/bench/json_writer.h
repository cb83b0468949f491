// Writes JSON (RFC 8259), indented, keys in the order given.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace linkcast::bench {

class JsonWriter {
 public:
  /// The value of what `write` adds: object([&] { json.member("a", 1); }).
  template <class Write>
  void object(Write write) {
    nest('{', '}', write);
  }
  template <class Write>
  void array(Write write) {
    nest('[', ']', write);
  }

  void key(std::string_view name) {
    separate();
    quote(name);
    text_ += ": ";
    after_key_ = true;
  }

  void value(std::string_view text) {
    separate();
    quote(text);
  }
  void value(const char* text) { value(std::string_view(text)); }
  void value(bool truth) {
    separate();
    text_ += truth ? "true" : "false";
  }
  void value(std::nullopt_t) {
    separate();
    text_ += "null";
  }
  /// What is not finite is null; nine significant digits.
  void value(double number) {
    if (!std::isfinite(number)) return value(std::nullopt);
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.9g", number);
    separate();
    text_ += digits;
  }
  template <class Integer, std::enable_if_t<std::is_integral_v<Integer>, int> = 0>
  void value(Integer number) {
    separate();
    text_ += std::to_string(number);
  }
  template <class T>
  void value(const std::optional<T>& maybe) {
    if (maybe) {
      value(*maybe);
    } else {
      value(std::nullopt);
    }
  }
  /// On one line.
  template <class T>
  void value(const std::vector<T>& items) {
    separate();
    text_ += '[';
    const unsigned depth = depth_;
    depth_ = kFlat;
    first_ = true;
    for (const T& item : items) value(item);
    depth_ = depth;
    first_ = false;
    text_ += ']';
  }

  template <class T>
  void member(std::string_view name, const T& item) {
    key(name);
    value(item);
  }
  template <class Write>
  void object(std::string_view name, Write write) {
    key(name);
    object(write);
  }
  template <class Write>
  void array(std::string_view name, Write write) {
    key(name);
    array(write);
  }

  std::string text() const { return text_ + "\n"; }

 private:
  static constexpr unsigned kFlat = ~0U;

  template <class Write>
  void nest(char open, char close, Write write) {
    separate();
    text_ += open;
    if (depth_ != kFlat) ++depth_;
    first_ = true;
    write();
    const bool empty = first_;
    if (depth_ != kFlat) --depth_;
    first_ = false;
    if (!empty) new_line();
    text_ += close;
  }

  void separate() {
    if (after_key_) {
      after_key_ = false;
      return;
    }
    if (!first_) text_ += depth_ == kFlat ? ", " : ",";
    if (depth_ > 0) new_line();
    first_ = false;
  }

  void new_line() {
    if (depth_ == kFlat) return;
    text_ += '\n';
    text_.append(2 * depth_, ' ');
  }

  void quote(std::string_view text) {
    text_ += '"';
    for (const char c : text) {
      if (c == '"' || c == '\\') {
        text_ += '\\';
        text_ += c;
      } else if (static_cast<unsigned char>(c) < 0x20) {
        char escape[8];
        std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
        text_ += escape;
      } else {
        text_ += c;
      }
    }
    text_ += '"';
  }

  std::string text_;
  unsigned depth_ = 0;
  bool first_ = true;
  bool after_key_ = false;
};

}  // namespace linkcast::bench
