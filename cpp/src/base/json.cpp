#include "base/json.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/file.h"

namespace linkcast {

namespace {

/// How many bytes from the front are UTF-8 (RFC 3629): `text`'s size when all of it is.
std::size_t valid_utf8(std::string_view text) {
  const auto byte = [&](std::size_t k) { return k < text.size() ? static_cast<unsigned char>(text[k]) : 0U; };
  std::size_t at = 0;
  while (at < text.size()) {
    const unsigned lead = byte(at);
    const std::size_t length = lead < 0x80   ? 1
                               : lead < 0xC2 ? 0
                               : lead < 0xE0 ? 2
                               : lead < 0xF0 ? 3
                               : lead < 0xF5 ? 4
                                             : 0;
    if (length == 0) return at;
    for (std::size_t k = 1; k < length; ++k)
      if ((byte(at + k) & 0xC0U) != 0x80) return at;
    const unsigned second = byte(at + 1);
    // Overlong forms, surrogates, and what lies above U+10FFFF.
    if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) || (lead == 0xF0 && second < 0x90) ||
        (lead == 0xF4 && second > 0x8F))
      return at;
    at += length;
  }
  return at;
}

}  // namespace

/// A recursive-descent parser over the whole text.
class JsonParser {
 public:
  JsonParser(std::string_view text, std::shared_ptr<const std::string> file) : text_(text), file_(std::move(file)) {}

  Json document() {
    if (text_.starts_with("\xEF\xBB\xBF")) refuse("JSON in UTF-8 without a byte order mark");
    if (const std::size_t valid = valid_utf8(text_); valid < text_.size()) {
      at_ = valid;
      refuse("UTF-8");
    }
    Json root = value("", 0);
    skip_space();
    if (at_ < text_.size()) refuse("the end of the file");
    return root;
  }

 private:
  static constexpr int kDeepest = 64;
  static constexpr std::size_t kMostPathBytes = std::size_t{256} << 20;  // many times those of a whole metadata file

  Json value(std::string path, int depth) {
    if (depth > kDeepest) refuse("at most 64 levels of nesting");
    // Each value carries its path: a key of a megabyte with a million values below it would take a terabyte.
    path_bytes_ += path.size();
    if (path_bytes_ > kMostPathBytes) refuse("shorter keys: paths to all values of at most 256 MB");
    Json json;
    json.path_ = std::move(path);
    json.file_ = file_;
    skip_space();
    const char c = peek();
    if (c == '{') {
      json.value_ = object(json.path_, depth);
    } else if (c == '[') {
      json.value_ = array(json.path_, depth);
    } else if (c == '"') {
      json.value_ = string();
    } else if (c == '-' || (c >= '0' && c <= '9')) {
      json.value_ = number();
    } else if (word("true")) {
      json.value_ = true;
    } else if (word("false")) {
      json.value_ = false;
    } else if (!word("null")) {
      refuse("a value");
    }
    return json;
  }

  Json::Object object(const std::string& path, int depth) {
    Json::Object members;
    std::set<std::string> seen;
    expect('{', "'{'");
    skip_space();
    if (take('}')) return members;
    do {
      skip_space();
      if (peek() != '"') refuse("a key in double quotes");
      std::string key = string();
      if (!seen.insert(key).second) refuse("unique keys; \"" + key + "\" stands twice in one object");
      skip_space();
      expect(':', "':'");
      std::string inner = path.empty() ? key : path + "." + key;
      members.emplace_back(std::move(key), value(std::move(inner), depth + 1));
      skip_space();
    } while (take(','));
    expect('}', "',' or '}'");
    return members;
  }

  Json::Array array(const std::string& path, int depth) {
    Json::Array items;
    expect('[', "'['");
    skip_space();
    if (take(']')) return items;
    do {
      items.push_back(value(path + "[" + std::to_string(items.size()) + "]", depth + 1));
      skip_space();
    } while (take(','));
    expect(']', "',' or ']'");
    return items;
  }

  double number() {
    const std::size_t start = at_;
    take('-');
    if (!take('0')) digits();  // no leading zeros
    if (take('.')) digits();
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      digits();
    }
    double parsed = 0;
    const auto result = std::from_chars(text_.data() + start, text_.data() + at_, parsed);
    if (result.ec != std::errc()) {
      at_ = start;
      refuse("a number in double range");
    }
    return parsed;
  }

  void digits() {
    const std::size_t start = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
    if (at_ == start) refuse("a digit");
  }

  std::string string() {
    std::string out;
    expect('"', "'\"'");
    for (;;) {
      if (at_ >= text_.size()) refuse("'\"'");
      const char c = text_[at_++];
      if (c == '"') return out;
      if (static_cast<unsigned char>(c) < 0x20) {
        --at_;
        refuse("no control character in a string");
      }
      if (c != '\\') {
        out += c;
        continue;
      }
      escape(out);
    }
  }

  void escape(std::string& out) {
    static constexpr std::string_view kFrom = "\"\\/bfnrt";
    static constexpr std::string_view kTo = "\"\\/\b\f\n\r\t";
    const char c = peek();
    if (const auto which = kFrom.find(c); c != '\0' && which != std::string_view::npos) {
      ++at_;
      out += kTo[which];
      return;
    }
    if (c != 'u') refuse("an escape such as \\n or \\u0041");
    ++at_;
    unsigned code = hex4();
    if (code >= 0xD800 && code < 0xDC00 && take('\\')) {  // the first half of a surrogate pair
      expect('u', "the second half of a surrogate pair");
      const unsigned low = hex4();
      if (low < 0xDC00 || low > 0xDFFF) refuse("the second half of a surrogate pair");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    if (code >= 0xD800 && code <= 0xDFFF) refuse("a whole surrogate pair");
    append_utf8(code, out);
  }

  unsigned hex4() {
    unsigned code = 0;
    if (text_.size() - at_ < 4) refuse("four hexadecimal digits");
    const auto result = std::from_chars(text_.data() + at_, text_.data() + at_ + 4, code, 16);
    if (result.ptr != text_.data() + at_ + 4) refuse("four hexadecimal digits");
    at_ += 4;
    return code;
  }

  static void append_utf8(unsigned code, std::string& out) {
    if (code < 0x80) {
      out += static_cast<char>(code);
      return;
    }
    const int followers = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static constexpr unsigned kLead[] = {0, 0xC0, 0xE0, 0xF0};
    out += static_cast<char>(kLead[followers] | (code >> (6 * followers)));
    for (int k = followers - 1; k >= 0; --k) out += static_cast<char>(0x80 | ((code >> (6 * k)) & 0x3F));
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(char c) {
    if (peek() != c || at_ >= text_.size()) return false;
    ++at_;
    return true;
  }
  bool word(std::string_view w) {
    if (text_.substr(at_, w.size()) != w) return false;
    at_ += w.size();
    return true;
  }
  void expect(char c, const char* what) {
    if (!take(c)) refuse(what);
  }
  void skip_space() {
    while (at_ < text_.size() && std::strchr(" \t\r\n", text_[at_]) && text_[at_] != '\0') ++at_;
  }

  /// A byte as an error can show it: what is not a character by itself would make the text no UTF-8.
  static std::string named(unsigned char byte) {
    if (byte >= 0x20 && byte < 0x7F) return {'\'', static_cast<char>(byte), '\''};
    std::array<char, 16> text{};
    std::snprintf(text.data(), text.size(), "the byte 0x%02X", byte);
    return text.data();
  }

  [[noreturn]] void refuse(const std::string& expected) const {
    std::size_t line = 1;
    std::size_t column = 1;
    for (std::size_t k = 0; k < at_ && k < text_.size(); ++k) {
      column = text_[k] == '\n' ? 1 : column + 1;
      line += text_[k] == '\n';
    }
    const std::string got = at_ < text_.size() ? named(static_cast<unsigned char>(text_[at_])) : "the end of the file";
    throw LoadError(*file_ + ": line " + std::to_string(line) + ", column " + std::to_string(column) + ": expected " +
                    expected + ", got " + got);
  }

  std::string_view text_;
  std::shared_ptr<const std::string> file_;
  std::size_t at_ = 0;
  std::size_t path_bytes_ = 0;  // of all values so far
};

Json Json::parse_file(const std::string& path, std::size_t most_bytes) {
  return parse(read_file(path, most_bytes), path);
}

Json Json::parse(std::string_view text, const std::string& file) {
  return JsonParser(text, std::make_shared<const std::string>(file)).document();
}

void Json::refuse(const std::string& what) const {
  throw LoadError(*file_ + ": " + (path_.empty() ? "the whole file" : path_) + ": " + what);
}

std::string Json::describe() const {
  struct Visitor {
    std::string operator()(std::nullptr_t) const { return "null"; }
    std::string operator()(bool b) const { return b ? "true" : "false"; }
    std::string operator()(double d) const {
      std::ostringstream text;
      text.precision(12);
      text << d;
      return text.str();
    }
    std::string operator()(const std::string& s) const { return "\"" + s + "\""; }
    std::string operator()(const Array& a) const { return "an array of " + std::to_string(a.size()); }
    std::string operator()(const Object&) const { return "an object"; }
  };
  return std::visit(Visitor{}, value_);
}

double Json::number() const {
  const auto* number = std::get_if<double>(&value_);
  if (!number || !std::isfinite(*number)) refuse("expected a number, got " + describe());
  return *number;
}

std::size_t Json::count(std::size_t least) const {
  const auto* number = std::get_if<double>(&value_);
  if (!number || *number != std::floor(*number) || *number < static_cast<double>(least) || *number > 1e9)
    refuse("expected a whole number of at least " + std::to_string(least) + ", got " + describe());
  return static_cast<std::size_t>(*number);
}

const std::string& Json::string() const {
  const auto* string = std::get_if<std::string>(&value_);
  if (!string) refuse("expected a string, got " + describe());
  return *string;
}

const Json::Array& Json::array() const {
  const auto* array = std::get_if<Array>(&value_);
  if (!array) refuse("expected an array, got " + describe());
  return *array;
}

const Json::Object& Json::object() const {
  const auto* object = std::get_if<Object>(&value_);
  if (!object) refuse("expected an object, got " + describe());
  return *object;
}

const Json* Json::find(std::string_view key) const {
  for (const auto& [name, value] : object())
    if (name == key) return &value;
  return nullptr;
}

const Json& Json::at(std::string_view key) const {
  const Json* found = find(key);
  if (!found) refuse("the key \"" + std::string(key) + "\" is missing");
  return *found;
}

std::vector<double> Json::numbers(std::size_t size) const {
  if (array().size() != size) refuse("expected " + std::to_string(size) + " numbers, got " + describe());
  std::vector<double> out;
  for (const auto& item : array()) out.push_back(item.number());
  return out;
}

}  // namespace linkcast
