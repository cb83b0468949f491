// A controller's loop in Go: one sample in and one decision out at every tick.
//
//	PKG_CONFIG_PATH=$(python -m linkcast --pkgconfigdir) go run .
package main

import (
	"flag"
	"fmt"
	"log"
	"math"
	"time"

	"linkcast"
)

// measure is made up here; a controller reads it from its link.
func measure(tick int) linkcast.NetworkState {
	load := 0.5 + 0.5*math.Sin(float64(tick)/5)
	return linkcast.NetworkState{Latency: 40 + 20*load, Bandwidth: 1 + 2*load, PacketLoss: 0.01 * load, Reliability: 1 - 0.02*load}
}

func run(ticks int, period time.Duration) error {
	engine, err := linkcast.Open("")
	if err != nil {
		return err
	}
	defer engine.Close()
	predictor, err := linkcast.NewPredictor(engine, "internet")
	if err != nil {
		return err
	}
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	var recent []linkcast.NetworkState
	for tick := 0; tick < ticks; tick++ {
		<-ticker.C
		recent = append(recent, measure(tick))
		if len(recent) < predictor.Window() {
			continue
		}
		recent = recent[len(recent)-predictor.Window():]
		answer, err := predictor.Forecast(recent)
		if err != nil {
			return err
		}
		action, err := predictor.Decide(recent[len(recent)-1])
		if err != nil {
			return err
		}
		fmt.Printf("tick %d: %.2f Mbit/s next (%s), allocate %d %%\n", tick, answer.Mbps, answer.Source, (action+1)*10)
	}
	return nil
}

func main() {
	ticks := flag.Int("ticks", 30, "number of ticks")
	period := flag.Duration("period", 100*time.Millisecond, "time of one tick")
	flag.Parse()
	if err := run(*ticks, *period); err != nil {
		log.Fatal(err)
	}
}
