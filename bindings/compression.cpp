#include "engine/compression.h"

#include <cmath>

#include "bindings.h"

namespace linkcast::bindings {
namespace {

std::vector<Codec> codecs_of(const py::object& codecs_table) {
  const auto table = as_numbers(codecs_table, "codecs");
  if (table.ndim() != 2 || table.shape(1) != 3)
    throw std::invalid_argument("codecs: expected (codecs, 3), got " +
                                shape_text({table.shape(), table.shape() + table.ndim()}));
  std::vector<Codec> codecs;
  for (py::ssize_t k = 0; k < table.shape(0); ++k) {
    codecs.push_back({table.at(k, 0), table.at(k, 1), table.at(k, 2)});
    if (!is_codec(codecs.back()))
      throw std::invalid_argument(
          "codecs: expected a ratio and speeds above 0, got " + std::to_string(codecs.back().ratio) + ", " +
          std::to_string(codecs.back().compress_mbps) + " and " + std::to_string(codecs.back().decompress_mbps) +
          " Mbit/s for codec " + std::to_string(k));
  }
  return codecs;
}

Quantile quantile_of(const std::string& name) {
  if (name == "p10") return Quantile::p10;
  if (name == "p50") return Quantile::p50;
  throw std::invalid_argument("by: expected 'p10' or 'p50', got '" + name + "'");
}

/// (codec, seconds, seconds_p10, seconds_p50, seconds_p90)
py::tuple choose(const py::object& table, double bytes, double mbps, double p10, double p50, double p90,
                 const std::string& by, bool overlap) {
  if (!(bytes >= 0 && std::isfinite(bytes)))
    throw std::invalid_argument("size_bytes: expected 0 or more, got " + std::to_string(bytes));
  const std::vector<Codec> codecs = codecs_of(table);
  const CompressionChoice choice =
      choose_compression(codecs.data(), codecs.size(), bytes, {mbps, p10, p50, p90}, {quantile_of(by), overlap});
  return py::make_tuple(choice.codec, choice.seconds, choice.seconds_p10, choice.seconds_p50, choice.seconds_p90);
}

}  // namespace

void bind_compression(py::module_& module) {
  module.def("choose_compression", &choose, py::arg("codecs"), py::arg("size_bytes"), py::arg("mbps"), py::arg("p10"),
             py::arg("p50"), py::arg("p90"), py::arg("by"), py::arg("overlap"),
             "The index and seconds of linkcast.choose_compression; codecs: (codecs, 3) ratio and Mbit/s.");
}

}  // namespace linkcast::bindings
