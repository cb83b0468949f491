#include "engine/skill.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace linkcast {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

struct Header {
  std::uint64_t links = 0;
  std::uint64_t ticks = 0;
};

}  // namespace

SkillSwitch::SkillSwitch(std::size_t links, std::size_t ticks) : ticks_(ticks) {
  if (ticks > kMostTicks)
    throw std::invalid_argument("switch_to_ewma: expected 0 (off) to " + std::to_string(kMostTicks) + " ticks, got " +
                                std::to_string(ticks));
  if (ticks == 0) return;
  links_.resize(links);
  errors_.resize(links * ticks);
  for (std::size_t link = 0; link < links; ++link) forget(link);
}

void SkillSwitch::forget(std::size_t link) noexcept {
  if (!on()) return;
  links_[link] = {};
  links_[link].expected_model = kNone;
  std::fill_n(errors_.data() + link * ticks_, ticks_, Errors{});
}

void SkillSwitch::expect(std::size_t link, float model, double ewma) noexcept {
  links_[link].expected_model = static_cast<double>(model);
  links_[link].expected_ewma = ewma;
}

bool SkillSwitch::score(std::size_t link, double measured) noexcept {
  Link& of = links_[link];
  const Errors errors{std::fabs(of.expected_model - measured), std::fabs(of.expected_ewma - measured)};
  of.expected_model = kNone;
  if (!std::isfinite(errors.model) || !std::isfinite(errors.ewma)) return false;
  Errors& oldest = errors_[link * ticks_ + of.position];
  of.sum.model += errors.model - oldest.model;
  of.sum.ewma += errors.ewma - oldest.ewma;
  of.since_start.model += errors.model;
  of.since_start.ewma += errors.ewma;
  oldest = errors;
  if (++of.position == ticks_) {
    of.position = 0;
    of.sum = of.since_start;
    of.since_start = {};
  }
  of.scored = std::min<std::uint64_t>(of.scored + 1, ticks_);
  if (++of.undecided < ticks_) return false;
  const bool before = of.switched != 0;
  const bool now = before ? of.sum.model >= of.sum.ewma : of.sum.model > (1 + kMargin) * of.sum.ewma;
  if (now == before) return false;
  of.switched = now;
  of.undecided = 0;
  return now;
}

double SkillSwitch::skill(std::size_t link) const noexcept {
  if (!on() || links_[link].scored < ticks_ || links_[link].sum.ewma == 0) return kNone;
  return 1 - links_[link].sum.model / links_[link].sum.ewma;
}

// A snapshot: the header, then links_ and errors_ as they are.

std::size_t SkillSwitch::snapshot_size() const noexcept {
  if (!on()) return 0;
  return sizeof(Header) + links_.size() * sizeof(Link) + errors_.size() * sizeof(Errors);
}

void SkillSwitch::snapshot(std::byte* bytes) const noexcept {
  static_assert(std::is_trivially_copyable_v<Link> && std::is_trivially_copyable_v<Errors>);
  if (!on()) return;
  const Header header{links_.size(), ticks_};
  std::memcpy(bytes, &header, sizeof(header));
  std::memcpy(bytes + sizeof(header), links_.data(), links_.size() * sizeof(Link));
  std::memcpy(bytes + sizeof(header) + links_.size() * sizeof(Link), errors_.data(), errors_.size() * sizeof(Errors));
}

bool SkillSwitch::is_snapshot(const std::byte* bytes, std::size_t size, std::size_t links) noexcept {
  Header header;
  if (size < sizeof(header)) return false;
  std::memcpy(&header, bytes, sizeof(header));
  if (header.links != links || header.ticks == 0 || header.ticks > kMostTicks) return false;
  if (size != sizeof(header) + links * (sizeof(Link) + header.ticks * sizeof(Errors))) return false;
  for (std::size_t link = 0; link < links; ++link) {
    Link of;
    std::memcpy(&of, bytes + sizeof(header) + link * sizeof(Link), sizeof(Link));
    if (of.position >= header.ticks) return false;
  }
  return true;
}

void SkillSwitch::restore(const std::byte* bytes, std::size_t size) noexcept {
  if (size == 0 || size != snapshot_size()) {
    for (std::size_t link = 0; link < links_.size(); ++link) forget(link);
    return;
  }
  bytes += sizeof(Header);
  std::memcpy(links_.data(), bytes, links_.size() * sizeof(Link));
  std::memcpy(errors_.data(), bytes + links_.size() * sizeof(Link), errors_.size() * sizeof(Errors));
}

}  // namespace linkcast
