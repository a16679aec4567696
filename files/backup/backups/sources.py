"""From settings to pieces: what is there now, and what should be."""

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
    """Everything but ClickHouse. Databases are those that the servers have; what they lack is a fault."""
    pieces: list[Piece] = []
    for cluster in settings.postgres:
        pieces += _of_cluster(cluster, outcome)
    for container in postgres.unknown(settings.stacks, settings.postgres):
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
    outcome.look("container", cluster.container)
    try:
        require_running(cluster.container)
        found = Server(cluster.container, cluster.login).databases()
    except ScriptError as error:
        outcome.fault("container", cluster.container, str(error))
        outcome.out_of_sight.add(f"postgres/{cluster.container}/")
        return []
    for name in names.values():
        outcome.look("database", name)
    for database in sorted(names.keys() - set(found)):
        outcome.fault("database", names[database], "is not there, and the host was given it")
    return [Globals(cluster), *(Database(cluster, database) for database in found)]


def chosen(pieces: Sequence[Piece], only: Sequence[str]) -> list[Piece]:
    """Those of some names, or below them; all of them for none.

    :raises ScriptError: for a name of nothing
    """
    for name in only:
        if not any(_below(piece.name, name) for piece in pieces):
            there = ", ".join(piece.name for piece in pieces) or "nothing"
            raise ScriptError(f"nothing is called {name}; there is {there}")
    return [piece for piece in pieces if not only or any(_below(piece.name, name) for name in only)]


def _below(piece: str, name: str) -> bool:
    return f"{piece}/".startswith(f"{name.rstrip('/')}/")
