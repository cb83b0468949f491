// Two decisions from the same forecasts, in Go: which of two paths to send over, and with which codec.
//
//	linkcast measure-codecs --output codecs.json
//	PKG_CONFIG_PATH=$(python -m linkcast --pkgconfigdir) go run ./transfer -codecs codecs.json
package main

import (
	"flag"
	"fmt"
	"log"
	"math"
	"time"

	"linkcast"
)

var paths = []string{"fibre", "lte"}

const horizon = 5 // steps ahead, seconds here

// measure is made up here: the samples of both paths, one after the other. The fibre fails for a while.
func measure(second int) []float32 {
	fibre := 20 + math.Sin(float64(second))
	if second >= 40 && second < 70 {
		fibre = 0.2
	}
	return []float32{12, float32(fibre), 0, 1, 45, float32(8 + 2*math.Sin(float64(second)/3)), 0.01, 0.98}
}

// lookAhead gives the P10 of each path for each step; NaN until its window is full.
func lookAhead(stream *linkcast.Stream) ([]float32, error) {
	var p10 []float32
	for path := range paths {
		for steps := 1; steps <= horizon; steps++ {
			answer, ready, err := stream.Horizon(path, steps)
			if err != nil {
				return nil, err
			}
			if !ready {
				answer.P10 = math.NaN()
			}
			p10 = append(p10, float32(answer.P10))
		}
	}
	return p10, nil
}

func run(seconds int, bytes uint64, codecs []linkcast.Codec) error {
	engine, err := linkcast.Open("")
	if err != nil {
		return err
	}
	defer engine.Close()
	model, err := engine.Find("internet", linkcast.Forecaster)
	if err != nil {
		return err
	}
	options := linkcast.DefaultStreamOptions()
	options.Rows = len(paths)
	stream, err := engine.StreamWith(model, options)
	if err != nil {
		return err
	}
	defer stream.Close()
	route, err := linkcast.OpenRoute(len(paths), linkcast.RouteOptions{Margin: 0.2, Stay: 5 * time.Second, Gone: 3 * time.Second})
	if err != nil {
		return err
	}
	defer route.Close()
	for second := 0; second < seconds; second++ {
		answers, err := stream.PushRows(measure(second), nil, 0)
		if err != nil {
			return err
		}
		if err := stream.Advance(); err != nil {
			return err
		}
		p10, err := lookAhead(stream)
		if err != nil {
			return err
		}
		choice, err := route.Choose(p10, time.Duration(second)*time.Second)
		if err != nil {
			return err
		}
		if !choice.Changed || choice.Path < 0 {
			continue
		}
		level, ready, err := linkcast.ChooseCompression(codecs, bytes, answers[choice.Path], linkcast.DefaultCompressionOptions())
		if err != nil {
			return err
		}
		name := "no codec"
		if ready && level.Codec >= 0 {
			name = codecs[level.Codec].Name
		}
		fmt.Printf("second %d: over %s, %s, %d bytes in %.2f s\n", second, paths[choice.Path], name, bytes, level.Seconds)
	}
	return nil
}

func main() {
	seconds := flag.Int("seconds", 120, "of telemetry")
	bytes := flag.Uint64("bytes", 1000000, "to bring over")
	table := flag.String("codecs", "codecs.json", "what linkcast measure-codecs wrote")
	flag.Parse()
	codecs, err := linkcast.ReadCodecs(*table)
	if err != nil {
		log.Fatal(err)
	}
	if err := run(*seconds, *bytes, codecs); err != nil {
		log.Fatal(err)
	}
}
