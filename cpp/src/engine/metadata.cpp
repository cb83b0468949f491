#include "engine/metadata.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/names.h"
#include "base/sha256.h"

namespace linkcast {
namespace {

constexpr std::size_t kHoursOfWeek = 168;

Json parse_root(const std::string& text, const std::string& path) {
  Json root = Json::parse(text, path);
  const Json& version = root.at("schema_version");
  if (version.number() != 1) version.refuse("expected 1, got " + version.describe());
  return root;
}

std::string parse_hash(const Json& json);
std::string parse_file_name(const Json& json, const std::string& file);

/// The files of a folder beside the manifest and the models, each with the hash that the manifest gives.
class Files {
 public:
  /// @throws LoadError  naming a file that is missing or has another hash
  Files(std::string folder, const Json& manifest) : folder_(std::move(folder)), manifest_(manifest.at("files")) {
    for (const auto& [name, json] : manifest_.object()) {
      const std::string expected = parse_hash(json);
      const std::string path = folder_ + "/" + parse_file_name(json, name);
      std::string text = read_file(path, kMostMetadataBytes);
      const std::string hash = sha256(reinterpret_cast<const std::byte*>(text.data()), text.size());
      if (hash != expected)
        throw LoadError(path + ": expected the SHA-256 " + expected + " of its manifest, got " + hash);
      texts_.emplace(name, std::move(text));
    }
  }

  const std::string& text(const std::string& name) const {
    const std::string key = "metadata/" + name;
    static_cast<void>(manifest_.at(key));  // the error names the manifest
    return texts_.at(key);
  }

  Json parse(const std::string& name) const { return parse_root(text(name), folder_ + "/metadata/" + name); }

 private:
  std::string folder_;
  const Json& manifest_;
  std::map<std::string, std::string> texts_;
};

Role parse_role(const Json& json) {
  const std::string& name = json.string();
  for (const Role role : {Role::forecaster, Role::allocator, Role::fallback})
    if (name == role_name(role)) return role;
  json.refuse("expected \"forecaster\", \"allocator\" or \"fallback\", got " + json.describe());
}

std::vector<int> parse_shape(const Json& json) {
  std::vector<int> shape;
  for (const Json& size : json.array()) shape.push_back(static_cast<int>(size.count(1)));
  if (shape.size() < 2) json.refuse("expected (batch, ...), got " + json.describe());
  return shape;
}

std::string parse_hash(const Json& json) {
  const std::string& hash = json.string();
  if (hash.size() != 64 || hash.find_first_not_of("0123456789abcdef") != std::string::npos)
    json.refuse("expected 64 hexadecimal digits, got " + json.describe());
  return hash;
}

std::string parse_file_name(const Json& json, const std::string& file) {
  if (file.empty() || file.front() == '/' || file.find("..") != std::string::npos)
    json.refuse("expected a path inside the folder, got \"" + file + "\"");
  return file;
}

Feature parse_feature(const Json& json) { return {json.at("name").string(), json.at("unit").string()}; }

std::size_t row_size(const std::vector<int>& shape) {
  std::size_t size = 1;
  for (std::size_t d = 1; d < shape.size(); ++d) size *= static_cast<std::size_t>(shape[d]);
  return size;
}

template <class Real>
void append_flat(const Json& json, const std::vector<int>& shape, std::size_t dimension, std::vector<Real>& out) {
  const auto& items = json.array();
  if (items.size() != static_cast<std::size_t>(shape[dimension]))
    json.refuse("expected " + std::to_string(shape[dimension]) + " values, got " + json.describe());
  for (const Json& item : items) {
    if (dimension + 1 == shape.size())
      out.push_back(static_cast<Real>(item.number()));
    else
      append_flat(item, shape, dimension + 1, out);
  }
}

std::size_t check_golden(const Json& json) {
  const auto& inputs = json.at("inputs").array();
  const auto& outputs = json.at("outputs").array();
  if (inputs.empty() || inputs.size() != outputs.size())
    json.refuse("expected as many outputs as inputs and at least one, got " + std::to_string(outputs.size()) + " and " +
                std::to_string(inputs.size()));
  return inputs.size();
}

template <class Real>
void parse_rows(const Json& json, const ModelSpec& spec, std::vector<Real>& inputs, std::vector<Real>& outputs) {
  for (const Json& input : json.at("inputs").array()) append_flat(input, spec.input_shape, 1, inputs);
  for (const Json& output : json.at("outputs").array()) append_flat(output, spec.output_shape, 1, outputs);
}

GoldenVectors parse_golden(const Json& json, const ModelSpec& spec) {
  GoldenVectors golden;
  golden.count = check_golden(json);
  parse_rows(json, spec, golden.inputs, golden.outputs);
  const Json& physical = json.at("physical");
  if (check_golden(physical) != golden.count) physical.refuse("expected as many rows as there are scaled ones");
  parse_rows(physical, spec, golden.physical_inputs, golden.physical_outputs);
  return golden;
}

std::array<double, 2> parse_target_range(const Json& json) {
  const auto range = json.numbers(2);
  if (!(range[1] > range[0])) json.refuse("expected [lowest, highest], got the highest not above the lowest");
  return {range[0], range[1]};
}

std::vector<ModelSpec> parse_manifest(const Json& root) {
  std::vector<ModelSpec> models;
  for (const auto& [name, json] : root.at("models").object()) {
    ModelSpec spec;
    spec.name = name;
    spec.file = parse_file_name(json.at("file"), json.at("file").string());
    spec.sha256 = parse_hash(json.at("sha256"));
    spec.role = parse_role(json.at("role"));
    spec.serves = json.at("serves").string();
    spec.input_shape = parse_shape(json.at("input_shape"));
    spec.output_shape = parse_shape(json.at("output_shape"));
    spec.golden = parse_golden(json.at("golden"), spec);
    if (const Json* range = json.at("trained_on").find("target_range")) spec.target_range = parse_target_range(*range);
    if (const Json* capacity = json.at("trained_on").find("capacity_mbps")) {
      spec.capacity_mbps = capacity->number();
      if (!(*spec.capacity_mbps > 0)) capacity->refuse("expected a number above 0");
    }
    models.push_back(std::move(spec));
  }
  if (models.empty()) root.at("models").refuse("expected at least one model, got none");
  return models;
}

void parse_features(const Json& models, ModelSpec& spec) {
  const Json& json = models.at(spec.name);
  if (const Json* window = json.find("window")) {
    spec.window = window->count(1);
    const Json& step = json.at("step_s");
    spec.step_s = step.number();
    if (!(spec.step_s > 0)) step.refuse("expected a number above 0, got " + step.describe());
  }
  const Json& features = json.at("features");
  std::set<std::string> names;
  for (const Json& feature : features.array()) {
    spec.features.push_back(parse_feature(feature));
    if (!names.insert(spec.features.back().name).second)
      feature.refuse("\"" + spec.features.back().name + "\" stands twice");
  }
  spec.bounds = bounds_of(spec.features);
  if (spec.role == Role::allocator) {
    spec.actions = json.at("actions").count(1);
    if (spec.actions != row_size(spec.output_shape))
      json.at("actions").refuse("expected the model's " + std::to_string(row_size(spec.output_shape)) +
                                " outputs, got " + json.at("actions").describe());
  } else {
    spec.target = parse_feature(json.at("target"));
  }
  std::vector<int> expected{spec.input_shape[0]};
  if (spec.window > 0) expected.push_back(static_cast<int>(spec.window));
  expected.push_back(static_cast<int>(spec.features.size()));
  if (expected != spec.input_shape)
    features.refuse("the window and " + std::to_string(spec.features.size()) +
                    " features do not make the input shape that manifest.json gives for " + spec.name);
}

double parse_positive(const Json& json) {
  if (!(json.number() > 0)) json.refuse("expected a number above 0, got " + json.describe());
  return json.number();
}

double parse_share(const Json& json) {
  const double share = parse_positive(json);
  if (share > 1) json.refuse("expected a number of at most 1, got " + json.describe());
  return share;
}

/// What only an allocator has, once its features are known. @param json  its entry of manifest.json
void parse_allocator(const Json& json, ModelSpec& spec) {
  const Json& trained_on = json.at("trained_on");
  const double capacity = trained_on.at("capacity_mbps").number();
  std::size_t bandwidths = 0;
  for (std::size_t f = 0; f < spec.features.size(); ++f) {
    bandwidths += spec.features[f].unit == "Mbit/s";
    spec.bounds[f] = on_link(spec.bounds[f], spec.features[f], capacity);
  }
  if (bandwidths != 1)
    json.refuse("expected one feature in Mbit/s in feature_list.json: what the link carries; got " +
                std::to_string(bandwidths));
  constexpr double kLargest = std::numeric_limits<double>::max();
  spec.state_range.assign(spec.features.size(), {-kLargest, kLargest, 0});
  const Json* certificate = json.find("certificate");
  if (!certificate) return;
  const Json& of = certificate->at("model_sha256");
  if (of.string() != spec.sha256) of.refuse("expected the model's sha256, " + spec.sha256 + ", got another file's");
  for (std::size_t f = 0; f < spec.features.size(); ++f) {
    const Json& range = certificate->at("state_range").at(spec.features[f].name);
    const auto ends = range.numbers(2);
    if (!(ends[1] >= ends[0])) range.refuse("expected [lowest, highest], got the highest below the lowest");
    spec.state_range[f] = {ends[0], ends[1], 0};
  }
}

/// The word of relative_to. @param allowed  the one that may stand there; Reference::none: none may
Reference parse_reference(const Json& json, Reference allowed, const char* instead) {
  if (allowed == Reference::none || json.string() != reference_name(allowed))
    json.refuse("expected " + std::string(instead) + ", got " + json.describe());
  return allowed;
}

/// {"min": a, "max": b, "log_offset": c, "relative_to": "...", "share": d, "bound": e}, the last four optional; share
/// stands beside relative_to "first" only. @param allowed, instead  as above
Range parse_range(const Json& json, Reference allowed, const char* instead) {
  Range range;
  const double least = json.at("min").number();
  const double most = json.at("max").number();
  if (!(most > least))
    json.refuse("expected max above min (a zero scale can't be inverted), got min " + json.at("min").describe() +
                " and max " + json.at("max").describe());
  range.offset = least;
  range.scale = 1.0 / (most - least);
  if (!std::isfinite(range.scale)) json.refuse("expected max so far above min that 1 / (max - min) is finite");
  for (const auto& [key, value] : json.object()) {
    if (key == "log_offset")
      range.log_offset = parse_positive(value);
    else if (key == "relative_to")
      range.relative_to = parse_reference(value, allowed, instead);
    else if (key == "share" && allowed == Reference::first && json.find("relative_to"))
      range.share = parse_share(value);
    else if (key == "share")
      value.refuse("expected it beside relative_to \"first\" only");
    else if (key == "bound")
      range.bound = parse_positive(value);
    else if (key != "min" && key != "max")
      value.refuse("expected min, max, log_offset, relative_to, share or bound");
  }
  return range;
}

void parse_scalers(const Json& models, ModelSpec& spec) {
  const Json& json = models.at(spec.name);
  const Json& features = json.at("features");
  const bool windows = spec.window > 0;
  const char* word = windows ? "\"first\"" : "no such key in a model without a window";
  std::vector<Range> ranges;
  for (const Feature& feature : spec.features)
    ranges.push_back(parse_range(features.at(feature.name), windows ? Reference::first : Reference::none, word));
  if (features.object().size() != spec.features.size())
    features.refuse("expected the " + std::to_string(spec.features.size()) + " features of feature_list.json, got " +
                    std::to_string(features.object().size()));
  spec.scaler = Scaler(std::move(ranges));
  if (!spec.target) return;
  const auto column = std::find_if(spec.features.begin(), spec.features.end(),
                                   [&](const Feature& feature) { return feature.name == spec.target->name; });
  const bool among = spec.role == Role::forecaster && windows && column != spec.features.end();
  spec.has_target_column = among;
  if (among) spec.target_column = static_cast<std::size_t>(column - spec.features.begin());
  word = among ? "\"last\"" : "no such key: the target is not among the features of a window";
  spec.target_scaler = Scaler({parse_range(json.at("target"), among ? Reference::last : Reference::none, word)});
}

std::string parse_model_name(const Json& json, const std::vector<ModelSpec>& models, Role role) {
  const std::string& name = json.string();
  for (const ModelSpec& spec : models)
    if (spec.name == name && spec.role == role) return name;
  json.refuse("expected a " + std::string(role_name(role)) + " of manifest.json, got " + json.describe());
}

std::vector<ServiceGroup> parse_mappings(const Json& root, const std::vector<ModelSpec>& models) {
  std::vector<ServiceGroup> groups;
  for (const auto& [key, json] : root.at("groups").object()) {
    ServiceGroup group;
    group.key = key;
    group.name = json.at("name").string();
    group.group_id = json.at("group_id").count();
    group.default_service_id = json.at("default_service_id").count();
    for (const auto& [service, id] : json.at("services").object()) group.services[service] = id.count();
    if (std::none_of(group.services.begin(), group.services.end(),
                     [&](const auto& service) { return service.second == group.default_service_id; }))
      json.at("default_service_id")
          .refuse("expected the id of one of the services, got " + json.at("default_service_id").describe());
    group.model = parse_model_name(json.at("model"), models, Role::forecaster);
    group.fallback = parse_model_name(json.at("fallback"), models, Role::fallback);
    groups.push_back(std::move(group));
  }
  return groups;
}

void parse_stats(const Json& root, ServiceGroup& group) {
  const Json& json = root.at("groups").at(group.key);
  group.max_bandwidth_mbps = parse_positive(json.at("max_bandwidth_mbps"));
  json.at("mean_bandwidth_mbps").number();
  json.at("std_bandwidth_mbps").number();
  parse_positive(json.at("typical_usage_percentage"));
  for (const auto& [device, factors] : json.at("device_groups").object()) {
    parse_positive(factors.at("bandwidth_factor"));
    parse_positive(factors.at("latency_factor"));
  }
  if (const Json* profile = json.find("hour_of_week"))
    for (const char* feature : {"latency_ms", "bandwidth_mbps", "packet_loss", "reliability"})
      profile->at(feature).numbers(kHoursOfWeek);
}

}  // namespace

const char* role_name(Role role) noexcept {
  static constexpr const char* kNames[] = {"forecaster", "allocator", "fallback"};
  return name_of(kNames, role);
}

Metadata Metadata::load(const std::string& folder, const Signers& signers, MetadataTexts* texts) {
  const std::string path = folder + "/metadata/manifest.json";
  std::string text = read_file(path, kMostMetadataBytes);
  signers.check(path, text);
  const Json manifest = parse_root(text, path);
  const Files files(folder, manifest);
  Metadata metadata;
  metadata.models = parse_manifest(manifest);
  const Json features = files.parse("feature_list.json");
  const Json scalers = files.parse("scalers.json");
  for (ModelSpec& spec : metadata.models) {
    parse_features(features.at("models"), spec);
    if (spec.role == Role::allocator) parse_allocator(manifest.at("models").at(spec.name), spec);
    parse_scalers(scalers.at("models"), spec);
  }
  metadata.groups = parse_mappings(files.parse("service_mappings.json"), metadata.models);
  const Json stats = files.parse("service_group_stats.json");
  for (ServiceGroup& group : metadata.groups) parse_stats(stats, group);
  if (texts) {
    for (const char* name : {"feature_list.json", "scalers.json", "service_mappings.json", "service_group_stats.json"})
      texts->emplace(name, files.text(name));
    texts->emplace("manifest.json", std::move(text));
  }
  return metadata;
}

}  // namespace linkcast
