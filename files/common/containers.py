"""Docker as the scripts of the host use it: containers by name, commands in them, and their addresses.

Secrets go into the environment of a command or onto its standard input, never into an argument.
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
RUNNING = ("running", "paused", "restarting")  # as `docker ps` has it


class ScriptError(Exception):
    """Something that failed, in words for a person."""


def docker(
    *arguments: str,
    data: bytes = b"",
    secrets: Mapping[str, str] = NO_SECRETS,
    timeout_s: float | None = 60,
) -> str:
    """Standard output of a command of docker.

    :raises ScriptError: it failed; with the end of its error output
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
    """Arguments of docker that run a command in a container, with the variables that `secrets` names."""
    named = [flag for name in secrets for flag in ("--env", name)]
    return ["exec", "--interactive", *(["--user", user] if user else []), *named, container, *command]


class Process:
    """A command of docker that runs beside this script; use it as a context manager.

    The end of the context waits for the command, and raises `ScriptError` if it failed. An exception in the context
    kills it.
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
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the command runs
        self.process = subprocess.Popen(
            ["docker", *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=self._stderr,
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
        self._stderr.seek(0)
        output = self._stderr.read()
        self._stderr.close()
        # A program that died is the reason why the other end of its pipe broke.
        if status and (kind is None or issubclass(kind, BrokenPipeError)):
            raise ScriptError(_reason(self._name, status, output))


def _reason(name: str, status: int, output: bytes) -> str:
    text = " ".join(output.decode(errors="replace").split())
    return f"{name} ended with {status}: {text[-400:] or 'no output'}"


def inspect(*names: str) -> list[dict[str, Any]]:
    """What `docker inspect` says about containers.

    :raises ScriptError: one of them does not exist
    """
    if not names:
        return []
    containers: list[dict[str, Any]] = json.loads(docker("inspect", "--type", "container", *names))
    return containers


def running() -> list[dict[str, Any]]:
    """What `docker inspect` says about every running container."""
    return inspect(*docker("ps", "--quiet", "--no-trunc").split())


def require_running(name: str) -> dict[str, Any]:
    """What `docker inspect` says about a container that has to run.

    A renamed container does not count, even though it runs: its renaming had a reason, and everything that reaches it
    by its name is broken.

    :raises ScriptError: it does not run; the text names a renamed container that may be it
    """
    with suppress(ScriptError):
        (container,) = inspect(name)
        if container["Name"] == f"/{name}" and container["State"]["Status"] in RUNNING:
            return container
    for container in running():
        if (container["Config"].get("Labels") or {}).get("com.docker.compose.service") == name:
            renamed = container["Name"].removeprefix("/")
            raise ScriptError(f"no container {name} is running; {renamed} looks like it: was it renamed?")
    raise ScriptError(f"no container {name} is running")


# Its former name: a run for some phases replaces this module, and leaves older scripts of the others that import it.
the_running = require_running


def address_of(container: Mapping[str, Any]) -> str:
    """An address at which the host reaches a container.

    :raises ScriptError: the container is in no network
    """
    for network in container["NetworkSettings"]["Networks"].values():
        if network["IPAddress"]:
            return str(network["IPAddress"])
    raise ScriptError(f"{container['Name'].removeprefix('/')} has no address")
