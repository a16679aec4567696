"""An old server: foreign shared-postgres and shared-redis, with data in named volumes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from lab.machine import Machine
from tests.host.conftest import CompletedRun, kill_after
from tests.migration import old_server
from tests.migration.conftest import command, migrate
from tests.migration.old_server import PASSWORD, answers, redis_cli, sql

POSTGRES, REDIS = "shared-postgres", "shared-redis"
ADOPT = ("--data", "postgres_migrate=true", "--data", 'databases_left=["qdrant"]')
ROWS = "SELECT md5(string_agg(md5(t::text), '' ORDER BY id)) FROM spend t;"
KEYS = {0: 3, 1: 2, 6: 1}


@pytest.fixture(scope="module")
def before(machine: Machine) -> dict[str, Any]:
    """The old servers; what they say of themselves."""
    old_server.postgres(machine, POSTGRES, "shared_pgdata")
    sql(
        machine,
        POSTGRES,
        "augmenter",
        "CREATE DATABASE litellm; CREATE DATABASE langfuse; CREATE DATABASE qdrant;",
    )
    sql(
        machine,
        POSTGRES,
        "litellm",
        "CREATE TABLE spend (id bigserial PRIMARY KEY, model text, usd numeric);"
        "INSERT INTO spend (model, usd) SELECT 'm' || i % 7, i / 1000.0 FROM generate_series(1, 5000) i;"
        "CREATE INDEX ON spend (model);",
    )
    sql(
        machine,
        POSTGRES,
        "langfuse",
        "CREATE TABLE users (id text PRIMARY KEY); INSERT INTO users VALUES ('é'), ('z');",
    )
    sql(machine, POSTGRES, "qdrant", "CREATE TABLE old (id int);")
    old_server.redis(machine, REDIS, "shared_redisdata")
    redis_cli(machine, REDIS, "MSET", "a", "1", "b", "2", "c", "3")
    redis_cli(machine, REDIS, "-n", "1", "SETEX", "cached", "86400", "x")
    redis_cli(machine, REDIS, "-n", "1", "SET", "permanent", "x")
    redis_cli(machine, REDIS, "-n", "6", "RPUSH", "bull:scoring:wait", "1", "2", "3")
    return {"rows": sql(machine, POSTGRES, "litellm", ROWS), "ids": ids(machine)}


@pytest.fixture(scope="module")
def killed(machine: Machine, before: dict[str, Any]) -> str:
    """What a run said that dies with the host, while the first database is being copied."""
    text = kill_after(command(*ADOPT), f"Databases of {POSTGRES}-old", "dumped and read back")
    machine.stop(hard=True)
    machine.start()
    return text


@pytest.fixture(scope="module")
def adopted(killed: str) -> CompletedRun:
    """The next run goes on; with what both said."""
    done = migrate(*ADOPT)
    assert done.rc == 0, done.output
    return replace(done, output=killed + done.output)


def ids(machine: Machine) -> list[str]:
    """Which containers there are, and that they run."""
    return machine.run(
        "docker ps --no-trunc --format '{{.ID}} {{.Names}}' --filter name=^shared-"
    ).stdout.split()


def inspected(machine: Machine, container: str) -> dict[str, Any]:
    answer: list[dict[str, Any]] = json.loads(machine.run(f"docker inspect {container}").stdout)
    return answer[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("musl", "glibc", "indexes on text", "shared_pgdata", "postgres_migrate=true")),
        (ADOPT[:2], ("database qdrant", "nothing says what becomes of them", "databases_left")),
    ],
    ids=["Alpine, unasked", "an undeclared database"],
)
def test_what_is_refused_is_refused_before_anything_is_changed(
    machine: Machine, before: dict[str, Any], arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    for dry in ((), ("--dry",)):
        done = migrate(*arguments, *dry)
        assert done.rc != 0
        assert all(word in done.output for word in words), done.output
        assert "Traceback" not in done.output
    assert ids(machine) == before["ids"]
    assert machine.run("ls /opt/sourcefast", check=False).stdout == ""


def test_a_container_of_coolify_s_stops_the_run(machine: Machine, before: dict[str, Any]) -> None:
    machine.run(f"docker run -d --name uptime-guard --label coolify.managed=true {old_server.REDIS}")
    machine.run(f"docker rename {REDIS} kept && docker rename uptime-guard {REDIS}")
    done = migrate(*ADOPT)
    machine.run(f"docker rm -f -v {REDIS} && docker rename kept {REDIS}")
    assert done.rc != 0
    assert "managed by Coolify" in done.output
    assert ids(machine) == before["ids"]


def test_a_dry_run_names_the_volumes(machine: Machine, before: dict[str, Any]) -> None:
    plan = migrate(*ADOPT, "--dry")
    assert plan.rc == 0, plan.output
    assert f"{POSTGRES} of no Compose project" in plan.output
    assert f"{REDIS}: shared_redisdata (/data) is copied into redis_data" in plan.output
    assert ids(machine) == before["ids"]


def test_every_row_is_there(machine: Machine, before: dict[str, Any], adopted: CompletedRun) -> None:
    assert sql(machine, POSTGRES, "litellm", ROWS) == before["rows"]
    assert sql(machine, POSTGRES, "langfuse", "SELECT count(*) FROM users;") == ["2"]
    # A Postgres that lost its power may leave numbers out.
    (new,) = sql(machine, POSTGRES, "litellm", "INSERT INTO spend (model) VALUES ('new') RETURNING id;")
    assert int(new) > 5000
    assert "ID=debian" in machine.run(f"docker exec {POSTGRES} cat /etc/os-release").stdout


def test_every_key_is_there(machine: Machine, adopted: CompletedRun) -> None:
    ask = "REDISCLI_AUTH=$(cat /etc/redis/admin.password) redis-cli --user admin INFO keyspace"
    text = machine.run(f"docker exec {REDIS} sh -c '{ask}'").stdout
    for index, keys in KEYS.items():
        assert f"db{index}:keys={keys}," in text
    assert "3 keys in index 0, 2 keys in index 1, 1 keys in index 6" in adopted.output


def test_the_old_ones_are_kept_with_their_volumes_off_the_network(
    machine: Machine, adopted: CompletedRun
) -> None:
    for name, volume in ((f"{POSTGRES}-old", "shared_pgdata"), (f"{REDIS}-old", "shared_redisdata")):
        old = inspected(machine, name)
        assert old["State"]["Status"] == "exited"
        assert old["HostConfig"]["RestartPolicy"]["Name"] == "no"
        assert [mount["Name"] for mount in old["Mounts"]] == [volume]
        assert not old["NetworkSettings"]["Networks"]
        assert volume in adopted.output
    for name, project in ((POSTGRES, "postgres"), (REDIS, "redis")):
        labels = inspected(machine, name)["Config"]["Labels"]
        assert labels["com.docker.compose.project"] == project


def test_a_second_run_changes_nothing(adopted: CompletedRun) -> None:
    assert migrate(*ADOPT).changed == []
    assert migrate("--data", 'databases_left=["qdrant"]').changed == []


def test_whoever_goes_back_finds_everything(machine: Machine, adopted: CompletedRun) -> None:
    """As docs/operating/adopting.md says; the next run does not take the copy of then for what there is now."""
    machine.run(f"docker rm --force {REDIS} && docker rename {REDIS}-old {REDIS}")
    (network,) = machine.run(f"cat /var/lib/sourcefast/migrations/{REDIS}.networks").stdout.split()
    machine.run(f"docker network connect {network} {REDIS} && docker start {REDIS}")
    answers(machine, f"docker exec -e REDISCLI_AUTH={PASSWORD} {REDIS} redis-cli ping | grep -q PONG")
    assert redis_cli(machine, REDIS, "-n", "6", "LLEN", "bull:scoring:wait") == "3"
    done = migrate(*ADOPT)
    assert done.rc != 0
    assert "what it had before is in redis_data" in done.output
