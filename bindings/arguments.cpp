// What a call that fits no function's arguments is told: the argument, what it takes, and what came.
//
// pybind11 answers such a call with every argument's C++ type and the repr of all that was given, a page of it. Every
// function here is entered through ours, which calls pybind11's own and replaces that one text.
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "bindings.h"

namespace linkcast::bindings {
namespace {

constexpr const char* kPybindsOwn = " arguments. The following argument types are supported:";

/// One argument of a function, as pybind11 writes it into the docstring: "rows: int = 1".
struct Parameter {
  std::string name;
  std::string type;  // without "| None"
  bool optional = false;
  bool by_name = false;  // alone
  bool has_default = false;
};

/// @param type  as pybind11 writes it: "int", "str | None", "Optional[str]" before its version 3
Parameter parameter_of(std::string name, std::string type) {
  constexpr std::string_view kOrNone = " | None";
  constexpr std::string_view kOptional = "Optional[";
  Parameter parameter{std::move(name), std::move(type)};
  std::string& words = parameter.type;
  parameter.optional = words.ends_with(kOrNone) || words.starts_with(kOptional);
  if (words.ends_with(kOrNone)) words.resize(words.size() - kOrNone.size());
  if (words.starts_with(kOptional)) words = words.substr(kOptional.size(), words.size() - kOptional.size() - 1);
  return parameter;
}

/// Cuts a text at each ", " that stands in no brackets and no quotes.
std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts(1);
  int depth = 0;
  bool quoted = false;
  for (std::size_t k = 0; k < text.size(); ++k) {
    const char c = text[k];
    if (c == '\'') quoted = !quoted;
    if (!quoted && std::strchr("([{", c)) ++depth;
    if (!quoted && std::strchr(")]}", c) && --depth < 0) break;  // the end of the arguments
    if (!quoted && depth == 0 && text.substr(k, 2) == ", ") {
      parts.emplace_back();
      ++k;
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

/// The arguments of a docstring that begins "stream(self: linkcast._native.Engine, name: str, *, rows: int = 1) -> ".
/// @return  nothing where there are overloads, or arguments of any number
std::optional<std::vector<Parameter>> parameters_of(std::string_view doc) {
  const std::size_t start = doc.find('(');
  if (start == std::string_view::npos) return {};
  std::vector<Parameter> parameters;
  bool by_name = false;
  for (const std::string& part : split(doc.substr(start + 1))) {
    if (part == "*") {
      by_name = true;
      continue;
    }
    if (part.empty()) continue;
    const std::size_t colon = part.find(": ");
    if (part[0] == '*' || colon == std::string::npos) return {};
    const std::size_t equals = std::min(part.find(" = "), part.size());
    Parameter parameter = parameter_of(part.substr(0, colon), part.substr(colon + 2, equals - colon - 2));
    parameter.by_name = by_name;
    parameter.has_default = equals < part.size();
    parameters.push_back(std::move(parameter));
  }
  return parameters;
}

bool is_whole(const Parameter& p) { return p.type == "int" || p.type.starts_with("typing.SupportsInt"); }
bool is_number(const Parameter& p) { return p.type == "float" || p.type.starts_with("typing.SupportsFloat"); }

/// What the elements of a list have to be; nothing where the argument is no list.
std::optional<Parameter> element_of(const Parameter& parameter) {
  for (const std::string_view list : {"collections.abc.Sequence[", "list[", "List["})
    if (parameter.type.starts_with(list))
      return parameter_of(parameter.name, parameter.type.substr(list.size(), parameter.type.size() - list.size() - 1));
  return {};
}

constexpr std::string_view kModule = "linkcast._native.";

/// "an Engine", "a Stream".
std::string with_article(const std::string& type) {
  return (type.empty() || !std::strchr("AEIOUaeiou", type[0]) ? "a " : "an ") + type;
}

/// How an error calls what an argument takes; "" for what checks itself.
std::string wanted(const Parameter& parameter) {
  const std::string_view type = parameter.type;
  std::string words;
  if (is_whole(parameter)) words = "a whole number";
  if (is_number(parameter)) words = "a number";
  if (type == "str" || type == "dict" || type == "list") words = "a " + parameter.type;
  if (type == "bytes") words = "bytes";
  if (type == "bool") words = "True or False";
  if (type.starts_with(kModule)) words = with_article(std::string(type.substr(kModule.size())));
  if (const auto element = element_of(parameter)) return "a list, each element " + wanted(*element);
  return words.empty() || !parameter.optional ? words : words + " or None";
}

/// Whether pybind11 takes a value for an argument, as far as the type goes.
bool fits(const Parameter& parameter, const py::handle& value) {
  PyObject* object = value.ptr();
  const std::string_view type = parameter.type;
  if (value.is_none() && parameter.optional) return true;
  if (is_whole(parameter)) return PyNumber_Check(object) && !PyFloat_Check(object);
  if (is_number(parameter)) return PyNumber_Check(object) && !PyComplex_Check(object);
  if (type == "str") return PyUnicode_Check(object) || PyBytes_Check(object);
  if (type == "bytes") return PyBytes_Check(object);
  if (type == "dict") return PyDict_Check(object);
  if (type == "list") return PyList_Check(object);
  if (type == "bool")
    return value.is_none() || (Py_TYPE(object)->tp_as_number && Py_TYPE(object)->tp_as_number->nb_bool);
  if (type.starts_with(kModule)) {
    const std::string name(type.substr(kModule.size()));
    const py::object wanted = py::getattr(py::module_::import("linkcast._native"), name.c_str(), py::none());
    return wanted.is_none() || py::isinstance(value, wanted);
  }
  const auto element = element_of(parameter);
  if (!element) return true;
  if (!PySequence_Check(object) || PyUnicode_Check(object) || PyBytes_Check(object)) return false;
  const auto elements = py::reinterpret_borrow<py::sequence>(value);
  return std::all_of(elements.begin(), elements.end(), [&](const auto& one) { return fits(*element, one); });
}

std::string got(PyObject* value) {
  constexpr std::size_t kMost = 60;  // characters
  if (value == Py_None) return "None";
  const py::handle object(value);
  const std::string type = py::str(py::type::handle_of(object).attr("__name__"));
  std::string text;
  try {
    text = py::repr(object);
  } catch (const py::error_already_set&) {  // it raises, or is an int of more digits than Python writes
    return with_article(type);
  }
  if (text.size() > kMost) return with_article(type);
  return PyLong_CheckExact(value) || PyFloat_CheckExact(value) ? text : text + " (" + type + ")";
}

std::string joined(const std::vector<Parameter>& parameters, bool by_name) {
  std::string text;
  for (const Parameter& p : parameters)
    if (p.name != "self" && p.by_name == by_name) text += (text.empty() ? "" : ", ") + p.name;
  return text;
}

/// An error in words of ours.
struct Explained {
  PyObject* type;
  std::string text;
};

/// What a call was given.
struct Given {
  std::vector<PyObject*> positional;
  std::vector<std::pair<std::string, PyObject*>> named;
};

/// What is wrong with a call. @return  nothing where it can't be told
std::optional<Explained> explain(const PyMethodDef& function, const Given& given) {
  const auto& [positional, named] = given;
  const auto found = parameters_of(function.ml_doc ? function.ml_doc : "");
  if (!found) return {};
  const std::vector<Parameter>& parameters = *found;
  const std::string by_position = joined(parameters, false);
  const std::string by_name = joined(parameters, true);
  const std::string all = by_position + (by_position.empty() || by_name.empty() ? "" : ", ") + by_name;
  const bool method = !parameters.empty() && parameters[0].name == "self";
  std::string who = function.ml_name;
  if (who == "__init__" && method) who = parameters[0].type.substr(parameters[0].type.rfind('.') + 1);
  who += "(): ";

  std::vector<PyObject*> values(parameters.size());
  const auto places = static_cast<std::size_t>(
      std::count_if(parameters.begin(), parameters.end(), [](const Parameter& p) { return !p.by_name; }));
  if (positional.size() > places) {
    const std::size_t self = method ? 1 : 0;
    return Explained{PyExc_TypeError,
                     who + "expected " + (places > self ? "at most " : "") + std::to_string(places - self) +
                         (places - self == 1 ? " argument" : " arguments") + " without a name" +
                         (by_position.empty() ? "" : " (" + by_position + ")") + ", got " +
                         std::to_string(positional.size() - self) + (by_name.empty() ? "" : "; by name: " + by_name)};
  }
  std::copy(positional.begin(), positional.end(), values.begin());
  for (const auto& [name, value] : named) {
    const auto at = std::find_if(parameters.begin(), parameters.end(), [&](const auto& p) { return p.name == name; });
    if (at == parameters.end())
      return Explained{PyExc_TypeError,
                       who + "expected " + (all.empty() ? "no arguments" : "arguments among " + all) + ", got " + name};
    PyObject*& place = values[static_cast<std::size_t>(at - parameters.begin())];
    if (place) return Explained{PyExc_TypeError, who + "expected " + name + " once, got it by position and by name"};
    place = value;
  }
  for (std::size_t k = 0; k < parameters.size(); ++k)
    if (!values[k] && !parameters[k].has_default)
      return Explained{PyExc_TypeError, who + "expected the argument " + parameters[k].name + ", got none"};
  for (std::size_t k = 0; k < parameters.size(); ++k)
    if (values[k] && !fits(parameters[k], values[k]))
      return Explained{PyExc_TypeError,
                       parameters[k].name + ": expected " + wanted(parameters[k]) + ", got " + got(values[k])};
  // All are of the right type, so a number is beyond what its C++ type holds; one below 0, if there is one.
  const py::int_ zero(0);
  const py::int_ most(std::numeric_limits<int>::max());
  for (const bool below : {true, false})
    for (std::size_t k = 0; k < parameters.size(); ++k) {
      if (!values[k] || !is_whole(parameters[k]) || !PyIndex_Check(values[k])) continue;
      const py::handle value(values[k]);
      if (below ? value < zero : value > most)
        return Explained{PyExc_ValueError, parameters[k].name + ": expected a whole number" +
                                               (below ? ", 0 or more" : " that is not so large") + ", got " +
                                               got(values[k])};
    }
  return {};
}

// The functions by what pybind11 hands each as its self. Written while the module is made, read alone afterwards.
std::unordered_map<PyObject*, const PyMethodDef*> functions;

// pybind11's own entry, one for all functions: it takes an array of arguments from 3.1 on, a tuple before.
PyCFunction entry = nullptr;

/// Puts our words in the place of pybind11's, where there is such an error; leaves any other.
/// @param given  says what the call was given; it may throw
template <class Say>
void replace_error(PyObject* record, const Say& given) {
  py::error_already_set error;
  try {
    const bool refused =
        error.matches(PyExc_TypeError) && std::string(py::str(error.value())).find(kPybindsOwn) != std::string::npos;
    if (const auto explained = refused ? explain(*functions.at(record), given()) : std::nullopt)
      return PyErr_SetString(explained->type, explained->text.c_str());
  } catch (const std::exception&) {  // a name that is no UTF-8, a comparison that raises: pybind11's text will do
  }
  error.restore();
}

/// Calls pybind11's own. What it throws while it writes its text of a refused call, of a name that is no UTF-8 say, it lets
/// go, and C code would end the process of it.
template <class Own>
PyObject* call_own(const Own& own) {
  try {
    return own();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

using TakesArray = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);

PyObject* call_with_array(PyObject* record, PyObject* const* arguments, Py_ssize_t count, PyObject* names) {
  const auto own = reinterpret_cast<TakesArray>(reinterpret_cast<void (*)()>(entry));
  PyObject* result = call_own([&] { return own(record, arguments, count, names); });
  if (result) return result;
  replace_error(record, [&] {
    Given given{{arguments, arguments + count}, {}};
    for (Py_ssize_t k = 0; names && k < PyTuple_GET_SIZE(names); ++k)
      given.named.emplace_back(py::str(py::handle(PyTuple_GET_ITEM(names, k))), arguments[count + k]);
    return given;
  });
  return nullptr;
}

PyObject* call_with_tuple(PyObject* record, PyObject* arguments, PyObject* keywords) {
  const auto own = reinterpret_cast<PyCFunctionWithKeywords>(reinterpret_cast<void (*)()>(entry));
  PyObject* result = call_own([&] { return own(record, arguments, keywords); });
  if (result) return result;
  replace_error(record, [&] {
    Given given;
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(arguments); ++k)
      given.positional.push_back(PyTuple_GET_ITEM(arguments, k));
    if (keywords)
      for (const auto& [name, value] : py::reinterpret_borrow<py::dict>(keywords))
        given.named.emplace_back(py::str(name), value.ptr());
    return given;
  });
  return nullptr;
}

/// Enters a function through ours, if it is one of pybind11's. @param attribute  of a class or module, as it is stored
void enter_through_ours(const py::handle& attribute) {
  py::handle function = attribute;
  if (Py_TYPE(function.ptr()) == &PyStaticMethod_Type) function = function.attr("__func__");
  if (PyInstanceMethod_Check(function.ptr())) function = PyInstanceMethod_GET_FUNCTION(function.ptr());
  if (!PyCFunction_Check(function.ptr())) return;
  PyMethodDef* definition = reinterpret_cast<PyCFunctionObject*>(function.ptr())->m_ml;
  PyObject* record = PyCFunction_GET_SELF(function.ptr());
  if (!record || functions.contains(record)) return;
  const bool array = definition->ml_flags == (METH_FASTCALL | METH_KEYWORDS);
  if (!array && definition->ml_flags != (METH_VARARGS | METH_KEYWORDS)) return;
  if (!entry) entry = definition->ml_meth;
  if (definition->ml_meth != entry) return;
  functions[record] = definition;
  definition->ml_meth = array ? reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call_with_array))
                              : reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call_with_tuple));
}

}  // namespace

void explain_refused_arguments(const py::module_& module) {
  for (const auto& [name, value] : py::cast<py::dict>(module.attr("__dict__"))) {
    if (py::isinstance<py::type>(value))
      for (const auto& [attribute, held] : py::dict(value.attr("__dict__"))) enter_through_ours(held);
    else
      enter_through_ours(value);
  }
}

}  // namespace linkcast::bindings
