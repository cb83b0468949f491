// Expected values: RFC 8259 and its examples, by hand.
#include "base/json.h"

#include "base/error.h"
#include "check.h"

using linkcast::Json;

namespace {
Json parse(const std::string& text) { return Json::parse(text, "file.json"); }
}  // namespace

TEST(values_of_every_kind_are_read) {
  const Json json = parse(R"({"a": [1, -0.5e2, 0], "b": {"c": "text"}, "d": true, "e": null})");
  CHECK_EQ(json.at("a").array().size(), 3u);
  CHECK_EQ(json.at("a").array()[1].number(), -50.0);
  CHECK_EQ(json.at("b").at("c").string(), "text");
  CHECK(json.find("f") == nullptr);
}

TEST(numbers_are_read_exactly) {
  CHECK_EQ(parse("0.1").number(), 0.1);
  CHECK_EQ(parse("1.7976931348623157e308").number(), 1.7976931348623157e308);
  CHECK_EQ(parse("9007199254740993e0").number(), 9007199254740992.0);  // rounds to even
}

TEST(escapes_become_utf8) {
  CHECK_EQ(parse(R"("\u0041\n\"\\\/")").string(), "A\n\"\\/");
  CHECK_EQ(parse(R"("\u00e9\u20ac")").string(), "\xC3\xA9\xE2\x82\xAC");
  CHECK_EQ(parse(R"("\ud834\udd1e")").string(), "\xF0\x9D\x84\x9E");  // the G clef of RFC 8259, section 7
}

TEST(a_syntax_error_names_file_line_and_column) {
  CHECK_THROWS(parse("{\"a\": 1,\n \"b\" 2}"), "file.json: line 2, column 6: expected ':', got '2'");
  CHECK_THROWS(parse("[1, 2"), "expected ',' or ']', got the end of the file");
  CHECK_THROWS(parse("{} x"), "expected the end of the file, got 'x'");
  CHECK_THROWS(parse(""), "expected a value, got the end of the file");
}

TEST(what_the_standard_forbids_is_refused) {
  for (const char* bad : {"01", "1.", ".5", "+1", "1e", "nan", "NaN", "Infinity", "1e999", "'a'", "[1,]", "{\"a\":1,}",
                          "\"\\x\"", "\"\\ud834\"", "\"a\nb\"", "tru", "[1 2]", "\"\\u12\""})
    CHECK_THROWS(parse(bad), "expected");
  CHECK_THROWS(parse(R"({"a": 1, "a": 2})"), "\"a\" stands twice");
  CHECK_THROWS(parse(std::string(100, '[')), "64 levels");
}

TEST(a_wrong_type_names_the_key_path) {
  const Json json = parse(R"({"models": {"x": {"features": [{"unit": 3}], "window": 2.5}}})");
  const Json& x = json.at("models").at("x");
  CHECK_THROWS(x.at("features").array()[0].at("unit").string(),
               "file.json: models.x.features[0].unit: expected a string, got 3");
  CHECK_THROWS(x.at("window").count(), "models.x.window: expected a whole number of at least 0, got 2.5");
  CHECK_THROWS(x.at("target"), "models.x: the key \"target\" is missing");
  CHECK_THROWS(json.number(), "file.json: the whole file: expected a number, got an object");
}

TEST(a_missing_file_is_named) {
  CHECK_THROWS(Json::parse_file("/nowhere/a.json", 1000), "/nowhere/a.json: can't be opened");
}

TEST(a_long_key_with_many_values_below_it_is_refused_before_it_takes_memory) {
  std::string text = "{\"" + std::string(1 << 20, 'k') + "\": [0";
  for (int k = 0; k < 4000; ++k) text += ",0";  // a megabyte of path for each
  CHECK_THROWS(parse(text + "]}"), "shorter keys");
}
