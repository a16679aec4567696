"""Prints which TCP ports take a connection, again and again until its standard input ends.

`python poll.py PORT,PORT,… ADDRESS…` prints a line `SECONDS ADDRESS PORT` for each connection that was taken, and
`SECONDS round` after each try of all of them. Run it from a lab's namespace only.
"""

from __future__ import annotations

import ipaddress
import select
import socket
import sys
import time

PATIENCE_S = 0.2
LABS = (ipaddress.ip_network("198.18.0.0/16"), ipaddress.ip_network("fd53:f000::/24"))


def reachable(addresses: list[str], ports: list[int]) -> list[tuple[str, int]]:
    """Which of the ports are open at this moment."""
    trying = {}
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for port in ports:
            connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            connection.connect_ex((address, port))
            trying[connection] = address, port
    time.sleep(PATIENCE_S)
    _, ready, _ = select.select([], trying, [], 0)
    found = [trying[one] for one in ready if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0]
    for connection in trying:
        connection.close()
    return found


def main() -> None:
    ports, addresses = [int(port) for port in sys.argv[1].split(",")], sys.argv[2:]
    for target in map(ipaddress.ip_address, addresses):
        if not any(target in lab for lab in LABS):
            sys.exit(f"{target} is no lab's address")
    while not select.select([sys.stdin], [], [], 0)[0]:
        taken = reachable(addresses, ports)
        for address, port in taken:
            print(f"{time.time():.2f} {address} {port}")  # noqa: T201 - its answer
        print(f"{time.time():.2f} round", flush=True)  # noqa: T201 - likewise


if __name__ == "__main__":
    main()
