package linkcast

import (
	"errors"
	"math"
)

// NetworkState is what a link shows in one time step: milliseconds, Mbit/s, and two fractions.
type NetworkState struct {
	Latency, Bandwidth, PacketLoss, Reliability float64
}

// BandwidthPredictor forecasts and decides for one link.
type BandwidthPredictor interface {
	// PredictBandwidth returns the next bandwidth in Mbit/s; NaN where it can't be given.
	PredictBandwidth(sequence []NetworkState) float64
	// DecideAllocation returns an action, which allocates (action+1)*10 %; -1 where it can't be given.
	DecideAllocation(state NetworkState) int
}

// Predictor is the BandwidthPredictor of a profile, on an Engine. Forecast and Decide tell why something can't be given.
type Predictor struct {
	engine     *Engine
	forecaster Model
	allocator  Model
	window     int
}

var _ BandwidthPredictor = (*Predictor)(nil)

// NewPredictor returns the predictor of a profile: "internet" or "datacenter".
func NewPredictor(engine *Engine, profile string) (*Predictor, error) {
	forecaster, err := engine.Find(profile, Forecaster)
	if err != nil {
		return nil, err
	}
	allocator, err := engine.Find(profile, Allocator)
	if err != nil {
		return nil, err
	}
	info, err := engine.Describe(forecaster)
	if err != nil {
		return nil, err
	}
	if info.Features != 4 {
		return nil, errors.New("linkcast: " + info.Name + " takes other features than those of a NetworkState")
	}
	return &Predictor{engine, forecaster, allocator, info.Window}, nil
}

// Window is the number of time steps that a forecast needs.
func (p *Predictor) Window() int { return p.window }

// PredictBandwidth implements BandwidthPredictor.
func (p *Predictor) PredictBandwidth(sequence []NetworkState) float64 {
	answer, err := p.Forecast(sequence)
	if err != nil {
		return math.NaN()
	}
	return answer.Mbps
}

// Forecast returns the next bandwidth after the last Window() states of the sequence, oldest first.
func (p *Predictor) Forecast(sequence []NetworkState) (Answer, error) {
	if len(sequence) < p.window {
		return Answer{}, shapeError("sequence", p.window, len(sequence))
	}
	features := make([]float32, 0, 4*p.window)
	for _, state := range sequence[len(sequence)-p.window:] {
		features = append(features, state.features()...)
	}
	return p.engine.Forecast(p.forecaster, features, 0)
}

// DecideAllocation implements BandwidthPredictor.
func (p *Predictor) DecideAllocation(state NetworkState) int {
	action, err := p.Decide(state)
	if err != nil {
		return -1
	}
	return action
}

// Decide returns the action of a state.
func (p *Predictor) Decide(state NetworkState) (int, error) {
	return p.engine.Decide(p.allocator, state.features())
}

func (s NetworkState) features() []float32 {
	return []float32{float32(s.Latency), float32(s.Bandwidth), float32(s.PacketLoss), float32(s.Reliability)}
}
