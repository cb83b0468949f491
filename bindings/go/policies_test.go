package linkcast

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestARouteIsLeftForAClearlyBetterOneAfterItsStay(t *testing.T) {
	route, err := OpenRoute(2, RouteOptions{Margin: 0.25, Stay: 10 * time.Second, Gone: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	nan := float32(math.NaN())
	for _, step := range []struct {
		second float64
		p10    []float32
		want   RouteChoice
	}{
		{0, []float32{8, 4}, RouteChoice{0, 8, true, false}},
		{9, []float32{8, 40}, RouteChoice{0, 8, false, true}},
		{10, []float32{8, 10}, RouteChoice{0, 8, false, false}}, // 8 * 1.25 is not above 10
		{11, []float32{9, 8, 20, 12}, RouteChoice{1, 12, true, false}},
		{12, []float32{nan, nan}, RouteChoice{1, 12, false, false}},
		{15, []float32{nan, nan}, RouteChoice{-1, 0, true, false}},
	} {
		choice, err := route.Choose(step.p10, time.Duration(step.second*float64(time.Second)))
		if err != nil || choice != step.want {
			t.Errorf("second %v: %+v, %v, expected %+v", step.second, choice, err, step.want)
		}
	}
	if _, err := route.Choose([]float32{1, 2, 3}, time.Minute); err == nil {
		t.Error("three values for two paths were taken")
	}
	if err := route.Close(); err != nil {
		t.Error(err)
	}
	if _, err := route.Choose([]float32{1, 2}, time.Minute); err != ErrClosed {
		t.Errorf("after Close: %v", err)
	}
	if _, err := OpenRoute(0, DefaultRouteOptions()); err == nil {
		t.Error("no path was taken")
	}
}

func TestTheLeastTransferTimeIsChosen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "codecs.json")
	content := `{"schema": "linkcast-codecs-1", "codecs": [
		{"name": "fast", "ratio": 0.5, "compress_mbps": 200, "decompress_mbps": 800},
		{"name": "good", "ratio": 0.4, "compress_mbps": 40, "decompress_mbps": 800}]}`
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	codecs, err := ReadCodecs(path)
	if err != nil || len(codecs) != 2 || codecs[1].Name != "good" {
		t.Fatalf("%+v, %v", codecs, err)
	}
	forecast := Answer{Mbps: 10, P10: 2, P50: 10, P90: 1000}
	// 8 Mbit one after the other: at 2 Mbit/s 4, 2.05, 1.81 s; at 10 0.8, 0.45, 0.53 s.
	for by, want := range map[Quantile]struct {
		codec   int
		seconds float64
	}{P10: {1, 1.81}, P50: {0, 0.45}} {
		choice, ready, err := ChooseCompression(codecs, 1000000, forecast, CompressionOptions{by, false})
		if err != nil || !ready || choice.Codec != want.codec || math.Abs(choice.Seconds-want.seconds) > 1e-9 {
			t.Errorf("by %v: %+v, %v, %v", by, choice, ready, err)
		}
	}
	unknown := Answer{Mbps: math.NaN(), P10: math.NaN(), P50: math.NaN(), P90: math.NaN()}
	if choice, ready, err := ChooseCompression(codecs, 1, unknown, DefaultCompressionOptions()); err != nil || ready || choice.Codec != -1 {
		t.Errorf("without a forecast: %+v, %v, %v", choice, ready, err)
	}
	if choice, ready, err := ChooseCompression(nil, 1000000, forecast, DefaultCompressionOptions()); err != nil || !ready || choice.Codec != -1 {
		t.Errorf("without codecs: %+v, %v, %v", choice, ready, err)
	}
	if _, _, err := ChooseCompression([]Codec{{}}, 1, forecast, DefaultCompressionOptions()); err == nil {
		t.Error("a codec without speeds was taken")
	}
	if _, err := ReadCodecs(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a table that is not there was read")
	}
}
