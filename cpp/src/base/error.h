// The exceptions of the engine. Bad arguments are std::invalid_argument.
#pragma once

#include <stdexcept>

namespace linkcast {

/// A model, a metadata file or the runtime can't be loaded; the text names the file, and the key where there is one.
struct LoadError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The runtime refused an invoke.
struct InvokeError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace linkcast
