// One window on two cores: the bits of one core whatever becomes of the helper.
#include <dirent.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <future>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "check.h"
#include "kernels/choice.h"
#include "kernels/helper.h"
#include "kernels/network.h"
#include "network_reference.h"

using namespace linkcast;
using reference::Random;

namespace {

using namespace std::chrono_literals;

constexpr Patience patient{2'000'000'000, 4'000'000'000};
constexpr std::uint64_t test_ns = 20'000'000'000;  // that a machine which runs other things may need

std::shared_ptr<Helper> a_helper() { return std::make_shared<Helper>(SecondCore::any, SecondCore::most_spin_us); }

NetworkSpec of(std::size_t steps, std::size_t features, std::vector<LayerSpec> layers) {
  return {steps, features, true, std::move(layers)};
}

struct Architecture {
  const char* name;
  NetworkSpec spec;
};

std::vector<Architecture> architectures() {
  Random random(11);
  return {
      {"the forecaster's", reference::forecaster(12)},
      {"units that fill no vector, an odd number of steps",
       of(7, 5,
          {random.lstm(5, 21), random.affine(21), random.lstm(21, 13), LastStepSpec{},
           random.dense(13, 2, Activation::none)})},
      {"odd numbers of blocks", of(10, 3, {random.lstm(3, 48), random.lstm(48, 80), LastStepSpec{}})},
      {"four steps", of(4, 4, {random.lstm(4, 16), random.lstm(16, 16), LastStepSpec{}})},
      {"every step wanted, and a layer in front",
       of(6, 4,
          {random.dense(4, 24, Activation::relu), random.lstm(24, 32), random.lstm(32, 24), random.lstm(24, 8),
           FlattenSpec{}, random.dense(48, 3, Activation::tanh)})},
      {"the steps themselves", of(5, 4, {random.lstm(4, 16), random.lstm(16, 12)})},
      {"two stacks", of(5, 4,
                        {random.lstm(4, 16), random.lstm(16, 12), random.dense(12, 9, Activation::none),
                         random.lstm(9, 16), random.lstm(16, 12), LastStepSpec{}})},
  };
}

std::vector<const kernels::Kernels*> tables() {
  std::vector<const kernels::Kernels*> all;
  for (const Isa isa : supported_isas())
    for (const Precision precision : {Precision::float32, Precision::bfloat16, Precision::int8})
      for (const kernels::Kernels* table : kernels::candidates(isa, precision)) all.push_back(table);
  return all;
}

std::vector<float> answer_of(Network& network, const std::vector<float>& window, Deadline deadline = {}) {
  std::vector<float> answer(network.output_steps() * network.outputs());
  CHECK(network.run(window.data(), 1, answer.data(), deadline));
  return answer;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// Runs windows on one core and on two, until `times` more have been helped.
void compare(Network& one, Network& two, std::uint64_t times, unsigned seed = 13, Deadline deadline = {}) {
  Random random(seed);
  const std::uint64_t wanted = two.help_counts().helped + times;
  const std::uint64_t give_up = monotonic_ns() + test_ns;
  while (two.help_counts().helped < wanted) {
    CHECK(monotonic_ns() < give_up);
    const auto window = random.floats(one.steps() * one.features(), -1.5f, 1.5f);
    CHECK(same_bits(answer_of(two, window, deadline), answer_of(one, window, deadline)));
  }
}

std::set<long> threads() {
  std::set<long> ids;
  DIR* const folder = opendir("/proc/self/task");
  while (const dirent* entry = readdir(folder))
    if (entry->d_name[0] != '.') ids.insert(std::stol(entry->d_name));
  closedir(folder);
  return ids;
}

const std::size_t threads_at_start = threads().size();  // a sanitizer has its own

/// Whether the process comes to have so many threads: one that has been joined is listed for a moment yet.
bool come_to(std::size_t count) {
  const std::uint64_t give_up = monotonic_ns() + test_ns;
  while (threads().size() != count && monotonic_ns() < give_up) usleep(100);
  return threads().size() == count;
}

std::atomic<bool> held{false};
std::atomic<bool> is_held{false};

void hold(int) {
  is_held = true;
  while (held) usleep(50);
  is_held = false;
}

/// A helper that can be stopped wherever it is, as the system stops a thread: a signal's handler waits in it.
class HeldHelper {
 public:
  HeldHelper() {
    struct sigaction action = {};
    action.sa_handler = hold;
    sigaction(SIGPROF, &action, nullptr);  // the one that its thread takes
    const std::set<long> before = threads();
    helper = a_helper();
    for (const long id : threads())
      if (!before.contains(id)) thread_ = id;
    CHECK(thread_ != 0);
  }
  ~HeldHelper() { release(); }
  void stop() {
    held = true;
    syscall(SYS_tgkill, getpid(), thread_, SIGPROF);
    while (!is_held) usleep(20);
  }
  void release() {
    held = false;
    while (is_held) usleep(20);
  }

  std::shared_ptr<Helper> helper;

 private:
  long thread_ = 0;
};

struct Blocker final : Helper::Task {
  std::atomic<bool> begun{false};
  std::atomic<bool> over{false};
  void help() noexcept override {
    begun = true;
    while (!over) usleep(50);
  }
};

/// "0" when `body` returns true in a child of fork(); "2" when it fails a check, which must not get to this program's loop.
std::string in_child(const std::function<bool()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    try {
      _exit(body() ? 0 : 1);
    } catch (const std::exception&) {
      _exit(2);
    }
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status)) : std::to_string(WEXITSTATUS(status));
}

template <class Call>
std::string refusal(const Call& call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST(two_cores_give_the_bits_of_one_on_every_table_of_kernels) {
  const auto helper = a_helper();
  for (const kernels::Kernels* table : tables()) {
    for (const Architecture& architecture : architectures()) {
      Network one(architecture.spec, *table);
      Network two(architecture.spec, *table);
      CHECK(two.has_tail());
      two.share_tail(helper, patient);
      compare(one, two, 2);
      compare(one, two, 1, 14, Deadline::in(test_ns));
    }
  }
}

TEST(windows_of_any_values_have_the_bits_of_one_core) {
  Network one(reference::forecaster(15), default_isa());
  Network two(reference::forecaster(15), default_isa());
  two.share_tail(a_helper(), patient);
  compare(one, two, 1);
  for (const float value : {0.0f, 1e-40f, -1e-40f, 100.0f, -1e30f, std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()}) {
    const std::vector<float> window(40, value);
    for (int k = 0; k < 10; ++k) CHECK(same_bits(answer_of(two, window), answer_of(one, window)));
  }
}

TEST(batches_and_streams_are_the_callers_alone) {
  Network one(reference::forecaster(16), default_isa());
  Network two(reference::forecaster(16), default_isa());
  two.share_tail(a_helper(), patient);
  one.reserve(3);
  two.reserve(3);
  const auto windows = Random(17).floats(3 * 40, 0.0f, 1.0f);
  std::vector<float> expected(3), got(3), states(two.state_size()), other_states(one.state_size());
  one.run(windows.data(), 3, expected.data());
  two.run(windows.data(), 3, got.data());
  CHECK(same_bits(got, expected));
  one.step(windows.data(), 0, 1, other_states.data(), expected.data());
  two.step(windows.data(), 0, 1, states.data(), got.data());
  CHECK(same_bits(got, expected));
  CHECK_EQ(two.help_counts().helped + two.help_counts().alone + two.help_counts().missed, 0U);
}

TEST(the_helper_rounds_as_its_caller_does) {
#if defined(__x86_64__)
  Network one(reference::forecaster(18), default_isa());
  Network two(reference::forecaster(18), default_isa());
  two.share_tail(a_helper(), patient);
  const std::uint64_t usual = float_mode();
  compare(one, two, 3);
  Random random(19);
  const auto window = random.floats(40, 0.0f, 1.0f);
  const auto nearest = answer_of(one, window);
  set_float_mode(usual | 0x6000);  // towards zero
  const auto cut = answer_of(one, window);
  compare(one, two, 3);
  set_float_mode(usual);
  compare(one, two, 3);
  CHECK(!same_bits(nearest, cut));  // or the mode would say nothing
#else
  SKIP("written for x86-64");
#endif
}

TEST(a_helper_that_is_stopped_anywhere_delays_a_window_by_no_more_than_the_patience) {
  Network one(reference::forecaster(20), default_isa());
  Network two(reference::forecaster(20), default_isa());
  const auto some_window = Random(20).floats(40, 0.0f, 1.0f);
  answer_of(one, some_window);
  const std::uint64_t start = monotonic_ns();
  for (int k = 0; k < 10; ++k) answer_of(one, some_window);
  const std::uint64_t window_ns = (monotonic_ns() - start) / 10;
  const Patience patience{5 * window_ns, 10 * window_ns};
  HeldHelper stopped;
  two.share_tail(stopped.helper, patience);
  std::atomic<bool> over{false};
  std::atomic<int> stops{0};
  std::thread other([&] {
    for (unsigned k = 0; !over; ++k) {
      std::this_thread::sleep_for(std::chrono::nanoseconds(window_ns * (20 + k % 50)));
      stopped.stop();
      std::this_thread::sleep_for(std::chrono::nanoseconds(15 * window_ns));
      stopped.release();
      ++stops;
    }
  });
  Random random(21);
  std::uint64_t runs = 0;
  bool same = true;
  const std::uint64_t give_up = monotonic_ns() + test_ns;
  while ((two.help_counts().missed < 20 || two.help_counts().helped < 20 || stops < 20) && monotonic_ns() < give_up) {
    const auto window = random.floats(40, 0.0f, 1.0f);
    same = same && same_bits(answer_of(two, window), answer_of(one, window));
    ++runs;
    if (runs % 64 == 0) std::this_thread::sleep_for(100us);
  }
  over = true;
  other.join();
  CHECK(same);
  const HelpCounts counts = two.help_counts();
  CHECK(counts.missed >= 20 && counts.helped >= 20);
  CHECK_EQ(counts.helped + counts.alone + counts.missed, runs);
}

TEST(while_a_helper_is_stopped_in_a_window_no_other_waits_for_it) {
  Network one(reference::forecaster(22), default_isa());
  Network two(reference::forecaster(22), default_isa());
  HeldHelper stopped;
  two.share_tail(stopped.helper, patient);
  compare(one, two, 1);
  two.share_tail(stopped.helper, {1000, patient.end_ns});
  stopped.stop();
  const auto window = Random(23).floats(40, 0.0f, 1.0f);
  const auto expected = answer_of(one, window);
  const std::uint64_t start = monotonic_ns();
  for (int k = 0; k < 50; ++k) CHECK(same_bits(answer_of(two, window), expected));
  CHECK(monotonic_ns() - start < patient.end_ns);  // it has begun none of them
  CHECK_EQ(two.help_counts().helped, 0U);
  CHECK(two.help_counts().missed >= 1 && two.help_counts().missed < 10);  // it is not asked each time
  stopped.release();
  two.share_tail(stopped.helper, patient);
  compare(one, two, 3);
}

TEST(a_network_can_be_closed_while_its_helper_is_stopped) {
  const auto window = Random(24).floats(40, 0.0f, 1.0f);
  HeldHelper stopped;
  for (int k = 0; k < 20; ++k) {
    auto network = std::make_unique<Network>(reference::forecaster(25), default_isa());
    network->share_tail(stopped.helper, {500, 1000});
    std::thread other([&] {
      std::this_thread::sleep_for(std::chrono::microseconds(20 * k));
      stopped.stop();
      std::this_thread::sleep_for(2ms);
      stopped.release();
    });
    for (int call = 0; call < 20; ++call) answer_of(*network, window);
    network.reset();
    other.join();
  }
}

TEST(a_helper_is_closed_while_it_looks_for_work_and_while_it_sleeps) {
#if defined(__SANITIZE_THREAD__)
  SKIP("ThreadSanitizer has threads of its own, and starts them when it likes");
#endif
  const auto window = Random(26).floats(40, 0.0f, 1.0f);
  for (const std::uint32_t spin_us : {1U, SecondCore::most_spin_us}) {
    CHECK(come_to(threads_at_start));
    auto network = std::make_unique<Network>(reference::forecaster(27), default_isa());
    network->share_tail(std::make_shared<Helper>(SecondCore::any, spin_us), patient);
    CHECK_EQ(threads().size(), threads_at_start + 1);
    answer_of(*network, window);
    std::this_thread::sleep_for(2ms);
    network.reset();
    CHECK(come_to(threads_at_start));
  }
}

TEST(a_helper_that_sleeps_is_not_waited_for_and_comes_when_it_was_asked) {
  Network one(reference::forecaster(28), default_isa());
  Network two(reference::forecaster(28), default_isa());
  two.share_tail(std::make_shared<Helper>(SecondCore::any, 1), patient);
  for (int k = 0; k < 10; ++k) {
    std::this_thread::sleep_for(20ms);
    const auto window = Random(29).floats(40, 0.0f, 1.0f);
    CHECK(same_bits(answer_of(two, window), answer_of(one, window)));
  }
  CHECK(two.help_counts().alone >= 5);  // unless the system stops it in the microsecond that it is awake
  two.share_tail(std::make_shared<Helper>(SecondCore::any, 50'000), patient);
  compare(one, two, 1);
  std::this_thread::sleep_for(150ms);  // it sleeps now
  compare(one, two, 3);
}

TEST(a_helper_that_helps_another_is_not_waited_for) {
  const auto helper = a_helper();
  Network one(reference::forecaster(30), default_isa());
  Network two(reference::forecaster(30), default_isa());
  two.share_tail(helper, patient);
  compare(one, two, 1);
  Blocker blocker;
  while (!helper->post(blocker)) usleep(50);
  while (!blocker.begun) usleep(50);
  CHECK(helper->has(blocker) && !helper->take_back(blocker));
  const HelpCounts before = two.help_counts();
  const auto window = Random(31).floats(40, 0.0f, 1.0f);
  for (int k = 0; k < 10; ++k) CHECK(same_bits(answer_of(two, window), answer_of(one, window)));
  CHECK_EQ(two.help_counts().alone, before.alone + 10);
  blocker.over = true;
  helper->let_go(blocker);
  compare(one, two, 1);
}

TEST(networks_of_several_threads_share_a_helper) {
  const SecondCore place{SecondCore::any, SecondCore::most_spin_us};
  const auto helper = Helper::at(place);
  CHECK(Helper::at({SecondCore::any, 10}) == helper);
  std::atomic<int> wrong{0};
  std::atomic<std::uint64_t> helped{0};
  std::vector<std::thread> callers;
  for (unsigned k = 0; k < 3; ++k) {
    callers.emplace_back([&, k] {
      Network one(reference::forecaster(32 + k), default_isa());
      Network two(reference::forecaster(32 + k), default_isa());
      two.share_tail(Helper::at(place), {10'000'000, 20'000'000});
      Random random(35 + k);
      const std::uint64_t give_up = monotonic_ns() + test_ns;
      for (int run = 0; run < 300 || (two.help_counts().helped < 5 && monotonic_ns() < give_up); ++run) {
        const auto window = random.floats(40, 0.0f, 1.0f);
        if (!same_bits(answer_of(two, window), answer_of(one, window))) ++wrong;
        if (run % 8 == 0) std::this_thread::sleep_for(50us);
      }
      helped += two.help_counts().helped;
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK_EQ(wrong.load(), 0);
  CHECK(helped >= 15);
}

TEST(a_run_that_is_given_up_leaves_the_helper_for_the_next) {
  Network one(reference::forecaster(38), default_isa());
  Network two(reference::forecaster(38), default_isa());
  two.share_tail(a_helper(), patient);
  compare(one, two, 1);
  const auto window = Random(39).floats(40, 0.0f, 1.0f);
  float answer = 0;
  for (int k = 0; k < 30; ++k) {
    CHECK(!two.run(window.data(), 1, &answer, Deadline{1}));
    two.run(window.data(), 1, &answer, Deadline::in(static_cast<std::uint64_t>(k) * 1000));
  }
  compare(one, two, 3);
}

TEST(a_child_of_fork_runs_on_one_core_and_closes_what_it_has) {
#if defined(__SANITIZE_THREAD__)
  SKIP("ThreadSanitizer ends a child that starts threads");
#endif
  Network one(reference::forecaster(40), default_isa());
  auto two = std::make_unique<Network>(reference::forecaster(40), default_isa());
  const SecondCore place{SecondCore::any, SecondCore::most_spin_us};
  two->share_tail(Helper::at(place), patient);
  compare(one, *two, 3);
  const auto window = Random(41).floats(40, 0.0f, 1.0f);
  const auto expected = answer_of(one, window);
  const std::uint64_t helped = two->help_counts().helped;
  CHECK_EQ(in_child([&] {
             bool same = true;
             for (int k = 0; k < 20; ++k) same = same && same_bits(answer_of(*two, window), expected);
             same = same && two->help_counts().helped == helped;
             two.reset();  // with its helper, which is not here
             Network anew(reference::forecaster(40), default_isa());
             anew.share_tail(Helper::at(place), patient);
             compare(one, anew, 1);  // a helper of the child's own
             return same;
           }),
           "0");
  // Forked in the middle of a window, too.
  std::atomic<bool> over{false};
  std::thread caller([&] {
    while (!over) answer_of(*two, window);
  });
  std::string ended = "0";
  for (int k = 0; k < 10 && ended == "0"; ++k)
    ended = in_child([&] {
      static_cast<void>(two.release()->help_counts());
      Network other(reference::forecaster(40), default_isa());
      return same_bits(answer_of(other, window), expected);
    });
  over = true;
  caller.join();
  CHECK_EQ(ended, "0");
}

namespace {

/// What a network says of a second core when a window is told to take `one_us` on one core and `two_us` on two. Tried
/// again where the helper gets no core at all for a while.
std::string told(const NetworkSpec& spec, double one_us, double two_us, bool& shares, std::uint64_t& helped) {
  std::string text;
  const std::string table = kernels::select_kernels(default_isa(), Precision::float32).name;
  const std::uint64_t give_up = monotonic_ns() + test_ns;
  do {
    int readings = 0;
    const ChosenNetwork::Stopwatch stopwatch = [&](const kernels::Kernels&, CallClass,
                                                   const std::function<void()>& call) {
      call();
      return ++readings <= 2 ? one_us : two_us;  // two that agree settle one core's
    };
    ChosenNetwork network(spec, default_isa(), Precision::float32, {table, stopwatch, {SecondCore::any, 1'000'000}});
    const std::vector<float> window(network.steps() * network.features(), 0.5f);
    std::vector<float> answers(network.output_steps() * network.outputs());
    for (int k = 0; k < 10; ++k) network.run(window.data(), 1, answers.data());
    text = network.second_core();
    shares = network.shares_window();
    helped = network.help_counts().helped;
  } while (text == "one core: the helper was late in every window" && monotonic_ns() < give_up);
  return text;
}

}  // namespace

TEST(a_second_core_is_kept_where_it_gains_and_left_where_it_does_not) {
  const NetworkSpec spec = reference::forecaster(42);
  bool shares = false;
  std::uint64_t helped = 0;
  CHECK_EQ(told(spec, 20000.0, 10000.0, shares, helped),
           std::string("two cores: a window takes 10000.0 us, and 20000.0 us on one"));
  CHECK(shares);
  CHECK_EQ(told(spec, 20000.0, 19800.0, shares, helped),
           std::string("one core: a window takes 20000.0 us, and 19800.0 us on two"));
  CHECK(!shares);
  CHECK_EQ(helped, 0U);
}

TEST(a_network_without_an_lstm_behind_another_says_so_and_starts_no_thread) {
#if defined(__SANITIZE_THREAD__)
  SKIP("ThreadSanitizer has threads of its own, and starts them when it likes");
#endif
  Random random(43);
  CHECK(come_to(threads_at_start));
  const ChosenNetwork network(of(10, 4, {random.lstm(4, 16), LastStepSpec{}, random.dense(16, 1, Activation::none)}),
                              default_isa(), Precision::float32, {"", {}, {SecondCore::any, 1000}});
  CHECK_EQ(network.second_core(), std::string("one core: no LSTM takes the steps of another one"));
  CHECK(!network.shares_window());
  CHECK_EQ(threads().size(), threads_at_start);
}

TEST(a_place_that_is_none_is_refused_with_those_that_there_are) {
  cpu_set_t set;
  sched_getaffinity(0, sizeof set, &set);
  int first = 0;
  while (!CPU_ISSET(first, &set)) ++first;
  CHECK(!SecondCore::from("", 1000).wanted());
  CHECK_EQ(SecondCore::from("any", 1000).cpu, SecondCore::any);
  CHECK_EQ(SecondCore::from(std::to_string(first), 7).cpu, first);
  CHECK_EQ(SecondCore::from(std::to_string(first), 7).text(), std::to_string(first));
  for (const char* text : {"1023", "-1", "-2", "99999999999", "1.5", "all", "0x1", " 1"}) {
    const std::string said = refusal([&] { SecondCore::from(text, 1000); });
    CHECK(said.starts_with("second_core: expected \"any\" or a CPU that this process may run on (" +
                           std::to_string(first)));
    CHECK(said.ends_with("), got \"" + std::string(text) + "\""));
  }
  for (const std::uint64_t spin_us : {std::uint64_t{0}, std::uint64_t{60000001}, std::uint64_t{1} << 40})
    CHECK_EQ(refusal([&] { SecondCore::from("any", spin_us); }),
             "helper_spin_us: expected 1 to 60000000, got " + std::to_string(spin_us));
}

TEST(a_caller_that_is_pinned_keeps_the_helper_to_none_of_its_cpus) {
  cpu_set_t before;
  sched_getaffinity(0, sizeof before, &before);
  if (CPU_COUNT(&before) < 2) SKIP("one CPU alone");
  int first = 0;
  while (!CPU_ISSET(first, &before)) ++first;
  int last = CPU_SETSIZE - 1;
  while (!CPU_ISSET(last, &before)) --last;
  std::async(std::launch::async, [&] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    CHECK_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    CHECK_EQ(SecondCore::from(std::to_string(last), 1000).cpu, last);
    struct Where final : Helper::Task {
      std::atomic<int> cpus{0};
      void help() noexcept override {
        cpu_set_t mine;
        sched_getaffinity(0, sizeof mine, &mine);
        cpus = CPU_COUNT(&mine);
      }
    } where;
    Helper helper(SecondCore::any, SecondCore::most_spin_us);
    while (!helper.post(where)) usleep(50);
    while (where.cpus == 0) usleep(50);
    helper.let_go(where);
    CHECK_EQ(where.cpus.load(), CPU_COUNT(&before));
  }).get();
}

TEST(a_helper_runs_on_its_cpu_alone) {
  cpu_set_t set;
  sched_getaffinity(0, sizeof set, &set);
  int last = CPU_SETSIZE - 1;
  while (!CPU_ISSET(last, &set)) --last;
  struct Where final : Helper::Task {
    std::atomic<int> cpus{0};
    std::atomic<int> cpu{-1};
    void help() noexcept override {
      cpu_set_t mine;
      sched_getaffinity(0, sizeof mine, &mine);
      cpus = CPU_COUNT(&mine);
      cpu = sched_getcpu();
    }
  } where;
  Helper helper(last, SecondCore::most_spin_us);
  while (!helper.post(where)) usleep(50);
  while (where.cpu < 0) usleep(50);
  helper.let_go(where);
  CHECK_EQ(where.cpu.load(), last);
  CHECK_EQ(where.cpus.load(), 1);
}
