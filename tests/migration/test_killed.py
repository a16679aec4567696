"""The copying of a database is killed at each of its steps: the next run goes on, and no row is lost."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator

import pytest

from lab.machine import Machine
from operations.script import FILES
from tests.migration import old_server
from tests.migration.old_server import sql

SCRIPT = FILES / "migration" / "postgres-copy.sh"
STATE = "/var/lib/sourcefast/migrations"
# In the place of a program: once its arguments have the words of a file, its caller is killed while it works.
KILLER = """\
#!/bin/bash
program=/usr/bin/${0##*/}
if [[ -e /run/kill && "$*" == *"$(cat /run/kill)"* ]]; then
    rm /run/kill
    "$program" "$@" <&0 &
    sleep 0.2
    kill -9 "$PPID" $!
    exit 137
fi
exec "$program" "$@"
"""
MOMENTS = {
    "dump": "pg_dump --format",
    "dump read back": "shop.dump.part",
    "restore": "--role=migration_shop",
    "comparison": "--dbname shop_migrating",
    "record": "/shop.part",
}
WIDGETS = """SELECT count(*), md5(string_agg(md5(w::text), '' ORDER BY id)) FROM "Widget" w;"""
NEW, OLD = "augmenter-new", "augmenter-db"


@pytest.fixture(scope="module")
def servers(machine: Machine) -> Iterator[Machine]:
    """Two servers, and programs that kill their caller on request."""
    for name in (OLD, NEW):
        old_server.postgres(machine, name, f"{name.replace('-', '_')}_pgdata")
    sql(machine, NEW, "postgres", "CREATE ROLE shop LOGIN;")
    sql(machine, OLD, "postgres", "CREATE DATABASE shop;")
    sql(machine, OLD, "shop", old_server.AUGMENTER)
    for program in ("docker", "sync"):
        machine.run(f"cat >/usr/local/bin/{program} && chmod 0755 /usr/local/bin/{program}", input=KILLER)
    yield machine
    machine.run("rm -f /usr/local/bin/docker /usr/local/bin/sync /run/kill")


@pytest.fixture
def untouched(servers: Machine) -> Machine:
    """As before any copying."""
    sql(servers, OLD, "postgres", "ALTER DATABASE shop RESET default_transaction_read_only;")
    for name in ("shop", "shop_migrating", "shop_replaced"):
        sql(servers, NEW, "postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE);")
    sql(servers, NEW, "postgres", "CREATE DATABASE shop OWNER shop;")
    # Counts as empty: it has only an extension's objects.
    sql(servers, NEW, "shop", "CREATE EXTENSION postgis CASCADE; CREATE EXTENSION postgis_topology;")
    servers.run(f"rm -rf {STATE}")
    return servers


def copy(machine: Machine, kill: str = "") -> subprocess.CompletedProcess[str]:
    """Copy the database; killed where a program is called with these words."""
    if kill:
        machine.run("cat >/run/kill", input=kill)
    # pyinfra's own way to run it: the script first on its standard input, and nothing after it.
    text = SCRIPT.read_text()
    loader = shlex.quote(f'eval "$(head -c {len(text.encode())})"')
    return machine.run(
        f"bash -c {loader} copy {STATE} {OLD} shop {NEW} shop yes", input=text, check=False, timeout=120
    )


@pytest.mark.parametrize("words", MOMENTS.values(), ids=MOMENTS.keys())
def test_the_next_run_goes_on(untouched: Machine, words: str) -> None:
    killed = copy(untouched, kill=words)
    assert killed.returncode != 0, killed.stdout
    assert untouched.run(f"ls {STATE}/{OLD}").stdout.split().count("shop") == 0
    again = copy(untouched)
    assert again.returncode == 0, again.stderr
    assert "59 tables with 186 rows" in again.stdout
    assert sql(untouched, NEW, "shop", WIDGETS) == sql(untouched, OLD, "shop", WIDGETS)
    assert untouched.run(f"ls {STATE}/{OLD}").stdout.split() == ["shop"]
    assert sql(untouched, NEW, "postgres", "SELECT datname FROM pg_database WHERE datname ~ '^shop';") == [
        "shop"
    ]
    assert sql(untouched, NEW, "postgres", "SELECT rolname FROM pg_roles WHERE rolname ~ '^migration';") == []


def test_what_was_written_after_a_killed_run_is_copied_as_well(untouched: Machine) -> None:
    copy(untouched, kill="/shop.part")
    # Somebody gives up, and the application goes on with the old server.
    sql(untouched, NEW, "postgres", "DROP DATABASE shop WITH (FORCE);")
    sql(untouched, OLD, "postgres", "ALTER DATABASE shop RESET default_transaction_read_only;")
    sql(untouched, OLD, "shop", """INSERT INTO "User" (email, plan) VALUES ('late@example.org', 'pro');""")
    assert copy(untouched).returncode == 0
    assert sql(untouched, NEW, "shop", """SELECT email FROM "User" WHERE id = 4;""") == ["late@example.org"]


def test_an_application_that_goes_on_writing_is_refused_by_the_old_server(untouched: Machine) -> None:
    assert copy(untouched).returncode == 0
    insert = """INSERT INTO "User" (email, plan) VALUES ('lost@example.org', 'pro');"""
    output = untouched.run(
        f"docker exec -i {OLD} psql -XqAt -U augmenter -d shop", input=insert, check=False
    ).stderr
    assert "read-only transaction" in output


def test_a_crash_of_the_old_server_meanwhile_makes_the_dump_out_of_date(untouched: Machine) -> None:
    """Its sequences are ahead afterwards: Postgres writes each 32 numbers before they are drawn."""
    sql(untouched, OLD, "shop", "CHECKPOINT; SELECT nextval('t1_id_seq');")
    copy(untouched, kill="--role=migration_shop")
    untouched.run(f"docker kill {OLD}")
    done = copy(untouched)
    assert done.returncode == 0, done.stderr
    assert "out of date" in done.stdout
    assert sql(untouched, NEW, "shop", WIDGETS) == sql(untouched, OLD, "shop", WIDGETS)


def test_a_copy_that_differs_is_not_switched_to(untouched: Machine) -> None:
    # What this column has follows from where it is.
    sql(
        untouched,
        OLD,
        "shop",
        "CREATE FUNCTION here() RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT current_database()::text';"
        "ALTER TABLE t1 ADD at text GENERATED ALWAYS AS (here()) STORED;",
    )
    done = copy(untouched)
    undo = "SET default_transaction_read_only = off; ALTER TABLE t1 DROP at; DROP FUNCTION here;"
    sql(untouched, OLD, "shop", undo)
    assert done.returncode != 0
    assert "rows public.t1" in done.stderr
    assert "nothing was switched" in done.stderr
    assert sql(untouched, NEW, "shop", "SELECT to_regclass('public.t1') IS NULL;") == ["t"]
