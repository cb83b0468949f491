// The TensorFlow Lite runtime: a shared library, opened once, its functions checked to be there.
#pragma once

#include <memory>
#include <string>

#include "tflite/c_api.h"

namespace linkcast::tflite {

class Runtime {
 public:
  /// Opens `library`, or when it is empty: what LINKCAST_TFLITE_LIBRARY names, or else libtensorflowlite_c.so beside
  /// the file that holds this code. It has to be the very file that linkcast was built for, or one whose SHA-256 stands
  /// in LINKCAST_TFLITE_SHA256. The library stays open for the life of the process: its threads and static objects do
  /// not survive a dlclose.
  /// @throws LoadError  the file can't be opened, has another hash, lacks a function (of those that delegates do not
  /// need), or is not TensorFlow Lite 2.17 or a later 2.x
  static std::shared_ptr<const Runtime> open(const std::string& library = "");

  const Api& api() const noexcept { return api_; }
  const std::string& path() const noexcept { return path_; }
  const std::string& version() const noexcept { return version_; }

  /// Without delegates every graph runs on the runtime's own kernels, and can't be read.
  bool has_delegates() const noexcept { return missing_for_delegates_.empty(); }
  /// A function that the library would need for them, or "".
  const std::string& missing_for_delegates() const noexcept { return missing_for_delegates_; }

 private:
  Runtime() = default;

  Api api_;
  std::string path_;
  std::string version_;
  std::string missing_for_delegates_;
};

/// Collects what the runtime reports while an object of ours is at work, so that it can stand in the exception.
class ErrorText {
 public:
  static void report(void* self, const char* format, std::va_list args) noexcept;

  /// ": <text>" of what was reported since the last call, or "".
  std::string take();

 private:
  std::string text_;
};

}  // namespace linkcast::tflite
