"""Scratch containers to test a backup in: from the image that runs, without its data, without a network that leads out.

None has more capabilities than the container that it is like.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from containers import ScriptError, docker, inspect, require_running

PREFIX = "restore-test"
LABEL = "com.sourcefast.scratch=restore-test"
MEMORY = 512 * 1024 * 1024
# Threads count, and an idle ClickHouse has eight hundred: 512 wait in one of its pools.
PROCESSES = 4096
START_S = 60


def clean_up() -> None:
    """Remove the containers and networks of killed tests."""
    if containers := docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}").split():
        docker("rm", "--force", "--volumes", *containers)
    for network in docker("network", "ls", "--quiet", "--filter", f"label={LABEL}").split():
        docker("network", "rm", network)


@contextmanager
def idle(like: str) -> Iterator[str]:
    """A container from the same image in which nothing runs yet, without any network. Yields its name."""
    container = require_running(like)
    flags = ("--network", "none", "--entrypoint", "sleep", "--cap-drop", "ALL")
    with _container(container, *flags, command=["infinity"]) as name:
        yield name


@contextmanager
def server(like: str) -> Iterator[dict[str, Any]]:
    """The same server, started like the running one, with an empty volume, in a network that leads nowhere."""
    container = require_running(like)
    image = docker("image", "inspect", "--format", "{{json .Config.Env}}", container["Image"])
    defaults = set(json.loads(image) or [])
    changed = [variable for variable in container["Config"]["Env"] or [] if variable not in defaults]
    environment = dict(variable.split("=", 1) for variable in changed)
    network = f"{PREFIX}-{time.monotonic_ns()}"
    docker("network", "create", "--internal", "--label", LABEL, network)
    try:
        with _container(
            container,
            "--network",
            network,
            *_capabilities(container),
            *(flag for variable in environment for flag in ("--env", variable)),
            command=container["Config"]["Cmd"] or [],
            secrets=environment,
        ) as name:
            yield inspect(name)[0]
    finally:
        docker("network", "rm", network)


def _capabilities(like: Mapping[str, Any]) -> Iterator[str]:
    """Flags for the same capabilities as another container has."""
    for flag, key in (("--cap-drop", "CapDrop"), ("--cap-add", "CapAdd")):
        for capability in like["HostConfig"].get(key) or ():
            yield from (flag, capability)


@contextmanager
def _container(
    like: Mapping[str, Any], *flags: str, command: list[str], secrets: Mapping[str, str] | None = None
) -> Iterator[str]:
    name = f"{PREFIX}-{like['Name'].removeprefix('/')}"
    docker("rm", "--force", "--volumes", name)  # of a killed run; no other run is active
    memory = str(like["HostConfig"]["Memory"] or MEMORY)
    limits = ("--memory", memory, "--memory-swap", memory, "--pids-limit", str(PROCESSES))
    user = like["Config"].get("User")
    try:
        docker(
            *("run", "--detach", "--name", name, "--label", LABEL, "--pull", "never"),
            *("--security-opt", "no-new-privileges", *(["--user", user] if user else [])),
            *(*limits, *flags, like["Image"], *command),
            secrets=secrets or {},
            timeout_s=120,
        )
        yield name
    finally:
        docker("rm", "--force", "--volumes", name)


def await_answer(query: Callable[[], object], what: str) -> None:
    """Repeat a query until it succeeds.

    :raises ScriptError: with the last failure
    """
    deadline = time.monotonic() + START_S
    while True:
        try:
            query()
            return
        except (ScriptError, OSError) as error:
            if time.monotonic() > deadline:
                raise ScriptError(f"{what} does not answer within {START_S} s: {error}") from None
            time.sleep(0.3)
