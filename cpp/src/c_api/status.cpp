#include "c_api/status.h"

#include <array>
#include <cstdarg>
#include <cstdio>
#include <iterator>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <system_error>

#include "base/error.h"
#include "base/fork.h"
#include "base/names.h"
#include "engine/units.h"

namespace linkcast::c_api {
namespace {

thread_local std::array<char, 1024> last_error{};

struct Log {
  std::mutex mutex;
  linkcast_log_function function = nullptr;
  void* user = nullptr;
  linkcast_log_level level = LINKCAST_LOG_WARNING;
};

Log& make_log() {
  Log& made = *std::make_unique<Log>().release();  // never destroyed: an engine may be closed at exit
  hold_across_fork(made.mutex);
  return made;
}

Log& the_log() {
  static Log& only = make_log();
  return only;
}

}  // namespace

linkcast_status fail(linkcast_status status, const char* format, ...) noexcept {
  std::va_list args;
  va_start(args, format);
  std::vsnprintf(last_error.data(), last_error.size(), format, args);
  va_end(args);
  return status;
}

linkcast_status caught() noexcept {
  try {
    throw;
  } catch (const Error& error) {
    return fail(error.status, "%s", error.what());
  } catch (const LoadError& error) {
    return fail(LINKCAST_ERROR_LOAD, "%s", error.what());
  } catch (const InvokeError& error) {
    return fail(LINKCAST_ERROR_INVOKE, "%s", error.what());
  } catch (const UnitError& error) {
    return fail(error.finite ? LINKCAST_ERROR_UNIT : LINKCAST_ERROR_NOT_FINITE, "%s", error.what());
  } catch (const std::invalid_argument& error) {
    return fail(LINKCAST_ERROR_ARGUMENT, "%s", error.what());
  } catch (const std::bad_alloc&) {
    return fail(LINKCAST_ERROR_MEMORY, "out of memory");
  } catch (const std::system_error& error) {  // a thread, say
    const bool lacking =
        error.code() == std::errc::resource_unavailable_try_again || error.code() == std::errc::not_enough_memory;
    return fail(lacking ? LINKCAST_ERROR_MEMORY : LINKCAST_ERROR_INTERNAL, "%s", error.what());
  } catch (const std::exception& error) {
    return fail(LINKCAST_ERROR_INTERNAL, "%s", error.what());
  } catch (...) {
    return fail(LINKCAST_ERROR_INTERNAL, "unknown exception");
  }
}

void log(linkcast_log_level level, const std::string& text) noexcept {
  Log& sink = the_log();
  linkcast_log_function function = nullptr;
  void* user = nullptr;
  {
    const std::lock_guard lock(sink.mutex);
    if (level > sink.level) return;
    function = sink.function;
    user = sink.user;
  }
  if (function) function(level, text.c_str(), user);  // outside the lock: it may call linkcast_set_log
}

}  // namespace linkcast::c_api

extern "C" {

const char* linkcast_last_error(void) { return linkcast::c_api::last_error.data(); }

linkcast_status linkcast_set_log(linkcast_log_function function, void* user, linkcast_log_level level) {
  using namespace linkcast::c_api;
  if (level < LINKCAST_LOG_ERROR || level > LINKCAST_LOG_INFO)
    return fail(LINKCAST_ERROR_ARGUMENT, "level: expected LINKCAST_LOG_ERROR, _WARNING or _INFO, got %d",
                static_cast<int>(level));
  Log& sink = the_log();
  const std::lock_guard lock(sink.mutex);
  sink.function = function;
  sink.user = user;
  sink.level = level;
  return LINKCAST_OK;
}

const char* linkcast_status_name(linkcast_status status) {
  static constexpr const char* kNames[] = {"ok",
                                           "not ready",
                                           "bad argument",
                                           "not an open handle of this kind",
                                           "unknown name",
                                           "value not finite",
                                           "unknown struct size",
                                           "can't be loaded",
                                           "invoke failed",
                                           "handle in use by another thread",
                                           "no answer",
                                           "out of memory",
                                           "internal error",
                                           "value not in its unit"};
  static_assert(std::size(kNames) == LINKCAST_ERROR_UNIT + 1);
  const char* name = linkcast::name_of(kNames, status);
  return *name ? name : "unknown status";
}

const char* linkcast_version(void) { return LINKCAST_VERSION; }

}  // extern "C"
