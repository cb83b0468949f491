#include "tflite/runtime.h"

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>

#include "base/error.h"
#include "base/fork.h"

namespace linkcast::tflite {
namespace {

constexpr const char* kLibraryName = "libtensorflowlite_c.so";

std::mutex& make_mutex() {
  std::mutex& made = *std::make_unique<std::mutex>().release();
  hold_across_fork(made);
  return made;
}

bool readable(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (file) std::fclose(file);
  return file != nullptr;
}

std::string default_library() {
  if (const char* named = std::getenv("LINKCAST_TFLITE_LIBRARY"); named && *named) return named;
  Dl_info self;
  if (dladdr(reinterpret_cast<const void*>(&default_library), &self) && self.dli_fname) {
    const std::string file = self.dli_fname;
    const auto slash = file.rfind('/');
    const std::string beside = (slash == std::string::npos ? "" : file.substr(0, slash + 1)) + kLibraryName;
    if (readable(beside)) return beside;
  }
  return kLibraryName;
}

/// @return the first function for delegates that the library lacks, or ""
std::string load_functions(void* library, const std::string& path, Api& api) {
#define LINKCAST_LOAD(result, name, parameters)                                    \
  api.name = reinterpret_cast<decltype(api.name)>(dlsym(library, "TfLite" #name)); \
  if (!api.name) throw LoadError(path + ": no TfLite" #name " in it; TensorFlow Lite 2.17 or a later 2.x is needed");
  LINKCAST_TFLITE_FUNCTIONS(LINKCAST_LOAD)
#undef LINKCAST_LOAD
#define LINKCAST_LOAD(result, name, parameters) \
  api.name = reinterpret_cast<decltype(api.name)>(dlsym(library, "TfLite" #name));
  LINKCAST_TFLITE_OPTIONAL_FUNCTIONS(LINKCAST_LOAD)
  LINKCAST_TFLITE_DELEGATE_FUNCTIONS(LINKCAST_LOAD)
#undef LINKCAST_LOAD
#define LINKCAST_MISSING(result, name, parameters) \
  if (!api.name) return "TfLite" #name;
  LINKCAST_TFLITE_DELEGATE_FUNCTIONS(LINKCAST_MISSING)
#undef LINKCAST_MISSING
  return "";
}

void check_version(const std::string& path, const std::string& version) {
  int major = 0;
  int minor = 0;
  const bool numeric = std::sscanf(version.c_str(), "%d.%d", &major, &minor) == 2;
  if (!numeric || major != 2 || minor < 17)
    throw LoadError(path + ": expected TensorFlow Lite 2.17 or a later 2.x, got " + version);
}

}  // namespace

const char* status_name(Status status) noexcept {
  switch (status) {
    case 0:
      return "ok";
    case 1:
      return "error";
    case 2:
      return "delegate error";
    case 3:
      return "application error";
    case 4:
      return "delegate data not found";
    case 5:
      return "delegate data write error";
    case 6:
      return "delegate data read error";
    case 7:
      return "unresolved operators";
    case 8:
      return "cancelled";
    case 9:
      return "output shape not known";
    default:
      return "unknown status";
  }
}

std::shared_ptr<const Runtime> Runtime::open(const std::string& library) {
  static std::mutex& mutex = make_mutex();
  static std::map<std::string, std::shared_ptr<const Runtime>> opened;
  const std::string path = library.empty() ? default_library() : library;
  const std::lock_guard lock(mutex);
  if (const auto found = opened.find(path); found != opened.end()) return found->second;

  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) throw LoadError(std::string("TensorFlow Lite runtime: ") + dlerror());
  std::shared_ptr<Runtime> runtime(new Runtime);
  runtime->missing_for_delegates_ = load_functions(handle, path, runtime->api_);
  runtime->path_ = path;
  runtime->version_ = runtime->api_.Version();
  check_version(path, runtime->version_);
  opened.emplace(path, runtime);
  return runtime;
}

void ErrorText::report(void* self, const char* format, std::va_list args) noexcept {
  char line[512];
  if (std::vsnprintf(line, sizeof line, format, args) < 0) return;
  auto& text = static_cast<ErrorText*>(self)->text_;
  if (text.size() > 4096) return;
  if (!text.empty()) text += "; ";
  text += line;
  while (!text.empty() && text.back() == '\n') text.pop_back();
}

std::string ErrorText::take() {
  std::string taken = text_.empty() ? "" : ": " + text_;
  text_.clear();
  return taken;
}

}  // namespace linkcast::tflite
