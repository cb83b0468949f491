#include "machine.h"

#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/clock.h"
#include "kernels/isa.h"

namespace linkcast::bench {
namespace {

const std::string kCpus = "/sys/devices/system/cpu/";

/// The first line of a file; nothing when it can't be read or says nothing.
std::optional<std::string> line_of(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  while (!line.empty() && (line.back() == '\0' || line.back() == ' ' || line.back() == '\n')) line.pop_back();
  if (line.empty()) return std::nullopt;
  return line;
}

/// A list of CPUs such as "2-3", "" for none.
std::optional<std::string> cpu_list(const char* name) {
  const std::string path = kCpus + name;
  if (!std::ifstream(path)) return std::nullopt;
  return line_of(path).value_or("");
}

std::optional<double> number_in(const std::string& path) {
  const auto line = line_of(path);
  double number = 0;
  if (!line || !(std::istringstream(*line) >> number)) return std::nullopt;
  return number;
}

/// The value of a line "key : value" of /proc/cpuinfo.
std::optional<std::string> cpu_info(const std::string& key) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (line.rfind(key, 0) == 0 && colon != std::string::npos) return line.substr(colon + 2);
  }
  return std::nullopt;
}

std::optional<std::string> processor() {
  if (const auto name = cpu_info("model name")) return name;
  // Arm: the kernel prints numbers of the implementer and the part, and boards have a name in the device tree.
  const auto board = line_of("/proc/device-tree/model");
  const auto part = cpu_info("CPU part");
  if (board && part) return *board + ", CPU part " + *part;
  return board ? board : part;
}

std::string cpu_folder() { return kCpus + "cpu" + std::to_string(std::max(0, sched_getcpu())) + "/"; }

std::optional<std::string> governor() { return line_of(cpu_folder() + "cpufreq/scaling_governor"); }

std::optional<double> frequency_mhz(const char* which) {
  if (const auto khz = number_in(cpu_folder() + "cpufreq/" + which)) return *khz / 1000.0;
  return std::nullopt;
}

std::optional<double> temperature_c() {
  std::optional<double> hottest;
  std::error_code error;
  for (const auto& zone : std::filesystem::directory_iterator("/sys/class/thermal", error)) {
    if (zone.path().filename().string().rfind("thermal_zone", 0) != 0) continue;
    if (const auto milli = number_in(zone.path() / "temp")) hottest = std::max(hottest.value_or(-300), *milli / 1000.0);
  }
  return hottest;
}

utsname kernel() {
  utsname name{};
  uname(&name);
  return name;
}

/// "PREEMPT_RT", "PREEMPT_DYNAMIC (voluntary)", "PREEMPT", ...: from the kernel's version, which names what it was
/// built with; the mode that a dynamic one is in is readable for root.
std::optional<std::string> preemption() {
  std::istringstream words(kernel().version);
  for (std::string word; words >> word;) {
    if (word.rfind("PREEMPT", 0) != 0) continue;
    if (const auto modes = line_of("/sys/kernel/debug/sched/preempt")) {
      const std::size_t open = modes->find('(');
      const std::size_t close = modes->find(')');
      if (open != std::string::npos && close != std::string::npos && open < close)
        word.append(" ").append(*modes, open, close - open + 1);
    }
    return word;
  }
  return std::nullopt;
}

const char* policy_name() {
  switch (sched_getscheduler(0)) {
    case SCHED_OTHER:
      return "other";
    case SCHED_FIFO:
      return "fifo";
    case SCHED_RR:
      return "round robin";
    case SCHED_BATCH:
      return "batch";
    case SCHED_IDLE:
      return "idle";
    default:
      return "another";
  }
}

std::optional<int> policy_priority() {
  sched_param parameters{};
  if (sched_getparam(0, &parameters) != 0) return std::nullopt;
  return parameters.sched_priority;
}

std::vector<int> allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) cpus.push_back(cpu);
  return cpus;
}

std::optional<std::size_t> cache_bytes(int level) {
  for (int index = 0; index < 8; ++index) {
    const std::string folder = kCpus + "cpu0/cache/index" + std::to_string(index) + "/";
    if (number_in(folder + "level") != level || line_of(folder + "type") == "Instruction") continue;
    const auto size = line_of(folder + "size");  // "1024K"
    std::size_t count = 0;
    char unit = 0;
    if (!size || !(std::istringstream(*size) >> count)) return std::nullopt;
    std::istringstream(*size) >> count >> unit;
    return count * (unit == 'K' ? 1024U : unit == 'M' ? 1048576U : 1U);
  }
  return std::nullopt;
}

std::optional<std::size_t> memory_bytes() {
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page = sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page <= 0) return std::nullopt;
  return static_cast<std::size_t>(pages) * static_cast<std::size_t>(page);
}

std::optional<bool> virtual_machine() {
  const auto flags = cpu_info("flags");
  if (!flags) return std::nullopt;
  std::istringstream words(*flags);
  for (std::string word; words >> word;)
    if (word == "hypervisor") return true;
  return false;
}

/// Share of the CPUs' time between the two states that the host gave to others.
std::optional<double> stolen_percent(const MachineState& begin, const MachineState& end) {
  if (!begin.stolen_ticks || !end.stolen_ticks || *end.cpu_ticks <= *begin.cpu_ticks) return std::nullopt;
  return 100.0 * static_cast<double>(*end.stolen_ticks - *begin.stolen_ticks) /
         static_cast<double>(*end.cpu_ticks - *begin.cpu_ticks);
}

}  // namespace

std::optional<std::size_t> last_level_cache_bytes() {
  for (int level = 4; level >= 2; --level)
    if (const auto bytes = cache_bytes(level)) return bytes;
  return std::nullopt;
}

MachineState MachineState::now() {
  MachineState state;
  state.frequency_mhz = bench::frequency_mhz("scaling_cur_freq");
  state.temperature_c = bench::temperature_c();
  state.load_average = number_in("/proc/loadavg");
  if (const auto line = line_of("/proc/stat")) {  // cpu user nice system idle iowait irq softirq steal guest ...
    std::istringstream words(*line);
    std::string name;
    words >> name;
    std::uint64_t total = 0;
    std::uint64_t ticks = 0;
    for (int column = 0; column < 8 && words >> ticks; ++column) {
      total += ticks;
      if (column == 7) state.stolen_ticks = ticks;
    }
    state.cpu_ticks = total;
  }
  return state;
}

double clock_cost_ns() {
  double best = 1e9;
  for (int run = 0; run < 20; ++run) {
    constexpr int kReadings = 1000;
    const std::uint64_t start = monotonic_ns();
    std::uint64_t last = start;
    for (int i = 0; i < kReadings; ++i) last = monotonic_ns();
    best = std::min(best, static_cast<double>(last - start) / kReadings);
  }
  return best;
}

void write_machine(JsonWriter& json, const MachineState& begin, const MachineState& end) {
  const utsname name = kernel();
  json.member("processor", processor());
  json.member("architecture", name.machine);
  std::vector<std::string_view> isas;
  for (const Isa isa : supported_isas()) isas.emplace_back(isa_name(isa));
  json.member("isa", isa_name(default_isa()));
  json.member("supported_isas", isas);
  json.member("cpus", std::thread::hardware_concurrency());
  json.member("allowed_cpus", allowed_cpus());
  json.member("isolated_cpus", cpu_list("isolated"));
  json.member("tickless_cpus", cpu_list("nohz_full"));
  json.object("cache_bytes", [&] {
    json.member("l1d", cache_bytes(1));
    json.member("l2", cache_bytes(2));
    json.member("l3", cache_bytes(3));
  });
  json.member("memory_bytes", memory_bytes());
  json.member("governor", governor());
  json.object("frequency_mhz", [&] {
    json.member("begin", begin.frequency_mhz);
    json.member("end", end.frequency_mhz);
    json.member("highest", frequency_mhz("cpuinfo_max_freq"));
  });
  json.object("temperature_c", [&] {
    json.member("begin", begin.temperature_c);
    json.member("end", end.temperature_c);
  });
  json.object("load_average", [&] {
    json.member("begin", begin.load_average);
    json.member("end", end.load_average);
  });
  json.member("stolen_percent", stolen_percent(begin, end));
  json.member("virtual_machine", virtual_machine());
  json.member("kernel", std::string_view(name.release));
  json.member("kernel_version", std::string_view(name.version));
  json.member("preemption", preemption());
  json.member("scheduling", policy_name());
  json.member("priority", policy_priority());
  json.member("clock_cost_ns", clock_cost_ns());
}

std::string describe_machine() {
  std::string text = processor().value_or("unknown processor") + ", " + isa_name(default_isa()) + ", " +
                     std::to_string(std::thread::hardware_concurrency()) + " CPUs, Linux " + kernel().release;
  if (const auto model = preemption()) text.append(" ").append(*model);
  if (const auto name = governor()) text.append(", governor ").append(*name);
  return text;
}

}  // namespace linkcast::bench
