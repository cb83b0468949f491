package linkcast

/*
#include <stdlib.h>
#include <linkcast/linkcast.h>

static linkcast_controller_options controller_options(void) {
  linkcast_controller_options options = LINKCAST_CONTROLLER_OPTIONS_INIT;
  return options;
}
static linkcast_decision empty_decision(void) {
  linkcast_decision decision = LINKCAST_DECISION_INIT;
  return decision;
}
static linkcast_controller_stats empty_controller_stats(void) {
  linkcast_controller_stats stats = LINKCAST_CONTROLLER_STATS_INIT;
  return stats;
}
*/
import "C"

import (
	"runtime"
	"time"
	"unsafe"
)

// ControllerOptions of a Controller. Fractions are of the capacity.
type ControllerOptions struct {
	CapacityMbps    float64 // of the link; above 0, no default
	LeastFraction   float64 // that is always allocated
	MostFraction    float64
	SafeFraction    float64       // where the allocation starts, and goes when telemetry stops
	Headroom        float64       // the allocation is at least this times the forecast; 0: the allocator alone decides
	SlewPerSecond   float64       // largest change of the fraction in a second; 0: no limit
	Hold            time.Duration // after a change, the allocation stays for this long
	Stall           time.Duration // telemetry older than this has stopped; 0: four time steps of the forecaster
	MeasuredWeight  float64       // of the newest measurement in the average that answers until the window is full
	Deadline        time.Duration // a tick that takes longer is counted as late; 0: none
	PlausibleMargin float64       // this and the next three: as in StreamOptions
	StandInWeight   float64
	StandIn         Source
	MostHeld        int
	Risk            float64 // share of the ticks in which the allocation may be short of the demand; 0: the forecast is the least
	QueueMs         float64 // queueing delay above which a full link is congested; 0: the latency says nothing
	CongestionStep  float64 // fraction that each tick adds while a congested link is full
	StallCut        float64 // fraction that a stall takes at most, and again in each Stall that it lasts
}

// DefaultControllerOptions are those of the C library, for a link of this capacity.
func DefaultControllerOptions(capacityMbps float64) ControllerOptions {
	options := C.controller_options()
	return ControllerOptions{capacityMbps, float64(options.least_fraction), float64(options.most_fraction),
		float64(options.safe_fraction), float64(options.headroom), float64(options.slew_per_s), duration(options.hold_s),
		duration(options.stall_s), float64(options.measured_weight), time.Duration(options.deadline_ns),
		float64(options.plausible_margin), float64(options.stand_in_weight), Source(options.stand_in),
		int(options.most_held), float64(options.risk), float64(options.queue_ms), float64(options.congestion_step),
		float64(options.stall_cut)}
}

// Limits that were at work in a tick; see LINKCAST_LIMIT_* in linkcast.h.
type Limits uint32

// The limits.
const (
	Clamped   Limits = C.LINKCAST_LIMIT_CLAMPED   // the least or most fraction set the allocation
	Slewed    Limits = C.LINKCAST_LIMIT_SLEWED    // the slew limit kept it from its target
	Holding   Limits = C.LINKCAST_LIMIT_HOLDING   // the hold time kept it as it was
	Stalled   Limits = C.LINKCAST_LIMIT_STALLED   // telemetry has stopped
	Congested Limits = C.LINKCAST_LIMIT_CONGESTED // a queue stands on a full link
	Silent    Limits = C.LINKCAST_LIMIT_SILENT    // the latency has jumped without a queue before
)

// Decision of a Controller in one tick.
type Decision struct {
	Mbps            float64 // allocated
	Fraction        float64 // the same, of the capacity
	Forecast        Answer  // its Cause says why it was not the model, once the window is full
	Action          int     // the allocator's; -1 without telemetry
	AllocationCause Cause   // what is special about the action; Failed: there is none
	Limits          Limits  // that were at work
	Took            time.Duration
	QueueMs         float64 // the queueing delay
}

// Controller is the closed loop of one link: telemetry in, an allocation out. Its methods can be called from any
// goroutine, one at a time with the Engine's.
type Controller struct {
	engine *Engine // whose mutex is the controller's too: both run on the same models
	handle *C.linkcast_controller
}

// Controller opens the loop of a link that a forecaster and an allocator of this profile ("internet") serve.
func (e *Engine) Controller(profile string, options ControllerOptions) (*Controller, error) {
	given := C.controller_options()
	given.capacity_mbps = C.double(options.CapacityMbps)
	given.least_fraction = C.double(options.LeastFraction)
	given.most_fraction = C.double(options.MostFraction)
	given.safe_fraction = C.double(options.SafeFraction)
	given.headroom = C.double(options.Headroom)
	given.slew_per_s = C.double(options.SlewPerSecond)
	given.hold_s = C.double(options.Hold.Seconds())
	given.stall_s = C.double(options.Stall.Seconds())
	given.measured_weight = C.double(options.MeasuredWeight)
	given.plausible_margin = C.double(options.PlausibleMargin)
	given.stand_in_weight = C.double(options.StandInWeight)
	given.stand_in = C.linkcast_source(options.StandIn)
	given.risk = C.double(options.Risk)
	given.queue_ms = C.double(options.QueueMs)
	given.congestion_step = C.double(options.CongestionStep)
	given.stall_cut = C.double(options.StallCut)
	if options.Deadline < 0 {
		return nil, shapeError("Deadline", 0, int(options.Deadline))
	}
	given.deadline_ns = C.uint64_t(options.Deadline.Nanoseconds())
	if options.MostHeld < 0 {
		return nil, shapeError("MostHeld", 0, options.MostHeld)
	}
	given.most_held = C.uint32_t(options.MostHeld)
	name := C.CString(profile)
	defer C.free(unsafe.Pointer(name))
	controller := &Controller{engine: e}
	err := e.do(func(handle *C.linkcast_engine) C.linkcast_status {
		return C.linkcast_controller_open(handle, name, &given, &controller.handle)
	})
	if err != nil {
		return nil, err
	}
	runtime.SetFinalizer(controller, func(c *Controller) { c.Close() })
	return controller, nil
}

func (c *Controller) do(function func() C.linkcast_status) error {
	c.engine.mutex.Lock()
	defer c.engine.mutex.Unlock()
	if c.handle == nil {
		return ErrClosed
	}
	_, err := call(function)
	return err
}

// Close frees the controller.
func (c *Controller) Close() error {
	err := c.do(func() C.linkcast_status {
		status := C.linkcast_controller_close(c.handle)
		if status == C.LINKCAST_OK {
			c.handle = nil
		}
		return status
	})
	if err == ErrClosed {
		return nil
	}
	runtime.SetFinalizer(c, nil)
	return err
}

// Tick takes the telemetry of one time step in, nil where none came, and decides. now is the time on a clock that does not
// go back.
func (c *Controller) Tick(telemetry []float32, now time.Duration) (Decision, error) {
	made := C.empty_decision()
	err := c.do(func() C.linkcast_status {
		return C.linkcast_controller_tick(c.handle, floats(telemetry), C.size_t(len(telemetry)),
			C.uint64_t(now.Nanoseconds()), &made)
	})
	if err != nil {
		return Decision{}, err
	}
	return Decision{
		Mbps: float64(made.allocation_mbps), Fraction: float64(made.allocation_fraction),
		Forecast: Answer{float64(made.forecast_mbps), float64(made.p10_mbps), float64(made.p50_mbps), float64(made.p90_mbps),
			Source(made.source), Cause(made.cause), float64(made.reserve_mbps)},
		Action: int(made.action), AllocationCause: Cause(made.allocation_cause), Limits: Limits(made.limits),
		Took: time.Duration(made.latency_ns), QueueMs: float64(made.queue_ms),
	}, nil
}

// Advance does the rest of the last tick's work, once the decision is applied; the next tick does it otherwise.
func (c *Controller) Advance() error {
	return c.do(func() C.linkcast_status { return C.linkcast_controller_advance(c.handle) })
}

// Prepare is Stream.Prepare, and the same of the decision: to be called shortly before the next tick.
func (c *Controller) Prepare() error {
	return c.do(func() C.linkcast_status { return C.linkcast_controller_prepare(c.handle) })
}

// Reset brings the controller to where it started: no telemetry, the safe allocation.
func (c *Controller) Reset() error {
	return c.do(func() C.linkcast_status { return C.linkcast_controller_reset(c.handle) })
}

// Snapshot is all that the next decisions depend on, which Restore goes on from.
func (c *Controller) Snapshot() ([]byte, error) {
	var bytes []byte
	err := c.do(func() C.linkcast_status {
		var size C.size_t
		if status := C.linkcast_controller_snapshot(c.handle, nil, 0, &size); status != C.LINKCAST_OK {
			return status
		}
		bytes = make([]byte, size)
		return C.linkcast_controller_snapshot(c.handle, unsafe.Pointer(&bytes[0]), size, &size)
	})
	return bytes, err
}

// Restore goes on where the snapshot was taken, with the same model file.
func (c *Controller) Restore(snapshot []byte) error {
	if len(snapshot) == 0 {
		return shapeError("snapshot", 1, 0)
	}
	return c.do(func() C.linkcast_status {
		return C.linkcast_controller_restore(c.handle, unsafe.Pointer(&snapshot[0]), C.size_t(len(snapshot)), 1)
	})
}

// ControllerStats is what has happened to a Controller since it was opened.
type ControllerStats struct {
	Ticks, Missing uint64 // so far; of those, without telemetry
	Stalls         uint64 // times that telemetry stopped
	Changes        uint64 // of the allocation
	Late           uint64 // ticks that took longer than the deadline
}

// Stats counts what has happened.
func (c *Controller) Stats() (ControllerStats, error) {
	stats := C.empty_controller_stats()
	err := c.do(func() C.linkcast_status { return C.linkcast_controller_read_stats(c.handle, &stats) })
	return ControllerStats{uint64(stats.ticks), uint64(stats.missing), uint64(stats.stalls), uint64(stats.changes),
		uint64(stats.late)}, err
}
