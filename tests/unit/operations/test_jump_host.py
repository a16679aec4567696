"""How pyinfra reports that a jump host fails."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest
from paramiko import AuthenticationException, BadHostKeyException, SSHException
from pyinfra.connectors.sshuserclient.client import SSHClient

from operations.jump_host import name_failures

KEYS = [paramiko.ECDSAKey.generate() for _ in range(2)]


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Failures are named, in this test alone."""
    monkeypatch.setattr(SSHClient, "parse_config", SSHClient.parse_config)
    name_failures()
    name_failures()  # of several inventories, the second changes nothing
    yield


def through_a_jump_host(config: Path, port: int) -> str:
    """Connect, and give the reason why that failed."""
    config.write_text(
        f"Host jump\n    HostName 127.0.0.1\n    Port {port}\nHost server\n    ProxyJump jump\n"
    )
    with pytest.raises(SSHException) as failed:
        SSHClient().connect(  # type: ignore[no-untyped-call]  # pyinfra's own
            "server", _pyinfra_ssh_config_file=str(config)
        )
    return str(failed.value)


@pytest.mark.usefixtures("named")
def test_one_that_is_not_reached(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        reason = through_a_jump_host(tmp_path / "config", port)
    assert reason == f"jump host jump of server: [Errno None] Unable to connect to port {port} on 127.0.0.1"


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (lambda: AuthenticationException("Authentication failed."), "Authentication failed."),
        (
            lambda: BadHostKeyException("127.0.0.1", *KEYS),
            "has another host key than the known one",
        ),
        (EOFError, "its host key is not known, and nobody is here to accept it"),
    ],
)
def test_one_that_refuses_or_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception], reason: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error()

    monkeypatch.setattr(paramiko.SSHClient, "connect", refuse)
    assert through_a_jump_host(tmp_path / "config", 22) == f"jump host jump of server: {reason}"


@pytest.mark.usefixtures("named")
def test_a_host_without_one_is_read_as_before(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("Host server\n    HostName 127.0.0.1\n")
    read = SSHClient().parse_config("server", {}, str(tmp_path / "config"))  # type: ignore[no-untyped-call]  # likewise
    assert read[0] == "127.0.0.1"


@pytest.mark.usefixtures("named")
def test_a_configuration_without_a_jump_host_that_fails_is_not_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise SSHException("of its own")

    config = tmp_path / "config"
    config.write_text("Host server\n    Port 22\n")
    monkeypatch.setattr(SSHClient, "parse_config", fail)
    name_failures()
    with pytest.raises(SSHException, match=r"^of its own$"):
        SSHClient().connect(  # type: ignore[no-untyped-call]  # pyinfra's own
            "server", _pyinfra_ssh_config_file=str(config)
        )
