"""A time server: the time of this machine, as RFC 5905 has it in a client's packet and the answer to it.

    ntp.py ADDRESS

It answers what systemd-timesyncd, chrony and ntpd ask; it has neither authentication nor control messages.
"""

from __future__ import annotations

import socketserver
import struct
import sys
import time

PORT = 123
SINCE_1970 = 2_208_988_800  # seconds from NTP's epoch, which is 1900
CLIENT, SERVER = 3, 4
PACKET = struct.Struct(">BBbb II4s QQQQ")


def now() -> int:
    """The time as NTP writes it: 32 bits of seconds, 32 bits of their fraction."""
    return int((time.time() + SINCE_1970) * 2**32) & (2**64 - 1)


def answer(request: bytes, received: int) -> bytes | None:
    """The answer to a client's packet; None to anything else.

    :param received: when it came
    """
    if len(request) < PACKET.size:
        return None
    first, _, poll, *_, transmitted = PACKET.unpack_from(request)
    version, mode = first >> 3 & 7, first & 7
    if mode != CLIENT:
        return None
    # Stratum 1, precise to a microsecond, at no distance from its own clock.
    return PACKET.pack(
        version << 3 | SERVER, 1, poll, -20, 0, 0, b"LAB\0", received, transmitted, received, now()
    )


class Handler(socketserver.BaseRequestHandler):
    """One packet."""

    def handle(self) -> None:
        """Answer it."""
        request, socket = self.request
        if (reply := answer(request, now())) is not None:
            socket.sendto(reply, self.client_address)


if __name__ == "__main__":
    with socketserver.UDPServer((sys.argv[1], PORT), Handler) as server:
        server.serve_forever()
