#include "recognise/model_bytes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/error.h"

namespace linkcast::tflite {
namespace {

constexpr const char* kExpected = ": expected a .tflite model, got ";

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  int get() const noexcept { return number_; }

 private:
  int number_;
};

void refuse_kind(const std::string& path, const struct stat& file) {
  if (S_ISREG(file.st_mode)) return;
  if (S_ISDIR(file.st_mode)) {
    struct stat inside{};
    const bool saved_model = stat((path + "/saved_model.pb").c_str(), &inside) == 0;
    throw LoadError(path + kExpected +
                    (saved_model ? "a TensorFlow SavedModel; convert it with tf.lite.TFLiteConverter" : "a folder"));
  }
  const char* kind = S_ISFIFO(file.st_mode) ? "a FIFO" : S_ISSOCK(file.st_mode) ? "a socket" : "a device";
  throw LoadError(path + kExpected + kind);
}

void check_size(const std::string& path, std::uint64_t size, std::uint64_t most) {
  if (size == 0) throw LoadError(path + kExpected + "an empty file");
  if (size > most)
    throw LoadError(path + ": expected a file of at most " + std::to_string(most) + " bytes, got " +
                    std::to_string(size));
}

bool ends_with(std::string_view text, std::string_view end) { return text.ends_with(end); }

/// What a file is whose content does not start as a .tflite model does.
std::string format_of(const std::string& path, std::string_view content) {
  using namespace std::string_view_literals;
  const std::string convert = "; convert it with tf.lite.TFLiteConverter";
  if (content.starts_with("version https://git-lfs"sv))
    return "a Git LFS pointer, which stands for the model; fetch it with git lfs pull";
  if (content.starts_with("\x89HDF\r\n\x1a\n"sv)) return "a Keras or other HDF5 file (.h5)" + convert;
  if (content.starts_with("PK\x03\x04"sv))
    return (ends_with(path, ".keras") ? "a Keras file (.keras)" : "a zip archive, which .keras files are") + convert;
  if (content.starts_with("\x1f\x8b"sv)) return "a gzip archive; unpack it";
  // Protocol buffers have no magic number: an ONNX file begins with its format version and its producer's name.
  const bool protobuf = content.size() > 3 && content[0] == '\x08' && content[1] > 0 && content[1] < 32;
  if (ends_with(path, ".onnx") || (protobuf && content[2] == '\x12' && ends_with(path, ".onnx")) ||
      (protobuf && content[2] == '\x12' && content.substr(0, 64).find("onnx") != std::string_view::npos) ||
      (protobuf && content[2] == '\x12' && content.substr(0, 64).find("pytorch") != std::string_view::npos))
    return "an ONNX model; convert it to TensorFlow first";
  if (ends_with(path, ".pb") || (protobuf && content[2] == '\x12'))
    return "a protocol buffer, as of a SavedModel or an ONNX file" + convert;
  if (content.starts_with("<"sv)) return "a page of HTML or XML";
  return "";
}

}  // namespace

std::vector<std::byte> read_model_bytes(const std::string& path, std::uint64_t most) {
  if (path.find('\0') != std::string::npos)
    throw LoadError(std::string(path.c_str()) + ": the name of the file has a NUL in it");
  struct stat named{};
  if (stat(path.c_str(), &named) != 0) throw LoadError(path + ": can't be opened: " + std::strerror(errno));
  refuse_kind(path, named);  // before opening it, which a device or a FIFO may take amiss
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) throw LoadError(path + ": can't be opened: " + std::strerror(errno));
  struct stat opened{};
  if (fstat(file.get(), &opened) != 0) throw LoadError(path + ": can't be read: " + std::strerror(errno));
  refuse_kind(path, opened);
  const auto size = static_cast<std::uint64_t>(opened.st_size);
  check_size(path, size, most);
  std::vector<std::byte> bytes(static_cast<std::size_t>(size));
  for (std::size_t done = 0; done < bytes.size();) {
    const auto count = read(file.get(), bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) throw LoadError(path + ": can't be read whole");
    done += static_cast<std::size_t>(count);
  }
  check_model_bytes(path, bytes, most);
  return bytes;
}

void check_model_bytes(const std::string& name, const std::vector<std::byte>& bytes, std::uint64_t most) {
  check_size(name, bytes.size(), most);
  const bool tflite = bytes.size() >= 8 && std::memcmp(bytes.data() + 4, "TFL3", 4) == 0;
  if (tflite) return;
  const auto format = format_of(name, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (!format.empty()) throw LoadError(name + kExpected + format);
  throw LoadError(name + ": not a .tflite model: its identifier, TFL3, is missing");
}

}  // namespace linkcast::tflite
