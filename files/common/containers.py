"""Docker as the scripts of the host use it: containers by name, commands in them, and their addresses.

What is secret goes into the environment of a command or onto its standard input, never into an argument.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

Output = int | IO[bytes]
NO_SECRETS: Mapping[str, str] = {}


class ScriptError(Exception):
    """Something that was tried and did not work, in words for a person."""


def docker(
    *arguments: str,
    data: bytes = b"",
    secrets: Mapping[str, str] = NO_SECRETS,
    timeout_s: float | None = 60,
) -> str:
    """What a command of docker says.

    :raises ScriptError: with the end of what it said on its way out
    """
    try:
        done = subprocess.run(
            ["docker", *arguments],
            input=data,
            env={**os.environ, **secrets},
            capture_output=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        raise ScriptError(f"docker {arguments[0]} gave no answer within {timeout_s:g} s") from None
    except OSError as error:
        raise ScriptError(f"docker: {error.strerror}") from None
    if done.returncode:
        raise ScriptError(_reason(f"docker {arguments[0]}", done.returncode, done.stderr))
    return done.stdout.decode(errors="replace")


def inside(
    container: str, *command: str, user: str = "", secrets: Mapping[str, str] = NO_SECRETS
) -> list[str]:
    """Arguments of docker for a command in a container, which gets the variables that `secrets` names."""
    named = [flag for name in secrets for flag in ("--env", name)]
    return ["exec", "--interactive", *(["--user", user] if user else []), *named, container, *command]


class Process:
    """A command of docker that runs beside this script; use it as a context.

    Leaving the context waits for it, and raises `ScriptError` where it did; an exception in the context ends it.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        stdin: Output = subprocess.DEVNULL,
        stdout: Output = subprocess.PIPE,
        secrets: Mapping[str, str] = NO_SECRETS,
    ) -> None:
        self._name = f"docker {arguments[0]}"
        # A pipe that nobody reads meanwhile would fill up.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the command runs
        self.process = subprocess.Popen(
            ["docker", *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=self._said,
            env={**os.environ, **secrets},
        )

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self.process

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(BrokenPipeError):
                if pipe:
                    pipe.close()
        status = self.process.wait()
        self._said.seek(0)
        said = self._said.read()
        self._said.close()
        # A program that died is the reason why the other end of its pipe broke.
        if status and (kind is None or issubclass(kind, BrokenPipeError)):
            raise ScriptError(_reason(self._name, status, said))


def _reason(name: str, status: int, said: bytes) -> str:
    text = " ".join(said.decode(errors="replace").split())
    return f"{name} ended with {status}: {text[-400:] or 'it said nothing'}"


def inspect(*names: str) -> list[dict[str, Any]]:
    """Docker's account of containers.

    :raises ScriptError: where one of them is not there
    """
    if not names:
        return []
    said: list[dict[str, Any]] = json.loads(docker("inspect", "--type", "container", *names))
    return said


def running() -> list[dict[str, Any]]:
    """Docker's account of every running container."""
    return inspect(*docker("ps", "--quiet", "--no-trunc").split())


def the_running(name: str) -> dict[str, Any]:
    """Docker's account of a container that has to run.

    A container that was renamed is not it, even though it runs: whoever renamed it meant something by that, and
    everything that knows it by its name is broken.

    :raises ScriptError: where it does not; says which one looks like it
    """
    for container in running():
        if container["Name"] == f"/{name}":
            return container
    for container in running():
        if (container["Config"].get("Labels") or {}).get("com.docker.compose.service") == name:
            renamed = container["Name"].removeprefix("/")
            raise ScriptError(f"no container {name} is running; {renamed} looks like it: was it renamed?")
    raise ScriptError(f"no container {name} is running")


def address_of(container: Mapping[str, Any]) -> str:
    """An address at which the host reaches a container.

    :raises ScriptError: it is in no network
    """
    for network in container["NetworkSettings"]["Networks"].values():
        if network["IPAddress"]:
            return str(network["IPAddress"])
    raise ScriptError(f"{container['Name'].removeprefix('/')} has no address")
