package linkcast

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// modelsFolder is that of the models beside the library.
func modelsFolder(t *testing.T) string {
	t.Helper()
	for _, folder := range []string{os.Getenv("LINKCAST_BUNDLE"), filepath.Join("..", "..")} {
		path := filepath.Join(folder, "models")
		if _, err := os.Stat(filepath.Join(path, "internet_lstm.tflite")); err == nil {
			return path
		}
	}
	t.Skip("no models here")
	return ""
}

func TestANetworkTakesTheOptionsOfAModel(t *testing.T) {
	path := filepath.Join(modelsFolder(t), "internet_lstm.tflite")
	for _, given := range []Options{{LoadTime: time.Nanosecond}, {SecondCore: "4096"}, {Precision: "int4"}} {
		if _, err := OpenNetwork(path, given); err == nil {
			t.Errorf("%+v was not looked at", given)
		}
	}
}

func TestANetworkIsWrittenAndReadByName(t *testing.T) {
	network, err := OpenNetwork(filepath.Join(modelsFolder(t), "internet_lstm.tflite"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	info, err := network.Describe()
	if err != nil || len(info.Inputs) != 1 || len(info.Outputs) != 1 || info.Backend == "" {
		t.Fatalf("%+v, %v", info, err)
	}
	input, output := info.Inputs[0].Name, info.Outputs[0].Name
	if shape := info.Inputs[0].Shape; len(shape) != 3 || shape[1] != 10 || shape[2] != 4 {
		t.Errorf("shape %v, expected [1 10 4]", shape)
	}
	answer := func(level float32) float32 {
		window := make([]float32, 40)
		for k := range window {
			window[k] = level
		}
		if err := network.Set(input, window); err != nil {
			t.Fatal(err)
		}
		if err := network.Run(); err != nil {
			t.Fatal(err)
		}
		values, err := network.Get(output)
		if err != nil || len(values) != 1 {
			t.Fatalf("%v, %v", values, err)
		}
		return values[0]
	}
	zeros := answer(0)
	if err := network.Prepare(); err != nil {
		t.Fatal(err)
	}
	if values, err := network.Get(output); err != nil || values[0] != zeros {
		t.Errorf("the output is %v after Prepare, was %v: %v", values, zeros, err)
	}
	if answer(0.5) == zeros || answer(0) != zeros {
		t.Error("the answers do not follow the windows alone")
	}
	if err := network.Set(input, make([]float32, 3)); err == nil {
		t.Error("three values for forty were taken")
	}
	if err := network.Set("nothing", nil); err == nil {
		t.Error("an input that there is not was written")
	}
	if err := network.Carry(output, input); err == nil {
		t.Error("one value was carried to forty")
	}
	if err := network.Close(); err != nil {
		t.Error(err)
	}
	if err := network.Run(); err != ErrClosed {
		t.Errorf("after Close: %v", err)
	}
	if _, err := OpenNetwork("/nowhere.tflite", Options{}); err == nil {
		t.Error("a file that there is not was opened")
	}
}
