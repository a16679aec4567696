"""Prints the ports of an address that are reached, one a line: `python scan.py ADDRESS [tcp|udp]`; of TCP all that take
a connection, of UDP those of the usual ones from which anything comes back. Run it from a lab's namespace only.

Many connections are begun at once and looked at together later. The kernel takes the answers meanwhile, so a busy
machine makes the scan slow, never wrong.
"""

from __future__ import annotations

import errno
import ipaddress
import resource
import select
import socket
import sys
import time
from collections.abc import Sequence

PORTS = range(1, 65536)
# What is asked most, and what answers many times over: names, time, boot, files, directories, tunnels, games.
UDP_PORTS = (
    *(
        53,
        67,
        68,
        69,
        88,
        111,
        123,
        135,
        137,
        138,
        161,
        177,
        389,
        427,
        443,
        445,
        500,
        514,
        520,
        623,
        1194,
        1434,
        1604,
    ),
    *(
        1645,
        1701,
        1812,
        1900,
        2049,
        3283,
        3478,
        3702,
        4500,
        5060,
        5353,
        5683,
        6881,
        10001,
        11211,
        17185,
        27015,
        30718,
    ),
    *(32414, 33434, 41641, 47808, 49152, 51820, 65024),
)
PATIENCE_S = 2  # the kernel repeats an unanswered SYN after one second
LABS = (ipaddress.ip_network("198.18.0.0/16"), ipaddress.ip_network("fd53:f000::/24"))


def scan(address: str, ports: Sequence[int] = PORTS) -> list[int]:
    """The ports of `address` that take a connection, in order."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    at_once = min(files - 100, len(ports))
    found = []
    for start in range(0, len(ports), at_once):
        found += _open(address, ports[start : start + at_once])
    return sorted(found)


def _open(address: str, ports: Sequence[int]) -> list[int]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    answers = select.epoll()
    trying: dict[int, tuple[int, socket.socket]] = {}
    found = []
    for port in ports:
        connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        code = connection.connect_ex((address, port))
        if code not in (0, errno.EINPROGRESS, errno.ECONNREFUSED):
            raise OSError(code, f"{address}: {errno.errorcode[code]}")
        trying[connection.fileno()] = port, connection
        answers.register(connection, select.EPOLLOUT)
    time.sleep(PATIENCE_S)
    for descriptor, _ in answers.poll(0, len(trying)):
        port, connection = trying[descriptor]
        if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            found.append(port)
    answers.close()
    for _, connection in trying.values():
        connection.close()
    return found


def scan_udp(address: str, ports: Sequence[int] = UDP_PORTS) -> list[int]:
    """The ports of `address` that answer, also by a refusal, in order."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    found = []
    for port in ports:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, port))
            probe.settimeout(0.1)
            probe.send(b"anyone?")
            try:
                probe.recv(64)
            except TimeoutError:
                continue
            except ConnectionRefusedError:
                pass
            found.append(port)
    return sorted(found)


if __name__ == "__main__":
    target = ipaddress.ip_address(sys.argv[1])
    if not any(target in lab for lab in LABS):
        sys.exit(f"{target} is no lab's address")
    reached = scan_udp if sys.argv[2:] == ["udp"] else scan
    for open_port in reached(str(target)):
        print(open_port)  # noqa: T201 - its answer
