"""Earlier containers: their owner, their image, and where their data is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from facts import script


@dataclass(frozen=True)
class FormerContainer:
    """One container.

    :param status: created, running, restarting, exited, paused or dead
    :param project: Compose project, empty for none
    :param service: its service there
    :param managed: whether Coolify manages it
    :param ours: whether it was made of what was declared
    :param image: reference it was made from
    :param os: ID of its /etc/os-release, empty where it has none
    :param restart: Docker's restart policy
    :param volumes: by the path in it, the name of the volume or the folder of the host that is mounted there
    """

    name: str
    status: str = "running"
    project: str = ""
    service: str = ""
    managed: bool = False
    ours: bool = False
    image: str = ""
    os: str = ""
    restart: str = "unless-stopped"
    volumes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AdoptionState:
    """Answer of `Adoption`.

    :param containers: those that were asked for and are there, by name
    :param volumes: names of the volumes that are recorded as whole copies
    :param copied: names of the containers whose databases are recorded as copied
    :param occupied: names of the volumes that were asked for and hold something that we did not copy
    """

    containers: Mapping[str, FormerContainer] = field(default_factory=dict)
    volumes: frozenset[str] = frozenset()
    copied: frozenset[str] = frozenset()
    occupied: frozenset[str] = frozenset()


class Adoption(FactBase[AdoptionState]):
    """Containers by name, and which of their volumes are copied already.

    :param state: folder of the host in which it is recorded
    :param names: of containers
    :param volumes: names of those that their data is to be copied into
    """

    def command(self, state: str, names: Iterable[str], volumes: Iterable[str] = ()) -> StringCommand:
        """The script and its arguments."""
        return script.command("adoption.sh", state, " ".join(names), " ".join(volumes))

    @staticmethod
    def default() -> AdoptionState:
        """Nothing that was there before."""
        return AdoptionState()

    def process(self, output: list[str]) -> AdoptionState:
        """Read the answer of `command`."""
        return read_adoption(output)


def read_adoption(output: Iterable[str]) -> AdoptionState:
    """Read what files/facts/adoption.sh prints."""
    sections = {title: [line for line in lines if line] for title, lines in script.sections(output)}
    systems = dict(line.split(" ", 1) for line in sections.get("systems", ()) if " " in line)
    containers = [_container(line, systems) for line in sections.get("containers", ())]
    return AdoptionState(
        {container.name: container for container in containers},
        frozenset(sections.get("volumes", ())),
        frozenset(sections.get("copied", ())),
        frozenset(sections.get("occupied", ())),
    )


def _container(line: str, systems: Mapping[str, str]) -> FormerContainer:
    answer = script.from_json(line, "docker")
    name = answer["name"].removeprefix("/")
    return FormerContainer(
        name=name,
        status=answer["status"],
        project=answer["project"] or "",
        service=answer["service"] or "",
        managed=answer["managed"] == "true",
        ours=bool(answer["digest"]),
        image=answer["image"],
        os=systems.get(name, ""),
        restart=answer["restart"],
        volumes={mount["Destination"]: mount.get("Name") or mount["Source"] for mount in answer["mounts"]},
    )
