package linkcast

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func open(t *testing.T) *Engine {
	t.Helper()
	engine, err := Open("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	return engine
}

func TestReducedPrecisionAndPrepare(t *testing.T) {
	engine, err := OpenWith("", Options{Precision: "bfloat16"})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	p := predictor(t, engine)
	info, err := engine.Describe(p.forecaster)
	if err != nil || info.Precision != "bfloat16" || info.Kernels == "" || info.ProofError > 2e-2 {
		t.Errorf("%+v, %v", info, err)
	}
	times, err := engine.KernelTimes(p.forecaster)
	runs := map[string]string{}
	for _, time := range times {
		if !(time.Us > 0) {
			t.Errorf("not measured: %+v", time)
		}
		if time.Runs {
			runs[time.Call] = time.Kernels
		}
	}
	if err != nil || len(runs) != 4 || len(times) <= len(runs) || !strings.Contains(info.Kernels, runs["step"]) {
		t.Errorf("%+v of %+v, %v", runs, times, err)
	}
	prepared, err := engine.Stream(p.forecaster)
	if err != nil {
		t.Fatal(err)
	}
	defer prepared.Close()
	plain, err := engine.Stream(p.forecaster)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	for _, state := range sequence(15) {
		if err := prepared.Prepare(); err != nil {
			t.Fatal(err)
		}
		one, ready, _ := prepared.Push(state.features(), 0)
		other, _, _ := plain.Push(state.features(), 0)
		if ready && one.Mbps != other.Mbps {
			t.Errorf("prepared %v, plain %v", one, other)
		}
	}
	if _, err := OpenWith("", Options{Kernels: "f32_amz"}); err == nil || !strings.Contains(err.Error(), "f32_amz") {
		t.Errorf("kernels that are none: %v", err)
	}
}

func TestSecondCore(t *testing.T) {
	engine, err := OpenWith("", Options{SecondCore: "any", HelperSpin: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	plain, err := Open("")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	p := predictor(t, engine)
	info, err := engine.Describe(p.forecaster)
	if err != nil || !strings.Contains(info.SecondCore, " core") {
		t.Errorf("%+v, %v", info, err)
	}
	if info, err := plain.Describe(p.forecaster); err != nil || info.SecondCore != "" {
		t.Errorf("%+v, %v", info, err)
	}
	var window []float32
	for _, state := range sequence(10) {
		window = append(window, state.features()...)
	}
	for k := 0; k < 20; k++ {
		one, err := plain.Forecast(p.forecaster, window, 0)
		two, other := engine.Forecast(p.forecaster, window, 0)
		if err != nil || other != nil || one.Mbps != two.Mbps {
			t.Fatalf("%v, %v; %v, %v", one, err, two, other)
		}
	}
	if _, err := OpenWith("", Options{SecondCore: "4096"}); err == nil || !strings.Contains(err.Error(), "4096") {
		t.Errorf("a CPU that is none: %v", err)
	}
	for _, spin := range []time.Duration{-time.Second, 500, 2 * time.Minute} {
		if _, err := OpenWith("", Options{SecondCore: "any", HelperSpin: spin}); err == nil {
			t.Errorf("%v was taken", spin)
		}
	}
}

func TestLoadTime(t *testing.T) {
	for _, given := range []time.Duration{time.Nanosecond, -time.Second} {
		if _, err := OpenWith("", Options{LoadTime: given}); err == nil || !strings.Contains(err.Error(), "load") {
			t.Errorf("%v: %v", given, err)
		}
	}
	engine, err := OpenWith("", Options{LoadTime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	engine.Close()
}

func predictor(t *testing.T, engine *Engine) *Predictor {
	t.Helper()
	p, err := NewPredictor(engine, "internet")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A link whose bandwidth moves a little.
func sequence(steps int) []NetworkState {
	var states []NetworkState
	for step := 0; step < steps; step++ {
		states = append(states, NetworkState{50, 2.5 + math.Sin(float64(step)), 0.001, 0.999})
	}
	return states
}

func TestTheInterfaceForecastsAndDecides(t *testing.T) {
	var p BandwidthPredictor = predictor(t, open(t))
	if mbps := p.PredictBandwidth(sequence(10)); math.IsNaN(mbps) || mbps != p.PredictBandwidth(sequence(10)) {
		t.Errorf("the same window twice: %v", mbps)
	}
	if action := p.DecideAllocation(sequence(1)[0]); action < 0 || action > 9 {
		t.Errorf("action: %d", action)
	}
}

func TestRawForecastsAreTheModelsNumbers(t *testing.T) {
	engine := open(t)
	model, err := engine.Find("internet", Forecaster)
	if err != nil {
		t.Fatal(err)
	}
	var windows []float32
	for _, state := range sequence(20) {
		windows = append(windows, state.features()...)
	}
	raw, err := engine.ForecastRaw(model, windows, 2)
	if err != nil {
		t.Fatal(err)
	}
	for row := range raw {
		answer, err := engine.Forecast(model, windows[40*row:40*(row+1)], 0)
		if err != nil || answer.Source != FromModel || answer.Mbps != raw[row] {
			t.Errorf("row %d: %v, expected %v of the model (%v)", row, raw[row], answer, err)
		}
	}
	if _, err := engine.ForecastRaw(model, windows, 3); err == nil || !strings.Contains(err.Error(), "expected 120 floats") {
		t.Errorf("two windows for a batch of three: %v", err)
	}
	if _, err := engine.ForecastRaw(model, windows, 0); err == nil {
		t.Error("an empty batch was taken")
	}
}

func TestBadInputGivesNaNAndAnError(t *testing.T) {
	p := predictor(t, open(t))
	if mbps := p.PredictBandwidth(sequence(9)); !math.IsNaN(mbps) {
		t.Errorf("a short sequence: %v", mbps)
	}
	if _, err := p.Forecast(sequence(9)); err == nil || !strings.Contains(err.Error(), "expected 10, got 9") {
		t.Errorf("a short sequence: %v", err)
	}
	bad := NetworkState{math.NaN(), 5, 0, 1}
	if action := p.DecideAllocation(bad); action != -1 {
		t.Errorf("a NaN: action %d", action)
	}
	var failure *Error
	if _, err := p.Decide(bad); !errors.As(err, &failure) || failure.Name != "value not finite" {
		t.Errorf("a NaN: %v", err)
	}
}

func TestDecisionsAreSafeForEveryState(t *testing.T) {
	engine := open(t)
	for profile, capacity := range map[string]float64{"datacenter": 10000, "internet": 100} {
		p := predictor(t, engine)
		if profile != "internet" {
			var err error
			if p, err = NewPredictor(engine, profile); err != nil {
				t.Fatal(err)
			}
		}
		for latency := 0.05; latency <= 1e4; latency *= 2 {
			for loss := 0.0; loss <= 1; loss += 0.25 {
				last := 0
				for share := 0.05; share < 10; share *= 1.05 {
					action, err := p.Decide(NetworkState{latency, share * capacity, loss, 1 - loss})
					if err != nil {
						t.Fatal(err)
					}
					if action < last || (share >= 1 && action != 9) || float64(action+2) < math.Min(10*share, 10) {
						t.Fatalf("%s: %v ms, %v of the capacity, loss %v: action %d after %d", profile, latency, share, loss,
							action, last)
					}
					last = action
				}
			}
		}
	}
}

func TestValuesInOtherUnitsAreRefused(t *testing.T) {
	p := predictor(t, open(t))
	var failure *Error
	_, err := p.Decide(NetworkState{28, 12.5, 5, 0.998})
	if !errors.As(err, &failure) || failure.Name != "value not in its unit" || !strings.Contains(failure.Text, "percent?") {
		t.Errorf("a loss of 5: %v", err)
	}
	if _, err := p.Decide(NetworkState{28, 12.5e6, 0, 1}); err == nil || !strings.Contains(err.Error(), "bit/s?") {
		t.Errorf("12.5e6 Mbit/s: %v", err)
	}
}

func TestUnknownNamesAreNamed(t *testing.T) {
	engine := open(t)
	if _, err := NewPredictor(engine, "banana"); err == nil || !strings.Contains(err.Error(), "internet") {
		t.Errorf("banana: %v", err)
	}
	if _, err := Open("/nowhere"); err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("/nowhere: %v", err)
	}
}

func TestAStreamGivesWhatTheWindowGives(t *testing.T) {
	engine := open(t)
	p := predictor(t, engine)
	options := DefaultStreamOptions()
	options.Mixture = false
	stream, err := engine.StreamWith(p.forecaster, options)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	states := sequence(15)
	for tick, state := range states {
		forecast, ready, err := stream.Push(state.features(), 0)
		if err != nil || ready != (tick >= 9) {
			t.Fatalf("tick %d: ready %v, %v", tick, ready, err)
		}
		if !ready {
			continue
		}
		// 1e-6 of the scaled target is the promise; the target's range is below 1000 Mbit/s.
		if want := p.PredictBandwidth(states[:tick+1]); math.Abs(forecast.Mbps-want) > 1e-3 || forecast.Source != FromModel {
			t.Errorf("tick %d: %v, the window gives %v", tick, forecast, want)
		}
		if err := stream.Advance(); err != nil {
			t.Error(err)
		}
	}
}

func TestEachRowGetsWhatAStreamOfItsOwnGives(t *testing.T) {
	engine := open(t)
	p := predictor(t, engine)
	options := DefaultStreamOptions()
	options.Rows = 2
	together, err := engine.StreamWith(p.forecaster, options)
	if err != nil {
		t.Fatal(err)
	}
	defer together.Close()
	var alone [2]*Stream
	for row := range alone {
		if alone[row], err = engine.Stream(p.forecaster); err != nil {
			t.Fatal(err)
		}
		defer alone[row].Close()
	}
	states := sequence(40)
	for tick := 0; tick < 20; tick++ {
		present := []bool{true, tick%5 != 3}
		samples := append(states[tick].features(), states[39-tick].features()...)
		answers, err := together.PushRows(samples, present, 0)
		if err != nil {
			t.Fatal(err)
		}
		for row, stream := range alone {
			sample := samples[4*row : 4*row+4]
			if !present[row] {
				sample = nil
			}
			want, ready, err := stream.Push(sample, 0)
			if err != nil || ready != (answers[row].Source != FromNobody) {
				t.Fatalf("tick %d, row %d: ready %v, %v", tick, row, ready, err)
			}
			if ready && math.Abs(answers[row].Mbps-want.Mbps) > 1e-3 {
				t.Errorf("tick %d, row %d: %v, alone it is %v", tick, row, answers[row], want)
			}
		}
	}
	if info, err := together.Describe(1); err != nil || info.Missing != 4 || info.Ticks != 20 {
		t.Errorf("row 1: %+v, %v", info, err)
	}
	bytes, err := together.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	other, err := engine.StreamWith(p.forecaster, options)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.Restore(bytes); err != nil {
		t.Fatal(err)
	}
	row, err := together.SnapshotRow(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.RestoreRow(0, row); err != nil {
		t.Fatal(err)
	}
	first, _ := together.PushRows(nil, nil, 0)
	second, _ := other.PushRows(nil, nil, 0)
	if first[1].Mbps != second[0].Mbps {
		t.Errorf("row 1 in row 0: %v, expected %v", second[0], first[1])
	}
	if math.Abs(first[1].Mbps-second[1].Mbps) > 1e-3 {
		t.Errorf("restored: %v, expected %v", second[1], first[1])
	}
	if err := together.ResetRow(0); err != nil {
		t.Error(err)
	}
	if info, _ := together.Describe(0); info.SamplesIn != 0 {
		t.Errorf("a reset row: %+v", info)
	}
	if _, _, err := together.Push(states[0].features(), 0); err == nil {
		t.Error("one sample for two rows was taken")
	}
	if FromMeasuredMean.String() != "measured_mean" || Implausible.String() != "implausible" {
		t.Errorf("names: %v, %v", FromMeasuredMean, Implausible)
	}
}

func TestReloadWhileOthersCall(t *testing.T) {
	engine := open(t)
	p := predictor(t, engine)
	want := p.PredictBandwidth(sequence(10))
	done := make(chan struct{})
	var group sync.WaitGroup
	for worker := 0; worker < 2; worker++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for {
				select {
				case <-done:
					return
				default:
				}
				if got := p.PredictBandwidth(sequence(10)); got != want {
					t.Errorf("during a reload: %v, expected %v", got, want)
					return
				}
			}
		}()
	}
	for round := 0; round < 3; round++ {
		if err := engine.Reload(""); err != nil {
			t.Error(err)
		}
	}
	if err := engine.Reload("/nowhere"); err == nil {
		t.Error("a missing folder was taken")
	}
	close(done)
	group.Wait()
}

func TestAClosedEngineIsAnError(t *testing.T) {
	engine := open(t)
	p := predictor(t, engine)
	if err := engine.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Decide(sequence(1)[0]); err != ErrClosed {
		t.Errorf("after Close: %v", err)
	}
}

func TestAKeyAsksForASignature(t *testing.T) {
	_, err := OpenWith("", Options{PublicKey: "/nowhere/key.pub"})
	if err == nil || !strings.Contains(err.Error(), "public key: /nowhere/key.pub: can't be opened") {
		t.Errorf("a key that is not there: %v", err)
	}
	key := filepath.Join(t.TempDir(), "key.pub")
	// Of RFC 8032's first test vector; the bundled models are signed with no key.
	pem := "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n"
	if err := os.WriteFile(key, []byte(pem), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = OpenWith("", Options{PublicKey: key})
	if err == nil || !strings.Contains(err.Error(), "asks for a signature") {
		t.Errorf("an unsigned folder: %v", err)
	}
}
