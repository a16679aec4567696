"""shared-postgres, tried by its roles (requirements 5.1)."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from psycopg import errors

from tests.host.conftest import CompletedRun, await_true
from tests.services.datastores import Datastores

Deploy = Callable[..., CompletedRun]


@pytest.mark.checklist("1.3")
def test_each_role_reaches_its_own_database_and_no_other(datastores: Datastores) -> None:
    for database in datastores.databases:
        for other in datastores.databases:
            if other is database or database.role in other.connect_roles:
                with datastores.connect(other.name, database.role) as connection:
                    assert connection.execute("SELECT current_database()").fetchone() == (other.name,)
            else:
                with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                    datastores.connect(other.name, database.role)


@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_no_role_reaches_the_servers_own_databases(datastores: Datastores, database: str) -> None:
    for role in {database.role for database in datastores.databases}:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            datastores.connect(database, role)


def test_nobody_gets_in_with_a_wrong_password_and_the_superuser_with_none(datastores: Datastores) -> None:
    database = datastores.databases[0]
    for role in (database.role, "postgres"):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            datastores.connect(database.name, role, password="a guess")  # noqa: S106 - wrong on purpose


def test_every_password_is_kept_as_scram(datastores: Datastores) -> None:
    kept = datastores.sql(
        "postgres", "SELECT rolname, split_part(rolpassword, '$', 1) FROM pg_authid WHERE rolcanlogin"
    )
    schemes = dict(line.split("|") for line in kept.splitlines())
    assert schemes.pop("postgres") == ""
    assert set(schemes.values()) == {"SCRAM-SHA-256"}
    assert schemes.keys() >= {database.role for database in datastores.databases}


def test_an_owner_makes_tables_and_nothing_more(datastores: Datastores) -> None:
    database = datastores.databases[0]
    with datastores.connect(database.name, database.role) as connection:
        connection.execute("CREATE TABLE tried (id int)")
        connection.execute("DROP TABLE tried")
        for forbidden in (
            "CREATE ROLE intruder",
            "CREATE DATABASE intruder",
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "SELECT pg_read_file('/etc/postgresql/monitor.pgpass')",
            "ALTER SYSTEM SET work_mem = '1GB'",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(forbidden)


def test_vectors_are_found_by_distance_where_declared_and_unknown_elsewhere(datastores: Datastores) -> None:
    for database in datastores.databases:
        with datastores.connect(database.name, database.role) as connection:
            if "vector" not in database.extensions:
                with pytest.raises(errors.UndefinedObject):
                    connection.execute("SELECT '[1,2,3]'::vector")
                continue
            connection.execute("CREATE TEMPORARY TABLE chunks (text text, embedding vector(3))")
            connection.execute("INSERT INTO chunks VALUES ('near', '[1,0,0.1]'), ('far', '[0,1,0]')")
            connection.execute(
                "CREATE INDEX ON chunks USING hnsw (embedding vector_cosine_ops) WITH (m = 16)"
            )
            nearest = connection.execute("SELECT text FROM chunks ORDER BY embedding <=> '[1,0,0]' LIMIT 1")
            assert nearest.fetchone() == ("near",)


def test_places_are_measured_where_declared_and_unknown_elsewhere(datastores: Datastores) -> None:
    paris, lyon = "ST_MakePoint(2.3522, 48.8566)::geography", "ST_MakePoint(4.8357, 45.7640)::geography"
    for database in datastores.databases:
        with datastores.connect(database.name, database.role) as connection:
            if "postgis" in database.extensions:
                [km] = connection.execute(f"SELECT ST_Distance({paris}, {lyon}) / 1000").fetchone() or [0]
                assert 385 < km < 400
            else:
                with pytest.raises((errors.UndefinedFunction, errors.UndefinedObject)):
                    connection.execute(f"SELECT {paris}")


def test_drift_is_repaired_and_then_there_is_nothing_to_do(datastores: Datastores, deploy: Deploy) -> None:
    first, second = datastores.databases[:2]
    extended = next(database for database in datastores.databases if "vector" in database.extensions)
    started = datastores.inspect("shared-postgres", "{{.State.StartedAt}}")
    datastores.sql(
        "postgres",
        f"""
        ALTER DATABASE {first.name} OWNER TO {second.role};
        GRANT CONNECT ON DATABASE {second.name} TO PUBLIC;
        GRANT CREATE ON DATABASE {second.name} TO {first.role};
        ALTER ROLE {first.role} CREATEDB PASSWORD 'another';
        GRANT pg_read_all_data TO {second.role};
        ALTER SYSTEM SET work_mem = '64MB';
        SELECT FROM pg_reload_conf();
        """,
    )
    datastores.sql(extended.name, "DROP EXTENSION vector CASCADE")
    done = deploy()
    assert done.rc == 0, done.output
    test_each_role_reaches_its_own_database_and_no_other(datastores)
    with datastores.connect(first.name, first.role) as connection:
        assert connection.execute("SHOW work_mem").fetchone() != ("64MB",)
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("CREATE DATABASE intruder")
    owners = datastores.sql("postgres", "SELECT datname, pg_get_userbyid(datdba) FROM pg_database")
    assert f"{first.name}|{first.role}" in owners.splitlines()
    members = datastores.sql(
        "postgres", "SELECT member::regrole FROM pg_auth_members WHERE roleid = 'pg_read_all_data'::regrole"
    )
    assert second.role not in members.splitlines()
    assert datastores.sql(extended.name, "SELECT '[1,2]'::vector(2)") == "[1,2]"
    assert datastores.inspect("shared-postgres", "{{.State.StartedAt}}") == started
    assert deploy().changed == []


def test_a_database_that_nothing_declares_is_reported_and_left(
    datastores: Datastores, deploy: Deploy
) -> None:
    datastores.sql("postgres", "CREATE DATABASE stray")
    try:
        done = deploy()
        assert done.changed == []
        assert "databases of shared-postgres that are not declared: stray;" in done.output
        assert datastores.sql("stray", "SELECT current_database()") == "stray"
    finally:
        datastores.sql("postgres", "DROP DATABASE stray")


def test_no_password_or_verifier_is_in_the_servers_log_or_environment(datastores: Datastores) -> None:
    log = datastores.machine.run("docker logs shared-postgres 2>&1; docker inspect shared-postgres").stdout
    assert "SCRAM-SHA-256$" not in log
    for database in datastores.databases:
        assert datastores.password(f"postgres/{database.role}") not in log


def test_an_interrupted_first_start_begins_anew(datastores: Datastores) -> None:
    image = datastores.inspect("shared-postgres", "{{.Config.Image}}")
    run = f"docker run -d --name scratch-postgres -v scratch-postgres:/var/lib/postgresql/data {image}"
    machine = datastores.machine
    try:
        machine.run(
            f"docker run --rm -v scratch-postgres:/var/lib/postgresql/data --entrypoint sh {image} -c "
            "'mkdir /var/lib/postgresql/data/cluster.new && echo 17 >/var/lib/postgresql/data/cluster.new/PG_VERSION'"
        )
        machine.run(run)
        ready = "docker exec scratch-postgres pg_isready -qh 127.0.0.1"
        await_true(lambda: machine.run(ready, check=False).returncode == 0, 300, "server in the new volume")
    finally:
        machine.run("docker rm -f scratch-postgres; docker volume rm scratch-postgres")


def test_a_volume_of_another_image_is_refused_by_name(datastores: Datastores) -> None:
    image = datastores.inspect("shared-postgres", "{{.Config.Image}}")
    machine = datastores.machine
    volume = "-v scratch-postgres:/var/lib/postgresql/data"
    try:
        machine.run(
            f"docker run --rm {volume} --entrypoint sh {image} -c 'echo 16 >/var/lib/postgresql/data/PG_VERSION'"
        )
        refused = machine.run(f"docker run --rm {volume} {image}", check=False)
        assert refused.returncode == 1
        assert "another image" in refused.stderr
        assert "dump" in refused.stderr
    finally:
        machine.run("docker volume rm scratch-postgres")
