"""The time server, asked as a client asks."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
import time

from lab.upstream import ntp

REQUEST = struct.pack(">B39xQ", 4 << 3 | ntp.CLIENT, 0x1234)  # version 4; what is echoed stands at the end


def test_a_client_learns_the_time_of_this_machine() -> None:
    with (
        socketserver.UDPServer(("127.0.0.1", 0), ntp.Handler) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        threading.Thread(target=server.handle_request, daemon=True).start()
        client.settimeout(10)
        client.sendto(REQUEST, server.server_address)
        reply = client.recv(512)
    leap_version_mode, stratum = reply[:2]
    originate, received, transmitted = struct.unpack_from(">QQQ", reply, 24)
    assert len(reply) == 48
    assert leap_version_mode == 4 << 3 | ntp.SERVER
    assert stratum == 1
    assert originate == 0x1234
    assert received <= transmitted
    assert abs(transmitted / 2**32 - ntp.SINCE_1970 - time.time()) < 60


def test_what_no_client_sends_gets_no_answer() -> None:
    assert ntp.answer(b"short", 0) is None
    assert ntp.answer(bytes([4 << 3 | ntp.SERVER]) + bytes(47), 0) is None
