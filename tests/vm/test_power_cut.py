"""The power fails after a killed run and in the middle of a backup, and with it the clock: it is a month behind."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from group_data.all import paths
from group_data.lab import swap_gib
from group_data.shared import backups
from lab.qemu_machine import QemuMachine
from phases.preflight import CLOCK_TOLERANCE_S
from tests.host.conftest import all_warm, await_true, ended, kill_after, pyinfra_command, run_pyinfra
from tests.vm.conftest import failed_units, replay

BEHIND = timedelta(days=30)  # at the same hour, for the sake of cron
RESIZED = ("--data", f"swap_gib={swap_gib + 1}")
PIECE = "folder/host/etc_sourcefast"
SAVE = f"{paths.scripts}/backup-now.sh {PIECE}"
STORE = f"{backups.root}/{PIECE}"
# Its backup takes some seconds, since nothing in it can be compressed.
FILLER = f"{paths.config}/filler"
FILLER_MIB = 64


@pytest.fixture(scope="module")
def saved(machine: QemuMachine) -> str:
    """The backups that are complete before the power fails."""
    done = ended(pyinfra_command(deploy=["tests/vm/backup_deploy.py"]))
    assert done.rc == 0, done.output
    machine.run(SAVE)
    machine.run(f"head -c {FILLER_MIB}M /dev/urandom >{FILLER}")
    return machine.run(f"ls -A {STORE}").stdout


@pytest.fixture(scope="module")
def restarted(machine: QemuMachine, saved: str) -> None:
    """A run's files are renamed into place, half of a backup is written, and nobody has synced either."""
    kill_after(pyinfra_command(*RESIZED), "Swap, kernel settings", "Starting operation")
    machine.run(f"systemd-run --quiet --collect {SAVE}")
    await_true(
        lambda: machine.run(f"find {STORE} -path '*/.*' -size +8M").stdout, 120, "beginning of a backup"
    )
    machine.stop(hard=True)
    machine.clock = f"{datetime.now(UTC) - BEHIND:%Y-%m-%dT%H:%M:%S}"
    machine.start()
    machine.clock = "utc"


@pytest.mark.usefixtures("restarted")
def test_the_journal_is_replayed(machine: QemuMachine) -> None:
    """That of the system's disk, by the kernel; the other one's may be replayed by fsck."""
    assert "(vda)" in replay(machine)


@pytest.mark.usefixtures("restarted")
def test_a_wrong_clock_is_set_right(machine: QemuMachine) -> None:
    behind = datetime.now(UTC) - BEHIND
    assert f"setting system clock to {behind:%Y-%m-%d}T" in machine.run("dmesg").stdout
    await_true(lambda: is_right(machine), 300, "right time")
    assert failed_units(machine) == ""


@pytest.mark.usefixtures("restarted")
def test_the_next_run_converges(machine: QemuMachine) -> None:
    done = run_pyinfra()
    assert done.rc == 0, done.output
    assert run_pyinfra().changed == []
    assert machine.run(f"stat --format=%s {paths.swap_file}").stdout.strip() == str(swap_gib * 1024**3)
    assert failed_units(machine) == ""
    await_true(lambda: all_warm(machine), 300, "warm instance")


@pytest.mark.usefixtures("restarted")
def test_half_a_backup_is_none(machine: QemuMachine, saved: str) -> None:
    """The one that is complete is there and readable; the next one removes what is left of the other."""
    assert machine.run(f"ls {STORE}").stdout == saved
    machine.run(SAVE)
    found = machine.run(f"ls -A {STORE}").stdout.split()
    assert len(found) == len(saved.split()) + 1
    assert not any(name.startswith(".") for name in found), found
    assert machine.run(f"{paths.scripts}/backup-list.sh").stdout.count(PIECE) == len(found)
    machine.run(f"rm {FILLER}")


def is_right(machine: QemuMachine) -> bool:
    """Whether the clock is synchronised, and shows the time."""
    synchronised, now = machine.run(
        "timedatectl show --property=NTPSynchronized --value; date +%s"
    ).stdout.split()
    return synchronised == "yes" and abs(float(now) - time.time()) < CLOCK_TOLERANCE_S


def test_a_run_is_refused_for_a_wrong_clock_whose_remedy_helps(machine: QemuMachine) -> None:
    behind = time.time() - BEHIND.total_seconds()
    machine.run(f"timedatectl set-ntp false && date --set=@{behind:.0f}")
    refused = run_pyinfra()
    assert refused.rc != 0
    assert "nothing was changed: 1 problem" in refused.output, refused.output
    assert "s off this machine's" in refused.output
    assert "timedatectl set-ntp true" in refused.output
    machine.run("timedatectl set-ntp true")
    await_true(lambda: is_right(machine), 300, "right time")
