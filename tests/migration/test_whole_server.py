"""The old server of the requirements goes over to `deploy.py` whole: every service with its rows."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from blueprint.secrets import Secrets, password
from facts.uptime_kuma import PROGRAM
from group_data.shared import secret_formats
from lab.images.langfuse.standin.tables import CLICKHOUSE
from lab.machine import Machine
from lab.paths import CHECKOUT
from tests.host.conftest import CompletedRun, run_pyinfra
from tests.migration import old_server
from tests.migration.old_server import PASSWORD, answers, sql, start
from tests.services.declared import everything

PHASES = ("--data", "phase=litellm,monitoring,augmenter")
ADOPT = (*PHASES, "--data", "postgres_migrate=true")
# What a person's own application uses, and goes on using.
KEY = "sk-the-key-of-an-application"
MASTER_KEY = "sk-of-the-old-proxy"
TRACES = "SELECT count(), sum(cityHash64(id, name, input)) FROM traces WHERE name = 'before'"
SPEND = """SELECT count(*), sum(spend) FROM "LiteLLM_SpendLogs" WHERE request_id LIKE 'old-%';"""
WIDGETS = """SELECT count(*), md5(string_agg(md5(w::text), '' ORDER BY id)) FROM "Widget" w;"""
OBJECTS = "cd /data/langfuse/events && sha256sum [0-9]*.json"
OLD = (
    *("shared-postgres-old", "shared-redis-old", "litellm-proxy-old", "clickhouse-old", "minio-old"),
    *("uptime-kuma-old", "augmenter-db", "augmenter-redis"),
)
VOLUMES = {"shared_pgdata", "shared_redisdata", "old_clickhouse", "old_minio", "old_kuma", "augmenter_pgdata"}


def image(container: str) -> str:
    """What it is made of, before and after."""
    return next(service.image for service in everything().services if service.name == container)


def secrets() -> Secrets:
    return Secrets.open("lab", CHECKOUT / "secrets")


def secret(name: str) -> str:
    """What the old servers have, and a person puts into the secrets."""
    prefix = next((form.prefix for form in secret_formats if form.name == name), "")
    return str(secrets().generated(name, lambda: prefix + password()))


def clickhouse(machine: Machine, query: str) -> str:
    ask = 'clickhouse-client --user langfuse --password "$CLICKHOUSE_PASSWORD"'
    return machine.run(f"docker exec -i clickhouse sh -c {shlex.quote(ask)}", input=query).stdout


def litellm(machine: Machine, path: str, body: Any = None, key: str = MASTER_KEY) -> Any:
    """What the proxy answers to GET, or to POST with a body."""
    address = "$(docker inspect --format '{{.NetworkSettings.Networks.coolify.IPAddress}}' litellm-proxy)"
    data = "" if body is None else f"--json {shlex.quote(json.dumps(body))}"
    output = machine.run(f"curl -fsS -H 'Authorization: Bearer {key}' {data} http://{address}:4000{path}")
    return json.loads(output.stdout)


def kuma(machine: Machine, *actions: dict[str, Any]) -> list[str]:
    """Do what a person would on Uptime Kuma's pages; gives the names of its monitors."""
    request = {"username": "admin", "password": secret("uptime_kuma/password"), "actions": actions}
    image = "$(docker inspect --format '{{.Image}}' uptime-kuma)"
    client = "docker run --rm -i --network container:uptime-kuma --entrypoint node"
    done = machine.run(
        f"{client} {image} -e {shlex.quote(PROGRAM.read_text())}", input=json.dumps(request), timeout=150
    )
    return [monitor["name"] for monitor in json.loads(done.stdout)["monitors"]]


def litellm_before(machine: Machine) -> None:
    """A proxy with its database, a team, the key of an application, and what that has spent."""
    start(
        machine,
        f"--name litellm-proxy --env DATABASE_URL=postgresql://augmenter:{PASSWORD}@shared-postgres:5432/litellm "
        f"--env LITELLM_MASTER_KEY={MASTER_KEY} --env LITELLM_SALT_KEY={secret('litellm/salt_key')} "
        f"--env LANGFUSE_PUBLIC_KEY={secret('langfuse/public_key')} "
        f"--env LANGFUSE_SECRET_KEY={secret('langfuse/secret_key')} "
        f"{image('litellm-proxy')} --port 4000",
    )
    address = "$(docker inspect --format '{{.NetworkSettings.Networks.coolify.IPAddress}}' litellm-proxy)"
    answers(machine, f"curl -fsS http://{address}:4000/health/readiness | grep -q '\"connected\"'")
    team = litellm(machine, "/team/new", {"team_alias": "before"})["team_id"]
    litellm(machine, "/key/generate", {"key": KEY, "key_alias": "an-application", "team_id": team})
    sql(
        machine,
        "shared-postgres",
        "litellm",
        'INSERT INTO "LiteLLM_SpendLogs" (request_id, call_type, spend, "startTime", "endTime") '
        "SELECT 'old-' || i, 'acompletion', i / 1000.0, now(), now() FROM generate_series(1, 500) i;",
    )


def langfuse_before(machine: Machine) -> None:
    """ClickHouse with traces, and a bucket with their events."""
    start(
        machine,
        f"--name clickhouse --volume old_clickhouse:/var/lib/clickhouse --env CLICKHOUSE_USER=langfuse "
        f"--env CLICKHOUSE_PASSWORD={PASSWORD} --env CLICKHOUSE_DB=default {image('clickhouse')}",
    )
    answers(machine, "docker exec clickhouse wget -qO- http://127.0.0.1:8123/ping")
    for statement in CLICKHOUSE:
        clickhouse(machine, statement)
    clickhouse(
        machine,
        "INSERT INTO traces (id, timestamp, name, project_id, input, event_ts, is_deleted) SELECT toString(number), "
        "now(), 'before', 'sourcefast', repeat('é', number % 50), now(), 0 FROM numbers(2000)",
    )
    start(
        machine,
        f"--name minio --volume old_minio:/data --env MINIO_ROOT_USER=langfuse --env MINIO_ROOT_PASSWORD={PASSWORD} "
        f"{image('minio')} server /data",
    )
    put = "mkdir -p /data/langfuse/events && for i in $(seq 40); do echo event $i >/data/langfuse/events/$i.json; done"
    machine.run(f"docker exec minio sh -c {shlex.quote(put)}")


def kuma_before(machine: Machine) -> None:
    """An Uptime Kuma with a monitor that a person made."""
    start(machine, f"--name uptime-kuma --volume old_kuma:/app/data {image('uptime-kuma')}")
    shop = {"name": "a shop", "type": "port", "hostname": "minio", "port": 9000, "interval": 60}
    kuma(
        machine, {"action": "add", "settings": {**shop, "maxretries": 0, "retryInterval": 60, "timeout": 20}}
    )


def rows(machine: Machine, augmenter: str) -> dict[str, Any]:
    """Data that must not be lost.

    :param augmenter: container with augmenter.PRO's databases
    """
    return {
        "spend": sql(machine, "shared-postgres", "litellm", SPEND),
        "traces": clickhouse(machine, TRACES),
        "events": machine.run(f"docker exec minio sh -c {shlex.quote(OBJECTS)}").stdout,
        "widgets": sql(machine, augmenter, "augmenter", WIDGETS),
        "users": sql(
            machine,
            augmenter,
            "augmenter",
            'SELECT md5(string_agg(u::text, $$,$$ ORDER BY id)) FROM "User" u;',
        ),
    }


def ids(machine: Machine) -> str:
    return machine.run("docker ps --no-trunc --format '{{.ID}} {{.Names}}' | sort").stdout


@pytest.fixture(scope="module")
def server(machine: Machine) -> Machine:
    """The old servers, each with something in it."""
    old_server.postgres(machine, "shared-postgres", "shared_pgdata")
    for database in ("litellm", "langfuse"):
        sql(machine, "shared-postgres", "augmenter", f"CREATE DATABASE {database};")
    old_server.redis(machine, "shared-redis", "shared_redisdata")
    litellm_before(machine)
    langfuse_before(machine)
    kuma_before(machine)
    old_server.augmenter(machine)
    return machine


@pytest.fixture(scope="module")
def before(server: Machine) -> dict[str, Any]:
    return rows(server, "augmenter-db")


@pytest.fixture(scope="module")
def adopted(before: dict[str, Any]) -> CompletedRun:
    done = run_pyinfra(*ADOPT)
    assert done.rc == 0, done.output
    return done


def test_unasked_and_without_its_keys_it_changes_nothing(server: Machine, before: dict[str, Any]) -> None:
    existing, salt = ids(server), secret("litellm/salt_key")
    secrets().forget("litellm/salt_key")
    done = run_pyinfra(*PHASES)
    secrets().generated("litellm/salt_key", lambda: salt)
    assert done.rc != 0
    for words in ("postgres_migrate=true", "litellm/salt_key", "the one of container litellm-proxy"):
        assert words in done.output
    assert ids(server) == existing


def test_a_dry_run_says_what_becomes_of_each(server: Machine, before: dict[str, Any]) -> None:
    existing = ids(server)
    plan = run_pyinfra(*ADOPT, "--dry")
    assert plan.rc == 0, plan.output
    for words in (
        "litellm-proxy of no Compose project",
        "clickhouse: old_clickhouse (/var/lib/clickhouse) is copied into langfuse_clickhouse",
        "minio: old_minio (/data) is copied into langfuse_minio",
        "uptime-kuma: old_kuma (/app/data) is copied into monitoring_uptime-kuma-data",
        "shared-redis: shared_redisdata (/data) is copied into redis_data",
    ):
        assert words in plan.output
    assert any("Databases of augmenter-db" in name for name in plan.planned)
    assert ids(server) == existing


def test_no_row_is_lost(server: Machine, before: dict[str, Any], adopted: CompletedRun) -> None:
    assert rows(server, "shared-postgres") == before
    assert "augmenter-db/augmenter -> shared-postgres: 59 tables with 186 rows" in adopted.output
    assert "a shop" in kuma(server)


def test_an_application_is_answered_with_the_key_that_it_had(server: Machine, adopted: CompletedRun) -> None:
    assert litellm(server, "/v1/models", key=KEY)["data"]


def test_what_they_replace_is_there_and_healthy(server: Machine, adopted: CompletedRun) -> None:
    states = server.run("docker ps --format '{{.Names}} {{.Status}}'").stdout.splitlines()
    assert len(states) > 20
    assert all("(healthy)" in state for state in states), states


def test_the_old_ones_are_stopped_and_kept(server: Machine, adopted: CompletedRun) -> None:
    states = json.loads(server.run(f"docker inspect {' '.join(OLD)}").stdout)
    assert {state["State"]["Status"] for state in states} == {"exited"}
    assert {state["HostConfig"]["RestartPolicy"]["Name"] for state in states} == {"no"}


def test_a_second_run_changes_nothing(adopted: CompletedRun) -> None:
    assert run_pyinfra(*PHASES).changed == []


def test_they_are_removed_on_request_once_their_data_is_saved_again(
    server: Machine, before: dict[str, Any], adopted: CompletedRun
) -> None:
    done = run_pyinfra(*PHASES, "--data", "remove_migrated=true")
    assert any("Backup of the data that was taken over" in name for name in done.changed), done.changed
    names = server.run("docker ps --all --format '{{.Names}}'").stdout.split()
    assert not {*OLD} & {*names}
    assert {*server.run("docker volume ls --quiet").stdout.split()} >= VOLUMES
    for words in ("clickhouse-old: removed; its data stays in old_clickhouse", "augmenter-db: removed"):
        assert words in done.output
    assert rows(server, "shared-postgres") == before
    assert run_pyinfra(*PHASES, "--data", "remove_migrated=true").changed == []
