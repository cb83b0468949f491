#include "choice.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

#include "base/fork.h"
#include "base/names.h"

namespace linkcast {
namespace {

using kernels::Kernels;

constexpr const char* names[] = {"step", "window", "few", "many"};
constexpr const char* titles[] = {"a stream's steps", "one window", "2 to 7 windows", "8 windows or more"};
constexpr std::size_t many_from = 8;     // windows
constexpr std::size_t timed_states = 9;  // of an advance: a window of ten samples, the shipped forecasters'
constexpr std::size_t timed_few = 4;     // windows
constexpr std::size_t timed_many = 16;   // windows
constexpr double gain = 0.97;            // of another's time: less is no reason to change
constexpr double alike = 1.05;           // two readings of the same
constexpr std::size_t most_rounds = 9;
constexpr std::uint64_t enough_ns = 10000000;        // for a class of calls, from the second round on
constexpr std::uint64_t long_enough_ns = 4000;       // of one reading, beside a clock that takes 20 to 40 ns
constexpr std::uint64_t most_calls = 64;             // in one reading
constexpr std::uint64_t helper_needs_ns = 20000000;  // at most, to show what it gains
constexpr auto helper_starts = std::chrono::microseconds(200);
constexpr std::size_t compared_windows = 8;

double read_clock(const Kernels&, CallClass, const std::function<void()>& call) {
  std::uint64_t calls = 0;
  const std::uint64_t start = monotonic_ns();
  std::uint64_t spent = 0;
  while (spent < long_enough_ns && calls < most_calls) {
    call();
    ++calls;
    spent = monotonic_ns() - start;
  }
  return static_cast<double>(spent) * 1e-3 / static_cast<double>(calls);
}

/// In 0..1, as scaled features are.
std::vector<float> scaled_numbers(std::size_t count) {
  std::vector<float> numbers(count);
  std::uint32_t random = 1;
  for (float& value : numbers) value = static_cast<float>((random = random * 1664525u + 1013904223u) >> 8) * 0x1p-24f;
  return numbers;
}

/// A window whose helper is interrupted takes one and a half times as long as on one core at most; one whose helper does not
/// even begin, an eighth longer.
Patience patience_of(double one_core_us) {
  const auto window_ns = static_cast<std::uint64_t>(one_core_us * 1e3);
  return {window_ns / 8, window_ns / 2};
}

std::string text_of(double us) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", us);
  return text;
}

/// A call of each class on one network.
class Caller {
 public:
  explicit Caller(Network& network)
      : network_(network),
        input_(scaled_numbers(timed_many * network.steps() * network.features())),
        output_(timed_many * network.output_steps() * network.outputs()),
        states_((1 + timed_states) * (network.can_step() ? network.state_size() : 0)) {
    network.reserve(timed_many);
  }

  /// Brings weights and code into the caches; batches read theirs several times in a call.
  void warm(CallClass of) {
    if (of == CallClass::step || of == CallClass::window) call(of);
  }

  void call(CallClass of) {
    if (of == CallClass::step) {
      network_.step(input_.data(), 0, 1, states_.data(), output_.data());
      network_.step(input_.data(), 0, timed_states, states_.data() + network_.state_size(), nullptr);
      return;
    }
    const std::size_t batch = of == CallClass::window ? 1 : of == CallClass::few ? timed_few : timed_many;
    network_.run(input_.data(), batch, output_.data());
  }

 private:
  Network& network_;
  std::vector<float> input_;
  std::vector<float> output_;
  std::vector<float> states_;
};

struct Candidate {
  std::unique_ptr<Network> network;
  const Kernels* table = nullptr;
};

/// The two least readings of a table.
struct Readings {
  double least = std::numeric_limits<double>::infinity();
  double second = std::numeric_limits<double>::infinity();

  void add(double us) {
    second = std::min(second, std::max(us, least));
    least = std::min(least, us);
  }
  bool agree() const { return std::isfinite(second) && second <= alike * least; }
};

/// Least time of each candidate, in rounds of one reading each, so that what disturbs the machine meets all; as many
/// rounds as it takes until the two least readings of each agree, since a single one may have been interrupted.
std::vector<KernelChoice::Time> measure(const std::vector<Candidate>& candidates, std::vector<Caller>& callers,
                                        CallClass of, const ChosenNetwork::Stopwatch& stopwatch) {
  std::vector<Readings> readings(candidates.size());
  bool agreed = false;
  const std::uint64_t start = monotonic_ns();
  for (std::size_t round = 0; round < most_rounds && !agreed; ++round) {
    if (round >= 2 && monotonic_ns() - start > enough_ns) break;
    agreed = true;
    for (std::size_t k = 0; k < candidates.size(); ++k) {
      if (readings[k].agree()) continue;
      callers[k].warm(of);
      readings[k].add(stopwatch(*candidates[k].table, of, [&] { callers[k].call(of); }));
      agreed = agreed && readings[k].agree();
    }
  }
  std::vector<KernelChoice::Time> times;
  for (std::size_t k = 0; k < candidates.size(); ++k) times.push_back({candidates[k].table, readings[k].least});
  return times;
}

/// Of the tables of the precision the presumed best one, unless another is clearly faster; and that one only if it is
/// clearly faster than float32.
const Kernels* best_of(const std::vector<KernelChoice::Time>& times, Precision precision) {
  const auto best = [&](Precision among) {
    const KernelChoice::Time* found = nullptr;
    for (const auto& time : times) {
      if (precision_of(*time.kernels) != among) continue;
      if (found == nullptr || time.us < gain * found->us) found = &time;
    }
    return found;
  };
  const auto* plain = best(Precision::float32);
  if (precision == Precision::float32) return plain->kernels;
  const auto* reduced = best(precision);
  return reduced != nullptr && reduced->us <= gain * plain->us ? reduced->kernels : plain->kernels;
}

/// What has been settled in this process, by what a network looks like.
class Settled {
 public:
  Settled() { hold_across_fork(mutex_); }

  bool find(const std::string& key, KernelChoices& choices) {
    const std::lock_guard lock(mutex_);
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) return false;
    choices = found->second;
    return true;
  }

  /// The first of those that measure at the same time is heard, so that all run the same.
  KernelChoices settle(const std::string& key, const KernelChoices& choices) {
    const std::lock_guard lock(mutex_);
    return by_key_.emplace(key, choices).first->second;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, KernelChoices> by_key_;
};

Settled& settled() {
  static Settled& only = *std::make_unique<Settled>().release();  // never destroyed: a process may fork while it ends
  return only;
}

std::string list_of(const std::vector<const Kernels*>& tables) {
  std::string list;
  for (const Kernels* table : tables) list += (list.empty() ? "" : ", ") + std::string(table->name);
  return list;
}

const char* title_of(Precision precision) {
  return precision == Precision::float32 ? "float32" : precision == Precision::bfloat16 ? "bfloat16" : "int8";
}

}  // namespace

const char* call_class_name(CallClass of) noexcept { return name_of(names, of); }

CallClass class_of_run(std::size_t batch) noexcept {
  return batch <= 1 ? CallClass::window : batch < many_from ? CallClass::few : CallClass::many;
}

Precision precision_of(const Kernels& table) noexcept {
  switch (table.format) {
    case kernels::WeightFormat::bfloat16:
      return Precision::bfloat16;
    case kernels::WeightFormat::int8:
      return Precision::int8;
    default:
      return Precision::float32;
  }
}

const Kernels& kernels_from_name(const std::string& name, Isa isa) {
  std::vector<const Kernels*> all;
  for (const Precision precision : {Precision::float32, Precision::bfloat16, Precision::int8}) {
    for (const Kernels* table : kernels::candidates(isa, precision)) {
      if (name == table->name) return *table;
      all.push_back(table);
    }
  }
  throw std::invalid_argument("kernels: expected one of those that run here on " + std::string(isa_name(isa)) + ", " +
                              list_of(all) + "; got \"" + name + "\"");
}

const Kernels& kernels_from_name(const std::string& name, Isa isa, Precision precision) {
  const Kernels& table = kernels_from_name(name, isa);
  const Precision of = precision_of(table);
  if (of != Precision::float32 && of != precision)
    throw std::invalid_argument("kernels: expected some of " + std::string(title_of(precision)) +
                                (precision == Precision::float32 ? "" : " or float32") +
                                ", as the precision says; got \"" + name + "\"");
  return table;
}

ChosenNetwork::ChosenNetwork(const NetworkSpec& spec, Isa isa, Precision precision, const Options& options)
    : precision_(precision), forced_(!options.kernels.empty()) {
  require_supported(isa);
  std::vector<const Kernels*> tables;
  if (forced_) {
    tables = {&kernels_from_name(options.kernels, isa, precision)};
  } else {
    tables = kernels::candidates(isa, precision);
    if (precision != Precision::float32) {
      const auto plain = kernels::candidates(isa, Precision::float32);
      tables.insert(tables.end(), plain.begin(), plain.end());
    }
  }
  std::vector<Candidate> candidates;
  const auto built = [&](const Kernels* table) -> Candidate& {
    for (Candidate& candidate : candidates)
      if (candidate.table == table) return candidate;
    candidates.push_back({std::make_unique<Network>(spec, *table), table});
    return candidates.back();
  };
  const bool steps = built(tables[0]).network->can_step();
  const auto is_called = [&](std::size_t of) { return steps || static_cast<CallClass>(of) != CallClass::step; };
  if (tables.size() == 1) {
    for (std::size_t of = 0; of < call_classes; ++of)
      if (is_called(of)) choices_[of].kernels = tables[0];
  } else {
    const std::string key = std::string(isa_name(isa)) + ' ' + title_of(precision) + ' ' + list_of(tables) + ' ' +
                            candidates[0].network->shape();
    if (!settled().find(key, choices_)) {
      for (const Kernels* table : tables) built(table);
      std::vector<Caller> callers;
      for (const Candidate& candidate : candidates) callers.emplace_back(*candidate.network);
      for (std::size_t of = 0; of < call_classes; ++of) {
        if (!is_called(of)) continue;
        choices_[of].times = measure(candidates, callers, static_cast<CallClass>(of),
                                     options.stopwatch ? options.stopwatch : Stopwatch(read_clock));
        choices_[of].kernels = best_of(choices_[of].times, precision);
      }
      choices_ = settled().settle(key, choices_);
    }
  }
  for (const KernelChoice& choice : choices_) {
    if (choice.kernels == nullptr) continue;
    Candidate& candidate = built(choice.kernels);
    if (candidate.network) networks_.push_back(std::move(candidate.network));
  }
  chosen();
  if (options.second_core.wanted())
    share_window(options.second_core, options.stopwatch ? options.stopwatch : Stopwatch(read_clock));
}

/// Keeps the helper where a window clearly gains by it, and gives the same bits.
void ChosenNetwork::share_window(const SecondCore& place, const Stopwatch& stopwatch) {
  Network& window = network(CallClass::window);
  if (!window.has_tail()) {
    second_core_ = "one core: no LSTM takes the steps of another one";
    return;
  }
  const auto inputs = scaled_numbers(compared_windows * steps() * features());
  const std::size_t answer = output_steps() * outputs();
  std::vector<float> answers(compared_windows * answer);
  std::vector<float> shared_answers(answers.size());
  const auto run = [&](std::size_t k, std::vector<float>& to) {
    window.run(&inputs[k * steps() * features()], 1, &to[k * answer]);
  };
  const auto read = [&] { return stopwatch(window.table(), CallClass::window, [&] { run(0, answers); }); };
  Readings one;
  for (std::size_t k = 0; k < compared_windows; ++k) run(k, answers);  // warms it, too
  for (std::size_t round = 0; round < most_rounds && !one.agree(); ++round) one.add(read());

  try {
    window.share_tail(Helper::at(place), patience_of(one.least));
  } catch (const std::system_error& error) {
    second_core_ = std::string("one core: no helper, ") + error.what();
    return;
  }
  // A reading counts if each of its calls was helped: the thread has to start, and may be interrupted.
  Readings two;
  const std::uint64_t start = monotonic_ns();
  while (!two.agree() && monotonic_ns() - start < helper_needs_ns) {
    const HelpCounts before = window.help_counts();
    const double us = read();
    const HelpCounts after = window.help_counts();
    if (after.missed > before.missed)
      std::this_thread::sleep_for(helper_starts);
    else if (after.alone == before.alone)
      two.add(us);
  }
  for (std::size_t k = 0; k < compared_windows; ++k) run(k, shared_answers);
  run(0, answers);
  if (!std::isfinite(two.least))
    second_core_ = "one core: the helper was late in every window";
  else if (std::memcmp(answers.data(), shared_answers.data(), answers.size() * sizeof(float)) != 0)
    second_core_ = "one core: on two a window has other bits";
  else if (two.least > gain * one.least)
    second_core_ = "one core: a window takes " + text_of(one.least) + " us, and " + text_of(two.least) + " us on two";
  else
    second_core_ = "two cores: a window takes " + text_of(two.least) + " us, and " + text_of(one.least) + " us on one";
  if (!shares_window()) window.share_tail(nullptr, {});
}

bool ChosenNetwork::shares_window() const noexcept { return second_core_.starts_with("two"); }

std::string ChosenNetwork::kernels_name() const {
  std::string text;
  for (const auto& network : networks_) {
    text += (text.empty() ? "" : ", ") + std::string(network->kernels_name());
    if (networks_.size() == 1) break;
    std::string classes;
    for (std::size_t of = 0; of < call_classes; ++of)
      if (choices_[of].kernels == &network->table()) classes += (classes.empty() ? "" : ", ") + std::string(names[of]);
    text += " (" + classes + ")";
  }
  return text;
}

const char* ChosenNetwork::step_kernels() const noexcept {
  const Kernels* steps = choices_[static_cast<std::size_t>(CallClass::step)].kernels;
  return (steps != nullptr ? steps : choices_[static_cast<std::size_t>(CallClass::window)].kernels)->name;
}

std::string ChosenNetwork::notice() const {
  if (precision_ == Precision::float32) return "";
  std::string where;
  std::size_t slow = 0;
  std::size_t called = 0;
  for (std::size_t of = 0; of < call_classes; ++of) {
    if (choices_[of].kernels == nullptr) continue;
    ++called;
    if (precision_of(*choices_[of].kernels) != Precision::float32) continue;
    where += (slow++ > 0 ? ", " : "") + std::string(titles[of]);
  }
  if (slow == 0) return "";
  if (forced_) return "float32 kernels were asked for";
  return std::string(title_of(precision_)) + " does not gain on this CPU" +
         (slow < called ? " for " + where : std::string()) + ": float32 runs";
}

std::size_t ChosenNetwork::weight_bytes() const {
  std::size_t bytes = 0;
  for (const auto& network : networks_) bytes += network->weight_bytes();
  return bytes;
}

void ChosenNetwork::reserve(std::size_t batch) {
  reserved_ = std::max(reserved_, batch);
  network(CallClass::step).reserve(batch);
  network(CallClass::few).reserve(std::min(batch, many_from - 1));
  network(CallClass::many).reserve(batch);
}

const Kernels& ChosenNetwork::only(std::size_t k) {
  networks_[k]->reserve(reserved_);
  of_.fill(networks_[k].get());
  return networks_[k]->table();
}

void ChosenNetwork::chosen() noexcept {
  of_.fill(networks_.front().get());
  for (std::size_t of = 0; of < call_classes; ++of)
    for (const auto& network : networks_)
      if (choices_[of].kernels == &network->table()) of_[of] = network.get();
}

}  // namespace linkcast
