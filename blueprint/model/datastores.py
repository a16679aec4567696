"""Databases of the projects, and their servers (requirements 5 and 6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, field
from typing import Annotated, Literal

from blueprint.model import types
from blueprint.model.declaration import Conflict, Declaration, conflicts, declaration
from blueprint.model.types import mebibytes
from blueprint.names import POSTGRES
from blueprint.validation import Whole
from specs.postgres import HnswColumn

Policy = Literal[
    "noeviction",
    "volatile-lru",
    "volatile-lfu",
    "volatile-ttl",
    "volatile-random",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
]


@declaration(kw_only=False)
class VectorColumn(Declaration, HnswColumn):
    """A column of vectors with an HNSW index over their cosine distance (requirements 5.4).

    :param table: its name in the database, "DocumentChunk"
    :param column: its name in the database
    :param dimensions: of each vector
    :param m: connections of each element in the index
    :param ef_construction: candidates that an insertion examines
    """

    table: types.SqlIdentifier
    column: types.SqlIdentifier = "embedding"
    dimensions: Annotated[int, Whole(1, 2000)] = 1536
    m: Annotated[int, Whole(2, 100)] = 16
    ef_construction: Annotated[int, Whole(4, 1000)] = 128


@declaration(kw_only=False)
class Database(Declaration):
    """A database of shared-postgres, and the role that owns it. Only that role and `connect_roles` may connect.

    :param name: its name
    :param extensions: its extensions
    :param owner: role that owns it, or None for one of its own name; its password is the secret `postgres/<owner>`
    :param connect_roles: owners of other databases that may also connect to this one
    :param pool: connections that PgBouncer may open to it
    :param direct: connections that bypass PgBouncer, at most: migrations, LiteLLM, Langfuse
    :param schema: file of this project with idempotent SQL that makes its tables, "files/renov_bati/schema.sql"
    :param vectors: vector columns that its application makes, and a run checks
    :param min_dump_kib: minimum of its dump; the owner is notified of a smaller one (requirements 10.4), unless
        `empty_databases` names it
    """

    name: types.OwnRole
    extensions: tuple[types.Extension, ...] = ()
    owner: types.OwnRole | None = None
    _: KW_ONLY
    connect_roles: tuple[types.OwnRole, ...] = ()
    pool: Annotated[int, Whole(1, 1000, "connections")] = 5
    direct: Annotated[int, Whole(0, 1000, "connections")] = 2
    schema: types.SchemaFile | None = None
    vectors: tuple[VectorColumn, ...] = ()
    min_dump_kib: Annotated[int, Whole(0, 1024**3, "KiB")] = 0

    @conflicts
    def _conflicts(self) -> Iterator[Conflict]:
        if self.role in self.connect_roles:
            yield Conflict("connect_roles", "other roles than the owner")

    @property
    def role(self) -> str:
        """The role that owns it."""
        return self.owner or self.name


@declaration()
class PostgresServer(Declaration):
    """shared-postgres, and what its settings are computed from.

    :param memory: limit of the container, "512m"
    :param max_connections: connections it accepts; each takes memory even while it is idle
    :param superuser_reserved: of these, kept for the superuser
    :param reserve: of these, kept for clients without a declared database: backups, monitoring, a person
    :param settings: further settings of postgresql.conf, or other values of ours, in Postgres' own notation
    :param administrators: roles of people, with any rights; a run reports every other role that is not declared
    """

    memory: types.MemoryLimit = "512m"
    max_connections: Annotated[int, Whole(10, 1000)] = 100
    superuser_reserved: Annotated[int, Whole(1, 100)] = 3
    reserve: Annotated[int, Whole(0, 100)] = 7
    settings: Mapping[types.SettingName, str | int] = field(default_factory=dict)
    administrators: tuple[types.Administrator, ...] = ()

    @property
    def memory_mib(self) -> int:
        return mebibytes(self.memory)


@declaration()
class PgBouncer(Declaration):
    """The pooler before shared-postgres, in transaction mode (requirements 5.3).

    :param host: host name of Postgres
    :param host_port: port of Postgres
    :param port: port that it listens on
    :param max_client_conn: clients that it accepts
    :param max_prepared_statements: prepared statements that it keeps for each server connection; with 0, clients
        could not use them in transaction mode
    :param query_wait_s: seconds that a query waits for a connection before it fails
    """

    host: types.HostName = POSTGRES
    host_port: types.Port = 5432
    port: types.Port = 6432
    max_client_conn: Annotated[int, Whole(1, 10_000, "clients")] = 300
    max_prepared_statements: Annotated[int, Whole(1, 10_000, "statements")] = 200
    query_wait_s: types.Seconds = 60


@declaration(kw_only=False)
class RedisIndex(Declaration):
    """A database of shared-redis (requirements 6.1).

    :param index: its number
    :param usage: its contents, in words
    :param users: users that may select it; in a project, its own user unless others are named
    :param shared_with: other projects that declare the same index, and name this project in turn
    :param channels: Pub/Sub channels of its users, besides `<user>:*` and Celery's: names, or prefixes with a *. An ACL
        compares the pattern of a PSUBSCRIBE literally
    :param named_channels: likewise, where each name is a secret of its users, such as a UUID: nobody may subscribe
        to them by a pattern
    """

    index: types.RedisIndexNumber
    usage: str
    users: tuple[types.RedisUser, ...] = ()
    _: KW_ONLY
    shared_with: tuple[str, ...] = ()
    channels: tuple[types.Channel, ...] = ()
    named_channels: tuple[types.Channel, ...] = ()


@declaration()
class RedisServer(Declaration):
    """shared-redis (requirements 6.2).

    :param image: image of its container
    :param acl_databases: whether its ACLs know databases, as those of Valkey 9.1 do and those of no Redis: without, a
        connection is in index 0 before it selects another
    :param maxmemory: memory limit of its data, "256m"
    :param policy: which keys are evicted at that limit, in all indexes
    """

    image: types.ImageReference = "valkey/valkey:9.1.2-trixie"
    acl_databases: bool = True
    maxmemory: types.MemorySize = "256m"
    policy: Policy = "volatile-lru"

    @conflicts
    def _conflicts(self) -> Iterator[Conflict]:
        if self.acl_databases and self._name == "redis":
            expected = "False: the ACLs of Redis do not know databases"
            yield Conflict("acl_databases", expected, f"{self.acl_databases} with {self.image}")

    @property
    def _name(self) -> str:
        return self.image.rpartition("/")[2].partition("@")[0].partition(":")[0]

    @property
    def maxmemory_mib(self) -> int:
        return mebibytes(self.maxmemory)

    @property
    def memory(self) -> str:
        """Limit of the container: half as much again, for the copy that a fork makes, buffers and fragmentation."""
        return f"{-(-self.maxmemory_mib * 3 // 2)}m"
