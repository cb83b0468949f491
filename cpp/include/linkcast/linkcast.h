/* linkcast: bandwidth forecasts and allocations for network links and service groups, in C.
 *
 *     linkcast_engine* engine = NULL;
 *     linkcast_model internet;
 *     linkcast_engine_open(NULL, NULL, &engine);                       // the bundled models
 *     linkcast_model_find(engine, "internet", LINKCAST_ROLE_FORECASTER, &internet);
 *     linkcast_forecast(engine, internet, window, 10 * 4, &mbps, 1, NULL);
 *     linkcast_engine_close(engine);
 *
 * Status. Every function that can fail returns a linkcast_status; linkcast_last_error() tells the rest. A null pointer,
 * a handle that is not one (or no longer), a value that is not finite, or a struct of an unknown size gives a status.
 *
 * Threads. An engine, with the streams and controllers opened on it, is used by one thread at a time, whichever it is:
 * they run on the same models. Different engines are independent: a second thread opens its own. A second thread in the
 * same engine gets LINKCAST_ERROR_BUSY, and nothing is harmed. Functions marked "any thread" can be called at any time,
 * but for the time in which their handle is being closed.
 *
 * Hot path. Functions marked "hot" allocate nothing, take no lock and make no system call, from the first call on, with
 * a batch of 1 or of linkcast_engine_options.batch; a forecaster on the native kernels with anything between as well.
 * Where another model's batch changes between those, its tensors are laid out anew, which allocates. A call that fails
 * may allocate, too. Everything that is not hot loads, allocates or locks, and belongs outside the loop.
 *
 * Structs. Each begins with its size, which the caller sets: use the _INIT macros, which also give every option its
 * default. A library of a later version accepts the struct of an earlier one; new fields come at the end.
 *
 * Units stand in the names: mbps is Mbit/s, packet loss and reliability are fractions. A value that can't be in its
 * unit is refused: a fraction outside 0..1, a latency or bandwidth below 0, a bandwidth beyond ten times the link's
 * capacity where that is known. A telemetry sample is latency_ms, bandwidth_mbps, packet_loss, reliability, in this
 * order. Memory is read and written during the call only.
 */
#ifndef LINKCAST_LINKCAST_H
#define LINKCAST_LINKCAST_H

#include <stddef.h>
#include <stdint.h>

#define LINKCAST_VERSION_MAJOR 0
#define LINKCAST_VERSION_MINOR 1
#define LINKCAST_VERSION_PATCH 0
#define LINKCAST_VERSION "0.1.0"

#if defined(__GNUC__)
#define LINKCAST_API __attribute__((visibility("default")))
#else
#define LINKCAST_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Status ---- */

typedef enum linkcast_status {
  LINKCAST_OK = 0,
  LINKCAST_NOT_READY = 1,        /* a stream that has not seen a whole window yet: no error, and no forecast */
  LINKCAST_ERROR_ARGUMENT = 2,   /* null, out of range, or a size that does not fit the model */
  LINKCAST_ERROR_HANDLE = 3,     /* null, closed, of another kind, or never one */
  LINKCAST_ERROR_NOT_FOUND = 4,  /* no such model, profile or group; the text names the known ones */
  LINKCAST_ERROR_NOT_FINITE = 5, /* a NaN or an infinity came in */
  LINKCAST_ERROR_STRUCT_SIZE =
      6,                         /* smaller than any version's struct, or with fields that this version does not know */
  LINKCAST_ERROR_LOAD = 7,       /* a model, a metadata file or the runtime; the text names the file and the key */
  LINKCAST_ERROR_INVOKE = 8,     /* the runtime refused to run a model */
  LINKCAST_ERROR_BUSY = 9,       /* the handle is in use by another thread */
  LINKCAST_ERROR_NO_ANSWER = 10, /* neither the model nor anything that stands in for it could answer */
  LINKCAST_ERROR_MEMORY = 11,
  LINKCAST_ERROR_INTERNAL = 12,
  LINKCAST_ERROR_UNIT = 13 /* finite, and not of its feature's unit, such as percent for a fraction; the text says what
                              was expected, what came, and what it looks like */
} linkcast_status;

/* "ok", "bad argument", ...; "unknown status" for a number that is none. Any thread. */
LINKCAST_API const char* linkcast_status_name(linkcast_status status);

/* What the last failed call of this thread had to say, up to 1023 characters; "" before any. Valid until the thread's
 * next failed call; a call that succeeds leaves it alone. Any thread. */
LINKCAST_API const char* linkcast_last_error(void);

/* "0.1.0": of the library, where LINKCAST_VERSION is of the header. Any thread. */
LINKCAST_API const char* linkcast_version(void);

typedef enum linkcast_log_level {
  LINKCAST_LOG_ERROR = 1,
  LINKCAST_LOG_WARNING = 2,
  LINKCAST_LOG_INFO = 3
} linkcast_log_level;

/* `text` is valid during the call. Must not throw. */
typedef void (*linkcast_log_function)(linkcast_log_level level, const char* text, void* user);

/* Tells `function` what happens at open, reload and close, up to `level`: from the thread that calls those, never from
 * a hot function. Null turns it off, as it is at first; the library itself never prints. For the whole process. Any
 * thread. */
LINKCAST_API linkcast_status linkcast_set_log(linkcast_log_function function, void* user, linkcast_log_level level);

/* ---- Engine: the models of a folder ---- */

typedef struct linkcast_engine linkcast_engine;

/* Stands for a model of an engine; stays the same across reloads. */
typedef int32_t linkcast_model;

typedef enum linkcast_role {
  LINKCAST_ROLE_ANY = 0,        /* linkcast_model_find: by the model's own name */
  LINKCAST_ROLE_FORECASTER = 1, /* window -> the next bandwidth, Mbit/s */
  LINKCAST_ROLE_ALLOCATOR = 2,  /* state -> action; action a allocates (a + 1) * 10 % */
  LINKCAST_ROLE_FALLBACK = 3    /* calendar -> bandwidth, Mbit/s */
} linkcast_role;

/* Who gave an answer. */
typedef enum linkcast_source {
  LINKCAST_SOURCE_MODEL = 0,
  LINKCAST_SOURCE_FALLBACK = 1, /* of the service group */
  LINKCAST_SOURCE_LAST = 2,     /* the last good forecast */
  LINKCAST_SOURCE_EWMA = 3,     /* a moving average */
  LINKCAST_SOURCE_NONE = 4      /* there is no answer: NaN */
} linkcast_source;

/* Why it was not the model. */
typedef enum linkcast_cause {
  LINKCAST_CAUSE_NONE = 0,
  LINKCAST_CAUSE_DEADLINE = 1,
  LINKCAST_CAUSE_FAILED = 2,
  LINKCAST_CAUSE_NOT_FINITE = 3,
  LINKCAST_CAUSE_IMPLAUSIBLE = 4,
  LINKCAST_CAUSE_BEATEN = 5, /* lately, a moving average of what was measured has been better: it answers */
  /* Of a decision, which is the allocator's all the same: */
  LINKCAST_CAUSE_OUTSIDE_TRAINING = 6, /* a feature lies outside what training has seen, and was held to it */
  LINKCAST_CAUSE_OVER_CAPACITY = 7     /* the bandwidth is beyond the link's capacity: all of the link */
} linkcast_cause;

/* "model", "fallback", "last", "ewma", "none"; "none", "deadline", "failed", "not_finite", "implausible", "beaten",
 * "outside_training", "over_capacity". Any thread. */
LINKCAST_API const char* linkcast_source_name(linkcast_source source);
LINKCAST_API const char* linkcast_cause_name(linkcast_cause cause);

/* What gives a number when the model's own forecast can't be used, and when that is. */
typedef struct linkcast_safeguard {
  double plausible_margin; /* a forecast is plausible within the range that training has seen (trained_on.target_range
                              of manifest.json), widened at either end by this share of it */
  double ewma_weight;      /* of the newest forecast in the moving average; above 0, at most 1 */
  int32_t held; /* without a fallback model: LINKCAST_SOURCE_LAST, the last good forecast, or LINKCAST_SOURCE_EWMA,
                   their average */
} linkcast_safeguard;
#define LINKCAST_SAFEGUARD_INIT {0.5, 0.3, LINKCAST_SOURCE_LAST}

typedef struct linkcast_engine_options {
  size_t size;
  const char* backend; /* "auto", "native" or "tflite"; NULL: "auto" */
  const char*
      tflite_library;     /* path of libtensorflowlite_c.so; NULL: $LINKCAST_TFLITE_LIBRARY, or beside this library */
  int32_t threads;        /* of TensorFlow Lite's own kernels */
  uint32_t batch;         /* largest batch of hot calls, made room for at open and reload */
  uint32_t group_threads; /* of linkcast_forecast_groups, the caller's included; the others sleep between calls */
  uint32_t spin_us;       /* how long those look for work before they sleep */
  const int32_t* group_cpus;    /* (group_threads - 1) the CPU of each other thread; NULL: not pinned */
  linkcast_safeguard safeguard; /* of linkcast_forecast and linkcast_forecast_groups */
} linkcast_engine_options;
#define LINKCAST_ENGINE_OPTIONS_INIT \
  {sizeof(linkcast_engine_options), NULL, NULL, 1, 1, 1, 0, NULL, LINKCAST_SAFEGUARD_INIT}

/* Reads metadata/ and models/ of `folder`, checks every file, runs every model on its golden inputs and compares.
 * folder:  NULL takes $LINKCAST_BUNDLE, or else the models that were installed with this library
 * options: NULL: all defaults
 * Any thread. LOAD, ARGUMENT, STRUCT_SIZE, MEMORY */
LINKCAST_API linkcast_status linkcast_engine_open(const char* folder, const linkcast_engine_options* options,
                                                  linkcast_engine** engine);

/* Closes the engine; streams and controllers opened on it live on, and the models with them. NULL is fine.
 * HANDLE; BUSY while another thread calls on it */
LINKCAST_API linkcast_status linkcast_engine_close(linkcast_engine* engine);

/* Loads, verifies and warms `folder` (NULL: the one opened) on the calling thread, then puts it in place of the present
 * models: a call under way ends with the old, the next one uses the new, and none waits. Returns when the old ones are
 * freed. A folder that is bad, or lacks one of the present models or has it with another input or output, leaves the
 * present models in place. Stats begin anew. Streams and controllers opened before keep the models that they were
 * opened with, in memory too: linkcast_stream_follow moves a stream over with its window; a controller is opened again.
 * Any thread, also while another one calls on the engine; not from within a log function. LOAD, ARGUMENT, HANDLE,
 * MEMORY */
LINKCAST_API linkcast_status linkcast_engine_reload(linkcast_engine* engine, const char* folder);

/* How many models there are: linkcast_model values run from 0 to *count - 1. Any thread. HANDLE, ARGUMENT */
LINKCAST_API linkcast_status linkcast_model_count(linkcast_engine* engine, size_t* count);

/* The model of this name ("internet_lstm"), or the one that serves a profile or group ("internet", "streaming") in a
 * role. Any thread. NOT_FOUND, HANDLE, ARGUMENT */
LINKCAST_API linkcast_status linkcast_model_find(linkcast_engine* engine, const char* name, linkcast_role role,
                                                 linkcast_model* model);

typedef struct linkcast_model_info {
  size_t size;
  const char* name;           /* this and the other texts are valid until the engine is closed */
  const char* serves;         /* a profile or a group */
  const char* backend;        /* "native" or "tflite" */
  const char* backend_reason; /* why */
  const char* isa;            /* of the native kernels: "avx512", "avx2", "neon", "scalar"; else "tflite" */
  linkcast_role role;
  uint32_t window;   /* time steps, oldest first; 0: the input is one row of features */
  uint32_t features; /* of one time step */
  uint32_t outputs;  /* 1 for a forecast, else the number of actions */
  double step_s;     /* seconds from one time step to the next; 0 without a window */
} linkcast_model_info;
#define LINKCAST_MODEL_INFO_INIT \
  {sizeof(linkcast_model_info), NULL, NULL, NULL, NULL, NULL, LINKCAST_ROLE_ANY, 0, 0, 0, 0.0}

/* Any thread. HANDLE, ARGUMENT, STRUCT_SIZE */
LINKCAST_API linkcast_status linkcast_model_describe(linkcast_engine* engine, linkcast_model model,
                                                     linkcast_model_info* info);

/* ---- Forecasts and decisions ---- */

#define LINKCAST_MAX_BATCH 65536

typedef struct linkcast_result {
  size_t size;
  linkcast_status status; /* of this group; what a call for one model returns */
  linkcast_source source; /* of all rows, the last resort that was needed: model, fallback, last, ewma, nobody */
  linkcast_cause cause;   /* why the first such row was not answered by the model */
  uint64_t latency_ns;    /* spent on this model */
} linkcast_result;
#define LINKCAST_RESULT_INIT {sizeof(linkcast_result), LINKCAST_OK, LINKCAST_SOURCE_NONE, LINKCAST_CAUSE_NONE, 0}

/* The next bandwidth of each window. Late, failed, not finite or implausible: the service group's fallback model
 * answers, after it the last good forecast of that row or a moving average; the result and the stats say so. Row r of a
 * model is taken as the same link or group from call to call. model:          a forecaster; or a fallback, whose rows
 * are calendar features windows:        (batch, window, features), physical units, oldest time step first values:
 * floats in `windows`: checked against batch * window * features forecasts_mbps: (batch) out, Mbit/s; NaN where nobody
 * could answer deadline_ns:    from the start of the call; 0: none. A native LSTM gives up between two time steps
 * result:         out; may be NULL
 * Hot. HANDLE, ARGUMENT, NOT_FINITE, UNIT, NO_ANSWER, BUSY, STRUCT_SIZE */
LINKCAST_API linkcast_status linkcast_forecast(linkcast_engine* engine, linkcast_model model, const float* windows,
                                               size_t values, float* forecasts_mbps, size_t batch, uint64_t deadline_ns,
                                               linkcast_result* result);

typedef struct linkcast_group {
  size_t size;
  linkcast_model model; /* a forecaster; no model twice in one call */
  const float* windows; /* as in linkcast_forecast, as are the next three */
  size_t values;
  float* forecasts_mbps;
  size_t batch;
  linkcast_result result; /* out; its size is set here */
} linkcast_group;
#define LINKCAST_GROUP_INIT {sizeof(linkcast_group), 0, NULL, 0, NULL, 0, LINKCAST_RESULT_INIT}

/* linkcast_forecast for several models in one call, in the order given, on linkcast_engine_options.group_threads. OK
 * when every group has been run: each one's own status is in its result. Hot; with more than one thread it wakes and
 * waits for the others. HANDLE, ARGUMENT, BUSY, STRUCT_SIZE */
LINKCAST_API linkcast_status linkcast_forecast_groups(linkcast_engine* engine, linkcast_group* groups, size_t count,
                                                      uint64_t deadline_ns);

/* The action of each state: 0 to outputs - 1; action a allocates (a + 1) * 10 %. For every state: more bandwidth never
 * means a smaller allocation, a link that is full or over its capacity gets all, and no state gets less than one action
 * below what it carries. The result's cause is the first row's: OUTSIDE_TRAINING, OVER_CAPACITY, NOT_FINITE.
 * states: (batch, features), physical units, the bandwidth on a link of the capacity that the allocator was trained on
 *         (trained_on.capacity_mbps of manifest.json), at most ten times that
 * values: floats in `states`   actions: (batch) out   result: may be NULL
 * Hot. HANDLE, ARGUMENT, NOT_FINITE, UNIT, INVOKE, BUSY, STRUCT_SIZE */
LINKCAST_API linkcast_status linkcast_decide(linkcast_engine* engine, linkcast_model model, const float* states,
                                             size_t values, int32_t* actions, size_t batch, linkcast_result* result);

typedef struct linkcast_model_stats {
  size_t size;
  uint64_t calls;  /* that the percentiles are of */
  uint64_t p50_ns; /* at most 1/8 above the true percentile */
  uint64_t p90_ns;
  uint64_t p99_ns;
  uint64_t p999_ns;
  uint64_t max_ns;
  uint64_t late;             /* calls whose answer came after their deadline */
  uint64_t sources[5];       /* answers, by linkcast_source: one for each row */
  uint64_t causes[6];        /* answers that the model did not give, by linkcast_cause up to LINKCAST_CAUSE_BEATEN */
  uint64_t switches;         /* times that a stream went over to its moving average: see linkcast_stream_options */
  uint64_t outside_training; /* decisions with LINKCAST_CAUSE_OUTSIDE_TRAINING */
  uint64_t over_capacity;    /* decisions with LINKCAST_CAUSE_OVER_CAPACITY */
} linkcast_model_stats;
#define LINKCAST_MODEL_STATS_INIT \
  {sizeof(linkcast_model_stats), 0, 0, 0, 0, 0, 0, 0, {0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0}, 0, 0, 0}

/* What has happened to a model since it was loaded. Any thread. HANDLE, ARGUMENT, STRUCT_SIZE */
LINKCAST_API linkcast_status linkcast_stats(linkcast_engine* engine, linkcast_model model, linkcast_model_stats* stats);

/* ---- Streams: a sliding window ---- */

typedef struct linkcast_stream linkcast_stream;

typedef struct linkcast_stream_options {
  size_t size;
  uint32_t most_held; /* ticks in a row for which a missing sample is replaced by the last one */
  linkcast_safeguard safeguard;
  uint32_t switch_to_ewma; /* up to 100000 ticks, or 0: off. When the model's absolute errors over so many ticks are
                              more than 5 % above those of an exponentially weighted moving average (of the window's
                              measured values; 0.3 of the newest), the average answers, with LINKCAST_SOURCE_EWMA and
                              LINKCAST_CAUSE_BEATEN, until the model's are below the average's. After each change it
                              stays so for as many ticks */
} linkcast_stream_options;
#define LINKCAST_STREAM_OPTIONS_INIT {sizeof(linkcast_stream_options), 3, LINKCAST_SAFEGUARD_INIT, 0}

/* A sliding window of a forecaster, empty. options: NULL: all defaults. HANDLE, ARGUMENT, STRUCT_SIZE, BUSY, MEMORY */
LINKCAST_API linkcast_status linkcast_stream_open(linkcast_engine* engine, linkcast_model model,
                                                  const linkcast_stream_options* options, linkcast_stream** stream);

/* NULL is fine. HANDLE, BUSY */
LINKCAST_API linkcast_status linkcast_stream_close(linkcast_stream* stream);

/* One tick: takes a sample in and gives the forecast of the window that ends with it. NOT_READY, and NaN, until the
 * window is full. After a value that is not finite the stream is as before.
 * sample:        (features) in the order of the model, physical units; NULL: none came in this tick, the last one is
 * held values:        floats in `sample`, checked against the model's features forecast_mbps: out deadline_ns:   from
 * the start of the call; 0: none. A later answer is counted as late Hot. NOT_READY, HANDLE, ARGUMENT, NOT_FINITE,
 * UNIT, NO_ANSWER, BUSY, STRUCT_SIZE */
LINKCAST_API linkcast_status linkcast_stream_push(linkcast_stream* stream, const float* sample, size_t values,
                                                  float* forecast_mbps, uint64_t deadline_ns, linkcast_result* result);

/* The rest of the last push's work, to be done when there is time; else the next push does it. Hot. HANDLE, BUSY */
LINKCAST_API linkcast_status linkcast_stream_advance(linkcast_stream* stream);

/* Empties the window. Hot. HANDLE, BUSY */
LINKCAST_API linkcast_status linkcast_stream_reset(linkcast_stream* stream);

/* Moves the stream with its window to the models that its engine has now, after a reload; at once when it has them
 * already. The scores of switch_to_ewma start anew, but with the same model file. Not hot. HANDLE, BUSY, MEMORY */
LINKCAST_API linkcast_status linkcast_stream_follow(linkcast_stream* stream);

typedef struct linkcast_stream_info {
  size_t size;
  const char* mode;        /* "incremental": one time step of work for each push; "window": the full window */
  const char* mode_reason; /* why; both are valid until the stream follows or is closed */
  uint64_t ticks;
  uint64_t missing; /* of those, without a sample */
  uint32_t window;
  uint32_t features;
  uint32_t samples_in; /* at most window */
  uint32_t held;       /* of those, held ones */
  int32_t outdated;    /* 1: the engine has been reloaded since the stream was opened or followed */
  int32_t switched;    /* 1: the moving average answers: linkcast_stream_options.switch_to_ewma */
  double skill;        /* 1 - the model's errors / the average's, over its ticks; NaN before, or when it is off */
} linkcast_stream_info;
#define LINKCAST_STREAM_INFO_INIT {sizeof(linkcast_stream_info), NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0.0}

/* HANDLE, ARGUMENT, BUSY, STRUCT_SIZE */
LINKCAST_API linkcast_status linkcast_stream_describe(linkcast_stream* stream, linkcast_stream_info* info);

/* Writes the stream's window, and the scores of switch_to_ewma, so that linkcast_stream_restore goes on from it: on any
 * machine, with the same model file.
 * bytes: NULL asks for the size alone   capacity: of `bytes`   size: out; ARGUMENT when it is above the capacity
 * HANDLE, ARGUMENT, BUSY, MEMORY */
LINKCAST_API linkcast_status linkcast_stream_snapshot(linkcast_stream* stream, void* bytes, size_t capacity,
                                                      size_t* size);

/* Scores over another number of ticks are not taken over, and start anew.
 * ARGUMENT: damaged, or of another model; the stream is as before then. HANDLE, BUSY, MEMORY */
LINKCAST_API linkcast_status linkcast_stream_restore(linkcast_stream* stream, const void* bytes, size_t size);

/* ---- Many streams of one model that tick together, as one batch ---- */

typedef struct linkcast_streams linkcast_streams;

/* count: 1 to LINKCAST_MAX_BATCH. Otherwise as linkcast_stream_open. */
LINKCAST_API linkcast_status linkcast_streams_open(linkcast_engine* engine, linkcast_model model, size_t count,
                                                   const linkcast_stream_options* options, linkcast_streams** streams);

/* NULL is fine. HANDLE, BUSY */
LINKCAST_API linkcast_status linkcast_streams_close(linkcast_streams* streams);

/* One tick of every stream. OK, whether or not all have a forecast.
 * samples:        (count, features), physical units   values: floats in `samples`
 * present:        (count) 0 where no sample came: its row is not read; NULL: all came
 * forecasts_mbps: (count) out; NaN where the window is not full
 * sources:        (count) out, a linkcast_source each, LINKCAST_SOURCE_NONE where the window is not full; may be NULL
 * Hot. HANDLE, ARGUMENT, NOT_FINITE, UNIT, BUSY */
LINKCAST_API linkcast_status linkcast_streams_push(linkcast_streams* streams, const float* samples, size_t values,
                                                   const uint8_t* present, float* forecasts_mbps, uint8_t* sources,
                                                   uint64_t deadline_ns);

/* As linkcast_stream_advance. */
LINKCAST_API linkcast_status linkcast_streams_advance(linkcast_streams* streams);

/* Empties one window. Hot. HANDLE, ARGUMENT, BUSY */
LINKCAST_API linkcast_status linkcast_streams_reset(linkcast_streams* streams, size_t index);

/* As linkcast_stream_follow. */
LINKCAST_API linkcast_status linkcast_streams_follow(linkcast_streams* streams);

/* ---- Controller: telemetry -> forecast -> decision -> allocation, within limits ---- */

typedef struct linkcast_controller linkcast_controller;

typedef struct linkcast_controller_options {
  size_t size;
  double capacity_mbps;  /* of the link; above 0, no default */
  double least_fraction; /* of the capacity that is always allocated */
  double most_fraction;
  double safe_fraction; /* where the allocation starts, and goes when telemetry stops */
  double headroom;      /* the allocation is at least this times the forecast; 0: the allocator alone decides */
  double slew_per_s;    /* largest change of the fraction in a second; 0: no limit */
  double hold_s;        /* after a change, the allocation stays for this long */
  double stall_s;       /* telemetry older than this has stopped; 0: four time steps of the forecaster */
  double ewma_weight;   /* of the newest measurement in the average that answers until the window is full */
  uint64_t deadline_ns; /* a tick that takes longer is counted as late; 0: none */
  uint32_t most_held;   /* as in linkcast_stream_options */
  linkcast_safeguard safeguard;
  uint32_t switch_to_ewma; /* as in linkcast_stream_options, but on: 60 ticks */
} linkcast_controller_options;
#define LINKCAST_CONTROLLER_OPTIONS_INIT \
  {sizeof(linkcast_controller_options), 0.0, 0.1, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.3, 0, 3, LINKCAST_SAFEGUARD_INIT, 60}

typedef struct linkcast_decision {
  size_t size;
  double allocation_mbps;          /* allocation_fraction of the capacity */
  double allocation_fraction;      /* 0..1 */
  float forecast_mbps;             /* NaN with LINKCAST_SOURCE_NONE */
  int32_t action;                  /* the allocator's; -1 without telemetry */
  linkcast_source source;          /* who gave the forecast */
  uint32_t limits;                 /* LINKCAST_LIMIT_* that were at work */
  uint64_t latency_ns;             /* of the tick */
  linkcast_cause cause;            /* why it was not the model, once the window is full */
  linkcast_cause allocation_cause; /* OUTSIDE_TRAINING, OVER_CAPACITY, NOT_FINITE; FAILED: no action */
} linkcast_decision;
#define LINKCAST_DECISION_INIT \
  {sizeof(linkcast_decision), 0.0, 0.0, 0.0f, -1, LINKCAST_SOURCE_NONE, 0, 0, LINKCAST_CAUSE_NONE, LINKCAST_CAUSE_NONE}
#define LINKCAST_LIMIT_CLAMPED 1u /* the least or most fraction set the allocation */
#define LINKCAST_LIMIT_SLEWED 2u  /* the slew limit kept it from its target */
#define LINKCAST_LIMIT_HOLDING 4u /* the hold time kept it as it was */
#define LINKCAST_LIMIT_STALLED 8u /* telemetry has stopped: the allocation goes to the safe one */

/* The loop of one link. profile: what a forecaster and an allocator serve, such as "internet".
 * HANDLE, ARGUMENT, NOT_FOUND, STRUCT_SIZE, BUSY, MEMORY */
LINKCAST_API linkcast_status linkcast_controller_open(linkcast_engine* engine, const char* profile,
                                                      const linkcast_controller_options* options,
                                                      linkcast_controller** controller);

/* NULL is fine. HANDLE, BUSY */
LINKCAST_API linkcast_status linkcast_controller_close(linkcast_controller* controller);

/* One tick, to be called once for each time step of the forecaster.
 * telemetry: (features), physical units; NULL: none came   values: floats in `telemetry`
 * now_ns:    of a clock that does not go back
 * decision:  out
 * Hot. HANDLE, ARGUMENT, NOT_FINITE, UNIT, BUSY, STRUCT_SIZE */
LINKCAST_API linkcast_status linkcast_controller_tick(linkcast_controller* controller, const float* telemetry,
                                                      size_t values, uint64_t now_ns, linkcast_decision* decision);

/* As linkcast_stream_advance: to be called once the decision is applied. Hot. HANDLE, BUSY */
LINKCAST_API linkcast_status linkcast_controller_advance(linkcast_controller* controller);

/* As at the start: no telemetry, the safe allocation. Hot. HANDLE, BUSY */
LINKCAST_API linkcast_status linkcast_controller_reset(linkcast_controller* controller);

typedef struct linkcast_controller_counts {
  size_t size;
  uint64_t ticks;
  uint64_t missing; /* without telemetry */
  uint64_t stalls;  /* times that telemetry stopped */
  uint64_t changes; /* of the allocation */
  uint64_t late;    /* behind the deadline */
} linkcast_controller_counts;
#define LINKCAST_CONTROLLER_COUNTS_INIT {sizeof(linkcast_controller_counts), 0, 0, 0, 0, 0}

/* HANDLE, ARGUMENT, BUSY, STRUCT_SIZE */
LINKCAST_API linkcast_status linkcast_controller_stats(linkcast_controller* controller,
                                                       linkcast_controller_counts* counts);

#ifdef __cplusplus
}
#endif

#endif
