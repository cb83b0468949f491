#include "tflite/verifier.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "base/error.h"
#include "tflite/flatbuffer.h"
#include "tflite/graph.h"
#include "tflite/layout.h"
#include "tflite/operators.h"

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
constexpr std::uint64_t kMostConstantValues = 65'536;  // of one tensor, that are read as numbers
constexpr std::uint64_t kMostSteps = 2'000'000;        // tensors and operators that are laid out, loops unrolled
constexpr std::uint64_t kMostTurns = 65'536;           // of one loop
constexpr std::size_t kDeepestCall = 4;
constexpr float kLargestWeight = 1e15F;  // two of them, multiplied, are far from the largest float32

struct Buffer {
  const std::uint8_t* data = nullptr;
  std::uint64_t size = 0;
};

struct FileTensor {
  TensorFacts facts;
  Shape signature;  // -1 where the dimension is open; empty when all are as declared
  bool variable = false;
  bool ranked = true;
};

struct FileOperator {
  int code = 0;
  const OperatorRule* rule = nullptr;
  std::string label;  // "ADD (node 3)"
  std::vector<int> inputs, outputs, intermediates;
  std::optional<FlatTable> options;
};

struct FileGraph {
  std::vector<FileTensor> tensors;
  std::vector<FileOperator> operators;
  std::vector<int> inputs, outputs;
  std::string name;  // "" for the primary graph, else " of subgraph 2"
  bool called = false;
};

std::string megabytes(std::uint64_t bytes) {
  if (bytes >= std::uint64_t{1} << 62) return "more than 2^62 bytes";
  if (bytes < std::uint64_t{1} << 20) return std::to_string(bytes) + " bytes";
  return std::to_string(bytes >> 20) + " MB";
}

// ---- types --------------------------------------------------------------------------------------------------------

int type_of_letter(char letter) {
  switch (letter) {
    case 'f':
      return kTypeFloat32;
    case 'h':
      return kTypeFloat16;
    case 'i':
      return kTypeInt32;
    case 'l':
      return kTypeInt64;
    case 'b':
      return kTypeBool;
    case 'u':
      return kTypeUint8;
    case 'c':
      return kTypeInt8;
    case 's':
      return kTypeInt16;
    case 'n':
      return kTypeInt4;
    default:
      return -1;
  }
}

/// Matches an operator's tensors with one alternative of the table's types.
class TypeMatch {
 public:
  explicit TypeMatch(std::string_view alternative, std::string_view sets) : pattern_(alternative), sets_(sets) {}

  /// Returns "" when they match, else what does not; `progress` tells how far it got.
  std::string run(const std::vector<const FileTensor*>& inputs, const std::vector<const FileTensor*>& outputs) {
    const auto arrow = pattern_.find('>');
    std::string problem = side(pattern_.substr(0, arrow), inputs, "input");
    writes_ = true;
    if (problem.empty()) problem = side(pattern_.substr(arrow + 1), outputs, "output");
    return problem;
  }
  int progress() const noexcept { return progress_; }

 private:
  std::string side(std::string_view letters, const std::vector<const FileTensor*>& tensors, const char* what) {
    std::size_t at = 0;
    std::size_t n = 0;
    const auto name = [&] { return std::string(what) + " " + std::to_string(n); };
    while (at < letters.size()) {
      const char letter = letters[at++];
      char mark = ' ';
      if (at < letters.size() && (letters[at] == '?' || letters[at] == '*' || letters[at] == '!')) mark = letters[at++];
      if (mark == '*') {
        if (n >= tensors.size()) return std::string("expected at least one ") + what + ", got none";
        for (; n < tensors.size(); ++n) {
          if (!tensors[n]) return name() + " is absent, which the operator needs";
          if (auto problem = one(letter, mark, *tensors[n]); !problem.empty()) return name() + problem;
        }
        continue;
      }
      const bool absent = n >= tensors.size() || !tensors[n];
      if (absent && letter != '_' && mark != '?') return name() + " is absent, which the operator needs";
      if (!absent && letter == '_') return name() + " is one that the operator does not take here";
      if (!absent)
        if (auto problem = one(letter, mark, *tensors[n]); !problem.empty()) return name() + problem;
      ++n;
    }
    if (n < tensors.size())
      return "expected at most " + std::to_string(n) + " " + what + "s, got " + std::to_string(tensors.size());
    return "";
  }

  std::string one(char letter, char mark, const FileTensor& tensor) {
    const int got = tensor.facts.type;
    if (letter != '.') {
      if (letter >= 'A' && letter <= 'Z') {
        int& bound = bound_[static_cast<std::size_t>(letter - 'A')];
        if (bound < 0) {
          const auto letters = set_of(letter);
          if (std::none_of(letters.begin(), letters.end(), [got](char c) { return type_of_letter(c) == got; }))
            return ": " + element_type_name(got) + " is no type that the operator takes here";
          bound = got;
        } else if (bound != got) {
          return ": expected " + element_type_name(bound) + " as before, got " + element_type_name(got);
        }
      } else if (type_of_letter(letter) != got) {
        return ": expected " + element_type_name(type_of_letter(letter)) + ", got " + element_type_name(got);
      }
    }
    if (!writes_ && tensor.variable != (mark == '!'))
      return mark == '!' ? ": expected a variable tensor, which keeps the operator's state"
                         : " is a variable, which only a recurrent operator may read, as its state";
    ++progress_;
    return "";
  }

  std::string_view set_of(char letter) const {
    const auto at = sets_.find(std::string{letter, '='});
    if (at == std::string_view::npos) return {};
    const auto end = sets_.find(' ', at);
    return sets_.substr(at + 2, end == std::string_view::npos ? end : end - at - 2);
  }

  std::string_view pattern_;
  std::string_view sets_;
  int bound_[26] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                    -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
  int progress_ = 0;
  bool writes_ = false;  // at the outputs
};

/// "" or what is wrong, from the alternative that came furthest.
std::string mismatch(const OperatorRule& rule, const std::vector<const FileTensor*>& inputs,
                     const std::vector<const FileTensor*>& outputs) {
  std::string_view types = rule.types;
  std::string_view sets;
  if (const auto space = types.find(' '); space != std::string_view::npos) {
    sets = types.substr(space);
    types = types.substr(0, space);
  }
  std::string best;
  int furthest = -1;
  while (true) {
    const auto bar = types.find('|');
    TypeMatch match(types.substr(0, bar), sets);
    std::string problem = match.run(inputs, outputs);
    if (problem.empty()) return "";
    if (match.progress() > furthest) {
      furthest = match.progress();
      best = std::move(problem);
    }
    if (bar == std::string_view::npos) return best;
    types = types.substr(bar + 1);
  }
}

// ---- the file -----------------------------------------------------------------------------------------------------

class Verifier {
 public:
  Verifier(const std::string& path, const void* bytes, std::size_t size, const VerifierLimits& limits)
      : path_(path), bytes_(bytes, size), limits_(limits) {}

  bool as_declared() const noexcept { return as_declared_; }

  void run() {
    try {
      read();
    } catch (const Damaged& damage) {
      invalid(damage.what());
    }
    for (auto& graph : graphs_) check_order(graph);
    check_calls();
    // The primary graph first, then those that no operator calls: other signatures of the same file.
    for (std::size_t g = 0; g < graphs_.size(); ++g)
      if (!graphs_[g].called) {
        std::vector<TensorFacts> inputs;
        for (const int t : graphs_[g].inputs) inputs.push_back(tensor(graphs_[g], t).facts);
        work_ = 0;
        lay_out(static_cast<int>(g), inputs);
      }
  }

 private:
  [[noreturn]] void invalid(const std::string& what) const {
    throw LoadError(path_ + ": not a valid .tflite model: " + what);
  }
  [[noreturn]] void refuse(const std::string& what) const { throw LoadError(path_ + ": " + what); }

  static FileTensor& tensor(FileGraph& graph, int index) { return graph.tensors[static_cast<std::size_t>(index)]; }
  static const FileTensor& tensor(const FileGraph& graph, int index) {
    return graph.tensors[static_cast<std::size_t>(index)];
  }

  void read() {
    if (bytes_.size() < 8 || std::memcmp(bytes_.at(4), "TFL3", 4) != 0) invalid("the identifier TFL3 is missing");
    const FlatTable model(bytes_, bytes_.follow(0, "the model"), "the model");
    const auto version = model.get<std::uint32_t>(field::kModelVersion, 0);
    if (version != kSchemaVersion)
      refuse("expected schema version " + std::to_string(kSchemaVersion) + ", got " + std::to_string(version));
    read_buffers(model);
    read_codes(model);
    const auto graphs = model.vector<std::uint32_t>(field::kModelGraphs, "the list of subgraphs");
    if (graphs.size() == 0) invalid("it has no subgraph");
    if (graphs.size() > kMostGraphs)
      refuse("expected at most " + std::to_string(kMostGraphs) + " subgraphs, got " + std::to_string(graphs.size()));
    graphs_.resize(graphs.size());
    for (std::size_t g = 0; g < graphs.size(); ++g) {
      if (g > 0) graphs_[g].name = " of subgraph " + std::to_string(g);
      read_graph(model.entry(graphs, g, "a subgraph"), graphs_[g]);
    }
    read_metadata(model);
    read_signatures(model);
  }

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
        if (inside.present()) invalid("buffer " + std::to_string(b) + " has data inside and outside of the table");
        if (!bytes_.holds(offset, size))
          invalid("buffer " + std::to_string(b) + ": expected bytes within " + std::to_string(bytes_.size()) +
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
      refuse("expected at most " + std::to_string(kMostTensors) + " tensors, got " + std::to_string(tensors_seen_));
    graph.tensors.resize(tensors.size());
    for (std::size_t t = 0; t < tensors.size(); ++t)
      read_tensor(table.entry(tensors, t, "a tensor"), graph.tensors[t], "tensor " + std::to_string(t) + graph.name);
    graph.inputs = indices(table.vector<std::int32_t>(field::kGraphInputs, "a list of inputs"), graph, 0,
                           "the inputs" + graph.name);
    graph.outputs = indices(table.vector<std::int32_t>(field::kGraphOutputs, "a list of outputs"), graph, 0,
                            "the outputs" + graph.name);
    const auto operators = table.vector<std::uint32_t>(field::kGraphOperators, "the list of operators");
    tensors_seen_ += operators.size();
    if (tensors_seen_ > kMostTensors) refuse("expected at most " + std::to_string(kMostTensors) + " operators");
    for (std::size_t n = 0; n < operators.size(); ++n)
      read_operator(table.entry(operators, n, "an operator"), n, graph);
  }

  std::vector<int> indices(const FlatVector<std::int32_t>& list, const FileGraph& graph, int lowest,
                           const std::string& where) const {
    std::vector<int> result;
    for (std::size_t n = 0; n < list.size(); ++n) {
      const int index = list[n];
      if (index < lowest || index >= static_cast<int>(graph.tensors.size()))
        invalid(where + ": expected tensors from " + std::to_string(lowest) + " to " +
                std::to_string(static_cast<int>(graph.tensors.size()) - 1) + ", got tensor " + std::to_string(index));
      result.push_back(index);
    }
    return result;
  }

  void read_tensor(const FlatTable& table, FileTensor& tensor, const std::string& which) {
    auto& facts = tensor.facts;
    facts.type = table.get<std::int8_t>(field::kTensorType, 0);
    table.text(field::kTensorName, "a tensor's name");
    tensor.variable = table.get<std::uint8_t>(field::kTensorVariable, 0) != 0;
    if (bits_of(facts.type) == 0) refuse(which + ": " + element_type_name(facts.type) + " is a type that is not taken");
    if (table.has(field::kTensorSparsity)) refuse(which + ": sparse tensors are not taken");
    if (table.has(field::kTensorVariants)) refuse(which + ": variant tensors are not taken");
    read_shape(table, tensor, which);
    if (table.has(field::kTensorQuantization))
      read_quantization(table.table(field::kTensorQuantization, "a quantisation"), facts, which);

    const auto index = table.get<std::uint32_t>(field::kTensorBuffer, 0);
    if (index >= buffers_.size())
      invalid(which + ": expected one of " + std::to_string(buffers_.size()) + " buffers, got buffer " +
              std::to_string(index));
    const Buffer& buffer = buffers_[index];
    const std::uint64_t bytes = bytes_of(facts.type, facts.shape);
    if (buffer.size == 0) {
      facts.constant = bytes == 0 && !tensor.variable;  // a list without entries
      return;
    }
    if (index == 0) invalid("buffer 0 holds data, which is kept for tensors without any");
    if (tensor.variable) invalid(which + ": a variable tensor can't have data in the file");
    if (buffer.size != bytes)
      invalid(which + ": expected " + std::to_string(bytes) + " bytes for " + element_type_name(facts.type) + " " +
              shape_text(facts.shape) + ", got a buffer of " + std::to_string(buffer.size));
    facts.constant = true;
    read_values(buffer, facts);
  }

  void read_shape(const FlatTable& table, FileTensor& tensor, const std::string& which) {
    auto& facts = tensor.facts;
    const auto dims = table.vector<std::int32_t>(field::kTensorShape, "a shape");
    if (dims.size() > kMostDimensions)
      refuse(which + ": expected at most 8 dimensions, got " + std::to_string(dims.size()));
    for (std::size_t d = 0; d < dims.size(); ++d) {
      if (dims[d] < 0) invalid(which + ": expected dimensions of at least 0, got " + std::to_string(dims[d]));
      facts.shape.push_back(dims[d]);
    }
    const auto signature = table.vector<std::int32_t>(field::kTensorSignature, "a shape");
    for (std::size_t d = 0; d < signature.size() && d < kMostDimensions; ++d) tensor.signature.push_back(signature[d]);
    if (signature.size() != 0 && signature.size() != dims.size())
      invalid(which + ": has a shape and a shape signature of different lengths");
    for (std::size_t d = 0; d < signature.size(); ++d)
      if (signature[d] != -1 && signature[d] != dims[d])
        invalid(which + ": expected the shape of its signature, " + shape_text(tensor.signature) + ", got " +
                shape_text(facts.shape));
    tensor.ranked = dims.size() > 0 || table.get<std::uint8_t>(field::kTensorHasRank, 0) != 0;
    check_bytes(bytes_of(facts.type, facts.shape), which + " " + shape_text(facts.shape));
  }

  void read_quantization(const FlatTable& table, TensorFacts& facts, const std::string& which) {
    const auto kind = table.get<std::uint8_t>(field::kQuantDetails, 0);
    if (kind != 0)
      refuse(which + ": " +
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
      invalid(which + ": is quantised along dimension " + std::to_string(d) + " of " +
              std::to_string(facts.shape.size()));
    if (scales.size() != 1 &&
        (facts.shape.empty() || static_cast<std::int64_t>(scales.size()) != facts.shape[static_cast<std::size_t>(d)]))
      invalid(which + ": expected one scale, or one for each slice of dimension " + std::to_string(d) + " of " +
              shape_text(facts.shape) + ", got " + std::to_string(scales.size()));
    if (zero_points.size() != scales.size() && zero_points.size() != 1)
      invalid(which + ": expected as many zero points as scales, " + std::to_string(scales.size()) + ", got " +
              std::to_string(zero_points.size()));
    const int bits = bits_of(facts.type);
    const bool is_unsigned = facts.type == kTypeUint8;
    const std::int64_t lowest = is_unsigned ? 0 : -(std::int64_t{1} << (std::min(bits, 32) - 1));
    const std::int64_t highest = is_unsigned ? 255 : (std::int64_t{1} << (std::min(bits, 32) - 1)) - 1;
    for (std::size_t n = 0; n < scales.size(); ++n) {
      if (!(scales[n] >= 0.0F) || scales[n] > 1e10F || (scales[n] > 0.0F && scales[n] < 1e-20F))
        invalid(which + ": expected scales from 1e-20 to 1e10, got " + std::to_string(scales[n]));
      const std::int64_t zero = zero_points[zero_points.size() == 1 ? 0 : n];
      if (zero < lowest || zero > highest)
        invalid(which + ": expected zero points from " + std::to_string(lowest) + " to " + std::to_string(highest) +
                ", got " + std::to_string(zero));
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
      float value = 0.0F;
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
      invalid("operator " + at + ": expected one of " + std::to_string(codes_.size()) + " operator codes, got " +
              std::to_string(index));
    const auto& code = codes_[index];
    op.code = code.code;
    op.rule = operator_rule(code.code);
    op.label = operator_name(code.code, code.custom.c_str()) + " " + at;
    if (code.code == kCustom)
      refuse(op.label + ": custom operators are not taken" +
             (code.custom.starts_with("Flex") ? "; this one needs all of TensorFlow: `linkcast convert MODEL.keras -o "
                                                "model.tflite` makes a file of batch 1 that does not"
                                              : ""));
    if (!op.rule || op.rule->versions == 0)
      refuse(op.label + ": is not among the operators that can be verified; see the table in operators.cpp");
    if (code.version < 1 || code.version > op.rule->versions)
      refuse(op.label + ": expected version 1 to " + std::to_string(op.rule->versions) +
             ", which TensorFlow Lite 2.17.1 knows, got version " + std::to_string(code.version));
    op.inputs = indices(table.vector<std::int32_t>(field::kOpInputs, "a list of inputs"), graph, -1, op.label);
    op.outputs = indices(table.vector<std::int32_t>(field::kOpOutputs, "a list of outputs"), graph, 0, op.label);
    op.intermediates =
        indices(table.vector<std::int32_t>(field::kOpIntermediates, "a list of tensors"), graph, 0, op.label);
    if (table.get<std::uint8_t>(field::kOpOptions2Type, 0) != 0)
      invalid(op.label + ": has options of another operator");
    const auto kind = table.get<std::uint8_t>(field::kOpOptionsType, 0);
    if ((kind != 0) != table.has(field::kOpOptions))
      invalid(op.label + ": has options without a type, or a type without options");
    if (kind != 0) op.options = table.table(field::kOpOptions, "an operator's options");
    if (op.rule->options != 0 && kind != op.rule->options && (kind != 0 || op.rule->options_needed))
      invalid(op.label + ": expected options of kind " + std::to_string(op.rule->options) + ", got " +
              (kind == 0 ? "none" : "kind " + std::to_string(kind)));
    if (op.rule->options == 0) op.options.reset();
    graph.operators.push_back(std::move(op));
  }

  void read_metadata(const FlatTable& model) const {
    const auto list = model.vector<std::uint32_t>(field::kModelMetadata, "the list of metadata");
    for (std::size_t n = 0; n < list.size(); ++n) {
      const auto entry = model.entry(list, n, "a metadata entry");
      const std::string which = "metadata entry " + std::to_string(n);
      if (!entry.has(field::kMetadataName)) invalid(which + " has no name");
      entry.text(field::kMetadataName, "a metadata entry's name");
      const auto buffer = entry.get<std::uint32_t>(field::kMetadataBuffer, 0);
      if (buffer >= buffers_.size() || !buffers_[buffer].data)
        invalid(which + " names buffer " + std::to_string(buffer) + ", which holds nothing");
    }
  }

  void read_signatures(const FlatTable& model) const {
    const auto list = model.vector<std::uint32_t>(field::kModelSignatures, "the list of signatures");
    for (std::size_t n = 0; n < list.size(); ++n) {
      const auto entry = model.entry(list, n, "a signature");
      const std::string which = "signature " + std::to_string(n);
      if (!entry.has(field::kSignatureKey)) invalid(which + " has no key");
      entry.text(field::kSignatureKey, "a signature's key");
      const auto graph = entry.get<std::uint32_t>(field::kSignatureGraph, 0);
      if (graph >= graphs_.size())
        invalid(which + " names subgraph " + std::to_string(graph) + ", which does not exist");
      for (const int side : {field::kSignatureInputs, field::kSignatureOutputs}) {
        const auto maps = entry.vector<std::uint32_t>(side, "a signature's tensors");
        for (std::size_t m = 0; m < maps.size(); ++m) {
          const auto map = entry.entry(maps, m, "a signature's tensor");
          if (!map.has(field::kMapName)) invalid(which + " has a tensor without a name");
          map.text(field::kMapName, "a name");
          const auto tensor = map.get<std::uint32_t>(field::kMapTensor, 0);
          if (tensor >= graphs_[graph].tensors.size())
            invalid(which + " names tensor " + std::to_string(tensor) + ", which does not exist");
        }
      }
    }
  }

  // ---- who writes and who reads -----------------------------------------------------------------------------------

  void check_order(const FileGraph& graph) const {
    enum class State { open, written, input, constant, variable };
    std::vector<State> states(graph.tensors.size(), State::open);
    for (std::size_t t = 0; t < states.size(); ++t) {
      if (graph.tensors[t].variable) states[t] = State::variable;
      if (graph.tensors[t].facts.constant) states[t] = State::constant;
    }
    for (const int input : graph.inputs) {
      auto& state = states[static_cast<std::size_t>(input)];
      const std::string which = "tensor " + std::to_string(input) + graph.name;
      // Once only, and nothing else: the caller writes it.
      if (state == State::input) invalid(which + ": is listed as an input twice");
      if (state != State::open)
        invalid(which + ": is an input and " + (state == State::constant ? "a constant" : "a variable"));
      state = State::input;
    }
    // What follows from an input of the graph, and not from constants alone. XNNPACK keeps constants that it has made
    // float to itself: as an output they stay unwritten.
    std::vector<bool> follows(graph.tensors.size(), false);
    for (const int input : graph.inputs) follows[static_cast<std::size_t>(input)] = true;
    for (const auto& op : graph.operators) {
      std::vector<const FileTensor*> inputs, outputs;
      for (const int t : op.inputs) inputs.push_back(t < 0 ? nullptr : &tensor(graph, t));
      for (const int t : op.outputs) outputs.push_back(&tensor(graph, t));
      if (const auto problem = mismatch(*op.rule, inputs, outputs); !problem.empty())
        invalid(op.label + ": " + problem);
      for (std::size_t n = 0; n < op.inputs.size(); ++n)
        if (op.inputs[n] >= 0 && states[static_cast<std::size_t>(op.inputs[n])] == State::open)
          invalid(op.label + ": input " + std::to_string(n) + " reads tensor " + std::to_string(op.inputs[n]) +
                  " before anything has written it");
      const bool computed = std::any_of(op.inputs.begin(), op.inputs.end(), [&](int t) {
        return t >= 0 &&
               (follows[static_cast<std::size_t>(t)] || states[static_cast<std::size_t>(t)] == State::variable);
      });
      const bool unpacked = op.code == kDequantize && !computed;
      for (const int t : op.outputs) {
        follows[static_cast<std::size_t>(t)] = &graph == &graphs_[0] ? computed : !unpacked;
        auto& state = states[static_cast<std::size_t>(t)];
        // The converter writes a state's zeros as float16, in front of the operator that owns the state.
        const bool zeros = op.code == kDequantize && tensor(graph, op.inputs[0]).facts.constant;
        const char* taken = state == State::written              ? "which was written before"
                            : state == State::input              ? "which is an input of its graph"
                            : state == State::constant           ? "which is a constant"
                            : state == State::variable && !zeros ? "which is a variable"
                                                                 : nullptr;
        if (taken) invalid(op.label + ": writes tensor " + std::to_string(t) + ", " + taken);
        if (state == State::open) state = State::written;
      }
    }
    for (const int output : graph.outputs) {
      const auto state = states[static_cast<std::size_t>(output)];
      if (state == State::open || state == State::variable || (state == State::constant && &graph == &graphs_[0]))
        invalid("output tensor " + std::to_string(output) + graph.name + " is written by no operator");
      if (state == State::written && !follows[static_cast<std::size_t>(output)])
        invalid("output tensor " + std::to_string(output) + graph.name + " does not depend on the graph's input");
    }
  }

  /// Every subgraph behind the primary one has one caller at most, and none calls itself.
  void check_calls() {
    for (const auto& graph : graphs_)
      for (const auto& op : graph.operators) {
        if (op.code != kWhile && op.code != kIf) continue;
        for (const int which : {0, 1}) {
          const int index = called(op, which);
          if (index < 1 || index >= static_cast<int>(graphs_.size()))
            invalid(op.label + ": calls subgraph " + std::to_string(index) + ", expected one from 1 to " +
                    std::to_string(static_cast<int>(graphs_.size()) - 1));
          auto& target = graphs_[static_cast<std::size_t>(index)];
          if (target.called)
            invalid(op.label + ": calls subgraph " + std::to_string(index) + ", which is called before");
          target.called = true;
        }
      }
  }

  static int called(const FileOperator& op, int which) {
    return op.options ? op.options->get<std::int32_t>(which, 0) : 0;
  }

  // ---- layout -----------------------------------------------------------------------------------------------------

  void check_bytes(std::uint64_t bytes, const std::string& which) const {
    if (bytes > limits_.tensor_bytes)
      refuse(which + " takes " + megabytes(bytes) + ", over the limit of " + megabytes(limits_.tensor_bytes) +
             " for a model's tensors");
  }

  void step(std::uint64_t count, const std::string& where) {
    steps_ += count;
    if (steps_ > kMostSteps) refuse(where + ": the graph runs too many operators before its end can be seen");
  }

  void count_bytes(int graph, std::size_t tensor, std::uint64_t bytes, const std::string& where) {
    auto& sizes = sizes_[static_cast<std::size_t>(graph)];
    sizes.resize(graphs_[static_cast<std::size_t>(graph)].tensors.size());
    if (bytes <= sizes[tensor]) return;
    total_ += bytes - sizes[tensor];
    sizes[tensor] = bytes;
    if (total_ > limits_.tensor_bytes || bytes > limits_.tensor_bytes)
      refuse(where + ": the model's tensors take " + megabytes(std::max(bytes, total_)) +
             " or more, over the limit of " + megabytes(limits_.tensor_bytes));
  }

  std::vector<TensorFacts> lay_out(int index, const std::vector<TensorFacts>& inputs) {
    auto& graph = graphs_[static_cast<std::size_t>(index)];
    if (depth_ >= kDeepestCall) refuse("its loops are nested more than " + std::to_string(kDeepestCall) + " deep");
    ++depth_;
    sizes_.resize(graphs_.size());
    step(1 + graph.tensors.size() + inputs.size(), "subgraph " + std::to_string(index));
    std::vector<TensorFacts> facts;
    facts.reserve(graph.tensors.size());
    for (std::size_t t = 0; t < graph.tensors.size(); ++t) {
      facts.push_back(graph.tensors[t].facts);
      if (graph.tensors[t].variable)
        count_bytes(index, t, bytes_of(facts[t].type, facts[t].shape), "tensor " + std::to_string(t) + graph.name);
    }
    for (std::size_t n = 0; n < inputs.size(); ++n) {
      const auto t = static_cast<std::size_t>(graph.inputs[n]);
      facts[t].shape = inputs[n].shape;
      facts[t].values = inputs[n].values;
      count_bytes(index, t, bytes_of(facts[t].type, facts[t].shape), "tensor " + std::to_string(t) + graph.name);
    }
    for (const auto& op : graph.operators) lay_out(index, graph, op, facts);
    --depth_;
    std::vector<TensorFacts> outputs;
    for (const int t : graph.outputs) outputs.push_back(facts[static_cast<std::size_t>(t)]);
    return outputs;
  }

  void lay_out(int index, const FileGraph& graph, const FileOperator& op, std::vector<TensorFacts>& facts) {
    step(1, op.label);
    const LayoutCall::Fail fail = [&](const std::string& what) { invalid(op.label + ": " + what); };
    std::vector<const TensorFacts*> inputs, intermediates;
    for (const int t : op.inputs) inputs.push_back(t < 0 ? nullptr : &facts[static_cast<std::size_t>(t)]);
    for (const int t : op.intermediates) intermediates.push_back(&facts[static_cast<std::size_t>(t)]);
    for (std::size_t n = 0; n < inputs.size() && !op.rule->takes_empty; ++n)
      if (inputs[n] && (n == 0 || inputs[n]->type == kTypeFloat32) && elements_of(inputs[n]->shape) == 0)
        fail("input " + std::to_string(n) + " has no elements: " + shape_text(inputs[n]->shape));
    for (std::size_t n = 0; n < inputs.size(); ++n) check_magnitude(op, n, inputs[n]);
    std::vector<TensorFacts> outputs;
    for (const int t : op.outputs) outputs.push_back(tensor(graph, t).facts);
    std::uint64_t work = 0;
    if (op.code == kWhile) {
      outputs = run_loop(op, inputs);
    } else if (op.code == kIf) {
      outputs = run_branches(op, inputs);
    } else {
      LayoutCall call(op.code, *op.rule, op.options ? &*op.options : nullptr, inputs, std::move(outputs),
                      std::move(intermediates), fail);
      try {
        op.rule->layout(call);
      } catch (const Damaged& damage) {
        fail(damage.what());
      }
      outputs = std::move(call.out);
      work = call.work;
      check_bytes(call.scratch_bytes, op.label + ": working memory");
    }
    for (std::size_t n = 0; n < outputs.size(); ++n) place(index, graph, op, n, std::move(outputs[n]), facts);
    work_ += std::min(work, limits_.work + 1);
    if (work_ > limits_.work)
      refuse(op.label + ": one run takes " + std::to_string(std::max(work_, work)) +
             " multiplications or more, over the limit of " + std::to_string(limits_.work));
  }

  /// The runtime's kernels and XNNPACK's treat what is no number differently, so that none may arise.
  void check_magnitude(const FileOperator& op, std::size_t n, const TensorFacts* facts) const {
    if (!facts) return;
    const char* expected = nullptr;
    if (facts->nan || (std::isinf(facts->largest) && !op.rule->takes_infinity)) expected = "finite numbers";
    if (op.rule->multiplies && facts->largest > kLargestWeight) expected = "numbers of at most 1e15";
    if (!expected) return;
    invalid(op.label + ": input " + std::to_string(n) + " (tensor " + std::to_string(op.inputs[n]) + "): expected " +
            expected + ", got " + (facts->nan ? "NaN" : std::to_string(facts->largest)));
  }

  void place(int index, const FileGraph& graph, const FileOperator& op, std::size_t n, TensorFacts facts,
             std::vector<TensorFacts>& all) {
    const auto t = static_cast<std::size_t>(op.outputs[n]);
    const auto& declared = graph.tensors[t];
    const auto& shape = declared.facts.shape;
    bool fits = facts.shape.size() == shape.size();
    for (std::size_t d = 0; fits && d < shape.size(); ++d)
      fits = facts.shape[d] == shape[d] || (!declared.signature.empty() && declared.signature[d] == -1);
    for (const std::int64_t d : facts.shape)
      if (d < 0 || d > std::numeric_limits<std::int32_t>::max())
        refuse(op.label + ": output " + std::to_string(n) + " has a dimension of " + std::to_string(d));
    count_bytes(index, t, bytes_of(facts.type, facts.shape), op.label);
    if (!fits && declared.ranked)
      invalid(op.label + ": output " + std::to_string(n) + " (tensor " + std::to_string(t) + "): expected " +
              shape_text(facts.shape) + ", got " + shape_text(shape));
    as_declared_ = as_declared_ && (!declared.ranked || facts.shape == shape);
    all[t].shape = std::move(facts.shape);
    all[t].values = std::move(facts.values);
    if (all[t].values) step(all[t].values->size() / 16, op.label);
  }

  std::vector<TensorFacts> copies(const FileOperator& op, const std::vector<const TensorFacts*>& inputs,
                                  std::size_t first, const FileGraph& graph) const {
    std::vector<TensorFacts> values;
    for (std::size_t n = first; n < inputs.size(); ++n) values.push_back(*inputs[n]);
    check_arguments(op, values, graph);
    return values;
  }

  /// What an operator hands to a subgraph has to fit the subgraph's inputs.
  void check_arguments(const FileOperator& op, const std::vector<TensorFacts>& values, const FileGraph& graph) const {
    if (values.size() != graph.inputs.size())
      invalid(op.label + ": hands over " + std::to_string(values.size()) + " tensors to" + graph.name.substr(3) +
              ", which takes " + std::to_string(graph.inputs.size()));
    for (std::size_t n = 0; n < values.size(); ++n)
      if (values[n].type != tensor(graph, graph.inputs[n]).facts.type)
        invalid(op.label + ": hands over " + element_type_name(values[n].type) + " as input " + std::to_string(n) +
                graph.name + ", which takes " + element_type_name(tensor(graph, graph.inputs[n]).facts.type));
  }

  void check_results(const FileOperator& op, const std::vector<TensorFacts>& results, const FileGraph& caller_types,
                     const FileGraph& graph) const {
    if (results.size() != op.outputs.size())
      invalid(op.label + ": gets " + std::to_string(results.size()) + " tensors from" + graph.name.substr(3) +
              ", expected " + std::to_string(op.outputs.size()));
    for (std::size_t n = 0; n < results.size(); ++n)
      if (results[n].type != tensor(caller_types, op.outputs[n]).facts.type)
        invalid(op.label + ": output " + std::to_string(n) + ": expected " +
                element_type_name(tensor(caller_types, op.outputs[n]).facts.type) + ", got " +
                element_type_name(results[n].type));
  }

  const FileGraph& caller_of(const FileOperator& op) const {
    for (const auto& graph : graphs_)
      if (!graph.operators.empty() && &op >= graph.operators.data() &&
          &op < graph.operators.data() + graph.operators.size())
        return graph;
    return graphs_[0];
  }

  std::vector<TensorFacts> run_loop(const FileOperator& op, const std::vector<const TensorFacts*>& inputs) {
    const int condition_index = called(op, 0);
    const int body_index = called(op, 1);
    const auto& condition = graphs_[static_cast<std::size_t>(condition_index)];
    const auto& body = graphs_[static_cast<std::size_t>(body_index)];
    auto values = copies(op, inputs, 0, condition);
    check_arguments(op, values, body);
    if (condition.outputs.size() != 1 || tensor(condition, condition.outputs[0]).facts.type != kTypeBool)
      invalid(op.label + ": expected a condition with one bool output");
    for (std::uint64_t turn = 0;; ++turn) {
      const auto verdict = lay_out(condition_index, values)[0];
      if (!verdict.values || verdict.values->size() != 1)
        refuse(op.label + ": the loop's end can't be seen: its condition depends on the model's input");
      if ((*verdict.values)[0] == 0) break;
      if (turn >= kMostTurns) refuse(op.label + ": the loop turns more than " + std::to_string(kMostTurns) + " times");
      auto next = lay_out(body_index, values);
      check_results(op, next, caller_of(op), body);
      if (same(next, values)) refuse(op.label + ": the loop never ends: a turn leaves its counters as they were");
      values = std::move(next);
      for (std::size_t n = 0; n < values.size(); ++n) check_turn(op, values[n], n);
    }
    check_results(op, values, caller_of(op), body);
    return values;
  }

  void check_turn(const FileOperator& op, const TensorFacts& value, std::size_t n) const {
    check_bytes(bytes_of(value.type, value.shape), op.label + ": value " + std::to_string(n) + " of the loop");
  }

  static bool same(const std::vector<TensorFacts>& a, const std::vector<TensorFacts>& b) {
    for (std::size_t n = 0; n < a.size(); ++n) {
      if (a[n].shape != b[n].shape || (a[n].values == nullptr) != (b[n].values == nullptr)) return false;
      if (a[n].values && *a[n].values != *b[n].values) return false;
    }
    return true;
  }

  std::vector<TensorFacts> run_branches(const FileOperator& op, const std::vector<const TensorFacts*>& inputs) {
    if (elements_of(inputs[0]->shape) != 1) invalid(op.label + ": expected one bool as its condition");
    std::vector<TensorFacts> results[2];
    for (const int which : {0, 1}) {
      const int index = called(op, which);
      const auto& branch = graphs_[static_cast<std::size_t>(index)];
      results[which] = lay_out(index, copies(op, inputs, 1, branch));
      check_results(op, results[which], caller_of(op), branch);
    }
    for (std::size_t n = 0; n < results[0].size(); ++n) {
      if (results[0][n].shape != results[1][n].shape)
        refuse(op.label + ": output " + std::to_string(n) + " has another shape in each branch, which is refused");
      results[0][n].values = nullptr;
    }
    return results[0];
  }

  struct OperatorCode {
    int code;
    int version;
    std::string custom;
  };

  const std::string& path_;
  FlatBytes bytes_;
  VerifierLimits limits_;
  std::vector<Buffer> buffers_;
  std::vector<OperatorCode> codes_;
  std::vector<FileGraph> graphs_;
  std::size_t tensors_seen_ = 0;
  std::vector<std::vector<std::uint64_t>> sizes_;  // the largest that each tensor of each subgraph becomes
  std::uint64_t total_ = 0;                        // bytes of sizes_
  std::uint64_t work_ = 0;
  std::uint64_t steps_ = 0;
  std::size_t depth_ = 0;
  bool as_declared_ = true;
};

}  // namespace

bool verify(const std::string& path, const void* bytes, std::size_t size, const VerifierLimits& limits) {
  Verifier verifier(path, bytes, size, limits);
  verifier.run();
  return verifier.as_declared();
}

}  // namespace linkcast::tflite
