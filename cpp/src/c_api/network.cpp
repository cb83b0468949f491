#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "c_api/engine.h"
#include "c_api/handles.h"
#include "c_api/status.h"
#include "c_api/structs.h"
#include "engine/model.h"

namespace linkcast::c_api {
namespace {

// Sizes of the structs in the first version that had them.
constexpr std::size_t kFirstNetworkInfo = sizeof(linkcast_network_info);
constexpr std::size_t kFirstTensor = sizeof(linkcast_tensor);

/// What a network's handle stands for. It has no engine to keep other threads out, so it does that itself.
struct NetworkHandle {
  NetworkHandle(const std::string& path, const Model::Options& options) : model(path, options) {
    kernels = model.kernels();
  }
  Model model;
  std::string kernels;
  std::atomic_flag busy = ATOMIC_FLAG_INIT;
};

/// Runs `run(network)` while no other thread is in it.
template <class Run>
linkcast_status in_network(linkcast_network* handle, Run run) {
  const Pinned<NetworkHandle> network(handle, Kind::network);
  if (!network) return LINKCAST_ERROR_HANDLE;
  if (network->busy.test_and_set(std::memory_order_acquire))
    return fail(LINKCAST_ERROR_BUSY, "network: another thread is using it; each thread opens its own");
  struct Release {
    std::atomic_flag& busy;
    ~Release() { busy.clear(std::memory_order_release); }
  } const release{network->busy};
  try {
    return run(*network);
  }
  LINKCAST_CATCH
}

const std::vector<tflite::EdgeTensor>& tensors(const Model& model, int edge) {
  if (edge == LINKCAST_EDGE_INPUT) return model.inputs();
  if (edge == LINKCAST_EDGE_OUTPUT) return model.outputs();
  throw Error(LINKCAST_ERROR_ARGUMENT, "edge: expected a linkcast_edge, got " + std::to_string(edge));
}

linkcast_status write_tensor(const tflite::EdgeTensor& of, linkcast_tensor* tensor) noexcept {
  static_assert(sizeof(int) == sizeof(std::int32_t));
  write_struct(linkcast_tensor{sizeof(linkcast_tensor), of.name.c_str(), of.memory.get(), of.size, of.shape.data(),
                               of.shape.size()},
               tensor);
  return LINKCAST_OK;
}

/// Whether `tensor` can be written.
linkcast_status check_tensor(const linkcast_tensor* tensor) noexcept {
  if (!tensor) return fail(LINKCAST_ERROR_ARGUMENT, "tensor: expected a pointer, got null");
  return check_struct(tensor, kFirstTensor);
}

}  // namespace
}  // namespace linkcast::c_api

using namespace linkcast;
using namespace linkcast::c_api;

extern "C" {

linkcast_status linkcast_network_open(const char* path, const linkcast_engine_options* options,
                                      linkcast_network** network) {
  if (!network) return fail(LINKCAST_ERROR_ARGUMENT, "network: expected a place for the handle, got null");
  *network = nullptr;
  if (!path) return fail(LINKCAST_ERROR_ARGUMENT, "path: expected that of a .tflite file, got null");
  try {
    linkcast_engine_options given = LINKCAST_ENGINE_OPTIONS_INIT;
    if (const auto status = read_engine_options(options, given)) return status;
    auto opened = std::make_unique<NetworkHandle>(path, model_options(given));
    log(LINKCAST_LOG_INFO, std::string(path) + ": " + opened->model.backend() + ", " + opened->model.backend_reason());
    open_owned(Kind::network, std::move(opened), network);
    return LINKCAST_OK;
  }
  LINKCAST_CATCH
}

linkcast_status linkcast_network_close(linkcast_network* handle) {
  if (!handle) return LINKCAST_OK;
  Pinned<NetworkHandle> network(handle, Kind::network);
  if (!network) return LINKCAST_ERROR_HANDLE;
  return close_and_free(network);
}

linkcast_status linkcast_network_describe(linkcast_network* handle, linkcast_network_info* info) {
  return in_network(handle, [&](const NetworkHandle& network) {
    if (!info) return fail(LINKCAST_ERROR_ARGUMENT, "info: expected a pointer, got null");
    if (const auto status = check_struct(info, kFirstNetworkInfo)) return status;
    const Model& model = network.model;
    write_struct(linkcast_network_info{sizeof(linkcast_network_info), model.backend(), model.backend_reason().c_str(),
                                       model.isa(), network.kernels.c_str(), model.inputs().size(),
                                       model.outputs().size(), model.proof_error()},
                 info);
    return LINKCAST_OK;
  });
}

linkcast_status linkcast_network_tensor(linkcast_network* handle, linkcast_edge edge, size_t index,
                                        linkcast_tensor* tensor) {
  return in_network(handle, [&, which = number_of(edge)](const NetworkHandle& network) {
    if (const auto status = check_tensor(tensor)) return status;
    const auto& all = tensors(network.model, which);
    if (index >= all.size())
      return fail(LINKCAST_ERROR_ARGUMENT, "index: expected 0 to %zu, got %zu", all.size() - 1, index);
    return write_tensor(all[index], tensor);
  });
}

linkcast_status linkcast_network_find(linkcast_network* handle, linkcast_edge edge, const char* name,
                                      linkcast_tensor* tensor) {
  return in_network(handle, [&, which = number_of(edge)](const NetworkHandle& network) {
    if (const auto status = check_tensor(tensor)) return status;
    if (!name) return fail(LINKCAST_ERROR_ARGUMENT, "name: expected that of a tensor, got null");
    tensors(network.model, which);  // refuses what is neither
    try {
      return write_tensor(which == LINKCAST_EDGE_INPUT ? network.model.input(name) : network.model.output(name),
                          tensor);
    } catch (const std::invalid_argument& error) {
      return fail(LINKCAST_ERROR_NOT_FOUND, "%s", error.what());
    }
  });
}

linkcast_status linkcast_network_run(linkcast_network* handle) {
  return in_network(handle, [](NetworkHandle& network) {
    network.model.invoke();
    return LINKCAST_OK;
  });
}

linkcast_status linkcast_network_prepare(linkcast_network* handle) {
  return in_network(handle, [](NetworkHandle& network) {
    network.model.prepare();
    return LINKCAST_OK;
  });
}

}  // extern "C"
