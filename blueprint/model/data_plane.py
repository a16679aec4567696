"""What the projects keep their data in: databases and the servers of them (requirements 5 and 6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from blueprint.model.declaration import Declaration, checking, mebibytes
from blueprint.names import POSTGRES

REDIS_DATABASES = 16
REDIS_RESERVED = ("default", "admin", "monitor")  # users that are no project's

_ROLE = re.compile(r"[a-z][a-z0-9_]{0,62}")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_EXTENSION = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_REDIS_USER = re.compile(r"[a-z][a-z0-9_-]*")
# Literal at its beginning, so that two of them can be told apart.
_CHANNEL = re.compile(r"[A-Za-z0-9_/.:#-]{2,}\*?")
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._/:-]*[:@][A-Za-z0-9_][A-Za-z0-9._:-]*")
# What Postgres keeps for itself; a database or role of such a name would be another's.
_RESERVED = frozenset({"postgres", "template0", "template1", "pgbouncer", "public", "none", "monitor"})
_POLICIES = frozenset(
    {
        "noeviction",
        "volatile-lru",
        "volatile-lfu",
        "volatile-ttl",
        "volatile-random",
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
    }
)
_SCHEMA = re.compile(r"files/[a-z0-9_]+/[a-z0-9_]+\.sql")
_NAME_WANTED = (
    "a name of Postgres that needs no quotes: lower-case letters, digits and _, beginning with a letter"
)


@dataclass(frozen=True)
class VectorColumn(Declaration):
    """A column of vectors with an HNSW index over their cosine distance (requirements 5.4).

    :param table: as it is called in the database, "DocumentChunk"
    :param column: likewise
    :param dimensions: of each vector
    :param m: connections of each element in the index
    :param ef_construction: candidates that are looked at when one is added
    """

    table: str
    column: str = "embedding"
    dimensions: int = 1536
    m: int = 16
    ef_construction: int = 128

    def __post_init__(self) -> None:
        with checking(f"VectorColumn {self.table}.{self.column}") as check:
            for key in ("table", "column"):
                check.matches(key, getattr(self, key), _IDENTIFIER, "letters, digits and _")
            # pgvector's own bounds.
            check.integer("dimensions", self.dimensions, 1, 2000)
            check.integer("m", self.m, 2, 100)
            check.integer("ef_construction", self.ef_construction, 4, 1000)


@dataclass(frozen=True)
class Database(Declaration):
    """A database of shared-postgres, with the role that owns it. Nobody else may connect unless it says so.

    :param name: its name
    :param extensions: extensions that it has
    :param owner: role that owns it, or None for one of its own name; its password is the secret `postgres/<owner>`
    :param connect_roles: owners of other databases that may connect to this one, too
    :param pool: connections that PgBouncer may open to it
    :param direct: connections that are opened to it past PgBouncer at most: migrations, LiteLLM's and Langfuse's own
    :param schema: file of this project with idempotent SQL that makes its tables, "files/renov_bati/schema.sql"
    :param vectors: tables that its application makes, with the vector column of each, which are checked
    :param min_dump_kib: what its dump has at least; the owner is told of a smaller one (requirements 10.4)
    """

    name: str
    extensions: tuple[str, ...] = ()
    owner: str | None = None
    connect_roles: tuple[str, ...] = field(default=(), kw_only=True)
    pool: int = field(default=5, kw_only=True)
    direct: int = field(default=2, kw_only=True)
    schema: str | None = field(default=None, kw_only=True)
    vectors: tuple[VectorColumn, ...] = field(default=(), kw_only=True)
    min_dump_kib: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        with checking(f"Database {self.name}") as check:
            names = {"name": [self.name], "connect_roles": self.connect_roles}
            if self.owner is not None:
                names["owner"] = [self.owner]
            for key, values in names.items():
                for value in values:
                    check.matches(key, value, _ROLE, _NAME_WANTED)
                    check.that(value not in _RESERVED, key, value, "a name that Postgres does not use itself")
            for extension in self.extensions:
                check.matches("extensions", extension, _EXTENSION, "names of extensions, such as vector")
            check.that(
                self.role not in self.connect_roles, "connect_roles", self.role, "other roles than the owner"
            )
            if self.schema is not None:
                check.matches("schema", self.schema, _SCHEMA, "a file such as files/renov_bati/schema.sql")
            check.integer("pool", self.pool, 1, 1000, "connections")
            check.integer("direct", self.direct, 0, 1000, "connections")
            check.integer("min_dump_kib", self.min_dump_kib, 0, 1024**3, "KiB")

    @property
    def role(self) -> str:
        """The role that owns it."""
        return self.owner or self.name


@dataclass(frozen=True, kw_only=True)
class PostgresServer(Declaration):
    """shared-postgres: what its settings are sized by.

    :param memory: limit of the container, "512m"
    :param max_connections: connections it accepts; each takes memory even while it is idle
    :param superuser_reserved: of these, kept for the superuser
    :param reserve: of these, kept for what is not declared with a database: backups, monitoring, a person
    :param settings: further settings of postgresql.conf, or other values for ours, as Postgres itself shows them
    :param administrators: roles that a person made, and that may have whatever rights they have; a run names all others
    """

    memory: str = "512m"
    max_connections: int = 100
    superuser_reserved: int = 3
    reserve: int = 7
    settings: Mapping[str, str | int] = field(default_factory=dict)
    administrators: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        with checking("PostgresServer") as check:
            check.memory("memory", self.memory)
            check.integer("max_connections", self.max_connections, 10, 1000)
            check.integer("superuser_reserved", self.superuser_reserved, 1, 100)
            check.integer("reserve", self.reserve, 0, 100)
            for name in self.settings:
                check.matches("settings", name, _ROLE, "names of settings, such as work_mem")
            for name in self.administrators:
                check.that(name not in _RESERVED, "administrators", name, "a role that a person made")

    @property
    def memory_mib(self) -> int:
        return mebibytes(self.memory)


@dataclass(frozen=True, kw_only=True)
class PgBouncer(Declaration):
    """The pooler before shared-postgres, in transaction mode (requirements 5.3).

    :param host: where Postgres is
    :param host_port: its port there
    :param port: port that it listens on
    :param max_client_conn: clients that it accepts
    :param max_prepared_statements: prepared statements that it keeps for each server connection; 0 would break those
        of clients in transaction mode
    :param query_wait_s: seconds that a query waits for a connection before it fails
    """

    host: str = POSTGRES
    host_port: int = 5432
    port: int = 6432
    max_client_conn: int = 300
    max_prepared_statements: int = 200
    query_wait_s: int = 60

    def __post_init__(self) -> None:
        with checking("PgBouncer") as check:
            check.name("host", self.host)
            check.port("host_port", self.host_port)
            check.port("port", self.port)
            check.integer("max_client_conn", self.max_client_conn, 1, 10_000, "clients")
            check.integer("max_prepared_statements", self.max_prepared_statements, 1, 10_000, "statements")
            check.integer("query_wait_s", self.query_wait_s, 1, 3600, "seconds")


@dataclass(frozen=True)
class RedisIndex(Declaration):
    """A database of shared-redis (requirements 6.1).

    :param index: its number
    :param usage: what is kept in it
    :param users: users that may select it; in a project, without any, the project's own
    :param shared_with: other projects that declare the same index, and name this one in their turn
    :param channels: Pub/Sub channels of its users beside `<user>:*` and Celery's: names, or beginnings with a *. A
        pattern that somebody listens to (PSUBSCRIBE) has to stand here as it is
    :param named_channels: likewise, where the name of each is a secret that only its users know, such as a UUID: they
        are listened to one by one, and never by a pattern
    """

    index: int
    usage: str
    users: tuple[str, ...] = ()
    shared_with: tuple[str, ...] = field(default=(), kw_only=True)
    channels: tuple[str, ...] = field(default=(), kw_only=True)
    named_channels: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        with checking(f"RedisIndex {self.index}") as check:
            check.integer("index", self.index, 0, REDIS_DATABASES - 1)
            for user in self.users:
                check.matches("users", user, _REDIS_USER, "lower-case letters, digits, - and _")
                expected = f"another name than {', '.join(REDIS_RESERVED)}"
                check.that(user not in REDIS_RESERVED, "users", user, expected)
            for key in ("channels", "named_channels"):
                for channel in getattr(self, key):
                    expected = "a name, or its beginning (two characters at least) and a *"
                    check.matches(key, channel, _CHANNEL, expected)


@dataclass(frozen=True, kw_only=True)
class RedisServer(Declaration):
    """shared-redis (requirements 6.2).

    :param image: of its container
    :param acl_databases: whether its ACLs know databases, as those of Valkey 9.1 do and those of no Redis: without, a
        connection is in index 0 before it says where it wants to be, whoever's that is
    :param maxmemory: what its data may take, "256m"
    :param policy: which keys go when that is full; all indexes share it
    """

    image: str = "valkey/valkey:9.1.2-trixie"
    acl_databases: bool = True
    maxmemory: str = "256m"
    policy: str = "volatile-lru"

    def __post_init__(self) -> None:
        with checking("RedisServer") as check:
            check.matches("image", self.image, _IMAGE, "a reference with a tag or a digest")
            check.that(
                not (self.acl_databases and self._name == "redis"),
                "acl_databases",
                f"{self.acl_databases} with {self.image}",
                "False: the ACLs of Redis do not know databases",
            )
            check.memory("maxmemory", self.maxmemory)
            check.one_of("policy", self.policy, _POLICIES)

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
