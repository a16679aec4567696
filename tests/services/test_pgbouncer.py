"""PgBouncer, through which the projects speak to Postgres (requirements 5.3)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import ClientCursor

from blueprint.postgres import MONITOR
from tests.host.conftest import CompletedRun
from tests.services.datastores import POOLER, Datastores


@pytest.mark.checklist("3.1", "F.4")
def test_each_role_reaches_its_own_database_and_no_other(datastores: Datastores) -> None:
    names = [database.name for database in datastores.databases]
    for position, database in enumerate(datastores.databases):
        with datastores.connect(database.name, database.role, server=POOLER) as connection:
            found = connection.execute("SELECT current_database(), current_user").fetchone()
            assert found == (database.name, database.role)
        other = datastores.databases[position - 1]
        if database.role not in other.connect_roles:
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                datastores.connect(other.name, database.role, server=POOLER).execute("SELECT 1")
    assert len(set(names)) == len(names)


def test_a_wrong_password_and_an_unknown_database_are_refused(datastores: Datastores) -> None:
    database = datastores.databases[0]
    with pytest.raises(psycopg.OperationalError, match="SASL authentication failed"):
        datastores.connect(database.name, database.role, password="a guess", server=POOLER)  # noqa: S106 - wrong
    with pytest.raises(psycopg.OperationalError, match="no such database"):
        datastores.connect("nowhere", database.role, server=POOLER)


@pytest.mark.checklist("3.1")
def test_a_row_is_written_with_a_prepared_statement(datastores: Datastores) -> None:
    database = datastores.databases[0]
    with datastores.connect(database.name, database.role) as direct:
        direct.execute("CREATE TABLE IF NOT EXISTS tried (n int)")
        try:
            with datastores.connect(
                database.name, database.role, server=POOLER, prepare_threshold=0
            ) as pooled:
                for n in range(3):
                    pooled.execute("INSERT INTO tried VALUES (%s)", (n,))
                assert pooled.execute("SELECT sum(n) FROM tried WHERE n >= %s", (0,)).fetchone() == (3,)
        finally:
            direct.execute("DROP TABLE tried")


def test_prepared_statements_hold_when_clients_outnumber_connections(datastores: Datastores) -> None:
    database = max(datastores.databases, key=lambda database: database.pool)

    def client(seed: int) -> None:
        with datastores.connect(
            database.name, database.role, server=POOLER, prepare_threshold=0
        ) as connection:
            for n in range(20):
                # Each client's first statement has the same name, "_pg3_0", and another text.
                text = f"SELECT %s::int + {seed}"
                assert connection.execute(text, (n,)).fetchone() == (n + seed,)

    datastores.connect(database.name, database.role, server=POOLER).close()  # the forward, before the threads
    clients = 2 * database.pool + 5
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    # Those of the pooler alone: the project's containers connect past it, too.
    pooler = datastores.inspect(POOLER[0], "{{.NetworkSettings.Networks.coolify.IPAddress}}")
    activity = f"SELECT datname, usename FROM pg_stat_activity WHERE client_addr = '{pooler}'"
    backends = datastores.sql("postgres", activity).splitlines()
    assert 1 <= backends.count(f"{database.name}|{database.role}") <= database.pool


@pytest.mark.checklist("F.3")
def test_pools_cannot_exceed_what_the_server_accepts(datastores: Datastores) -> None:
    with datastores.connect("pgbouncer", MONITOR, server=POOLER, cursor_factory=ClientCursor) as console:
        rows = console.execute("SHOW DATABASES")
        columns = [column.name for column in rows.description or ()]
        limits = {row[0]: row[columns.index("max_connections")] for row in rows if row[0] != "pgbouncer"}
        with pytest.raises(psycopg.errors.Error, match="admin access needed"):
            console.execute("SHUTDOWN")
    assert limits == {database.name: database.pool for database in datastores.databases}
    direct = sum(database.direct for database in datastores.databases)
    assert sum(limits.values()) + direct < int(datastores.sql("postgres", "SHOW max_connections"))


def test_a_rotated_password_is_taken_over_without_a_restart(
    datastores: Datastores, deploy: Callable[..., CompletedRun]
) -> None:
    database = datastores.databases[-1]
    name = f"postgres/{database.role}"
    old = datastores.password(name)
    containers = ("pgbouncer", "shared-postgres")
    started = [datastores.inspect(container, "{{.State.StartedAt}}") for container in containers]
    with datastores.rotated(name):
        done = deploy()
    assert done.rc == 0, done.output
    assert datastores.password(name) != old
    for server in (("shared-postgres", 5432), POOLER):
        with datastores.connect(database.name, database.role, server=server) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError, match="authentication failed"):
            datastores.connect(database.name, database.role, password=old, server=server)
    assert [datastores.inspect(container, "{{.State.StartedAt}}") for container in containers] == started
    assert deploy().changed == []
