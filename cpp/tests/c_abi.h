// What tests of the C ABI from outside share: one engine, telemetry for it, the text of the last error.
#pragma once

#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "linkcast/linkcast.hpp"

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
inline constexpr std::array<float, 4> kSample{50.0F, 2.5F, 0.001F, 0.999F};

inline std::string bundle() {
  const char* folder = std::getenv("LINKCAST_BUNDLE");
  return folder ? folder : "";
}

/// One engine for all cases: opening one loads and proves every model.
inline linkcast::Engine& engine() {
  static linkcast::Engine only(bundle());
  return only;
}

inline linkcast_model internet() { return engine().find("internet", LINKCAST_ROLE_FORECASTER); }
inline linkcast_model allocator() { return engine().find("internet", LINKCAST_ROLE_ALLOCATOR); }

/// (10, 4): a link whose bandwidth moves a little.
inline std::vector<float> window(float phase = 0) {
  std::vector<float> values;
  for (int step = 0; step < 10; ++step) {
    values.insert(values.end(), kSample.begin(), kSample.end());
    values[values.size() - 3] += std::sin(phase + static_cast<float>(step));
  }
  return values;
}

inline bool error_has(const std::string& part) {
  return std::string(linkcast_last_error()).find(part) != std::string::npos;
}
