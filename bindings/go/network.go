package linkcast

/*
#include <stdlib.h>
#include <linkcast/linkcast.h>

static linkcast_engine_options network_options(void) {
  linkcast_engine_options options = LINKCAST_ENGINE_OPTIONS_INIT;
  return options;
}
static linkcast_network_info empty_network_info(void) {
  linkcast_network_info info = LINKCAST_NETWORK_INFO_INIT;
  return info;
}
static linkcast_tensor empty_tensor(void) {
  linkcast_tensor tensor = LINKCAST_TENSOR_INIT;
  return tensor;
}
*/
import "C"

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"
)

// Network is one .tflite file as it stands, without metadata: inputs and outputs by name, in the numbers that it was
// trained on. Its methods can be called from any goroutine.
type Network struct {
	mutex           sync.Mutex
	handle          *C.linkcast_network
	inputs, outputs map[string]C.linkcast_tensor
}

// NetworkInfo says what runs a Network.
type NetworkInfo struct {
	Backend, BackendReason string   // "native" or "tflite", and why
	ISA, Kernels           string   // of the native kernels
	Inputs, Outputs        []Tensor // in the file's order
	ProofError             float64  // largest difference from TensorFlow Lite at load
}

// Tensor is an input or output of a Network.
type Tensor struct {
	Name  string
	Shape []int
}

// OpenNetwork loads a .tflite file. Of the options PublicKey is not looked at.
func OpenNetwork(path string, given Options) (*Network, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	options := C.network_options()
	free, err := given.fill(&options)
	defer free()
	if err != nil {
		return nil, err
	}
	network := &Network{}
	if _, err := call(func() C.linkcast_status {
		return C.linkcast_network_open(name, &options, &network.handle)
	}); err != nil {
		return nil, err
	}
	runtime.SetFinalizer(network, func(n *Network) { n.Close() })
	info, err := network.info()
	if err == nil {
		network.inputs, err = network.tensors(C.LINKCAST_EDGE_INPUT, info.inputs)
	}
	if err == nil {
		network.outputs, err = network.tensors(C.LINKCAST_EDGE_OUTPUT, info.outputs)
	}
	if err != nil {
		network.Close()
		return nil, err
	}
	return network, nil
}

func (n *Network) info() (C.linkcast_network_info, error) {
	info := C.empty_network_info()
	_, err := call(func() C.linkcast_status { return C.linkcast_network_describe(n.handle, &info) })
	return info, err
}

func (n *Network) tensor(edge C.linkcast_edge, index C.size_t) (C.linkcast_tensor, error) {
	tensor := C.empty_tensor()
	_, err := call(func() C.linkcast_status { return C.linkcast_network_tensor(n.handle, edge, index, &tensor) })
	return tensor, err
}

func (n *Network) tensors(edge C.linkcast_edge, count C.size_t) (map[string]C.linkcast_tensor, error) {
	all := make(map[string]C.linkcast_tensor)
	for k := C.size_t(0); k < count; k++ {
		tensor, err := n.tensor(edge, k)
		if err != nil {
			return nil, err
		}
		all[C.GoString(tensor.name)] = tensor
	}
	return all, nil
}

// valuesOf is the tensor's memory, which belongs to the library.
func valuesOf(tensor C.linkcast_tensor) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(tensor.data)), int(tensor.values))
}

// Describe says what runs the network, and what its inputs and outputs are.
func (n *Network) Describe() (NetworkInfo, error) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.handle == nil {
		return NetworkInfo{}, ErrClosed
	}
	info, err := n.info()
	if err != nil {
		return NetworkInfo{}, err
	}
	described := NetworkInfo{Backend: C.GoString(info.backend), BackendReason: C.GoString(info.backend_reason),
		ISA: C.GoString(info.isa), Kernels: C.GoString(info.kernels), ProofError: float64(info.proof_error)}
	list := func(edge C.linkcast_edge, count C.size_t) (all []Tensor) {
		for k := C.size_t(0); k < count && err == nil; k++ {
			var tensor C.linkcast_tensor
			if tensor, err = n.tensor(edge, k); err != nil {
				return nil
			}
			shape := make([]int, 0, int(tensor.rank))
			for _, extent := range unsafe.Slice(tensor.shape, int(tensor.rank)) {
				shape = append(shape, int(extent))
			}
			all = append(all, Tensor{C.GoString(tensor.name), shape})
		}
		return all
	}
	described.Inputs = list(C.LINKCAST_EDGE_INPUT, info.inputs)
	described.Outputs = list(C.LINKCAST_EDGE_OUTPUT, info.outputs)
	return described, err
}

func named(all map[string]C.linkcast_tensor, which, name string) (C.linkcast_tensor, error) {
	tensor, found := all[name]
	if !found {
		return tensor, fmt.Errorf("%s: there is none called %q", which, name)
	}
	return tensor, nil
}

// Set writes an input, which keeps what stands in it until it is written again: zeros at first.
func (n *Network) Set(input string, values []float32) error {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.handle == nil {
		return ErrClosed
	}
	tensor, err := named(n.inputs, "input", input)
	if err != nil {
		return err
	}
	if len(values) != int(tensor.values) {
		return shapeError(input, int(tensor.values), len(values))
	}
	copy(valuesOf(tensor), values)
	return nil
}

// Run reads the inputs and writes the outputs.
func (n *Network) Run() error {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.handle == nil {
		return ErrClosed
	}
	_, err := call(func() C.linkcast_status { return C.linkcast_network_run(n.handle) })
	return err
}

// Prepare brings weights and code into the caches, shortly before the next Run. Inputs and outputs stay as they are.
func (n *Network) Prepare() error {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.handle == nil {
		return ErrClosed
	}
	_, err := call(func() C.linkcast_status { return C.linkcast_network_prepare(n.handle) })
	return err
}

// Get copies an output.
func (n *Network) Get(output string) ([]float32, error) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.handle == nil {
		return nil, ErrClosed
	}
	tensor, err := named(n.outputs, "output", output)
	if err != nil {
		return nil, err
	}
	return append([]float32(nil), valuesOf(tensor)...), nil
}

// Carry writes an output into an input, for the next run: recurrent state.
func (n *Network) Carry(output, input string) error {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.handle == nil {
		return ErrClosed
	}
	from, err := named(n.outputs, "output", output)
	if err != nil {
		return err
	}
	to, err := named(n.inputs, "input", input)
	if err != nil {
		return err
	}
	if from.values != to.values {
		return shapeError(input, int(to.values), int(from.values))
	}
	copy(valuesOf(to), valuesOf(from))
	return nil
}

// Close frees the network.
func (n *Network) Close() error {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.handle == nil {
		return nil
	}
	handle := n.handle
	n.handle = nil
	runtime.SetFinalizer(n, nil)
	_, err := call(func() C.linkcast_status { return C.linkcast_network_close(handle) })
	return err
}
