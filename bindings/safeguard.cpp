#include "engine/safeguard.h"

#include "bindings.h"

namespace linkcast::bindings {

const char* stand_in_name(Safeguard::StandIn stand_in) noexcept {
  return source_name(stand_in == Safeguard::StandIn::last ? Source::last : Source::forecast_mean);
}

Safeguard::Options safeguard_options(double plausible_margin, const std::string& stand_in, double stand_in_weight) {
  for (const auto known : {Safeguard::StandIn::last, Safeguard::StandIn::forecast_mean})
    if (stand_in == stand_in_name(known)) return {plausible_margin, known, stand_in_weight};
  throw std::invalid_argument("stand_in: expected \"last\" or \"forecast_mean\", got \"" + stand_in + "\"");
}

std::shared_ptr<BoundModel> fallback_of(const BoundEngine& bound, std::size_t forecaster) {
  const std::string& name = bound.engine->spec(forecaster).name;
  for (const ServiceGroup& group : bound.engine->metadata().groups)
    if (group.model == name) return bound.models[bound.engine->find(group.fallback)];
  return nullptr;
}

}  // namespace linkcast::bindings
