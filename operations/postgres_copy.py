"""Copies of databases from an old Postgres into another one. Nothing is lost, and no existing data is overwritten."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationError, OperationValueError
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from facts.postgres_copy import CopyState, DatabaseSummary, PostgresCopy
from operations import script
from operations.checks import report
from specs.problems import Problem

# Of a database's size on the disk of the server: what a dump of it takes at most, in practice, while it is restored.
DUMP_SHARE = 0.7
MIB = 1024 * 1024
REFUSED = "databases of {} cannot be copied, and nothing was changed"


@dataclass(frozen=True)
class Copy:
    """One database to copy; it keeps its name.

    :param owner: role of the new server to which it, and everything in it but its extensions, will belong
    :param after: SQL that is run in the copy once it has been compared, before anybody uses it
    :param required: the source must have it
    """

    database: str
    owner: str
    after: str = ""
    required: bool = True

    def __post_init__(self) -> None:
        if (
            not self.database
            or not self.database.isprintable()
            or "/" in self.database
            or len(self.database) > 50
        ):
            raise OperationValueError(
                f"{self.database!r} is no database that can be copied: its name is not 1 to 50 characters"
            )


def difference(copies: Sequence[Copy], actual: CopyState) -> list[Copy]:
    """The databases that are not recorded as copied, in their order; without those that may be missing and are."""

    def may_exist(copy: Copy) -> bool:
        return not actual.complete and (actual.source is None or copy.database in actual.source)

    return [
        copy
        for copy in copies
        if _unfinished(copy, actual)
        or (copy.database not in actual.recorded and (copy.required or may_exist(copy)))
    ]


def _unfinished(copy: Copy, actual: CopyState) -> bool:
    """Whether a run died right after it recorded the copy: it still has its mark."""
    existing = (actual.target or {}).get(copy.database)
    return existing is not None and existing.copied_from is not None


def others(copies: Sequence[Copy], leave: Sequence[str], actual: CopyState) -> list[DatabaseSummary]:
    """Databases of the source with content that the declarations neither copy nor leave behind."""
    known = {copy.database for copy in copies} | set(leave)
    return [
        database
        for database in (actual.source or {}).values()
        if database.name not in known and database.objects
    ]


def refusals(
    source: str, target: str, copies: Sequence[Copy], leave: Sequence[str], actual: CopyState
) -> Iterator[Problem]:
    """A problem for each thing that prevents the copy; none of a server that does not run yet.

    Arguments as of `copied`.
    """
    todo = difference(copies, actual)
    if actual.status is None:
        return
    yield from _written_again(source, target, copies, actual)
    if not todo and actual.complete:
        return
    yield from _of_todo(source, target, todo, actual)
    for other in others(copies, leave, actual):
        yield Problem(
            f"{source}: database {other.name}",
            f"{other.objects} tables, indexes and the like, and nothing says what becomes of them",
            "a declaration of it, or its name among those that stay behind",
            f"declare it, or leave it: --data databases_left={other.name}",
        )


def _written_again(source: str, target: str, copies: Sequence[Copy], actual: CopyState) -> Iterator[Problem]:
    """A problem for each copied database of the source that takes writes again: its new data is in no copy."""
    for copy in copies:
        old = (actual.source or {}).get(copy.database)
        if old is not None and copy.database in actual.recorded and not old.frozen:
            yield Problem(
                f"{source}: database {copy.database}",
                "copied before, and it takes writes again",
                "none since it was copied: they would be lost",
                f"docker stop {source}, if none of them is needed; to copy it again, rename the copy in {target} away "
                "(ALTER DATABASE … RENAME TO …) and remove its record, and .complete beside it",
            )


def _of_todo(source: str, target: str, todo: Sequence[Copy], actual: CopyState) -> Iterator[Problem]:
    needed = 0.0
    for copy in todo:
        database = f"database {copy.database}"
        old = (actual.source or {}).get(copy.database)
        if actual.source is not None and old is None:
            names = ", ".join(sorted(actual.source)) or "none"
            yield Problem(
                f"{source}: {database}",
                f"not there; there are: {names}",
                "one that is there",
                "declare what is there",
            )
        elif old is not None:
            needed += old.bytes * DUMP_SHARE
            yield from _of_source(source, target, old, actual)
        yield from _of_target(f"{source}/{copy.database}", target, copy, actual)
    if needed > actual.free:
        yield Problem(
            "disk for the dumps",
            f"{actual.free / MIB:.0f} MiB free",
            f"{needed / MIB:.0f} MiB, about what the dumps of {len(todo)} databases take",
            "docker image prune -a, or move old backups away",
        )


def _of_source(source: str, target: str, old: DatabaseSummary, actual: CopyState) -> Iterator[Problem]:
    if old.encoding != "UTF8":
        yield Problem(
            f"{source}: database {old.name}", f"encoding {old.encoding}", "UTF8", "convert it by hand first"
        )
    if actual.target is not None and (missing := sorted(set(old.extensions) - actual.available)):
        yield Problem(
            f"{source}: database {old.name}",
            f"extensions {', '.join(missing)}",
            f"extensions that {target} has packages of",
            "add the package to the image, or drop the extension where nothing uses it",
        )


def _of_target(copied: str, target: str, copy: Copy, actual: CopyState) -> Iterator[Problem]:
    if actual.target is None:
        return
    existing = actual.target.get(copy.database)
    if existing and existing.objects and existing.copied_from != copied:
        yield Problem(
            f"{target}: database {copy.database}",
            f"{existing.objects} tables, indexes and the like that are not a copy of {copied}",
            "none, or an empty database: nothing is ever overwritten",
            "save it, rename it away (ALTER DATABASE … RENAME TO …), and run again",
        )
    if state.is_executing and copy.owner not in actual.roles:
        yield Problem(
            f"{target}: role {copy.owner}", "not there", f"the owner of {copy.database}", "make it before"
        )


@operation()
def copied(
    source: str, target: str, databases: Sequence[Copy], state_folder: str, leave: Sequence[str] = ()
) -> Generator[StringCommand, None, None]:
    """Copy databases, each whole or not at all, and record the copies. Without a `source`, nothing is done.

    After its dump, a database of the source refuses writes. A copy takes its name only once every table,
    sequence, index and extension was compared with the source's, rows included. The next run completes a killed
    one. The source keeps its databases, and goes on running.

    Raises `OperationError`, before anything is changed, where a database of the target has content of its own, where
    the source has one that is neither copied nor left knowingly, and where one that was copied takes writes again.

    + source: container with the old server; its image has Postgres' programs, and says who its superuser is
    + target: container with the new one
    + databases: what is copied
    + state_folder: private folder of the host for dumps and records
    + leave: names of databases of the source that stay behind
    """
    actual: CopyState = host.get_fact(PostgresCopy, state=state_folder, source=source, target=target)
    if wrong := list(refusals(source, target, databases, leave, actual)):
        raise OperationError(report(REFUSED.format(source), wrong))
    todo = difference(databases, actual)
    if actual.status is None or (not todo and actual.complete):
        host.noop(f"databases of {source} are copied" if actual.status else f"there is no container {source}")
        return
    for copy in todo:
        yield script.run(
            *("migration/postgres-copy.sh", state_folder, source, copy.database, target, copy.owner),
            "yes" if copy.required else "no",
            payload=copy.after,
            stream=True,
        )
    yield script.run("migration/complete.sh", state_folder, source, stream=True)
