"""From settings to pieces: what exists now, and what should."""

from __future__ import annotations

from collections.abc import Sequence

from containers import ScriptError, require_running

from backups import postgres
from backups.bucket import Objects
from backups.clickhouse import Tables
from backups.files import folder, volume
from backups.piece import Piece
from backups.postgres import Database, Globals, Server
from backups.redis import Keys
from backups.run import Outcome
from backups.settings import Postgres, Settings


def databases(settings: Settings, outcome: Outcome) -> list[Piece]:
    """Everything but ClickHouse. All databases that the servers have; a declared one that is missing is a fault."""
    pieces: list[Piece] = []
    for cluster in settings.postgres:
        pieces += _of_cluster(cluster, outcome)
    for container in postgres.undeclared(settings.stacks, settings.postgres):
        outcome.fault("container", container, "runs Postgres and is in no backup: declare it")
    pieces += [Keys(server) for server in settings.redis]
    pieces += [Objects(server) for server in settings.buckets]
    pieces += [volume(each) for each in settings.volumes]
    pieces += [folder(each) for each in settings.folders]
    return pieces


def clickhouse(settings: Settings, outcome: Outcome) -> list[Piece]:
    """ClickHouse's databases."""
    return [Tables(server) for server in settings.clickhouse]


def _of_cluster(cluster: Postgres, outcome: Outcome) -> list[Piece]:
    names = {database: f"postgres/{cluster.container}/{database}" for database in cluster.databases}
    outcome.checked("container", cluster.container)
    try:
        require_running(cluster.container)
        existing = Server(cluster.container, cluster.login).databases()
    except ScriptError as error:
        outcome.fault("container", cluster.container, str(error))
        outcome.unreachable.add(f"postgres/{cluster.container}/")
        return []
    for name in names.values():
        outcome.checked("database", name)
    for database in sorted(names.keys() - set(existing)):
        outcome.fault("database", names[database], "is declared for this host, and does not exist")
    return [Globals(cluster), *(Database(cluster, database) for database in existing)]


def selected(pieces: Sequence[Piece], only: Sequence[str]) -> list[Piece]:
    """The pieces with some names, or below them; all pieces without a name.

    :raises ScriptError: a name matches no piece
    """
    for name in only:
        if not any(_below(piece.name, name) for piece in pieces):
            existing = ", ".join(piece.name for piece in pieces) or "nothing"
            raise ScriptError(f"nothing is called {name}; there is {existing}")
    return [piece for piece in pieces if not only or any(_below(piece.name, name) for name in only)]


def _below(piece: str, name: str) -> bool:
    return f"{piece}/".startswith(f"{name.rstrip('/')}/")
