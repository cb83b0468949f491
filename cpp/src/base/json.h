// A strict JSON reader (RFC 8259) for the metadata files: each value knows its key path, so that an error can name it.
//
// Why not a library: the engine builds from pip and g++ alone, and no package index carries a C++ JSON header.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace linkcast {

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;  // in the file's order; keys are unique

  /// @throws LoadError  "<file>: line 3, column 7: expected ..., got ..."
  static Json parse_file(const std::string& path, std::size_t most_bytes);
  static Json parse(std::string_view text, const std::string& file);

  // Typed access; each throws LoadError "<file>: <key path>: expected a number, got "abc"".
  double number() const;                           ///< finite
  std::size_t count(std::size_t least = 0) const;  ///< a whole number, at least `least`
  const std::string& string() const;
  const Array& array() const;
  const Object& object() const;
  const Json& at(std::string_view key) const;           ///< a key that has to be there
  const Json* find(std::string_view key) const;         ///< nullptr when absent
  std::vector<double> numbers(std::size_t size) const;  ///< an array of exactly `size` numbers

  /// An error about this value: "<file>: <key path>: <what>".
  [[noreturn]] void refuse(const std::string& what) const;
  std::string describe() const;  ///< "a string", "3.5", ...: what came, for an error

 private:
  friend class JsonParser;
  std::variant<std::nullptr_t, bool, double, std::string, Array, Object> value_ = nullptr;
  std::string path_;  // "models.internet_lstm.features[2].unit"
  std::shared_ptr<const std::string> file_;
};

}  // namespace linkcast
