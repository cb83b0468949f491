// What comes from Python as rows of features: plain arrays by position, frames and mappings by name.
#include <pybind11/numpy.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "bindings.h"

namespace linkcast::bindings {
namespace {

constexpr int kLayout = py::array::c_style | py::array::forcecast;

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "none" : text;
}

std::string type_name(const py::handle& object) { return py::str(py::type::handle_of(object).attr("__name__")); }

bool is_masked(const py::handle& object) {
  return py::hasattr(object, "mask") && py::hasattr(object, "filled") && py::isinstance<py::array>(object);
}

/// Refuses what NumPy would turn into numbers and lose something by it.
void refuse_other_than_numbers(const py::array& array, const std::string& what) {
  if (is_masked(array))
    throw std::invalid_argument(what + ": expected plain numbers, got a masked array; fill it, or leave such rows out");
  const char kind = array.dtype().kind();
  if (kind == 'f' || kind == 'i' || kind == 'u') return;
  std::string got = "values of type " + std::string(py::str(array.dtype()));
  if (kind == 'c') got = "complex numbers (" + std::string(py::str(array.dtype())) + ")";
  if (kind == 'V') got = "a structured array, " + std::string(py::str(array.dtype()));
  if (kind == 'b') got = "booleans";
  if (kind == 'O') got = "Python objects (dtype object)";
  throw std::invalid_argument(what + ": expected plain numbers, got " + got);
}

/// As NumPy's asarray, without a dtype. @throws std::invalid_argument  not an array of numbers
py::array plain_array(const py::object& values, const std::string& what) {
  py::array array;
  if (py::isinstance<py::array>(values)) {
    array = py::reinterpret_borrow<py::array>(values);
  } else {
    try {
      array = py::module_::import("numpy").attr("asarray")(values);
    } catch (py::error_already_set& error) {
      if (!error.matches(PyExc_ValueError) && !error.matches(PyExc_TypeError)) throw;
      throw std::invalid_argument(what + ": expected an array of numbers, got " + type_name(values) + ": " +
                                  std::string(py::str(error.value())));
    }
  }
  refuse_other_than_numbers(array, what);
  return array;
}

Rows rows_of(const py::array& array) {
  Rows rows;
  rows.is_float32 = py::isinstance<py::array_t<float>>(array);
  if (rows.is_float32)
    rows.array = py::array_t<float, kLayout>(array);
  else
    rows.array = py::array_t<double, kLayout>(array);
  return rows;
}

/// The names of what is read by name: a frame's columns (pandas and polars say `columns`, pyarrow `column_names`), a
/// mapping's keys, the labels of a pandas Series when they are words. Nothing for anything else.
std::optional<std::vector<std::string>> names_of(const py::object& values) {
  if (py::isinstance<py::array>(values) || PyList_Check(values.ptr()) || PyTuple_Check(values.ptr())) return {};
  py::object labels;
  if (py::hasattr(values, "column_names"))
    labels = values.attr("column_names");
  else if (py::hasattr(values, "columns"))
    labels = values.attr("columns");
  else if (PyDict_Check(values.ptr()) || (py::hasattr(values, "keys") && py::hasattr(values, "__getitem__")))
    labels = py::list(values.attr("keys")());
  else
    return {};
  if (PyCallable_Check(labels.ptr())) return {};
  std::vector<std::string> names;
  bool words = false;
  for (const py::handle label : labels) {
    words |= py::isinstance<py::str>(label);
    names.push_back(py::str(label));
  }
  // A Series without labels of its own counts 0, 1, 2...: plain values.
  if (!words && !py::hasattr(values, "columns") && !PyDict_Check(values.ptr())) return {};
  return names;
}

/// One column as an array of numbers; a pandas column that may have gaps has NaN there.
py::array column(const py::object& values, const std::string& name, const std::string& what) {
  const py::object found = values[py::str(name)];
  const std::string where = what + ": " + name;
  if (py::hasattr(found, "dtype") && py::hasattr(found, "to_numpy") &&
      py::hasattr(found.attr("dtype"), "na_value")) {  // of pandas' own types: to_numpy alone would give objects
    const py::object nan = py::float_(std::numeric_limits<double>::quiet_NaN());
    // 'b', or what pandas calls 'O': words, which may read as numbers, but are none.
    const auto kind = py::cast<std::string>(py::str(py::getattr(found.attr("dtype"), "kind", py::str("O"))));
    if (kind != "f" && kind != "i" && kind != "u")
      throw std::invalid_argument(where + ": expected plain numbers, got " + std::string(py::str(found.attr("dtype"))));
    try {
      return found.attr("to_numpy")(py::arg("dtype") = "float64", py::arg("na_value") = nan);
    } catch (py::error_already_set& error) {
      throw std::invalid_argument(where + ": expected plain numbers, got " + std::string(py::str(found.attr("dtype"))));
    }
  }
  return plain_array(found, where);
}

/// The columns of a frame or mapping side by side, in the features' order: (rows, features), or (features,) when the
/// values are single numbers.
py::array by_name(const py::object& values, const std::vector<std::string>& names, const std::vector<Feature>& features,
                  const std::string& what) {
  std::vector<std::string> missing;
  for (const Feature& feature : features) {
    const auto count = std::count(names.begin(), names.end(), feature.name);
    if (count == 0) missing.push_back(feature.name);
    if (count > 1) throw std::invalid_argument(what + ": column " + feature.name + " stands twice");
  }
  if (!missing.empty()) {
    std::vector<std::string> wanted;
    for (const Feature& feature : features) wanted.push_back(feature.name);
    throw std::invalid_argument(what + ": expected the columns " + joined(wanted) + "; " + joined(missing) +
                                (missing.size() > 1 ? " are" : " is") + " missing among " + joined(names));
  }
  std::vector<py::array_t<double, kLayout>> columns;
  for (const Feature& feature : features) {
    columns.emplace_back(column(values, feature.name, what));
    const auto& added = columns.back();
    if (added.ndim() > 1 || added.ndim() != columns.front().ndim() || added.size() != columns.front().size())
      throw std::invalid_argument(what + ": expected columns of one length, got " +
                                  shape_text({added.shape(), added.shape() + added.ndim()}) + " for " + feature.name);
  }
  const auto count = static_cast<py::ssize_t>(features.size());
  const py::ssize_t rows = columns.front().size();
  std::vector<py::ssize_t> shape{rows, count};
  if (columns.front().ndim() == 0) shape.erase(shape.begin());
  py::array_t<double> array(shape);
  for (std::size_t f = 0; f < columns.size(); ++f)
    for (py::ssize_t row = 0; row < rows; ++row)
      array.mutable_data()[row * count + static_cast<py::ssize_t>(f)] = columns[f].data()[row];
  return array;
}

/// What came, by name where it has names and the features are known; not yet its shape.
Rows as_array(const py::object& values, const std::vector<Feature>* features, const std::string& what, bool* named) {
  *named = false;
  if (features) {
    if (const auto names = names_of(values)) {
      *named = true;
      return rows_of(by_name(values, *names, *features, what));
    }
  }
  return rows_of(plain_array(values, what));
}

}  // namespace

py::array_t<double, py::array::c_style> as_numbers(const py::object& values, const std::string& what) {
  return py::array_t<double, kLayout>(plain_array(values, what));
}

py::array_t<bool, py::array::c_style> as_flags(const py::object& flags, py::ssize_t count, const std::string& what) {
  const py::array array = py::module_::import("numpy").attr("asarray")(flags);
  const char kind = array.dtype().kind();
  const bool fits = array.ndim() == 1 && array.shape(0) == count;
  if (!fits || (kind != 'b' && kind != 'i' && kind != 'u'))
    throw std::invalid_argument(what + ": expected (" + std::to_string(count) + ",) booleans, got " +
                                (fits ? "values of type " + std::string(py::str(array.dtype()))
                                      : shape_text({array.shape(), array.shape() + array.ndim()})));
  return py::array_t<bool, kLayout>(array);
}

Rows as_rows(const py::object& values, const std::vector<int>& row_shape, const std::string& what,
             const std::vector<Feature>* features) {
  const std::vector<py::ssize_t> row(row_shape.begin(), row_shape.end());
  bool named = false;
  Rows rows = as_array(values, features, what, &named);
  const std::vector<py::ssize_t> shape(rows.array.shape(), rows.array.shape() + rows.array.ndim());
  rows.single = shape == row;
  const bool batch = shape.size() == row.size() + 1 && std::equal(row.begin(), row.end(), shape.begin() + 1);
  if (named && !rows.single && !batch)
    throw std::invalid_argument(what + ": expected a frame of " + std::to_string(row.front()) +
                                " rows, one time step each, oldest first: one window; got " +
                                (shape.size() < 2 ? "single values" : std::to_string(shape.front()) + " rows"));
  if (!rows.single && !batch) {
    std::string batched = shape_text(row);
    batched = "(batch, " + batched.substr(1);
    if (row.size() == 1) batched.replace(batched.size() - 2, 2, ")");
    throw std::invalid_argument(what + ": expected " + shape_text(row) + " or " + batched + " finite floats, got " +
                                shape_text(shape));
  }
  rows.count = rows.single ? 1 : static_cast<std::size_t>(shape[0]);
  return rows;
}

Rows as_row(const py::object& values, const std::vector<int>& row_shape, const std::string& what,
            const std::vector<Feature>* features) {
  bool named = false;
  Rows rows = as_array(values, features, what, &named);
  if (named && row_shape.size() == 1 && rows.array.ndim() == 2) {  // a frame for a single row
    if (rows.array.shape(0) != 1)
      throw std::invalid_argument(what + ": expected a frame of 1 row, got " + std::to_string(rows.array.shape(0)));
    rows.array = rows.array.reshape({rows.array.shape(1)});
  }
  const auto* shape = rows.array.shape();
  rows.single = static_cast<std::size_t>(rows.array.ndim()) == row_shape.size() &&
                std::equal(row_shape.begin(), row_shape.end(), shape);
  if (!rows.single)
    throw std::invalid_argument(what + ": expected " + shape_text({row_shape.begin(), row_shape.end()}) +
                                " finite floats, got " + shape_text({shape, shape + rows.array.ndim()}));
  rows.count = 1;
  return rows;
}

void check_rows(const ModelSpec& spec, const Rows& rows) {
  const void* data = rows.array.data();
  const auto check = [&](const auto* values) {
    check_units(spec.row_name(), spec.features, spec.bounds, values, rows.count, spec.steps());
  };
  if (rows.is_float32)
    check(static_cast<const float*>(data));
  else
    check(static_cast<const double*>(data));
}

}  // namespace linkcast::bindings
