// The test harness of the C++ tests: TEST registers a case, a failed CHECK ends it and is reported with its values.
#pragma once

#include <cmath>
#include <exception>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace check {

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The machine lacks what a case needs.
struct Skipped : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Case {
  std::string name;
  std::function<void()> body;
};

std::vector<Case>& cases();

struct Registration {
  Registration(const char* name, std::function<void()> body) { cases().push_back({name, std::move(body)}); }
};

[[noreturn]] inline void fail(const char* file, int line, const std::string& what) {
  std::ostringstream text;
  text << file << ":" << line << ": " << what;
  throw Failure(text.str());
}

template <class A, class B>
void equal(const A& a, const B& b, const char* expression, const char* file, int line) {
  if (a == b) return;
  std::ostringstream text;
  text << expression << ": " << a << " vs " << b;
  fail(file, line, text.str());
}

inline void near(double a, double b, double tolerance, const char* expression, const char* file, int line) {
  if (std::fabs(a - b) <= tolerance) return;  // also refuses NaN
  std::ostringstream text;
  text.precision(9);
  text << expression << ": " << a << " vs " << b << ", " << std::fabs(a - b) << " apart, tolerance " << tolerance;
  fail(file, line, text.str());
}

}  // namespace check

#define CHECK_JOIN2(a, b) a##b
#define CHECK_JOIN(a, b) CHECK_JOIN2(a, b)

/// TEST(name_is_a_claim) { ... }
#define TEST(name)                                                         \
  static void name();                                                      \
  static const ::check::Registration CHECK_JOIN(name, _case)(#name, name); \
  static void name()

/// Ends the case; the program says that it was skipped, and why.
#define SKIP(why) throw ::check::Skipped(why)

#define CHECK(condition) \
  if (!(condition)) ::check::fail(__FILE__, __LINE__, #condition)

#define CHECK_EQ(a, b) ::check::equal((a), (b), #a " == " #b, __FILE__, __LINE__)
#define CHECK_NEAR(a, b, tolerance) ::check::near((a), (b), (tolerance), #a " ~ " #b, __FILE__, __LINE__)

/// The expression throws a std::exception whose text holds `part`.
#define CHECK_THROWS(expression, part)                                                                                 \
  do {                                                                                                                 \
    bool check_threw = false;                                                                                          \
    try {                                                                                                              \
      static_cast<void>(expression);                                                                                   \
    } catch (const std::exception& error) {                                                                            \
      check_threw = true;                                                                                              \
      if (std::string(error.what()).find(part) == std::string::npos)                                                   \
        ::check::fail(__FILE__, __LINE__, std::string("the error says '") + error.what() + "', not '" + (part) + "'"); \
    }                                                                                                                  \
    if (!check_threw) ::check::fail(__FILE__, __LINE__, #expression " did not throw");                                 \
  } while (false)
