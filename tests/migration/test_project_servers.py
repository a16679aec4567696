"""Requirements 12, phase 2: servers that augmenter.PRO had of its own move into the shared ones, and no row is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lab.machine import Machine
from tests.host.conftest import CompletedRun
from tests.migration import old_server
from tests.migration.conftest import migrate
from tests.migration.old_server import sql

NEW = "shared-postgres"
TABLES = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE';"
WIDGETS = """SELECT md5(string_agg(md5(w::text), '' ORDER BY id)) FROM "Widget" w;"""


@pytest.fixture(scope="module")
def before(machine: Machine) -> dict[str, Any]:
    """The old servers are there; what they say of themselves."""
    old_server.augmenter(machine)
    return {
        "tables": sql(machine, "augmenter-db", "augmenter", TABLES),
        "widgets": sql(machine, "augmenter-db", "augmenter", WIDGETS),
    }


@pytest.fixture(scope="module")
def moved(before: dict[str, Any]) -> CompletedRun:
    done = migrate()
    assert done.rc == 0, done.output
    return done


def inspected(machine: Machine, container: str) -> dict[str, Any]:
    answer: list[dict[str, Any]] = json.loads(machine.run(f"docker inspect {container}").stdout)
    return answer[0]


def test_a_dry_run_says_so_and_does_nothing(machine: Machine, before: dict[str, Any]) -> None:
    plan = migrate("--dry")
    assert any("Databases of augmenter-db" in name for name in plan.planned), plan.output
    assert machine.run("docker ps -aq --filter name=^shared-postgres").stdout == ""
    assert sql(machine, "augmenter-db", "augmenter", "SHOW default_transaction_read_only;") == ["off"]


@pytest.mark.checklist("2.1", "2.6")
def test_every_row_is_there(machine: Machine, before: dict[str, Any], moved: CompletedRun) -> None:
    assert sql(machine, NEW, "augmenter", TABLES) == before["tables"]
    assert sql(machine, NEW, "augmenter", 'SELECT count(*) FROM "User";') == ["3"]
    assert sql(machine, NEW, "augmenter", 'SELECT count(*) FROM "Widget";') == ["126"]
    assert sql(machine, NEW, "augmenter", WIDGETS) == before["widgets"]
    assert sql(machine, NEW, "postiz", 'SELECT count(*) FROM "Post";') == ["1"]
    assert "augmenter-db/augmenter -> shared-postgres: 59 tables with 186 rows" in moved.output


def test_it_belongs_to_the_project_s_role_and_goes_on_where_it_was(
    machine: Machine, moved: CompletedRun
) -> None:
    owner = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'spatial_ref_sys';"
    assert sql(machine, NEW, "augmenter", owner) == ["augmenter"]
    insert = """SET ROLE augmenter; INSERT INTO "User" (email, plan) VALUES ('new@example.org', 'free') RETURNING id;"""
    assert sql(machine, NEW, "augmenter", insert) == ["4"]
    sql(machine, NEW, "augmenter", 'DELETE FROM "User" WHERE id = 4;')
    nearest = """SET enable_seqscan = off; EXPLAIN (COSTS off) SELECT id FROM "Widget"
        ORDER BY embedding <=> (SELECT embedding FROM "Widget" WHERE id = 7) LIMIT 3;"""
    assert any("Widget_embedding_idx" in line for line in sql(machine, NEW, "augmenter", nearest))


@pytest.mark.checklist("2.5")
def test_nango_finds_its_migrations_done_and_unlocked(machine: Machine, moved: CompletedRun) -> None:
    assert sql(machine, NEW, "nango", "SELECT count(*) FROM nango._nango_auth_migrations;") == ["40"]
    assert sql(machine, NEW, "nango", "SELECT is_locked FROM nango._nango_auth_migrations_lock;") == ["0"]
    # The old one is as it was.
    old = "augmenter-db"
    machine.run(f"docker start {old}")
    old_server.answers(machine, f"docker exec {old} pg_isready -q -h 127.0.0.1")
    assert sql(machine, old, "nango", "SELECT is_locked FROM nango._nango_auth_migrations_lock;") == ["1"]
    machine.run(f"docker stop {old}")


@pytest.mark.checklist("2.2")
def test_what_the_old_redis_has_is_reported(moved: CompletedRun) -> None:
    assert "augmenter-redis: 2 keys" not in moved.output
    assert "augmenter-redis: 1 keys in index 0 are not taken over" in moved.output


@pytest.mark.checklist("2.3")
@pytest.mark.parametrize("container", ["augmenter-db", "augmenter-redis"])
def test_the_old_containers_are_stopped_and_kept(
    machine: Machine, moved: CompletedRun, container: str
) -> None:
    old = inspected(machine, container)
    assert old["State"]["Status"] == "exited"
    assert old["HostConfig"]["RestartPolicy"]["Name"] == "no"
    assert all(machine.run(f"docker volume inspect {mount['Name']}") for mount in old["Mounts"])


def test_a_second_run_changes_nothing(moved: CompletedRun) -> None:
    assert migrate().changed == []


def test_writes_after_going_back_are_reported_as_in_no_copy(machine: Machine, moved: CompletedRun) -> None:
    """As docs/operating/migrating.md says."""
    old = "augmenter-db"
    machine.run(f"docker start {old}")
    old_server.answers(machine, f"docker exec {old} pg_isready -q -h 127.0.0.1")
    alter = "ALTER DATABASE augmenter {} default_transaction_read_only {}"
    psql = f"docker exec {old} psql -U augmenter -d postgres -c"
    machine.run(f"{psql} '{alter.format('RESET', '')}'")
    sql(machine, old, "augmenter", """INSERT INTO "User" (email, plan) VALUES ('back@example.org', 'pro');""")
    done = migrate()
    assert done.rc != 0
    assert "takes writes again" in done.output
    machine.run(f"{psql} '{alter.format('SET', '= on')}' && docker stop {old}")


def test_what_is_there_already_is_not_overwritten(machine: Machine, moved: CompletedRun) -> None:
    # As after the loss of the record: the new database has its content, but no record says that it is the copy.
    machine.run("rm /var/lib/sourcefast/migrations/augmenter-db/augmenter")
    done = migrate()
    assert done.rc != 0
    assert "shared-postgres: database augmenter" in done.output
    assert "nothing is ever overwritten" in done.output
    assert sql(machine, NEW, "augmenter", 'SELECT count(*) FROM "Widget";') == ["126"]
