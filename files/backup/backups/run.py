"""One run over some pieces: save each, read it back, say what went wrong, forget what is too old."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from containers import ScriptError
from incidents import log

from backups.piece import Contents, Piece
from backups.postgres import Database, Globals, cluster_like
from backups.settings import MIB, Settings
from backups.store import Backup, Store, free_bytes

# What can be expected to go wrong; everything else is a fault of this program, and shows itself.
FAULTS = (ScriptError, OSError, ValueError, EOFError)
MARGIN = 1.2
STALE_S = 8 * 86400


@dataclass
class Outcome:
    """What a run found.

    `wrong`: texts by the key of their incident, kind and name. `looked_at`: keys that it says something of.
    `out_of_sight`: what names begin with of which it cannot.
    """

    wrong: dict[str, str] = field(default_factory=dict)
    looked_at: set[str] = field(default_factory=set)
    out_of_sight: set[str] = field(default_factory=set)

    def look(self, kind: str, name: str) -> None:
        """Something is looked at; unless a fault follows, it is as it should be."""
        self.looked_at.add(f"{kind} {name}")

    def fault(self, kind: str, name: str, text: str) -> None:
        self.wrong[f"{kind} {name}"] = f"{kind} {name}: {text}"

    def failed(self, kind: str, name: str, error: Exception) -> None:
        """What was tried with something and went wrong. One that nobody thought of shows where it came from."""
        if not isinstance(error, FAULTS):
            traceback.print_exception(error)
        self.fault(kind, name, str(error) or type(error).__name__)

    def unseen(self, keys: Iterable[str], partial: bool) -> list[str]:
        """Keys of incidents that are neither confirmed nor over. `partial`: the run was not of everything."""
        return [
            key
            for key in keys
            if (partial and key not in self.looked_at)
            or key.rpartition(" ")[2].startswith(tuple(self.out_of_sight))
        ]


def save_all(settings: Settings, store: Store, pieces: Sequence[Piece], outcome: Outcome) -> list[Backup]:
    """Save pieces one after the other; one that fails does not keep the others from it."""
    store.prepare()
    made = []
    for piece in pieces:
        outcome.look("backup", piece.name)
        try:
            _leave_room(settings, store, piece)
            backup = save(settings, store, piece)
        except Exception as error:  # whatever it is, the others are saved
            outcome.failed("backup", piece.name, error)
            continue
        made.append(backup)
        if doubt := backup.manifest["doubt"]:
            outcome.fault("backup", piece.name, doubt)
        store.prune(piece.name, settings.retention_days)
    return made


def save(settings: Settings, store: Store, piece: Piece) -> Backup:
    """One piece: written, read back, named.

    :raises ScriptError: it is not whole, and nothing of it is left
    """
    started = time.monotonic()
    before = store.newest(piece.name)
    with store.unfinished(piece.name) as folder:
        contents = piece.save(folder)
        piece.check(folder, contents)
        size = sum(path.stat().st_size for path in folder.iterdir())
        backup = store.finish(folder, piece.name, contents, _doubt(settings, piece, contents, size, before))
    log(f"{piece.name}: {size / MIB:.1f} MiB in {time.monotonic() - started:.1f} s")
    return backup


def _doubt(settings: Settings, piece: Piece, contents: Contents, size: int, before: Backup | None) -> str:
    if lacks := contents.get("lacks"):
        return f"it lacks {', '.join(lacks)}"
    if size < piece.min_bytes:
        return f"{size / 1024:.1f} KiB, less than the {piece.min_bytes / 1024:.0f} KiB that it must have"
    if before is not None and not piece.may_shrink and size * 100 < before.size * settings.shrink_percent:
        return f"{size / 1024:.1f} KiB, after {before.size / 1024:.1f} KiB on {before.stamp}"
    return ""


def _leave_room(settings: Settings, store: Store, piece: Piece) -> None:
    """:raises ScriptError: it would not fit"""
    before = store.newest(piece.name)
    wanted = int((before.size if before else piece.estimate()) * MARGIN) + settings.reserve_mib * MIB
    if (free := free_bytes(store.root)) < wanted:
        raise ScriptError(
            f"{free / MIB:.0f} MiB are free in {store.root}, {wanted / MIB:.0f} MiB are wanted: not even begun"
        )


def try_all(store: Store, pieces: Sequence[Piece], outcome: Outcome) -> None:
    """Restore the newest backup of each piece where it hurts nobody, and compare.

    The databases of a cluster are tried together, in one scratch cluster that has its roles.
    """
    others = [piece for piece in pieces if not isinstance(piece, Database | Globals)]
    for piece in others:
        _try(store, piece, outcome, piece.try_out)
    clusters = {
        piece.cluster.container: piece.cluster for piece in pieces if isinstance(piece, Database | Globals)
    }
    for container, cluster in clusters.items():
        databases = [piece for piece in pieces if isinstance(piece, Database) and piece.cluster == cluster]
        # Databases belong to roles, so these come first, asked for or not.
        ours: list[Database | Globals] = [Globals(cluster), *databases]
        outcome.look("restore test", container)
        try:
            with cluster_like(container) as server:
                for piece in ours:
                    _try(store, piece, outcome, partial(piece.try_out_in, server))
        except FAULTS as error:
            outcome.failed("restore test", container, error)


def _try(
    store: Store, piece: Piece, outcome: Outcome, attempt: Callable[[Path, Contents], list[str]]
) -> None:
    outcome.look("restore test", piece.name)
    started = time.monotonic()
    try:
        backup = whole(store, piece.name)
        if backup.age_s > STALE_S:
            raise ScriptError(f"the newest backup is of {backup.stamp}")
        found = attempt(backup.path, backup.contents)
    except Exception as error:  # likewise
        outcome.failed("restore test", piece.name, error)
        return
    if found:
        outcome.fault("restore test", piece.name, "; ".join(found)[:600])
    else:
        log(f"{piece.name} of {backup.stamp}: restored as it was in {time.monotonic() - started:.1f} s")


def whole(store: Store, piece: str, stamp: str = "") -> Backup:
    """A backup of a piece, by its time or the newest, that is on the disk as it was written.

    :raises ScriptError: there is none, or it is damaged
    """
    backups = store.backups(piece)
    chosen = [backup for backup in backups if stamp in ("", backup.stamp)]
    if not chosen:
        there = ", ".join(backup.stamp for backup in backups) or "none"
        raise ScriptError(f"no backup of {piece}{f' of {stamp}' if stamp else ''}; there are: {there}")
    chosen[-1].verify()
    return chosen[-1]
