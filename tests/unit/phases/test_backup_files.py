"""What the backups and the watch put on a host: private where it must be, whole enough to run, and once a message."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from blueprint import Secrets
from blueprint.applied import Applied
from blueprint.model import BackupPolicy, Restic
from blueprint.phases import LITELLM, MONITORING
from facts.stamp import Stamp
from operations import telegram
from phases import backup, jobs, watch
from phases.hardware.base import SCRIPTS
from specs.files import Directory, Entry, File
from tests.unit.declared import declared
from tests.unit.hosts import commands, scripted_host

PLACE = Restic(repository="s3:https://elsewhere/b", environment={"AWS_SECRET_ACCESS_KEY": "s3/key"})


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o700)
    file = folder / "test.yaml"
    file.touch(mode=0o600)
    file.write_text("s3: {key: canary-of-s3}\n")
    return Secrets.open("test", folder)


def entries(secrets: Secrets) -> list[Entry]:
    blueprint = declared(backups=BackupPolicy(root="/opt/backups", restic=PLACE))
    applied = Applied(blueprint, {LITELLM, MONITORING})
    with scripted_host({}):
        return [
            *jobs.scripts(blueprint, SCRIPTS),
            *backup.entries(applied, secrets),
            *watch.entries(applied, secrets),
        ]


def test_what_holds_a_password_is_private_and_never_shown(secrets: Secrets) -> None:
    files = {entry.path: entry for entry in entries(secrets) if isinstance(entry, File)}
    hidden = [
        secrets.provided("s3/key"),
        *(secrets.provided(name) for name in ("redis/admin", "redis/monitor")),
    ]
    with_it = {path for path, entry in files.items() if any(text in str(entry.content) for text in hidden)}
    assert with_it == {
        "/etc/sourcefast/backup-credentials.json",
        "/etc/sourcefast/watch-credentials.json",
        "/etc/sourcefast/restic.env",
    }
    for path in (*with_it, "/etc/sourcefast/restic-password"):
        assert (files[path].mode, files[path].secret) == ("0600", True)
    assert backup.provided_secrets(declared(backups=BackupPolicy(root="/opt/backups", restic=PLACE))) == [
        "s3/key"
    ]


def test_cron_runs_scripts_that_are_there(secrets: Secrets) -> None:
    paths = {entry.path for entry in entries(secrets)}
    for job in declared().cron_jobs:
        assert f"/opt/scripts/{job.script}" in paths
        if job.phase != "hardware":
            assert f"/etc/cron.d/{job.name}" in paths


def test_the_scripts_find_their_modules(secrets: Secrets, tmp_path: Path) -> None:
    for entry in entries(secrets):
        if entry.path.startswith("/opt/scripts/"):
            path = tmp_path / entry.path.removeprefix("/opt/scripts/")
            if isinstance(entry, Directory):
                path.mkdir()
            elif isinstance(entry, File):
                path.write_bytes(entry.data)
    for module in ("backups.__main__", "watch", "gpu_watchdog"):
        done = subprocess.run(
            [sys.executable, "-SE", "-c", f"import sys; sys.path.insert(0, '.'); import {module}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr


def test_one_test_message_for_each_bot_and_chat() -> None:
    first = commands(telegram.test_message, {Stamp: ""}, ["/watch.sh"], "token canary", "/stamp")
    (sent,) = first
    noted = sent.payload.strip()
    assert str(sent).endswith("monitoring/test-message.sh /stamp /watch.sh")
    assert "canary" not in str(sent) + sent.payload
    assert commands(telegram.test_message, {Stamp: noted}, ["/watch.sh"], "token canary", "/stamp") == []
    assert len(commands(telegram.test_message, {Stamp: noted}, ["/watch.sh"], "another", "/stamp")) == 1


@pytest.mark.parametrize("well", [True, False])
def test_a_message_that_could_not_be_tried_is_not_noted(tmp_path: Path, well: bool) -> None:
    stamp = tmp_path / "stamp"
    done = subprocess.run(
        [str(jobs.FILES / "monitoring/test-message.sh"), str(stamp), "true" if well else "false"],
        input="noted\n",
        text=True,
    )
    assert (done.returncode == 0) is stamp.exists() is well
    if well:
        assert (stamp.read_text(), stamp.stat().st_mode & 0o777) == ("noted\n", 0o600)
