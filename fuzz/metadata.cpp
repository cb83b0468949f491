// Any text as one of a bundle's metadata files, beside the others as they are and under a manifest that has its hash: what
// is taken has to hold what the rest of the engine builds on.
//
// An input is the file's number (manifest, feature_list, scalers, service_mappings, service_group_stats) and its text.
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/sha256.h"
#include "check.h"
#include "engine/metadata.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

namespace {

namespace fs = std::filesystem;

constexpr std::array<const char*, 5> kFiles{"manifest.json", "feature_list.json", "scalers.json",
                                            "service_mappings.json", "service_group_stats.json"};

std::string read(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

/// Where a bundle stands whose files are overwritten, one after the other.
struct Place {
  fs::path folder;
  std::array<std::string, 5> texts;

  Place() {
    const char* bundle = std::getenv("LINKCAST_BUNDLE");
    FUZZ_CHECK(bundle != nullptr, "LINKCAST_BUNDLE is not set: use fuzz/run");
    folder = fs::temp_directory_path() / ("linkcast-fuzz-metadata-" + std::to_string(getpid()));
    fs::create_directories(folder / "metadata");
    for (const auto& file : fs::directory_iterator(fs::path(bundle) / "metadata"))
      fs::copy(file, folder / "metadata", fs::copy_options::overwrite_existing);
    for (std::size_t n = 0; n < kFiles.size(); ++n) texts[n] = read(folder / "metadata" / kFiles[n]);
  }
  ~Place() { fs::remove_all(folder); }

  void write(std::size_t n, const std::string& text) const {
    std::ofstream(folder / "metadata" / kFiles[n], std::ios::binary) << text;
  }

  /// The manifest in which file `n` has the hash of `text`.
  std::string manifest_for(std::size_t n, const std::string& text) const {
    const auto hash = [](const std::string& of) {
      return linkcast::sha256(reinterpret_cast<const std::byte*>(of.data()), of.size());
    };
    std::string manifest = texts[0];
    const std::size_t at = manifest.find(hash(texts[n]));
    FUZZ_CHECK(at != std::string::npos, "the manifest lacks the hash of %s", kFiles[n]);
    return manifest.replace(at, 64, hash(text));
  }
};

void check(const linkcast::ModelSpec& spec) {
  std::size_t row = 1, answer = 1;
  for (const int size : spec.input_shape)
    FUZZ_CHECK(size >= 1, "%s: an input dimension of %d", spec.name.c_str(), size);
  for (const int size : spec.output_shape)
    FUZZ_CHECK(size >= 1, "%s: an output dimension of %d", spec.name.c_str(), size);
  for (std::size_t d = 1; d < spec.input_shape.size(); ++d) row *= static_cast<std::size_t>(spec.input_shape[d]);
  for (std::size_t d = 1; d < spec.output_shape.size(); ++d) answer *= static_cast<std::size_t>(spec.output_shape[d]);
  FUZZ_CHECK(
      spec.golden.inputs.size() == spec.golden.count * row && spec.golden.outputs.size() == spec.golden.count * answer,
      "%s: golden rows of another size", spec.name.c_str());
  FUZZ_CHECK(row == spec.steps() * spec.features.size(), "%s: %zu inputs", spec.name.c_str(), row);
  FUZZ_CHECK(spec.bounds.size() == spec.features.size() && spec.scaler.features() == spec.features.size(),
             "%s: features, bounds and scaler differ", spec.name.c_str());
  FUZZ_CHECK(spec.window == 0 || (spec.step_s > 0 && std::isfinite(spec.step_s)), "%s: a step of %g s",
             spec.name.c_str(), spec.step_s);
  std::vector<float> scaled(row);
  for (const double value : {0.0, 1.0, -1.0, 1e9}) {
    const std::vector<double> features(row, value);
    spec.scaler.transform(features.data(), 1, spec.steps(), scaled.data());
    for (const float each : scaled) FUZZ_CHECK(!std::isnan(each), "%s: %g is scaled to NaN", spec.name.c_str(), value);
    if (!spec.target_scaler) continue;
    const auto given = static_cast<float>(value);
    float target = 0;
    spec.target_scaler->inverse_transform(&given, 1, &target, &value, 1);
    FUZZ_CHECK(!std::isnan(target), "%s: %g is NaN in the target's unit", spec.name.c_str(), value);
  }
}

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t most, unsigned seed) {
  std::minstd_rand random(seed);
  const auto below = [&](std::size_t n) { return n ? static_cast<std::size_t>(random()) % n : 0; };
  if (size < 8 || below(3) == 0) return LLVMFuzzerMutate(data, size, most);
  // One value of the text becomes another: what stands between two of these, anywhere.
  static constexpr std::string_view kEnds = ",:[]{}";
  static constexpr std::array<std::string_view, 26> kValues{"0",
                                                            "1",
                                                            "2",
                                                            "-1",
                                                            "1e308",
                                                            "-1e308",
                                                            "1e-320",
                                                            "4294967297",
                                                            "2147483648",
                                                            "9007199254740993",
                                                            "0.5",
                                                            "null",
                                                            "true",
                                                            "[]",
                                                            "{}",
                                                            "\"\"",
                                                            "[0]",
                                                            "[1,2]",
                                                            "\"last\"",
                                                            "\"first\"",
                                                            "\"fraction\"",
                                                            "\"ms\"",
                                                            "10",
                                                            "\"s\"",
                                                            "1e19",
                                                            "\"../x\""};
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::size_t begin = text.find_first_of(kEnds, 1 + below(size - 1));
  if (begin == text.npos) return LLVMFuzzerMutate(data, size, most);
  ++begin;
  const std::size_t end = std::min(text.find_first_of(kEnds, begin), size);
  std::string changed(text.substr(0, begin));
  if (below(4) == 0) {  // another value of the same file
    const std::size_t from = text.find_first_of(kEnds, 1 + below(size - 1));
    if (from == text.npos) return LLVMFuzzerMutate(data, size, most);
    changed += text.substr(from + 1, std::min(text.find_first_of(kEnds, from + 1), size) - from - 1);
  } else {
    changed += kValues[below(kValues.size())];
  }
  changed += text.substr(end);
  if (changed.size() > most) return LLVMFuzzerMutate(data, size, most);
  std::copy(changed.begin(), changed.end(), data);
  return changed.size();
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Place place;
  if (size == 0) return 0;
  const std::size_t n = data[0] % kFiles.size();
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  place.write(n, text);
  if (n > 0) place.write(0, place.manifest_for(n, text));
  try {
    const auto metadata = linkcast::Metadata::load(place.folder.string());
    for (const auto& spec : metadata.models) check(spec);
  } catch (const linkcast::LoadError& error) {
    FUZZ_CHECK(std::string_view(error.what()).starts_with(place.folder.string()), "a file is not named: %s",
               error.what());
  }
  place.write(n, place.texts[n]);
  if (n > 0) place.write(0, place.texts[0]);
  return 0;
}
