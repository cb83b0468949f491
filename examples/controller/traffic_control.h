// Sets the rate of an interface with tc: CAKE, or a class of HTB.
#pragma once

#include <string>
#include <vector>

enum class Shaper { cake, htb };

using Command = std::vector<std::string>;  ///< a program and its arguments; no shell reads them

/// Takes an interface over with the first rate that is set, and gives it back at the end of its life as it was.
class TrafficControl {
 public:
  /// @param apply  false prints the commands and runs none
  /// @throws std::runtime_error  the interface has a queue that could not be put back: one with classes or filters
  TrafficControl(std::string interface, Shaper shaper, bool apply);
  TrafficControl(const TrafficControl&) = delete;
  TrafficControl& operator=(const TrafficControl&) = delete;
  ~TrafficControl() { restore(); }

  /// @throws std::runtime_error  tc can't be run, or refuses
  void set_rate(double mbps);

  /// The commands that set_rate would run now.
  std::vector<Command> commands(double mbps) const;

  /// Puts back what was there before the first rate; nothing when none was set. Says so when it can't.
  void restore() noexcept;

 private:
  std::string interface_;
  Shaper shaper_;
  bool apply_;
  Command before_;        // what makes the queue again that was there before
  bool started_ = false;  // the first command makes the queue, the later ones change it
};
