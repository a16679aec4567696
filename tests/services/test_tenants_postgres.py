"""What a project can do to the others in Postgres, tried from its own container with its own password; and what others
have added to the shared services, named by every run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from blueprint.model import Database
from blueprint.postgres import MONITOR, connection_limits
from group_data.shared import gateway
from lab.machine import Machine
from tests.host.conftest import CompletedRun
from tests.services.datastores import Datastores
from tests.services.declared import everything
from tests.services.tenants import Tenant

# What each program below begins with: the project's own login, at any of the two doors and any database.
LOGIN = """
import time, psycopg
from urllib.parse import unquote, urlsplit

own = urlsplit(os.environ["DATABASE_URL"])

def login(database=own.path[1:], host="shared-postgres", port=5432):
    return psycopg.connect(host=host, port=port, dbname=database, user=own.username, password=unquote(own.password),
                           connect_timeout=30, autocommit=True)
"""
LITELLM_ONLY = ("--data", "phase=litellm")


def own_database(tenant: Tenant) -> Database:
    """The one that its programs log in to."""
    return tenant.project.databases[0]


def test_each_project_enters_its_own_database_and_no_other(
    tenants: list[Tenant], datastores: Datastores
) -> None:
    names = [*(database.name for database in datastores.databases), "postgres", "template1"]
    program = """
        found = {}
        for host, port in (("shared-postgres", 5432), ("pgbouncer", 6432)):
            for database in arguments["databases"]:
                try:
                    with login(database, host, port) as connection:
                        connection.execute("SELECT 1")
                    found[host + "/" + database] = "entered"
                except psycopg.Error as error:
                    found[host + "/" + database] = str(error)
        print(json.dumps(found))
    """
    for tenant in tenants:
        found = tenant.python(_after_login(program), databases=names)
        name = own_database(tenant).name
        entered = {door for door, output in found.items() if output == "entered"}
        assert entered == {f"shared-postgres/{name}", f"pgbouncer/{name}"}, found
        for door in found.keys() - entered:
            # PgBouncer knows no others than the declared ones.
            assert "permission denied for database" in found[door] or "no such database" in found[door]


def test_a_project_that_takes_all_connections_takes_only_its_own(
    tenants: list[Tenant], datastores: Datastores
) -> None:
    """All of them at once: the services, the monitor and the superuser still get in."""
    blueprint = everything().blueprint
    limits = connection_limits(blueprint.postgres, blueprint.databases)
    program = """
        held, refused = [], None
        while refused is None and len(held) < 200:
            try:
                held.append(login())
            except psycopg.Error as error:
                refused = str(error)
        held[0].execute("SET application_name = 'flood'")
        for _ in range(600):
            if os.path.exists("/tmp/released"):
                break
            time.sleep(0.1)
        print(json.dumps({"opened": len(held), "refused": refused}))
    """

    def flood(tenant: Tenant) -> Any:
        return tenant.python(_after_login(program))

    machine = datastores.machine
    with ThreadPoolExecutor(len(tenants)) as pool:
        floods = [pool.submit(flood, tenant) for tenant in tenants]
        try:
            flooding = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'flood'"
            _until(lambda: int(datastores.sql("postgres", flooding)) == len(tenants))
            flooded = {own_database(tenant).role for tenant in tenants}
            for database in datastores.databases:
                if database.role not in flooded:
                    datastores.connect(database.name, database.role).close()
                datastores.connect(database.name, MONITOR).close()
            assert datastores.sql("postgres", "SELECT 1") == "1"
        finally:
            for tenant in tenants:
                machine.run(f"docker exec {tenant.container} touch /tmp/released", check=False)
        answers = [each.result() for each in floods]
    for tenant, answer in zip(tenants, answers, strict=True):
        machine.run(f"docker exec {tenant.container} rm -f /tmp/released")
        role = own_database(tenant).role
        assert f'too many connections for role "{role}"' in answer["refused"]
        assert 0 < answer["opened"] <= limits[role]


def test_no_project_reaches_beyond_its_own_database_with_what_it_may(tenants: list[Tenant]) -> None:
    roles = [own_database(tenant).role for tenant in tenants]
    program = """
        refused = {}
        with login() as connection:
            for statement in arguments["statements"]:
                try:
                    connection.execute(statement)
                    refused[statement] = None
                except psycopg.Error as error:
                    refused[statement] = error.sqlstate
            seen = connection.execute(
                "SELECT query FROM pg_stat_activity WHERE usename <> current_user AND query <> ''").fetchall()
        print(json.dumps({"refused": refused, "seen": [query for query, in seen]}))
    """
    for tenant, role in zip(tenants, roles, strict=True):
        other = next(each for each in roles if each != role)
        statements = [
            f'SET ROLE "{other}"',
            f'GRANT "{role}" TO "{other}"',
            f'ALTER ROLE "{role}" CONNECTION LIMIT -1',
            f'ALTER ROLE "{role}" SUPERUSER',
            f"ALTER ROLE \"{other}\" PASSWORD 'taken'",
            "CREATE ROLE intruder",
            "CREATE DATABASE intruder",
            "SELECT rolpassword FROM pg_authid",
            "SELECT pg_read_file('/etc/postgresql/monitor.pgpass')",
            "SELECT lo_import('/etc/postgresql/monitor.pgpass')",
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "CREATE EXTENSION dblink",
            "CREATE EXTENSION postgres_fdw",
            "CREATE EVENT TRIGGER spy ON ddl_command_end EXECUTE FUNCTION now()",
            "CREATE SUBSCRIPTION spy CONNECTION 'host=elsewhere' PUBLICATION all_of_it",
            "SELECT pg_create_physical_replication_slot('spy')",
            "ALTER SYSTEM SET work_mem = '1GB'",
            "SET temp_file_limit = -1",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE usename IS NOT NULL AND usename <> current_user",
        ]
        found = tenant.python(_after_login(program), statements=statements)
        assert {statement for statement, state in found["refused"].items() if state != "42501"} == set()
        assert set(found["seen"]) <= {"<insufficient privilege>"}


# --- what others have added, and what a project has laid out for the superuser


# Under names that a superuser's questions use, what makes its owner one: taken where its search_path leads there first.
TRAP = """
CREATE FUNCTION public.{name} RETURNS {type} LANGUAGE plpgsql AS $$ BEGIN
    BEGIN
        EXECUTE 'ALTER ROLE "' || '{role}' || '" SUPERUSER';
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    RETURN pg_catalog.{call};
END $$;
"""
STRAY_IN_DATABASE = """
CREATE EXTENSION dblink SCHEMA public;
CREATE FUNCTION public.stray() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
CREATE FUNCTION public.stray_event() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER stray ON ddl_command_end EXECUTE FUNCTION public.stray_event();
CREATE TABLE public.stray ();
GRANT EXECUTE ON FUNCTION pg_read_file(text) TO {role};
"""
CLEAN_IN_DATABASE = """
DROP EVENT TRIGGER IF EXISTS stray;
DROP EXTENSION IF EXISTS dblink;
DROP FUNCTION IF EXISTS public.stray(), public.stray_event(), public.current_database(), public.pg_get_userbyid(oid);
DROP TABLE IF EXISTS public.stray;
REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM {role};
"""
STRAY = """
CREATE ROLE stray_super LOGIN SUPERUSER;
CREATE ROLE stray_copy LOGIN REPLICATION CREATEROLE CREATEDB BYPASSRLS;
CREATE ROLE stray_member LOGIN;
GRANT pg_execute_server_program, {role} TO stray_member;
CREATE ROLE stray_idle LOGIN;
GRANT pg_read_server_files TO pg_monitor;
GRANT SET ON PARAMETER log_statement TO {role};
SELECT FROM pg_create_physical_replication_slot('stray');
"""
CLEAN = """
REVOKE SET ON PARAMETER log_statement FROM {role};
REVOKE pg_read_server_files FROM pg_monitor;
DROP ROLE IF EXISTS stray_super, stray_copy, stray_member, stray_idle;
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'stray';
ALTER ROLE {role} NOSUPERUSER;
ALTER ROLE {role} RESET ALL;
ALTER DATABASE {name} RESET ALL;
"""
# Of what is declared.
DRIFT = """
ALTER ROLE {role} CONNECTION LIMIT -1;
GRANT pg_read_all_data TO {role};
GRANT CONNECT ON DATABASE postgres TO {role};
ALTER ROLE monitor SET role = 'none';
ALTER ROLE postgres SET work_mem = '7MB';
ALTER SYSTEM SET log_parameter_max_length = 77;
"""
RIGHTS = """
SELECT rolconnlimit, rolsuper, pg_has_role(oid, 'pg_read_all_data', 'member'),
    has_database_privilege(oid, 'postgres', 'connect')
FROM pg_roles WHERE rolname = '{role}';
"""
HBA = "/opt/sourcefast/postgres/postgres/pg_hba.conf"
IDENTITIES = "/data/.minio.sys/config/iam"


@pytest.fixture
def litellm(machine: Machine) -> Callable[..., None]:
    """Ask LiteLLM for something with the master key, in its container; without `check` it may refuse."""

    def ask(path: str, *, check: bool = True, **body: Any) -> None:
        program = (
            "import json, os, sys, urllib.request\n"
            f"request = urllib.request.Request('http://127.0.0.1:{gateway.port}' + sys.argv[1], sys.argv[2].encode(),\n"
            "    {'Authorization': 'Bearer ' + os.environ['LITELLM_MASTER_KEY'], 'Content-Type': 'application/json'})\n"
            "print(urllib.request.urlopen(request).read().decode())"
        )
        command = shlex.join(
            ["docker", "exec", gateway.container, "python3", "-c", program, path, json.dumps(body)]
        )
        machine.run(command, check=check)

    return ask


def kuma(machine: Machine, sql: str) -> None:
    """Change Uptime Kuma's database as a person with root could."""
    program = (
        "const { Database } = require('@louislam/sqlite3'); const db = new Database('/app/data/kuma.db');"
        f" db.exec({json.dumps(sql)}, (error) => {{ if (error) throw error; }});"
    )
    owner = machine.run("docker exec uptime-kuma stat -c %u:%g /app/data/kuma.db").stdout.strip()
    machine.run(shlex.join(["docker", "exec", "--user", owner, "uptime-kuma", "node", "-e", program]))


@pytest.fixture
def strays(
    tenants: list[Tenant], datastores: Datastores, litellm: Callable[..., None]
) -> Iterator[Callable[[], None]]:
    """Everything undeclared at once; calling it, or the end of the test, removes it."""
    machine, tenant = datastores.machine, tenants[-1]
    database = own_database(tenant)
    names = {"role": database.role, "name": database.name}
    owner = datastores.connect(database.name, database.role)

    def clean() -> None:
        datastores.sql("postgres", CLEAN.format(**names))
        datastores.sql(database.name, CLEAN_IN_DATABASE.format(**names))
        litellm("/user/delete", check=False, user_ids=["stray-admin"])
        litellm("/key/delete", check=False, key_aliases=["stray-free", "stray-of-team"])
        kuma(machine, "DELETE FROM user WHERE username = 'stray'; DELETE FROM api_key WHERE name = 'stray';")
        machine.run(f"docker exec minio rm -rf /data/stray {IDENTITIES}/users/stray")

    try:
        with owner:
            for name, kind, call in (
                ("current_database()", "name", "current_database()"),
                ("pg_get_userbyid(who oid)", "name", "pg_get_userbyid(who)"),
            ):
                owner.execute(TRAP.format(name=name, type=kind, call=call, role=database.role).encode())
            owner.execute(f"ALTER DATABASE {database.name} SET search_path = public, pg_catalog".encode())
            owner.execute(f"ALTER ROLE {database.role} SET statement_timeout = '1h'".encode())
        datastores.sql("postgres", STRAY.format(**names) + DRIFT.format(**names))
        datastores.sql(database.name, "SET search_path = pg_catalog;" + STRAY_IN_DATABASE.format(**names))
        litellm("/user/new", user_id="stray-admin", user_role="proxy_admin", auto_create_key=False)
        litellm("/key/generate", key_alias="stray-free")
        litellm("/key/generate", key_alias="stray-of-team", team_id=tenant.project.team.name)
        kuma(
            machine,
            "INSERT INTO user (username, active) VALUES ('stray', 1);"
            "INSERT INTO api_key (key, name, user_id, active) SELECT 'x', 'stray', min(id), 1 FROM user;",
        )
        machine.run(f"docker exec minio mkdir -p /data/stray {IDENTITIES}/users/stray")
        machine.run(f"echo 'host all all all trust' >>{HBA}")
        yield clean
    finally:
        clean()


def test_what_others_added_is_named_what_is_declared_repaired_and_no_trap_is_stepped_into(
    tenants: list[Tenant],
    datastores: Datastores,
    strays: Callable[[], None],
    deploy: Callable[..., CompletedRun],
) -> None:
    database, machine = own_database(tenants[-1]), datastores.machine
    done = deploy(*LITELLM_ONLY)
    assert done.rc != 0
    inside = f"database {database.name} of shared-postgres"
    problems = {
        "role stray_super of shared-postgres": "superuser",
        "role stray_copy of shared-postgres": "createrole, createdb, replication, bypassrls",
        "role stray_member of shared-postgres": ", ".join(
            f"member of {role}" for role in sorted((database.role, "pg_execute_server_program"))
        ),
        "role pg_monitor of shared-postgres": "member of pg_read_server_files",
        f"role {database.role} of shared-postgres": "SET ON PARAMETER log_statement",
        "replication slot stray of shared-postgres": "there",
        "LiteLLM: user stray-admin": "proxy_admin: it reads or administers everybody's teams and keys",
        "LiteLLM: key stray-free of no team": "it may spend without a limit",
        "minio: user stray": "there: it may read what its policies say, which only its root can tell",
        "Uptime Kuma: stray": "2 users, each of which may do everything",
    }
    report = " ".join(done.output.split())
    for what, found in problems.items():
        assert f"- {what} found: {found} expected:" in report
    for found in (
        "extension dblink, which reaches beyond it",
        "function public.stray() as postgres",
        "event trigger stray",
        f"EXECUTE on pg_read_file(text) for {database.role}",
    ):
        assert f"- {inside} found: {found} expected:" in report
    for output in (
        "roles of shared-postgres that are not declared: stray_idle;",
        f"{inside}: found tables, schemas or functions of postgres, which its owner cannot change;",
        f"{inside} has its own search_path:",
        f"role {database.role} of shared-postgres has its own statement_timeout:",
        f"key stray-of-team of team {tenants[-1].project.team.name} in LiteLLM is not declared;",
        "buckets of minio that are not declared: stray;",
        "API keys in Uptime Kuma that are not declared: stray;",
    ):
        assert output in report

    # What is declared is as declared.
    limit = connection_limits(everything().blueprint.postgres, everything().blueprint.databases)[
        database.role
    ]
    role = RIGHTS.format(role=database.role)
    assert datastores.sql("postgres", role) == f"{limit}|f|f|f"
    settings = (
        "SELECT count(*) FROM pg_db_role_setting WHERE setrole IN ('monitor'::regrole, 'postgres'::regrole)"
    )
    assert datastores.sql("postgres", settings) == "0"
    assert datastores.sql("postgres", "SHOW log_parameter_max_length") == "-1"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        datastores.connect(database.name, database.role, password="a guess")  # noqa: S106 - wrong on purpose

    # Nor does the backup step into the trap, which reads every table as the superuser.
    machine.run(f"/opt/scripts/backup-now.sh postgres/shared-postgres/{database.name}", timeout=300)
    assert datastores.sql("postgres", role) == f"{limit}|f|f|f"

    strays()
    done = deploy(*LITELLM_ONLY)
    assert (done.rc, done.changed) == (0, []), done.output
    assert "stray" not in done.output


def _after_login(program: str) -> str:
    lines = program.splitlines()
    indent = len(lines[1]) - len(lines[1].lstrip())
    return LOGIN + "\n".join(line[indent:] for line in lines)


def _until(holds: Callable[[], bool]) -> None:
    for _ in range(60):
        if holds():
            return
    raise AssertionError("it did not come to that")
