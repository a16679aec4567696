"""The copying of databases out of an old Postgres: what is in both servers, and what is recorded as done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from facts import script


@dataclass(frozen=True)
class DatabaseSummary:
    """A database of either server.

    :param bytes: that it takes on the disk
    :param objects: tables, views, indexes, sequences and large objects that did not come with an extension
    :param extensions: names of those that are installed
    :param copied_from: "container/database" of which it is a copy that nobody has recorded yet
    :param frozen: it takes no writes
    """

    name: str
    encoding: str = "UTF8"
    bytes: int = 0
    objects: int = 0
    extensions: tuple[str, ...] = ()
    copied_from: str | None = None
    frozen: bool = False


@dataclass(frozen=True)
class CopyState:
    """Answer of `PostgresCopy`.

    :param recorded: databases of the source that are copied, compared and in their place
    :param complete: whether every requested one is recorded
    :param free: bytes that may still be written where the dumps go
    :param status: of the source's container; None where there is none
    :param source: databases of the source; None where it does not run
    :param target: databases of the target; None where it does not run
    :param roles: of the target
    :param available: extensions that the target has packages of
    """

    recorded: frozenset[str] = frozenset()
    complete: bool = False
    free: int = 0
    status: str | None = None
    source: Mapping[str, DatabaseSummary] | None = None
    target: Mapping[str, DatabaseSummary] | None = None
    roles: frozenset[str] = field(default_factory=frozenset)
    available: frozenset[str] = field(default_factory=frozenset)


class PostgresCopy(FactBase[CopyState]):
    """How far the databases of one server are copied into another, in one question.

    :param state: folder of the host in which it is recorded
    :param source: container with the old server
    :param target: container with the new one
    """

    def command(self, state: str, source: str, target: str) -> StringCommand:
        """The script and its arguments."""
        return script.command("postgres-copy.sh", state, source, target)

    @staticmethod
    def default() -> CopyState:
        """Neither of them."""
        return CopyState()

    def process(self, output: list[str]) -> CopyState:
        """Read the answer of `command`."""
        return read_copy(output)


def read_copy(output: Iterable[str]) -> CopyState:
    """Read what files/facts/postgres-copy.sh prints."""
    sections = {title: [line for line in lines if line] for title, lines in script.sections(output)}
    free = sections.get("free") or ["0"]
    return CopyState(
        recorded=frozenset(sections.get("recorded", ())),
        complete="complete" in sections,
        free=int(free[0]),
        status=next(iter(sections.get("source", ())), None),
        source=_databases(sections.get("source databases")),
        target=_databases(sections.get("target databases")),
        roles=frozenset(sections.get("target roles", ())),
        available=frozenset(sections.get("target extensions", ())),
    )


def _databases(lines: list[str] | None) -> dict[str, DatabaseSummary] | None:
    if lines is None:
        return None
    found = {}
    for line in lines:
        answer = script.from_json(line, "Postgres")
        found[answer["name"]] = DatabaseSummary(**{**answer, "extensions": tuple(answer["extensions"])})
    return found
