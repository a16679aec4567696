"""A Postgres server in a container: its roles, databases, extensions, grants and settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from facts import script

# Made by initdb; every other database or role has to be declared.
MAINTENANCE = ("postgres", "template1")


@dataclass(frozen=True)
class RoleState:
    """A role.

    :param password_sha256: hash of what Postgres keeps of its password, None without one
    :param attributes: of login, superuser, createdb, createrole, replication, bypassrls and inherit, those that it has
    :param connection_limit: -1 for none
    :param valid_until: when its password ends, as Postgres prints it
    :param member_of: roles that it is a member of
    :param admin_of: of these, those that it may hand on to others
    """

    name: str
    password_sha256: str | None = None
    attributes: frozenset[str] = frozenset({"login", "inherit"})
    connection_limit: int = -1
    valid_until: str | None = None
    member_of: frozenset[str] = frozenset()
    admin_of: frozenset[str] = frozenset()


@dataclass(frozen=True)
class DatabaseState:
    """A database.

    :param grants: privileges (CONNECT, CREATE, TEMPORARY) by grantee; None is PUBLIC
    :param comment: what COMMENT ON says
    :param extensions: installed ones, with their versions
    :param relations: names of tables, views and indexes, whatever their schema
    :param untrusted: of its extensions, those that only a superuser can install
    :param powers: what it has that reaches beyond it, a few words each: functions that run as a superuser, untrusted
        languages, foreign servers, event triggers, grants on system functions and tables
    :param owners: who owns schemas, tables or functions of it, beside its owner
    """

    name: str
    owner: str
    encoding: str = "UTF8"
    allows_connections: bool = True
    connection_limit: int = -1
    grants: Mapping[str | None, frozenset[str]] = field(default_factory=dict)
    comment: str | None = None
    extensions: Mapping[str, str] = field(default_factory=dict)
    relations: frozenset[str] = frozenset()
    untrusted: frozenset[str] = frozenset()
    powers: tuple[str, ...] = ()
    owners: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Override:
    """A setting that ALTER DATABASE or ALTER ROLE gives to sessions. Its value is not asked for: some keep keys there.

    :param database: of sessions in it; None for all
    :param role: of this role's sessions; None for everybody's
    :param setting: its name
    """

    database: str | None
    role: str | None
    setting: str


@dataclass(frozen=True)
class SettingState:
    """A setting that is not the built-in one.

    :param value: as SHOW prints it
    :param file: configuration file that it comes from, None for none
    :param pending_restart: the file says something else, which only a restart applies
    """

    value: str
    file: str | None = None
    pending_restart: bool = False


@dataclass(frozen=True)
class ClusterState:
    """Answer of `Cluster`.

    :param version: of the server; None where none answers
    :param refusal: what Docker or psql complained of; empty for nothing
    :param available: extensions that can be installed, with their newest versions
    :param altered: names of the settings that ALTER SYSTEM put over those of the file
    :param hba_sha256: hash of the file that says who may log in from where
    :param overrides: what ALTER DATABASE and ALTER ROLE set
    :param parameters: grants on settings, by grantee and privilege
    :param tablespaces: beside the server's own
    :param subscriptions: each with its database
    :param slots: names of replication slots
    """

    version: str | None = None
    refusal: str = ""
    roles: Mapping[str, RoleState] = field(default_factory=dict)
    databases: Mapping[str, DatabaseState] = field(default_factory=dict)
    available: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, SettingState] = field(default_factory=dict)
    altered: frozenset[str] = frozenset()
    hba_sha256: str | None = None
    overrides: tuple[Override, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    tablespaces: frozenset[str] = frozenset()
    subscriptions: frozenset[str] = frozenset()
    slots: frozenset[str] = frozenset()


class Cluster(FactBase[ClusterState]):
    """The whole state of a cluster, in one question.

    :param container: in which it runs
    """

    def command(self, container: str) -> StringCommand:
        """The script and its arguments."""
        return script.command("postgres.sh", container)

    @staticmethod
    def default() -> ClusterState:
        """No server."""
        return ClusterState()

    def process(self, output: list[str]) -> ClusterState:
        """Read the answer of `command`."""
        return read_cluster(output)


def read_cluster(output: Iterable[str]) -> ClusterState:
    """Read what files/facts/postgres.sh prints."""
    cluster: dict[str, Any] = {}
    inside: dict[str, dict[str, Any]] = {}
    refusal = ""
    for title, lines in script.sections(output):
        if title == "refusal":
            refusal = "\n".join(lines).strip()
            continue
        answer = script.from_json(next((line for line in lines if line), "null"), "Postgres")
        if answer and title == "cluster":
            cluster = answer
        elif answer:
            inside[answer["name"]] = answer
    if not cluster:
        return ClusterState(refusal=refusal)
    return ClusterState(
        version=cluster["version"],
        roles={role["name"]: _role(role) for role in cluster["roles"]},
        databases={
            database["name"]: _database(database, inside.get(database["name"], {}), cluster)
            for database in cluster["databases"]
        },
        available=cluster["available"],
        # Postgres knows TimeZone and DateStyle in any case.
        settings={name.lower(): SettingState(**setting) for name, setting in cluster["settings"].items()},
        altered=frozenset(cluster["altered"]),
        hba_sha256=cluster["hba_sha256"],
        overrides=tuple(Override(*override) for override in cluster["overrides"]),
        parameters=tuple((grantee, privilege) for grantee, privilege in cluster["parameters"]),
        tablespaces=frozenset(cluster["tablespaces"]),
        subscriptions=frozenset(cluster["subscriptions"]),
        slots=frozenset(cluster["slots"]),
    )


_ATTRIBUTES = ("login", "superuser", "createdb", "createrole", "replication", "bypassrls", "inherit")


def _role(answer: dict[str, Any]) -> RoleState:
    return RoleState(
        name=answer["name"],
        password_sha256=answer["password_sha256"],
        attributes=frozenset(attribute for attribute in _ATTRIBUTES if answer[attribute]),
        connection_limit=answer["connection_limit"],
        valid_until=answer["valid_until"],
        member_of=frozenset(answer["member_of"]),
        admin_of=frozenset(answer["admin_of"]),
    )


def _database(answer: dict[str, Any], inside: dict[str, Any], cluster: dict[str, Any]) -> DatabaseState:
    grants: dict[str | None, set[str]] = {}
    for grantee, privilege in answer.pop("acl") or ():
        grants.setdefault(grantee, set()).add(privilege)
    return DatabaseState(
        **answer,
        grants={grantee: frozenset(privileges) for grantee, privileges in grants.items()},
        extensions=(extensions := inside.get("extensions", {})),
        relations=frozenset(inside.get("relations", ())),
        # Of one whose files are gone, nobody knows.
        untrusted=frozenset(extensions.keys() - (cluster["available"].keys() - {*cluster["untrusted"]})),
        powers=tuple(inside.get("powers", ())),
        owners=frozenset(inside.get("owners", ())),
    )


@dataclass(frozen=True)
class VectorIndex:
    """An index on a column of vectors.

    :param method: hnsw, ivfflat or another
    :param operators: operator class, "vector_cosine_ops"
    :param options: what it was made with, "m=16"; what is not among them has pgvector's default
    """

    method: str
    operators: str
    options: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Vector:
    """A column of vectors; -1 `dimensions` for any number."""

    table: str
    column: str
    dimensions: int
    indexes: tuple[VectorIndex, ...] = ()


class Vectors(FactBase[tuple[Vector, ...]]):
    """The columns of vectors of a database.

    :param container: in which the server runs
    :param database: its name
    """

    def command(self, container: str, database: str) -> StringCommand:
        """The script and its arguments."""
        return script.command("postgres-vectors.sh", container, database)

    @staticmethod
    def default() -> tuple[Vector, ...]:
        """None."""
        return ()

    def process(self, output: list[str]) -> tuple[Vector, ...]:
        """Read the answer of `command`."""
        answer = script.from_json(next((line for line in output if line), "[]"), "Postgres")
        return tuple(
            Vector(
                column["table"],
                column["column"],
                column["dimensions"],
                tuple(
                    VectorIndex(index["method"], index["operators"], frozenset(index["options"]))
                    for index in column["indexes"]
                ),
            )
            for column in answer
        )
