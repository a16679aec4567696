"""The fact about backups, and the operation that makes fresh ones."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from pyinfra.api.exceptions import OperationValueError

from blueprint import DeclarationError, backup
from blueprint.applied import Applied
from blueprint.model import (
    BackupPolicy,
    BucketData,
    Command,
    Database,
    PostgresData,
    RedisData,
    Restic,
    Service,
    Stack,
)
from blueprint.phases import LITELLM, MONITORING
from facts.backups import Backups, BackupState, read_backups
from facts.script import SCRIPTS
from operations.backup import _read_back, first, fresh
from tests.unit.declared import declared
from tests.unit.hosts import commands, scripted_host

PIECE = "postgres/shared-postgres/litellm"
ROOT = "/opt/backups"
COMMAND = "/opt/scripts/backup-now.sh"


def state(age_s: float = 0, doubt: str = "", stamp: str = "20261122T030000Z") -> BackupState:
    return BackupState(stamp, time.time() - age_s, doubt)


def manifest(**fields: object) -> str:
    sound = {"time": 1.0, "doubt": ""}
    return json.dumps(sound | fields, indent=1)


def made(root: Path, piece: str, stamp: str, text: str) -> None:
    folder = root / piece / stamp
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(text)


def asked(root: Path) -> dict[str, BackupState]:
    script = str(SCRIPTS / "backups.sh")
    done = subprocess.run(["sh", script, str(root)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return read_backups(done.stdout.splitlines())


def test_the_newest_of_each_piece(tmp_path: Path) -> None:
    made(tmp_path, PIECE, "20261121T030000Z", manifest(doubt="shrunken"))
    made(tmp_path, PIECE, "20261122T030000Z", manifest())
    made(tmp_path, PIECE, ".1234", manifest())
    (tmp_path / PIECE / "20261123T030000Z").mkdir()  # not whole
    made(tmp_path, "redis/shared-redis/all", "20261120T030000Z", manifest(doubt="small"))
    made(tmp_path, "s3/minio/langfuse", "20261120T030000Z", "{")
    assert asked(tmp_path) == {
        PIECE: BackupState("20261122T030000Z", 1.0, ""),
        "redis/shared-redis/all": BackupState("20261120T030000Z", 1.0, "small"),
        "s3/minio/langfuse": BackupState("20261120T030000Z", 0.0, "its manifest cannot be read"),
    }


def test_no_backups_at_all(tmp_path: Path) -> None:
    assert asked(tmp_path / "nowhere") == asked(tmp_path) == Backups.default() == {}


def run(backups: dict[str, BackupState], *pieces: str) -> list[object]:
    return commands(fresh, {Backups: backups}, pieces=pieces, command=COMMAND, root=ROOT)


@pytest.mark.parametrize("backups", [{}, {PIECE: state()}, {PIECE: state(-3600)}])
def test_it_is_saved_now_and_read_back_whatever_there_is(backups: dict[str, BackupState]) -> None:
    """And whatever the clocks say."""
    save, check = run(backups, "postgres/shared-postgres")
    assert str(save).endswith(f"backup/save-first.sh {COMMAND} postgres/shared-postgres")
    assert check.function is _read_back  # type: ignore[attr-defined]


def test_a_first_backup_is_one_of_what_has_none() -> None:
    pieces = {"pieces": [PIECE, "redis/shared-redis/all"], "command": COMMAND, "root": ROOT}
    save, _ = commands(first, {Backups: {PIECE: state(10**6, doubt="small")}}, **pieces)
    assert str(save).endswith(f"{COMMAND} redis/shared-redis/all")
    existing = {PIECE: state(), "redis/shared-redis/all": state()}
    assert commands(first, {Backups: existing}, **pieces) == []


def test_no_pieces_is_a_mistake() -> None:
    with pytest.raises(OperationValueError):
        run({})


@pytest.mark.parametrize(
    ("after", "good"),
    [
        ({PIECE: state(stamp="20261122T040000Z")}, True),
        ({PIECE: state(stamp="20261122T030000Z")}, False),
        ({PIECE: state(stamp="20261122T040000Z", doubt="shrunken")}, True),  # it is what is there
        ({}, False),
    ],
)
def test_what_was_made_is_asked_for_again(after: dict[str, BackupState], good: bool) -> None:
    with scripted_host({Backups: after}) as host:
        found = _read_back(None, host, [PIECE], ROOT, {PIECE: "20261122T030000Z"})  # type: ignore[arg-type]
    assert found is good


# --- what the declarations make of it


APPLIED = Applied(declared(), {LITELLM, MONITORING})


def test_pieces_follow_from_what_is_applied() -> None:
    assert backup.pieces(APPLIED) == {
        "shared-postgres": tuple(
            f"postgres/shared-postgres/{name}"
            for name in ("_globals", *(database.name for database in APPLIED.databases))
        ),
        "shared-redis": ("redis/shared-redis/all",),
        "clickhouse": ("clickhouse/clickhouse/default",),
        "minio": ("s3/minio/langfuse",),
        "uptime-kuma": ("volume/uptime-kuma/app_data",),
    }
    assert backup.held(APPLIED)["shared-postgres"] == ("postgres/shared-postgres",)
    assert backup.all_pieces(APPLIED)[-2:] == ["folder/host/etc_sourcefast", "folder/host/opt_sourcefast"]
    assert "uptime-kuma" not in backup.pieces(Applied(APPLIED.blueprint, {LITELLM}))


def test_another_postgres_says_itself_what_it_has() -> None:
    temporal = Service(
        name="temporal-pg",
        image="postgres:16-alpine",
        memory="96m",
        health=Command(("pg_isready",)),
        stateful=True,
        data=PostgresData(superuser="temporal", databases=("temporal", "temporal_visibility")),
        volumes={"data": "/var/lib/postgresql/data"},
    )
    stack = Stack(name="temporal", services=(temporal,), phase=MONITORING)
    applied = Applied(
        declared(leave_out=("augmenter",), shared_stacks=[*APPLIED.blueprint.shared_stacks, stack]),
        {MONITORING},
    )
    pieces = [f"postgres/temporal-pg/{name}" for name in ("_globals", "temporal", "temporal_visibility")]
    assert backup.pieces(applied)["temporal-pg"] == tuple(pieces)
    (output,) = json.loads(backup.settings_json(applied, "sourcefast"))["postgres"]
    assert output == {
        "container": "temporal-pg",
        "databases": ["temporal", "temporal_visibility"],
        "min_kib": {},
    }
    assert backup.logins(applied, str)["temporal-pg"] == backup.Login("temporal", "")


def test_settings_say_where_a_copy_goes_and_no_password() -> None:
    choices = BackupPolicy(root=ROOT, restic=Restic(repository="sftp:away:/b"))
    databases = [
        replace(database, min_dump_kib=100) if database.name == "litellm" else database
        for database in APPLIED.blueprint.shared_databases
    ]
    applied = Applied(declared(backups=choices, shared_databases=databases), {LITELLM})
    output = json.loads(backup.settings_json(applied, "sourcefast"))
    assert output["restic"]["password_file"] == "/etc/sourcefast/restic-password"  # noqa: S105 - a path
    assert output["postgres"][0]["min_kib"] == {"litellm": 100}
    new = Applied(declared(shared_databases=databases, empty_databases=["litellm"]), {LITELLM})
    assert json.loads(backup.settings_json(new, "s"))["postgres"][0]["min_kib"] == {}
    assert json.loads(backup.settings_json(APPLIED, "s"))["restic"] is None
    assert "canary" not in backup.settings_json(APPLIED, "s")
    # What they took when they were made is read off the containers: the declared password may be newer.
    assert [output[kind][0]["variables"] for kind in ("clickhouse", "buckets")] == [
        {"user": "CLICKHOUSE_USER", "password": "CLICKHOUSE_PASSWORD"},
        {"user": "MINIO_ROOT_USER", "password": "MINIO_ROOT_PASSWORD"},
    ]
    logins = backup.logins(APPLIED, lambda name: f"canary of {name}")
    assert {name: login.user for name, login in logins.items()} == {
        "shared-postgres": "postgres",
        "shared-redis": "admin",
        "clickhouse": "langfuse",
        "minio": "langfuse",
    }
    assert "canary" not in repr(logins)
    assert json.loads(backup.credentials_json(logins))["minio"]["password"] == "canary of minio/password"  # noqa: S105


@pytest.mark.parametrize(
    "make",
    [
        lambda: BackupPolicy(root="backups"),
        lambda: BackupPolicy(root=ROOT, retention_days=0),
        lambda: Database("x", min_dump_kib=-1),
        lambda: RedisData("admin", "no secret's name"),
        lambda: BucketData("x", "minio/password", "NO BUCKET"),
        lambda: Restic(repository="two words"),
    ],
)
def test_nonsense_is_refused(make: object) -> None:
    with pytest.raises(DeclarationError):
        make()  # type: ignore[operator]
