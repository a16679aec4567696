"""Databases, roles and settings of a Postgres server in a container.

Everything is said on the standard input of psql, on the server's local socket: no password or verifier is ever in an
argument list, and the server's log does not keep the statements either.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationError, OperationValueError
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from facts import postgres as postgres_facts
from facts.cache import cached_fact
from facts.postgres import MAINTENANCE, Cluster, ClusterState
from operations import script
from operations.checks import check, insist, insistent
from operations.notices import notice
from specs.problems import Problem

VERIFIER = re.compile(r"SCRAM-SHA-256\$[1-9][0-9]*:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]{44}:[A-Za-z0-9+/=]{44}")
SETTING = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?")
SUPERUSER = "postgres"
_ALL = frozenset({"CONNECT", "CREATE", "TEMPORARY"})
_ORDINARY = frozenset({"login", "inherit"})
_SCHEMA_COMMENT = "schema sha256:"
_CREATED = re.compile(
    r"create\s+(?:unique\s+)?(?:table|index|view|materialized\s+view)\s+(?:concurrently\s+)?if\s+not\s+exists\s+"
    r"(?:\w+\.)?(?:\"([^\"]+)\"|(\w+))",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Role:
    """A role that logs in, and may do nothing else on its own.

    :param verifier: SCRAM-SHA-256 verifier of its password, set as it is
    :param member_of: roles whose privileges it has
    :param connection_limit: connections that it may have at once, -1 for any number
    """

    name: str
    verifier: str = field(repr=False)
    member_of: tuple[str, ...] = ()
    connection_limit: int = -1

    def __post_init__(self) -> None:
        _check_name(self.name)
        for other in self.member_of:
            _check_name(other)
        if not VERIFIER.fullmatch(self.verifier):
            raise OperationValueError(f"role {self.name}: its verifier is none of SCRAM-SHA-256")

    @property
    def sha256(self) -> str:
        """Hash of the verifier, which is all that the fact tells."""
        return hashlib.sha256(self.verifier.encode()).hexdigest()


@dataclass(frozen=True)
class Database:
    """A database with its owner; nobody may connect but the owner and `connect`.

    :param owner: role that owns it
    :param extensions: names of the extensions that it has
    :param connect: further roles that may connect, and nothing more
    """

    name: str
    owner: Role
    extensions: tuple[str, ...] = ()
    connect: tuple[Role, ...] = ()

    def __post_init__(self) -> None:
        _check_name(self.name)
        # psql takes such a name for a whole connection string.
        if "=" in self.name or "://" in self.name:
            raise OperationValueError(f"{self.name!r} is no name for a database: it has a = or :// in it")
        for extension in self.extensions:
            _check_name(extension)


def _check_name(name: str) -> None:
    if not name or not name.isprintable() or len(name.encode()) > 63:
        raise OperationValueError(f"{name!r} is no name for Postgres: expected 1 to 63 printable characters")


@dataclass(frozen=True)
class Change:
    """One statement, where it is said, and why.

    :param sql: without its final semicolon; may hold a verifier
    """

    why: str
    sql: str = field(repr=False)
    database: str = "postgres"


def identifier(name: str) -> str:
    """A name, quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text, quoted for SQL."""
    if "\0" in text:
        raise OperationValueError("a text for Postgres cannot have a NUL in it")
    quoted = text.replace("'", "''")
    return " E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in text else f"'{quoted}'"


def difference(desired: Sequence[Database], roles: Sequence[Role], cluster: ClusterState) -> list[Change]:
    """What brings the roles and databases to their declared state; empty when they are in it. Nothing is dropped.

    :raises OperationError: for what cannot be changed in place: an encoding, and an extension that the server does
    not have.
    """
    everyone: dict[str, Role] = {}
    for role in [*roles, *(role for database in desired for role in (database.owner, *database.connect))]:
        if everyone.setdefault(role.name, role) != role:
            raise OperationValueError(f"role {role.name} is declared twice, and not the same")
    changes = [change for role in everyone.values() for change in _role_changes(role, cluster)]
    for database in desired:
        changes += _database_changes(database, cluster)
    for name in MAINTENANCE:
        if existing := cluster.databases.get(name):
            changes += _grant_changes(existing, {existing.owner: existing.grants.get(existing.owner, _NONE)})
    changes += _override_changes({role.name for role in roles}, cluster)
    return changes


def _role_changes(role: Role, cluster: ClusterState) -> Iterator[Change]:
    name = identifier(role.name)
    existing = cluster.roles.get(role.name)
    if existing is None:
        limit = f" CONNECTION LIMIT {role.connection_limit}" if role.connection_limit != -1 else ""
        yield Change(
            f"role {role.name}: made", f"CREATE ROLE {name} LOGIN{limit} PASSWORD {literal(role.verifier)}"
        )
    else:
        if existing.password_sha256 != role.sha256:
            yield Change(
                f"role {role.name}: another password", f"ALTER ROLE {name} PASSWORD {literal(role.verifier)}"
            )
        if existing.attributes != _ORDINARY:
            wrong = " ".join(sorted(existing.attributes ^ _ORDINARY))
            ordinary = "LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
            yield Change(f"role {role.name}: {wrong} the other way", f"ALTER ROLE {name} {ordinary}")
        if existing.connection_limit != role.connection_limit:
            limit = "any number of" if role.connection_limit == -1 else f"at most {role.connection_limit}"
            yield Change(
                f"role {role.name}: {limit} connections",
                f"ALTER ROLE {name} CONNECTION LIMIT {role.connection_limit}",
            )
        if existing.valid_until not in (None, "infinity"):
            yield Change(
                f"role {role.name}: its password does not end", f"ALTER ROLE {name} VALID UNTIL 'infinity'"
            )
    member_of = existing.member_of if existing else frozenset()
    for other in sorted(set(role.member_of) - member_of):
        yield Change(f"role {role.name}: member of {other}", f"GRANT {identifier(other)} TO {name}")
    for other in sorted(member_of - set(role.member_of)):
        yield Change(f"role {role.name}: no member of {other}", f"REVOKE {identifier(other)} FROM {name}")
    for other in sorted((existing.admin_of if existing else frozenset()) & set(role.member_of)):
        yield Change(
            f"role {role.name}: hands {other} on to nobody",
            f"REVOKE ADMIN OPTION FOR {identifier(other)} FROM {name}",
        )


def _override_changes(platform: Collection[str], cluster: ClusterState) -> Iterator[Change]:
    """What ALTER ROLE and ALTER DATABASE set for our own sessions goes; an owner's, for his own, is his.

    :param platform: roles that own no database
    """
    for database, role in sorted(
        {(override.database, override.role) for override in cluster.overrides},
        key=lambda where: (where[0] or "", where[1] or ""),
    ):
        if role is not None and role in {SUPERUSER, *platform}:
            inside = f" IN DATABASE {identifier(database)}" if database else ""
            yield Change(
                f"role {role}: no settings of its own", f"ALTER ROLE {identifier(role)}{inside} RESET ALL"
            )
        elif role is None and database is None:
            yield Change("all roles: no settings of their own", "ALTER ROLE ALL RESET ALL")
        elif role is None and database in MAINTENANCE:
            yield Change(
                f"database {database}: no settings of its own",
                f"ALTER DATABASE {identifier(database)} RESET ALL",
            )


def _database_changes(database: Database, cluster: ClusterState) -> Iterator[Change]:
    name, owner = identifier(database.name), identifier(database.owner.name)
    existing = cluster.databases.get(database.name)
    if existing is None:
        yield Change(
            f"database {database.name}: made",
            f"CREATE DATABASE {name} OWNER {owner} TEMPLATE template0 ENCODING 'UTF8'",
        )
        public = {None: frozenset({"CONNECT", "TEMPORARY"}), database.owner.name: _ALL}
        existing = postgres_facts.Database(database.name, database.owner.name, grants=public)
    if existing.encoding != "UTF8":
        raise OperationError(
            f"database {database.name}: found encoding {existing.encoding}, expected UTF8, which cannot be changed in "
            "place: dump it, rename it (ALTER DATABASE … RENAME TO …), run again and restore the dump"
        )
    if existing.owner != database.owner.name:
        yield Change(
            f"database {database.name}: owned by {database.owner.name} instead of {existing.owner}",
            f"ALTER DATABASE {name} OWNER TO {owner}",
        )
        # What the old owner had as such, the new one has.
        grants = {grantee: rights for grantee, rights in existing.grants.items() if grantee != existing.owner}
        existing = postgres_facts.Database(
            **vars(existing) | {"owner": database.owner.name, "grants": grants | {database.owner.name: _ALL}}
        )
    if not existing.allows_connections:
        yield Change(
            f"database {database.name}: allows connections", f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"
        )
    if existing.connection_limit != -1:
        yield Change(
            f"database {database.name}: no connection limit", f"ALTER DATABASE {name} CONNECTION LIMIT -1"
        )
    desired = {role.name: frozenset({"CONNECT"}) for role in database.connect}
    yield from _grant_changes(existing, desired | {database.owner.name: _ALL})
    yield from _extension_changes(database, existing, cluster)


def _grant_changes(
    existing: postgres_facts.Database, desired: Mapping[str, frozenset[str]]
) -> Iterator[Change]:
    """Privileges on a database: of PUBLIC none, and nobody has others than wanted."""
    name = identifier(existing.name)
    grantees = sorted(existing.grants, key=lambda grantee: grantee or "")
    for grantee in grantees:
        if excess := existing.grants.get(grantee, frozenset()) - (
            desired.get(grantee, frozenset()) if grantee else _NONE
        ):
            rights = ", ".join(sorted(excess))
            whom = "PUBLIC" if grantee is None else identifier(grantee)
            yield Change(
                f"database {existing.name}: {rights} revoked from {grantee or 'PUBLIC'}",
                f"REVOKE {rights} ON DATABASE {name} FROM {whom}",
            )
    for role, desired_rights in sorted(desired.items()):
        if missing := desired_rights - existing.grants.get(role, frozenset()):
            rights = ", ".join(sorted(missing))
            yield Change(
                f"database {existing.name}: {rights} granted to {role}",
                f"GRANT {rights} ON DATABASE {name} TO {identifier(role)}",
            )


_NONE: frozenset[str] = frozenset()


def _extension_changes(
    database: Database, existing: postgres_facts.Database, cluster: ClusterState
) -> Iterator[Change]:
    for extension in database.extensions:
        newest, installed = cluster.available.get(extension), existing.extensions.get(extension)
        if cluster.version is not None and newest is None:
            raise OperationError(
                f"database {database.name}: extension {extension} is not among those of the server "
                f"({', '.join(sorted(cluster.available))}); its package has to be in the image"
            )
        if installed is None:
            # Not IF NOT EXISTS: what the fact did not see has come meanwhile, and somebody should know.
            why = f"database {database.name}: extension {extension}"
            yield Change(why, f"CREATE EXTENSION {identifier(extension)} CASCADE", database.name)
        elif installed != newest:
            why = f"database {database.name}: extension {extension} from {installed} to {newest}"
            yield Change(why, f"ALTER EXTENSION {identifier(extension)} UPDATE", database.name)


# A failed statement is not to be found in the server's log: it may hold a verifier.
_QUIET = (
    "SET log_statement = 'none'; SET log_min_error_statement = 'panic'; SET log_min_duration_statement = -1;"
)


def sql(changes: Iterable[Change]) -> str:
    """What psql is told to make the changes, with a line of progress for each."""
    lines = [_QUIET]
    connected = "postgres"
    for change in changes:
        if change.database != connected:
            connected = change.database
            lines += [f"\\connect {identifier(connected)}", _QUIET]
        lines += [f"{change.sql};", f"\\echo {word(change.why)}"]
    return "\n".join(lines) + "\n"


def word(text: str) -> str:
    """A text as one argument of psql's own commands."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _answering(container: str) -> ClusterState:
    """The cluster. A server that does not answer a run is asked again: from no answer, everything would differ."""

    def silent(cluster: ClusterState) -> list[str]:
        return [container] if state.is_executing and cluster.version is None else []

    cluster: ClusterState = insist(lambda: cached_fact(Cluster, container=container), silent)
    return cluster


@operation()
def databases(
    container: str, desired: Sequence[Database], roles: Sequence[Role] = ()
) -> Generator[StringCommand, None, None]:
    """Bring databases, their owners and other roles, grants and extensions to their declared state.

    One question and, where something differs, one psql that is told all of it. What is not declared is left alone,
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


_UNITS = {
    "B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4,
    "us": 1, "ms": 1000, "s": 10**6, "min": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6,
}  # fmt: skip
_QUANTITY = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?)\s*(B|kB|MB|GB|TB|us|ms|s|min|h|d)?")


def same(one: str, other: str) -> bool:
    """Whether two values of a setting mean the same: 1024kB is 1MB, 60s is 1min."""
    return _normal(one) == _normal(other)


def _normal(value: str) -> object:
    value = value.strip()
    if match := _QUANTITY.fullmatch(value):
        return float(match[1]) * _UNITS.get(match[2] or "", 1), bool(match[2])
    return value


def settings_difference(desired: Mapping[str, str], cluster: ClusterState) -> tuple[list[str], list[str]]:
    """Settings that are not as wanted, and those that ALTER SYSTEM put over the file's, declared or not."""
    altered = sorted(cluster.altered)
    wrong = [
        name
        for name, value in desired.items()
        if name in {each.lower() for each in altered}
        or (current := cluster.settings.get(name)) is None
        or current.pending_restart
        or not same(current.value, value)
    ]
    return wrong, altered


def _hba_differs(hba: str | None, cluster: ClusterState) -> bool:
    return hba is not None and hashlib.sha256(hba.encode()).hexdigest() != cluster.hba_sha256


@operation()
def settings(
    container: str, desired: Mapping[str, str], hba: str | None = None
) -> Generator[StringCommand, None, None]:
    """Have the server run with the settings of its file: reloaded, and restarted only where a setting needs that.

    What somebody has put over the file with ALTER SYSTEM is taken back, whatever it sets.

    + container: in which the server runs; its file, which says what is wanted, is put there by somebody else
    + desired: settings and their values, as Postgres shows them
    + hba: what the file says that says who may log in, put there likewise; None for whatever it says
    """
    for name in desired:
        if not SETTING.fullmatch(name):
            raise OperationValueError(f"{name!r} is no name of a setting")
    cluster = _answering(container)
    wrong, overridden = settings_difference(desired, cluster)
    if not wrong and not overridden and not _hba_differs(hba, cluster):
        host.noop(f"settings of {container} as declared")
        return
    statements = "".join(f"ALTER SYSTEM RESET {_dotted(name)};\n" for name in overridden)
    yield script.run("database/postgres-reload.sh", container, payload=statements, stream=True)


def _dotted(name: str) -> str:
    return ".".join(identifier(part) for part in name.split("."))


@check
@insistent()
def postgres(
    container: str,
    desired: Sequence[Database] = (),
    settings: Mapping[str, str] | None = None,
    hba: str | None = None,
) -> Iterator[Problem]:
    """The server runs, has what is declared and as it is declared.

    + container: in which it runs
    + desired: databases that it must have by now
    + settings: settings with which it must run
    + hba: what the file has to say that says who may log in; None for whatever it says
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
            container, f"not done: {change.why}", "done", "run again; somebody undoes it if that stays"
        )
    wrong, altered = settings_difference(settings or {}, cluster)
    for name in wrong:
        value = cluster.settings[name].value if name in cluster.settings else "the built-in value"
        yield Problem(f"{container}: {name}", value, (settings or {})[name], "see pg_file_settings")
    for name in altered:
        yield Problem(
            f"{container}: {name}", "set by ALTER SYSTEM", "by its file", "run again; who sets it anew?"
        )
    if _hba_differs(hba, cluster):
        yield Problem(
            f"{container}: pg_hba.conf", "another file", "ours", "SHOW hba_file; docker inspect its mounts"
        )


@dataclass(frozen=True)
class VectorColumn:
    """A column of vectors that is searched by cosine distance through an HNSW index.

    :param table: its name
    :param column: its name
    :param dimensions: of each vector
    :param m: of the index
    :param ef_construction: of the index
    """

    table: str
    column: str
    dimensions: int
    m: int
    ef_construction: int

    @property
    def options(self) -> frozenset[str]:
        """As the index has them."""
        return frozenset({f"m={self.m}", f"ef_construction={self.ef_construction}"})


def vector_shortfalls(
    desired: Iterable[VectorColumn], vectors: Iterable[postgres_facts.Vector]
) -> Iterator[str]:
    """What searches in these columns lack, a sentence each."""
    existing = {(vector.table, vector.column): vector for vector in vectors}
    for column in desired:
        name = f"{column.table}.{column.column}"
        vector = existing.get((column.table, column.column))
        if vector is None:
            yield f"{name}: found no such column of vectors, expected vector({column.dimensions})"
            continue
        if vector.dimensions != column.dimensions:
            size = vector.dimensions if vector.dimensions > 0 else "any number"
            yield f"{name}: found vectors of {size} dimensions, expected {column.dimensions}"
        cosine = [index for index in vector.indexes if index.operators == "vector_cosine_ops"]
        if not any(index.method == "hnsw" and index.options >= column.options for index in cosine):
            has = [f"{i.method} {i.operators} {', '.join(sorted(i.options))}".strip() for i in vector.indexes]
            wants = f"hnsw vector_cosine_ops {', '.join(sorted(column.options))}"
            yield f"{name}: found {'; '.join(has) or 'no index'}, expected {wants}"


@notice
def report_vectors(container: str, database: str, desired: Sequence[VectorColumn]) -> Iterable[str]:
    """Say which columns of vectors are not there or not indexed as wanted. An application's migrations make them, so
    that nothing is made here, and nothing fails.

    + container: in which the server runs
    + database: its name
    + desired: columns
    """
    vectors = host.get_fact(postgres_facts.Vectors, container=container, database=database)
    return (f"{database}: {sentence}" for sentence in vector_shortfalls(desired, vectors))
