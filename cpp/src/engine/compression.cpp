#include "engine/compression.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace linkcast {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr Codec kAsItIs{1, kInfinity, kInfinity};

}  // namespace

bool is_codec(const Codec& codec) noexcept {
  return codec.ratio > 0 && std::isfinite(codec.ratio) && codec.compress_mbps > 0 && codec.decompress_mbps > 0;
}

double transfer_seconds(const Codec& codec, double bytes, double bandwidth_mbps, bool overlap) noexcept {
  if (std::isnan(bandwidth_mbps)) return bandwidth_mbps;
  const double mbit = bytes * 8e-6;
  const double compress = mbit / codec.compress_mbps;
  const double decompress = mbit / codec.decompress_mbps;
  const double send = bandwidth_mbps > 0 ? mbit * codec.ratio / bandwidth_mbps : kInfinity;
  return overlap ? std::max({compress, send, decompress}) : compress + send + decompress;
}

CompressionChoice choose_compression(const Codec* codecs, std::size_t count, double bytes, const Band& band,
                                     const CompressionOptions& options) noexcept {
  const auto known = [&](double quantile) { return std::isnan(quantile) ? band.mbps : quantile; };
  const std::array<double, 3> mbps{known(band.p10), known(band.p50), known(band.p90)};
  const std::size_t by = options.by == Quantile::p10 ? 0 : 1;
  std::size_t deciding = by;
  while (deciding + 1 < mbps.size() && mbps[deciding] <= 0) ++deciding;
  const bool cut_off = mbps[deciding] <= 0;
  const auto cost = [&](const Codec& codec) {
    return cut_off ? codec.ratio : transfer_seconds(codec, bytes, mbps[deciding], options.overlap);
  };
  CompressionChoice choice;
  const Codec* chosen = &kAsItIs;
  double least = cost(kAsItIs);
  for (std::size_t index = 0; index < count; ++index) {
    const double own = cost(codecs[index]);
    if (!(own < least)) continue;  // NaN: nothing is known
    least = own;
    choice.codec = static_cast<std::int32_t>(index);
    chosen = &codecs[index];
  }
  const auto seconds = [&](std::size_t quantile) {
    return transfer_seconds(*chosen, bytes, mbps[quantile], options.overlap);
  };
  choice.seconds_p10 = seconds(0);
  choice.seconds_p50 = seconds(1);
  choice.seconds_p90 = seconds(2);
  choice.seconds = seconds(by);
  return choice;
}

}  // namespace linkcast
