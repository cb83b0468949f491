#include "engine/workers.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include "check.h"
#include "kernels/helper.h"

using linkcast::Workers;

namespace {

constexpr std::size_t kMost = 16;

struct Tally {
  std::array<int, kMost> runs{};  // each is written by the thread that claimed the task
};

void count_run(void* context, std::size_t index) noexcept { ++static_cast<Tally*>(context)->runs[index]; }

std::atomic<int> handled{0};

}  // namespace

TEST(every_task_runs_once_in_each_job_whatever_the_threads) {
  for (const std::uint32_t spin_us : {0U, 50U})
    for (const std::size_t threads : {0U, 1U, 3U}) {
      Workers workers(threads, kMost, {}, spin_us);
      Tally tally;
      int expected = 0;
      for (int round = 0; round < 300; ++round)
        for (const std::size_t count : {std::size_t{1}, std::size_t{5}, kMost}) {
          const Tally before = tally;
          workers.run(&count_run, &tally, count);
          ++expected;
          for (std::size_t k = 0; k < kMost; ++k) CHECK_EQ(tally.runs[k], before.runs[k] + (k < count));
        }
      CHECK_EQ(tally.runs[0], expected);
    }
}

TEST(no_tasks_are_no_work) { Workers(1, kMost, {}, 0).run(&count_run, nullptr, 0); }

TEST(a_thread_can_be_pinned) {
  const int cpu = sched_getcpu();
  Workers workers(1, kMost, {cpu}, 0);
  Tally tally;
  workers.run(&count_run, &tally, kMost);
  CHECK_EQ(tally.runs[kMost - 1], 1);
}

TEST(a_cpu_that_is_not_there_and_a_wrong_number_of_them_are_refused) {
  CHECK_THROWS(Workers(1, kMost, {100'000}, 0), "cpus: expected CPUs that this process may run on, got 100000");
  CHECK_THROWS(Workers(2, kMost, {0}, 0), "2 worker threads, got 1");
}

TEST(a_signal_of_the_process_is_never_handled_by_a_thread_of_ours) {
  struct sigaction action = {};
  action.sa_handler = [](int) { ++handled; };
  CHECK_EQ(sigaction(SIGUSR1, &action, nullptr), 0);
  sigset_t here;
  sigemptyset(&here);
  sigaddset(&here, SIGUSR1);
  {
    Workers workers(2, kMost, {}, 0);
    const linkcast::Helper helper(linkcast::SecondCore::any, 50);
    pthread_sigmask(SIG_BLOCK, &here, nullptr);  // of this thread, when the others have begun
    kill(getpid(), SIGUSR1);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    CHECK_EQ(handled.load(), 0);
  }
  pthread_sigmask(SIG_UNBLOCK, &here, nullptr);
  CHECK_EQ(handled.load(), 1);
}
