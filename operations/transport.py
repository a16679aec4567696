"""The SSH connection itself: a transport for pyinfra, `ssh_paramiko_connect_kwargs = {"transport_factory": transport}`.

A host is its owner's: before every command, his login shell reads start-up files, which may print, and set a language
and a umask. Here each command gets rid of that.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

from paramiko import Channel, ChannelFile, Transport
from paramiko.channel import ChannelStderrFile

# Stands alone in a line before the output of a command. The command has it in two parts, so that a shell which prints
# what it reads (`set -v`) does not print it.
_PARTS = ("@@output", "-begins@@")
BEGIN = "".join(_PARTS)


def prefixed(command: str) -> str:
    """A command of sh whose output `after_start_up` recognises, run with a language and a umask that are known.

    In another language programs translate what they print, and numbers have a comma.
    """
    mark = f"printf '%s%s\\n' {' '.join(_PARTS)}"
    return f"umask 022; export LC_ALL=C.UTF-8; {mark}; {mark} >&2; {command}"


def after_start_up(lines: Iterator[str]) -> Iterator[str]:
    """What a command has printed, without what the shell's start-up files printed before.

    All of it where the command was not run: then it says why.
    """
    before = []
    for line in lines:
        if line.rstrip("\n").endswith(BEGIN):
            yield from lines
            return
        before.append(line)
    yield from before


class _Output(ChannelFile):
    def __iter__(self) -> Iterator[str]:  # type: ignore[override]  # lines are all that pyinfra asks for
        return after_start_up(iter(self.readline, ""))


class _Errors(ChannelStderrFile):
    def __iter__(self) -> Iterator[str]:  # type: ignore[override]  # lines are all that pyinfra asks for
        return after_start_up(iter(self.readline, ""))


class _Session(Channel):
    """A session of one command."""

    def exec_command(self, command: Any) -> None:
        super().exec_command(prefixed(command))

    def makefile(self, *params: Any) -> ChannelFile:
        return _Output(self, *params)

    def makefile_stderr(self, *params: Any) -> ChannelStderrFile:
        return _Errors(self, *params)


class _Transport(Transport):
    def open_session(self, *args: Any, **kwargs: Any) -> Channel:
        channel = super().open_session(*args, **kwargs)
        channel.__class__ = _Session  # paramiko has no other way to another class
        return channel


def transport(sock: Any, **options: Any) -> Transport:
    """Transport whose packets leave at once, and whose commands print nothing but their own output.

    Nagle's algorithm holds a small packet back until the last one is acknowledged, which the other side
    delays by 40 ms: on every command that pyinfra runs. A proxy command is no socket of ours and stays as it is.

    :param sock: what paramiko connected (`SSHClient.connect`, `transport_factory`): a socket, or a channel of the
        connection to a jump host
    :param options: what paramiko hands to `paramiko.Transport`
    """
    connected = sock
    while isinstance(connected, Channel):
        connected = connected.get_transport().sock
    if isinstance(connected, socket.socket) and connected.family in (socket.AF_INET, socket.AF_INET6):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _Transport(sock, **options)
