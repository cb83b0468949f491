#include "pack.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/aligned.h"

namespace linkcast::kernels {

void fold_input(LinearMap& map, const std::vector<double>& scale, const std::vector<double>& offset) {
  for (std::size_t n = 0; n < map.outputs; ++n) {
    for (std::size_t k = 0; k < map.inputs; ++k) {
      double& weight = map.weights[n * map.inputs + k];
      map.bias[n] += weight * offset[k];
      weight *= scale[k];
    }
  }
}

std::size_t dense_order(std::size_t vector, std::size_t lane, std::size_t lanes, std::size_t /*units*/) {
  return vector * lanes + lane;
}

std::size_t lstm_order(std::size_t vector, std::size_t lane, std::size_t lanes, std::size_t units) {
  const std::size_t unit = vector / 4 * lanes + lane;
  return unit < units ? vector % 4 * units + unit : 4 * units;
}

std::size_t gate_order(std::size_t vector, std::size_t lane, std::size_t lanes, std::size_t units) {
  const std::size_t blocks = (units + lanes - 1) / lanes;
  const std::size_t unit = vector % blocks * lanes + lane;
  return unit < units ? vector / blocks * units + unit : static_cast<std::size_t>(-1);
}

std::uint16_t to_bfloat16(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if (std::isnan(x)) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

template <class T>
std::size_t Packer::append(const std::vector<T>& values) {
  const std::size_t at = round_up(bytes_.size(), alignment);
  bytes_.resize(at + values.size() * sizeof(T));
  std::memcpy(bytes_.data() + at, values.data(), values.size() * sizeof(T));
  return at;
}

std::size_t Packer::vector(const std::vector<double>& values, std::size_t vectors, OutputOrder order,
                           std::size_t units) {
  const std::size_t lanes = kernels_.lanes;
  std::vector<float> packed(vectors * lanes, 0.0f);
  for (std::size_t v = 0; v < vectors; ++v) {
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      const std::size_t n = order(v, lane, lanes, units);
      if (n < values.size()) packed[v * lanes + lane] = static_cast<float>(values[n]);
    }
  }
  return append(packed);
}

PackedMatrix Packer::matrix(const LinearMap& map, std::size_t vectors, OutputOrder order, std::size_t units) {
  const std::size_t lanes = kernels_.lanes;
  const std::size_t group = kernels_.group;
  const std::size_t groups = (map.inputs + group - 1) / group;
  std::vector<double> step(vectors * lanes, 1.0);  // of int8
  std::vector<double> sums(vectors * lanes, 0.0);  // of int8
  std::vector<float> floats;
  std::vector<std::uint16_t> halves;
  std::vector<std::int8_t> integers;
  const bool int8 = kernels_.format == WeightFormat::int8;
  if (int8) {
    for (std::size_t i = 0; i < vectors * lanes; ++i) {
      const std::size_t n = order(i / lanes, i % lanes, lanes, units);
      double largest = 0.0;
      for (std::size_t k = 0; n < map.outputs && k < map.inputs; ++k) {
        largest = std::max(largest, std::fabs(map.weights[n * map.inputs + k]));
      }
      if (largest > 0.0) step[i] = static_cast<double>(static_cast<float>(largest / 127.0));
    }
  }
  for (std::size_t panel = 0; panel * 4 < vectors; ++panel) {
    const std::size_t width = std::min<std::size_t>(4, vectors - panel * 4);
    for (std::size_t g = 0; g < groups; ++g) {
      for (std::size_t v = panel * 4; v < panel * 4 + width; ++v) {
        for (std::size_t lane = 0; lane < lanes; ++lane) {
          const std::size_t n = order(v, lane, lanes, units);
          for (std::size_t k = g * group; k < (g + 1) * group; ++k) {
            const double weight = n < map.outputs && k < map.inputs ? map.weights[n * map.inputs + k] : 0.0;
            switch (kernels_.format) {
              case WeightFormat::float32:
                floats.push_back(static_cast<float>(weight));
                break;
              case WeightFormat::bfloat16:
                halves.push_back(to_bfloat16(static_cast<float>(weight)));
                break;
              case WeightFormat::int8: {
                const double integer = std::clamp(std::nearbyint(weight / step[v * lanes + lane]), -127.0, 127.0);
                integers.push_back(static_cast<std::int8_t>(integer));
                sums[v * lanes + lane] += integer;
                break;
              }
            }
          }
        }
      }
    }
  }
  PackedMatrix packed;
  packed.depth = map.inputs;
  packed.vectors = vectors;
  packed.weights = !floats.empty() ? append(floats) : !halves.empty() ? append(halves) : append(integers);
  if (int8) {
    packed.scale = append(std::vector<float>(step.begin(), step.end()));
    std::vector<std::int32_t> offset;
    for (const double sum : sums) offset.push_back(static_cast<std::int32_t>(-128.0 * sum));
    packed.offset = append(offset);
  }
  return packed;
}

Matrix Packer::view(const PackedMatrix& packed, const std::byte* base) const {
  Matrix matrix;
  matrix.weights = base + packed.weights;
  matrix.depth = packed.depth;
  matrix.vectors = packed.vectors;
  if (kernels_.format == WeightFormat::int8) {
    matrix.scale = reinterpret_cast<const float*>(base + packed.scale);
    matrix.offset = reinterpret_cast<const std::int32_t*>(base + packed.offset);
  }
  return matrix;
}

}  // namespace linkcast::kernels
