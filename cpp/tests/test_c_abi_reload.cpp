// Reload while other threads call: none of their calls fails, bad folders change nothing, and memory does not grow.
//
// LINKCAST_TEST_RELOADS sets how many reloads.
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "linkcast/linkcast.hpp"

namespace {

namespace fs = std::filesystem;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // slower, and keeps memory that was freed
#else
constexpr bool kSanitized = false;
#endif

constexpr std::array<float, 4> kSample{50.0F, 2.5F, 0.001F, 0.999F};

fs::path bundle() {
  const char* folder = std::getenv("LINKCAST_BUNDLE");
  return folder ? folder : "";
}

int reloads() {
  const char* given = std::getenv("LINKCAST_TEST_RELOADS");
  return given ? std::atoi(given) : kSanitized ? 12 : 200;
}

/// Folders beside each other, good and bad; removed at the end.
class Folders {
 public:
  Folders() : root_(fs::temp_directory_path() / ("linkcast_reload_" + std::to_string(getpid()))) {
    good = copy("good");
    flipped = copy("flipped");
    damage(flipped / "models" / "streaming_model.tflite");
    truncated = copy("truncated");
    fs::resize_file(truncated / "models" / "internet_ddqn.tflite", 2000);
    no_scalers = copy("no_scalers");
    fs::remove(no_scalers / "metadata" / "scalers.json");
  }
  ~Folders() {
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }
  Folders(const Folders&) = delete;
  Folders& operator=(const Folders&) = delete;

  fs::path good;
  fs::path flipped;
  fs::path truncated;
  fs::path no_scalers;

 private:
  fs::path copy(const char* name) const {
    fs::create_directories(root_ / name);
    for (const char* part : {"models", "metadata"})
      fs::copy(bundle() / part, root_ / name / part, fs::copy_options::recursive);
    return root_ / name;
  }
  static void damage(const fs::path& file) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(5000);
    const int byte = stream.get();
    stream.seekp(5000);
    stream.put(static_cast<char>(byte ^ 0x10));
  }

  fs::path root_;
};

long resident_kilobytes() {
  std::ifstream statm("/proc/self/statm");
  long size = 0;
  long resident = 0;
  statm >> size >> resident;
  return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

/// One thread's engine and what came of its calls.
struct Caller {
  linkcast::Engine engine{bundle().string()};
  long calls = 0;
  long failed = 0;
  long wrong = 0;

  void run(const std::atomic<bool>& done) {
    const linkcast_model forecaster = engine.find("internet", LINKCAST_ROLE_FORECASTER);
    const linkcast_model allocator = engine.find("internet", LINKCAST_ROLE_ALLOCATOR);
    linkcast::Stream stream(engine, forecaster);
    std::vector<float> window;
    for (int step = 0; step < 10; ++step) window.insert(window.end(), kSample.begin(), kSample.end());
    const float expected = engine.forecast(forecaster, window).mbps;
    while (!done.load()) {
      linkcast_answer answer = LINKCAST_ANSWER_INIT;
      std::int32_t action = -1;
      failed += linkcast_forecast(engine.get(), forecaster, window.data(), window.size(), 0, &answer, 1, nullptr) !=
                LINKCAST_OK;
      wrong += answer.mbps != expected;
      failed += linkcast_decide(engine.get(), allocator, kSample.data(), 4, &action, 1, nullptr) != LINKCAST_OK;
      wrong += action < 0;
      const linkcast_status status =
          linkcast_stream_push(stream.get(), kSample.data(), 4, nullptr, 0, &answer, 1, nullptr);
      failed += status != LINKCAST_OK && status != LINKCAST_NOT_READY;
      if (status == LINKCAST_OK) wrong += !(std::fabs(answer.mbps - expected) <= 1e-3F);
      if (calls % 3000 == 0) failed += linkcast_stream_follow(stream.get()) != LINKCAST_OK;
      calls += 3;
      if (calls % 30 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));  // leaves the reloads some time
    }
  }
};

}  // namespace

TEST(reload_under_load_fails_no_call_and_keeps_no_memory) {
  const Folders folders;
  const std::array<std::string, 3> bad{folders.flipped.string(), folders.truncated.string(),
                                       folders.no_scalers.string()};
  std::array<Caller, 2> callers;
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (Caller& caller : callers) threads.emplace_back([&] { caller.run(done); });

  const int rounds = reloads();
  int unexpected = 0;
  long early_kb = 0;
  for (int round = 0; round < rounds; ++round) {
    linkcast_engine* engine = callers[static_cast<std::size_t>(round / 4 % 2)].engine.get();
    if (round % 4 == 3)
      unexpected +=
          linkcast_engine_reload(engine, bad[static_cast<std::size_t>(round / 4 % 3)].c_str()) != LINKCAST_ERROR_LOAD;
    else
      unexpected += linkcast_engine_reload(engine, folders.good.c_str()) != LINKCAST_OK;
    if (round == rounds / 2) early_kb = resident_kilobytes();
  }
  const long late_kb = resident_kilobytes();
  done = true;
  for (std::thread& thread : threads) thread.join();
  std::printf("%d reloads, %ld and %ld calls; resident %ld kB half-way, %ld kB at the end\n", rounds, callers[0].calls,
              callers[1].calls, early_kb, late_kb);
  CHECK_EQ(unexpected, 0);
  for (const Caller& caller : callers) {
    CHECK(caller.calls > 0);
    CHECK_EQ(caller.failed, 0L);
    CHECK_EQ(caller.wrong, 0L);
  }
  // At either time the streams may hold an engine that was replaced. Two engines more would be some 40 MB.
  if (!kSanitized) CHECK(late_kb - early_kb < 16 * 1024);
}

/// What is said of the heap's pages stays said: were weights of the heap, each reload would make more of it huge pages.
TEST(no_page_of_the_heap_is_asked_to_be_huge) {
  linkcast::Engine engine(bundle().string());
  engine.reload();
  std::ifstream maps("/proc/self/smaps");
  bool of_heap = false;
  long heaps = 0;
  long huge = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.find('-') < line.find(' ')) of_heap = line.find("[heap]") != std::string::npos;  // a mapping's first line
    if (!of_heap || line.rfind("VmFlags:", 0) != 0) continue;
    ++heaps;
    huge += line.find(" hg") != std::string::npos;
  }
  if (!kSanitized) CHECK(heaps > 0);  // a sanitizer's allocator asks for mappings of its own
  CHECK_EQ(huge, 0L);
}

TEST(two_threads_on_one_engine_are_answered_or_told_that_it_is_busy) {
  linkcast::Engine engine(bundle().string());
  const linkcast_model forecaster = engine.find("internet", LINKCAST_ROLE_FORECASTER);
  std::vector<float> window;
  for (int step = 0; step < 10; ++step) window.insert(window.end(), kSample.begin(), kSample.end());
  const float expected = engine.forecast(forecaster, window).mbps;
  std::array<long, 2> wrong{};
  const auto call = [&](std::size_t thread) {
    for (int round = 0; round < 5000; ++round) {
      linkcast_answer answer = LINKCAST_ANSWER_INIT;
      const auto status =
          linkcast_forecast(engine.get(), forecaster, window.data(), window.size(), 0, &answer, 1, nullptr);
      wrong[thread] += !((status == LINKCAST_OK && answer.mbps == expected) || status == LINKCAST_ERROR_BUSY);
    }
  };
  std::thread other(call, 1);
  call(0);
  other.join();
  CHECK_EQ(wrong[0], 0L);
  CHECK_EQ(wrong[1], 0L);
}
