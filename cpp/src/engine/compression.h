// Which codec to send with, from what the link is forecast to carry.
#pragma once

#include <cstddef>
#include <cstdint>

namespace linkcast {

/// A codec at one level, as measured on a machine and on data of a kind.
struct Codec {
  double ratio = 1;            ///< compressed size / size; above 0, and above 1 where it makes the data larger
  double compress_mbps = 0;    ///< of what goes in, Mbit/s; above 0
  double decompress_mbps = 0;  ///< of what comes out, Mbit/s; above 0; infinite: it does not count
};

/// What the link is forecast to carry while the transfer lasts, Mbit/s: an Answer's band. NaN where it is not known.
struct Band {
  double mbps = 0;  ///< stands in for a quantile that is not known
  double p10 = 0;
  double p50 = 0;
  double p90 = 0;
};

enum class Quantile : std::uint8_t {
  p10,  ///< the least time that holds nine times out of ten
  p50   ///< the least time in the median
};

struct CompressionOptions {
  Quantile by = Quantile::p10;  ///< of the bandwidth
  bool overlap = true;          ///< compression, transfer and decompression work at the same time, block by block
};

struct CompressionChoice {
  std::int32_t codec = -1;  ///< 0-based; -1: as it is
  double seconds = 0;       ///< at the quantile that was chosen by; NaN: nothing is known of the link
  double seconds_p10 = 0;   ///< with that codec, where the link carries its P10; infinite: nothing comes through
  double seconds_p50 = 0;
  double seconds_p90 = 0;
};

/// Seconds to bring `bytes` over with a codec, S being its Mbit, c and d the speeds of the codec, r its ratio and B
/// the bandwidth:
///
///     one after the other:  S / c + S * r / B + S / d
///     overlapped:           max(S / c, S * r / B, S / d)    the slowest stage; filling the pipeline is left out
double transfer_seconds(const Codec& codec, double bytes, double bandwidth_mbps, bool overlap) noexcept;

/// The codec with the least transfer time at the bandwidth that `options.by` names, or none, which takes S / B.
///
/// Ties go to none, and then to the earlier one of the table. Where the bandwidth is 0 or less, the next higher quantile
/// decides; where all are, the smallest ratio, since the least has to be sent when the link is back. Where nothing is
/// known of the link: none, and NaN seconds. Allocates nothing.
///
/// @param codecs  (count)
CompressionChoice choose_compression(const Codec* codecs, std::size_t count, double bytes, const Band& band,
                                     const CompressionOptions& options) noexcept;

/// Whether a codec can be: its ratio and speeds are above 0.
bool is_codec(const Codec& codec) noexcept;

}  // namespace linkcast
