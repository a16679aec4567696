"""The native protocol (TCP) as far as a client needs it to learn that the server is there and knows its user.

Hello, with the real server's refusal of a wrong password, and ping. Queries are refused: the engine is behind HTTP.
Source: https://clickhouse.com/docs/native-protocol
"""

from __future__ import annotations

import socketserver
from collections.abc import Callable
from io import BufferedIOBase

HELLO, QUERY, PING = 0, 1, 4  # of clients
SERVER_HELLO, EXCEPTION, PONG = 0, 2, 4
REVISION = 54058  # the oldest that has a time zone and a display name: newer fields need not be sent
VERSION = (25, 8)
NOT_IMPLEMENTED = 48


class NativeServer(socketserver.ThreadingTCPServer):
    """One thread a connection.

    :param refusal: says why a user with a password is refused (number and text); None if it may in
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self, address: tuple[str, int], refusal: Callable[[str, str, str], tuple[int, str] | None]
    ) -> None:
        self.refusal = refusal
        super().__init__(address, Connection)


class Connection(socketserver.StreamRequestHandler):
    """One client."""

    server: NativeServer

    def handle(self) -> None:
        try:
            if read_number(self.rfile) != HELLO:
                return
            read_text(self.rfile)  # the client's name
            for _ in range(3):  # its version
                read_number(self.rfile)
            _, user, password = (read_text(self.rfile) for _ in range(3))
            refused = self.server.refusal(user, password, str(self.client_address[0]))
            if refused:
                self.wfile.write(exception(*refused))
                return
            self.wfile.write(hello())
            while True:
                packet = read_number(self.rfile)
                if packet == PING:
                    self.wfile.write(number(PONG))
                    continue
                self.wfile.write(exception(NOT_IMPLEMENTED, "the stand-in answers queries over HTTP only"))
                return
        except (EOFError, ConnectionError):
            return


def hello() -> bytes:
    """The server's answer to a client that may in."""
    version = b"".join(map(number, (*VERSION, REVISION)))
    return number(SERVER_HELLO) + text("ClickHouse") + version + text("UTC") + text("clickhouse")


def exception(code: int, message: str) -> bytes:
    """A refusal: number, name, message, stack trace, and no nested one."""
    return (
        number(EXCEPTION)
        + code.to_bytes(4, "little")
        + text("DB::Exception")
        + text(f"DB::Exception: {message}")
        + text("")
        + b"\0"
    )


def number(value: int) -> bytes:
    """An unsigned LEB128 number."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def text(value: str) -> bytes:
    """A string with its length before it."""
    data = value.encode()
    return number(len(data)) + data


def read_number(stream: BufferedIOBase) -> int:
    """:raises EOFError: the client has gone"""
    value = shift = 0
    while True:
        byte = _exactly(stream, 1)[0]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
        shift += 7
        if shift > 63:
            raise EOFError("not the native protocol")


def read_text(stream: BufferedIOBase) -> str:
    """:raises EOFError: the client has gone, or speaks something else"""
    length = read_number(stream)
    if length > 65536:
        raise EOFError("not the native protocol")
    return _exactly(stream, length).decode(errors="replace")


def _exactly(stream: BufferedIOBase, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return data
