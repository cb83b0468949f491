package linkcast

/*
#include <linkcast/linkcast.h>

static linkcast_route_options route_options(void) {
  linkcast_route_options options = LINKCAST_ROUTE_OPTIONS_INIT;
  return options;
}
static linkcast_route_choice empty_route_choice(void) {
  linkcast_route_choice choice = LINKCAST_ROUTE_CHOICE_INIT;
  return choice;
}
static linkcast_answer empty_band(void) {
  linkcast_answer answer = LINKCAST_ANSWER_INIT;
  return answer;
}
static linkcast_codec empty_codec(void) {
  linkcast_codec codec = LINKCAST_CODEC_INIT;
  return codec;
}
static linkcast_compression_options compression_options(void) {
  linkcast_compression_options options = LINKCAST_COMPRESSION_OPTIONS_INIT;
  return options;
}
static linkcast_compression_choice empty_compression_choice(void) {
  linkcast_compression_choice choice = LINKCAST_COMPRESSION_CHOICE_INIT;
  return choice;
}
*/
import "C"

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
)

// RouteOptions of a Route.
type RouteOptions struct {
	Margin float64       // share by which another path has to be better
	Stay   time.Duration // on a path, before it is left for a better one
	Gone   time.Duration // without an answer for longer, a path is gone
}

// DefaultRouteOptions are those of the C library.
func DefaultRouteOptions() RouteOptions {
	options := C.route_options()
	return RouteOptions{float64(options.margin), duration(options.stay_s), duration(options.gone_s)}
}

func duration(seconds C.double) time.Duration {
	return time.Duration(float64(seconds) * float64(time.Second))
}

// Route chooses the path with the best P10 over the horizon, with hysteresis and a minimum stay. Its methods can be
// called from any goroutine.
type Route struct {
	mutex  sync.Mutex
	handle *C.linkcast_route
}

// RouteChoice is what a Route chose.
type RouteChoice struct {
	Path    int     // from 0; -1: all are gone
	Mbps    float64 // what the path is forecast to carry at the least
	Changed bool    // another one than before
	Staying bool    // a better one is passed by, for the minimum stay
}

// OpenRoute makes a chooser among paths, on none yet.
func OpenRoute(paths int, options RouteOptions) (*Route, error) {
	if paths < 1 {
		return nil, shapeError("paths", 1, paths)
	}
	given := C.route_options()
	given.margin = C.double(options.Margin)
	given.stay_s = C.double(options.Stay.Seconds())
	given.gone_s = C.double(options.Gone.Seconds())
	route := &Route{}
	if _, err := call(func() C.linkcast_status {
		return C.linkcast_route_open(C.size_t(paths), &given, &route.handle)
	}); err != nil {
		return nil, err
	}
	runtime.SetFinalizer(route, func(r *Route) { r.Close() })
	return route, nil
}

// Choose takes the P10 of each path for one step ahead or several, Mbit/s, path after path; what is not finite is no
// answer. now is the time on a clock that does not go back.
func (r *Route) Choose(p10 []float32, now time.Duration) (RouteChoice, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.handle == nil {
		return RouteChoice{}, ErrClosed
	}
	choice := C.empty_route_choice()
	if _, err := call(func() C.linkcast_status {
		return C.linkcast_route_choose(r.handle, floats(p10), C.size_t(len(p10)), C.uint64_t(now.Nanoseconds()), &choice)
	}); err != nil {
		return RouteChoice{}, err
	}
	return RouteChoice{int(choice.path), float64(choice.mbps), choice.changed != 0, choice.staying != 0}, nil
}

// Close frees the route.
func (r *Route) Close() error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.handle == nil {
		return nil
	}
	handle := r.handle
	r.handle = nil
	runtime.SetFinalizer(r, nil)
	_, err := call(func() C.linkcast_status { return C.linkcast_route_close(handle) })
	return err
}

// Codec at one level, as `linkcast measure-codecs` measures it on a machine.
type Codec struct {
	Name           string  `json:"name"`
	Ratio          float64 `json:"ratio"`           // compressed size / size
	CompressMbps   float64 `json:"compress_mbps"`   // Mbit/s of what goes in
	DecompressMbps float64 `json:"decompress_mbps"` // Mbit/s of what comes out
}

// ReadCodecs reads a table of `linkcast measure-codecs`.
func ReadCodecs(path string) ([]Codec, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var table struct {
		Schema string  `json:"schema"`
		Codecs []Codec `json:"codecs"`
	}
	if err := json.Unmarshal(content, &table); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if table.Schema != "linkcast-codecs-1" {
		return nil, fmt.Errorf("%s: expected a table of linkcast measure-codecs (linkcast-codecs-1), got %q", path, table.Schema)
	}
	return table.Codecs, nil
}

// Quantile of a forecast.
type Quantile int

// The quantiles that a compression level can be chosen by.
const (
	P10 Quantile = C.LINKCAST_QUANTILE_P10 // holds nine times out of ten
	P50 Quantile = C.LINKCAST_QUANTILE_P50
)

// CompressionOptions of ChooseCompression.
type CompressionOptions struct {
	By      Quantile // of the bandwidth
	Overlap bool     // compression, transfer and decompression work at the same time, block by block
}

// DefaultCompressionOptions are those of the C library.
func DefaultCompressionOptions() CompressionOptions {
	options := C.compression_options()
	return CompressionOptions{Quantile(options.by), options.overlap != 0}
}

// CompressionChoice is the codec with the least transfer time, and how long the transfer takes with it.
type CompressionChoice struct {
	Codec                              int     // from 0; -1: as it is
	Seconds                            float64 // at the quantile that was chosen by; infinite where nothing comes through
	SecondsP10, SecondsP50, SecondsP90 float64 // where the link carries that much
}

// ChooseCompression chooses among codecs for what the link is forecast to carry: see linkcast_compression_choose. ready
// is false while nothing is forecast.
func ChooseCompression(codecs []Codec, bytes uint64, forecast Answer, options CompressionOptions) (choice CompressionChoice, ready bool, err error) {
	table := make([]C.linkcast_codec, len(codecs)+1) // one more, so that there is a first
	for k, codec := range codecs {
		table[k] = C.empty_codec()
		table[k].ratio = C.double(codec.Ratio)
		table[k].compress_mbps = C.double(codec.CompressMbps)
		table[k].decompress_mbps = C.double(codec.DecompressMbps)
	}
	band := C.empty_band()
	band.mbps = C.float(forecast.Mbps)
	band.p10_mbps = C.float(forecast.P10)
	band.p50_mbps = C.float(forecast.P50)
	band.p90_mbps = C.float(forecast.P90)
	given := C.compression_options()
	given.by = C.linkcast_quantile(options.By)
	given.overlap = 0
	if options.Overlap {
		given.overlap = 1
	}
	made := C.empty_compression_choice()
	status, err := call(func() C.linkcast_status {
		return C.linkcast_compression_choose(&table[0], C.size_t(len(codecs)), C.uint64_t(bytes), &band, &given, &made)
	})
	if err != nil {
		return CompressionChoice{}, false, err
	}
	return CompressionChoice{int(made.codec), float64(made.seconds), float64(made.seconds_p10), float64(made.seconds_p50),
		float64(made.seconds_p90)}, status == C.LINKCAST_OK, nil
}
