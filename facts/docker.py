"""The Docker engine of a host, its images and its containers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from facts import script
from facts.firewall import Tables, read_tables
from facts.systemd import timestamp

CONFIG = "/etc/docker/daemon.json"
PARTS = ("versions", "daemon", "networks", "rules", "logins")
# Options of a network of the driver `bridge`.
BRIDGE = "com.docker.network.bridge"


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
    """One network of the engine.

    :param bridge: name of its interface on the host, where it has one
    :param subnets: its addresses of IPv4, for which the engine stands in (masquerades) on the way out; none where it
        does not
    """

    name: str
    driver: str
    internal: bool = False
    bridge: str | None = None
    subnets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Published:
    """A port of the host that leads to a container, over IPv4."""

    container: str
    protocol: str
    port: int


@dataclass(frozen=True)
class EngineState:
    """Answer of `Engine`. What was not asked for is as if it were absent.

    :param server: None where no daemon answers
    :param config: text of the daemon's configuration file, None where there is none; it holds no secrets
    :param config_changed: when that was, in seconds since the epoch
    :param started: when the running daemon was started, likewise
    :param networks: by name
    :param rules: all of IPv4, None where they could not be asked
    :param published: what running containers publish
    :param logins: sha256 of what Docker keeps as `auth`, by registry as it names it
    """

    installed: bool = False
    compose: str | None = None
    server: Server | None = None
    config: str | None = None
    config_changed: float | None = None
    started: float | None = None
    networks: Mapping[str, Network] = field(default_factory=dict)
    rules: Tables | None = None
    published: tuple[Published, ...] = ()
    logins: Mapping[str, str] = field(default_factory=dict)


class Engine(FactBase[EngineState]):
    """The engine in one question.

    :param parts: what to ask, of `versions`, `daemon`, `networks`, `rules` and `logins`
    """

    def command(self, parts: Iterable[str] = PARTS) -> StringCommand:
        """The script and its arguments."""
        return script.command("docker.sh", CONFIG, *parts)

    @staticmethod
    def default() -> EngineState:
        """No Docker."""
        return EngineState()

    def process(self, output: list[str]) -> EngineState:
        """Read the answer of `command`."""
        return read_engine(output)


def read_engine(output: Iterable[str]) -> EngineState:
    """Read what files/facts/docker.sh prints."""
    sections = dict(script.sections(output))

    def first(title: str) -> str | None:
        return next((line for line in sections.get(title, ()) if line), None)

    config = sections.get("config", [])
    networks = [_network(script.from_json(line, "docker")) for line in sections.get("networks", ()) if line]
    rules = [line for line in sections.get("rules", ()) if line]
    return EngineState(
        installed="installed" in sections,
        compose=first("compose"),
        server=_server(first("server")),
        config="\n".join(config[1:]) if config else None,
        config_changed=float(config[0]) if config else None,
        started=timestamp(first("started") or ""),
        networks={network.name: network for network in networks},
        rules=read_tables(rules) if rules else None,
        published=tuple(port for line in sections.get("published", ()) for port in _published(line)),
        logins=dict(line.rsplit(" ", 1) for line in sections.get("logins", ()) if line),
    )


def _network(answer: Mapping[str, Any]) -> Network:
    options = answer.get("options") or {}
    bridge = (
        options.get(f"{BRIDGE}.name", f"br-{answer['id'][:12]}") if answer["driver"] == "bridge" else None
    )
    subnets = [each.get("Subnet", "") for each in answer.get("addresses") or ()]
    routed = not options.get(f"{BRIDGE}.gateway_mode_ipv4", "nat").startswith("nat")
    masquerades = (
        bridge
        and not answer["internal"]
        and not routed
        and options.get(f"{BRIDGE}.enable_ip_masquerade") != "false"
    )
    return Network(
        name=answer["name"],
        driver=answer["driver"],
        internal=answer["internal"],
        bridge=bridge,
        subnets=tuple(subnet for subnet in subnets if "." in subnet) if masquerades else (),
    )


def _published(line: str) -> Iterator[Published]:
    """Read a name and what `docker ps` says of its ports: "web 0.0.0.0:80->80/tcp, 127.0.0.1:9000-9001->90-91/tcp"."""
    container, _, ports = line.partition(" ")
    for match in re.finditer(r"(?:^|, )\d+(?:\.\d+){3}:(\d+)(?:-(\d+))?->[\d-]+/(\w+)", ports):
        first, last, protocol = match.groups()
        for port in range(int(first), int(last or first) + 1):
            yield Published(container, protocol, port)


def _server(line: str | None) -> Server | None:
    try:
        answer = json.loads(line or "")
    except json.JSONDecodeError:
        return None
    if not answer["version"]:  # how `docker info` fills in a daemon that it did not reach
        return None
    return Server(**answer)


class Statuses(FactBase[dict[str, str]]):
    """Status of containers by name: created, running, restarting, exited, paused or dead; those that do not exist are
    missing in the answer.

    :param names: which
    """

    def command(self, names: Iterable[str]) -> StringCommand:
        """The script and its arguments."""
        return script.command("containers.sh", *names)

    @staticmethod
    def default() -> dict[str, str]:
        """No container."""
        return {}

    def process(self, output: list[str]) -> dict[str, str]:
        """Read the answer of `command`."""
        return dict(line.removeprefix("/").split(" ", 1) for line in output if line)


class Images(FactBase[dict[str, str]]):
    """Ids of images by reference; those that are not on the host are missing in the answer.

    :param references: which
    """

    def command(self, references: Iterable[str]) -> StringCommand:
        """The script and its arguments."""
        return script.command("images.sh", *references)

    @staticmethod
    def default() -> dict[str, str]:
        """No image."""
        return {}

    def process(self, output: list[str]) -> dict[str, str]:
        """Read the answer of `command`."""
        return dict(line.split(" ", 1) for line in output if line)
