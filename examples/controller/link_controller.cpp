// Shapes an interface of Linux to what linkcast decides: reads counters and TCP round-trip times once a second,
// forecasts, decides, and prints the tc commands. With --apply it runs them (needs CAP_NET_ADMIN), and puts the
// interface back as it was when it ends: after --ticks, on an error, on SIGINT, SIGTERM, SIGHUP and SIGQUIT.
//
//     link_controller --interface eth0 --capacity-mbps 100 [--shaper cake|htb] [--profile internet] [--ticks N]
//     [--apply]
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>

#include <linkcast/linkcast.hpp>

#include "telemetry.h"
#include "traffic_control.h"

namespace {

constexpr std::uint64_t kTickNs = 1'000'000'000;  // the profiles' models have a time step of one second

struct Settings {
  std::string interface;
  std::string profile = "internet";
  double capacity_mbps = 0;
  Shaper shaper = Shaper::cake;
  long ticks = 0;  // 0: until a signal
  bool apply = false;
};

volatile std::sig_atomic_t stopped = 0;

Settings parse(int argc, char** argv) {
  Settings settings;
  for (int k = 1; k < argc; ++k) {
    const std::string option = argv[k];
    if (option == "--apply") {
      settings.apply = true;
      continue;
    }
    if (k + 1 == argc) throw std::invalid_argument(option + ": expected a value");
    const std::string value = argv[++k];
    if (option == "--interface")
      settings.interface = value;
    else if (option == "--profile")
      settings.profile = value;
    else if (option == "--capacity-mbps")
      settings.capacity_mbps = std::atof(value.c_str());
    else if (option == "--ticks")
      settings.ticks = std::atol(value.c_str());
    else if (option == "--shaper" && (value == "cake" || value == "htb"))
      settings.shaper = value == "cake" ? Shaper::cake : Shaper::htb;
    else
      throw std::invalid_argument(option + " " + value + ": unknown");
  }
  if (settings.interface.empty() || !(settings.capacity_mbps > 0))
    throw std::invalid_argument("expected --interface NAME --capacity-mbps NUMBER");
  return settings;
}

std::uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

void sleep_until(std::uint64_t at_ns) {
  const timespec at{static_cast<time_t>(at_ns / 1'000'000'000), static_cast<long>(at_ns % 1'000'000'000)};
  while (!stopped && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr) == EINTR) {
  }
}

void print(long tick, const std::optional<std::array<float, 4>>& sample, const linkcast_decision& decision) {
  std::printf("tick %ld: ", tick);
  if (sample)
    std::printf("rtt %.2f ms, sent %.3f Mbit/s, loss %.4f, reliability %.4f; ", (*sample)[0], (*sample)[1],
                (*sample)[2], (*sample)[3]);
  else
    std::printf("no telemetry; ");
  std::printf("forecast %.3f Mbit/s (%s), allocation %.3f Mbit/s%s%s, %.1f us\n", decision.forecast_mbps,
              linkcast_source_name(decision.source), decision.allocation_mbps,
              decision.limits & LINKCAST_LIMIT_STALLED ? ", stalled" : "",
              decision.limits & LINKCAST_LIMIT_HOLDING ? ", holding" : "",
              static_cast<double>(decision.latency_ns) / 1e3);
  std::fflush(stdout);
}

/// What to shape to. Traffic that fills its rate may want far more than can be measured, and any forecast of it is too
/// low: all of the link is given at once. Less is given slowly, by at most a fifth of the capacity in a tick, so that a
/// short lull costs nothing.
/// @param applied_mbps  below 0 before the first
double next_rate(const linkcast_decision& decision, double sent_mbps, double applied_mbps, double capacity_mbps) {
  constexpr double kFull = 0.95;
  constexpr double kFall = 0.2;
  if (applied_mbps > 0 && sent_mbps >= kFull * applied_mbps) return capacity_mbps;
  return std::max(decision.allocation_mbps, applied_mbps - kFall * capacity_mbps);
}

void run(const Settings& settings) {
  Telemetry telemetry(settings.interface);
  TrafficControl shaper(settings.interface, settings.shaper, settings.apply);
  linkcast::Engine engine;
  linkcast_controller_options options = linkcast::Controller::default_options(settings.capacity_mbps);
  options.headroom = 1.2;  // 20 % above the forecast
  linkcast::Controller controller(engine, settings.profile, options);

  double applied_mbps = -1;
  const std::uint64_t start = now_ns();
  for (long tick = 0; !stopped && (settings.ticks == 0 || tick < settings.ticks); ++tick) {
    sleep_until(start + static_cast<std::uint64_t>(tick) * kTickNs);
    if (stopped) break;
    const std::uint64_t now = now_ns();
    const auto sample = telemetry.sample(now);
    const linkcast_decision decision = sample ? controller.tick(*sample, now) : controller.tick_missing(now);
    print(tick, sample, decision);
    const double rate_mbps = next_rate(decision, sample ? (*sample)[1] : 0, applied_mbps, settings.capacity_mbps);
    if (std::fabs(rate_mbps - applied_mbps) > 0.01 * settings.capacity_mbps) {
      shaper.set_rate(rate_mbps);
      applied_mbps = rate_mbps;
    }
    controller.advance();
  }
  const linkcast_controller_stats counts = controller.stats();
  std::printf("%llu ticks, %llu without telemetry, %llu stalls, %llu changes\n",
              static_cast<unsigned long long>(counts.ticks), static_cast<unsigned long long>(counts.missing),
              static_cast<unsigned long long>(counts.stalls), static_cast<unsigned long long>(counts.changes));
}

}  // namespace

int main(int argc, char** argv) {
  struct sigaction stop{};
  stop.sa_handler = [](int) { stopped = 1; };
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaction(signal, &stop, nullptr);
  try {
    run(parse(argc, argv));
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "link_controller: " << error.what() << "\n";
    return 1;
  }
}
