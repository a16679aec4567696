"""What a command of a check prints, past the start-up files of the login shell."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import Any, cast

import pytest

from checks.server import Server
from tests.unit.declared import declared

START_UP = (
    "echo Bienvenue; echo 'Une mise à jour est disponible.' >&2; umask 077; export LC_ALL=fr_FR.UTF-8; "
)


def server(start_up: str) -> Server:
    """A host whose login shell does that before every command."""

    def run(command: str) -> Any:
        done = subprocess.run(["sh", "-c", start_up + command], capture_output=True, text=True, check=False)
        return SimpleNamespace(rc=done.returncode, stdout=done.stdout, stderr=done.stderr)

    return Server(cast(Any, SimpleNamespace(run=run)), declared())


def test_only_the_command_s_own_output_is_read() -> None:
    assert server(START_UP).run("echo one; echo $LC_ALL; umask") == "one\nC.UTF-8\n0022\n"


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"no such thing\n +exit status 3") as failed:
        server(START_UP).run("echo no such thing >&2; exit 3")
    assert "mise" not in str(failed.value)


def test_a_login_that_runs_no_command_is_no_failure_of_the_command() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"the host\n +found: +sudo: a password is required"):
        server("echo sudo: a password is required >&2; exit 1; ").run("echo one")
