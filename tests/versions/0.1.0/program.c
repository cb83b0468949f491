/* A program as one was written for this version, with its header. program BUNDLE SNAPSHOT: what every part says, a line
 * for each; floats in the order of the header. */
#include <linkcast/linkcast.h>
#include <stdio.h>
#include <stdlib.h>

#define ROWS 10
#define FEATURES 4

static void check(linkcast_status status) {
  if (status == LINKCAST_OK || status == LINKCAST_NOT_READY) return;
  fprintf(stderr, "%s: %s\n", linkcast_status_name(status), linkcast_last_error());
  exit(1);
}

static void sample(int t, float* features) {
  features[0] = 30.0f + (float)(t % 7);
  features[1] = 8.0f + 0.5f * (float)((t * 5) % 11);
  features[2] = 0.001f * (float)(t % 3);
  features[3] = 0.99f;
}

int main(int argc, char** argv) {
  linkcast_engine_options options = LINKCAST_ENGINE_OPTIONS_INIT;
  linkcast_stream_options stream_options = LINKCAST_STREAM_OPTIONS_INIT;
  linkcast_controller_options controller_options = LINKCAST_CONTROLLER_OPTIONS_INIT;
  linkcast_answer answer = LINKCAST_ANSWER_INIT;
  linkcast_result result = LINKCAST_RESULT_INIT;
  linkcast_decision decision = LINKCAST_DECISION_INIT;
  linkcast_model_info info = LINKCAST_MODEL_INFO_INIT;
  linkcast_stream_info stream_info = LINKCAST_STREAM_INFO_INIT;
  linkcast_model_stats stats = LINKCAST_MODEL_STATS_INIT;
  linkcast_engine* engine = NULL;
  linkcast_stream* stream = NULL;
  linkcast_controller* controller = NULL;
  linkcast_model internet, allocator;
  static unsigned char snapshot[1 << 20];
  float window[ROWS * FEATURES], features[FEATURES];
  int32_t action;
  size_t size;
  FILE* file;
  int t;

  if (argc != 3) return 2;
  check(linkcast_engine_open(argv[1], &options, &engine));
  check(linkcast_model_find(engine, "internet", LINKCAST_ROLE_FORECASTER, &internet));
  check(linkcast_model_find(engine, "internet", LINKCAST_ROLE_ALLOCATOR, &allocator));
  check(linkcast_model_describe(engine, internet, &info));
  printf("model %u %u %u\n", info.window, info.features, info.outputs);

  for (t = 0; t < ROWS; ++t) sample(t, window + FEATURES * t);
  check(linkcast_forecast(engine, internet, window, ROWS * FEATURES, 0, &answer, 1, &result));
  printf("forecast %.6f\n", answer.mbps);
  check(linkcast_decide(engine, allocator, window, FEATURES, &action, 1, NULL));
  printf("decide %d\n", (int)action);

  stream_options.horizon = 1;
  check(linkcast_stream_open(engine, internet, 1, &stream_options, &stream));
  for (t = 0; t < 40; ++t) {
    sample(t, features);
    check(linkcast_stream_push(stream, features, FEATURES, NULL, 0, &answer, 1, NULL));
    check(linkcast_stream_advance(stream));
  }
  printf("stream %.6f %.6f %.6f %.6f\n", answer.mbps, answer.p10_mbps, answer.p90_mbps, answer.reserve_mbps);

  file = fopen(argv[2], "rb");
  if (!file) return 3;
  size = fread(snapshot, 1, sizeof snapshot, file);
  fclose(file);
  check(linkcast_stream_restore(stream, snapshot, size));
  check(linkcast_stream_describe(stream, 0, &stream_info));
  sample(60, features);
  check(linkcast_stream_push(stream, features, FEATURES, NULL, 0, &answer, 1, NULL));
  printf("restored %.6f %.6f %.6f %u\n", answer.mbps, answer.p10_mbps, answer.p90_mbps, stream_info.samples_in);

  controller_options.capacity_mbps = 50.0;
  check(linkcast_controller_open(engine, "internet", &controller_options, &controller));
  for (t = 0; t < 30; ++t) {
    sample(t, features);
    check(linkcast_controller_tick(controller, features, FEATURES, (uint64_t)t * 1000000000u, &decision));
    check(linkcast_controller_advance(controller));
  }
  printf("controller %.6f %.6f %d\n", decision.allocation_mbps, decision.forecast_mbps, (int)decision.action);

  check(linkcast_model_read_stats(engine, internet, &stats));
  check(linkcast_controller_close(controller));
  check(linkcast_engine_reload(engine, NULL));
  check(linkcast_stream_close(stream));
  check(linkcast_engine_close(engine));
  return 0;
}
