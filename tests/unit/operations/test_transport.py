from __future__ import annotations

import socket
import threading
from typing import Any, cast

import paramiko

from operations.transport import nodelay_transport


def test_the_socket_does_not_wait_for_more() -> None:
    """As pyinfra hands it to paramiko's client, whose connect then fails: the server says nothing of SSH."""
    seen: list[int] = []

    def factory(sock: socket.socket, **options: object) -> paramiko.Transport:
        transport = nodelay_transport(sock, **options)
        seen.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        return transport

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].close()).start()
        client = paramiko.SSHClient()
        try:
            client.connect(
                "127.0.0.1", server.getsockname()[1], transport_factory=cast(Any, factory), banner_timeout=5
            )
        except (paramiko.SSHException, EOFError):
            pass
        finally:
            client.close()
    assert seen and seen[0] != 0


def test_what_is_no_tcp_socket_is_left_alone() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        nodelay_transport(ours, disabled_algorithms=None).close()
