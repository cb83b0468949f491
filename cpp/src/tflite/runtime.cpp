#include "tflite/runtime.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>

#include "base/environment.h"
#include "base/error.h"
#include "base/file.h"
#include "base/fork.h"
#include "base/names.h"
#include "base/sha256.h"

namespace linkcast::tflite {
namespace {

constexpr const char* kLibraryName = "libtensorflowlite_c.so";
constexpr std::size_t kMostLibraryBytes = 512U << 20;

/// The libraries that have been opened, by path. Never destroyed: a thread may open a model while the process ends.
struct Opened {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<const Runtime>> by_path;

  Opened() { hold_across_fork(mutex); }
};

std::string default_library() {
  if (const char* named = environment("LINKCAST_TFLITE_LIBRARY")) return named;
  Dl_info self;
  if (dladdr(reinterpret_cast<const void*>(&default_library), &self) && self.dli_fname) {
    const std::string file = self.dli_fname;
    const auto slash = file.rfind('/');
    return (slash == std::string::npos ? "" : file.substr(0, slash + 1)) + kLibraryName;
  }
  return kLibraryName;
}

/// dlopen maps what the file's headers say without asking how long it is: a read beyond its end would be the process's.
/// @throws LoadError  it is shorter than its headers say, or is no ELF file of this machine's word size
void check_length(const std::string& path, const std::string& bytes) {
  const auto expect = [&](std::uint64_t least) {
    if (bytes.size() < least)
      throw LoadError(path + ": expected at least " + std::to_string(least) + " bytes, got " +
                      std::to_string(bytes.size()) + " (truncated?)");
  };
  ElfW(Ehdr) header{};
  expect(sizeof header);
  std::memcpy(&header, bytes.data(), sizeof header);
  constexpr unsigned char kClass = sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32;
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != kClass)
    throw LoadError(path + ": expected a shared library of this machine's word size");
  if (header.e_phoff > bytes.size() || header.e_shoff > bytes.size())
    expect(std::max<std::uint64_t>(header.e_phoff, header.e_shoff));
  expect(std::uint64_t{header.e_shoff} + std::uint64_t{header.e_shnum} * header.e_shentsize);
  expect(std::uint64_t{header.e_phoff} + std::uint64_t{header.e_phnum} * sizeof(ElfW(Phdr)));
  for (std::size_t k = 0; k < header.e_phnum; ++k) {
    ElfW(Phdr) segment{};
    std::memcpy(&segment, bytes.data() + header.e_phoff + k * sizeof segment, sizeof segment);
    if (segment.p_offset > bytes.size()) expect(segment.p_offset);
    expect(std::uint64_t{segment.p_offset} + segment.p_filesz);
  }
}

/// The library's code runs at dlopen already, so that its hash is checked before.
/// @throws LoadError  it is neither the one that this was built for nor one whose hash the environment names
void check_library(const std::string& path) {
  std::string bytes;
  try {
    bytes = read_file(path, kMostLibraryBytes);
  } catch (const LoadError& error) {
    throw LoadError(std::string("TensorFlow Lite runtime: ") + error.what() +
                    "; LINKCAST_TFLITE_LIBRARY can name another file");
  }
  const std::string hash = sha256(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size());
  if (hash == LINKCAST_TFLITE_SHA256) return;
  const char* allowed = environment("LINKCAST_TFLITE_SHA256");
  if (allowed && hash == allowed) return check_length(path, bytes);
  throw LoadError(path + ": expected the TensorFlow Lite runtime that linkcast was built for, with the SHA-256 " +
                  LINKCAST_TFLITE_SHA256 + ", got " + hash +
                  "; to use this one all the same, set LINKCAST_TFLITE_SHA256 to its hash");
}

/// The first XNNPACK delegate of a process is announced on stderr, by a logger that can't be reached. So it is made
/// here, with stderr kept aside; what other threads write meanwhile comes after it.
void make_first_delegate(const Api& api) {
  const int kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
  const int aside = kept < 0 ? -1 : memfd_create("linkcast", MFD_CLOEXEC);
  if (aside >= 0 && dup2(aside, STDERR_FILENO) >= 0) {
    const auto options = api.XNNPackDelegateOptionsDefault();
    if (OpaqueDelegate* first = api.XNNPackDelegateCreate(&options)) api.XNNPackDelegateDelete(first);
    std::fflush(stderr);
    dup2(kept, STDERR_FILENO);
    std::string text(static_cast<std::size_t>(std::max<off_t>(lseek(aside, 0, SEEK_END), 0)), '\0');
    const ssize_t got = pread(aside, text.data(), text.size(), 0);
    std::istringstream lines(text.substr(0, static_cast<std::size_t>(std::max<ssize_t>(got, 0))));
    for (std::string line; std::getline(lines, line);)
      if (!line.starts_with("INFO: ")) std::fprintf(stderr, "%s\n", line.c_str());
  }
  if (aside >= 0) close(aside);
  if (kept >= 0) close(kept);
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
  static constexpr const char* kNames[] = {"ok",
                                           "error",
                                           "delegate error",
                                           "application error",
                                           "delegate data not found",
                                           "delegate data write error",
                                           "delegate data read error",
                                           "unresolved operators",
                                           "cancelled",
                                           "output shape not known"};
  const char* name = name_of(kNames, status);
  return *name ? name : "unknown status";
}

std::shared_ptr<const Runtime> Runtime::open(const std::string& library) {
  static Opened& opened = *std::make_unique<Opened>().release();
  const std::string path = library.empty() ? default_library() : library;
  const std::lock_guard lock(opened.mutex);
  if (const auto found = opened.by_path.find(path); found != opened.by_path.end()) return found->second;

  check_library(path);
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) throw LoadError(std::string("TensorFlow Lite runtime: ") + dlerror());
  std::shared_ptr<Runtime> runtime(new Runtime);
  runtime->missing_for_delegates_ = load_functions(handle, path, runtime->api_);
  runtime->path_ = path;
  runtime->version_ = runtime->api_.Version();
  check_version(path, runtime->version_);
  if (runtime->has_delegates()) make_first_delegate(runtime->api_);
  opened.by_path.emplace(path, runtime);
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
