// What an engine's handle stands for.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/fork.h"
#include "c_api/bundle.h"
#include "c_api/handles.h"
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
  ForkLock reloading;  // one reload at a time
  ForkLock texts_lock;
  std::list<std::string> texts;  // handed out by linkcast_model_describe, each once; under texts_lock
};

/// The engine behind a handle; false, and the text for linkcast_last_error, when it is none.
Pinned<EngineHandle> find_engine(linkcast_engine* handle) noexcept;

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

linkcast_status check_finite(const float* values, std::size_t count) noexcept;

/// @throws Error
Safeguard::Options safeguard_options(const linkcast_safeguard& given);

constexpr std::size_t kFirstResult = sizeof(linkcast_result);  // in the first version that had it

}  // namespace linkcast::c_api
