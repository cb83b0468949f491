#include "engine/answer.h"

#include <iterator>

#include "base/names.h"

namespace linkcast {
namespace {

constexpr const char* kSourceNames[] = {"none", "model",         "mixture",      "fallback",
                                        "last", "forecast_mean", "measured_mean"};
constexpr const char* kCauseNames[] = {"none",        "deadline",         "failed",       "not_finite",
                                       "implausible", "outside_training", "over_capacity"};
static_assert(std::size(kSourceNames) == kSources && std::size(kCauseNames) == kCauses);

}  // namespace

const char* source_name(Source source) noexcept { return name_of(kSourceNames, source); }
const char* cause_name(Cause cause) noexcept { return name_of(kCauseNames, cause); }

}  // namespace linkcast
