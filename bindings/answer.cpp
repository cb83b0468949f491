#include "engine/answer.h"

#include <pybind11/stl.h>

#include <cmath>
#include <sstream>

#include "bindings.h"

namespace linkcast::bindings {
namespace {

std::string describe(const Answer& answer) {
  std::ostringstream text;
  text << "Answer(" << answer.mbps << " Mbit/s";
  if (!std::isnan(answer.p10)) text << ", " << answer.p10 << " to " << answer.p90;
  text << ", by " << source_name(answer.source);
  if (answer.cause != Cause::none) text << " because of " << cause_name(answer.cause);
  text << ")";
  return text.str();
}

std::string describe(const Answers& answers) {
  std::ostringstream text;
  text << "Answers(" << answers.rows.size() << " rows, by " << source_name(answers.source) << ")";
  return text.str();
}

/// (rows,) a read-only view of one value of each answer.
template <float Answer::* value>
py::array_t<float> column(const py::object& self) {
  auto& rows = py::cast<Answers&>(self).rows;
  py::array_t<float> view({static_cast<py::ssize_t>(rows.size())}, {static_cast<py::ssize_t>(sizeof(Answer))},
                          rows.empty() ? nullptr : &(rows.data()->*value), self);
  view.attr("setflags")(py::arg("write") = false);
  return view;
}

py::tuple state_of(const Answer& answer) {
  return py::make_tuple(answer.mbps, answer.p10, answer.p50, answer.p90, answer.reserve,
                        static_cast<int>(answer.source), static_cast<int>(answer.cause));
}

/// @throws std::invalid_argument  another enumerator than there are
template <class Enum>
Enum enum_of(const py::object& value, std::size_t count) {
  const auto number = value.cast<std::size_t>();
  if (number >= count) throw std::invalid_argument("Answer: expected what pickling an Answer has made");
  return static_cast<Enum>(number);
}

Answer answer_of(const py::tuple& state) {
  if (state.size() != 7) throw std::invalid_argument("Answer: expected what pickling an Answer has made");
  return {state[0].cast<float>(),           state[1].cast<float>(), state[2].cast<float>(),
          state[3].cast<float>(),           state[4].cast<float>(), enum_of<Source>(state[5], kSources),
          enum_of<Cause>(state[6], kCauses)};
}

py::tuple state_of_many(const Answers& answers) {
  py::list rows;
  for (const Answer& answer : answers.rows) rows.append(state_of(answer));
  return py::make_tuple(rows, static_cast<int>(answers.source), static_cast<int>(answers.cause), answers.latency_ns);
}

Answers many_of(const py::tuple& state) {
  if (state.size() != 4) throw std::invalid_argument("Answers: expected what pickling Answers has made");
  Answers answers{
      {}, enum_of<Source>(state[1], kSources), enum_of<Cause>(state[2], kCauses), state[3].cast<std::uint64_t>()};
  for (const py::handle row : state[0].cast<py::list>()) answers.rows.push_back(answer_of(py::cast<py::tuple>(row)));
  return answers;
}

std::size_t checked_row(const Answers& answers, py::ssize_t row) {
  const auto count = static_cast<py::ssize_t>(answers.rows.size());
  if (row < -count || row >= count) throw py::index_error("row: expected below " + std::to_string(count));
  return static_cast<std::size_t>(row < 0 ? row + count : row);
}

}  // namespace

void bind_answer(py::module_& module) {
  py::class_<Answer>(module, "Answer", "The next bandwidth of a link, Mbit/s, with who gave it.")
      .def_readonly("mbps", &Answer::mbps, R"(NaN when source is "none".)")
      .def_readonly("p10", &Answer::p10, "A tenth of the outcomes lie below; NaN where no band is known (yet).")
      .def_readonly("p50", &Answer::p50, "Half of the outcomes lie below; NaN where no band is known (yet).")
      .def_readonly("p90", &Answer::p90, "Nine tenths of the outcomes lie below; NaN where no band is known (yet).")
      .def_readonly("reserve", &Answer::reserve,
                    "What to reserve: the quantile of the stream's level; NaN where no band is known (yet).")
      .def_property_readonly(
          "source", [](const Answer& answer) { return source_name(answer.source); },
          R"("model", "mixture", "fallback", "last", "forecast_mean", "measured_mean" or "none".)")
      .def_property_readonly(
          "cause", [](const Answer& answer) { return cause_name(answer.cause); },
          R"(Why it was not the model: "none", "deadline", "failed", "not_finite" or "implausible".)")
      .def("__float__", [](const Answer& answer) { return static_cast<double>(answer.mbps); })
      .def(py::pickle(&state_of, &answer_of))
      .def("__repr__", [](const Answer& answer) { return describe(answer); });
  py::class_<Answers>(module, "Answers", "The answers of many rows; each row has its own source and cause.")
      .def_property_readonly("mbps", &column<&Answer::mbps>, "(rows,) float32; NaN where there is none.")
      .def_property_readonly("p10", &column<&Answer::p10>, "(rows,) float32, as Answer.p10.")
      .def_property_readonly("p50", &column<&Answer::p50>, "(rows,) float32, as Answer.p50.")
      .def_property_readonly("p90", &column<&Answer::p90>, "(rows,) float32, as Answer.p90.")
      .def_property_readonly("reserve", &column<&Answer::reserve>, "(rows,) float32, as Answer.reserve.")
      .def_property_readonly(
          "sources",
          [](const Answers& answers) {
            std::vector<const char*> names;
            for (const Answer& answer : answers.rows) names.push_back(source_name(answer.source));
            return names;
          },
          "(rows,) who gave each.")
      .def_property_readonly(
          "causes",
          [](const Answers& answers) {
            std::vector<const char*> names;
            for (const Answer& answer : answers.rows) names.push_back(cause_name(answer.cause));
            return names;
          },
          "(rows,) why each was not the model.")
      .def_property_readonly(
          "source", [](const Answers& answers) { return source_name(answers.source); },
          "The last resort that was needed for any row.")
      .def_property_readonly(
          "cause", [](const Answers& answers) { return cause_name(answers.cause); },
          "Why the first row that the model did not answer was not answered by it.")
      .def_property_readonly(
          "latency_us", [](const Answers& answers) { return static_cast<double>(answers.latency_ns) * 1e-3; },
          "Spent on these rows.")
      .def("__len__", [](const Answers& answers) { return answers.rows.size(); })
      .def("__getitem__",
           [](const Answers& answers, py::ssize_t row) { return answers.rows[checked_row(answers, row)]; })
      .def(py::pickle(&state_of_many, &many_of))
      .def("__repr__", [](const Answers& answers) { return describe(answers); });
}

}  // namespace linkcast::bindings
