#include "traffic_control.h"

#include <spawn.h>
#include <sys/wait.h>

#include <cmath>
#include <cstring>
#include <iostream>
#include <stdexcept>

extern char** environ;

namespace {

std::string text_of(const Command& command) {
  std::string text;
  for (const std::string& word : command) text += (text.empty() ? "" : " ") + word;
  return text;
}

void run(const Command& command) {
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  pid_t child = 0;
  if (const int error = posix_spawnp(&child, words[0], nullptr, nullptr, words.data(), environ))
    throw std::runtime_error(text_of(command) + ": " + std::strerror(error));
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) throw std::runtime_error(text_of(command) + ": refused");
}

}  // namespace

TrafficControl::TrafficControl(std::string interface, Shaper shaper, bool apply)
    : interface_(std::move(interface)), shaper_(shaper), apply_(apply) {}

std::vector<Command> TrafficControl::commands(double mbps) const {
  const std::string rate = std::to_string(std::max(1L, std::lround(mbps * 1000))) + "kbit";
  if (shaper_ == Shaper::cake)
    return {{"tc", "qdisc", "replace", "dev", interface_, "root", "cake", "bandwidth", rate}};
  std::vector<Command> all;
  if (!started_)
    all.push_back({"tc", "qdisc", "replace", "dev", interface_, "root", "handle", "1:", "htb", "default", "10"});
  all.push_back({"tc", "class", "replace", "dev", interface_, "parent", "1:", "classid", "1:10", "htb", "rate", rate,
                 "ceil", rate});
  return all;
}

void TrafficControl::set_rate(double mbps) {
  for (const Command& command : commands(mbps)) {
    std::cout << (apply_ ? "run: " : "would run: ") << text_of(command) << std::endl;
    if (apply_) run(command);
  }
  started_ = true;
}
