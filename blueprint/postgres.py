"""shared-postgres and PgBouncer: the budget of connections, and the files of both (requirements 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from blueprint.model.datastores import Database, PgBouncer, PostgresServer
from blueprint.problems import Violation
from blueprint.render import render

# The role that monitors: statistics (pg_monitor), PgBouncer's pools, and the answers of each database.
MONITOR = "monitor"
CONFIG_FOLDER = "/etc/postgresql"
PASSFILE = f"{CONFIG_FOLDER}/monitor.pgpass"
POOLER_FOLDER = "/etc/pgbouncer"

# Percentage of the connections from which a run warns.
WARNING_PERCENT = 90


@dataclass(frozen=True)
class Use:
    """Connections that one user of the server may open."""

    what: str
    connections: int
    why: str


@dataclass(frozen=True)
class ConnectionBudget:
    """The connections of all users together, and those that the server accepts.

    PgBouncer limits each database to its pool (`max_db_connections`), and Postgres each role to its share
    (`connection_limits`), so that the sum is a ceiling and no estimate.
    """

    server: PostgresServer
    databases: tuple[Database, ...]

    @property
    def uses(self) -> tuple[Use, ...]:
        """The budget's lines."""
        pools = [Use(database.name, database.pool, "pool of PgBouncer") for database in self.databases]
        pools += [
            Use(
                f"{database.name} as {role}", database.pool, "one of its connect_roles, who may come directly"
            )
            for database in self.databases
            for role in database.connect_roles
        ]
        direct = [
            Use(database.name, database.direct, "past PgBouncer")
            for database in self.databases
            if database.direct
        ]
        return (
            *pools,
            *direct,
            Use("reserve", self.server.reserve, "backups, monitoring, a person"),
            Use("superuser", self.server.superuser_reserved, "superuser_reserved_connections"),
        )

    @property
    def total(self) -> int:
        return sum(use.connections for use in self.uses)

    @property
    def fits(self) -> bool:
        return self.total < self.server.max_connections

    def __str__(self) -> str:
        """The sum in one line: "40 for pools + 14 direct + 7 reserve + 3 superuser = 64 of 100"."""
        pools = sum(database.pool * (1 + len(database.connect_roles)) for database in self.databases)
        direct = sum(database.direct for database in self.databases)
        return (
            f"{pools} for pools + {direct} direct + {self.server.reserve} reserve + "
            f"{self.server.superuser_reserved} superuser = {self.total} of {self.server.max_connections}"
        )

    def warnings(self) -> Iterator[str]:
        """A sentence where the connections are near the limit."""
        if self.fits and 100 * self.total > WARNING_PERCENT * self.server.max_connections:
            yield f"connections to Postgres: {self}, more than {WARNING_PERCENT} %"

    def problems(self, file: str = "group_data/shared.py") -> Iterator[Violation]:
        """A problem, with its arithmetic, where the connections exceed the limit."""
        if not self.fits:
            yield Violation(
                file,
                "postgres.max_connections",
                f"too small: {self}",
                f"more than {self.total}",
                "take smaller pools, fewer direct connections, or raise it together with memory",
            )


def connection_limits(server: PostgresServer, databases: Sequence[Database]) -> dict[str, int]:
    """Connections that each of `roles` may have at once, through PgBouncer and past it.

    An owner has the pools of its databases, which PgBouncer opens with the owner's role, and its direct connections. A
    role that may connect to another's database has the pool of that database, too. The monitor has one connection in
    each pool, and the reserve.
    """
    limits: dict[str, int] = {}
    for database in databases:
        limits[database.role] = limits.get(database.role, 0) + database.pool + database.direct
        for role in database.connect_roles:
            limits[role] = limits.get(role, 0) + database.pool
    return limits | {MONITOR: len(databases) + server.reserve}


def database_problems(declared: Sequence[tuple[str, Database]]) -> Iterator[Violation]:
    """Problems of the databases together: repeated names, and roles without an owner.

    :param declared: databases, each after the file in which it is declared
    """
    owners = {database.role: database.name for _, database in reversed(declared)}
    names: set[str] = set()
    for file, database in declared:
        key = f"databases.{database.name}"
        if database.name in names:
            yield Violation(file, key, "declared before", "declared once")
        elif owners[database.role] != database.name:
            found = f"{database.role}, which owns {owners[database.role]}"
            yield Violation(file, f"{key}.owner", found, "a role of its own")
        names.add(database.name)
        for role in database.connect_roles:
            if role not in owners:
                allowed = ", ".join(sorted(owners.keys() - {database.role})) or "no other role"
                expected = f"owners of other databases ({allowed})"
                yield Violation(file, f"{key}.connect_roles", role, expected)


def settings(server: PostgresServer) -> dict[str, str]:
    """Settings of postgresql.conf, in Postgres' own notation, sized by the container's memory and the connections.

    The shared cache has a quarter of the memory; sorting has half of the rest, if every connection sorts at once.
    """
    memory = server.memory_mib
    shared_buffers = max(32, memory // 4)
    work_mem_kib = max(1024, (memory - shared_buffers) * 1024 // 2 // server.max_connections)
    sized: dict[str, str | int] = {
        "listen_addresses": "*",
        "hba_file": f"{CONFIG_FOLDER}/pg_hba.conf",
        "unix_socket_directories": "/run/postgresql",
        "password_encryption": "scram-sha-256",
        "max_connections": server.max_connections,
        "superuser_reserved_connections": server.superuser_reserved,
        "shared_buffers": f"{shared_buffers}MB",
        "effective_cache_size": f"{memory // 2}MB",
        "work_mem": f"{work_mem_kib}kB",
        "maintenance_work_mem": f"{max(16, memory // 8)}MB",
        "autovacuum_work_mem": f"{max(8, memory // 32)}MB",
        "autovacuum_max_workers": 2,
        "max_parallel_workers_per_gather": 1,
        "max_parallel_maintenance_workers": 1,
        "max_wal_size": "512MB",
        "wal_compression": "pglz",
        "checkpoint_timeout": "15min",
        "random_page_cost": "1.1",  # an SSD
        "jit": "off",  # its compiler runs longer than most queries of a web application, and needs memory
        # Otherwise an open transaction of a dead client keeps its connection of the pool.
        "idle_in_transaction_session_timeout": "10min",
        # Per session: an endless query would fill the disk that all share. No owner may raise it.
        "temp_file_limit": "2GB",
        "log_line_prefix": "%m [%p] %u@%d ",
        "log_timezone": "UTC",
        "timezone": "UTC",
    }
    return {name: str(value) for name, value in (sized | dict(server.settings)).items()}


def postgresql_conf(server: PostgresServer) -> str:
    """The file with `settings`."""
    lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in settings(server).items()]
    return "\n".join(lines) + "\n"


def pgpass(password: str) -> str:
    """The file from which psql reads the monitor's password, so that no command contains it.

    :param password: of the role `monitor`
    """
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    return f"*:*:*:{MONITOR}:{escaped}\n"


def pgbouncer_ini(pooler: PgBouncer, databases: Sequence[Database]) -> str:
    """Settings of PgBouncer: all databases, each limited to its own pool."""
    return render(
        "pgbouncer/pgbouncer.ini.j2",
        pooler=pooler,
        databases=sorted(databases, key=lambda database: database.name),
        folder=POOLER_FOLDER,
        monitor=MONITOR,
    )


def userlist(verifiers: Mapping[str, str]) -> str:
    """The logins of PgBouncer, with the verifiers of Postgres, with which PgBouncer itself logs in there.

    :param verifiers: SCRAM verifier by role
    """
    return "".join(f"{_quoted(role)} {_quoted(verifiers[role])}\n" for role in sorted(verifiers))


def roles(databases: Sequence[Database]) -> tuple[str, ...]:
    """Roles with a login: the owners, and the monitor."""
    return (*sorted({database.role for database in databases}), MONITOR)


def verifiers(databases: Sequence[Database], verifier: Callable[[str], str]) -> dict[str, str]:
    """Verifier of each of `roles`.

    :param verifier: of a role
    """
    return {role: verifier(role) for role in roles(databases)}


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
