"""The difference between the declared and the actual state of a Postgres server, as statements."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pyinfra.api.exceptions import OperationError, OperationValueError

from facts.postgres import MAINTENANCE, ClusterState, DatabaseState, Vector
from operations.postgres_sql import identifier, literal, word
from specs.postgres import HnswColumn, LoginRole, OwnedDatabase

SUPERUSER = "postgres"
_ALL = frozenset({"CONNECT", "CREATE", "TEMPORARY"})
_ORDINARY = frozenset({"login", "inherit"})


@dataclass(frozen=True)
class ClusterChange:
    """One statement, its database and its reason.

    :param sql: without its final semicolon; may hold a verifier
    """

    description: str
    sql: str = field(repr=False)
    database: str = "postgres"


def difference(
    desired: Sequence[OwnedDatabase], roles: Sequence[LoginRole], cluster: ClusterState
) -> list[ClusterChange]:
    """The changes from the actual to the declared roles and databases, none where they agree. Nothing is dropped.

    :raises OperationError: for what cannot be changed in place: an encoding, and an extension that the server does
    not have.
    """
    everyone: dict[str, LoginRole] = {}
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


def _role_changes(role: LoginRole, cluster: ClusterState) -> Iterator[ClusterChange]:
    name = identifier(role.name)
    existing = cluster.roles.get(role.name)
    if existing is None:
        limit = f" CONNECTION LIMIT {role.connection_limit}" if role.connection_limit != -1 else ""
        yield ClusterChange(
            f"role {role.name}: made", f"CREATE ROLE {name} LOGIN{limit} PASSWORD {literal(role.verifier)}"
        )
    else:
        if existing.password_sha256 != role.sha256:
            yield ClusterChange(
                f"role {role.name}: another password", f"ALTER ROLE {name} PASSWORD {literal(role.verifier)}"
            )
        if existing.attributes != _ORDINARY:
            wrong = " ".join(sorted(existing.attributes ^ _ORDINARY))
            ordinary = "LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
            yield ClusterChange(f"role {role.name}: {wrong} the other way", f"ALTER ROLE {name} {ordinary}")
        if existing.connection_limit != role.connection_limit:
            limit = "any number of" if role.connection_limit == -1 else f"at most {role.connection_limit}"
            yield ClusterChange(
                f"role {role.name}: {limit} connections",
                f"ALTER ROLE {name} CONNECTION LIMIT {role.connection_limit}",
            )
        if existing.valid_until not in (None, "infinity"):
            yield ClusterChange(
                f"role {role.name}: its password does not end", f"ALTER ROLE {name} VALID UNTIL 'infinity'"
            )
    member_of = existing.member_of if existing else frozenset()
    for other in sorted(set(role.member_of) - member_of):
        yield ClusterChange(f"role {role.name}: member of {other}", f"GRANT {identifier(other)} TO {name}")
    for other in sorted(member_of - set(role.member_of)):
        yield ClusterChange(
            f"role {role.name}: no member of {other}", f"REVOKE {identifier(other)} FROM {name}"
        )
    for other in sorted((existing.admin_of if existing else frozenset()) & set(role.member_of)):
        yield ClusterChange(
            f"role {role.name}: hands {other} on to nobody",
            f"REVOKE ADMIN OPTION FOR {identifier(other)} FROM {name}",
        )


def _override_changes(platform: Collection[str], cluster: ClusterState) -> Iterator[ClusterChange]:
    """Reset what ALTER ROLE and ALTER DATABASE set for our own sessions. What owners set for their own stays.

    :param platform: roles that own no database
    """
    for database, role in sorted(
        {(override.database, override.role) for override in cluster.overrides},
        key=lambda where: (where[0] or "", where[1] or ""),
    ):
        if role is not None and role in {SUPERUSER, *platform}:
            inside = f" IN DATABASE {identifier(database)}" if database else ""
            yield ClusterChange(
                f"role {role}: no settings of its own", f"ALTER ROLE {identifier(role)}{inside} RESET ALL"
            )
        elif role is None and database is None:
            yield ClusterChange("all roles: no settings of their own", "ALTER ROLE ALL RESET ALL")
        elif role is None and database in MAINTENANCE:
            yield ClusterChange(
                f"database {database}: no settings of its own",
                f"ALTER DATABASE {identifier(database)} RESET ALL",
            )


def _database_changes(database: OwnedDatabase, cluster: ClusterState) -> Iterator[ClusterChange]:
    name, owner = identifier(database.name), identifier(database.owner.name)
    existing = cluster.databases.get(database.name)
    if existing is None:
        yield ClusterChange(
            f"database {database.name}: made",
            f"CREATE DATABASE {name} OWNER {owner} TEMPLATE template0 ENCODING 'UTF8'",
        )
        public = {None: frozenset({"CONNECT", "TEMPORARY"}), database.owner.name: _ALL}
        existing = DatabaseState(database.name, database.owner.name, grants=public)
    if existing.encoding != "UTF8":
        raise OperationError(
            f"database {database.name}: found encoding {existing.encoding}, expected UTF8, which cannot be changed in "
            "place: dump it, rename it (ALTER DATABASE … RENAME TO …), run again and restore the dump"
        )
    if existing.owner != database.owner.name:
        yield ClusterChange(
            f"database {database.name}: owned by {database.owner.name} instead of {existing.owner}",
            f"ALTER DATABASE {name} OWNER TO {owner}",
        )
        # What the old owner had as such, the new one has.
        grants = {grantee: rights for grantee, rights in existing.grants.items() if grantee != existing.owner}
        existing = DatabaseState(
            **vars(existing) | {"owner": database.owner.name, "grants": grants | {database.owner.name: _ALL}}
        )
    if not existing.allows_connections:
        yield ClusterChange(
            f"database {database.name}: allows connections", f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"
        )
    if existing.connection_limit != -1:
        yield ClusterChange(
            f"database {database.name}: no connection limit", f"ALTER DATABASE {name} CONNECTION LIMIT -1"
        )
    desired = {role.name: frozenset({"CONNECT"}) for role in database.connect}
    yield from _grant_changes(existing, desired | {database.owner.name: _ALL})
    yield from _extension_changes(database, existing, cluster)


def _grant_changes(existing: DatabaseState, desired: Mapping[str, frozenset[str]]) -> Iterator[ClusterChange]:
    """Changes to the privileges on a database: PUBLIC has none, and each role the desired ones."""
    name = identifier(existing.name)
    grantees = sorted(existing.grants, key=lambda grantee: grantee or "")
    for grantee in grantees:
        if excess := existing.grants.get(grantee, frozenset()) - (
            desired.get(grantee, frozenset()) if grantee else _NONE
        ):
            rights = ", ".join(sorted(excess))
            whom = "PUBLIC" if grantee is None else identifier(grantee)
            yield ClusterChange(
                f"database {existing.name}: {rights} revoked from {grantee or 'PUBLIC'}",
                f"REVOKE {rights} ON DATABASE {name} FROM {whom}",
            )
    for role, desired_rights in sorted(desired.items()):
        if missing := desired_rights - existing.grants.get(role, frozenset()):
            rights = ", ".join(sorted(missing))
            yield ClusterChange(
                f"database {existing.name}: {rights} granted to {role}",
                f"GRANT {rights} ON DATABASE {name} TO {identifier(role)}",
            )


_NONE: frozenset[str] = frozenset()


def _extension_changes(
    database: OwnedDatabase, existing: DatabaseState, cluster: ClusterState
) -> Iterator[ClusterChange]:
    for extension in database.extensions:
        newest, installed = cluster.available.get(extension), existing.extensions.get(extension)
        if cluster.version is not None and newest is None:
            raise OperationError(
                f"database {database.name}: extension {extension} is not among those of the server "
                f"({', '.join(sorted(cluster.available))}); its package has to be in the image"
            )
        if installed is None:
            # Not IF NOT EXISTS: what the fact did not see has come meanwhile, and somebody should know.
            description = f"database {database.name}: extension {extension}"
            yield ClusterChange(
                description, f"CREATE EXTENSION {identifier(extension)} CASCADE", database.name
            )
        elif installed != newest:
            description = f"database {database.name}: extension {extension} from {installed} to {newest}"
            yield ClusterChange(description, f"ALTER EXTENSION {identifier(extension)} UPDATE", database.name)


# A failed statement is not to be found in the server's log: it may hold a verifier.
_QUIET = (
    "SET log_statement = 'none'; SET log_min_error_statement = 'panic'; SET log_min_duration_statement = -1;"
)


def sql(changes: Iterable[ClusterChange]) -> str:
    """The SQL for the changes, with a line of progress for each."""
    lines = [_QUIET]
    connected = "postgres"
    for change in changes:
        if change.database != connected:
            connected = change.database
            lines += [f"\\connect {identifier(connected)}", _QUIET]
        lines += [f"{change.sql};", f"\\echo {word(change.description)}"]
    return "\n".join(lines) + "\n"


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
    """Settings that are not as desired, and all settings of ALTER SYSTEM, which override the file."""
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


def hba_differs(hba: str | None, cluster: ClusterState) -> bool:
    return hba is not None and hashlib.sha256(hba.encode()).hexdigest() != cluster.hba_sha256


def vector_shortfalls(desired: Iterable[HnswColumn], vectors: Iterable[Vector]) -> Iterator[str]:
    """A sentence for each column that is missing or not indexed as desired."""
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
