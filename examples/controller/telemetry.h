// What a link does, as the kernel of Linux tells it: interface counters and the round-trip times of TCP connections.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

/// Counters of an interface since it came up.
struct Counters {
  std::uint64_t sent_bytes = 0;
  std::uint64_t sent_packets = 0;
  std::uint64_t sent_errors = 0;
  std::uint64_t sent_dropped = 0;
};

/// From /proc/net/dev, which knows the network namespace. @throws std::runtime_error  no such interface
Counters read_counters(const std::string& interface);

/// All established TCP connections of this network namespace, together.
struct Connections {
  std::size_t count = 0;
  double median_rtt_ms = 0;           ///< smoothed round-trip times; 0 without connections
  std::uint64_t segments = 0;         ///< sent
  std::uint64_t retransmissions = 0;  ///< of those
};

/// Asks the kernel (NETLINK_SOCK_DIAG, as ss does). @throws std::runtime_error
Connections read_connections();

/// Makes telemetry samples out of what changes from tick to tick.
class Telemetry {
 public:
  explicit Telemetry(std::string interface);

  /// latency_ms, bandwidth_mbps, packet_loss, reliability since the last call; nothing at the first one, and while no
  /// TCP connection tells a round-trip time.
  std::optional<std::array<float, 4>> sample(std::uint64_t now_ns);

 private:
  std::string interface_;
  std::optional<Counters> counters_;  // at the last call
  Connections connections_;
  std::uint64_t at_ns_ = 0;
};
