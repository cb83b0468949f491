/* The smallest program: the next bandwidth of a link, from ten seconds of its telemetry. */
#include <linkcast/linkcast.h>
#include <stdio.h>

int main(void) {
  float window[40]; /* (10, 4): latency_ms, bandwidth_mbps, packet_loss, reliability; oldest first */
  for (int k = 0; k < 40; ++k) window[k] = (float[]){28.0f, 12.5f, 0.001f, 0.998f}[k % 4];
  linkcast_engine* engine = NULL;
  linkcast_model internet;
  linkcast_answer answer = LINKCAST_ANSWER_INIT;
  if (linkcast_engine_open(NULL, NULL, &engine) != LINKCAST_OK ||
      linkcast_model_find(engine, "internet", LINKCAST_ROLE_FORECASTER, &internet) != LINKCAST_OK ||
      linkcast_forecast(engine, internet, window, 40, 0, &answer, 1, NULL) != LINKCAST_OK)
    return fprintf(stderr, "%s\n", linkcast_last_error()), 1;
  printf("%.2f Mbit/s next, by %s\n", answer.mbps, linkcast_source_name(answer.source));
  return linkcast_engine_close(engine);
}
