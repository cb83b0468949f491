/* A loop at a fixed rate, in C: one sample in and one decision out at every tick, on an absolute clock, with a report
 * of how late the ticks began and how long the answers took.
 *
 *     fixed_rate [ticks per second] [seconds]          default: 100 5
 *
 * The telemetry is made up here; a controller reads it from its link. For a loop that other programs do not disturb,
 * run it with `chrt -f 50 taskset -c 1 fixed_rate 1000 60` on a core kept free.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include <linkcast/linkcast.h>

static void require(linkcast_status status, const char* what) {
  if (status == LINKCAST_OK || status == LINKCAST_NOT_READY) return;
  fprintf(stderr, "%s: %s: %s\n", what, linkcast_status_name(status), linkcast_last_error());
  exit(1);
}

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void sleep_until(int64_t at_ns) {
  const struct timespec at = {at_ns / 1000000000, at_ns % 1000000000};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {
  }
}

/* latency_ms, bandwidth_mbps, packet_loss, reliability of a link that is busy every ten seconds. */
static void measure(double seconds, float sample[4]) {
  const double load = 0.5 + 0.5 * sin(2 * 3.14159265358979 * seconds / 10);
  sample[0] = (float)(40 + 20 * load);
  sample[1] = (float)(1 + 2 * load);
  sample[2] = (float)(0.01 * load);
  sample[3] = (float)(1 - 0.02 * load);
}

static int by_value(const void* a, const void* b) {
  const int64_t x = *(const int64_t*)a;
  const int64_t y = *(const int64_t*)b;
  return (x > y) - (x < y);
}

static void report(const char* what, int64_t* ns, size_t count) {
  qsort(ns, count, sizeof *ns, by_value);
  printf("%-22s p50 %9.1f us   p99 %9.1f us   max %9.1f us\n", what, ns[count / 2] / 1e3, ns[count * 99 / 100] / 1e3,
         ns[count - 1] / 1e3);
}

int main(int argc, char** argv) {
  const double rate = argc > 1 ? atof(argv[1]) : 100;
  const double seconds = argc > 2 ? atof(argv[2]) : 5;
  if (!(rate > 0 && rate <= 10000 && seconds > 0 && rate * seconds >= 20)) {
    fprintf(stderr, "usage: fixed_rate [ticks per second, up to 10000] [seconds]; at least 20 ticks\n");
    return 2;
  }
  const size_t ticks = (size_t)(rate * seconds);
  const int64_t period_ns = (int64_t)(1e9 / rate);

  linkcast_engine* engine = NULL;
  linkcast_model forecaster, allocator;
  linkcast_stream* stream = NULL;
  require(linkcast_engine_open(NULL, NULL, &engine), "engine");
  require(linkcast_model_find(engine, "internet", LINKCAST_ROLE_FORECASTER, &forecaster), "forecaster");
  require(linkcast_model_find(engine, "internet", LINKCAST_ROLE_ALLOCATOR, &allocator), "allocator");
  require(linkcast_stream_open(engine, forecaster, 1, NULL, &stream), "stream");

  int64_t* late = calloc(ticks, sizeof *late);
  int64_t* taken = calloc(ticks, sizeof *taken);
  if (!late || !taken) return 1;
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) fprintf(stderr, "memory is not locked (needs CAP_IPC_LOCK): going on\n");

  size_t overruns = 0, answered = 0;
  linkcast_answer answer = LINKCAST_ANSWER_INIT;
  int32_t action = 0;
  const int64_t start = now_ns() + period_ns;
  for (size_t tick = 0; tick < ticks; ++tick) {
    const int64_t due = start + (int64_t)tick * period_ns; /* from the start, so that lateness does not add up */
    sleep_until(due);
    const int64_t begun = now_ns();
    float sample[4];
    measure((double)tick / rate, sample);

    const linkcast_status status = linkcast_stream_push(stream, sample, 4, NULL, (uint64_t)period_ns, &answer, 1, NULL);
    /* What the model says can be implausible, and then nothing may stand in for it: the loop goes on without a
     * forecast. */
    if (status != LINKCAST_ERROR_NO_ANSWER) require(status, "push");
    require(linkcast_decide(engine, allocator, sample, 4, &action, 1, NULL), "decide");
    const int64_t done = now_ns();
    /* here the allocation would be applied */
    require(linkcast_stream_advance(stream), "advance"); /* what can wait until after it */

    answered += status == LINKCAST_OK;
    late[tick] = begun - due;
    taken[tick] = done - begun;
    overruns += now_ns() > due + period_ns;
  }

  linkcast_stream_info info = LINKCAST_STREAM_INFO_INIT;
  require(linkcast_stream_describe(stream, 0, &info), "stream");
  printf("%zu ticks at %g Hz, stream: %s\n", ticks, rate, info.mode);
  printf("forecasts: %zu (the first %u samples fill the window); last %.2f Mbit/s, allocation %d %%\n", answered,
         info.window - 1, answer.mbps, (action + 1) * 10);
  report("tick began late by", late, ticks);
  report("forecast and decision", taken, ticks);
  printf("ticks that overran: %zu\n", overruns);
  free(late);
  free(taken);
  linkcast_stream_close(stream);
  linkcast_engine_close(engine);
  return 0;
}
