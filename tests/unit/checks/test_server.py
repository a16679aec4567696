"""What a command of a check prints, past the start-up files of the login shell."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from testinfra.backend.local import LocalBackend
from testinfra.host import Host

from checks.server import Server
from tests.unit.declared import declared

START_UP = (
    "echo Bienvenue; echo 'Une mise à jour est disponible.' >&2; umask 077; export LC_ALL=fr_FR.UTF-8; "
)


def server(start_up: str) -> Server:
    """A host whose login shell does that before every command."""

    def run(command: str) -> Any:
        done = subprocess.run(["sh", "-c", start_up + command], capture_output=True, check=False)
        return backend.result(done.returncode, command.encode(), done.stdout, done.stderr)

    backend: Any = LocalBackend()
    backend.run = run
    return Server(Host(backend), declared())


def test_only_the_command_s_own_output_is_read() -> None:
    assert server(START_UP).run("echo one; echo $LC_ALL; umask") == "one\nC.UTF-8\n0022\n"


def test_a_command_in_another_script_than_latin_needs_no_answer() -> None:
    """testinfra encodes what it sends."""
    assert server(START_UP).host.backend.encode("«»") == "«»".encode()


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"no such thing\n +exit status 3") as failed:
        server(START_UP).run("echo no such thing >&2; exit 3")
    assert "mise" not in str(failed.value)


def test_a_login_that_runs_no_command_is_no_failure_of_the_command() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"the host\n +found: +sudo: a password is required"):
        server("echo sudo: a password is required >&2; exit 1; ").run("echo one")
