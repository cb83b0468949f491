#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "base/error.h"

namespace linkcast {
namespace {

const char* kind_of(const struct stat& status) {
  if (S_ISDIR(status.st_mode)) return "a folder";
  if (S_ISFIFO(status.st_mode)) return "a FIFO";
  if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) return "a device";
  return "something else";
}

/// A file descriptor that is closed with the object.
struct Descriptor {
  explicit Descriptor(int number_) : number(number_) {}
  ~Descriptor() {
    if (number >= 0) close(number);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  const int number;
};

}  // namespace

std::string read_file(const std::string& path, std::size_t most_bytes) {
  const auto refuse = [&](const std::string& what) { throw LoadError(path + ": " + what); };
  if (const auto nul = path.find('\0'); nul != std::string::npos)
    throw LoadError(path.substr(0, nul) + "\\0...: expected a path, got one with a NUL in it");
  // Without O_NONBLOCK, to open a FIFO would wait for somebody to write into it.
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (file.number < 0) refuse(std::string("can't be opened: ") + std::strerror(errno));
  struct stat status{};
  if (fstat(file.number, &status) != 0) refuse(std::string("can't be read: ") + std::strerror(errno));
  if (!S_ISREG(status.st_mode)) refuse(std::string("expected a file, got ") + kind_of(status));
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > most_bytes)
    refuse("expected a file of at most " + std::to_string(most_bytes) + " bytes, got " + std::to_string(size));
  std::string bytes(static_cast<std::size_t>(size), '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = read(file.number, bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) refuse(std::string("can't be read: ") + std::strerror(errno));
    if (got == 0) refuse("can't be read whole: it became shorter meanwhile");
    done += static_cast<std::size_t>(got);
  }
  return bytes;
}

}  // namespace linkcast
