"""The command line of the backups; the scripts beside this package call it, and cron calls these.

    backups databases [--only PIECE]   save Postgres, Redis, buckets, volumes and folders
    backups clickhouse [--only PIECE]  save ClickHouse
    backups test [--only PIECE]        restore the newest backups into scratch containers, and compare
    backups now [PIECE...]             save these, or everything, before a step that could lose data
    backups list                       list all backups
    backups restore DATABASE FROM      replace a database by a backup of it

Exit status: 0 success, 1 failure, 2 wrong use or configuration, 76 failure of which the owner was notified, so that the
caller does not have to.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from containers import ScriptError
from incidents import ConfigurationError, Incidents, log, private

from backups import scratch, settings, sources
from backups.copy import copy_elsewhere
from backups.postgres import Database, Server, restore
from backups.run import FAULTS, Outcome, save, save_all, test_all, verified
from backups.settings import MIB, Settings
from backups.store import Store

CONFIG = "/etc/sourcefast/backup.json"
LOCK_S = 3600
NOTIFIED = 76  # files/monitoring/heartbeat.sh has the same number


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run one command."""
    options = _parse(arguments)
    os.umask(0o077)
    # A run that is asked to end still cleans up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        config = settings.read(options.config)
        if options.command == "list":
            return _list(config)
        with _alone(config):
            match options.command:
                case "now":
                    return _now(config, options.piece)
                case "restore":
                    return _restore(config, options.database, options.backup, options.container, options.yes)
                case command:
                    return _job(config, command, options.only, options.name)
    except ConfigurationError as error:
        log(f"wrong configuration: {error}")
        return 2
    except ScriptError as error:
        log(str(error))
        return 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="backups", description=(__doc__ or "").split(";")[0])
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, default=Path(CONFIG), help=f"settings (default: {CONFIG})")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text, job in (
        ("databases", "save Postgres, Redis, buckets, volumes and folders", "backup-databases"),
        ("clickhouse", "save ClickHouse", "backup-clickhouse"),
        ("test", "restore the newest backups into scratch containers, and compare", "backup-restore-test"),
    ):
        command = commands.add_parser(name, help=text, parents=[common])
        command.add_argument(
            "--only", action="append", default=[], metavar="PIECE", help="kind[/where[/what]]"
        )
        command.set_defaults(name=job)
    command = commands.add_parser("now", help="save before a step that could lose data", parents=[common])
    command.add_argument("piece", nargs="*", metavar="PIECE", help="kind[/where[/what]], or everything")
    commands.add_parser("list", help="list all backups", parents=[common])
    command = commands.add_parser("restore", help="replace a database by a backup of it", parents=[common])
    command.add_argument("database", metavar="DATABASE")
    command.add_argument("backup", metavar="FROM", help="its time as `list` shows it, or newest")
    command.add_argument("--container", default="shared-postgres", help="where it is (default: %(default)s)")
    command.add_argument("--yes", action="store_true", help="replace it; the present database is saved first")
    return parser.parse_args(arguments)


@contextmanager
def _alone(config: Settings) -> Iterator[None]:
    """One backup at a time on this host; a second one waits.

    :raises ScriptError: it has waited for too long
    """
    config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with private(config.state / "backup.lock") as lock:
        deadline = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ScriptError(f"another backup has been running for {LOCK_S} s") from None
                time.sleep(1)
        yield


def _job(config: Settings, command: str, only: Sequence[str], name: str) -> int:
    store, outcome = Store(config.root), Outcome()
    incidents = Incidents.read(config.state / name, config.telegram)
    before = set(incidents.open)
    partial = True
    try:
        _work(config, store, command, only, outcome)
        partial = bool(only)
    except Exception as error:  # whatever it is, the owner is notified
        outcome.failed("backup", command, error)
    finally:
        incidents.update(outcome.incidents, outcome.unknown(incidents.open, partial))
        notified = incidents.close()
    if not notified:
        log("not all messages could be sent; the next script that runs tries again")
    for key in outcome.incidents.keys() & before:
        log(f"still: {outcome.incidents[key]}")
    if outcome.incidents:
        return NOTIFIED if notified else 1
    return 0


def _work(config: Settings, store: Store, command: str, only: Sequence[str], outcome: Outcome) -> None:
    if command == "test":
        scratch.clean_up()
        pieces = [*sources.databases(config, outcome), *sources.clickhouse(config, outcome)]
        test_all(store, sources.selected(pieces, only), outcome)
        return
    find = sources.databases if command == "databases" else sources.clickhouse
    save_all(config, store, sources.selected(find(config, outcome), only), outcome)
    if config.restic and not only:
        outcome.checked("copy", "elsewhere")
        try:
            copy_elsewhere(config.restic, config.root)
        except FAULTS as error:
            outcome.fault("copy", "elsewhere", str(error))


def _now(config: Settings, names: Sequence[str]) -> int:
    """Save pieces at once. It notifies nobody, because the caller reads the output.

    Databases that a server lacks, and backups that are doubtful, do not make it fail.
    """
    store, discovery, outcome = Store(config.root), Outcome(), Outcome()
    pieces = [*sources.databases(config, discovery), *sources.clickhouse(config, discovery)]
    problems = [
        text
        for key, text in discovery.incidents.items()
        if key.startswith("container ") and (not names or key.split()[1] in _containers(names))
    ]
    try:
        selected = sources.selected(pieces, names)
    except ScriptError as error:
        problems.append(str(error))
        selected = []
    made = [] if problems else save_all(config, store, selected, outcome)
    for text in (*problems, *outcome.incidents.values()):
        log(text)
    if problems or len(made) < len(selected):
        log("not saved: what is named above")
        return 1
    return 0


def _containers(names: Sequence[str]) -> set[str]:
    return {part for name in names for part in name.split("/")[1:2]}


def _list(config: Settings) -> int:
    store = Store(config.root)
    for piece in store.pieces():
        for backup in store.backups(piece):
            try:
                size, doubt = f"{backup.size / MIB:9.2f}", backup.manifest["doubt"]
            except ScriptError as error:
                size, doubt = f"{'?':>9}", str(error)
            doubtful = f"  doubtful: {doubt}" if doubt else ""
            sys.stdout.write(f"{backup.stamp}  {size} MiB  {piece}{doubtful}\n")
    return 0


def _restore(config: Settings, name: str, stamp: str, container: str, confirmed: bool) -> int:
    store = Store(config.root)
    cluster = next((each for each in config.postgres if each.container == container), None)
    if cluster is None:
        declared = ", ".join(each.container for each in config.postgres)
        log(f"no Postgres is called {container}; declared: {declared}")
        return 2
    piece = Database(cluster, name)
    try:
        backup = verified(store, piece.name, "" if stamp == "newest" else stamp)
        tables = len(backup.contents["rows"])
        rows = sum(backup.contents["rows"].values())
        log(f"{piece.name} of {backup.stamp}: {tables} tables with {rows} rows, whole")
        if doubt := backup.manifest["doubt"]:
            log(f"doubtful when it was made: {doubt}")
        if not confirmed:
            log(f"refused: it would replace {name} in {container}. Add --yes to do that")
            return 2
        store.prepare()
        if name in Server(container, cluster.login).databases():
            before = save(config, store, piece)
            log(f"the present database is saved as {before.stamp}")
        restore(piece, backup.path, backup.contents)
    except FAULTS as error:
        log(f"not restored: {error}")
        return 1
    log(f"{name} is as it was at {backup.stamp}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
