#include "recognise/model_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <set>

#include "base/error.h"

namespace linkcast::tflite {
namespace {

// Field numbers of the schema's tables.
namespace field {
constexpr int kModelCodes = 1, kModelGraphs = 2, kModelBuffers = 4, kModelMetadata = 6, kModelSignatures = 7;
constexpr int kModelVersion = 0;
constexpr int kCodeShort = 0, kCodeCustom = 1, kCodeVersion = 2, kCodeLong = 3;
constexpr int kGraphTensors = 0, kGraphInputs = 1, kGraphOutputs = 2, kGraphOperators = 3, kGraphName = 4;
constexpr int kTensorShape = 0, kTensorType = 1, kTensorBuffer = 2, kTensorName = 3, kTensorQuantization = 4,
              kTensorVariable = 5, kTensorSparsity = 6, kTensorSignature = 7, kTensorHasRank = 8, kTensorVariants = 9;
constexpr int kQuantScale = 2, kQuantZero = 3, kQuantDetails = 4, kQuantDimension = 6;
constexpr int kOpCode = 0, kOpInputs = 1, kOpOutputs = 2, kOpOptionsType = 3, kOpOptions = 4, kOpCustom = 5,
              kOpIntermediates = 8, kOpOptions2Type = 11;
constexpr int kBufferData = 0, kBufferOffset = 1, kBufferSize = 2;
constexpr int kMetadataName = 0, kMetadataBuffer = 1;
constexpr int kSignatureInputs = 0, kSignatureOutputs = 1, kSignatureKey = 2, kSignatureGraph = 4;
constexpr int kMapName = 0, kMapTensor = 1;
}  // namespace field

constexpr std::uint32_t kSchemaVersion = 3;
constexpr std::size_t kMostGraphs = 256;
constexpr std::size_t kMostTensors = 200'000;  // of all subgraphs
constexpr std::size_t kMostDimensions = 8;
constexpr std::size_t kMostNames = 64;                 // of a graph's inputs or outputs
constexpr std::size_t kLongestName = 255;              // a longer one is no name
constexpr std::uint64_t kMostConstantValues = 65'536;  // of one tensor, that are read as numbers

// A TensorList of unknown shape, most often: an LSTM or GRU that was converted with an open batch.
constexpr const char* kNeedsTensorFlow =
    "; this one needs all of TensorFlow: `linkcast convert MODEL.keras -o model.tflite` makes a file of batch 1 that "
    "does not";

struct Buffer {
  const std::uint8_t* data = nullptr;
  std::uint64_t size = 0;
};

struct OperatorCode {
  int code;
  int version;
  std::string custom;
};

class Reader {
 public:
  Reader(const FlatBytes& bytes, const Refusal& refusal) : bytes_(bytes), refusal_(refusal) {}

  std::vector<FileGraph> read() {
    if (bytes_.size() < 8 || std::memcmp(bytes_.at(4), "TFL3", 4) != 0)
      refusal_.invalid("the identifier TFL3 is missing");
    const FlatTable model(bytes_, bytes_.follow(0, "the model"), "the model");
    const auto version = model.get<std::uint32_t>(field::kModelVersion, 0);
    if (version != kSchemaVersion)
      refusal_.refuse("expected schema version " + std::to_string(kSchemaVersion) + ", got " + std::to_string(version));
    read_buffers(model);
    read_codes(model);
    const auto graphs = model.vector<std::uint32_t>(field::kModelGraphs, "the list of subgraphs");
    if (graphs.size() == 0) refusal_.invalid("it has no subgraph");
    if (graphs.size() > kMostGraphs)
      refusal_.refuse("expected at most " + std::to_string(kMostGraphs) + " subgraphs, got " +
                      std::to_string(graphs.size()));
    graphs_.resize(graphs.size());
    for (std::size_t g = 0; g < graphs.size(); ++g) {
      if (g > 0) graphs_[g].name = " of subgraph " + std::to_string(g);
      read_graph(model.entry(graphs, g, "a subgraph"), graphs_[g]);
    }
    read_metadata(model);
    read_signatures(model);
    return std::move(graphs_);
  }

 private:
  void read_buffers(const FlatTable& model) {
    const auto list = model.vector<std::uint32_t>(field::kModelBuffers, "the list of buffers");
    for (std::size_t b = 0; b < list.size(); ++b) {
      const auto table = model.entry(list, b, "a buffer");
      const auto inside = table.vector<std::uint8_t>(field::kBufferData, "a buffer's data");
      Buffer buffer{inside.data(), inside.size()};
      // Large files keep their buffers behind the FlatBuffer; an offset of 1 only reserves the field.
      const auto offset = table.get<std::uint64_t>(field::kBufferOffset, 0);
      const auto size = table.get<std::uint64_t>(field::kBufferSize, 0);
      if (offset > 1 || size > 1) {
        if (inside.present())
          refusal_.invalid("buffer " + std::to_string(b) + " has data inside and outside of the table");
        if (!bytes_.holds(offset, size))
          refusal_.invalid("buffer " + std::to_string(b) + ": expected bytes within " + std::to_string(bytes_.size()) +
                           ", got " + std::to_string(size) + " from " + std::to_string(offset) + " on");
        buffer = {bytes_.at(static_cast<std::size_t>(offset)), size};
      }
      buffers_.push_back(buffer);
    }
  }

  void read_codes(const FlatTable& model) {
    const auto list = model.vector<std::uint32_t>(field::kModelCodes, "the list of operator codes");
    for (std::size_t c = 0; c < list.size(); ++c) {
      const auto table = model.entry(list, c, "an operator code");
      const int code =
          std::max<int>(table.get<std::int8_t>(field::kCodeShort, 0), table.get<std::int32_t>(field::kCodeLong, 0));
      const std::string custom(table.text(field::kCodeCustom, "a custom operator's name"));
      codes_.push_back({code, table.get<std::int32_t>(field::kCodeVersion, 1), custom});
    }
  }

  void read_graph(const FlatTable& table, FileGraph& graph) {
    table.text(field::kGraphName, "a subgraph's name");
    const auto tensors = table.vector<std::uint32_t>(field::kGraphTensors, "the list of tensors");
    tensors_seen_ += tensors.size();
    if (tensors_seen_ > kMostTensors)
      refusal_.refuse("expected at most " + std::to_string(kMostTensors) + " tensors, got " +
                      std::to_string(tensors_seen_));
    graph.tensors.resize(tensors.size());
    for (std::size_t t = 0; t < tensors.size(); ++t)
      read_tensor(table.entry(tensors, t, "a tensor"), graph.tensors[t], "tensor " + std::to_string(t) + graph.name);
    graph.inputs = indices(table.vector<std::int32_t>(field::kGraphInputs, "a list of inputs"), graph, 0,
                           "the inputs" + graph.name);
    graph.outputs = indices(table.vector<std::int32_t>(field::kGraphOutputs, "a list of outputs"), graph, 0,
                            "the outputs" + graph.name);
    const auto operators = table.vector<std::uint32_t>(field::kGraphOperators, "the list of operators");
    tensors_seen_ += operators.size();
    if (tensors_seen_ > kMostTensors)
      refusal_.refuse("expected at most " + std::to_string(kMostTensors) + " operators");
    for (std::size_t n = 0; n < operators.size(); ++n)
      read_operator(table.entry(operators, n, "an operator"), n, graph);
  }

  std::vector<int> indices(const FlatVector<std::int32_t>& list, const FileGraph& graph, int lowest,
                           const std::string& where) const {
    std::vector<int> result;
    for (std::size_t n = 0; n < list.size(); ++n) {
      const int index = list[n];
      if (index < lowest || index >= static_cast<int>(graph.tensors.size()))
        refusal_.invalid(where + ": expected tensors from " + std::to_string(lowest) + " to " +
                         std::to_string(static_cast<int>(graph.tensors.size()) - 1) + ", got tensor " +
                         std::to_string(index));
      result.push_back(index);
    }
    return result;
  }

  void read_tensor(const FlatTable& table, FileTensor& tensor, const std::string& which) {
    auto& facts = tensor.facts;
    facts.type = table.get<std::int8_t>(field::kTensorType, 0);
    tensor.name = table.text(field::kTensorName, "a tensor's name");
    tensor.variable = table.get<std::uint8_t>(field::kTensorVariable, 0) != 0;
    if (bits_of(facts.type) == 0)
      refusal_.refuse(which + ": " + element_type_name(facts.type) + " is a type that is not taken" +
                      (facts.type == kTypeVariant ? kNeedsTensorFlow : ""));
    if (table.has(field::kTensorSparsity)) refusal_.refuse(which + ": sparse tensors are not taken");
    if (table.has(field::kTensorVariants)) refusal_.refuse(which + ": variant tensors are not taken");
    read_shape(table, tensor, which);
    if (table.has(field::kTensorQuantization))
      read_quantization(table.table(field::kTensorQuantization, "a quantisation"), facts, which);

    const auto index = table.get<std::uint32_t>(field::kTensorBuffer, 0);
    if (index >= buffers_.size())
      refusal_.invalid(which + ": expected one of " + std::to_string(buffers_.size()) + " buffers, got buffer " +
                       std::to_string(index));
    const Buffer& buffer = buffers_[index];
    const std::uint64_t bytes = bytes_of(facts.type, facts.shape);
    if (buffer.size == 0) {
      facts.constant = bytes == 0 && !tensor.variable;  // a list without entries
      return;
    }
    if (index == 0) refusal_.invalid("buffer 0 holds data, which is kept for tensors without any");
    if (tensor.variable) refusal_.invalid(which + ": a variable tensor can't have data in the file");
    if (buffer.size != bytes)
      refusal_.invalid(which + ": expected " + std::to_string(bytes) + " bytes for " + element_type_name(facts.type) +
                       " " + shape_text(facts.shape) + ", got a buffer of " + std::to_string(buffer.size));
    facts.constant = true;
    read_values(buffer, facts);
  }

  void read_shape(const FlatTable& table, FileTensor& tensor, const std::string& which) {
    auto& facts = tensor.facts;
    const auto dims = table.vector<std::int32_t>(field::kTensorShape, "a shape");
    if (dims.size() > kMostDimensions)
      refusal_.refuse(which + ": expected at most 8 dimensions, got " + std::to_string(dims.size()));
    for (std::size_t d = 0; d < dims.size(); ++d) {
      if (dims[d] < 0) refusal_.invalid(which + ": expected dimensions of at least 0, got " + std::to_string(dims[d]));
      facts.shape.push_back(dims[d]);
    }
    const auto signature = table.vector<std::int32_t>(field::kTensorSignature, "a shape");
    for (std::size_t d = 0; d < signature.size() && d < kMostDimensions; ++d) tensor.signature.push_back(signature[d]);
    if (signature.size() != 0 && signature.size() != dims.size())
      refusal_.invalid(which + ": has a shape and a shape signature of different lengths");
    for (std::size_t d = 0; d < signature.size(); ++d)
      if (signature[d] != -1 && signature[d] != dims[d])
        refusal_.invalid(which + ": expected the shape of its signature, " + shape_text(tensor.signature) + ", got " +
                         shape_text(facts.shape));
    tensor.ranked = dims.size() > 0 || table.get<std::uint8_t>(field::kTensorHasRank, 0) != 0;
    refusal_.check_bytes(bytes_of(facts.type, facts.shape), which + " " + shape_text(facts.shape));
  }

  void read_quantization(const FlatTable& table, TensorFacts& facts, const std::string& which) {
    const auto kind = table.get<std::uint8_t>(field::kQuantDetails, 0);
    if (kind != 0)
      refusal_.refuse(which + ": " +
                      (kind == 1   ? "custom quantisation"
                       : kind == 2 ? "blockwise quantisation"
                                   : "a quantisation of kind " + std::to_string(kind)) +
                      " is not known to TensorFlow Lite 2.17.1, which would compute something else");
    const auto scales = table.vector<float>(field::kQuantScale, "a list of scales");
    const auto zero_points = table.vector<std::int64_t>(field::kQuantZero, "a list of zero points");
    facts.quantized_dimension = table.get<std::int32_t>(field::kQuantDimension, 0);
    facts.scales = scales.size();
    if (scales.size() == 0) return;
    const int d = facts.quantized_dimension;
    if (d < 0 || d >= static_cast<int>(std::max<std::size_t>(facts.shape.size(), 1)))
      refusal_.invalid(which + ": is quantised along dimension " + std::to_string(d) + " of " +
                       std::to_string(facts.shape.size()));
    if (scales.size() != 1 &&
        (facts.shape.empty() || static_cast<std::int64_t>(scales.size()) != facts.shape[static_cast<std::size_t>(d)]))
      refusal_.invalid(which + ": expected one scale, or one for each slice of dimension " + std::to_string(d) +
                       " of " + shape_text(facts.shape) + ", got " + std::to_string(scales.size()));
    if (zero_points.size() != scales.size() && zero_points.size() != 1)
      refusal_.invalid(which + ": expected as many zero points as scales, " + std::to_string(scales.size()) + ", got " +
                       std::to_string(zero_points.size()));
    const int bits = bits_of(facts.type);
    const bool is_unsigned = facts.type == kTypeUint8;
    const std::int64_t lowest = is_unsigned ? 0 : -(std::int64_t{1} << (std::min(bits, 32) - 1));
    const std::int64_t highest = is_unsigned ? 255 : (std::int64_t{1} << (std::min(bits, 32) - 1)) - 1;
    for (std::size_t n = 0; n < scales.size(); ++n) {
      if (!(scales[n] >= 0.0f) || scales[n] > 1e10f || (scales[n] > 0.0f && scales[n] < 1e-20f))
        refusal_.invalid(which + ": expected scales from 1e-20 to 1e10, got " + std::to_string(scales[n]));
      const std::int64_t zero = zero_points[zero_points.size() == 1 ? 0 : n];
      if (zero < lowest || zero > highest)
        refusal_.invalid(which + ": expected zero points from " + std::to_string(lowest) + " to " +
                         std::to_string(highest) + ", got " + std::to_string(zero));
      facts.centred = facts.centred && zero == 0;
    }
    facts.scale = scales[0];
  }

  static void read_values(const Buffer& buffer, TensorFacts& facts) {
    const std::uint64_t count = elements_of(facts.shape);
    if (facts.type == kTypeFloat32 || facts.type == kTypeFloat16) return read_magnitude(buffer, facts);
    const bool wide = facts.type == kTypeInt64;
    if ((facts.type != kTypeInt32 && !wide && facts.type != kTypeBool) || count > kMostConstantValues) return;
    std::vector<std::int64_t> values(static_cast<std::size_t>(count));
    for (std::size_t n = 0; n < values.size(); ++n) {
      if (wide) {
        std::memcpy(&values[n], buffer.data + n * 8, 8);
      } else if (facts.type == kTypeBool) {
        values[n] = buffer.data[n] != 0;
      } else {
        std::int32_t value = 0;
        std::memcpy(&value, buffer.data + n * 4, 4);
        values[n] = value;
      }
    }
    facts.values = std::make_shared<const std::vector<std::int64_t>>(std::move(values));
  }

  static void read_magnitude(const Buffer& buffer, TensorFacts& facts) {
    const auto fractions = facts.type == kTypeFloat16 ? 10 : 23;
    for (std::uint64_t at = 0; at < buffer.size; at += facts.type == kTypeFloat16 ? 2 : 4) {
      float value = 0.0f;
      if (fractions == 23) {
        std::memcpy(&value, buffer.data + at, 4);
      } else {
        // Of float16 only the exponent of all ones matters: the others stand for at most 65504.
        std::uint16_t half = 0;
        std::memcpy(&half, buffer.data + at, 2);
        if ((half & 0x7C00U) != 0x7C00U) continue;
        value =
            (half & 0x03FFU) != 0 ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
      }
      if (std::isnan(value)) facts.nan = true;
      facts.largest = std::max(facts.largest, std::fabs(value));
    }
  }

  void read_operator(const FlatTable& table, std::size_t node, FileGraph& graph) {
    FileOperator op;
    const auto index = table.get<std::uint32_t>(field::kOpCode, 0);
    const std::string at = "(node " + std::to_string(node) + graph.name + ")";
    if (index >= codes_.size())
      refusal_.invalid("operator " + at + ": expected one of " + std::to_string(codes_.size()) +
                       " operator codes, got " + std::to_string(index));
    const auto& code = codes_[index];
    op.code = code.code;
    op.rule = operator_rule(code.code);
    op.label = operator_name(code.code, code.custom.c_str()) + " " + at;
    if (code.code == kCustom)
      refusal_.refuse(op.label + ": custom operators are not taken" +
                      (code.custom.starts_with("Flex") ? kNeedsTensorFlow : ""));
    if (!op.rule || op.rule->versions == 0)
      refusal_.refuse(op.label + ": is not among the operators that can be verified; see the table in operators.cpp");
    if (code.version < 1 || code.version > op.rule->versions)
      refusal_.refuse(op.label + ": expected version 1 to " + std::to_string(op.rule->versions) +
                      ", which TensorFlow Lite 2.17.1 knows, got version " + std::to_string(code.version));
    op.inputs = indices(table.vector<std::int32_t>(field::kOpInputs, "a list of inputs"), graph, -1, op.label);
    op.outputs = indices(table.vector<std::int32_t>(field::kOpOutputs, "a list of outputs"), graph, 0, op.label);
    // A list without entries is no constant where an operator writes it: a legacy GRU takes its weights apart into two gates
    // and what is left, and a TensorList that was lowered is cut in front of and behind its entry, which may be all of it.
    for (const int t : op.outputs) {
      auto& facts = graph.tensors[static_cast<std::size_t>(t)].facts;
      if ((op.code == kSplitLengths || op.code == kSlice) && bytes_of(facts.type, facts.shape) == 0)
        facts.constant = false;
    }
    op.intermediates =
        indices(table.vector<std::int32_t>(field::kOpIntermediates, "a list of tensors"), graph, 0, op.label);
    if (table.get<std::uint8_t>(field::kOpOptions2Type, 0) != 0)
      refusal_.invalid(op.label + ": has options of another operator");
    const auto kind = table.get<std::uint8_t>(field::kOpOptionsType, 0);
    if ((kind != 0) != table.has(field::kOpOptions))
      refusal_.invalid(op.label + ": has options without a type, or a type without options");
    if (kind != 0) op.options = table.table(field::kOpOptions, "an operator's options");
    if (op.rule->options != 0 && kind != op.rule->options && (kind != 0 || op.rule->options_needed))
      refusal_.invalid(op.label + ": expected options of kind " + std::to_string(op.rule->options) + ", got " +
                       (kind == 0 ? "none" : "kind " + std::to_string(kind)));
    if (op.rule->options == 0) op.options.reset();
    graph.operators.push_back(std::move(op));
  }

  void read_metadata(const FlatTable& model) const {
    const auto list = model.vector<std::uint32_t>(field::kModelMetadata, "the list of metadata");
    for (std::size_t n = 0; n < list.size(); ++n) {
      const auto entry = model.entry(list, n, "a metadata entry");
      const std::string which = "metadata entry " + std::to_string(n);
      if (!entry.has(field::kMetadataName)) refusal_.invalid(which + " has no name");
      // The runtime takes the indices of operators that stand there as they are.
      if (entry.text(field::kMetadataName, "a metadata entry's name") == "model_control_dependencies")
        refusal_.refuse(which + ": control dependencies between operators are not taken");
      const auto buffer = entry.get<std::uint32_t>(field::kMetadataBuffer, 0);
      if (buffer >= buffers_.size() || !buffers_[buffer].data)
        refusal_.invalid(which + " names buffer " + std::to_string(buffer) + ", which holds nothing");
    }
  }

  void read_signatures(const FlatTable& model) {
    const auto list = model.vector<std::uint32_t>(field::kModelSignatures, "the list of signatures");
    std::map<std::uint32_t, std::size_t> first;  // signature of each graph
    for (std::size_t n = 0; n < list.size(); ++n) {
      const auto entry = model.entry(list, n, "a signature");
      const std::string which = "signature " + std::to_string(n);
      if (!entry.has(field::kSignatureKey)) refusal_.invalid(which + " has no key");
      entry.text(field::kSignatureKey, "a signature's key");
      const auto graph = entry.get<std::uint32_t>(field::kSignatureGraph, 0);
      if (graph >= graphs_.size())
        refusal_.invalid(which + " names subgraph " + std::to_string(graph) + ", which does not exist");
      first.try_emplace(graph, n);
      for (const int side : {field::kSignatureInputs, field::kSignatureOutputs}) {
        const auto maps = entry.vector<std::uint32_t>(side, "a signature's tensors");
        for (std::size_t m = 0; m < maps.size(); ++m) {
          const auto map = entry.entry(maps, m, "a signature's tensor");
          if (!map.has(field::kMapName)) refusal_.invalid(which + " has a tensor without a name");
          const auto name = map.text(field::kMapName, "a name");
          const auto tensor = map.get<std::uint32_t>(field::kMapTensor, 0);
          if (tensor >= graphs_[graph].tensors.size())
            refusal_.invalid(which + " names tensor " + std::to_string(tensor) + ", which does not exist");
          if (first[graph] == n && maps.size() <= kMostNames)
            (side == field::kSignatureInputs ? graphs_[graph].named_inputs : graphs_[graph].named_outputs)
                .emplace_back(name, static_cast<int>(tensor));
        }
      }
    }
  }

  const FlatBytes& bytes_;
  const Refusal& refusal_;
  std::vector<Buffer> buffers_;
  std::vector<OperatorCode> codes_;
  std::vector<FileGraph> graphs_;
  std::size_t tensors_seen_ = 0;
};

}  // namespace

void Refusal::invalid(const std::string& what) const {
  throw LoadError(path_ + ": not a valid .tflite model: " + what);
}

void Refusal::refuse(const std::string& what) const { throw LoadError(path_ + ": " + what); }

void Refusal::check_bytes(std::uint64_t bytes, const std::string& which) const {
  if (bytes > tensor_bytes_)
    refuse(which + " takes " + megabytes(bytes) + ", over the limit of " + megabytes(tensor_bytes_) +
           " for a model's tensors");
}

std::string megabytes(std::uint64_t bytes) {
  if (bytes >= std::uint64_t{1} << 62) return "more than 2^62 bytes";
  if (bytes < std::uint64_t{1} << 20) return std::to_string(bytes) + " bytes";
  return std::to_string(bytes >> 20) + " MB";
}

std::vector<std::string> edge_names(const FileGraph& graph, const std::vector<int>& edge,
                                    const std::vector<std::pair<std::string_view, int>>& named,
                                    const std::string& otherwise) {
  if (edge.size() > kMostNames) return {};
  // A tensor may be listed twice, and have a name for each time.
  std::vector<bool> taken(named.size(), false);
  const auto name_of = [&](int tensor) -> std::string_view {
    for (std::size_t n = 0; n < named.size(); ++n)
      if (!taken[n] && named[n].second == tensor) {
        taken[n] = true;
        return named[n].first;
      }
    return {};
  };
  std::vector<std::string_view> by_signature, by_tensor;
  for (const int tensor : edge) {
    by_signature.push_back(name_of(tensor));
    by_tensor.push_back(graph.tensors[static_cast<std::size_t>(tensor)].name);
  }
  for (const auto& names : {by_signature, by_tensor}) {
    const bool printable = std::all_of(names.begin(), names.end(), [](std::string_view name) {
      return !name.empty() && name.size() <= kLongestName &&
             std::all_of(name.begin(), name.end(), [](char c) { return c >= ' ' && c <= '~'; });
    });
    if (printable && std::set<std::string_view>(names.begin(), names.end()).size() == names.size())
      return {names.begin(), names.end()};
  }
  std::vector<std::string> numbered;
  for (std::size_t n = 0; n < edge.size(); ++n) numbered.push_back(otherwise + "_" + std::to_string(n));
  return numbered;
}

std::vector<FileGraph> read_graphs(const FlatBytes& bytes, const Refusal& refusal) {
  return Reader(bytes, refusal).read();
}

}  // namespace linkcast::tflite
