"""pyinfra's SSH connection, to a small server with bash behind it."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import paramiko
import pytest
from paramiko import Channel
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED

from operations.transport import after_start_up, prefixed, transport

HOST_KEY = paramiko.ECDSAKey.generate()
PASSWORD = "made up"  # noqa: S105 - as it says
START_UP = """
set -vx
echo Bienvenue
printf 'Derniere connexion : hier' >&2
printf 'sans fin de ligne'
export LC_ALL=fr_FR.UTF-8
umask 077
"""


class Login(paramiko.ServerInterface):
    """Runs commands in bash, which reads a start-up file first."""

    def __init__(self, start_up: Path) -> None:
        self.start_up = start_up

    def check_auth_password(self, username: str, password: str) -> int:
        return AUTH_SUCCESSFUL if password == PASSWORD else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: Channel, command: bytes) -> bool:
        threading.Thread(target=self.run, args=(channel, command)).start()
        return True

    def run(self, channel: Channel, command: bytes) -> None:
        # An answer to a question of ours comes after the one to the client's, which a channel that closes cuts off.
        channel.get_transport().global_request("ping@here", wait=True)
        environment = {**os.environ, "BASH_ENV": str(self.start_up)}
        done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, check=False)
        channel.sendall(done.stdout)
        channel.sendall_stderr(done.stderr)
        channel.send_exit_status(done.returncode)
        channel.close()


@pytest.fixture
def start_up(tmp_path: Path) -> Path:
    """The start-up file of the login shell."""
    path = tmp_path / "bashrc"
    path.write_text(START_UP)
    return path


@pytest.fixture
def client(start_up: Path) -> Iterator[paramiko.SSHClient]:
    """A client as pyinfra makes it, of such a server."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            session = paramiko.Transport(server.accept()[0])
            session.add_server_key(HOST_KEY)
            session.start_server(server=Login(start_up))

        threading.Thread(target=serve, daemon=True).start()
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())  # noqa: S507 - its key is made up
        address, port = server.getsockname()
        client.connect(address, port, "deploy", PASSWORD, transport_factory=cast(Any, transport))
        yield client
        client.close()


def ran(client: paramiko.SSHClient, command: str) -> tuple[list[str], list[str], int]:
    """Output, errors and status of a command, read as pyinfra reads them."""
    _, stdout, stderr = client.exec_command(command)
    return list(stdout), list(stderr), stdout.channel.recv_exit_status()


def test_only_the_command_s_own_output_is_read(client: paramiko.SSHClient, start_up: Path) -> None:
    start_up.write_text(START_UP + "set +vx\n")
    assert ran(client, "echo one; echo two; echo wrong >&2; exit 3") == (["one\n", "two\n"], ["wrong\n"], 3)
    assert ran(client, "true") == ([], [], 0)


def test_a_shell_that_traces_is_no_obstacle(client: paramiko.SSHClient) -> None:
    output, errors, _ = ran(client, "echo one")
    assert output == ["one\n"]
    assert errors == ["+ echo one\n"]


def test_language_and_umask_are_known(client: paramiko.SSHClient) -> None:
    assert ran(client, "echo $LC_ALL; umask")[0] == ["C.UTF-8\n", "0022\n"]


def test_where_no_command_ran_the_reason_is_read(client: paramiko.SSHClient, start_up: Path) -> None:
    start_up.write_text("echo This account is closed; exit 1")
    assert ran(client, "echo one") == (["This account is closed\n"], [], 1)


def test_the_mark_is_recognised_in_a_command_of_sh() -> None:
    done = subprocess.run(["sh", "-c", prefixed("echo one")], capture_output=True, text=True, check=True)
    assert list(after_start_up(iter(["before\n", *done.stdout.splitlines(keepends=True)]))) == ["one\n"]


def test_the_socket_does_not_wait_for_more() -> None:
    """As pyinfra hands it to paramiko's client, whose connect then fails: the server says nothing of SSH."""
    seen: list[int] = []

    def factory(sock: socket.socket, **options: object) -> paramiko.Transport:
        made = transport(sock, **options)
        seen.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        return made

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].close()).start()
        client = paramiko.SSHClient()
        with suppress(paramiko.SSHException, EOFError):
            client.connect(
                "127.0.0.1", server.getsockname()[1], transport_factory=cast(Any, factory), banner_timeout=5
            )
        client.close()
    assert seen and seen[0] != 0


def test_nor_does_that_of_a_jump_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        to = socket.create_connection(server.getsockname())
        through = paramiko.Transport(to)
        channel = Channel(1)
        channel._set_transport(through)  # type: ignore[attr-defined]  # what paramiko does to open one
        transport(channel).close()
        assert to.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        through.close()


def test_what_is_no_tcp_socket_is_left_alone() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transport(ours, disabled_algorithms=None).close()
