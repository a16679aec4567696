"""The SSH connection itself."""

from __future__ import annotations

import socket
from typing import Any

from paramiko import Transport


def nodelay_transport(sock: Any, **options: Any) -> Transport:
    """SSH transport whose packets leave at once: `ssh_paramiko_connect_kwargs = {"transport_factory": …}`.

    Nagle's algorithm holds a small packet back until the last one is acknowledged, which the other side
    delays by 40 ms: on every command that pyinfra runs. A transport through a jump host or a proxy command
    is no socket of ours and stays as it is.

    :param sock: what paramiko connected (`SSHClient.connect`, `transport_factory`)
    :param options: what paramiko hands to `paramiko.Transport`
    """
    if isinstance(sock, socket.socket) and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Transport(sock, **options)
