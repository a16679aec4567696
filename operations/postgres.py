"""Databases, roles and settings of a Postgres server in a container.

Every statement travels on the standard input of psql, on the local socket: no password or verifier is ever in an
argument list, and the log of the server does not keep the statements either.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationValueError
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from facts.cache import cached_fact
from facts.postgres import Cluster, ClusterState, Vectors
from operations import script
from operations.checks import check, poll, polling
from operations.notices import notice
from operations.postgres_difference import (
    difference,
    hba_differs,
    settings_difference,
    sql,
    vector_shortfalls,
)
from operations.postgres_sql import identifier, literal
from specs.postgres import HnswColumn, LoginRole, OwnedDatabase
from specs.problems import Problem

SETTING = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?")
_SCHEMA_COMMENT = "schema sha256:"
_CREATED = re.compile(
    r"create\s+(?:unique\s+)?(?:table|index|view|materialized\s+view)\s+(?:concurrently\s+)?if\s+not\s+exists\s+"
    r"(?:\w+\.)?(?:\"([^\"]+)\"|(\w+))",
    re.IGNORECASE,
)


def _answering(container: str) -> ClusterState:
    """The state of the cluster. A server that does not answer is asked again: otherwise everything would differ."""

    def silent(cluster: ClusterState) -> list[str]:
        return [container] if state.is_executing and cluster.version is None else []

    cluster: ClusterState = poll(lambda: cached_fact(Cluster, container=container), silent)
    return cluster


@operation()
def databases(
    container: str, desired: Sequence[OwnedDatabase], roles: Sequence[LoginRole] = ()
) -> Generator[StringCommand, None, None]:
    """Apply declared databases, their owners and other roles, grants and extensions.

    One question and, where something differs, one psql that does all of it. What is not declared is left alone,
    but for grants on declared databases and the server's own; nothing is ever dropped. PUBLIC may connect to none.
    What was set with ALTER ROLE or ALTER DATABASE for the superuser, for `roles` or for the server's own databases is
    taken back; what an owner set for himself is his.

    + container: in which the server runs
    + desired: databases
    + roles: roles that own none of them
    """
    cluster = _answering(container)
    if changes := difference(desired, roles, cluster):
        yield script.run("database/psql.sh", container, payload=sql(changes), stream=True)
    else:
        host.noop(f"{len(desired)} databases of {container} as declared")


def created(text: str) -> frozenset[str]:
    """Names of the tables, views and indexes that idempotent SQL creates (CREATE … IF NOT EXISTS name)."""
    return frozenset(quoted or plain.lower() for quoted, plain in _CREATED.findall(text))


@operation()
def schema(container: str, database: str, owner: str, sql_file: str) -> Generator[StringCommand, None, None]:
    """Run idempotent SQL in a database, as its owner and in one transaction, where it has not been run yet.

    It is run again when the file changes, or when a table, view or index that it creates is missing. The database's
    comment keeps the hash of what was run.

    + container: in which the server runs
    + database: in which database
    + owner: role that the objects will belong to
    + sql_file: its path on this machine; SQL of CREATE … IF NOT EXISTS and the like, without psql's own commands
    """
    text = Path(sql_file).read_text()
    if re.search(r"^\s*\\", text, re.MULTILINE):
        raise OperationValueError(f"{sql_file}: commands of psql are not for here, only SQL")
    cluster = _answering(container)
    existing = cluster.databases.get(database)
    comment = _SCHEMA_COMMENT + hashlib.sha256(text.encode()).hexdigest()
    missing = created(text) - (existing.relations if existing else frozenset())
    if existing and existing.comment == comment and not missing:
        host.noop(f"schema of {database} as in {sql_file}")
        return
    steps = [
        f"\\connect {identifier(database)}",
        "BEGIN;",
        f"SET LOCAL ROLE {identifier(owner)};",
        text,
        f";\nRESET ROLE;\nCOMMENT ON DATABASE {identifier(database)} IS {literal(comment)};",
        "COMMIT;",
    ]
    yield script.run("database/psql.sh", container, payload="\n".join(steps) + "\n", stream=True)


@operation()
def settings(
    container: str, desired: Mapping[str, str], hba: str | None = None
) -> Generator[StringCommand, None, None]:
    """Run the server with the settings of its file: reload it, and restart it only where a setting needs that.

    What somebody has put over the file with ALTER SYSTEM is taken back, whatever it sets.

    + container: in which the server runs; the caller has written its file before
    + desired: settings and their values, as Postgres shows them
    + hba: expected content of pg_hba.conf, written by the caller as well; None for any
    """
    for name in desired:
        if not SETTING.fullmatch(name):
            raise OperationValueError(f"{name!r} is no name of a setting")
    cluster = _answering(container)
    wrong, overridden = settings_difference(desired, cluster)
    if not wrong and not overridden and not hba_differs(hba, cluster):
        host.noop(f"settings of {container} as declared")
        return
    statements = "".join(f"ALTER SYSTEM RESET {_dotted(name)};\n" for name in overridden)
    yield script.run("database/postgres-reload.sh", container, payload=statements, stream=True)


def _dotted(name: str) -> str:
    return ".".join(identifier(part) for part in name.split("."))


@check
@polling()
def postgres(
    container: str,
    desired: Sequence[OwnedDatabase] = (),
    settings: Mapping[str, str] | None = None,
    hba: str | None = None,
) -> Iterator[Problem]:
    """The server runs, and its databases, roles and settings are as declared.

    + container: in which it runs
    + desired: databases that it must have by now
    + settings: settings with which it must run
    + hba: expected content of pg_hba.conf; None for any
    """
    cluster: ClusterState = cached_fact(Cluster, container=container)
    if cluster.version is None:
        yield Problem(
            container,
            cluster.refusal or "no Postgres that answers",
            "one",
            f"docker logs --tail 20 {container}",
        )
        return
    for change in difference(desired, (), cluster):
        yield Problem(
            container,
            f"not done: {change.description}",
            "done",
            "run again; somebody undoes it if that stays",
        )
    wrong, altered = settings_difference(settings or {}, cluster)
    for name in wrong:
        value = cluster.settings[name].value if name in cluster.settings else "the built-in value"
        yield Problem(f"{container}: {name}", value, (settings or {})[name], "see pg_file_settings")
    for name in altered:
        yield Problem(
            f"{container}: {name}", "set by ALTER SYSTEM", "by its file", "run again; who sets it anew?"
        )
    if hba_differs(hba, cluster):
        yield Problem(
            f"{container}: pg_hba.conf", "another file", "ours", "SHOW hba_file; docker inspect its mounts"
        )


@notice
def report_vectors(container: str, database: str, desired: Sequence[HnswColumn]) -> Iterable[str]:
    """Report columns of vectors that are missing or not indexed as desired. The migrations of an application create
    them, so nothing is created here, and nothing fails.

    + container: in which the server runs
    + database: its name
    + desired: columns
    """
    vectors = host.get_fact(Vectors, container=container, database=database)
    return (f"{database}: {sentence}" for sentence in vector_shortfalls(desired, vectors))
