// Whether another architecture gives the shipped models' golden outputs as this one does.
//
//   golden_outputs write FOLDER FILE   on the host: the networks that the graphs in FOLDER were recognised as, the
//                                      manifest's golden inputs, and the outputs of this machine's native kernels
//   golden_outputs run FILE            on the target: the networks of FILE on each of its instruction sets
//   golden_outputs load FOLDER FILE    on the target: the models in FOLDER, through its TensorFlow Lite
//
// `run` and `load` print the largest difference and fail above 1e-6 of max(1, the output). Where large terms cancel, as
// in an allocator, float32 itself is further than that from exact arithmetic on any machine: there the bound is three
// times the host's own distance from double precision, and the model is named. FILE is of little-endian machines; `run`
// needs no TensorFlow Lite.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "engine/engine.h"
#include "kernels/network.h"
#include "network_reference.h"
#include "tflite/delegate.h"
#include "tflite/interpreter.h"

using namespace linkcast;

namespace {

constexpr double kTolerance = 1e-6;
constexpr double kOthersTolerance = 2e-6;  // TensorFlow Lite's own kernels, which sum in another order: 1.2e-6 seen

struct Golden {
  std::string model;
  NetworkSpec network;
  std::vector<float> inputs;   // (windows, row inputs), scaled
  std::vector<float> outputs;  // (windows, row outputs)
  float rounding = 0;          // largest distance of outputs from double precision
};

/// Writes and reads the same fields in the same order.
class Archive {
 public:
  Archive(const std::string& path, bool write)
      : file_(path, std::ios::binary | (write ? std::ios::out : std::ios::in)), write_(write) {
    if (!file_) throw std::runtime_error(path + ": can't be opened");
    file_.exceptions(std::ios::badbit | std::ios::failbit);
  }

  template <class T>
  void number(T& value) {
    auto wide = static_cast<std::uint64_t>(value);
    bytes(&wide, sizeof wide);
    value = static_cast<T>(wide);
  }
  void field(float& value) { bytes(&value, sizeof value); }
  void field(std::size_t& value) { number(value); }
  void field(bool& value) { number(value); }
  void field(Activation& value) { number(value); }
  template <class Sequence>  // std::string, std::vector<float>
    requires std::is_trivially_copyable_v<typename Sequence::value_type>
  void field(Sequence& values) {
    std::size_t size = values.size();
    number(size);
    values.resize(size);
    bytes(values.data(), size * sizeof values[0]);
  }

  void field(LstmSpec& lstm) {
    fields(lstm.inputs, lstm.units, lstm.input_weights, lstm.recurrent_weights, lstm.bias, lstm.cell_clip,
           lstm.activation, lstm.gate_activation);
  }
  void field(GruSpec& gru) {
    fields(gru.inputs, gru.units, gru.input_weights, gru.recurrent_weights, gru.bias, gru.recurrent_bias,
           gru.reset_after, gru.activation, gru.gate_activation);
  }
  void field(ReverseSpec&) {}
  void field(std::variant<LstmSpec, GruSpec>& recurrence) {
    std::size_t kind = recurrence.index();
    number(kind);
    if (!write_ && kind == 1) recurrence = GruSpec{};
    std::visit([this](auto& typed) { field(typed); }, recurrence);
  }
  void field(BidirectionalSpec& both) {
    fields(both.forward, both.backward, both.sequence);
    number(both.merge);
  }
  void field(DenseSpec& dense) { fields(dense.inputs, dense.units, dense.weights, dense.bias, dense.activation); }
  void field(AffineSpec& affine) { fields(affine.scale, affine.offset); }
  void field(ActivationSpec& activation) { field(activation.activation); }
  void field(LastStepSpec&) {}
  void field(FlattenSpec&) {}
  void field(SoftmaxSpec& softmax) { field(softmax.beta); }
  void field(NormaliseSpec& normalise) { field(normalise.epsilon); }
  void field(RepeatSpec& repeat) { field(repeat.steps); }
  void field(UnmaskSpec& unmask) { field(unmask.zeros); }
  void field(LayerSpec& layer) {
    std::size_t kind = layer.index();
    number(kind);
    if (!write_) layer = empty_layer(kind);
    std::visit([this](auto& typed) { field(typed); }, layer);
  }
  void field(NetworkSpec& network) {
    fields(network.steps, network.features, network.sequence_input);
    bool masked = network.mask_value.has_value();
    field(masked);
    if (masked && !network.mask_value) network.mask_value = 0.0F;
    if (masked) field(*network.mask_value);
    list(network.layers);
  }
  void field(Golden& golden) { fields(golden.model, golden.network, golden.inputs, golden.outputs, golden.rounding); }
  template <class T>
  void list(std::vector<T>& values) {
    std::size_t size = values.size();
    number(size);
    values.resize(size);
    for (T& value : values) field(value);
  }

 private:
  template <class... T>
  void fields(T&... values) {
    (field(values), ...);
  }
  void bytes(void* data, std::size_t size) {
    if (write_) {
      file_.write(static_cast<const char*>(data), static_cast<std::streamsize>(size));
    } else {
      file_.read(static_cast<char*>(data), static_cast<std::streamsize>(size));
    }
  }
  static LayerSpec empty_layer(std::size_t kind) {
    const LayerSpec kinds[] = {LstmSpec{},    DenseSpec{},         AffineSpec{},    ActivationSpec{}, LastStepSpec{},
                               FlattenSpec{}, SoftmaxSpec{},       NormaliseSpec{}, RepeatSpec{},     GruSpec{},
                               ReverseSpec{}, BidirectionalSpec{}, UnmaskSpec{}};
    static_assert(std::size(kinds) == std::variant_size_v<LayerSpec>);
    if (kind >= std::size(kinds)) throw std::runtime_error("unknown layer in the file");
    return kinds[kind];
  }

  std::fstream file_;
  bool write_;
};

/// The largest |a - b| / max(1, |b|); infinite when one is not a number.
double difference(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = a.size() == b.size() ? 0.0 : INFINITY;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double apart =
        std::fabs(static_cast<double>(a[i]) - b[i]) / std::max(1.0, std::fabs(static_cast<double>(b[i])));
    worst = std::isnan(apart) ? INFINITY : std::max(worst, apart);
  }
  return worst;
}

std::vector<float> outputs_of(Model& model, const std::vector<float>& inputs) {
  std::vector<float> outputs;
  for (std::size_t row = 0; row < inputs.size() / model.row_inputs(); ++row) {
    std::copy_n(inputs.data() + row * model.row_inputs(), model.row_inputs(), model.batch_input(1).get());
    const float* answer = model.invoke_batch(1).get();
    outputs.insert(outputs.end(), answer, answer + model.row_outputs());
  }
  return outputs;
}

NetworkSpec network_of(const Model& model) {
  const auto runtime = tflite::Runtime::open();
  const auto file = std::make_shared<const tflite::ModelFile>(runtime, model.path(), "");
  const tflite::NativeDelegate delegate(*runtime, default_isa(), Precision::float32, "");
  tflite::Interpreter::Options options;
  options.delegates = {delegate.handle()};
  const tflite::Interpreter interpreter(file, options);
  if (!delegate.claimed()) throw std::runtime_error(model.path() + ": " + delegate.reason());
  return *delegate.spec();
}

/// What exact arithmetic gives, to float32.
std::vector<float> exact_outputs(const NetworkSpec& network, const std::vector<float>& inputs) {
  const std::size_t row = network.steps * network.features;
  std::vector<float> outputs;
  for (std::size_t k = 0; k < inputs.size(); k += row)
    for (const double value : reference::run(network, inputs.data() + k)) outputs.push_back(static_cast<float>(value));
  return outputs;
}

void write(const std::string& folder, const std::string& path) {
  Engine engine(folder, Model::Options{});
  std::vector<Golden> all;
  for (const ModelSpec& spec : engine.metadata().models) {
    Model& model = engine.model(engine.find(spec.name));
    if (!model.network()) throw std::runtime_error(spec.name + ": " + model.backend_reason());
    Golden golden{spec.name, network_of(model), spec.golden.inputs, outputs_of(model, spec.golden.inputs)};
    const auto exact = exact_outputs(golden.network, golden.inputs);
    golden.rounding = static_cast<float>(difference(golden.outputs, exact));
    std::printf("%-22s host (%s) %.1e and TensorFlow %.1e from double precision\n", spec.name.c_str(),
                isa_name(default_isa()), golden.rounding, difference(spec.golden.outputs, exact));
    all.push_back(std::move(golden));
  }
  Archive(path, true).list(all);
}

std::vector<Golden> read(const std::string& path) {
  std::vector<Golden> all;
  Archive(path, false).list(all);
  return all;
}

/// Largest differences from the host, those within the tolerance in one line.
class Verdict {
 public:
  explicit Verdict(std::string what, double tolerance = kTolerance) : what_(std::move(what)), tolerance_(tolerance) {}

  void add(const Golden& golden, const std::vector<float>& outputs) {
    const double apart = difference(outputs, golden.outputs);
    ++models_;
    if (apart <= tolerance_) {
      ++close_;
      worst_ = std::max(worst_, apart);
      return;
    }
    const bool rounding = apart <= 3.0 * static_cast<double>(golden.rounding);
    failed_ |= !rounding;
    std::printf("%s: %s %.1e from the host, which is %.1e from double precision: %s\n", what_.c_str(),
                golden.model.c_str(), apart, golden.rounding, rounding ? "float32's own rounding" : "FAILED");
  }
  bool good() const {
    std::printf("%s: %zu of %zu models within %.1e of the host, at most %.1e\n", what_.c_str(), close_, models_,
                tolerance_, worst_);
    return close_ > 0 && !failed_;
  }

 private:
  std::string what_;
  double tolerance_;
  std::size_t models_ = 0;
  std::size_t close_ = 0;
  double worst_ = 0.0;
  bool failed_ = false;
};

bool run(const std::string& path) {
  const auto all = read(path);
  bool good = true;
  for (const Isa isa : supported_isas()) {
    Verdict verdict(std::string("kernels, ") + isa_name(isa));
    for (const Golden& golden : all) {
      Network network(golden.network, isa);
      network.reserve(1);
      const std::size_t row_inputs = network.steps() * network.features();
      const std::size_t row_outputs = network.output_steps() * network.outputs();
      const std::size_t windows = golden.inputs.size() / row_inputs;
      std::vector<float> outputs(windows * row_outputs);
      for (std::size_t row = 0; row < windows; ++row)
        network.run(golden.inputs.data() + row * row_inputs, 1, outputs.data() + row * row_outputs);
      verdict.add(golden, outputs);
    }
    good &= verdict.good();
  }
  return good;
}

bool load(const std::string& folder, const std::string& path) {
  Engine engine(folder, Model::Options{});
  const bool native = tflite::Runtime::open()->has_delegates();
  Verdict verdict(std::string("engine, ") + (native ? isa_name(default_isa()) : "TensorFlow Lite's own kernels"),
                  native ? kTolerance : kOthersTolerance);
  for (const Golden& golden : read(path)) {
    Model& model = engine.model(engine.find(golden.model));
    if (native && !model.network()) throw std::runtime_error(golden.model + ": " + model.backend_reason());
    verdict.add(golden, outputs_of(model, golden.inputs));
  }
  return verdict.good();
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  try {
    if (words.size() == 3 && words[0] == "write") {
      write(words[1], words[2]);
      return 0;
    }
    if (words.size() == 2 && words[0] == "run") return run(words[1]) ? 0 : 1;
    if (words.size() == 3 && words[0] == "load") return load(words[1], words[2]) ? 0 : 1;
    std::fprintf(stderr, "usage: golden_outputs write FOLDER FILE | run FILE | load FOLDER FILE\n");
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "golden_outputs: %s\n", error.what());
    return 1;
  }
}
