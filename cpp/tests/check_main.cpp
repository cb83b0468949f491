// Runs every registered case, or those whose name holds the first argument. The last line counts them.
#include <cstdio>

#include "check.h"

namespace check {
std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}
}  // namespace check

int main(int argc, char** argv) {
  const std::string filter = argc > 1 ? argv[1] : "";
  int passed = 0;
  int failed = 0;
  int skipped = 0;
  for (const auto& test : check::cases()) {
    if (test.name.find(filter) == std::string::npos) continue;
    try {
      test.body();
      ++passed;
    } catch (const check::Skipped& reason) {
      ++skipped;
      std::printf("skipped %s: %s\n", test.name.c_str(), reason.what());
    } catch (const std::exception& error) {
      ++failed;
      std::fprintf(stderr, "FAILED %s\n  %s\n", test.name.c_str(), error.what());
    }
  }
  std::printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
  return failed == 0 && passed > 0 ? 0 : 1;
}
