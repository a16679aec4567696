"""The Docker engine of a host, its images and its containers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from facts import script
from facts.systemd import timestamp

CONFIG = "/etc/docker/daemon.json"
PARTS = ("versions", "daemon", "networks", "logins")


@dataclass(frozen=True)
class Server:
    """What the running daemon says of itself (`docker info`), which need not be what is on the disk."""

    version: str
    driver: str  # of the storage
    root: str  # directory of its data
    live_restore: bool
    running: int  # containers
    containers: int


@dataclass(frozen=True)
class Network:
    """One network of the engine."""

    name: str
    driver: str
    internal: bool = False


@dataclass(frozen=True)
class EngineState:
    """Answer of `Engine`. What was not asked for is as if it were absent.

    :param server: None where no daemon answers
    :param config: text of the daemon's configuration file, None where there is none; it holds no secrets
    :param config_changed: when that was, in seconds since the epoch
    :param started: when the running daemon was started, likewise
    :param networks: by name
    :param logins: sha256 of what Docker keeps as `auth`, by registry as it names it
    """

    installed: bool = False
    compose: str | None = None
    server: Server | None = None
    config: str | None = None
    config_changed: float | None = None
    started: float | None = None
    networks: Mapping[str, Network] = field(default_factory=dict)
    logins: Mapping[str, str] = field(default_factory=dict)


class Engine(FactBase[EngineState]):
    """The engine in one question.

    + parts: what to ask, of `versions`, `daemon`, `networks` and `logins`
    """

    def command(self, parts: Iterable[str] = PARTS) -> StringCommand:
        """The script and its arguments."""
        return script.ask("docker.sh", CONFIG, *parts)

    @staticmethod
    def default() -> EngineState:
        """No Docker."""
        return EngineState()

    def process(self, output: list[str]) -> EngineState:
        """Read the answer of `command`."""
        return read_engine(output)


def read_engine(output: Iterable[str]) -> EngineState:
    """Read what files/facts/docker.sh prints."""
    said = dict(script.sections(output))

    def first(title: str) -> str | None:
        return next((line for line in said.get(title, ()) if line), None)

    config = said.get("config", [])
    networks = [Network(**script.from_json(line, "docker")) for line in said.get("networks", ()) if line]
    return EngineState(
        installed="installed" in said,
        compose=first("compose"),
        server=_server(first("server")),
        config="\n".join(config[1:]) if config else None,
        config_changed=float(config[0]) if config else None,
        started=timestamp(first("started") or ""),
        networks={network.name: network for network in networks},
        logins=dict(line.rsplit(" ", 1) for line in said.get("logins", ()) if line),
    )


def _server(line: str | None) -> Server | None:
    try:
        said = json.loads(line or "")
    except json.JSONDecodeError:
        return None
    if not said["version"]:  # how `docker info` fills in a daemon that it did not reach
        return None
    return Server(**said)


class Statuses(FactBase[dict[str, str]]):
    """Status of containers by name: created, running, restarting, exited, paused or dead; those that do not exist are
    missing in the answer.

    + names: which
    """

    def command(self, names: Iterable[str]) -> StringCommand:
        """The script and its arguments."""
        return script.ask("containers.sh", *names)

    @staticmethod
    def default() -> dict[str, str]:
        """No container."""
        return {}

    def process(self, output: list[str]) -> dict[str, str]:
        """Read the answer of `command`."""
        return dict(line.removeprefix("/").split(" ", 1) for line in output if line)


class Images(FactBase[dict[str, str]]):
    """Ids of images by reference; those that are not on the host are missing in the answer.

    + references: which
    """

    def command(self, references: Iterable[str]) -> StringCommand:
        """The script and its arguments."""
        return script.ask("images.sh", *references)

    @staticmethod
    def default() -> dict[str, str]:
        """No image."""
        return {}

    def process(self, output: list[str]) -> dict[str, str]:
        """Read the answer of `command`."""
        return dict(line.split(" ", 1) for line in output if line)
