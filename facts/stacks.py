"""Compose projects of a host: their files, their containers, and the images these are made from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from facts import script
from facts.files import TreeState, read_tree
from specs.stacks import Limits

# Label of a container: hash of everything that it was made from. Compose's own hash knows neither the contents of
# environment files nor those of mounted ones.
DIGEST = "stack.digest"
# Label of an image that was built on the host: hash of the folder that it was built from.
BUILD = "stack.build"


@dataclass(frozen=True)
class Container:
    """One container, of any project or none.

    :param project: Compose project, empty for none
    :param service: its service there
    :param folder: folder that the project was started from
    :param digest: its label `stack.digest`, empty for none
    :param managed: whether Coolify manages it
    :param aliases: further names on its networks
    :param networks: that it is on
    :param image_id: the image that it was made from
    :param status: created, running, restarting, exited, paused or dead
    :param health: starting, healthy or unhealthy; None without a health check
    :param failing: how many of its last health checks in a row failed
    :param checked: when the last of them began, in seconds since the epoch; None before the first
    :param started: when it was started, likewise
    :param published: ports of the host that it publishes, "443/tcp"
    :param limits: those that it runs with; None if they were not read
    """

    name: str
    project: str = ""
    service: str = ""
    folder: str = ""
    digest: str = ""
    managed: bool = False
    aliases: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    image_id: str = ""
    status: str = "running"
    health: str | None = None
    failing: int = 0
    checked: float | None = None
    started: float | None = None
    published: frozenset[str] = frozenset()
    limits: Limits | None = None


@dataclass(frozen=True)
class Image:
    """One image. `build` is its label `stack.build`, empty for one that was not built here."""

    id: str
    build: str = ""


@dataclass(frozen=True)
class StacksState:
    """Answer of `Stacks`.

    :param tree: everything below the folder of the stacks, and that folder itself
    :param changed: when each of these was last changed (ctime), in seconds since the epoch
    :param containers: all containers of the host, by name
    :param images: all that the host has, by every name as Docker shows it (`normalized_reference`)
    :param networks: whether each network is internal, one without a way out
    """

    tree: TreeState = field(default_factory=TreeState)
    changed: Mapping[str, float] = field(default_factory=dict)
    containers: Mapping[str, Container] = field(default_factory=dict)
    images: Mapping[str, Image] = field(default_factory=dict)
    networks: Mapping[str, bool] = field(default_factory=dict)

    def of_project(self, project: str) -> list[Container]:
        """The containers of one project."""
        return [container for container in self.containers.values() if container.project == project]


class Stacks(FactBase[StacksState]):
    """All stacks of a host in one question: hashes of files, never their contents or a container's environment.

    :param root: folder that the stacks are in
    """

    def command(self, root: str) -> StringCommand:
        """The script and its argument."""
        return script.command("stacks.sh", root)

    @staticmethod
    def default() -> StacksState:
        """Neither files nor containers."""
        return StacksState()

    def process(self, output: list[str]) -> StacksState:
        """Read the answer of `command`."""
        return read_stacks(output)


def normalized_reference(reference: str) -> str:
    """A reference as Docker shows it: without what it assumes, and without a tag that a digest makes meaningless."""
    name, at, digest = reference.removeprefix("docker.io/").removeprefix("library/").partition("@")
    return (re.sub(r":[^:/]*$", "", name) if at else name) + at + digest


def read_stacks(output: Iterable[str]) -> StacksState:
    """Read what files/facts/stacks.sh prints."""
    sections = dict(script.sections(output))
    changed = [line.partition("\t") for line in sections.get("changed", ()) if line]
    containers = [
        _container(script.from_json(line, "docker")) for line in sections.get("containers", ()) if line
    ]
    images: dict[str, Image] = {}
    for line in sections.get("images", ()):
        if line:
            image = script.from_json(line, "docker")
            for name in (*(image["tags"] or ()), *(image["digests"] or ())):
                images[name] = Image(image["id"], image["build"] or "")
    return StacksState(
        tree=read_tree(sections.get("files", ())),
        changed={path: float(seconds) for seconds, _, path in changed},
        containers={container.name: container for container in containers},
        images=images,
        networks={
            name: internal == "true"
            for name, _, internal in (line.partition(" ") for line in sections.get("networks", ()) if line)
        },
    )


def _container(answer: Mapping[str, Any]) -> Container:
    return Container(
        name=answer["name"].removeprefix("/"),
        project=answer["project"] or "",
        service=answer["service"] or "",
        folder=answer["folder"] or "",
        digest=answer["digest"] or "",
        managed=answer["managed"] == "true",
        aliases=frozenset(alias for names in answer["aliases"] for alias in names or ()),
        networks=frozenset(name for name in answer["networks"] if name),
        image_id=answer["image_id"],
        status=answer["status"],
        health=answer["health"],
        failing=answer["failing"] or 0,
        checked=max(
            (time for text in answer["checked"] if text and (time := _timestamp(text))), default=None
        ),
        started=_timestamp(answer["started"]),
        published=frozenset(_published(answer["ports"] or {})),
        limits=_limits(*answer["limits"]),
    )


def _limits(memory: int, memory_swap: int, nano_cpus: int, pids: int, restart: str) -> Limits:
    return Limits(memory, memory_swap, round(nano_cpus / 10**9, 3), pids, restart)


def _published(ports: Mapping[str, Any]) -> Iterable[str]:
    for inside, bindings in ports.items():
        for binding in bindings or ():
            yield f"{binding['HostPort']}/{inside.partition('/')[2]}"


def _timestamp(text: str) -> float | None:
    """Seconds since the epoch of Docker's `2025-10-06T12:34:56.123456789Z`; None for never, its year 1."""
    return None if text.startswith("0001-") else datetime.fromisoformat(text).timestamp()
