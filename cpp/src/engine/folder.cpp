#include "engine/folder.h"

#include <dlfcn.h>

#include <filesystem>

#include "base/environment.h"
#include "base/error.h"

namespace linkcast {

std::string default_folder() {
  if (const char* named = environment("LINKCAST_BUNDLE")) return named;
  Dl_info self;
  if (!dladdr(reinterpret_cast<const void*>(&default_folder), &self) || !self.dli_fname)
    throw LoadError("the folder of the models: expected its name or LINKCAST_BUNDLE, got neither");
  const std::filesystem::path here = std::filesystem::path(self.dli_fname).parent_path();
  for (const char* relative : {".", "../share/linkcast", "../../share/linkcast"}) {
    auto folder = (here / relative).lexically_normal().string();
    while (folder.size() > 1 && folder.back() == '/') folder.pop_back();
    std::error_code ignored;
    if (std::filesystem::exists(folder + "/metadata/manifest.json", ignored)) return folder;
  }
  throw LoadError(here.string() +
                  ": no models were installed beside the library; name a folder or set LINKCAST_BUNDLE");
}

}  // namespace linkcast
