"""One run over some pieces: save each, read it back, report failures, remove old backups."""

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

# Expected failures. Any other exception is a fault of this program, and its traceback is printed.
FAULTS = (ScriptError, OSError, ValueError, EOFError)
MARGIN = 1.2
STALE_S = 8 * 86400


@dataclass
class Outcome:
    """What a run found.

    `incidents`: their texts by key; a key is kind and name. `checked_keys`: keys about which the run knows.
    `unreachable`: prefixes of names about which it does not know.
    """

    incidents: dict[str, str] = field(default_factory=dict)
    checked_keys: set[str] = field(default_factory=set)
    unreachable: set[str] = field(default_factory=set)

    def checked(self, kind: str, name: str) -> None:
        """Something is checked; unless a fault follows, it is in order."""
        self.checked_keys.add(f"{kind} {name}")

    def fault(self, kind: str, name: str, text: str) -> None:
        self.incidents[f"{kind} {name}"] = f"{kind} {name}: {text}"

    def failed(self, kind: str, name: str, error: Exception) -> None:
        """A fault because of an exception. An unexpected one has its traceback printed."""
        if not isinstance(error, FAULTS):
            traceback.print_exception(error)
        self.fault(kind, name, str(error) or type(error).__name__)

    def unknown(self, keys: Iterable[str], partial: bool) -> list[str]:
        """Keys of incidents that are neither confirmed nor over. `partial`: the run left out some pieces."""
        return [
            key
            for key in keys
            if (partial and key not in self.checked_keys)
            or key.rpartition(" ")[2].startswith(tuple(self.unreachable))
        ]


def save_all(settings: Settings, store: Store, pieces: Sequence[Piece], outcome: Outcome) -> list[Backup]:
    """Save pieces one after the other; the failure of one does not stop the others."""
    store.prepare()
    made = []
    for piece in pieces:
        outcome.checked("backup", piece.name)
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
    """Write one piece, read it back, and give it its name.

    :raises ScriptError: it is incomplete, and was removed
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
    needed = int((before.size if before else piece.estimate()) * MARGIN) + settings.reserve_mib * MIB
    if (free := free_bytes(store.root)) < needed:
        raise ScriptError(
            f"{free / MIB:.0f} MiB are free in {store.root}, {needed / MIB:.0f} MiB are needed: not even begun"
        )


def test_all(store: Store, pieces: Sequence[Piece], outcome: Outcome) -> None:
    """Restore the newest backup of each piece into a scratch container, and compare.

    The databases of a cluster are tested together, in one scratch cluster that has its roles.
    """
    for piece in pieces:
        if not isinstance(piece, Database | Globals):
            _test(store, piece, outcome, piece.test)
    clusters = {
        piece.cluster.container: piece.cluster for piece in pieces if isinstance(piece, Database | Globals)
    }
    for container, cluster in clusters.items():
        databases = [piece for piece in pieces if isinstance(piece, Database) and piece.cluster == cluster]
        # Databases belong to roles, so these come first, selected or not.
        restored: list[Database | Globals] = [Globals(cluster), *databases]
        outcome.checked("restore test", container)
        try:
            with cluster_like(container) as server:
                for piece in restored:
                    _test(store, piece, outcome, partial(piece.test_in, server))
        except FAULTS as error:
            outcome.failed("restore test", container, error)


def _test(store: Store, piece: Piece, outcome: Outcome, test: Callable[[Path, Contents], list[str]]) -> None:
    outcome.checked("restore test", piece.name)
    started = time.monotonic()
    try:
        backup = verified(store, piece.name)
        if backup.age_s > STALE_S:
            raise ScriptError(f"the newest backup is of {backup.stamp}")
        deviations = test(backup.path, backup.contents)
    except Exception as error:  # whatever it is, the others are tested
        outcome.failed("restore test", piece.name, error)
        return
    if deviations:
        outcome.fault("restore test", piece.name, "; ".join(deviations)[:600])
    else:
        log(f"{piece.name} of {backup.stamp}: restored as it was in {time.monotonic() - started:.1f} s")


def verified(store: Store, piece: str, stamp: str = "") -> Backup:
    """A backup of a piece, by its time or the newest, whose files are as they were written.

    :raises ScriptError: there is none, or it is damaged
    """
    backups = store.backups(piece)
    matching = [backup for backup in backups if stamp in ("", backup.stamp)]
    if not matching:
        existing = ", ".join(backup.stamp for backup in backups) or "none"
        raise ScriptError(f"no backup of {piece}{f' of {stamp}' if stamp else ''}; there are: {existing}")
    matching[-1].verify()
    return matching[-1]
