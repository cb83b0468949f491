#include "engine/answer.h"

namespace linkcast {

const char* source_name(Source source) noexcept {
  switch (source) {
    case Source::none:
      return "none";
    case Source::model:
      return "model";
    case Source::mixture:
      return "mixture";
    case Source::fallback:
      return "fallback";
    case Source::last:
      return "last";
    case Source::forecast_mean:
      return "forecast_mean";
    case Source::measured_mean:
      return "measured_mean";
  }
  return "";
}

const char* cause_name(Cause cause) noexcept {
  switch (cause) {
    case Cause::none:
      return "none";
    case Cause::deadline:
      return "deadline";
    case Cause::failed:
      return "failed";
    case Cause::not_finite:
      return "not_finite";
    case Cause::implausible:
      return "implausible";
    case Cause::outside_training:
      return "outside_training";
    case Cause::over_capacity:
      return "over_capacity";
  }
  return "";
}

}  // namespace linkcast
