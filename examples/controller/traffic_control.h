// Sets the rate of an interface with tc: CAKE, or a class of HTB.
#pragma once

#include <string>
#include <vector>

enum class Shaper { cake, htb };

using Command = std::vector<std::string>;  ///< a program and its arguments; no shell reads them

class TrafficControl {
 public:
  /// @param apply  false prints the commands and runs none
  TrafficControl(std::string interface, Shaper shaper, bool apply);

  /// @throws std::runtime_error  tc can't be run, or refuses
  void set_rate(double mbps);

  /// The commands that set_rate would run now.
  std::vector<Command> commands(double mbps) const;

 private:
  std::string interface_;
  Shaper shaper_;
  bool apply_;
  bool started_ = false;  // the first command makes the queue, the later ones change it
};
