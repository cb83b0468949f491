// Package linkcast forecasts the bandwidth that a network link or a service group needs next, and decides how much to
// allocate, over linkcast's C library.
//
// cgo finds the library through pkg-config: set PKG_CONFIG_PATH to what `python -m linkcast --pkgconfigdir` prints, or
// install the library with `cmake --install`.
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
static linkcast_result empty_result(void) {
  linkcast_result result = LINKCAST_RESULT_INIT;
  return result;
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
	FromModel    Source = C.LINKCAST_SOURCE_MODEL
	FromFallback Source = C.LINKCAST_SOURCE_FALLBACK
	FromLast     Source = C.LINKCAST_SOURCE_LAST
	FromEWMA     Source = C.LINKCAST_SOURCE_EWMA
	FromNobody   Source = C.LINKCAST_SOURCE_NONE
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
	Beaten      Cause = C.LINKCAST_CAUSE_BEATEN // a moving average has been better lately: StreamOptions.SwitchToEWMA
	// Of a decision, which the allocator gave all the same:
	OutsideTraining Cause = C.LINKCAST_CAUSE_OUTSIDE_TRAINING // a feature was held to what training has seen
	OverCapacity    Cause = C.LINKCAST_CAUSE_OVER_CAPACITY    // more bandwidth than the link has: all of the link
)

func (c Cause) String() string { return C.GoString(C.linkcast_cause_name(C.linkcast_cause(c))) }

// Forecast is an answer, and who gave it.
type Forecast struct {
	Mbps    float64
	Source  Source
	Latency time.Duration // of the model's work
	Cause   Cause         // why it was not the model
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
}

// Engine holds the models of a folder. Its methods, and those of its streams, can be called from any goroutine: one at a
// time runs. For forecasts in parallel, open an Engine for each goroutine.
type Engine struct {
	reloading sync.Mutex // held by Reload and Close
	mutex     sync.Mutex // held by every other call, and by Close
	handle    *C.linkcast_engine
}

// Open loads the models of a folder that holds models/ and metadata/; "" takes those installed with the library.
func Open(folder string) (*Engine, error) {
	name := cString(folder)
	defer C.free(unsafe.Pointer(name))
	engine := &Engine{}
	options := C.engine_options()
	if _, err := call(func() C.linkcast_status { return C.linkcast_engine_open(name, &options, &engine.handle) }); err != nil {
		return nil, err
	}
	runtime.SetFinalizer(engine, func(e *Engine) { e.Close() })
	return engine, nil
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
		Step: time.Duration(float64(info.step_s) * float64(time.Second)),
	}, nil
}

// Forecast runs one window: time steps times features, oldest first, in physical units. A deadline of 0 is none.
func (e *Engine) Forecast(model Model, window []float32, deadline time.Duration) (Forecast, error) {
	var mbps C.float
	result := C.empty_result()
	err := e.do(func(handle *C.linkcast_engine) C.linkcast_status {
		return C.linkcast_forecast(handle, C.linkcast_model(model), floats(window), C.size_t(len(window)), &mbps, 1,
			C.uint64_t(deadline.Nanoseconds()), &result)
	})
	return Forecast{float64(mbps), Source(result.source), time.Duration(result.latency_ns), Cause(result.cause)}, err
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

func floats(values []float32) *C.float {
	if len(values) == 0 {
		return nil
	}
	return (*C.float)(unsafe.Pointer(&values[0]))
}

// Stream is a sliding window of a forecaster.
type Stream struct {
	engine *Engine // whose mutex is the stream's too: both run on the same models
	handle *C.linkcast_stream
}

// StreamOptions of a stream; the zero value is the default.
type StreamOptions struct {
	// Ticks over which the model has to be worse than a moving average of what was measured for that to answer, until
	// the model is better again; 0: off. See linkcast_stream_options in linkcast.h.
	SwitchToEWMA int
}

// Stream opens an empty sliding window, with the default options.
func (e *Engine) Stream(model Model) (*Stream, error) { return e.StreamWith(model, StreamOptions{}) }

// StreamWith opens an empty sliding window.
func (e *Engine) StreamWith(model Model, options StreamOptions) (*Stream, error) {
	stream := &Stream{engine: e}
	given := C.stream_options()
	given.switch_to_ewma = C.uint32_t(options.SwitchToEWMA)
	err := e.do(func(handle *C.linkcast_engine) C.linkcast_status {
		return C.linkcast_stream_open(handle, C.linkcast_model(model), &given, &stream.handle)
	})
	if err != nil {
		return nil, err
	}
	runtime.SetFinalizer(stream, func(s *Stream) { s.Close() })
	return stream, nil
}

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

// Push takes one sample in and returns the forecast of the window that ends with it; ready is false until the window
// is full. A nil sample means that none came in this tick: the last one is held.
func (s *Stream) Push(sample []float32, deadline time.Duration) (forecast Forecast, ready bool, err error) {
	var mbps C.float
	result := C.empty_result()
	status, err := s.do(func() C.linkcast_status {
		return C.linkcast_stream_push(s.handle, floats(sample), C.size_t(len(sample)), &mbps,
			C.uint64_t(deadline.Nanoseconds()), &result)
	})
	forecast = Forecast{float64(mbps), Source(result.source), time.Duration(result.latency_ns), Cause(result.cause)}
	return forecast, err == nil && status == C.LINKCAST_OK, err
}

// Advance does the rest of the last push's work; the next push does it otherwise.
func (s *Stream) Advance() error {
	_, err := s.do(func() C.linkcast_status { return C.linkcast_stream_advance(s.handle) })
	return err
}

// Reset empties the window.
func (s *Stream) Reset() error {
	_, err := s.do(func() C.linkcast_status { return C.linkcast_stream_reset(s.handle) })
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
