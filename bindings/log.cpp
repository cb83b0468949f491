// What the bindings tell Python's logging, and what a notebook shows.
#include "bindings.h"

namespace linkcast::bindings {

void log(const char* level, const std::string& text) {
  py::module_::import("linkcast.log").attr("LOGGER").attr(level)("%s", text);
}

void CauseLog::changed(const std::string& name, Source source, Cause cause) {
  last_ = cause;
  if (cause == Cause::none)
    log("info", name + ": the model answers again");
  else
    log("warning", name + ": answered by " + source_name(source) + ", not by the model: " + cause_name(cause));
}

void log_opened(const std::string& name, const Model& model) {
  const bool declined = model.options().backend == Backend::automatic && !model.network();
  log(declined ? "warning" : "info", name + ": runs on " +
                                         (model.network() ? std::string("native, ") + model.isa() : "tflite") + ": " +
                                         model.backend_reason());
}

std::string html_of(const std::string& title, const py::dict& values) {
  return py::cast<std::string>(py::module_::import("linkcast.notebook").attr("values_table")(title, values));
}

}  // namespace linkcast::bindings
