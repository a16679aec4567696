"""The owner's first deploy, as docs/operating has it, to a server of his. Each test goes on where the last ended."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from blueprint import group_data
from group_data.all import cron_jobs
from phases import phases_of
from tests.rehearsal.owner import PASSWORD, Owner

PHASES = [str(phase.number) for phase in phases_of(group_data.read().blueprint("production"))]

# Why a connection fails: the owner's mistake, and the end of the one sentence of a run and of a check about it.
MISTAKES: dict[str, tuple[Callable[[Owner], None], str, str]] = {
    "a key that the server does not know": (
        lambda owner: owner.write_production(key=str(owner.folder / "stranger")),
        r"Authentication error \(username=deploy, key=\S+/stranger\) \(Authentication failed.\)",
        r"deploy@\S+: Permission denied \(publickey,password\).",
    ),
    "a host key that nobody wrote down": (
        lambda owner: owner.write_known_hosts(server=""),
        r"No host key for \[\S+\]:2222 found in known_hosts\)",
        r"No ED25519 host key is known for \[\S+\]:2222",
    ),
    "another server": (
        lambda owner: owner.write_known_hosts(server=owner.public_key("stranger")),
        r"Host key for \S+ does not match.\)",
        r"Host key for \[\S+\]:2222 has changed",
    ),
    "a port without sshd": (
        lambda owner: owner.write_production(port=2223),
        r"jump host bastion of \S+: .*Connect failed.*",
        r"open failed: connect failed: Connection refused",
    ),
    "a key that the jump host does not know": (
        lambda owner: owner.write_ssh_config(IdentityFile=str(owner.folder / "stranger")),
        r"jump host bastion of \S+: Authentication failed.\)",
        r"jump@\S+: Permission denied \(publickey.*\).",
    ),
    "another jump host": (
        lambda owner: owner.write_known_hosts(bastion=owner.public_key("stranger")),
        r"jump host bastion of \S+: has another host key than the known one\)",
        r"Host key for \[\S+\]:2022 has changed",
    ),
    "a jump host that is down": (
        lambda owner: owner.write_ssh_config(Port="2023"),
        r"jump host bastion of \S+: .*Unable to connect to port 2023 on \S+\)",
        r"port 2023: Connection refused",
    ),
}


@pytest.fixture
def access(owner: Owner) -> Iterator[None]:
    """Whatever becomes of it, the server can be reached afterwards."""
    yield
    owner.write_access()


@pytest.mark.usefixtures("access", "server")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_server_that_is_not_reached_is_told_in_a_sentence(owner: Owner, mistake: str) -> None:
    make, of_a_run, of_a_check = MISTAKES[mistake]
    make(owner)
    run = owner.deploy("--dry")
    assert run.rc != 0
    assert re.search(rf"^ +\[sourcefast\] .*{of_a_run}$", run.output, re.MULTILINE), run.output
    assert "Traceback" not in run.output
    checked = owner.make("check-host")
    assert checked.returncode != 0
    assert re.search(rf"^ .*{of_a_check}", checked.stderr, re.MULTILINE), checked.stderr


def nothing_was_written(owner: Owner) -> bool:
    """Whether no run has come as far as to write something."""
    return owner.ssh("test -e /var/lib/sourcefast", password=PASSWORD).returncode == 1


@pytest.mark.usefixtures("server")
def test_sudo_with_a_password_is_refused(owner: Owner) -> None:
    run = owner.deploy("--dry")
    assert run.rc != 0
    assert "found:    sudo: a password is required" in run.output
    assert "Traceback" not in run.output
    checked = owner.make("check-host")
    assert "expected: a login that runs commands, with sudo without a password" in checked.stderr
    assert nothing_was_written(owner)
    line = "deploy ALL=(ALL:ALL) NOPASSWD: ALL"
    assert owner.ssh(f"echo '{line}' >/etc/sudoers.d/deploy", password=PASSWORD).returncode == 0


@pytest.mark.usefixtures("server")
def test_a_dry_run_names_everything_that_is_missing(owner: Owner) -> None:
    run = owner.deploy("--dry")
    assert run.rc != 0
    assert "sourcefast is not ready for this run, and nothing was changed" in run.output
    found = set(re.findall(r"^- (.*)$", run.output, re.MULTILINE))
    assert found == {f"secrets/production.yaml: {name}" for name in owner.provided_secrets}


@pytest.mark.usefixtures("server")
def test_the_next_run_encrypts_the_secrets(owner: Owner) -> None:
    owner.write_secrets()
    run = owner.deploy("--dry", "--data", "phase=hardware")
    assert run.rc == 0, run.output
    assert len(run.planned) > 15
    assert nothing_was_written(owner)
    secrets = owner.project / "secrets"
    assert {path.name for path in secrets.iterdir()} == {".lock", "production.yaml.age", "recipients"}


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("phase", PHASES)
def test_a_phase_is_deployed(owner: Owner, phase: str) -> None:
    run = owner.deploy("--data", f"phase={phase}")
    assert run.rc == 0, run.output
    assert run.changed


@pytest.mark.usefixtures("server")
def test_every_check_passes(owner: Owner) -> None:
    checked = owner.make("check-host")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert int(re.findall(r"(\d+) passed", checked.stdout)[-1]) > 500


@pytest.mark.usefixtures("server")
def test_a_second_run_changes_nothing(owner: Owner) -> None:
    assert owner.deploy().changed == []


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("job", [job.name for job in cron_jobs])
def test_a_job_succeeds_in_the_language_that_cron_gives_it(owner: Owner, job: str) -> None:
    command = f"line=$(grep -Po '^(\\S+ ){{5}}root \\K[^;]+' /etc/cron.d/{job}); LC_ALL=fr_FR.UTF-8 bash -ec \"$line\""
    done = owner.ssh(command, timeout=600)
    assert done.returncode == 0, owner.ssh(f"tail -n 30 /var/log/sourcefast/{job}.log").stdout + done.stderr


@pytest.mark.usefixtures("server")
def test_the_backups_are_listed(owner: Owner) -> None:
    shown = owner.make("backup-list")
    assert shown.returncode == 0, shown.stderr
    assert "postgres/shared-postgres/augmenter" in shown.stdout + shown.stderr


@pytest.mark.usefixtures("server")
def test_after_the_jobs_every_check_passes_too(owner: Owner) -> None:
    checked = owner.make("check-host")
    assert checked.returncode == 0, checked.stdout + checked.stderr
