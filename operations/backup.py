"""Backups that are made now, before a step that could lose data."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from pyinfra import logger
from pyinfra.api.command import FunctionCommand, StringCommand
from pyinfra.api.exceptions import OperationValueError
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host

from facts.backups import Backups, BackupState
from facts.cache import cached_fact
from operations import script


@dataclass(frozen=True)
class Saving:
    """How a host backs up the data of its containers.

    :param command: path of the program that saves its arguments, which are pieces, and reads them back
    :param root: folder of the backups
    :param pieces: what each container holds, by its name: kind/where/what ("postgres/shared-postgres/litellm") or
        kind/where for all of it
    """

    command: str
    root: str
    pieces: Mapping[str, Sequence[str]]


def of(pieces: Sequence[str], backups: Mapping[str, BackupState]) -> dict[str, list[BackupState]]:
    """The newest backups of each piece, or of everything below it; none where there are none."""
    return {
        piece: [state for name, state in backups.items() if f"{name}/".startswith(f"{piece}/")]
        for piece in pieces
    }


@operation()
def fresh(
    pieces: Sequence[str], command: str, root: str
) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Back up pieces now, and go on only if each has a backup of this moment.

    Call it, or yield from `save`, before every step that could lose data. The program saves, reads back to the last
    byte and gives a backup its name only then; afterwards the host is asked for it once more.

    + pieces, command, root: as of `Saving`
    """
    if not pieces:
        raise OperationValueError("no pieces: say what is to be saved")
    before: dict[str, BackupState] = cached_fact(Backups, root=root)
    yield from save(pieces, command, root, before)


@operation()
def first(
    pieces: Sequence[str], command: str, root: str
) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Back up the pieces that have no backup yet, so that new data does not wait for the night.

    + pieces, command, root: as of `Saving`
    """
    before: dict[str, BackupState] = cached_fact(Backups, root=root)
    if missing := [piece for piece, states in of(pieces, before).items() if not states]:
        yield from save(missing, command, root, before)
    else:
        host.noop("each has one")


def save(
    pieces: Sequence[str], command: str, root: str, before: Mapping[str, BackupState]
) -> Generator[StringCommand | FunctionCommand, None, None]:
    """The commands of `fresh`, for another operation to yield from.

    :param before: the backups that there are
    """
    yield script.run("backup/save-first.sh", command, *pieces, stream=True)
    stamps = {name: found.stamp for name, found in before.items()}
    yield FunctionCommand(_read_back, (pieces, root, stamps), {})


def _read_back(state: State, host: Host, pieces: Sequence[str], root: str, before: Mapping[str, str]) -> bool:
    """Whether each piece now has another newest backup. (pyinfra looks for the first two names.)

    A backup that is smaller than expected is a copy of the present state, too: it is reported and stops nothing.
    """
    backups: dict[str, BackupState] = host.get_fact(Backups, root=root)
    problems = []
    for piece, states in of(pieces, backups).items():
        made = {
            name: found
            for name, found in backups.items()
            if found in states and before.get(name) != found.stamp
        }
        if not made:
            problems.append(f"no new backup of {piece} is in {root}: nothing was changed")
        for name, found in made.items():
            if found.doubt:
                host.log_styled(f"{name}: {found.doubt}", fg="yellow", log_func=logger.warning)
    for problem in problems:
        host.log_styled(problem, fg="red", log_func=logger.error)
    return not problems
