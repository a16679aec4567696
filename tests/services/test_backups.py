"""Backups on the real machine: lost data comes back row for row, and damaged backups are refused and reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from group_data.all import paths
from group_data.gpu import whisper
from group_data.shared import backups
from lab import upstream
from lab.machine import Machine
from lab.paths import CHECKOUT
from tests.host.conftest import CompletedRun, Telegrams, await_true
from tests.services.conftest import ALL
from tests.services.declared import everything

# cron's own backups and watch stay out meanwhile.
pytestmark = pytest.mark.usefixtures("no_cron")
CONFIG = f"{paths.config}/backup.json"
TRIED = "/run/backup-test"
DATABASES, NOW = f"{paths.scripts}/backup-databases.sh", f"{paths.scripts}/backup-now.sh"
RESTORE, TEST = f"{paths.scripts}/restore.sh", f"{paths.scripts}/backup-restore-test.sh"
LITELLM = "postgres/shared-postgres/litellm"
OBJECTS, TRACES, MONITORS = (
    "s3/minio/langfuse",
    "clickhouse/clickhouse/default",
    "volume/uptime-kuma/app_data",
)
NOTIFIED = 76  # something failed, and the owner was notified
# What holds data goes on; everything else that could write meanwhile is stopped.
DATA = ("shared-postgres", "shared-redis", "clickhouse", "minio", "uptime-kuma")
# A fingerprint of all rows of every table, in any order.
FINGERPRINT = """\
SELECT format('SELECT %L, count(*), md5(string_agg(md5(t::text), '''' ORDER BY md5(t::text))) FROM %I.%I t;',
              schemaname || '.' || tablename, schemaname, tablename)
FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1 \\gexec
"""
# Who owns a database, and who may connect to it.
ABOUT = """\
SELECT pg_get_userbyid(datdba), datconnlimit,
       (SELECT array_agg(item::text ORDER BY item::text) FROM unnest(datacl) item)
FROM pg_database WHERE datname = '{}';
"""


def settings(machine: Machine) -> dict[str, Any]:
    output: dict[str, Any] = json.loads(machine.run(f"cat {CONFIG}").stdout)
    return output


def psql(machine: Machine, database: str, sql: str) -> str:
    command = f"docker exec -i -u postgres shared-postgres psql -XqAt -v ON_ERROR_STOP=1 -d {database}"
    return machine.run(command, input=sql, timeout=300).stdout


def newest(machine: Machine, piece: str) -> str:
    """Folder of the newest backup of a piece."""
    return machine.run(f"ls -d {backups.root}/{piece}/[!.]* | tail -n 1").stdout.strip()


def manifest(machine: Machine, piece: str) -> dict[str, Any]:
    output: dict[str, Any] = json.loads(machine.run(f"cat {newest(machine, piece)}/manifest.json").stdout)
    return output


def made(machine: Machine, command: str, status: int = 0) -> str:
    """Run a script of the backups; its output."""
    done = machine.run(command, check=False, timeout=900)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def saved(machine: Machine) -> None:
    """Everything is saved once, as cron would."""
    for script in ("backup-databases.sh", "backup-clickhouse.sh"):
        made(machine, f"{paths.scripts}/{script}")


@pytest.fixture(scope="class")
def nobody_writes(machine: Machine) -> Iterator[None]:
    names = machine.run("docker ps --format '{{.Names}}'").stdout.split()
    others = " ".join(sorted(set(names) - {*DATA, "shared-whisper"}))
    machine.run(f"docker stop -t 3 {others}", timeout=300)
    yield
    machine.run(f"docker start {others}", timeout=300)
    sick = "docker ps -aq --filter health=starting --filter health=unhealthy"
    await_true(lambda: not machine.run(sick).stdout, 300, "healthy container everywhere")


@pytest.fixture
def tried(machine: Machine) -> Iterator[str]:
    """Settings like the deployed ones, with a store and a memory of their own in a file system of 64 MiB."""
    machine.run(f"mkdir -p {TRIED}/disk && mount -t tmpfs -o size=64m tmpfs {TRIED}/disk")
    changed(machine)
    yield f"--config {TRIED}/backup.json"
    machine.run(f"umount --lazy {TRIED}/disk; rm -r {TRIED}")


def changed(machine: Machine, **differently: Any) -> None:
    """Write the settings of `tried` anew, with some of them changed."""
    own = {"root": f"{TRIED}/disk/backups", "state": f"{TRIED}/state", "reserve_mib": 0}
    machine.run(f"cat >{TRIED}/backup.json", input=json.dumps(settings(machine) | own | differently))


def test_everything_deployed_has_a_backup(machine: Machine) -> None:
    """Counted on the host itself: what its servers have, and the volumes of its containers."""
    pieces = set(machine.run(f"cd {backups.root} && ls -d */*/*").stdout.split())
    servers = [one["container"] for one in settings(machine)["postgres"]]
    running = "docker ps --format '{{.Names}}'"
    environment = "docker inspect --format '{{.Config.Env}}'"
    runs_postgres = (
        f"for name in $({running}); do {environment} $name | grep -q PGDATA= && echo $name; done; true"
    )
    assert sorted(servers) == sorted(machine.run(runs_postgres).stdout.split())
    for server in servers:
        listed = "psql -XqAtd template1 -c 'SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate'"
        user = next(one for name, one in logins(machine).items() if name == server)["user"]
        for database in machine.run(f"docker exec -u postgres {server} {listed} -U {user}").stdout.split():
            assert f"postgres/{server}/{database}" in pieces
        assert f"postgres/{server}/_globals" in pieces
    volumes = '{{range .Mounts}}{{if eq .Type "volume"}}{{$.Name}} {{end}}{{end}}'
    holding = machine.run(f"docker ps -q | xargs docker inspect -f '{volumes}'").stdout
    homeless = {name.strip("/") for name in holding.split()} - {piece.split("/")[1] for piece in pieces}
    # What can be had again: certificates, models, an index over what is in a database.
    renewable = {one.name for one in everything().services if one.volumes and not one.stateful}
    assert homeless == renewable | {whisper.name}
    assert set(manifest(machine, TRACES)["contents"]["rows"]) >= {
        "traces",
        "observations",
        "scores",
    }


def logins(machine: Machine) -> dict[str, Any]:
    output: dict[str, Any] = json.loads(machine.run(f"cat {paths.config}/backup-credentials.json").stdout)
    return output


def test_backups_and_logins_are_private(machine: Machine) -> None:
    files = f"{backups.root} {paths.config}/*.json {paths.config}/telegram.ini {paths.state}/telegram-tested"
    assert machine.run(f"find {files} -perm /077").stdout == ""


@pytest.mark.checklist("0.2")
@pytest.mark.usefixtures("nobody_writes")
class TestRestoring:
    """Without writes meanwhile, so that everything can be compared."""

    def test_every_database_comes_back_row_for_row(self, machine: Machine) -> None:
        (cluster,) = [one for one in settings(machine)["postgres"] if one["container"] == "shared-postgres"]
        for database in cluster["databases"]:
            made(machine, f"{NOW} postgres/shared-postgres/{database}")
            rows, about = (
                psql(machine, database, FINGERPRINT),
                psql(machine, "postgres", ABOUT.format(database)),
            )
            psql(machine, "postgres", f'DROP DATABASE "{database}" WITH (FORCE);')
            made(machine, f"{RESTORE} {database} newest", status=2)
            made(machine, f"{RESTORE} {database} newest --yes")
            assert psql(machine, database, FINGERPRINT) == rows
            assert psql(machine, "postgres", ABOUT.format(database)) == about

    def test_a_restore_takes_the_place_of_what_is_there_and_saves_it_first(self, machine: Machine) -> None:
        """By the command of the guide."""
        made(machine, f"{NOW} {LITELLM}")
        stamp = newest(machine, LITELLM).rpartition("/")[2]
        before = psql(machine, "litellm", FINGERPRINT)
        psql(machine, "litellm", "CREATE TABLE since_then AS SELECT generate_series(1, 1000) AS id;")
        refused = make("restore", "DB=litellm", f"FROM={stamp}")
        assert refused.returncode != 0
        assert "Add --yes" in refused.stdout + refused.stderr
        assert psql(machine, "litellm", "SELECT count(*) FROM since_then;").strip() == "1000"
        done = make("restore", "DB=litellm", f"FROM={stamp}", "YES=1")
        assert done.returncode == 0, done.stdout + done.stderr
        assert psql(machine, "litellm", FINGERPRINT) == before
        assert manifest(machine, LITELLM)["contents"]["rows"]["public.since_then"] == 1000
        left = psql(machine, "postgres", "SELECT datname FROM pg_database WHERE datname LIKE 'litellm%';")
        assert left.split() == ["litellm"]
        listed = make("backup-list")
        assert f"{stamp} " in listed.stdout + listed.stderr


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=300
    )


def test_the_restore_test_restores_everything_and_leaves_nothing(machine: Machine) -> None:
    output = made(machine, TEST)
    for piece in machine.run(f"cd {backups.root} && ls -d */*/*").stdout.split():
        assert f" {piece} of " in output
    assert output.count("restored as it was") >= len(DATA)
    left = "docker ps -a --format '{{.Names}}'; docker network ls --format '{{.Name}}'"
    assert "restore" not in machine.run(left).stdout
    assert machine.run(f"find {backups.root} -mindepth 3 -name '.*'").stdout == ""


DAMAGES = {
    "truncated": "truncate --size=-1 {dump}",
    "a bit flipped": "printf '\\377' | dd conv=notrunc status=none bs=1 seek=1000 of={dump}",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_dump_is_refused_and_reported(
    machine: Machine, messages: Telegrams, tried: str, damage: str
) -> None:
    made(machine, f"{DATABASES} {tried} --only postgres/shared-postgres")
    dump = machine.run(f"ls {TRIED}/disk/backups/{LITELLM}/*/dump").stdout.strip()
    machine.run(f"cp {dump} {TRIED}/good; {DAMAGES[damage].format(dump=dump)}; ! cmp -s {dump} {TRIED}/good")
    assert "not restored: " in made(machine, f"{RESTORE} litellm newest --yes {tried}", status=1)
    for _ in range(2):
        made(machine, f"{TEST} {tried} --only {LITELLM}", status=NOTIFIED)
    machine.run(f"cp {TRIED}/good {dump}")
    made(machine, f"{TEST} {tried} --only {LITELLM}")
    assert [text[0] for text in messages()] == ["🔴", "🟢"]


def test_a_renamed_container_makes_the_backup_alert_not_lie(
    machine: Machine, messages: Telegrams, tried: str
) -> None:
    machine.run("docker rename shared-postgres pg-renamed")
    try:
        for _ in range(2):
            made(machine, f"{DATABASES} {tried}", status=NOTIFIED)
        assert machine.run(f"ls {TRIED}/disk/backups/postgres/shared-postgres", check=False).returncode != 0
    finally:
        machine.run("docker rename pg-renamed shared-postgres")
    made(machine, f"{DATABASES} {tried}")
    began, ended = messages()
    assert "no container shared-postgres is running; pg-renamed looks like it" in began
    assert ended.startswith("🟢")


def test_what_is_gone_or_too_small_is_reported(machine: Machine, messages: Telegrams, tried: str) -> None:
    output = settings(machine)["postgres"]
    (ours,) = [one for one in output if one["container"] == "shared-postgres"]
    ours |= {"databases": [*ours["databases"], "was_here"], "min_kib": {"litellm": 10**6}}
    changed(machine, postgres=output)
    for _ in range(2):
        made(machine, f"{DATABASES} {tried} --only postgres/shared-postgres", status=NOTIFIED)
    ours["min_kib"] = {}
    changed(machine, postgres=output)
    psql(machine, "postgres", "CREATE DATABASE was_here;")
    try:
        made(machine, f"{DATABASES} {tried} --only postgres/shared-postgres")
    finally:
        psql(machine, "postgres", "DROP DATABASE was_here;")
    wrong = "".join(text for text in messages() if text[0] == "🔴")
    assert "less than the 1000000 KiB that it must have" in wrong
    assert "was_here: is declared for this host, and does not exist" in wrong
    assert "".join(text[0] for text in messages()) == "🔴🔴🟢🟢"


def test_a_disk_without_room_is_reported_before_anything_is_written(
    machine: Machine, messages: Telegrams, tried: str
) -> None:
    changed(machine, reserve_mib=10**6)
    assert "not even begun" in made(machine, f"{DATABASES} {tried} --only {LITELLM}", status=NOTIFIED)
    assert machine.run(f"ls {TRIED}/disk/backups").stdout == ""
    (text,) = messages()
    assert "MiB are free" in text


def test_a_disk_that_fills_leaves_no_half_backup(machine: Machine, messages: Telegrams, tried: str) -> None:
    psql(machine, "postgres", "CREATE DATABASE big;")
    only = "--only postgres/shared-postgres/big"
    try:
        # What does not compress; the estimate, which would refuse to begin, is made to believe in the last one.
        psql(machine, "big", "CREATE TABLE t AS SELECT 1 AS id;")
        made(machine, f"{DATABASES} {tried} {only}")
        random = "string_agg(encode(sha512((i * 1000 + j)::text::bytea), 'base64'), '')"
        sql = f"INSERT INTO t SELECT 1; ALTER TABLE t ADD c text; INSERT INTO t SELECT i, (SELECT {random}"
        psql(machine, "big", f"{sql} FROM generate_series(1, 1000) j) FROM generate_series(1, 1200) i;")
        made(machine, f"{DATABASES} {tried} {only}", status=NOTIFIED)
        kept = machine.run(f"ls -A {TRIED}/disk/backups/postgres/shared-postgres/big").stdout.split()
        assert len(kept) == 1 and not kept[0].startswith(".")
        assert [text[0] for text in messages()] == ["🔴"]
    finally:
        psql(machine, "postgres", "DROP DATABASE big WITH (FORCE);")


def test_a_backup_that_is_killed_looks_like_none(machine: Machine, tried: str) -> None:
    folder = f"{TRIED}/disk/backups/{LITELLM}"
    holding = "FROM pg_stat_activity WHERE query LIKE 'BEGIN; LOCK TABLE slow%';"
    psql(machine, "litellm", "CREATE TABLE slow AS SELECT 1;")
    try:
        # The dump waits for the lock, with its folder made.
        lock = "BEGIN; LOCK TABLE slow; SELECT pg_sleep(60);"
        machine.run(f"docker exec -u postgres -d shared-postgres psql -d litellm -c '{lock}'")
        machine.run(f"systemd-run --quiet --unit=half-backup {DATABASES} {tried} --only {LITELLM}")
        await_true(lambda: machine.run(f"ls -d {folder}/.*[0-9]", check=False).returncode == 0, 60, "folder")
        machine.run("systemctl kill --signal=KILL half-backup")
        assert machine.run(f"ls {folder}").stdout == ""
        psql(machine, "postgres", f"SELECT pg_terminate_backend(pid) {holding}")
        made(machine, f"{DATABASES} {tried} --only {LITELLM}")
        kept = machine.run(f"ls -A {folder}").stdout.split()
        assert len(kept) == 1 and not kept[0].startswith(".")
    finally:
        machine.run("systemctl reset-failed half-backup", check=False)
        psql(machine, "litellm", "DROP TABLE slow;")


def test_a_dead_telegram_never_breaks_a_backup(machine: Machine, messages: Telegrams, tried: str) -> None:
    upstream.disturb(machine.lab, "api.telegram.org", status=502)
    machine.run("docker rename shared-redis redis-renamed")
    try:
        made(machine, f"{DATABASES} {tried} --only redis --only {LITELLM}", status=1)
        assert machine.run(f"ls {TRIED}/disk/backups/{LITELLM}").stdout.split()
    finally:
        machine.run("docker rename redis-renamed shared-redis")
    made(machine, f"{DATABASES} {tried} --only redis")
    assert messages() == []
    upstream.recover(machine.lab)
    made(machine, f"{DATABASES} {tried} --only redis")
    assert [text[0] for text in messages()] == ["🔴", "🟢"]


def test_a_copy_elsewhere_is_encrypted_and_comes_back(machine: Machine, tried: str) -> None:
    """restic itself, with a repository in another folder of the host."""
    machine.run("command -v restic || apt-get install --yes --quiet restic", timeout=300)
    repository = {
        "repository": f"{TRIED}/elsewhere",
        "password_file": f"{TRIED}/password",
        "environment": "",
        "keep_days": 30,
    }
    only_a_folder: dict[str, Any] = {kind: [] for kind in ("postgres", "redis", "buckets", "volumes")}
    only_a_folder |= {"folders": [paths.config], "stacks": "/nowhere"}  # no container is ours then
    changed(machine, restic=repository, **only_a_folder)
    machine.run(f"echo canary-of-restic >{TRIED}/password")
    for _ in range(2):  # the second finds the repository there
        made(machine, f"{DATABASES} {tried}")
    restic = f"restic --quiet --repo {TRIED}/elsewhere --password-file {TRIED}/password"
    machine.run(f"{restic} check && {restic} restore latest --target {TRIED}/back", timeout=120)
    assert machine.run(f"diff -r {TRIED}/disk/backups {TRIED}/back{TRIED}/disk/backups").stdout == ""
    assert machine.run(f"grep -rl folder/host {TRIED}/elsewhere", check=False).stdout == ""
    # Without its destination, the backup itself is made all the same, and the owner is notified.
    changed(machine, restic={**repository, "repository": "/proc/nowhere"}, **only_a_folder)
    assert "copy elsewhere: restic" in made(machine, f"{DATABASES} {tried}", status=NOTIFIED)
    assert len(machine.run(f"ls {TRIED}/disk/backups/folder/host/*").stdout.split()) == 3


# --- containers with data that are declared anew


def declared_anew(**differently: str) -> CompletedRun:
    """Deploy the shared phases with more memory for every container that holds data."""
    command = [str(Path(sys.executable).with_name("pyinfra")), "-y", "--json", "inventory.py", *ALL]
    done = subprocess.run(
        [*command, "tests/services/more_memory_deploy.py"],
        cwd=CHECKOUT,
        env={**os.environ, **differently},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    return CompletedRun(done.returncode, done.stderr, json.loads(done.stdout) if done.returncode == 0 else {})


def containers(machine: Machine) -> dict[str, str]:
    """Id and memory limit of each container that holds data."""
    shown = machine.run(
        f"docker inspect -f '{{{{.Name}}}} {{{{.Id}}}} {{{{.HostConfig.Memory}}}}' {' '.join(DATA)}"
    )
    return {line.split()[0].strip("/"): line.partition(" ")[2] for line in shown.stdout.splitlines()}


def test_a_container_with_data_is_made_anew_only_after_its_backup(
    machine: Machine, deploy: Callable[..., CompletedRun]
) -> None:
    before, rows = containers(machine), psql(machine, "litellm", 'SELECT count(*) FROM "LiteLLM_TeamTable";')
    redis = "docker exec -i shared-redis sh -c 'REDISCLI_AUTH=$(cat /etc/redis/admin.password) redis-cli --user admin'"
    machine.run(redis, input="SET kept-over-a-recreation 1")
    refused = declared_anew(BACKUP_ROOT="/proc/nowhere")
    assert refused.rc != 0
    assert "nothing was changed" in refused.output
    assert containers(machine) == before
    stamps = {
        piece: newest(machine, piece)
        for piece in (LITELLM, "redis/shared-redis/all", OBJECTS, TRACES, MONITORS)
    }
    done = declared_anew()
    assert done.rc == 0, done.output
    after = containers(machine)
    assert all(after[name] != before[name] for name in DATA)
    assert all(newest(machine, piece) > stamp for piece, stamp in stamps.items())
    assert psql(machine, "litellm", 'SELECT count(*) FROM "LiteLLM_TeamTable";') == rows
    assert (
        "1"
        in machine.run(redis, input="GET kept-over-a-recreation\nDEL kept-over-a-recreation").stdout.split()
    )
    kept = {piece: machine.run(f"cat {newest(machine, piece)}/manifest.json").stdout for piece in stamps}
    made(machine, f"{NOW} s3/minio clickhouse/clickhouse volume/uptime-kuma")
    for piece in ("s3/minio/langfuse",):
        assert (
            manifest(machine, piece)["contents"]["objects"] >= json.loads(kept[piece])["contents"]["objects"]
        )
    again = deploy()  # as it is declared, by the same way back
    assert again.rc == 0, again.output
    assert {name: one.split()[1] for name, one in containers(machine).items()} == {
        name: one.split()[1] for name, one in before.items()
    }
