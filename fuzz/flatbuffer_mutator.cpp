#include "flatbuffer_mutator.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <vector>

#include "recognise/flatbuffer.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

namespace fuzz {
namespace {

using linkcast::tflite::Damaged;
using linkcast::tflite::FlatBytes;
using linkcast::tflite::FlatTable;
using linkcast::tflite::FlatVector;

/// A number in the file.
struct Place {
  std::uint64_t position;
  std::size_t size;
  enum Kind { any, index, dimension, code, floating, offset } kind;
};

constexpr std::array<std::int64_t, 26> kNumbers{-1,  0,   1,   2,    3,    4,       5,       6,         7,
                                                8,   9,   10,  15,   16,   17,      31,      32,        64,
                                                100, 127, 128, 1024, 4096, 1 << 20, 1 << 30, 2147483647};
constexpr std::array<float, 12> kFloats{0.0F,  -0.0F, 1.0F, -1.0F, 1e-6F,  1e-40F,
                                        1e30F, 3e38F, 0.5F, 10.0F, -3e38F, 1e-20F};

/// Walks the graph of a file, whatever stands in it, and collects its numbers.
class Places {
 public:
  Places(const std::uint8_t* data, std::size_t size) : bytes_(data, size) {
    try {
      model(FlatTable(bytes_, bytes_.follow(0, ""), ""));
    } catch (const Damaged&) {  // what was found so far will do
    }
  }

  const std::vector<Place>& all() const noexcept { return places_; }

 private:
  template <class Visit>
  void each(const FlatTable& table, int field, Visit visit) {
    const auto list = table.vector<std::uint32_t>(field, "");
    if (!list.present()) return;
    length(list);
    for (std::size_t n = 0; n < list.size() && n < 4096; ++n) {
      add(list.position(n), 4, Place::offset);
      try {
        visit(table.entry(list, n, ""));
      } catch (const Damaged&) {
      }
    }
  }

  template <class T>
  void length(const FlatVector<T>& list) {
    add(list.position(0) - 4, 4, Place::dimension);
  }

  template <class T>
  void numbers(const FlatTable& table, int field, Place::Kind kind) {
    const auto list = table.vector<T>(field, "");
    if (!list.present()) return;
    length(list);
    for (std::size_t n = 0; n < list.size() && n < 256; ++n) add(list.position(n), sizeof(T), kind);
  }

  void add(std::uint64_t position, std::size_t size, Place::Kind kind) {
    if (bytes_.holds(position, size)) places_.push_back({position, size, kind});
  }

  /// Every number that stands in the table itself, without a notion of its size: options are small.
  void scalars(const FlatTable& table, std::uint64_t position) {
    static_cast<void>(table);
    const auto back = bytes_.read<std::int32_t>(position, "");
    const std::uint64_t fields = position - static_cast<std::uint64_t>(static_cast<std::int64_t>(back));
    const auto list = bytes_.read<std::uint16_t>(fields, "");
    for (std::uint64_t entry = 4; entry + 2 <= list && entry < 64; entry += 2) {
      const auto at = bytes_.read<std::uint16_t>(fields + entry, "");
      add(fields + entry, 2, Place::any);  // a field that goes away, or another one's
      if (at == 0) continue;
      add(position + at, 1, Place::code);
      add(position + at, 4, Place::any);
    }
  }

  void inner(const FlatTable& owner, std::uint64_t position, int field) {
    const auto back = bytes_.read<std::int32_t>(position, "");
    const std::uint64_t fields = position - static_cast<std::uint64_t>(static_cast<std::int64_t>(back));
    if (!owner.has(field)) return;
    const auto at = bytes_.read<std::uint16_t>(fields + 4 + 2 * static_cast<std::uint64_t>(field), "");
    const std::uint64_t target = bytes_.follow(position + at, "");
    scalars(FlatTable(bytes_, target, ""), target);
  }

  /// The tables of a list with their positions, which FlatTable does not tell.
  template <class Visit>
  void each_placed(const FlatTable& table, int field, Visit visit) {
    const auto list = table.vector<std::uint32_t>(field, "");
    if (!list.present()) return;
    length(list);
    for (std::size_t n = 0; n < list.size() && n < 4096; ++n) {
      add(list.position(n), 4, Place::offset);
      try {
        const std::uint64_t position = bytes_.follow(list.position(n), "");
        visit(FlatTable(bytes_, position, ""), position);
      } catch (const Damaged&) {
      }
    }
  }

  void model(const FlatTable& model) {
    each_placed(model, 1, [this](const FlatTable& code, std::uint64_t position) { scalars(code, position); });
    each_placed(model, 2, [this](const FlatTable& graph, std::uint64_t) { this->graph(graph); });
    each(model, 4, [this](const FlatTable& buffer) {
      const auto data = buffer.vector<std::uint8_t>(0, "");
      if (!data.present()) return;
      length(data);
      if (data.size() <= 64)  // axes, shapes, indices: the graph's own numbers
        for (std::size_t n = 0; n + 4 <= data.size(); n += 4) add(data.position(n), 4, Place::index);
      else
        for (std::size_t n = 0; n + 4 <= data.size() && n < 64; n += 4) add(data.position(n), 4, Place::floating);
    });
  }

  void graph(const FlatTable& graph) {
    each_placed(graph, 0, [this](const FlatTable& tensor, std::uint64_t position) {
      scalars(tensor, position);
      numbers<std::int32_t>(tensor, 0, Place::dimension);
      numbers<std::int32_t>(tensor, 7, Place::dimension);
      if (!tensor.has(4)) return;
      const FlatTable quantisation = tensor.table(4, "");
      numbers<float>(quantisation, 2, Place::floating);
      numbers<std::int64_t>(quantisation, 3, Place::index);
    });
    numbers<std::int32_t>(graph, 1, Place::index);
    numbers<std::int32_t>(graph, 2, Place::index);
    each_placed(graph, 3, [this](const FlatTable& op, std::uint64_t position) {
      scalars(op, position);
      numbers<std::int32_t>(op, 1, Place::index);
      numbers<std::int32_t>(op, 2, Place::index);
      inner(op, position, 4);
    });
  }

  FlatBytes bytes_;
  std::vector<Place> places_;
};

std::int64_t read(const std::uint8_t* data, const Place& place) {
  std::int64_t value = 0;
  std::memcpy(&value, data + place.position, place.size);
  return value;
}

void write(std::uint8_t* data, const Place& place, std::int64_t value) {
  std::memcpy(data + place.position, &value, place.size);
}

}  // namespace

std::size_t mutate_model(std::uint8_t* data, std::size_t size, std::size_t most, unsigned seed) {
  std::minstd_rand random(seed);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  if (below(16) == 0) return LLVMFuzzerMutate(data, size, most);
  for (std::size_t round = 1 + below(3); round > 0; --round) {
    const Places places(data, size);
    const auto& all = places.all();
    if (all.empty()) return LLVMFuzzerMutate(data, size, most);
    const Place place = all[below(all.size())];
    switch (below(4)) {
      case 0:  // near what it was
        write(data, place, read(data, place) + static_cast<std::int64_t>(below(5)) - 2);
        break;
      case 1: {  // what another number of its kind is
        const Place other = all[below(all.size())];
        if (other.size != place.size) break;
        if (place.kind == Place::offset || other.kind == Place::offset) {
          // Offsets count from their own place: two entries trade what they point at.
          if (place.kind != other.kind) break;
          const auto target = static_cast<std::int64_t>(other.position) + read(data, other);
          write(data, place, target - static_cast<std::int64_t>(place.position));
        } else {
          write(data, place, read(data, other));
        }
        break;
      }
      case 2:
        if (place.kind == Place::floating) {
          const float value = kFloats[below(kFloats.size())];
          std::memcpy(data + place.position, &value, sizeof(value));
        } else {
          write(data, place, kNumbers[below(kNumbers.size())]);
        }
        break;
      default:
        write(data, place, static_cast<std::int64_t>(below(160)));
    }
  }
  return size;
}

}  // namespace fuzz
