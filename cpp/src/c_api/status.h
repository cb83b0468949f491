// From exceptions to status codes: nothing is thrown across the C ABI.
#pragma once

#include <exception>
#include <string>

#include "linkcast/linkcast.h"

namespace linkcast::c_api {

/// Ends a C function with a status and a text for linkcast_last_error.
struct Error : std::exception {
  Error(linkcast_status status_, std::string text_) : status(status_), text(std::move(text_)) {}
  const char* what() const noexcept override { return text.c_str(); }
  linkcast_status status;
  std::string text;
};

/// Notes the text for linkcast_last_error and returns `status`. Allocates nothing.
linkcast_status fail(linkcast_status status, const char* format, ...) noexcept __attribute__((format(printf, 2, 3)));

/// The status of the exception being handled; its text goes to linkcast_last_error. To be called from a catch block.
linkcast_status caught() noexcept;

/// Calls the log callback, if there is one and it listens to this level. Not for the hot path.
void log(linkcast_log_level level, const std::string& text) noexcept;

}  // namespace linkcast::c_api

/// Ends every function of the ABI that calls into C++.
#define LINKCAST_CATCH                  \
  catch (...) {                         \
    return ::linkcast::c_api::caught(); \
  }
