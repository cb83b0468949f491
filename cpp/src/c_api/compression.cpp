#include "engine/compression.h"

#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>

#include "c_api/status.h"
#include "c_api/structs.h"

namespace linkcast::c_api {
namespace {

// Sizes of the structs in the first version that had them.
constexpr std::size_t kFirstCodec = sizeof(linkcast_codec);
constexpr std::size_t kFirstCompressionOptions = sizeof(linkcast_compression_options);
constexpr std::size_t kFirstCompressionChoice = sizeof(linkcast_compression_choice);
constexpr std::size_t kFirstBand = offsetof(linkcast_answer, source);  // what is read of it

using Codecs = std::array<Codec, LINKCAST_MAX_CODECS>;

linkcast_status read_codecs(const linkcast_codec* given, std::size_t count, Codecs& codecs) noexcept {
  if (count > codecs.size())
    return fail(LINKCAST_ERROR_ARGUMENT, "count: expected 0 to %zu codecs, got %zu", codecs.size(), count);
  if (count == 0) return LINKCAST_OK;
  if (!given) return fail(LINKCAST_ERROR_ARGUMENT, "codecs: expected a pointer, got null");
  if (const auto status = check_structs(given, count, kFirstCodec)) return status;
  for (std::size_t k = 0; k < count; ++k) {
    const linkcast_codec& codec = struct_at(const_cast<linkcast_codec*>(given), k);
    codecs[k] = {codec.ratio, codec.compress_mbps, codec.decompress_mbps};
    if (!is_codec(codecs[k]))
      return fail(LINKCAST_ERROR_ARGUMENT,
                  "codecs: expected a ratio and speeds above 0, got %g, %g and %g Mbit/s for codec %zu", codec.ratio,
                  codec.compress_mbps, codec.decompress_mbps, k);
  }
  return LINKCAST_OK;
}

linkcast_status read_options(const linkcast_compression_options* given, CompressionOptions& options) noexcept {
  linkcast_compression_options own = LINKCAST_COMPRESSION_OPTIONS_INIT;
  if (const auto status = read_struct(given, kFirstCompressionOptions, own)) return status;
  const int by = number_of(own.by);
  if (by != LINKCAST_QUANTILE_P10 && by != LINKCAST_QUANTILE_P50)
    return fail(LINKCAST_ERROR_ARGUMENT, "by: expected LINKCAST_QUANTILE_P10 or _P50, got %d", by);
  options = {by == LINKCAST_QUANTILE_P10 ? Quantile::p10 : Quantile::p50, own.overlap != 0};
  return LINKCAST_OK;
}

}  // namespace
}  // namespace linkcast::c_api

using namespace linkcast;
using namespace linkcast::c_api;

extern "C" linkcast_status linkcast_compression_choose(const linkcast_codec* codecs, size_t count, uint64_t bytes,
                                                       const linkcast_answer* band,
                                                       const linkcast_compression_options* options,
                                                       linkcast_compression_choice* choice) {
  if (!band || !choice) return fail(LINKCAST_ERROR_ARGUMENT, "band and choice: expected pointers, got null");
  Codecs table;
  if (const auto status = read_codecs(codecs, count, table)) return status;
  if (const auto status = check_struct(band, kFirstBand)) return status;
  if (const auto status = check_struct(choice, kFirstCompressionChoice)) return status;
  CompressionOptions own;
  if (const auto status = read_options(options, own)) return status;
  const Band forecast{band->mbps, band->p10_mbps, band->p50_mbps, band->p90_mbps};
  const CompressionChoice made = choose_compression(table.data(), count, static_cast<double>(bytes), forecast, own);
  write_struct(linkcast_compression_choice{sizeof(linkcast_compression_choice), made.codec, made.seconds,
                                           made.seconds_p10, made.seconds_p50, made.seconds_p90},
               choice);
  return std::isnan(made.seconds) ? LINKCAST_NOT_READY : LINKCAST_OK;
}
