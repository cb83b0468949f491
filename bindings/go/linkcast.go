// Package linkcast forecasts the bandwidth that a network link or a service group needs next, and decides how much to
// allocate, over linkcast's C library.
//
// The module is installed with the library: in a wheel in the folder that `python -m linkcast --godir` prints, after
// `cmake --install` in share/linkcast/go. A project takes it from there:
//
//	go mod edit -require=linkcast@v0.0.0 -replace=linkcast="$(python -m linkcast --godir)"
//	PKG_CONFIG_PATH="$(python -m linkcast --pkgconfigdir)" go build .
//
// cgo finds the library through pkg-config; PKG_CONFIG_PATH is not needed where the prefix is one that pkg-config knows.
package linkcast

/*
#cgo pkg-config: linkcast
#include <stdlib.h>
#include <linkcast/linkcast.h>

static linkcast_engine_options engine_options(void) {
  linkcast_engine_options options = LINKCAST_ENGINE_OPTIONS_INIT;
  return options;
}
static linkcast_stream_options stream_options(void) {
  linkcast_stream_options options = LINKCAST_STREAM_OPTIONS_INIT;
  return options;
}
static linkcast_answer empty_answer(void) {
  linkcast_answer answer = LINKCAST_ANSWER_INIT;
  return answer;
}
static linkcast_result empty_result(void) {
  linkcast_result result = LINKCAST_RESULT_INIT;
  return result;
}
static linkcast_stream_info empty_stream_info(void) {
  linkcast_stream_info info = LINKCAST_STREAM_INFO_INIT;
  return info;
}
static linkcast_expert empty_expert(void) {
  linkcast_expert expert = LINKCAST_EXPERT_INIT;
  return expert;
}
static linkcast_kernel_time empty_kernel_time(void) {
  linkcast_kernel_time time = LINKCAST_KERNEL_TIME_INIT;
  return time;
}
static linkcast_model_info empty_model_info(void) {
  linkcast_model_info info = LINKCAST_MODEL_INFO_INIT;
  return info;
}
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
	"unsafe"
)

// Version of the C library.
func Version() string { return C.GoString(C.linkcast_version()) }

// Error is a status of the C library with its text.
type Error struct {
	Status int    // a linkcast_status
	Name   string // "unknown name"
	Text   string
}

func (e *Error) Error() string { return e.Name + ": " + e.Text }

// ErrClosed is returned by calls on a closed Engine or Stream.
var ErrClosed = errors.New("linkcast: closed")

// call runs one function of the C library. The text of an error belongs to the thread that the function ran on.
func call(function func() C.linkcast_status) (C.linkcast_status, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	status := function()
	if status == C.LINKCAST_OK || status == C.LINKCAST_NOT_READY {
		return status, nil
	}
	return status, &Error{int(status), C.GoString(C.linkcast_status_name(status)), C.GoString(C.linkcast_last_error())}
}

// Role of a model.
type Role int

// The roles.
const (
	AnyRole    Role = C.LINKCAST_ROLE_ANY
	Forecaster Role = C.LINKCAST_ROLE_FORECASTER
	Allocator  Role = C.LINKCAST_ROLE_ALLOCATOR
	Fallback   Role = C.LINKCAST_ROLE_FALLBACK
)

// Source of an answer.
type Source int

// The sources.
const (
	FromNobody       Source = C.LINKCAST_SOURCE_NONE // there is no answer
	FromModel        Source = C.LINKCAST_SOURCE_MODEL
	FromMixture      Source = C.LINKCAST_SOURCE_MIXTURE // the model and naive rules, weighted
	FromFallback     Source = C.LINKCAST_SOURCE_FALLBACK
	FromLast         Source = C.LINKCAST_SOURCE_LAST          // the last good forecast
	FromForecastMean Source = C.LINKCAST_SOURCE_FORECAST_MEAN // a moving average of the good forecasts
	FromMeasuredMean Source = C.LINKCAST_SOURCE_MEASURED_MEAN // a moving average of what was measured
)

func (s Source) String() string { return C.GoString(C.linkcast_source_name(C.linkcast_source(s))) }

// Cause tells why an answer is not the model's.
type Cause int

// The causes.
const (
	ByModel     Cause = C.LINKCAST_CAUSE_NONE
	Late        Cause = C.LINKCAST_CAUSE_DEADLINE
	Failed      Cause = C.LINKCAST_CAUSE_FAILED
	NotFinite   Cause = C.LINKCAST_CAUSE_NOT_FINITE
	Implausible Cause = C.LINKCAST_CAUSE_IMPLAUSIBLE
	// Of a decision, which the allocator gave all the same:
	OutsideTraining Cause = C.LINKCAST_CAUSE_OUTSIDE_TRAINING // a feature was held to what training has seen
	OverCapacity    Cause = C.LINKCAST_CAUSE_OVER_CAPACITY    // more bandwidth than the link has: all of the link
)

func (c Cause) String() string { return C.GoString(C.linkcast_cause_name(C.linkcast_cause(c))) }

// Answer is the next bandwidth of a link, and who gave it.
type Answer struct {
	Mbps          float64
	P10, P50, P90 float64 // quantiles of what will come, Mbit/s; NaN where no band is known (yet)
	Source        Source  // FromNobody until a stream's window is full
	Cause         Cause   // why it was not the model
	Reserve       float64 // what to reserve: the quantile of StreamOptions.Level; NaN as the band
}

// answersOf copies the answers of a call.
func answersOf(given []C.linkcast_answer) []Answer {
	answers := make([]Answer, len(given))
	for row, a := range given {
		answers[row] = Answer{float64(a.mbps), float64(a.p10_mbps), float64(a.p50_mbps), float64(a.p90_mbps),
			Source(a.source), Cause(a.cause), float64(a.reserve_mbps)}
	}
	return answers
}

func makeAnswers(rows int) []C.linkcast_answer {
	answers := make([]C.linkcast_answer, rows)
	for row := range answers {
		answers[row] = C.empty_answer()
	}
	return answers
}

// Model stands for a model of an Engine; it stays the same across reloads.
type Model int

// ModelInfo describes a model.
type ModelInfo struct {
	Name, Serves, Backend, BackendReason, ISA string
	Role                                      Role
	Window                                    int // time steps; 0: the input is one row of features
	Features                                  int // of one time step
	Outputs                                   int // 1 for a forecast, else the number of actions
	Step                                      time.Duration
	Precision                                 string  // of the native weights, as it was asked for
	Kernels                                   string  // that run, by class of call where they differ; "" on TensorFlow Lite
	ProofError                                float64 // largest difference from TensorFlow Lite on the golden windows at load
	// SecondCore says whether one window runs on two cores, with what was measured at load, or what is in the way; "" when
	// it was not asked for.
	SecondCore string
}

// Engine holds the models of a folder. Its methods, and those of its streams, can be called from any goroutine: one at a
// time runs. For forecasts in parallel, open an Engine for each goroutine.
type Engine struct {
	reloading sync.Mutex // held by Reload and Close
	mutex     sync.Mutex // held by every other call, and by Close
	handle    *C.linkcast_engine
}

// Options of an Engine; the zero value is what Open takes.
type Options struct {
	// PublicKey names a PEM file with Ed25519 keys: every folder that is opened or reloaded has to be signed with one of
	// them. "" is what LINKCAST_PUBLIC_KEY names, or else no signature is asked for.
	PublicKey string
	// Precision of the forecasters' native weights, in streams and controllers as well: "float32" (""), "bfloat16" or
	// "int8". Where it does not gain on this CPU, float32 runs: ModelInfo.BackendReason says so.
	Precision string
	// Kernels names native kernels for the forecasters. "" is what LINKCAST_KERNELS names, or else those that measure
	// best on this CPU.
	Kernels string
	// SecondCore runs one window on two cores where that gains, with the same bits: the CPU of a helper thread, "3" say,
	// or "any". "" is one core. ModelInfo.SecondCore says what came of it.
	SecondCore string
	// HelperSpin is how long the helper keeps its CPU busy after a window; a later window finds it asleep and runs on
	// one core. 0 is a millisecond; at most a minute.
	HelperSpin time.Duration
	// LoadTime is what loading each model may take; more for a large one, or on a slow board. 0 is what
	// LINKCAST_LOAD_SECONDS says, or else 10 seconds.
	LoadTime time.Duration
}

// Open loads the models of a folder that holds models/ and metadata/; "" takes those installed with the library.
func Open(folder string) (*Engine, error) { return OpenWith(folder, Options{}) }

// OpenWith is Open with options.
func OpenWith(folder string, given Options) (*Engine, error) {
	name := cString(folder)
	defer C.free(unsafe.Pointer(name))
	engine := &Engine{}
	options := C.engine_options()
	free, err := given.fill(&options)
	defer free()
	if err != nil {
		return nil, err
	}
	if _, err := call(func() C.linkcast_status { return C.linkcast_engine_open(name, &options, &engine.handle) }); err != nil {
		return nil, err
	}
	runtime.SetFinalizer(engine, func(e *Engine) { e.Close() })
	return engine, nil
}

// fill writes the options into C's. What free frees has to live as long as they are read.
func (given Options) fill(options *C.linkcast_engine_options) (free func(), err error) {
	texts := []*C.char{cString(given.PublicKey), cString(given.Precision), cString(given.Kernels), cString(given.SecondCore)}
	options.public_key, options.precision, options.kernels, options.second_core = texts[0], texts[1], texts[2], texts[3]
	free = func() {
		for _, text := range texts {
			C.free(unsafe.Pointer(text))
		}
	}
	if given.HelperSpin != 0 {
		us := given.HelperSpin.Microseconds()
		if us < 1 || us > 60000000 {
			return free, fmt.Errorf("HelperSpin: expected 1us to 1m, got %v", given.HelperSpin)
		}
		options.helper_spin_us = C.uint64_t(us)
	}
	options.load_seconds = C.double(given.LoadTime.Seconds())
	return free, nil
}

// cString is nil for "".
func cString(text string) *C.char {
	if text == "" {
		return nil
	}
	return C.CString(text)
}

// Close frees the models. Streams that are open keep working.
func (e *Engine) Close() error {
	e.reloading.Lock()
	defer e.reloading.Unlock()
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if e.handle == nil {
		return nil
	}
	handle := e.handle
	e.handle = nil
	runtime.SetFinalizer(e, nil)
	_, err := call(func() C.linkcast_status { return C.linkcast_engine_close(handle) })
	return err
}

// Reload puts the models of another folder ("": the same) in place of the present ones, while other goroutines go on
// calling. After an error the present ones stay.
func (e *Engine) Reload(folder string) error {
	e.reloading.Lock()
	defer e.reloading.Unlock()
	handle := e.handle // Close alone changes it; the others need not wait while models are loaded
	if handle == nil {
		return ErrClosed
	}
	name := cString(folder)
	defer C.free(unsafe.Pointer(name))
	_, err := call(func() C.linkcast_status { return C.linkcast_engine_reload(handle, name) })
	return err
}

// do runs a function of the C library on the open engine.
func (e *Engine) do(function func(handle *C.linkcast_engine) C.linkcast_status) error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if e.handle == nil {
		return ErrClosed
	}
	_, err := call(func() C.linkcast_status { return function(e.handle) })
	return err
}

// Find returns the model of this name, or the one that serves a profile or group in a role.
func (e *Engine) Find(name string, role Role) (Model, error) {
	text := C.CString(name)
	defer C.free(unsafe.Pointer(text))
	var model C.linkcast_model
	err := e.do(func(handle *C.linkcast_engine) C.linkcast_status {
		return C.linkcast_model_find(handle, text, C.linkcast_role(role), &model)
	})
	return Model(model), err
}

// Describe tells what a model is.
func (e *Engine) Describe(model Model) (ModelInfo, error) {
	info := C.empty_model_info()
	err := e.do(func(handle *C.linkcast_engine) C.linkcast_status {
		return C.linkcast_model_describe(handle, C.linkcast_model(model), &info)
	})
	if err != nil {
		return ModelInfo{}, err
	}
	return ModelInfo{
		Name: C.GoString(info.name), Serves: C.GoString(info.serves), Backend: C.GoString(info.backend),
		BackendReason: C.GoString(info.backend_reason), ISA: C.GoString(info.isa), Role: Role(info.role),
		Window: int(info.window), Features: int(info.features), Outputs: int(info.outputs),
		Step:      time.Duration(float64(info.step_s) * float64(time.Second)),
		Precision: C.GoString(info.precision), Kernels: C.GoString(info.kernels), ProofError: float64(info.proof_error),
		SecondCore: C.GoString(info.second_core),
	}, nil
}

// KernelTime is a candidate for one kind of call, and what it took when the kernels were chosen.
type KernelTime struct {
	Call    string  // "step" of a stream, "window", "few" (2 to 7 windows) or "many"
	Kernels string  // "bf16_avx512_dot", say
	Us      float64 // microseconds: a step of one state and of nine; 1, 4 or 16 windows. NaN where nothing was measured
	Runs    bool    // it was chosen
}

// KernelTimes are the native kernels that a model's choice was made from, call by call; none on TensorFlow Lite.
func (e *Engine) KernelTimes(model Model) ([]KernelTime, error) {
	info := C.empty_model_info()
	err := e.do(func(handle *C.linkcast_engine) C.linkcast_status {
		return C.linkcast_model_describe(handle, C.linkcast_model(model), &info)
	})
	if err != nil {
		return nil, err
	}
	times := make([]KernelTime, int(info.kernel_times))
	for index := range times {
		time := C.empty_kernel_time()
		err := e.do(func(handle *C.linkcast_engine) C.linkcast_status {
			return C.linkcast_model_kernel_time(handle, C.linkcast_model(model), C.size_t(index), &time)
		})
		if err != nil {
			return nil, err
		}
		times[index] = KernelTime{C.GoString(time.call), C.GoString(time.kernels), float64(time.us), time.runs != 0}
	}
	return times, nil
}

// Forecast runs one window: time steps times features, oldest first, in physical units. A deadline of 0 is none.
func (e *Engine) Forecast(model Model, window []float32, deadline time.Duration) (Answer, error) {
	answer := makeAnswers(1)
	err := e.do(func(handle *C.linkcast_engine) C.linkcast_status {
		return C.linkcast_forecast(handle, C.linkcast_model(model), floats(window), C.size_t(len(window)),
			C.uint64_t(deadline.Nanoseconds()), &answer[0], 1, nil)
	})
	return answersOf(answer)[0], err
}

// ForecastRaw returns the model's own numbers for a batch of windows, one after the other in `windows`: not judged, not
// counted, and nothing stands in for them. Forecast is what to act on.
func (e *Engine) ForecastRaw(model Model, windows []float32, batch int) ([]float64, error) {
	if batch < 1 {
		return nil, shapeError("batch", 1, batch)
	}
	given := make([]float32, batch)
	err := e.do(func(handle *C.linkcast_engine) C.linkcast_status {
		return C.linkcast_forecast_raw(handle, C.linkcast_model(model), floats(windows), C.size_t(len(windows)),
			floats(given), C.size_t(batch))
	})
	if err != nil {
		return nil, err
	}
	mbps := make([]float64, batch)
	for row, value := range given {
		mbps[row] = float64(value)
	}
	return mbps, nil
}

// Decide returns the action of a state: action a allocates (a+1)*10 %. Whatever the state: more bandwidth never means a
// smaller allocation, a link that is full or over its capacity gets all, and no state gets less than one action below
// what it carries.
func (e *Engine) Decide(model Model, state []float32) (int, error) {
	actions, _, err := e.DecideAll(model, state, 1)
	if err != nil {
		return 0, err
	}
	return actions[0], nil
}

// DecideAll returns the actions of a batch of states, one after the other in `states`, and the cause of the first one
// that has one: OutsideTraining, OverCapacity or NotFinite.
func (e *Engine) DecideAll(model Model, states []float32, batch int) ([]int, Cause, error) {
	if batch < 1 {
		return nil, ByModel, fmt.Errorf("linkcast: batch: expected at least 1, got %d", batch)
	}
	given := make([]C.int32_t, batch)
	result := C.empty_result()
	err := e.do(func(handle *C.linkcast_engine) C.linkcast_status {
		return C.linkcast_decide(handle, C.linkcast_model(model), floats(states), C.size_t(len(states)), &given[0],
			C.size_t(batch), &result)
	})
	if err != nil {
		return nil, ByModel, err
	}
	actions := make([]int, batch)
	for row, action := range given {
		actions[row] = int(action)
	}
	return actions, Cause(result.cause), nil
}

// Prepare brings a model's weights and code into the caches, to be called shortly before the next Forecast of one window or
// Decide: after a pause of ten milliseconds that takes 0.3 to 0.6 of the time then. It changes no answer and no statistics.
func (e *Engine) Prepare(model Model) error {
	return e.do(func(handle *C.linkcast_engine) C.linkcast_status {
		return C.linkcast_model_prepare(handle, C.linkcast_model(model))
	})
}

func floats(values []float32) *C.float {
	if len(values) == 0 {
		return nil
	}
	return (*C.float)(unsafe.Pointer(&values[0]))
}

// Stream is a sliding window of a forecaster, or many that tick together: one row each.
type Stream struct {
	engine *Engine // whose mutex is the stream's too: both run on the same models
	handle *C.linkcast_stream
	rows   int
}

// StreamOptions of a stream.
type StreamOptions struct {
	Rows            int     // windows that tick together
	MostHeld        int     // ticks in a row for which a missing sample is replaced by the last one
	PlausibleMargin float64 // of the range that training has seen, by which a forecast may leave it
	StandIn         Source  // FromLast or FromForecastMean: what answers without a fallback model
	StandInWeight   float64 // of the newest forecast in their average
	Mixture         bool    // the model, naive rules and online regressions answer together, with a band
	Horizon         int     // steps ahead that the mixture forecasts, 1 to 10
	Level           float64 // of Answer.Reserve: the share of outcomes that it is to hold
}

// DefaultStreamOptions are those of the C library, for one row.
func DefaultStreamOptions() StreamOptions {
	options := C.stream_options()
	return StreamOptions{1, int(options.most_held), float64(options.plausible_margin), Source(options.stand_in),
		float64(options.stand_in_weight), options.mixture != 0, int(options.horizon), float64(options.level)}
}

// Stream opens an empty sliding window, with the default options.
func (e *Engine) Stream(model Model) (*Stream, error) {
	return e.StreamWith(model, DefaultStreamOptions())
}

// StreamWith opens empty sliding windows.
func (e *Engine) StreamWith(model Model, options StreamOptions) (*Stream, error) {
	if options.Rows < 1 {
		return nil, shapeError("rows", 1, options.Rows)
	}
	stream := &Stream{engine: e, rows: options.Rows}
	given := C.stream_options()
	given.most_held = C.uint32_t(options.MostHeld)
	given.plausible_margin = C.double(options.PlausibleMargin)
	given.stand_in = C.linkcast_source(options.StandIn)
	given.stand_in_weight = C.double(options.StandInWeight)
	given.mixture = 0
	if options.Mixture {
		given.mixture = 1
	}
	given.horizon = C.uint32_t(options.Horizon)
	given.level = C.double(options.Level)
	err := e.do(func(handle *C.linkcast_engine) C.linkcast_status {
		return C.linkcast_stream_open(handle, C.linkcast_model(model), C.size_t(options.Rows), &given, &stream.handle)
	})
	if err != nil {
		return nil, err
	}
	runtime.SetFinalizer(stream, func(s *Stream) { s.Close() })
	return stream, nil
}

// Horizon is what is expected of a row `steps` time steps ahead, after a push that found its window full; false while the
// window is not full, or without a mixture.
func (s *Stream) Horizon(row, steps int) (Answer, bool, error) {
	return s.ahead(func(answer *C.linkcast_answer) C.linkcast_status {
		return C.linkcast_stream_horizon(s.handle, C.size_t(row), C.size_t(steps), answer)
	})
}

// Peak is what is expected of the highest of the next `steps` values: as Horizon.
func (s *Stream) Peak(row, steps int) (Answer, bool, error) {
	return s.ahead(func(answer *C.linkcast_answer) C.linkcast_status {
		return C.linkcast_stream_peak(s.handle, C.size_t(row), C.size_t(steps), answer)
	})
}

func (s *Stream) ahead(look func(*C.linkcast_answer) C.linkcast_status) (Answer, bool, error) {
	answers := makeAnswers(1)
	status, err := s.do(func() C.linkcast_status { return look(&answers[0]) })
	if err != nil {
		return Answer{}, false, err
	}
	return answersOf(answers)[0], status == C.LINKCAST_OK, nil
}

// Expert is one of a mixture's forecasts, one step ahead.
type Expert struct {
	Name   string
	Weight float64 // its share of the answers; those of all experts sum to 1
	Error  float64 // recent mean absolute error, Mbit/s; NaN before any
}

// Experts of a row's mixture; none without one.
func (s *Stream) Experts(row int) ([]Expert, error) {
	info := C.empty_stream_info()
	if _, err := s.do(func() C.linkcast_status { return C.linkcast_stream_describe(s.handle, C.size_t(row), &info) }); err != nil {
		return nil, err
	}
	experts := make([]Expert, int(info.experts))
	for index := range experts {
		expert := C.empty_expert()
		if _, err := s.do(func() C.linkcast_status {
			return C.linkcast_stream_expert(s.handle, C.size_t(row), C.size_t(index), &expert)
		}); err != nil {
			return nil, err
		}
		experts[index] = Expert{C.GoString(expert.name), float64(expert.weight), float64(expert.error_mbps)}
	}
	return experts, nil
}

// Rows is the number of windows.
func (s *Stream) Rows() int { return s.rows }

func (s *Stream) do(function func() C.linkcast_status) (C.linkcast_status, error) {
	s.engine.mutex.Lock()
	defer s.engine.mutex.Unlock()
	if s.handle == nil {
		return C.LINKCAST_OK, ErrClosed
	}
	return call(function)
}

// Close frees the stream.
func (s *Stream) Close() error {
	_, err := s.do(func() C.linkcast_status { return C.linkcast_stream_close(s.handle) })
	if err == ErrClosed {
		return nil
	}
	s.handle = nil
	runtime.SetFinalizer(s, nil)
	return err
}

// Push takes one sample in, on a stream of one row, and returns the forecast of the window that ends with it; ready is
// false until the window is full. A nil sample means that none came in this tick: the last one is held.
func (s *Stream) Push(sample []float32, deadline time.Duration) (answer Answer, ready bool, err error) {
	if s.rows != 1 {
		return Answer{}, false, shapeError("rows", 1, s.rows)
	}
	answers, err := s.PushRows(sample, nil, deadline)
	if err != nil {
		return Answer{}, false, err
	}
	return answers[0], answers[0].Source != FromNobody, nil
}

// PushRows takes one sample of each row in: rows times features; nil: none came in this tick. present tells which rows
// have one; nil: all. An answer is FromNobody where the window is not full.
func (s *Stream) PushRows(samples []float32, present []bool, deadline time.Duration) ([]Answer, error) {
	var flags *C.uint8_t
	if present != nil {
		if len(present) != s.rows {
			return nil, shapeError("present", s.rows, len(present))
		}
		bytes := make([]C.uint8_t, s.rows)
		for row, came := range present {
			if came {
				bytes[row] = 1
			}
		}
		flags = &bytes[0]
	}
	answers := makeAnswers(s.rows)
	_, err := s.do(func() C.linkcast_status {
		return C.linkcast_stream_push(s.handle, floats(samples), C.size_t(len(samples)), flags,
			C.uint64_t(deadline.Nanoseconds()), &answers[0], C.size_t(s.rows), nil)
	})
	return answersOf(answers), err
}

// Advance does the rest of the last push's work; the next push does it otherwise.
func (s *Stream) Advance() error {
	_, err := s.do(func() C.linkcast_status { return C.linkcast_stream_advance(s.handle) })
	return err
}

// Prepare brings weights, code and the stream's memory into the caches, to be called shortly before the next push: after a
// pause of ten milliseconds that takes 0.2 to 0.6 of the time then. It changes no answer and no statistics.
func (s *Stream) Prepare() error {
	_, err := s.do(func() C.linkcast_status { return C.linkcast_stream_prepare(s.handle) })
	return err
}

// Reset empties the windows of all rows.
func (s *Stream) Reset() error {
	_, err := s.do(func() C.linkcast_status { return C.linkcast_stream_reset(s.handle, C.LINKCAST_ALL_ROWS) })
	return err
}

// ResetRow empties the window of one row.
func (s *Stream) ResetRow(row int) error {
	_, err := s.do(func() C.linkcast_status { return C.linkcast_stream_reset(s.handle, C.size_t(row)) })
	return err
}

// RowInfo describes one row of a stream.
type RowInfo struct {
	Ticks, Missing  uint64 // so far; of those, without a sample of this row
	SamplesIn, Held int    // in the window; of those, held ones
	Outdated        bool   // the engine has been reloaded since the stream was opened or followed
}

// Describe tells what stands in the window of a row.
func (s *Stream) Describe(row int) (RowInfo, error) {
	info := C.empty_stream_info()
	_, err := s.do(func() C.linkcast_status { return C.linkcast_stream_describe(s.handle, C.size_t(row), &info) })
	return RowInfo{uint64(info.ticks), uint64(info.missing), int(info.samples_in), int(info.held), info.outdated != 0}, err
}

// Snapshot is all rows as bytes, which Restore goes on from, with the same model file.
func (s *Stream) Snapshot() ([]byte, error) {
	var bytes []byte
	_, err := s.do(func() C.linkcast_status {
		var size C.size_t
		if status := C.linkcast_stream_snapshot(s.handle, nil, 0, &size); status != C.LINKCAST_OK {
			return status
		}
		bytes = make([]byte, size)
		return C.linkcast_stream_snapshot(s.handle, unsafe.Pointer(&bytes[0]), size, &size)
	})
	return bytes, err
}

// Restore goes on where the snapshot was taken.
func (s *Stream) Restore(snapshot []byte) error {
	if len(snapshot) == 0 {
		return shapeError("snapshot", 1, 0)
	}
	_, err := s.do(func() C.linkcast_status {
		return C.linkcast_stream_restore(s.handle, unsafe.Pointer(&snapshot[0]), C.size_t(len(snapshot)))
	})
	return err
}

// SnapshotRow is one row as the snapshot of a stream of one row, which RestoreRow brings into any row.
func (s *Stream) SnapshotRow(row int) ([]byte, error) {
	var bytes []byte
	_, err := s.do(func() C.linkcast_status {
		var size C.size_t
		if status := C.linkcast_stream_snapshot_row(s.handle, C.size_t(row), nil, 0, &size); status != C.LINKCAST_OK {
			return status
		}
		bytes = make([]byte, size)
		return C.linkcast_stream_snapshot_row(s.handle, C.size_t(row), unsafe.Pointer(&bytes[0]), size, &size)
	})
	return bytes, err
}

// RestoreRow goes on in a row where the snapshot of one was taken.
func (s *Stream) RestoreRow(row int, snapshot []byte) error {
	if len(snapshot) == 0 {
		return shapeError("snapshot", 1, 0)
	}
	_, err := s.do(func() C.linkcast_status {
		return C.linkcast_stream_restore_row(s.handle, C.size_t(row), unsafe.Pointer(&snapshot[0]), C.size_t(len(snapshot)))
	})
	return err
}

// Follow moves the stream with its window to the models that the engine has after a reload.
func (s *Stream) Follow() error {
	_, err := s.do(func() C.linkcast_status { return C.linkcast_stream_follow(s.handle) })
	return err
}

func shapeError(what string, want, got int) error {
	return fmt.Errorf("linkcast: %s: expected %d, got %d", what, want, got)
}
