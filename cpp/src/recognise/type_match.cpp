#include <algorithm>
#include <string_view>

#include "recognise/model_file.h"

namespace linkcast::tflite {
namespace {

/// Matches an operator's tensors with one alternative of the table's types.
class TypeMatch {
 public:
  explicit TypeMatch(std::string_view alternative, std::string_view sets) : pattern_(alternative), sets_(sets) {}

  /// Returns "" when they match, else what does not; `progress` tells how far it got.
  std::string run(const std::vector<const FileTensor*>& inputs, const std::vector<const FileTensor*>& outputs) {
    const auto arrow = pattern_.find('>');
    std::string problem = side(pattern_.substr(0, arrow), inputs, "input");
    writes_ = true;
    if (problem.empty()) problem = side(pattern_.substr(arrow + 1), outputs, "output");
    return problem;
  }
  int progress() const noexcept { return progress_; }

 private:
  std::string side(std::string_view letters, const std::vector<const FileTensor*>& tensors, const char* what) {
    std::size_t at = 0;
    std::size_t n = 0;
    const auto name = [&] { return std::string(what) + " " + std::to_string(n); };
    while (at < letters.size()) {
      const char letter = letters[at++];
      char mark = ' ';
      if (at < letters.size() && (letters[at] == '?' || letters[at] == '*' || letters[at] == '!')) mark = letters[at++];
      if (mark == '*') {
        if (n >= tensors.size()) return std::string("expected at least one ") + what + ", got none";
        for (; n < tensors.size(); ++n) {
          if (!tensors[n]) return name() + " is absent, which the operator needs";
          if (auto problem = one(letter, mark, *tensors[n]); !problem.empty()) return name() + problem;
        }
        continue;
      }
      const bool absent = n >= tensors.size() || !tensors[n];
      if (absent && letter != '_' && mark != '?') return name() + " is absent, which the operator needs";
      if (!absent && letter == '_') return name() + " is one that the operator does not take here";
      if (!absent)
        if (auto problem = one(letter, mark, *tensors[n]); !problem.empty()) return name() + problem;
      ++n;
    }
    if (n < tensors.size())
      return "expected at most " + std::to_string(n) + " " + what + "s, got " + std::to_string(tensors.size());
    return "";
  }

  std::string one(char letter, char mark, const FileTensor& tensor) {
    const int got = tensor.facts.type;
    if (letter != '.') {
      if (letter >= 'A' && letter <= 'Z') {
        int& bound = bound_[static_cast<std::size_t>(letter - 'A')];
        if (bound < 0) {
          const auto letters = set_of(letter);
          if (std::none_of(letters.begin(), letters.end(), [got](char c) { return type_of_letter(c) == got; }))
            return ": " + element_type_name(got) + " is no type that the operator takes here";
          bound = got;
        } else if (bound != got) {
          return ": expected " + element_type_name(bound) + " as before, got " + element_type_name(got);
        }
      } else if (type_of_letter(letter) != got) {
        return ": expected " + element_type_name(type_of_letter(letter)) + ", got " + element_type_name(got);
      }
    }
    if (!writes_ && tensor.variable != (mark == '!'))
      return mark == '!' ? ": expected a variable tensor, which keeps the operator's state"
                         : " is a variable, which only a recurrent operator may read, as its state";
    ++progress_;
    return "";
  }

  std::string_view set_of(char letter) const {
    const auto at = sets_.find(std::string{letter, '='});
    if (at == std::string_view::npos) return {};
    const auto end = sets_.find(' ', at);
    return sets_.substr(at + 2, end == std::string_view::npos ? end : end - at - 2);
  }

  std::string_view pattern_;
  std::string_view sets_;
  int bound_[26] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                    -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
  int progress_ = 0;
  bool writes_ = false;  // at the outputs
};

}  // namespace

/// From the alternative that came furthest.
std::string type_mismatch(const OperatorRule& rule, const std::vector<const FileTensor*>& inputs,
                          const std::vector<const FileTensor*>& outputs) {
  std::string_view types = rule.types;
  std::string_view sets;
  if (const auto space = types.find(' '); space != std::string_view::npos) {
    sets = types.substr(space);
    types = types.substr(0, space);
  }
  std::string best;
  int furthest = -1;
  while (true) {
    const auto bar = types.find('|');
    TypeMatch match(types.substr(0, bar), sets);
    std::string problem = match.run(inputs, outputs);
    if (problem.empty()) return "";
    if (match.progress() > furthest) {
      furthest = match.progress();
      best = std::move(problem);
    }
    if (bar == std::string_view::npos) return best;
    types = types.substr(bar + 1);
  }
}

}  // namespace linkcast::tflite
