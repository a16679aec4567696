"""Orphaned containers, and environment variables that look like a mistake."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from facts import script


@dataclass(frozen=True)
class Orphan:
    """One container.

    :param project: Compose project, empty for none
    :param folder: folder that the project was started from
    :param managed: whether Coolify manages it
    :param stray: names of its variables that look like a mistake: `NAME:?message`, or a value with `${NAME}` in it
    """

    name: str
    status: str = "running"
    project: str = ""
    folder: str = ""
    managed: bool = False
    stray: tuple[str, ...] = ()


class Orphans(FactBase[list[Orphan]]):
    """Every container of the host, ours or not; of its environment only the names of strays."""

    def command(self) -> StringCommand:
        """The script."""
        return script.command("orphans.sh")

    @staticmethod
    def default() -> list[Orphan]:
        """No container."""
        return []

    def process(self, output: list[str]) -> list[Orphan]:
        """Read the answer of `command`."""
        return read_orphans(output)


def read_orphans(output: Iterable[str]) -> list[Orphan]:
    """Read what files/facts/orphans.sh prints."""
    found = []
    for line in filter(None, output):
        answer = script.from_json(line, "docker")
        found.append(
            Orphan(
                name=answer["name"].removeprefix("/"),
                status=answer["status"],
                project=answer["project"] or "",
                folder=answer["folder"] or "",
                managed=answer["managed"] == "true",
                stray=tuple(answer["stray"]),
            )
        )
    return sorted(found, key=lambda container: container.name)
