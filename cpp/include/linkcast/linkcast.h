/* linkcast: bandwidth forecasts and allocations for network links and service groups, in C.
 *
 *     linkcast_engine* engine = NULL;
 *     linkcast_model internet;
 *     linkcast_answer answer = LINKCAST_ANSWER_INIT;
 *     linkcast_engine_open(NULL, NULL, &engine);                       // the bundled models
 *     linkcast_model_find(engine, "internet", LINKCAST_ROLE_FORECASTER, &internet);
 *     linkcast_forecast(engine, internet, window, 10 * 4, 0, &answer, 1, NULL);
 *     linkcast_engine_close(engine);
 *
 * Levels. "Simple" is enough for one link: open, forecast or push, decide, close. "Explicit" sets options and asks what
 * there is. "Advanced" is for many models in one call, models that change under way, snapshots and statistics.
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
 * default. A library of a later version accepts the struct of an earlier one; new fields come at the end, and no struct
 * stands inside another. In an array of structs each has the same size.
 *
 * Ownership. A handle is the caller's, from its _open to its _close. Memory that is passed in is read and written only
 * during the call. Texts that are handed out stay the library's.
 *
 * Units stand in the names: mbps is Mbit/s, packet loss and reliability are fractions. A value that can't be in its
 * unit is refused: a fraction outside 0..1, a latency or bandwidth below 0, a bandwidth beyond ten times the link's
 * capacity where that is known. A telemetry sample is latency_ms, bandwidth_mbps, packet_loss, reliability, in this
 * order.
 *
 * Versions. "Since" is the first version that has a function as it stands; it stays until the major number changes.
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

/* ==== Types ==== */

typedef enum linkcast_status {
  LINKCAST_OK = 0,
  LINKCAST_NOT_READY = 1,         /* a stream that has not seen a whole window yet: no error, and no forecast */
  LINKCAST_ERROR_ARGUMENT = 2,    /* null, out of range, or a size that does not fit the model */
  LINKCAST_ERROR_HANDLE = 3,      /* null, closed, of another kind, or never one */
  LINKCAST_ERROR_NOT_FOUND = 4,   /* no such model, profile or group; the text names the known ones */
  LINKCAST_ERROR_NOT_FINITE = 5,  /* a NaN or an infinity came in */
  LINKCAST_ERROR_STRUCT_SIZE = 6, /* smaller than any version's struct, or with fields unknown to this version */
  LINKCAST_ERROR_LOAD = 7,        /* a model, a metadata file or the runtime; the text names the file and the key */
  LINKCAST_ERROR_INVOKE = 8,      /* the runtime refused to run a model */
  LINKCAST_ERROR_BUSY = 9,        /* the handle is in use by another thread */
  LINKCAST_ERROR_NO_ANSWER = 10,  /* neither the model nor anything that stands in for it could answer */
  LINKCAST_ERROR_MEMORY = 11,     /* or the system gives no thread: the text says so */
  LINKCAST_ERROR_INTERNAL = 12,
  LINKCAST_ERROR_UNIT = 13 /* finite, and not of its feature's unit, such as percent for a fraction; the text says what
                              was expected, what came, and what it looks like */
} linkcast_status;

typedef struct linkcast_engine linkcast_engine;         /* the models of a folder */
typedef struct linkcast_stream linkcast_stream;         /* sliding windows of one of them */
typedef struct linkcast_controller linkcast_controller; /* telemetry -> forecast -> allocation, for one link */
typedef struct linkcast_route linkcast_route;           /* which of several paths to send over */
typedef struct linkcast_network linkcast_network;       /* one .tflite file, by its tensors' names */

/* Stands for a model of an engine; stays the same across reloads. */
typedef int32_t linkcast_model;

typedef enum linkcast_role {
  LINKCAST_ROLE_ANY = 0,        /* linkcast_model_find: by the model's own name */
  LINKCAST_ROLE_FORECASTER = 1, /* window -> the next bandwidth, Mbit/s */
  LINKCAST_ROLE_ALLOCATOR = 2,  /* state -> action; action a allocates (a + 1) * 10 % */
  LINKCAST_ROLE_FALLBACK = 3    /* calendar -> bandwidth, Mbit/s */
} linkcast_role;

/* Who gave an answer. A later version may know more of them. */
typedef enum linkcast_source {
  LINKCAST_SOURCE_NONE = 0, /* there is no answer: NaN */
  LINKCAST_SOURCE_MODEL = 1,
  LINKCAST_SOURCE_MIXTURE = 2,       /* the model and naive rules, weighted by how well each has done on this link */
  LINKCAST_SOURCE_FALLBACK = 3,      /* the service group's fallback model */
  LINKCAST_SOURCE_LAST = 4,          /* the last good forecast */
  LINKCAST_SOURCE_FORECAST_MEAN = 5, /* a moving average of the good forecasts */
  LINKCAST_SOURCE_MEASURED_MEAN = 6  /* a moving average of what was measured: a controller's, for one */
} linkcast_source;

/* Why it was not the model; or what is special about a decision. A later version may know more of them. */
typedef enum linkcast_cause {
  LINKCAST_CAUSE_NONE = 0,
  LINKCAST_CAUSE_DEADLINE = 1,
  LINKCAST_CAUSE_FAILED = 2,
  LINKCAST_CAUSE_NOT_FINITE = 3,
  LINKCAST_CAUSE_IMPLAUSIBLE = 4,
  /* Of a decision, which is the allocator's all the same: */
  LINKCAST_CAUSE_OUTSIDE_TRAINING = 5, /* a feature lies outside what training has seen, and was held to it */
  LINKCAST_CAUSE_OVER_CAPACITY = 6     /* the bandwidth is beyond the link's capacity: all of the link */
} linkcast_cause;

/* The next bandwidth of one row. */
typedef struct linkcast_answer {
  size_t size;
  float mbps;     /* NaN with LINKCAST_SOURCE_NONE */
  float p10_mbps; /* a tenth of the outcomes lie below; this and the next two are NaN where no band is known (yet) */
  float p50_mbps;
  float p90_mbps;
  linkcast_source source;
  linkcast_cause cause;
  float reserve_mbps; /* what to reserve: the quantile that the stream's or controller's options name */
} linkcast_answer;
#define LINKCAST_ANSWER_INIT \
  {sizeof(linkcast_answer), 0.0f, 0.0f, 0.0f, 0.0f, LINKCAST_SOURCE_NONE, LINKCAST_CAUSE_NONE, 0.0f}

/* Of all rows of a call. */
typedef struct linkcast_result {
  size_t size;
  linkcast_status status; /* what a call for one model returns */
  linkcast_source source; /* the last resort that was needed for any row */
  linkcast_cause cause;   /* why the first row that the model did not answer was not answered by it */
  uint64_t latency_ns;    /* spent on this model */
} linkcast_result;
#define LINKCAST_RESULT_INIT {sizeof(linkcast_result), LINKCAST_OK, LINKCAST_SOURCE_NONE, LINKCAST_CAUSE_NONE, 0}

/* What a controller decided in one tick. */
typedef struct linkcast_decision {
  size_t size;
  double allocation_mbps;     /* allocation_fraction of the capacity */
  double allocation_fraction; /* 0..1 */
  float forecast_mbps;        /* NaN with LINKCAST_SOURCE_NONE */
  float p10_mbps;             /* the forecast's band, as in linkcast_answer */
  float p50_mbps;
  float p90_mbps;
  linkcast_source source; /* who gave the forecast */
  linkcast_cause cause;   /* why it was not the model, once the window is full */
  int32_t action;         /* the allocator's; -1 without telemetry */
  uint32_t limits;        /* LINKCAST_LIMIT_* that were at work */
  uint64_t latency_ns;    /* of the tick */
  float reserve_mbps; /* the least that linkcast_controller_options.risk asks for; NaN where no band is known (yet) */
  linkcast_cause allocation_cause; /* OUTSIDE_TRAINING, OVER_CAPACITY, NOT_FINITE; FAILED: no action */
  double queue_ms;                 /* the queueing delay: the newest latency less the least of the last ten minutes */
} linkcast_decision;
#define LINKCAST_DECISION_INIT \
  {sizeof(linkcast_decision),  \
   0.0,                        \
   0.0,                        \
   0.0f,                       \
   0.0f,                       \
   0.0f,                       \
   0.0f,                       \
   LINKCAST_SOURCE_NONE,       \
   LINKCAST_CAUSE_NONE,        \
   -1,                         \
   0,                          \
   0,                          \
   0.0f,                       \
   LINKCAST_CAUSE_NONE,        \
   0.0}
#define LINKCAST_LIMIT_CLAMPED 1u    /* the least or most fraction set the allocation */
#define LINKCAST_LIMIT_SLEWED 2u     /* the slew limit kept it from its target */
#define LINKCAST_LIMIT_HOLDING 4u    /* the hold time kept it as it was */
#define LINKCAST_LIMIT_STALLED 8u    /* telemetry has stopped: the allocation goes to the safe one, within stall_cut */
#define LINKCAST_LIMIT_CONGESTED 16u /* a queue stands on a full link: the allocation rises by congestion_step a tick */
#define LINKCAST_LIMIT_SILENT 32u    /* the latency has jumped without a queue before: the fall is bounded */

typedef struct linkcast_engine_options linkcast_engine_options;
typedef struct linkcast_stream_options linkcast_stream_options;
typedef struct linkcast_controller_options linkcast_controller_options;

#define LINKCAST_MAX_BATCH 65536 /* rows of a call, or of a stream */

/* ==== Simple ==== */

/* What the last failed call of this thread had to say, up to 1023 characters; "" before any. Valid until the thread's
 * next failed call; a call that succeeds leaves it alone. Any thread. Since 0.1.0. */
LINKCAST_API const char* linkcast_last_error(void);

/* Reads metadata/ and models/ of a folder, checks every file, runs every model on its golden inputs and compares.
 *
 * folder:   NULL takes $LINKCAST_BUNDLE, or else the models that were installed with this library
 * options:  NULL: all defaults
 * engine:   out; NULL after an error
 *
 * Any thread. LOAD, ARGUMENT, STRUCT_SIZE, MEMORY. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_engine_open(const char* folder, const linkcast_engine_options* options,
                                                  linkcast_engine** engine);

/* Closes the engine; streams and controllers opened on it live on, and the models with them. NULL is fine.
 * HANDLE; BUSY while another thread calls on it. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_engine_close(linkcast_engine* engine);

/* The model of this name ("internet_lstm"), or the one that serves a profile or group ("internet", "streaming") in a
 * role. Any thread. NOT_FOUND, HANDLE, ARGUMENT. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_model_find(linkcast_engine* engine, const char* name, linkcast_role role,
                                                 linkcast_model* model);

/* The next bandwidth of each window. Where the model's is late, failed, not finite or implausible, the service group's
 * fallback model answers, and after it what the row's earlier forecasts say; the answer and the statistics say so. Row
 * r of a model is taken as the same link or group from call to call.
 *
 * model:        a forecaster; or a fallback, whose rows are calendar features
 * windows:      (count, window, features), physical units, oldest time step first
 * values:       floats in `windows`: checked against count * window * features
 * deadline_ns:  from the start of the call; 0: none. A native LSTM gives up between two time steps
 * answers:      (count) out
 * count:        windows, 1 to LINKCAST_MAX_BATCH
 * result:       out; may be NULL
 *
 * Hot. HANDLE, ARGUMENT, NOT_FINITE, UNIT, NO_ANSWER, BUSY, STRUCT_SIZE. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_forecast(linkcast_engine* engine, linkcast_model model, const float* windows,
                                               size_t values, uint64_t deadline_ns, linkcast_answer* answers,
                                               size_t count, linkcast_result* result);

/* The action of each state: 0 to outputs - 1; action a allocates (a + 1) * 10 %. For every state: more bandwidth never
 * means a smaller allocation, a link that is full or over its capacity gets all, and no state gets less than one action
 * below what it carries. The result's cause is the first row's: OUTSIDE_TRAINING, OVER_CAPACITY, NOT_FINITE.
 *
 * model:    an allocator
 * states:   (batch, features), physical units, the bandwidth on a link of the capacity that the allocator was trained on
 *           (trained_on.capacity_mbps of manifest.json), at most ten times that
 * values:   floats in `states`
 * actions:  (batch) out
 * batch:    states, 1 to LINKCAST_MAX_BATCH
 * result:   out; may be NULL
 *
 * Hot. HANDLE, ARGUMENT, NOT_FINITE, UNIT, INVOKE, BUSY, STRUCT_SIZE. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_decide(linkcast_engine* engine, linkcast_model model, const float* states,
                                             size_t values, int32_t* actions, size_t batch, linkcast_result* result);

/* Brings a model's weights and code into the caches, to be called shortly before the next linkcast_forecast of one window
 * or linkcast_decide of one state: after a pause of ten milliseconds that takes 0.3 to 0.6 of the time then. Changes no
 * answer and no statistics. The first call for a model allocates, later ones are hot. HANDLE, ARGUMENT, INVOKE, BUSY,
 * MEMORY. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_model_prepare(linkcast_engine* engine, linkcast_model model);

/* Sliding windows of a forecaster, empty: one for each of `rows` links that tick together, as one batch.
 *
 * rows:     1 to LINKCAST_MAX_BATCH
 * options:  NULL: all defaults
 * stream:   out; NULL after an error
 *
 * HANDLE, ARGUMENT, STRUCT_SIZE, BUSY, MEMORY. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_stream_open(linkcast_engine* engine, linkcast_model model, size_t rows,
                                                  const linkcast_stream_options* options, linkcast_stream** stream);

/* NULL is fine. HANDLE, BUSY. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_stream_close(linkcast_stream* stream);

/* One tick of every row: takes a sample in, and gives the forecast of the window that ends with it. After a value that
 * is not finite or not in its unit the stream is as before.
 *
 * samples:      (rows, features) in the order of the model, physical units; NULL: no row has one in this tick. Where
 *               none came, the row's last sample is held in its place
 * values:       floats in `samples`: checked against rows * features
 * present:      (rows) 0 where no sample came: its row of `samples` is not read; NULL: all came
 * deadline_ns:  from the start of the call; 0: none. A later answer is counted as late
 * answers:      (count) out; NaN and LINKCAST_SOURCE_NONE where the window is not full
 * count:        answers: checked against the rows
 * result:       out; may be NULL. Of the rows whose window is full
 *
 * NOT_READY when no row's window is full; NO_ANSWER when one is full and could not be answered.
 * Hot. HANDLE, ARGUMENT, NOT_FINITE, UNIT, BUSY, STRUCT_SIZE. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_stream_push(linkcast_stream* stream, const float* samples, size_t values,
                                                  const uint8_t* present, uint64_t deadline_ns,
                                                  linkcast_answer* answers, size_t count, linkcast_result* result);

/* The rest of the last push's work, to be done when there is time; else the next push does it. Hot. HANDLE, BUSY.
 * Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_stream_advance(linkcast_stream* stream);

/* Brings weights, code and the stream's memory into the caches, to be called shortly before the next push: after a pause
 * of ten milliseconds that takes 0.2 to 0.6 of the time then. Changes no answer and no statistics. The first call allocates,
 * later ones are hot. HANDLE, BUSY, MEMORY. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_stream_prepare(linkcast_stream* stream);

/* The loop of one link.
 *
 * profile:     what a forecaster and an allocator serve, such as "internet"
 * options:     its capacity_mbps has no default
 * controller:  out; NULL after an error
 *
 * HANDLE, ARGUMENT, NOT_FOUND, STRUCT_SIZE, BUSY, MEMORY. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_controller_open(linkcast_engine* engine, const char* profile,
                                                      const linkcast_controller_options* options,
                                                      linkcast_controller** controller);

/* NULL is fine. HANDLE, BUSY. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_controller_close(linkcast_controller* controller);

/* One tick, to be called once for each time step of the forecaster.
 *
 * telemetry:  (features), physical units; NULL: none came
 * values:     floats in `telemetry`
 * now_ns:     of a clock that does not go back
 * decision:   out
 *
 * Hot. HANDLE, ARGUMENT, NOT_FINITE, UNIT, BUSY, STRUCT_SIZE. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_controller_tick(linkcast_controller* controller, const float* telemetry,
                                                      size_t values, uint64_t now_ns, linkcast_decision* decision);

/* As linkcast_stream_advance: to be called once the decision is applied. Hot. HANDLE, BUSY. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_controller_advance(linkcast_controller* controller);

/* As linkcast_stream_prepare: to be called shortly before the next tick. HANDLE, BUSY, MEMORY. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_controller_prepare(linkcast_controller* controller);

/* ==== Explicit: options, and what there is ==== */

/* Three kinds of options say what gives a number when the model's own forecast can't be used, and when that is:
 * plausible_margin: a forecast is plausible within the range that training has seen (trained_on.target_range of
 *                   manifest.json), widened at either end by this share of it
 * stand_in:         without a fallback model: LINKCAST_SOURCE_LAST, the last good forecast, or
 *                   LINKCAST_SOURCE_FORECAST_MEAN, their moving average
 * stand_in_weight:  of the newest forecast in that average; above 0, at most 1 */

struct linkcast_engine_options {
  size_t size;
  const char* backend;        /* "auto", "native" or "tflite"; NULL: "auto" */
  const char* tflite_library; /* libtensorflowlite_c.so; NULL: $LINKCAST_TFLITE_LIBRARY, or beside this library */
  int32_t threads;            /* of TensorFlow Lite's own kernels */
  uint32_t batch;             /* largest batch of hot calls, made room for at open and reload */
  uint32_t pool_threads;      /* of linkcast_forecast_many, the caller's included; the others sleep between calls */
  uint32_t spin_us;           /* how long those look for work before they sleep */
  const int32_t* pool_cpus;   /* (pool_threads - 1) the CPU of each other thread; NULL: not pinned */
  double plausible_margin;    /* this and the next two: of linkcast_forecast and linkcast_forecast_many */
  double stand_in_weight;
  linkcast_source stand_in;
  const char* public_key; /* a PEM file with Ed25519 keys: every folder that is opened or reloaded has to be signed with
                             one of them (`linkcast sign`). Read at open; NULL: $LINKCAST_PUBLIC_KEY, or else no
                             signature is asked for */
  const char* precision;  /* of the forecasters' native weights, in streams and controllers as well: "float32",
                             "bfloat16" or "int8"; NULL: "float32". Where it does not gain on this CPU, float32 runs:
                             linkcast_model_info.backend_reason says so */
  const char* kernels;    /* native kernels for the forecasters, "bf16_avx512" say; NULL: $LINKCAST_KERNELS, or those
                             that measure best on this CPU */
  const char* second_core; /* the CPU of a helper thread, "3" say, or "any": one window of a forecaster then runs on two
                              cores where that gains, with the same bits. NULL: one core. What came of it:
                              linkcast_model_info.second_core */
  uint64_t helper_spin_us; /* how long the helper keeps its CPU busy after a window, 1 to 60000000; a later window finds
                              it asleep and runs on one core */
  double load_seconds;     /* that loading each model may take, up to 1e6; more for a large one, or on a slow board.
                              0: $LINKCAST_LOAD_SECONDS, or else 10 */
};
#define LINKCAST_ENGINE_OPTIONS_INIT \
  {sizeof(linkcast_engine_options),  \
   NULL,                             \
   NULL,                             \
   1,                                \
   1,                                \
   1,                                \
   0,                                \
   NULL,                             \
   0.5,                              \
   0.3,                              \
   LINKCAST_SOURCE_LAST,             \
   NULL,                             \
   NULL,                             \
   NULL,                             \
   NULL,                             \
   1000,                             \
   0}

struct linkcast_stream_options {
  size_t size;
  double plausible_margin;
  double stand_in_weight;
  linkcast_source stand_in;
  uint32_t most_held; /* ticks in a row for which a missing sample is replaced by the last one */
  int32_t mixture;  /* 1: the model, naive rules and online regressions answer together, each row's weighted by how well
                         each has done on its link, with a band; 0: the model alone, without a band */
  uint32_t horizon; /* steps ahead that the mixture forecasts, 1 to 10; a row takes some 100 kB with 10, 10 kB with 1 */
  double level;     /* of linkcast_answer.reserve_mbps: the share of outcomes that it is to hold, above 0 and below 1 */
};
#define LINKCAST_STREAM_OPTIONS_INIT {sizeof(linkcast_stream_options), 0.5, 0.3, LINKCAST_SOURCE_LAST, 3, 1, 10, 0.95}

struct linkcast_controller_options {
  size_t size;
  double capacity_mbps;  /* of the link; above 0, no default */
  double least_fraction; /* of the capacity that is always allocated */
  double most_fraction;
  double safe_fraction;   /* where the allocation starts, and goes when telemetry stops */
  double headroom;        /* the allocation is at least this times the forecast; 0: the allocator alone decides */
  double slew_per_s;      /* largest change of the fraction in a second; 0: no limit */
  double hold_s;          /* after a change, the allocation stays for this long */
  double stall_s;         /* telemetry older than this has stopped; 0: four time steps of the forecaster */
  double measured_weight; /* of the newest measurement in the average that answers until the window is full */
  uint64_t deadline_ns;   /* a tick that takes longer is counted as late; 0: none */
  double plausible_margin;
  double stand_in_weight;
  linkcast_source stand_in;
  uint32_t most_held; /* as in linkcast_stream_options */
  double risk;        /* share of the ticks in which the allocation may be short of the demand: at least the quantile of
                         1 - risk is allocated. Where a Mbit/s short costs r times one too many, that is 1 / (1 + r).
                         0: the forecast itself is the least */
  double queue_ms;    /* queueing delay above which a full link is congested, and one that is not is in a stall if its
                         latency has jumped; 0: the latency says nothing. What it says only ever raises an allocation */
  double congestion_step; /* share of the capacity that each tick adds while a congested link is full */
  double stall_cut; /* share of the capacity that a stall takes at most from the allocation, and again in each stall_s
                       that it lasts */
};
#define LINKCAST_CONTROLLER_OPTIONS_INIT \
  {sizeof(linkcast_controller_options),  \
   0.0,                                  \
   0.1,                                  \
   1.0,                                  \
   1.0,                                  \
   1.0,                                  \
   0.0,                                  \
   0.0,                                  \
   0.0,                                  \
   0.3,                                  \
   0,                                    \
   0.5,                                  \
   0.3,                                  \
   LINKCAST_SOURCE_LAST,                 \
   3,                                    \
   0.05,                                 \
   30.0,                                 \
   0.1,                                  \
   0.2}

/* "0.1.0": of the library, where LINKCAST_VERSION is of the header. Any thread. Since 0.1.0. */
LINKCAST_API const char* linkcast_version(void);

/* "ok", "bad argument", ...; "unknown status" for a number that is none. Any thread. Since 0.1.0. */
LINKCAST_API const char* linkcast_status_name(linkcast_status status);

/* "model", "mixture", ...; "unknown source" for a number that is none. Any thread. Since 0.1.0. */
LINKCAST_API const char* linkcast_source_name(linkcast_source source);

/* "none", "deadline", ...; "unknown cause" for a number that is none. Any thread. Since 0.1.0. */
LINKCAST_API const char* linkcast_cause_name(linkcast_cause cause);

/* How many models there are: linkcast_model values run from 0 to *count - 1. Any thread. HANDLE, ARGUMENT.
 * Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_model_count(linkcast_engine* engine, size_t* count);

typedef struct linkcast_model_info {
  size_t size;
  const char* name;           /* this and the other texts are valid until the engine is closed */
  const char* serves;         /* a profile or a group */
  const char* backend;        /* "native" or "tflite" */
  const char* backend_reason; /* why */
  const char* isa;            /* of the native kernels: "avx512", "avx2", "neon", "scalar"; else "tflite" */
  linkcast_role role;
  uint32_t window;       /* time steps, oldest first; 0: the input is one row of features */
  uint32_t features;     /* of one time step */
  uint32_t outputs;      /* 1 for a forecast, else the number of actions */
  double step_s;         /* seconds from one time step to the next; 0 without a window */
  const char* precision; /* of the native weights, as it was asked for */
  const char* kernels;   /* the native kernels that run: "f32_avx512", or by class of call where they differ,
                            "bf16_avx512_dot (step, window), f32_avx512 (few, many)"; "" on TensorFlow Lite */
  double proof_error;    /* largest difference from TensorFlow Lite on the golden windows at load, of scaled outputs */
  const char* second_core; /* whether one window runs on two cores, with what was measured at load, or what is in the
                              way: "two cores: a window takes 15.9 us, and 19.2 us on one"; "" when it was not asked for */
  uint64_t kernel_times;   /* that linkcast_model_kernel_time has of this model; 0 on TensorFlow Lite */
} linkcast_model_info;
#define LINKCAST_MODEL_INFO_INIT \
  {sizeof(linkcast_model_info), NULL, NULL, NULL, NULL, NULL, LINKCAST_ROLE_ANY, 0, 0, 0, 0.0, NULL, NULL, 0.0, NULL, 0}

/* Any thread. HANDLE, ARGUMENT, STRUCT_SIZE. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_model_describe(linkcast_engine* engine, linkcast_model model,
                                                     linkcast_model_info* info);

typedef struct linkcast_kernel_time {
  size_t size;
  const char* call;    /* "step" of a stream, "window", "few" (2 to 7 windows) or "many"; valid for ever */
  const char* kernels; /* a candidate for that call, "bf16_avx512_dot", say; valid for ever */
  double us;           /* that it took at load: a step of one state and of nine; 1, 4 or 16 windows. NaN where there was
                          nothing to choose from, or the kernels were asked for */
  int32_t runs;        /* 1: it was chosen, and runs the call */
} linkcast_kernel_time;
#define LINKCAST_KERNEL_TIME_INIT {sizeof(linkcast_kernel_time), NULL, NULL, 0.0, 0}

/* One of the native kernels that a model's choice was made from, call by call, with what it took then: a network of the
 * same shape and precision is measured once in a process. index: below linkcast_model_info.kernel_times.
 * Any thread. HANDLE, ARGUMENT, STRUCT_SIZE. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_model_kernel_time(linkcast_engine* engine, linkcast_model model, size_t index,
                                                        linkcast_kernel_time* time);

typedef struct linkcast_stream_info {
  size_t size;
  const char* mode;        /* "incremental": one time step of work for each push; "window": the full window */
  const char* mode_reason; /* why; both are valid until the stream follows or is closed */
  uint64_t rows;
  uint64_t ticks;
  uint64_t missing;    /* of those, without a sample of this row */
  uint32_t window;     /* time steps */
  uint32_t features;   /* of one time step */
  uint32_t samples_in; /* at most window */
  uint32_t held;       /* of those, held ones */
  int32_t outdated;    /* 1: the engine has been reloaded since the stream was opened or followed */
  uint32_t horizon;    /* of the mixture; 0: there is none */
  uint32_t experts;    /* of the mixture */
  uint64_t scored;     /* answers of this row whose outcome came */
  double exceeded;     /* share of those outcomes that lay above p90_mbps; NaN before any */
} linkcast_stream_info;
#define LINKCAST_STREAM_INFO_INIT {sizeof(linkcast_stream_info), NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0}

/* The stream, and one of its rows, which are numbered from 0. HANDLE, ARGUMENT, BUSY, STRUCT_SIZE. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_stream_describe(linkcast_stream* stream, size_t row, linkcast_stream_info* info);

#define LINKCAST_ALL_ROWS SIZE_MAX

/* Empties the window of one row, or of LINKCAST_ALL_ROWS. Hot. HANDLE, ARGUMENT, BUSY. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_stream_reset(linkcast_stream* stream, size_t row);

/* As at the start: no telemetry, the safe allocation. Hot. HANDLE, BUSY. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_controller_reset(linkcast_controller* controller);

/* ==== Advanced: many models in a call, statistics, other models, snapshots, routes and compression, the log ==== */

typedef struct linkcast_request {
  size_t size;
  linkcast_model model; /* a forecaster; no model twice in one call */
  const float* windows; /* as in linkcast_forecast, as are the rest */
  size_t values;
  linkcast_answer* answers;
  size_t count;
  linkcast_result* result;
} linkcast_request;
#define LINKCAST_REQUEST_INIT {sizeof(linkcast_request), 0, NULL, 0, NULL, 0, NULL}

/* linkcast_forecast for several models in one call, in the order given, on linkcast_engine_options.pool_threads. OK
 * when every request has been run: each one's own status is in its result.
 * Hot; with more than one thread it wakes and waits for the others. HANDLE, ARGUMENT, BUSY, STRUCT_SIZE.
 * Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_forecast_many(linkcast_engine* engine, linkcast_request* requests, size_t count,
                                                    uint64_t deadline_ns);

/* The model's own number for each window: not judged, not counted, and nothing stands in for it, so that it may be
 * implausible or not finite. For measuring a model; linkcast_forecast is what to act on.
 *
 * model:    a forecaster; or a fallback, whose rows are calendar features
 * windows:  as in linkcast_forecast
 * values:   floats in `windows`
 * mbps:     (batch) out
 * batch:    windows, 1 to LINKCAST_MAX_BATCH
 *
 * Hot. HANDLE, ARGUMENT, NOT_FINITE, UNIT, INVOKE, BUSY. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_forecast_raw(linkcast_engine* engine, linkcast_model model, const float* windows,
                                                   size_t values, float* mbps, size_t batch);

typedef struct linkcast_model_stats {
  size_t size;
  uint64_t calls;  /* that the percentiles are of */
  uint64_t p50_ns; /* at most 1/8 above the true percentile */
  uint64_t p90_ns;
  uint64_t p99_ns;
  uint64_t p999_ns;
  uint64_t max_ns;
  uint64_t late;        /* calls whose answer came after their deadline */
  uint64_t sources[16]; /* answers, by linkcast_source: one for each row; there is room for sources to come */
  uint64_t causes[16];  /* answers that have a cause, by linkcast_cause */
} linkcast_model_stats;
#define LINKCAST_MODEL_STATS_INIT {sizeof(linkcast_model_stats), 0, 0, 0, 0, 0, 0, 0, {0}, {0}}

/* What has happened to a model since it was loaded. Any thread. HANDLE, ARGUMENT, STRUCT_SIZE. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_model_read_stats(linkcast_engine* engine, linkcast_model model,
                                                       linkcast_model_stats* stats);

typedef struct linkcast_controller_stats {
  size_t size;
  uint64_t ticks;
  uint64_t missing; /* without telemetry */
  uint64_t stalls;  /* times that telemetry stopped */
  uint64_t changes; /* of the allocation */
  uint64_t late;    /* behind the deadline */
} linkcast_controller_stats;
#define LINKCAST_CONTROLLER_STATS_INIT {sizeof(linkcast_controller_stats), 0, 0, 0, 0, 0}

/* What has happened to a controller since it was opened. HANDLE, ARGUMENT, BUSY, STRUCT_SIZE. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_controller_read_stats(linkcast_controller* controller,
                                                            linkcast_controller_stats* stats);

/* Loads, verifies and warms `folder` (NULL: the one opened) on the calling thread, then puts it in place of the present
 * models: a call under way ends with the old, the next one uses the new, and none waits. Returns when the old ones are
 * freed. A folder that is bad, is not signed as public_key asks, or lacks one of the present models or has it with
 * another input or output, leaves the present models in place. Stats begin anew. Streams and controllers opened before
 * keep the models that they were opened with, in memory too: linkcast_stream_follow moves a stream over with its
 * windows; a controller is opened again.
 * Any thread, also while another one calls on the engine; not from within a log function. LOAD, ARGUMENT, HANDLE, MEMORY.
 * Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_engine_reload(linkcast_engine* engine, const char* folder);

/* Moves the stream with its windows to the models that its engine has now, after a reload; at once when it has them
 * already. Not hot. HANDLE, BUSY, MEMORY. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_stream_follow(linkcast_stream* stream);

/* What is expected further ahead, after a push that found the row's window full: the value `steps` time steps ahead
 * (horizon), or the highest of the next `steps` (peak), which is what an allocation for that long has to hold.
 *
 * steps:   1 to linkcast_stream_options.horizon
 * answer:  out
 *
 * NOT_READY when the row's window is not full, or the stream has no mixture.
 * Hot. HANDLE, ARGUMENT, BUSY, STRUCT_SIZE. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_stream_horizon(linkcast_stream* stream, size_t row, size_t steps,
                                                     linkcast_answer* answer);
LINKCAST_API linkcast_status linkcast_stream_peak(linkcast_stream* stream, size_t row, size_t steps,
                                                  linkcast_answer* answer);

typedef struct linkcast_expert {
  size_t size;
  const char* name;  /* "model", "last", "ewma_0.5", ...; valid for ever */
  double weight;     /* its share of the row's answers; those of all experts sum to 1 */
  double error_mbps; /* its recent mean absolute error; NaN before any */
} linkcast_expert;
#define LINKCAST_EXPERT_INIT {sizeof(linkcast_expert), NULL, 0.0, 0.0}

/* One expert of a row's mixture, one step ahead. index: below linkcast_stream_info.experts. HANDLE, ARGUMENT, BUSY,
 * STRUCT_SIZE. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_stream_expert(linkcast_stream* stream, size_t row, size_t index,
                                                    linkcast_expert* expert);

typedef struct linkcast_route_options {
  size_t size;
  double margin; /* the present path is left for one that is better by more than this share */
  double stay_s; /* on a path, before it is left for a better one */
  double gone_s; /* without an answer for longer, a path is gone */
} linkcast_route_options;
#define LINKCAST_ROUTE_OPTIONS_INIT {sizeof(linkcast_route_options), 0.1, 10.0, 3.0}

typedef struct linkcast_route_choice {
  size_t size;
  int32_t path;    /* 0-based; -1: all are gone */
  int32_t changed; /* 1: another one than before */
  int32_t staying; /* 1: a better one is passed by, for the minimum stay */
  double mbps;     /* what the path is forecast to carry at the least: its value */
} linkcast_route_choice;
#define LINKCAST_ROUTE_CHOICE_INIT {sizeof(linkcast_route_choice), -1, 0, 0, 0.0}

/* A chooser among paths, on none yet. It needs no engine, and is used by one thread at a time.
 *
 * paths:    1 to LINKCAST_MAX_BATCH
 * options:  NULL: all defaults
 * route:    out; NULL after an error
 *
 * Any thread. ARGUMENT, STRUCT_SIZE, MEMORY. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_route_open(size_t paths, const linkcast_route_options* options,
                                                 linkcast_route** route);

/* NULL is fine. HANDLE, BUSY. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_route_close(linkcast_route* route);

/* The path with the best value, which is the least P10 of its steps. The present one is kept unless another is better by
 * the margin and the minimum stay is over. One that has been without an answer for gone_s, or carries nothing, is left
 * at once. Ties stay, and at first go to the lower number.
 *
 * p10_mbps:  (paths, steps), such as p10_mbps of linkcast_stream_horizon for each step; a value that is not finite is no
 *            answer, and is ignored
 * values:    floats in `p10_mbps`: a multiple of the paths
 * now_ns:    of a clock that does not go back
 * choice:    out
 *
 * Hot. HANDLE, ARGUMENT, BUSY, STRUCT_SIZE. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_route_choose(linkcast_route* route, const float* p10_mbps, size_t values,
                                                   uint64_t now_ns, linkcast_route_choice* choice);

/* A codec at one level, as `linkcast measure-codecs` measures it on a machine. */
typedef struct linkcast_codec {
  size_t size;
  double ratio;           /* compressed size / size; above 0 */
  double compress_mbps;   /* Mbit/s of what goes in; above 0 */
  double decompress_mbps; /* Mbit/s of what comes out; above 0 */
} linkcast_codec;
#define LINKCAST_CODEC_INIT {sizeof(linkcast_codec), 1.0, 0.0, 0.0}
#define LINKCAST_MAX_CODECS 64

typedef enum linkcast_quantile { LINKCAST_QUANTILE_P10 = 10, LINKCAST_QUANTILE_P50 = 50 } linkcast_quantile;

typedef struct linkcast_compression_options {
  size_t size;
  linkcast_quantile by; /* of the bandwidth: P10 holds nine times out of ten */
  int32_t overlap;      /* 1: compression, transfer and decompression work at the same time, block by block */
} linkcast_compression_options;
#define LINKCAST_COMPRESSION_OPTIONS_INIT {sizeof(linkcast_compression_options), LINKCAST_QUANTILE_P10, 1}

typedef struct linkcast_compression_choice {
  size_t size;
  int32_t codec;      /* 0-based; -1: send it as it is */
  double seconds;     /* the transfer's, at the quantile that was chosen by; infinite where nothing comes through */
  double seconds_p10; /* with that codec, where the link carries its P10, P50, P90 */
  double seconds_p50;
  double seconds_p90;
} linkcast_compression_choice;
#define LINKCAST_COMPRESSION_CHOICE_INIT {sizeof(linkcast_compression_choice), -1, 0.0, 0.0, 0.0, 0.0}

/* The codec with the least transfer time for what the link is forecast to carry, or none. With S the Mbit to bring over,
 * c and d a codec's speeds, r its ratio and B the bandwidth, the time is
 *     max(S / c, S * r / B, S / d)    overlapped: the slowest stage
 *     S / c + S * r / B + S / d       one after the other
 * and S / B as it is. Ties go to none, and then to the earlier codec. Where B is 0, the next higher quantile decides, and
 * where all are 0 the smallest ratio.
 *
 * codecs:   (count)
 * count:    0 to LINKCAST_MAX_CODECS
 * bytes:    to bring over
 * band:     a forecast of the link; its mbps stands in for a quantile that it lacks
 * options:  NULL: all defaults
 * choice:   out
 *
 * NOT_READY when the forecast is NaN: as it is, then, and NaN seconds.
 * Hot. Any thread. ARGUMENT, STRUCT_SIZE. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_compression_choose(const linkcast_codec* codecs, size_t count, uint64_t bytes,
                                                         const linkcast_answer* band,
                                                         const linkcast_compression_options* options,
                                                         linkcast_compression_choice* choice);

/* Writes all of the stream's rows, so that linkcast_stream_restore goes on from them: on any machine, with the same
 * model file.
 *
 * bytes:     NULL asks for the size alone
 * capacity:  of `bytes`
 * size:      out; ARGUMENT when it is above the capacity
 *
 * HANDLE, ARGUMENT, BUSY, MEMORY. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_stream_snapshot(linkcast_stream* stream, void* bytes, size_t capacity,
                                                      size_t* size);

/* ARGUMENT: damaged, or of another model or number of rows; the stream is as before then. HANDLE, BUSY, MEMORY.
 * Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_stream_restore(linkcast_stream* stream, const void* bytes, size_t size);

/* One row, as the snapshot of a stream of one row: a link moves between streams with the same model and options, and goes on
 * bit for bit as it would have.
 *
 * row:  ARGUMENT when the stream has no such row
 *
 * Otherwise as linkcast_stream_snapshot and linkcast_stream_restore; the other rows are as before. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_stream_snapshot_row(linkcast_stream* stream, size_t row, void* bytes,
                                                          size_t capacity, size_t* size);
LINKCAST_API linkcast_status linkcast_stream_restore_row(linkcast_stream* stream, size_t row, const void* bytes,
                                                         size_t size);

/* Writes all that the controller's next decisions depend on: its window, what it has learnt, its limits' timers and its
 * allocation. As linkcast_stream_snapshot. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_controller_snapshot(linkcast_controller* controller, void* bytes, size_t capacity,
                                                          size_t* size);

/* Goes on where the snapshot was taken. With the same models, options and kernels, the same telemetry at the same times
 * decides the same, bit for bit; so now_ns goes on from there, too (on another clock: linkcast_controller_reset, which
 * keeps what was learnt). Options hold from the next tick on.
 *
 * same_model:  0 takes the snapshot of another forecaster, too: carries over what was learnt to a controller that was
 *              opened after a reload
 *
 * ARGUMENT: damaged, of other features, of another risk, or of another model; the controller is as before then. HANDLE,
 * BUSY, MEMORY. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_controller_restore(linkcast_controller* controller, const void* bytes,
                                                         size_t size, int32_t same_model);

/* A .tflite file of the caller's as it stands, without metadata: inputs and outputs by name, in the numbers that it was
 * trained on. For models that step: those with several inputs and outputs, some of which are recurrent state that the caller
 * carries over from one run to the next. */

typedef enum linkcast_edge { LINKCAST_EDGE_INPUT = 0, LINKCAST_EDGE_OUTPUT = 1 } linkcast_edge;

typedef struct linkcast_network_info {
  size_t size;
  const char* backend;        /* "native" or "tflite"; this and the other texts are valid until the network is closed */
  const char* backend_reason; /* why */
  const char* isa;            /* of the native kernels: "avx512", "avx2", "neon", "scalar"; else "tflite" */
  const char* kernels;        /* as in linkcast_model_info */
  size_t inputs;
  size_t outputs;
  double proof_error; /* largest difference from TensorFlow Lite at load */
} linkcast_network_info;
#define LINKCAST_NETWORK_INFO_INIT {sizeof(linkcast_network_info), NULL, NULL, NULL, NULL, 0, 0, 0.0}

typedef struct linkcast_tensor {
  size_t size;
  const char*
      name; /* of the file's signature, or else of its tensor; valid, as data and shape, until the network is closed */
  float*
      data; /* (values) row-major, float32 whatever the file stores. An input's is the caller's to write, and keeps what
                       stands in it: zeros at first */
  size_t values;
  const int32_t* shape; /* (rank) */
  size_t rank;
} linkcast_tensor;
#define LINKCAST_TENSOR_INIT {sizeof(linkcast_tensor), NULL, NULL, 0, NULL, 0}

/* Checks the file, makes room for every tensor, and proves the native kernels against TensorFlow Lite's where they run it. It
 * needs no engine, and is used by one thread at a time.
 *
 * path:     of a .tflite file
 * options:  of it what is a model's: backend, tflite_library, threads, precision, kernels, second_core,
 *           helper_spin_us and load_seconds; NULL: all defaults
 * network:  out; NULL after an error
 *
 * Any thread. LOAD, ARGUMENT, STRUCT_SIZE, MEMORY. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_network_open(const char* path, const linkcast_engine_options* options,
                                                   linkcast_network** network);

/* NULL is fine. HANDLE, BUSY. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_network_close(linkcast_network* network);

/* HANDLE, ARGUMENT, STRUCT_SIZE, BUSY. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_network_describe(linkcast_network* network, linkcast_network_info* info);

/* An input or output by its place in the file. index: below linkcast_network_info.inputs or .outputs. Hot. HANDLE, ARGUMENT,
 * STRUCT_SIZE, BUSY. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_network_tensor(linkcast_network* network, linkcast_edge edge, size_t index,
                                                     linkcast_tensor* tensor);

/* An input or output by its name. NOT_FOUND, whose text names those that there are. HANDLE, ARGUMENT, STRUCT_SIZE, BUSY.
 * Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_network_find(linkcast_network* network, linkcast_edge edge, const char* name,
                                                   linkcast_tensor* tensor);

/* Reads the inputs and writes the outputs, from zero in a state that the file keeps to itself. What stands in the inputs is
 * taken as it is, a NaN too, but where the file stores whole numbers: INVOKE then. Hot. HANDLE, INVOKE, BUSY.
 * Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_network_run(linkcast_network* network);

/* As linkcast_model_prepare: to be called shortly before the next run. What stands in the inputs and outputs stays. The
 * first call allocates, later ones are hot. HANDLE, INVOKE, BUSY, MEMORY. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_network_prepare(linkcast_network* network);

typedef enum linkcast_log_level {
  LINKCAST_LOG_ERROR = 1,
  LINKCAST_LOG_WARNING = 2,
  LINKCAST_LOG_INFO = 3
} linkcast_log_level;

/* `text` is valid during the call. Must not throw. */
typedef void (*linkcast_log_function)(linkcast_log_level level, const char* text, void* user);

/* Tells `function` what happens at open, reload and close, up to `level`: from the thread that calls those, never from
 * a hot function. Null turns it off, as it is at first; the library itself never prints. For the whole process. Any
 * thread. Since 0.1.0. */
LINKCAST_API linkcast_status linkcast_set_log(linkcast_log_function function, void* user, linkcast_log_level level);

#ifdef __cplusplus
}
#endif

#endif
