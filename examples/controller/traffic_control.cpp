#include "traffic_control.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <iostream>
#include <sstream>
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
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) throw std::runtime_error(text_of(command) + ": refused");
}

/// What a command prints. @throws std::runtime_error  it can't be run
std::string output_of(const Command& command) {
  int ends[2] = {-1, -1};
  if (pipe(ends) != 0) throw std::runtime_error(std::string("pipe: ") + std::strerror(errno));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  pid_t child = 0;
  const int error = posix_spawnp(&child, words[0], &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  std::string text;
  std::array<char, 4096> some{};
  for (ssize_t got = 0; !error && (got = read(ends[0], some.data(), some.size())) > 0;)
    text.append(some.data(), static_cast<std::size_t>(got));
  close(ends[0]);
  if (error) throw std::runtime_error(text_of(command) + ": " + std::strerror(error));
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) throw std::runtime_error(text_of(command) + ": refused");
  return text;
}

/// The command that makes the present root queue again, from a line of `tc qdisc show dev NAME root`:
///     qdisc fq_codel 8001: root refcnt 2 limit 10240p flows 1024 ...
/// A queue that the kernel made by itself has the handle "0:" and comes back when ours is deleted.
Command command_of_present(const std::string& interface) {
  std::istringstream shown(output_of({"tc", "qdisc", "show", "dev", interface, "root"}));
  std::string qdisc, kind, handle, word;
  shown >> qdisc >> kind >> handle;
  if (qdisc.empty() || handle == "0:") return {"tc", "qdisc", "del", "dev", interface, "root"};
  if (kind != "cake" && kind != "fq_codel")
    throw std::runtime_error(interface + ": its root queue is " + kind + " " + handle +
                             ", which could not be put back; expected the default one, cake or fq_codel. Delete it "
                             "first: tc qdisc del dev " +
                             interface + " root");
  Command command{"tc", "qdisc", "replace", "dev", interface, "root", "handle", handle, kind};
  while (shown >> word) {
    if (word == "root") continue;
    if (word == "refcnt") {
      shown >> word;
      continue;
    }
    if (word.size() > 1 && word.back() == 'p' && std::isdigit(static_cast<unsigned char>(word[0]))) word.pop_back();
    command.push_back(word);
  }
  return command;
}

}  // namespace

TrafficControl::TrafficControl(std::string interface, Shaper shaper, bool apply)
    : interface_(std::move(interface)), shaper_(shaper), apply_(apply) {
  if (apply_) before_ = command_of_present(interface_);
}

void TrafficControl::restore() noexcept {
  if (!started_ || !apply_) return;
  started_ = false;
  try {
    std::cout << "run: " << text_of(before_) << std::endl;
    run(before_);
  } catch (const std::exception& error) {
    std::cerr << interface_ << " is not as it was before: " << error.what() << std::endl;
  }
}

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
  const std::vector<Command> all = commands(mbps);
  started_ = true;  // before the first command: should the second be refused, the first is undone as well
  for (const Command& command : all) {
    std::cout << (apply_ ? "run: " : "would run: ") << text_of(command) << std::endl;
    if (apply_) run(command);
  }
}
