"""Phase hardware on a machine that loses its power in the middle of it, on Debian's own kernel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lab import qemu
from lab.paths import CHECKOUT
from lab.qemu_machine import QemuMachine
from tests.host.conftest import all_warm, await_true, run_pyinfra
from tests.vm.conftest import MOMENTS, failed_units


def test_the_disks_were_in_use_when_the_power_failed(replays: list[str]) -> None:
    assert len(replays) == len(MOMENTS)
    assert all("(vda)" in replay for replay in replays), replays


def test_the_next_run_completes_it(machine: QemuMachine) -> None:
    await_true(lambda: all_warm(machine), 300, "warm instance")
    assert failed_units(machine) == ""
    assert machine.run("dpkg --audit; find / -xdev -name '.pyinfra-tree.*'").stdout == ""


def test_the_run_after_that_changes_nothing(machine: QemuMachine) -> None:
    assert run_pyinfra().changed == []


def test_every_check_passes_and_none_is_left_out(machine: QemuMachine) -> None:
    pytest = str(Path(sys.executable).with_name("pytest"))
    hosts = ["--hosts=ssh://lab", f"--ssh-config={machine.lab.state / 'ssh_config'}"]
    done = subprocess.run(
        [pytest, "-q", "checks", "-m", "hardware", *hosts],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout, done.stdout


def test_the_kernel_is_its_own_and_has_its_headers(machine: QemuMachine) -> None:
    """The driver's module is built for the kernel that runs: not for that of the machine around it."""
    release = machine.run("uname -r").stdout.strip()
    assert release == qemu.kernel()
    assert machine.run("systemd-detect-virt --container", check=False).stdout.strip() == "none"
    state = machine.run(f"dpkg-query -W -f '${{db:Status-Status}}' linux-headers-{release}").stdout
    assert state == "installed"
