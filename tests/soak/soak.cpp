// A loop at 1 kHz for as long as it is told, with all that a controller meets: reloads of good and bad folders, values
// that are none, telemetry that stops, forks. A line of JSON a second: memory, latency, what was counted.
//
//     soak SECONDS RELOAD_EVERY_S GOOD_FOLDER BAD_FOLDER        (run.py makes the folders, and judges the lines)
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <limits>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "linkcast/linkcast.hpp"

namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kTick = kSecond / 1000;
constexpr long kBadEvery = 97;        // ticks
constexpr long kSilenceEvery = 3000;  // ticks; the last kSilence of them are without telemetry
constexpr long kSilence = 500;
constexpr long kForkEvery = 5000;

std::uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * kSecond + static_cast<std::uint64_t>(now.tv_nsec);
}

void sleep_until(std::uint64_t when) {
  const timespec wanted{static_cast<std::time_t>(when / kSecond), static_cast<long>(when % kSecond)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wanted, nullptr) == EINTR) {
  }
}

/// kB of a line of /proc/self/status.
long memory(const char* key) {
  std::array<char, 256> line{};
  long kilobytes = -1;
  std::FILE* file = std::fopen("/proc/self/status", "r");
  while (file && std::fgets(line.data(), static_cast<int>(line.size()), file))
    if (std::strncmp(line.data(), key, std::strlen(key)) == 0)
      kilobytes = std::atol(line.data() + std::strlen(key) + 1);
  if (file) std::fclose(file);
  return kilobytes;
}

struct Counters {
  long ticks = 0;
  long bad_inputs = 0;  // refused, as they have to be
  long silent = 0;      // ticks without telemetry
  long forks = 0;       // children that went on with the loop's handles
  long busy_forks = 0;  // put off, as a reload was under way
  long late = 0;        // ticks that began after the next one was due
  long unexpected = 0;  // anything else than the header says
};

struct Reloads {
  std::mutex loading;  // held during a reload: the loop does not fork then
  std::mutex mutex;
  std::condition_variable stop;
  bool stopped = false;
  std::atomic<long> good{0};
  std::atomic<long> refused{0};
  std::atomic<long> unexpected{0};
};

void keep_reloading(linkcast_engine* engine, double every_s, const char* good, const char* bad, Reloads& reloads) {
  std::unique_lock lock(reloads.mutex);
  for (long n = 1;; ++n) {
    if (reloads.stop.wait_for(lock, std::chrono::duration<double>(every_s), [&] { return reloads.stopped; })) return;
    const std::lock_guard loading(reloads.loading);
    const bool refuse = n % 5 == 0;
    const auto status = linkcast_engine_reload(engine, refuse ? bad : good);
    const auto expected = refuse ? LINKCAST_ERROR_LOAD : LINKCAST_OK;
    if (status != expected) {
      std::fprintf(stderr, "reload: %s, %s\n", linkcast_status_name(status), linkcast_last_error());
      ++reloads.unexpected;
    }
    ++(refuse ? reloads.refused : reloads.good);
  }
}

class Loop {
 public:
  explicit Loop(linkcast::Engine& engine)
      : engine_(engine),
        forecaster_(engine.find("internet", LINKCAST_ROLE_FORECASTER)),
        allocator_(engine.find("internet", LINKCAST_ROLE_ALLOCATOR)),
        stream_(engine, forecaster_) {
    open_controller();
    for (std::size_t step = 0; step < 10; ++step) {
      const auto sample = sample_of(static_cast<long>(step));
      window_.insert(window_.end(), sample.begin(), sample.end());
    }
  }

  Counters count;

  /// The hot calls of a tick.
  void tick(long n) {
    ++count.ticks;
    const bool silent = n % kSilenceEvery >= kSilenceEvery - kSilence;
    count.silent += silent;
    const auto sample = sample_of(n);
    const float* telemetry = silent ? nullptr : sample.data();
    const std::uint64_t when = static_cast<std::uint64_t>(n + 1) * kSecond;  // a time step of the models: a second
    linkcast_answer answer = LINKCAST_ANSWER_INIT;
    linkcast_decision decision = LINKCAST_DECISION_INIT;
    const auto pushed =
        linkcast_stream_push(stream_.get(), telemetry, silent ? 0 : sample.size(), nullptr, 0, &answer, 1, nullptr);
    expect(pushed == LINKCAST_OK || pushed == LINKCAST_NOT_READY, "push");
    expect(pushed != LINKCAST_OK || std::isfinite(answer.mbps), "an answer that is no number");
    expect_ok(linkcast_controller_tick(controller_, telemetry, silent ? 0 : sample.size(), when, &decision), "tick");
    expect(decision.allocation_fraction > 0 && decision.allocation_fraction <= 1, "an allocation out of range");
    std::int32_t action = -1;
    expect_ok(linkcast_decide(engine_.get(), allocator_, sample.data(), sample.size(), &action, 1, nullptr), "decide");
    expect_ok(linkcast_forecast(engine_.get(), forecaster_, window_.data(), window_.size(), 0, &answer, 1, nullptr),
              "forecast");
    expect_ok(linkcast_controller_advance(controller_), "controller_advance");
    expect_ok(linkcast_stream_advance(stream_.get()), "stream_advance");
    if (n % kBadEvery == 0) bad_input(n, when);
  }

  /// What is not hot: behind each reload the stream follows, and the controller is opened again with what it learnt.
  void follow() {
    expect_ok(linkcast_stream_follow(stream_.get()), "follow");
    std::size_t size = 0;
    expect_ok(linkcast_controller_snapshot(controller_, nullptr, 0, &size), "snapshot's size");
    std::vector<unsigned char> bytes(size);
    expect_ok(linkcast_controller_snapshot(controller_, bytes.data(), bytes.size(), &size), "snapshot");
    expect_ok(linkcast_controller_close(controller_), "close");
    open_controller();
    expect_ok(linkcast_controller_restore(controller_, bytes.data(), size, 0), "restore");
  }

  /// A child goes on with the handles, and ends.
  void fork_one(long n) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(60);
      const long before = count.unexpected;
      for (long k = 1; k <= 50; ++k) tick(n + k);
      _exit(count.unexpected == before ? 0 : 1);
    }
    if (child > 0) children_.push_back(child);
    expect(child > 0, "fork");
  }

  void collect(bool wait) {
    for (auto it = children_.begin(); it != children_.end();) {
      int status = 0;
      if (waitpid(*it, &status, wait ? 0 : WNOHANG) == 0) {
        ++it;
        continue;
      }
      expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child of fork()");
      ++count.forks;
      it = children_.erase(it);
    }
  }

 private:
  static std::array<float, 4> sample_of(long n) {
    const auto phase = static_cast<float>(n % 3600) / 60.0F;
    return {50.0F + 30.0F * std::sin(phase), 2.5F + std::cos(phase), 0.001F, 0.999F};
  }

  void open_controller() {
    linkcast_controller_options options = LINKCAST_CONTROLLER_OPTIONS_INIT;
    options.capacity_mbps = 100;
    linkcast::check(linkcast_controller_open(engine_.get(), "internet", &options, &controller_));
  }

  /// Each has its status, and nothing else happens.
  void bad_input(long n, std::uint64_t when) {
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    const std::array<float, 4> not_finite{kNan, 2.5F, 0.001F, 0.999F};
    const std::array<float, 4> not_a_share{50.0F, 2.5F, 7.0F, 0.999F};
    const bool unit = n / kBadEvery % 2 == 0;
    const float* bad = unit ? not_a_share.data() : not_finite.data();
    const auto expected = unit ? LINKCAST_ERROR_UNIT : LINKCAST_ERROR_NOT_FINITE;
    linkcast_answer answer = LINKCAST_ANSWER_INIT;
    linkcast_decision decision = LINKCAST_DECISION_INIT;
    refused(linkcast_stream_push(stream_.get(), bad, 4, nullptr, 0, &answer, 1, nullptr), expected);
    refused(linkcast_controller_tick(controller_, bad, 4, when, &decision), expected);
    refused(linkcast_stream_push(stream_.get(), bad, 3, nullptr, 0, &answer, 1, nullptr), LINKCAST_ERROR_ARGUMENT);
    refused(linkcast_decide(engine_.get(), 9999, bad, 4, nullptr, 1, nullptr), LINKCAST_ERROR_ARGUMENT);
    refused(linkcast_controller_advance(reinterpret_cast<linkcast_controller*>(std::uintptr_t{12345})),
            LINKCAST_ERROR_HANDLE);
  }

  void refused(linkcast_status status, linkcast_status expected) {
    count.bad_inputs += status == expected;
    expect(status == expected, "bad input");
  }
  void expect_ok(linkcast_status status, const char* what) { expect(status == LINKCAST_OK, what); }
  void expect(bool holds, const char* what) {
    if (holds) return;
    if (++count.unexpected <= 20) std::fprintf(stderr, "tick %ld: %s: %s\n", count.ticks, what, linkcast_last_error());
  }

  linkcast::Engine& engine_;
  linkcast_model forecaster_;
  linkcast_model allocator_;
  linkcast::Stream stream_;
  linkcast_controller* controller_ = nullptr;  // closed with its engine's process
  std::vector<float> window_;
  std::vector<pid_t> children_;
};

void report(double t_s, std::vector<std::uint64_t>& latencies, const Counters& count, Reloads& reloads) {
  const std::unique_lock idle(reloads.loading, std::try_to_lock);  // memory is that of one engine then
  std::sort(latencies.begin(), latencies.end());
  const auto at = [&](double share) {
    const auto index = static_cast<std::size_t>(share * static_cast<double>(latencies.size() - 1));
    return static_cast<double>(latencies[index]) / 1e3;
  };
  std::printf(
      "{\"t_s\": %.3f, \"reloading\": %s, \"rss_kb\": %ld, \"anon_kb\": %ld, \"heap_in_use\": %zu, \"p50_us\": %.2f, "
      "\"p999_us\": %.2f, "
      "\"max_us\": %.2f, \"ticks\": %ld, \"reloads\": %ld, \"refused_reloads\": %ld, \"bad_inputs\": %ld, "
      "\"silent\": %ld, \"forks\": %ld, \"busy_forks\": %ld, \"late\": %ld, \"unexpected\": %ld}\n",
      t_s, idle.owns_lock() ? "false" : "true", memory("VmRSS"), memory("RssAnon"), mallinfo2().uordblks, at(0.5),
      at(0.999), at(1.0), count.ticks, reloads.good.load(), reloads.refused.load(), count.bad_inputs, count.silent,
      count.forks, count.busy_forks, count.late, count.unexpected + reloads.unexpected.load());
  std::fflush(stdout);
  latencies.clear();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "soak SECONDS RELOAD_EVERY_S GOOD_FOLDER BAD_FOLDER\n");
    return 2;
  }
  const double seconds = std::atof(argv[1]);
  try {
    linkcast::Engine engine(argv[3]);
    Loop loop(engine);
    Reloads reloads;
    std::thread reloader([&] { keep_reloading(engine.get(), std::atof(argv[2]), argv[3], argv[4], reloads); });

    std::vector<std::uint64_t> latencies;
    latencies.reserve(4096);
    const std::uint64_t start = now_ns();
    const std::uint64_t end = start + static_cast<std::uint64_t>(seconds * static_cast<double>(kSecond));
    long followed = 0;
    std::uint64_t due = start;
    for (long n = 0; due < end; ++n) {
      const std::uint64_t begin = now_ns();
      loop.tick(n);
      latencies.push_back(now_ns() - begin);
      if (const long done = reloads.good.load(); done != followed) {
        followed = done;
        loop.follow();
      }
      if (n % kForkEvery == kForkEvery - 1) {
        const std::unique_lock idle(reloads.loading, std::try_to_lock);
        if (idle.owns_lock())
          loop.fork_one(n);
        else
          ++loop.count.busy_forks;
      }
      loop.collect(false);
      if (n % 1000 == 999) report(static_cast<double>(now_ns() - start) / 1e9, latencies, loop.count, reloads);
      due += kTick;
      if (const std::uint64_t now = now_ns(); now > due + kTick) {
        ++loop.count.late;
        due = now;  // as a loop that was away goes on from now
      }
      sleep_until(due);
    }
    loop.collect(true);
    {
      const std::lock_guard lock(reloads.mutex);
      reloads.stopped = true;
    }
    reloads.stop.notify_one();
    reloader.join();
    latencies.push_back(0);
    report(static_cast<double>(now_ns() - start) / 1e9, latencies, loop.count, reloads);
    return loop.count.unexpected + reloads.unexpected.load() == 0 ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
