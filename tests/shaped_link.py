"""Runs the controller on a virtual link with traffic on it, within a network namespace of its own.

    unshare -Urn python shaped_link.py LINK_CONTROLLER

Makes a veth pair, puts the far end with a TCP server into another namespace, sends, and lets the controller shape the
near end with HTB. Prints what the controller printed, the class that it made, and whether the link
is as it was before once a signal has ended it.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time

NEAR, FAR, PORT = "10.99.0.1", "10.99.0.2", 5001

SERVER = f"""
import socket
listener = socket.create_server(("{FAR}", {PORT}))
print("listening", flush=True)
connection, _ = listener.accept()
while connection.recv(65536):
    pass
"""


def sh(command: str) -> None:
    subprocess.run(command, shell=True, check=True)


def start_far_end() -> subprocess.Popen[str]:
    """A process in a namespace of its own that holds veth1 and will listen on it."""
    holder = "import sys, subprocess; print('up', flush=True); sys.stdin.readline(); exec(sys.stdin.read())"
    far = subprocess.Popen(
        ["unshare", "-n", sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert far.stdin and far.stdout
    far.stdout.readline()
    sh("ip link add veth0 type veth peer name veth1")
    sh(f"ip link set veth1 netns {far.pid}")
    sh(f"ip addr add {NEAR}/24 dev veth0 && ip link set veth0 up && ip link set lo up")
    sh(f"nsenter -t {far.pid} -n sh -c 'ip addr add {FAR}/24 dev veth1 && ip link set veth1 up'")
    far.stdin.write("\n" + SERVER)
    far.stdin.close()
    far.stdout.readline()
    return far


def send(done: threading.Event) -> None:
    """About 2.5 Mbit/s."""
    with socket.create_connection((FAR, PORT)) as connection, contextlib.suppress(OSError):
        while not done.is_set():
            connection.sendall(bytes(16_000))
            time.sleep(0.05)


def main() -> None:
    far = start_far_end()
    done = threading.Event()
    sender = threading.Thread(target=send, args=(done,))
    sender.start()
    try:
        command = [sys.argv[1], "--interface", "veth0", "--capacity-mbps", "50", "--shaper", "htb"]
        before = subprocess.check_output(["tc", "qdisc", "show", "dev", "veth0"], text=True)
        controller = subprocess.Popen([*command, "--apply"], stdout=subprocess.PIPE, text=True)
        assert controller.stdout
        for line in controller.stdout:
            print(line, end="", flush=True)
            if "(mixture)" in line:  # the window is full
                break
        subprocess.run(["tc", "class", "show", "dev", "veth0"], check=True)
        controller.send_signal(signal.SIGTERM)
        print(controller.stdout.read(), end="")
        assert controller.wait(10) == 0
        after = subprocess.check_output(["tc", "qdisc", "show", "dev", "veth0"], text=True)
        print("as before" if after == before else f"before: {before}after: {after}")
    finally:
        done.set()
        sender.join()
        far.kill()


if __name__ == "__main__":
    main()
