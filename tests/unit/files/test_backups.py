"""Backups as cron runs them, with a docker that says what a test wants it to say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from blueprint import backup
from blueprint.applied import Applied
from blueprint.model import BackupPolicy, Database, Restic
from blueprint.phases import LITELLM
from tests.unit.declared import declared
from tests.unit.paths import CHECKOUT
from tests.unit.script_host import PASSWORD, ScriptHost

PIECE = "postgres/shared-postgres/litellm"
NOTIFIED = 76
REDIS = {"container": "shared-redis", "password_file": "/etc/redis/admin.password"}


class BackupHost(ScriptHost):
    """A host with one cluster of two databases and a folder to save."""

    sources = ("common", "backup")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.root = folder / "backups"
        self.engine["containers"]["shared-postgres"] = {
            "env": ["PGDATA=/var/lib/postgresql/data"],
            "databases": {
                "litellm": {"dump": "x" * 4000 + "END", "rows": {"public.spend": 3}},
                "langfuse": {"dump": "y" * 4000 + "END", "rows": {}},
            },
        }
        self.configure()

    def configure(self, **choices: object) -> None:
        minimum = choices.pop("min_dump_kib", 0)
        blueprint = declared(
            paths=self.paths,
            backups=BackupPolicy(root=str(self.root), **({"reserve_mib": 0} | choices)),  # type: ignore[arg-type]
            shared_databases=[
                Database("litellm", pool=2, direct=10, min_dump_kib=minimum),  # type: ignore[arg-type]
                Database("langfuse", pool=2, direct=10),
            ],
        )
        settings = json.loads(backup.settings_json(Applied(blueprint, {LITELLM}), "sourcefast"))
        # Of what is there, this engine has Postgres only.
        settings |= {"redis": [], "clickhouse": [], "buckets": [], "folders": [self.paths.config]}
        self.config = self.write(backup.SETTINGS, json.dumps(settings))
        self.write(backup.CREDENTIALS, backup.credentials_json({"shared-redis": backup.Login("b", PASSWORD)}))

    def back_up(self, *arguments: str) -> int:
        return self.run("backup-databases.sh", "--config", str(self.config), *arguments).returncode

    def stamps(self, piece: str = PIECE) -> list[str]:
        return sorted(path.name for path in (self.root / piece).glob("*"))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[BackupHost]:
    host = BackupHost(tmp_path)
    yield host
    host.telegram.stop()


def test_everything_is_saved_privately_and_nobody_is_notified(host: BackupHost) -> None:
    assert host.back_up() == 0
    assert host.messages() == []
    pieces = sorted(
        str(path.parent.parent.relative_to(host.root)) for path in host.root.rglob("manifest.json")
    )
    assert [piece.split("/")[2] for piece in pieces if piece.startswith("postgres")] == [
        "_globals",
        "langfuse",
        "litellm",
    ]
    for path in host.root.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    (stamp,) = host.stamps()
    manifest = json.loads((host.root / PIECE / stamp / "manifest.json").read_text())
    assert manifest["contents"]["rows"] == {"public.spend": 3}
    assert manifest["files"]["dump"]["bytes"] == 4003


def test_the_counts_and_the_dump_see_one_snapshot(host: BackupHost) -> None:
    host.back_up()
    assert "pg_dump --username=postgres --no-password --format=custom --snapshot=0001-1" in host.arguments


def test_a_table_that_somebody_has_to_himself_is_not_waited_for_without_end(host: BackupHost) -> None:
    host.back_up()
    assert "--lock-wait-timeout=10min --dbname=litellm" in host.arguments
    sent = (host.programs / "queries").read_text()
    assert sent.count("SET lock_timeout = '10min';") == sent.count("BEGIN ISOLATION LEVEL") == 2


def test_a_database_that_nobody_declared_is_saved_too(host: BackupHost) -> None:
    host.engine["containers"]["shared-postgres"]["databases"]["more"] = {"dump": "END", "rows": {}}
    assert host.back_up() == 0
    assert len(host.stamps("postgres/shared-postgres/more")) == 1


def test_a_missing_database_is_reported_once_each_way(host: BackupHost) -> None:
    databases = host.engine["containers"]["shared-postgres"]["databases"]
    gone = databases.pop("litellm")
    text = f"database {PIECE}: is declared for this host, and does not exist"
    assert host.back_up() == NOTIFIED
    assert host.messages() == [f"🔴 {text}"]
    assert host.back_up() == NOTIFIED
    assert host.messages() == []
    databases["litellm"] = gone
    assert host.back_up() == 0
    assert host.messages() == [f"🟢 over: {text}"]
    assert len(host.stamps("postgres/shared-postgres/langfuse")) == 3  # the others were saved all the time


def test_a_renamed_container_alerts_and_does_not_lie(host: BackupHost) -> None:
    containers = host.engine["containers"]
    containers["pg-old"] = containers.pop("shared-postgres") | {"was": "shared-postgres"}
    assert host.back_up() == NOTIFIED
    (message,) = host.messages()
    assert message.startswith("🔴 container shared-postgres: no container shared-postgres is running; pg-old")
    assert host.stamps() == []
    containers["shared-postgres"] = containers.pop("pg-old")
    assert host.back_up() == 0
    assert [text[0] for text in host.messages()] == ["🟢"]


def test_an_open_incident_outlasts_a_container_that_is_out_of_sight(host: BackupHost) -> None:
    databases = host.engine["containers"]["shared-postgres"]["databases"]
    del databases["litellm"]
    host.back_up()
    host.engine["containers"]["shared-postgres"]["status"] = "exited"
    host.messages()
    host.back_up()
    assert [text.split(" ")[:2] for text in host.messages()] == [["🔴", "container"]]


def test_a_postgres_that_nobody_declared_alerts(host: BackupHost) -> None:
    host.engine["containers"]["temporal-pg"] = {"env": ["PGDATA=/x"], "databases": {}}
    assert host.back_up() == NOTIFIED
    assert host.messages() == ["🔴 container temporal-pg: runs Postgres and is in no backup: declare it"]


@pytest.mark.parametrize("fault", ["dies", "truncated"])
def test_a_dump_that_is_not_whole_leaves_nothing(host: BackupHost, fault: str) -> None:
    if fault == "dies":
        host.engine["containers"]["shared-postgres"]["dies"] = True
    else:
        host.engine["containers"]["shared-postgres"]["databases"]["litellm"]["dump"] = "half a d"
    assert host.back_up() == NOTIFIED
    assert f"🔴 backup {PIECE}: docker exec ended with 1: " in "".join(host.messages())
    assert host.stamps() == []


def test_a_run_that_is_killed_leaves_no_half_backup_that_looks_whole(host: BackupHost) -> None:
    host.engine["containers"]["shared-postgres"]["slow_s"] = 30
    process = host.start("backup-databases.sh", "--config", str(host.config), "--only", PIECE)
    await_folder(host.root / PIECE)
    process.kill()
    process.communicate()
    assert [name[0] for name in host.stamps()] == ["."]
    assert "litellm" not in host.run("backup-list.sh", "--config", str(host.config)).stdout
    host.engine["containers"]["shared-postgres"]["slow_s"] = 0
    assert host.back_up() == 0
    (stamp,) = host.stamps()
    assert stamp[0] != "."


def await_folder(folder: Path) -> None:
    deadline = time.monotonic() + 20
    while not list(folder.glob(".*/dump")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_that_is_asked_to_end_cleans_up(host: BackupHost) -> None:
    host.engine["containers"]["shared-postgres"]["slow_s"] = 30
    process = host.start("backup-databases.sh", "--config", str(host.config), "--only", PIECE)
    await_folder(host.root / PIECE)
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 143
    assert host.stamps() == []


def test_a_shrunken_backup_is_kept_and_reported(host: BackupHost) -> None:
    host.back_up()
    database = host.engine["containers"]["shared-postgres"]["databases"]["litellm"]
    database["dump"] = "x" * 1000 + "END"
    assert host.back_up() == NOTIFIED
    (message,) = host.messages()
    assert message.startswith(f"🔴 backup {PIECE}: 1.0 KiB, after 3.9 KiB on ")
    assert len(host.stamps()) == 2
    assert "doubtful" in host.run("backup-list.sh", "--config", str(host.config)).stdout
    output = host.run("restore.sh", "--config", str(host.config), "litellm", "newest").stdout
    assert "doubtful when it was made: 1.0 KiB, after 3.9 KiB on " in output
    assert host.back_up() == 0
    assert [text[0] for text in host.messages()] == ["🟢"]


def test_a_backup_below_its_minimum_is_reported(host: BackupHost) -> None:
    host.configure(min_dump_kib=100)
    assert host.back_up() == NOTIFIED
    assert host.messages() == [f"🔴 backup {PIECE}: 3.9 KiB, less than the 100 KiB that it must have"]


def test_retention_keeps_the_last_good_one_however_old(host: BackupHost) -> None:
    host.back_up()
    old = time.time() - 30 * 86400
    for number in range(3):
        made = host.root / PIECE / f"2020010{number + 1}T000000Z"
        made.mkdir()
        manifest = {"doubt": "", "time": old, "files": {}, "contents": {}}
        (made / "manifest.json").write_text(json.dumps(manifest))
        os.utime(made, (old, old))
    host.back_up()
    assert len(host.stamps()) == 2
    for stamp in host.stamps():  # now every one is old, and the newer is not good
        folder = host.root / PIECE / stamp
        manifest = json.loads((folder / "manifest.json").read_text())
        if stamp == host.stamps()[-1]:
            manifest["doubt"] = "small"
        (folder / "manifest.json").write_text(json.dumps(manifest))
        os.utime(folder, (old, old))
    good, doubtful = host.stamps()
    host.engine["containers"]["shared-postgres"]["databases"]["litellm"]["dump"] = "END"
    host.back_up()
    assert good in host.stamps()
    assert doubtful not in host.stamps()
    assert len(host.stamps()) == 2  # and the new one, which has shrunk


def test_without_room_nothing_is_even_begun(host: BackupHost) -> None:
    host.back_up()
    host.configure(reserve_mib=1024 * 1024)
    assert host.back_up() == NOTIFIED
    assert all("not even begun" in text for text in host.messages())
    assert len(host.stamps()) == 1


def test_a_dead_telegram_never_breaks_a_backup_and_loses_nothing(host: BackupHost) -> None:
    host.telegram.status = 502
    gone = host.engine["containers"]["shared-postgres"]["databases"].pop("litellm")
    assert host.back_up() == 1
    assert len(host.stamps("postgres/shared-postgres/langfuse")) == 1
    host.engine["containers"]["shared-postgres"]["databases"]["litellm"] = gone
    assert host.back_up() == 0  # the backup is fine, even though the message could not be sent
    host.telegram.status = 200
    assert host.back_up() == 0
    assert [text[0] for text in host.messages()] == ["🔴", "🟢"]


def test_only_a_part(host: BackupHost) -> None:
    assert host.back_up("--only", PIECE) == 0
    assert [path.name for path in host.root.glob("*/*/*")] == ["litellm"]
    assert host.back_up("--only", "postgres/shared-postgres") == 0
    assert len(list(host.root.glob("*/*/*"))) == 3
    assert host.back_up("--only", "postgres/elsewhere") == NOTIFIED
    assert "nothing is called postgres/elsewhere" in "".join(host.messages())


def test_a_part_says_nothing_of_the_rest(host: BackupHost) -> None:
    host.engine["containers"]["shared-postgres"]["databases"]["litellm"]["dump"] = "half"
    assert host.back_up() == NOTIFIED
    host.messages()
    assert host.back_up("--only", "postgres/shared-postgres/langfuse") == 0
    assert host.messages() == []


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "no manifest"])
def test_a_damaged_backup_is_refused(host: BackupHost, damage: str) -> None:
    host.back_up()
    (stamp,) = host.stamps()
    dump = host.root / PIECE / stamp / "dump"
    content = bytearray(dump.read_bytes())
    if damage == "truncated":
        dump.write_bytes(content[:-1])
    elif damage == "flipped":
        content[2000] ^= 1
        dump.write_bytes(content)
    elif damage == "missing":
        dump.unlink()
    else:
        dump.with_name("manifest.json").write_text("{")
    done = host.run("restore.sh", "--config", str(host.config), "litellm", "newest", "--yes")
    assert done.returncode == 1
    assert "not restored: " in done.stdout
    assert "ALTER DATABASE" not in host.arguments
    done = host.run("backup-restore-test.sh", "--config", str(host.config), "--only", PIECE)
    assert done.returncode == NOTIFIED
    assert f"🔴 restore test {PIECE}: " in "".join(host.messages())


@pytest.mark.parametrize("manifest", ["{", "{}", None])
def test_a_damaged_backup_is_listed_and_keeps_no_other_from_being_made(
    host: BackupHost, manifest: str | None
) -> None:
    host.back_up()
    (stamp,) = host.stamps()
    file = host.root / PIECE / stamp / "manifest.json"
    file.unlink()
    if manifest is not None:
        file.write_text(manifest)
    done = host.run("backup-list.sh", "--config", str(host.config))
    assert done.returncode == 0
    assert f"{PIECE}  doubtful: {file.parent}: no manifest that can be read" in done.stdout
    assert host.back_up() == 0
    assert host.messages() == []
    assert host.run("restore.sh", "--config", str(host.config), "litellm", "newest").returncode == 2


DAMAGED_DISK = """
from pathlib import Path
from backups.store import Backup, Store
store = Store(Path("there"))
try:
    with store.unfinished("a/b/c") as folder:
        (folder / "dump").write_text("END")
        Backup.manifest = property(lambda backup: {"files": {"dump": {"bytes": 3, "sha256": "another"}}})
        store.finish(folder, "a/b/c", {}, "")
except Exception as error:
    print(error)
"""


def test_what_is_not_as_it_was_written_gets_no_name(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DAMAGED_DISK],
        cwd=tmp_path,
        env={
            "PYTHONPATH": f"{CHECKOUT}/files/backup:{CHECKOUT}/files/common",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
    )
    assert "dump is damaged" in done.stdout, done.stderr
    assert list((tmp_path / "there/a/b/c").iterdir()) == []


def test_backups_can_be_listed_while_one_is_made(host: BackupHost) -> None:
    host.back_up()
    host.engine["containers"]["shared-postgres"]["slow_s"] = 120
    process = host.start("backup-databases.sh", "--config", str(host.config), "--only", PIECE)
    await_folder(host.root / PIECE)
    assert host.stamps()[-1] in host.run("backup-list.sh", "--config", str(host.config)).stdout
    process.terminate()
    process.communicate(timeout=20)


def test_a_scratch_container_that_a_killed_run_left_is_in_nobody_s_way(host: BackupHost) -> None:
    settings = json.loads(host.config.read_text())
    settings["redis"] = [REDIS]
    host.config.write_text(json.dumps(settings))
    host.engine["containers"]["shared-redis"] = {"redis": {}}
    host.back_up("--only", "redis")
    calls = host.arguments.splitlines()
    begun = next(number for number, call in enumerate(calls) if call.startswith("run --detach --name"))
    assert calls[begun - 1] == "rm --force --volumes restore-test-shared-redis"
    # Threads count: an idle ClickHouse, which is tried out in such a container too, has eight hundred.
    limit = re.search(r"--pids-limit (\d+) ", calls[begun])
    assert limit and int(limit[1]) > 1000


def test_a_copy_elsewhere_goes_on_after_a_run_that_was_killed(host: BackupHost) -> None:
    log = host.folder / "restic.log"
    restic = host.programs / "restic"
    restic.write_text(f'#!/bin/sh\necho "$1" >>{log}\n')
    restic.chmod(0o755)
    host.configure(restic=Restic(repository="sftp:away:/b"))
    assert host.back_up() == 0
    assert log.read_text().split() == ["cat", "unlock", "backup", "forget"]


def test_a_restore_wants_to_be_asked_for(host: BackupHost) -> None:
    host.back_up()
    done = host.run("restore.sh", "--config", str(host.config), "litellm", "newest")
    assert done.returncode == 2
    assert "1 tables with 3 rows, whole" in done.stdout
    assert "Add --yes" in done.stdout
    done = host.run("restore.sh", "--config", str(host.config), "litellm", "20200101T000000Z", "--yes")
    assert done.returncode == 1
    assert f"there are: {host.stamps()[0]}" in done.stdout


def test_a_restore_drops_no_database_that_is_somebody_else_s(host: BackupHost) -> None:
    host.back_up()
    host.engine["containers"]["shared-postgres"]["sql"] = {"shobj_description": [""]}
    done = host.run("restore.sh", "--config", str(host.config), "litellm", "newest", "--yes")
    assert done.returncode == 1
    assert "not restored: a database litellm_restored exists that no restore made" in done.stdout
    assert "DROP DATABASE" not in (host.programs / "queries").read_text()


def test_now_saves_everything_and_notifies_nobody(host: BackupHost) -> None:
    def now(*pieces: str) -> subprocess.CompletedProcess[str]:
        return host.run("backup-now.sh", "--config", str(host.config), *pieces)

    del host.engine["containers"]["shared-postgres"]["databases"]["langfuse"]  # not its business
    assert now("postgres/shared-postgres").returncode == 0
    assert len(host.stamps()) == 1
    assert not list(host.root.glob("folder/*/*"))
    assert now().returncode == 0
    assert list(host.root.glob("folder/*/*"))
    host.engine["containers"]["shared-postgres"]["databases"]["litellm"]["dump"] = "x" * 100 + "END"
    assert now(PIECE).returncode == 0  # it has shrunk, and it is what is there
    for damage in ({"dies": True}, {"status": "exited"}):
        host.engine["containers"]["shared-postgres"] |= damage
        done = now("postgres/shared-postgres")
        assert done.returncode == 1
        assert "not saved" in done.stdout
    assert now("redis/elsewhere").returncode == 1
    assert len(host.stamps()) == 3
    assert host.messages() == []


def test_passwords_are_in_no_argument_list(host: BackupHost) -> None:
    settings = json.loads(host.config.read_text())
    settings["redis"] = [REDIS]
    host.config.write_text(json.dumps(settings))
    host.engine["containers"]["shared-redis"] = {"redis": {}}
    host.back_up()
    assert "--env REDISCLI_AUTH" in host.arguments
    assert PASSWORD not in host.arguments


class OwnLogin(ThreadingHTTPServer):
    """A ClickHouse without tables, or an S3 server without objects, that takes one password only."""

    def __init__(self, password: str) -> None:
        super().__init__(("127.0.0.1", 0), OwnLoginHandler)
        self.password = password
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class OwnLoginHandler(BaseHTTPRequestHandler):
    server: OwnLogin

    def _answer(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.path.startswith("/langfuse"):
            answer, known = b"<ListBucketResult/>", self._signed()
        else:
            answer, known = b"", self.headers["X-ClickHouse-Key"] == self.server.password
        self.send_response(200 if known else 403)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    def _signed(self) -> bool:
        """Whether the request is signed with the password, as the program itself signs."""
        words = [
            self.command,
            *self.path.partition("?")[::2],
            self.headers["Host"],
            self.headers["x-amz-date"],
        ]
        program = (
            "import sys, time; from backups.s3 import sign; from backups.settings import Login\n"
            "password, method, path, query, host, date = sys.argv[1:]\n"
            "when = time.strptime(date, '%Y%m%dT%H%M%SZ')\n"
            "signed = sign(Login('langfuse', password), method, path, query, {'host': host}, b'', when)\n"
            "print(signed['Authorization'])"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, self.server.password, *words],
            env={
                "PYTHONPATH": f"{CHECKOUT}/files/backup:{CHECKOUT}/files/common",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip() == self.headers["Authorization"]

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, *args: object) -> None:
        pass


@pytest.mark.parametrize(
    ("kind", "piece", "more", "variable"),
    [
        ("clickhouse", "clickhouse/clickhouse", {"database": "default", "tables": []}, "CLICKHOUSE_PASSWORD"),
        ("buckets", "s3/minio", {"bucket": "langfuse"}, "MINIO_ROOT_PASSWORD"),
    ],
)
def test_a_server_whose_password_was_rotated_is_saved_with_the_one_that_it_runs_with(
    host: BackupHost, kind: str, piece: str, more: dict[str, object], variable: str
) -> None:
    server, container = OwnLogin("the old one"), piece.partition("/")[2]
    settings = json.loads(host.config.read_text())
    entry = {"container": container, "port": server.server_address[1], "variables": {"password": variable}}
    settings[kind] = [entry | more]
    host.config.write_text(json.dumps(settings))
    login = backup.Login("langfuse", "the new one")
    host.write(backup.CREDENTIALS, backup.credentials_json({container: login}))
    host.engine["containers"][container] = {"env": [f"{variable}=the old one"]}
    done = host.run("backup-now.sh", "--config", str(host.config), piece)
    assert done.returncode == 0, done.stdout
    assert list(host.root.glob(f"{piece}/*/*"))
    server.shutdown()
    server.server_close()


def test_a_redis_whose_password_was_rotated_is_saved_with_the_one_of_its_own_file(host: BackupHost) -> None:
    settings = json.loads(host.config.read_text())
    settings["redis"] = [REDIS]
    host.config.write_text(json.dumps(settings))
    server = {"redis": {}, "files": {REDIS["password_file"]: "the old one\n"}, "takes": "the old one"}
    host.engine["containers"]["shared-redis"] = server
    # (This engine has no checker of snapshots: that is as far as it goes.)
    assert (
        "redis-check-rdb answered" in host.run("backup-now.sh", "--config", str(host.config), "redis").stdout
    )
    server["files"] = {REDIS["password_file"]: "the new one\n"}
    output = host.run("backup-now.sh", "--config", str(host.config), "redis").stdout
    assert "WRONGPASS" in output
    assert "docker restart shared-redis has it read its file" in output


@pytest.mark.parametrize("spoil", [("retention_days", "much"), ("root", None), ("credentials", "/nowhere")])
def test_wrong_configuration(host: BackupHost, spoil: tuple[str, object]) -> None:
    settings = json.loads(host.config.read_text()) | {spoil[0]: spoil[1]}
    host.config.write_text(json.dumps({key: value for key, value in settings.items() if value is not None}))
    done = host.run("backup-databases.sh", "--config", str(host.config))
    assert done.returncode == 2
    assert f"wrong configuration: {host.config}" in done.stdout


def test_one_at_a_time(host: BackupHost) -> None:
    host.engine["containers"]["shared-postgres"]["slow_s"] = 1
    first = host.start("backup-databases.sh", "--config", str(host.config), "--only", PIECE)
    await_folder(host.root / PIECE)
    second = host.start("backup-databases.sh", "--config", str(host.config), "--only", PIECE)
    assert [process.wait(60) for process in (first, second)] == [0, 0]
    for process in (first, second):
        process.communicate()
    assert len(host.stamps()) == 2
