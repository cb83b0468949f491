// What an engine's handle stands for.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "c_api/bundle.h"
#include "c_api/status.h"
#include "engine/reload.h"
#include "linkcast/linkcast.h"

namespace linkcast::c_api {

struct EngineHandle {
  EngineHandle(std::string folder_, BundleOptions options_)
      : folder(std::move(folder_)),
        options(std::move(options_)),
        live(std::make_shared<Bundle>(folder, options, nullptr)) {}

  const char* keep(std::string_view text);

  std::shared_ptr<EngineHandle> self;  // until it is closed; streams and controllers hold it too
  const std::string folder;            // that was opened
  const BundleOptions options;
  HotSwap<Bundle> live;
  std::mutex reloading;  // one reload at a time
  std::mutex texts_mutex;
  std::list<std::string> texts;  // handed out by linkcast_model_describe, each once; under texts_mutex
};

/// The engine behind a handle; nullptr, and the text for linkcast_last_error, when it is none.
EngineHandle* find_engine(linkcast_engine* handle) noexcept;

/// One hot call: holds the handle, so that a second thread is turned away and no reload frees what is in use.
class Call {
 public:
  explicit Call(EngineHandle& engine) noexcept;
  ~Call() {
    if (bundle_) engine_.live.leave();
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  /// The models; nullptr, and the text for linkcast_last_error, when another thread is calling.
  Bundle* bundle() const noexcept { return bundle_; }

 private:
  EngineHandle& engine_;
  Bundle* bundle_;
};

/// Whether `model` is one of the bundle's; else the text for linkcast_last_error stands.
bool known_model(const Bundle& bundle, linkcast_model model) noexcept;

/// Whether every value is finite and of its feature's unit; allocates nothing, where the core would throw.
linkcast_status check_units(const std::vector<Feature>& features, const std::vector<Bounds>& bounds,
                            const float* values, std::size_t count) noexcept;

/// @throws Error
Safeguard::Options safeguard_options(const linkcast_safeguard& given);

constexpr std::size_t kFirstResult = sizeof(linkcast_result);  // in the first version that had it

}  // namespace linkcast::c_api
