"""The watch on the real machine: each limit is crossed and left again, with one message each way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from blueprint import postgres
from group_data.all import paths
from group_data.gpu import ollama_instances
from group_data.shared import redis as redis_server
from lab import authority
from lab.machine import Machine
from tests.host.conftest import Telegrams, await_healthy, await_true
from tests.services.datastores import Datastores
from tests.services.test_litellm import Ask, ask, question  # noqa: F401 - `ask` is a fixture

# cron's own watch and watchdog stay out meanwhile.
pytestmark = pytest.mark.usefixtures("no_cron")
CONFIG = f"{paths.config}/watch.json"
TRIED = "/run/watch-test"
SCRIPT = f"{paths.scripts}/watch.sh"
HEAVY = next(instance for instance in ollama_instances if instance.name == "heavy")
LIGHT = next(instance for instance in ollama_instances if instance.name == "light")
SLOW_S = 31
CheckRun = Callable[..., None]
# Settings that say what is measured; restarts of containers always are.
KINDS = ("disks", "containers", "postgres", "redis", "litellm", "celery", "caches")


def deployed(machine: Machine) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(machine.run(f"cat {CONFIG}").stdout)
    return settings


@pytest.fixture
def check_run(machine: Machine) -> Iterator[CheckRun]:
    """One run of some checks, with the deployed settings but a state of its own. The machine itself is always measured.

    It takes the names of the settings that say what is measured, and settings that a test changes.
    """
    machine.run(f"mkdir -p {TRIED}")
    settings = deployed(machine)
    nothing: dict[str, Any] = {kind: [] if isinstance(settings[kind], list) else None for kind in KINDS}
    nothing |= {"backups": {"pieces": []}, "certificates": {"domains": []}}

    def run(*kinds: str, limits: dict[str, int] | None = None, **changed: Any) -> None:
        tried = settings | nothing | {kind: settings[kind] for kind in kinds} | changed
        tried |= {"state": f"{TRIED}/watch", "limits": settings["limits"] | (limits or {})}
        machine.run(f"cat >{TRIED}/watch.json", input=json.dumps(tried))
        done = machine.run(f"{SCRIPT} --config {TRIED}/watch.json", check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    run()
    yield run
    machine.run(f"rm -r {TRIED}")


def sql(machine: Machine, database: str, text: str) -> str:
    command = f"docker exec -i -u postgres shared-postgres psql -XqAt -v ON_ERROR_STOP=1 -d {database}"
    return machine.run(command, input=text).stdout.strip()


def redis(machine: Machine, index: int, *commands: str, check: bool = True) -> list[str]:
    """As the user of the backups, who may do anything."""
    login = json.loads(machine.run(f"cat {paths.config}/backup-credentials.json").stdout)["shared-redis"]
    first = f"AUTH {login['user']} {login['password']}", f"SELECT {index}"
    text = "".join(f"{line}\n" for line in (*first, *commands))
    output = machine.run("docker exec -i shared-redis redis-cli", input=text, check=check).stdout
    wrong = [line for line in output.splitlines() if line.startswith(("ERR", "NO", "WRONG"))]
    assert not (wrong and check), output
    return output.splitlines()


def crossed(
    check_run: CheckRun, messages: Telegrams, text: str, *kinds: str, **changed: Any
) -> Callable[..., None]:
    """Run twice while an incident is open: one message. Returns what runs twice once it is over: one more."""
    before = len(messages())
    check_run(*kinds, **changed)
    check_run(*kinds, **changed)
    (message,) = messages()[before:]
    assert message.startswith("🔴") and text in message

    def over(**changed_again: Any) -> None:
        check_run(*kinds, **(changed | changed_again))
        check_run(*kinds, **(changed | changed_again))
        (message,) = messages()[before + 1 :]
        assert message.startswith("🟢") and text in message

    return over


def test_a_healthy_machine_sends_no_message(machine: Machine, messages: Telegrams) -> None:
    """With the very settings that cron uses; the first run ends incidents that cron began during other tests."""
    machine.run(SCRIPT, timeout=120)
    before = messages()
    done = machine.run(f"{SCRIPT}; {SCRIPT}", timeout=120)
    assert done.stdout == ""
    assert messages() == before
    open_ones = json.loads(machine.run(f"cat {deployed(machine)['state']}").stdout)["incidents"]
    assert not {key for key in open_ones if not key.startswith("restarts ")}


@pytest.mark.checklist("V.6")
def test_a_full_disk(machine: Machine, check_run: CheckRun, messages: Telegrams) -> None:
    proc = f"{TRIED}/proc"  # this disk alone is mounted
    machine.run(f"mkdir -p {proc}/self && cp /proc/meminfo {proc} && touch {proc}/self/mounts")
    over = crossed(
        check_run,
        messages,
        "disk of /",
        limits={"disk_alert_percent": 1},
        disks=["/"],
        proc=proc,
    )
    over(limits={"disk_alert_percent": 100})


@pytest.mark.parametrize("how", ["stop", "pause"])
def test_a_container_without_a_monitor(
    machine: Machine, check_run: CheckRun, messages: Telegrams, how: str
) -> None:
    machine.run(f"docker {how} coach-worker")
    status = {"stop": "exited (exit code ", "pause": "paused"}[how]
    words = f"container coach-worker is {status}"
    over = crossed(check_run, messages, words, "containers", limits={"pending_min": 0})
    machine.run(f"docker {'start' if how == 'stop' else 'unpause'} coach-worker")
    await_healthy(machine)
    over()


def test_a_container_that_hangs_is_restarted(
    machine: Machine, check_run: CheckRun, messages: Telegrams
) -> None:
    name = "augmenter-curation-worker"
    asked = f"docker inspect --format '{{{{.State.Health.Status}}}} {{{{.State.StartedAt}}}}' {name}"
    _, before = machine.run(asked).stdout.split()
    machine.run(f"kill -STOP $(docker inspect --format '{{{{.State.Pid}}}}' {name})")
    await_true(lambda: machine.run(asked).stdout.startswith("unhealthy"), 300, "health check that fails")
    check_run("containers", limits={"pending_min": 0})
    (message,) = messages()
    assert message.startswith("🔴") and f"container {name} is unhealthy: " in message
    assert message.endswith("; restarted")
    assert machine.run(asked).stdout.split()[1] > before
    await_healthy(machine)
    check_run("containers", limits={"pending_min": 0})
    assert [text[0] for text in messages()] == ["🔴", "🟢"]


def test_connections_of_postgres(
    machine: Machine, datastores: Datastores, check_run: CheckRun, messages: Telegrams
) -> None:
    limit = int(sql(machine, "postgres", "SHOW max_connections;"))
    used = int(sql(machine, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname <> '';"))
    of_role = f"SELECT rolconnlimit FROM pg_roles WHERE rolname = '{postgres.MONITOR}';"
    declared = sql(machine, "postgres", of_role)
    limit_role = f"ALTER ROLE {postgres.MONITOR} CONNECTION LIMIT "
    with ExitStack() as clients:
        # No role alone may open so many.
        sql(machine, "postgres", f"{limit_role} -1;")
        clients.callback(sql, machine, "postgres", f"{limit_role} {declared};")
        for _ in range(int(limit * 0.85) - used):
            clients.enter_context(datastores.connect("litellm", postgres.MONITOR))
        over = crossed(check_run, messages, "shared-postgres has ", "postgres")
    over()


def test_memory_of_redis(machine: Machine, check_run: CheckRun, messages: Telegrams) -> None:
    size = int(redis(machine, 8, "CONFIG GET maxmemory")[-1]) * 82 // 100 // 48
    keys = [f"fill{number}" for number in range(48)]
    # One after the other: what is written at once is in the buffer of the append-only file a second time.
    fill = f"redis.call('set', KEYS[1], string.rep('x', {size}))"
    redis(machine, 8, *(f'EVAL "{fill}" 1 {key}' for key in keys))
    try:
        over = crossed(check_run, messages, "% of maxmemory", "redis")
    finally:
        redis(machine, 8, f"DEL {' '.join(keys)}")
    over()


def test_a_key_of_a_cache_that_never_expires(
    machine: Machine, check_run: CheckRun, messages: Telegrams
) -> None:
    redis(machine, 1, "SET forever 1")
    try:
        over = crossed(check_run, messages, "never expire", "caches")
    finally:
        redis(machine, 1, "DEL forever")
    over()


def test_a_queue_of_celery(machine: Machine, check_run: CheckRun, messages: Telegrams) -> None:
    """With the user of the watch, in a broker that it watches."""
    index = deployed(machine)["celery"][0]["index"]
    tasks = " ".join(["x"] * 51)
    binding = 'SADD _kombu.binding.tried "tried\\x06\\x16\\x06\\x16tried"'
    redis(machine, index, binding, f"RPUSH tried {tasks}")
    try:
        over = crossed(check_run, messages, "51 tasks wait in Celery's queue tried", "celery")
    finally:
        redis(machine, index, "DEL tried", "DEL _kombu.binding.tried")
    over()


# --- calls of LiteLLM, as it logs them


def calls(machine: Machine, ask: Ask, model: str, count: int) -> None:  # noqa: F811 - the fixture's value
    """Ask at once, and wait until the answers are in the log of spend."""
    since = sql(machine, "litellm", "SELECT now() AT TIME ZONE 'UTC';")
    logged = f"""SELECT count(*) FROM "LiteLLM_SpendLogs" WHERE "endTime" > '{since}';"""
    texts = [question(model, f"{time.monotonic_ns()} {number}") for number in range(count)]
    with ThreadPoolExecutor(count) as threads:
        for answer in threads.map(lambda body: ask("/v1/chat/completions", body), texts):
            assert answer.status_code == 200, answer.text
    await_true(lambda: int(sql(machine, "litellm", logged)) >= count, 90, "call in the log of spend")


@pytest.fixture
def long_ago(machine: Machine) -> Iterator[Callable[[], None]]:
    """Move all calls so far out of the window that is evaluated, as time does."""

    def age() -> None:
        earlier = """UPDATE "LiteLLM_SpendLogs" SET "startTime" = "startTime" - interval '1 hour',
            "endTime" = "endTime" - interval '1 hour' WHERE "endTime" > now() AT TIME ZONE 'UTC' - interval '1 hour';"""
        sql(machine, "litellm", earlier)

    age()
    yield age
    age()


def test_the_latency_of_ollama(
    machine: Machine,
    ask: Ask,  # noqa: F811 - the fixture imported above
    check_run: CheckRun,
    messages: Telegrams,
    long_ago: Callable[[], None],
) -> None:
    delay = f"/var/lib/gpu-sim/ollama-work-{HEAVY.port}"
    machine.run(f"echo {SLOW_S} >{delay}")
    try:
        calls(machine, ask, "qwen3-heavy", 3)
        text = f"Ollama heavy took {SLOW_S} s for 95 % of "  # the projects may call meanwhile
        over = crossed(check_run, messages, text, "litellm", limits={"min_calls": 3})
    finally:
        machine.run(f"rm {delay}")
    long_ago()
    calls(machine, ask, "qwen3-heavy", 3)
    over()


def test_answers_of_a_cloud_in_ollama_s_place(
    machine: Machine,
    ask: Ask,  # noqa: F811 - likewise
    check_run: CheckRun,
    messages: Telegrams,
    long_ago: Callable[[], None],
) -> None:
    machine.run(f"systemctl stop {LIGHT.unit}")
    try:
        calls(machine, ask, "qwen3-light", 3)
        text = " calls were answered by a cloud model"  # the projects' own by Ollama meanwhile
        over = crossed(check_run, messages, text, "litellm", limits={"min_calls": 3})
    finally:
        machine.run(f"systemctl start {LIGHT.unit}", timeout=120)
    long_ago()
    # Models that no chain of ours leads to are asked for by name, and count as nothing.
    calls(machine, ask, "groq-qwen3-32b", 3)
    calls(machine, ask, "qwen3-heavy", 3)
    over()


@pytest.mark.checklist("V.2")
def test_a_budget_that_is_spent(machine: Machine, check_run: CheckRun, messages: Telegrams) -> None:
    change = """UPDATE "LiteLLM_TeamTable" SET spend = {} WHERE team_id = '{}';"""
    of = """SELECT team_id || '|' || spend FROM "LiteLLM_TeamTable" WHERE max_budget > 0 LIMIT 1;"""
    team, _, spent = sql(machine, "litellm", of).partition("|")
    sql(machine, "litellm", change.format("max_budget", team))
    try:
        over = crossed(check_run, messages, " has spent $", "litellm")
    finally:
        sql(machine, "litellm", change.format(spent, team))
    over()


def test_a_backup_that_is_old(machine: Machine, check_run: CheckRun, messages: Telegrams) -> None:
    piece = "postgres/shared-postgres/litellm"
    deployed_backups = deployed(machine)["backups"]
    copy = f"cp -a $(ls -d {deployed_backups['root']}/{piece}/2* | tail -n 1) {TRIED}/backups/{piece}"
    machine.run(f"mkdir -p {TRIED}/backups/{piece} && {copy}")
    manifest = f"{TRIED}/backups/{piece}/*/manifest.json"
    backups = {"root": f"{TRIED}/backups", "pieces": [piece]}
    machine.run(f"""sed -i -E 's/"time": [0-9.]+/"time": '"$(date -d '27 hours ago' +%s)"'/' {manifest}""")
    over = crossed(check_run, messages, f"{piece}: the last good backup is 27 h old", backups=backups)
    machine.run(f"""sed -i -E 's/"time": [0-9.]+/"time": '"$(date +%s)"'/' {manifest}""")
    over()


def test_redis_that_runs_out_of_memory_recovers_and_its_restart_is_reported(
    machine: Machine, check_run: CheckRun, messages: Telegrams
) -> None:
    """The kernel kills it: a script's memory is not what `maxmemory` counts."""
    redis(machine, 8, "SET kept-over-a-crash 1")
    time.sleep(1.5)  # the append-only file is written every second
    restarts = "docker inspect -f '{{.RestartCount}} {{.State.Health.Status}}' shared-redis"
    before = int(machine.run(restarts).stdout.split()[0])
    megabytes = redis_server.maxmemory_mib * 6
    bomb = f"local t = {{}} for i = 1, {megabytes} do t[i] = string.rep('x', 1048576 + i) end return #t"
    redis(machine, 8, f'EVAL "{bomb}" 0', check=False)
    await_true(lambda: int(machine.run(restarts).stdout.split()[0]) > before, 60, "restart of Redis")
    await_true(lambda: machine.run(restarts).stdout.split()[1] == "healthy", 60, "healthy Redis")
    assert "1" in redis(machine, 8, "GET kept-over-a-crash", "DEL kept-over-a-crash")
    over = crossed(check_run, messages, "container shared-redis was restarted by Docker")
    over(limits={"restart_quiet_min": 0})


def test_a_certificate_that_is_not_renewed(
    machine: Machine, check_run: CheckRun, messages: Telegrams, tmp_path: Path
) -> None:
    """One that the host trusts, for three days and for three months, shown by a real TLS server."""
    ca = trustme.CA.from_pem(
        authority.certificate_file().read_bytes(), (authority.FOLDER / "ca.key").read_bytes()
    )
    shown = {"address": "127.0.0.1", "port": 8443, "domains": ["shop.augmenter.pro"]}
    over = None
    for days in (3, 90):
        leaf = ca.issue_cert(
            "shop.augmenter.pro", not_after=datetime.now(UTC) + timedelta(days=days, minutes=5)
        )
        chain = b"".join(blob.bytes() for blob in (leaf.private_key_pem, *leaf.cert_chain_pems))
        machine.run(f"cat >{TRIED}/tls.pem", input=chain.decode())
        server = f"openssl s_server -quiet -accept 127.0.0.1:8443 -cert {TRIED}/tls.pem -cert_chain {TRIED}/tls.pem"
        machine.run(f"systemd-run --quiet --collect --unit=shown-certificate {server}")
        try:
            await_true(lambda: machine.run("ss -Hltn sport = :8443").stdout, 20, "TLS server")
            if over is None:
                text = "certificate of shop.augmenter.pro expires in 3 days"
                over = crossed(check_run, messages, text, certificates=shown)
            else:
                over()
        finally:
            machine.run("systemctl stop shown-certificate")


def test_what_cannot_be_measured(machine: Machine, check_run: CheckRun, messages: Telegrams) -> None:
    """The owner is notified at the second failure in a row: a server that is just being restarted is no news."""
    machine.run("docker rename shared-redis redis-renamed")
    try:
        check_run("redis", "caches")
        assert messages() == []
        text = "cannot measure memory of Redis, keys of caches: no container shared-redis is running"
        over = crossed(check_run, messages, text, "redis", "caches")
    finally:
        machine.run("docker rename redis-renamed shared-redis")
    over()


@pytest.mark.checklist("3.4")
def test_a_first_message_was_sent_once(
    machine: Machine, messages: Telegrams, deploy: Callable[..., Any]
) -> None:
    """It says that messages arrive; another bot or chat gets one again."""
    stamp = f"{paths.state}/telegram-tested"
    noted = machine.run(f"cat {stamp}").stdout
    machine.run(f"echo of-another-chat >{stamp}")
    done = deploy("--data", "phase=monitoring")
    assert done.changed == ["Monitors, watch and backups | Watch | Test message on Telegram"]
    (message,) = messages()
    assert message.startswith("🔵 lab") and message.endswith("messages of this host arrive here")
    assert machine.run(f"cat {stamp}").stdout == noted
