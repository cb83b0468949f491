#include "telemetry.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <utility>
#include <vector>

namespace {

constexpr unsigned kEstablished = 1;  // TCP_ESTABLISHED of the kernel

[[noreturn]] void refuse(const std::string& what) { throw std::runtime_error(what + ": " + std::strerror(errno)); }

struct Socket {
  Socket() : fd(socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)) {
    if (fd < 0) refuse("netlink socket");
  }
  ~Socket() { close(fd); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  const int fd;
};

void ask(const Socket& socket, unsigned char family) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } message{};
  message.header.nlmsg_len = sizeof message;
  message.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  message.request.sdiag_family = family;
  message.request.sdiag_protocol = IPPROTO_TCP;
  message.request.idiag_ext = 1U << (INET_DIAG_INFO - 1);
  message.request.idiag_states = 1U << kEstablished;
  if (send(socket.fd, &message, sizeof message, 0) < 0) refuse("netlink request");
}

/// The tcp_info of one connection, as much of it as this kernel has; nothing when it is not in the message.
std::optional<tcp_info> info_of(const nlmsghdr* header) {
  const auto* connection = static_cast<const inet_diag_msg*>(NLMSG_DATA(header));
  auto length = static_cast<int>(header->nlmsg_len - NLMSG_LENGTH(sizeof *connection));
  for (auto* part = reinterpret_cast<const rtattr*>(connection + 1); RTA_OK(part, length);
       part = RTA_NEXT(part, length)) {
    if (part->rta_type != INET_DIAG_INFO) continue;
    tcp_info info{};
    std::memcpy(&info, RTA_DATA(part), std::min<std::size_t>(RTA_PAYLOAD(part), sizeof info));
    return info;
  }
  return std::nullopt;
}

/// Reads the answer to ask() to its end.
void collect(const Socket& socket, std::vector<tcp_info>& infos) {
  alignas(nlmsghdr) char buffer[32768];
  for (;;) {
    const ssize_t received = recv(socket.fd, buffer, sizeof buffer, 0);
    if (received < 0 && errno == EINTR) continue;
    if (received <= 0) refuse("netlink answer");
    auto left = static_cast<unsigned>(received);
    for (auto* header = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type == NLMSG_DONE) return;
      if (header->nlmsg_type == NLMSG_ERROR) {
        errno = -static_cast<const nlmsgerr*>(NLMSG_DATA(header))->error;
        refuse("netlink");
      }
      if (auto info = info_of(header)) infos.push_back(*info);
    }
  }
}

}  // namespace

Counters read_counters(const std::string& interface) {
  std::ifstream file("/proc/net/dev");
  for (std::string line; std::getline(file, line);) {
    const auto colon = line.find(':');
    const auto first = line.find_first_not_of(' ');
    if (colon == std::string::npos || line.substr(first, colon - first) != interface) continue;
    // Eight received columns, then bytes, packets, errors and drops that were sent.
    std::istringstream columns(line.substr(colon + 1));
    std::uint64_t received = 0;
    for (int column = 0; column < 8; ++column) columns >> received;
    Counters counters;
    if (columns >> counters.sent_bytes >> counters.sent_packets >> counters.sent_errors >> counters.sent_dropped)
      return counters;
  }
  throw std::runtime_error(interface + ": no such network interface");
}

Connections read_connections() {
  std::vector<tcp_info> infos;
  const Socket socket;
  for (const unsigned char family : {AF_INET, AF_INET6}) {
    ask(socket, family);
    collect(socket, infos);
  }
  Connections connections;
  std::vector<double> rtts_ms;
  for (const tcp_info& info : infos) {
    if (info.tcpi_rtt > 0) rtts_ms.push_back(info.tcpi_rtt / 1e3);  // microseconds
    connections.segments += info.tcpi_segs_out;
    connections.retransmissions += info.tcpi_total_retrans;
  }
  connections.count = rtts_ms.size();
  if (rtts_ms.empty()) return connections;
  const auto middle = rtts_ms.begin() + static_cast<std::ptrdiff_t>(rtts_ms.size() / 2);
  std::nth_element(rtts_ms.begin(), middle, rtts_ms.end());
  connections.median_rtt_ms = *middle;
  return connections;
}

Telemetry::Telemetry(std::string interface) : interface_(std::move(interface)) { read_counters(interface_); }

std::optional<std::array<float, 4>> Telemetry::sample(std::uint64_t now_ns) {
  const Counters counters = read_counters(interface_);
  const Connections connections = read_connections();
  const auto before = std::exchange(counters_, counters);
  const Connections connections_before = std::exchange(connections_, connections);
  const double seconds = static_cast<double>(now_ns - std::exchange(at_ns_, now_ns)) / 1e9;
  if (!before || seconds <= 0 || connections.count == 0) return std::nullopt;

  // Connections end, and take their segments with them: a count that has fallen tells nothing.
  const auto rise = [](std::uint64_t now, std::uint64_t then) {
    return now > then ? static_cast<double>(now - then) : 0.0;
  };
  const auto share = [](double part, double whole) { return whole > 0 ? std::min(part / whole, 1.0) : 0.0; };
  const double mbps = rise(counters.sent_bytes, before->sent_bytes) * 8 / 1e6 / seconds;
  const double loss = share(rise(connections.retransmissions, connections_before.retransmissions),
                            rise(connections.segments, connections_before.segments));
  const double failed =
      rise(counters.sent_errors, before->sent_errors) + rise(counters.sent_dropped, before->sent_dropped);
  const double tried = rise(counters.sent_packets, before->sent_packets) + failed;
  return std::array<float, 4>{static_cast<float>(connections.median_rtt_ms), static_cast<float>(mbps),
                              static_cast<float>(loss), static_cast<float>(1 - share(failed, tried))};
}
