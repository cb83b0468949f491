package linkcast

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"
)

func controller(t *testing.T, engine *Engine, options ControllerOptions) *Controller {
	t.Helper()
	c, err := engine.Controller("internet", options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestAControllerDecidesTheSameWithAndWithoutPrepare(t *testing.T) {
	engine := open(t)
	options := DefaultControllerOptions(10)
	if options.LeastFraction != 0.1 || options.Risk != 0.05 || options.StandIn != FromLast { // linkcast.h
		t.Errorf("defaults: %+v", options)
	}
	prepared, plain := controller(t, engine, options), controller(t, engine, options)
	var last Decision
	for second, state := range sequence(15) {
		if err := prepared.Prepare(); err != nil {
			t.Fatal(err)
		}
		now := time.Duration(second+1) * time.Second
		one, err := prepared.Tick(state.features(), now)
		if err != nil {
			t.Fatal(err)
		}
		last, err = plain.Tick(state.features(), now)
		if err != nil || one.Mbps != last.Mbps || one.Action != last.Action || one.Forecast.Mbps != last.Forecast.Mbps {
			t.Errorf("second %d: %+v prepared, %+v plain, %v", second, one, last, err)
		}
		if err := plain.Advance(); err != nil {
			t.Fatal(err)
		}
	}
	if last.Action < 0 || last.Mbps < 2.5 || math.Abs(last.Mbps-10*last.Fraction) > 1e-9 || last.Forecast.Source != FromMixture {
		t.Errorf("%+v", last)
	}
	stats, err := plain.Stats()
	if err != nil || stats.Ticks != 15 || stats.Missing != 0 {
		t.Errorf("%+v, %v", stats, err)
	}
}

func TestAControllerGoesOnFromItsSnapshot(t *testing.T) {
	engine := open(t)
	first, second := controller(t, engine, DefaultControllerOptions(10)), controller(t, engine, DefaultControllerOptions(10))
	states := sequence(14)
	for k, state := range states[:12] {
		if _, err := first.Tick(state.features(), time.Duration(k+1)*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	snapshot, err := first.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Restore(snapshot); err != nil {
		t.Fatal(err)
	}
	for k, state := range states[12:] {
		now := time.Duration(k+13) * time.Second
		one, _ := first.Tick(state.features(), now)
		other, err := second.Tick(state.features(), now)
		if err != nil || one.Mbps != other.Mbps || one.Forecast != other.Forecast {
			t.Errorf("%+v of the first, %+v of the restored one, %v", one, other, err)
		}
	}
	snapshot[len(snapshot)-1] ^= 1
	if err := second.Restore(snapshot); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a flipped bit: %v", err)
	}
	if err := second.Restore(bytes.Clone(nil)); err == nil {
		t.Error("an empty snapshot was taken")
	}
}

func TestAControllerWithoutTelemetryGoesToTheSafeAllocation(t *testing.T) {
	options := DefaultControllerOptions(10)
	options.SafeFraction, options.Stall = 0.5, 2*time.Second
	c := controller(t, open(t), options)
	state := sequence(1)[0].features()
	for second := 1; second <= 12; second++ {
		if _, err := c.Tick(state, time.Duration(second)*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	var made Decision
	for second := 13; second <= 16; second++ {
		made, _ = c.Tick(nil, time.Duration(second)*time.Second)
	}
	if made.Limits&Stalled == 0 || made.Action != -1 || made.Fraction != 0.5 {
		t.Errorf("%+v", made)
	}
	if err := c.Reset(); err != nil {
		t.Error(err)
	}
	if _, err := c.Tick([]float32{50, 2.5, 5, 1}, 20*time.Second); err == nil || !strings.Contains(err.Error(), "packet_loss") {
		t.Errorf("a packet loss of 5: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Tick(state, 21*time.Second); err != ErrClosed {
		t.Errorf("after Close: %v", err)
	}
	if _, err := open(t).Controller("nobody", options); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("an unknown profile: %v", err)
	}
}

func TestAPreparedModelForecastsAsBefore(t *testing.T) {
	engine := open(t)
	p := predictor(t, engine)
	before, err := p.Forecast(sequence(10))
	if err != nil {
		t.Fatal(err)
	}
	for _, model := range []Model{p.forecaster, p.allocator} {
		if err := engine.Prepare(model); err != nil {
			t.Error(err)
		}
	}
	if after, err := p.Forecast(sequence(10)); err != nil || after.Mbps != before.Mbps {
		t.Errorf("%v, expected %v, %v", after, before, err)
	}
	if err := engine.Prepare(99); err == nil || !strings.Contains(err.Error(), "got 99") {
		t.Errorf("a model that is none: %v", err)
	}
}
