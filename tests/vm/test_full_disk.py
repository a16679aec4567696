"""Docker's data has a disk of its own, and it is full."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.qemu_machine import QemuMachine
from tests.host.conftest import await_answer, run_pyinfra
from tests.vm.conftest import failed_units

FOLDER = "/var/lib/docker"
MAKE_ROOM = f"rm -f {FOLDER}/filler {FOLDER}/rest"


@pytest.fixture(scope="module")
def full(machine: QemuMachine) -> Iterator[None]:
    """No byte is left, of those that are root's alone neither."""
    fill = f"fallocate --length $(df --block-size=1 --output=avail {FOLDER} | tail -n 1) {FOLDER}/filler"
    rest = f"dd if=/dev/zero of={FOLDER}/rest bs=1M status=none"
    machine.run(f"{fill}; {rest}; sync", check=False, timeout=600)
    yield
    machine.run(MAKE_ROOM)


@pytest.mark.usefixtures("full")
def test_it_is_a_disk_of_its_own(machine: QemuMachine) -> None:
    devices, free = zip(
        *(
            line.split()
            for line in machine.run(f"df --output=source,avail / {FOLDER} | tail -n 2").stdout.splitlines()
        ),
        strict=True,
    )
    assert devices == ("/dev/vda", "/dev/vdb")
    assert int(free[0]) > 1024**2
    assert int(free[1]) == 0


@pytest.mark.usefixtures("full")
def test_a_run_is_refused_and_says_which_disk(machine: QemuMachine) -> None:
    refused = run_pyinfra()
    assert refused.rc != 0
    assert f"disk of {FOLDER}" in refused.output, refused.output
    assert "nothing was changed: 1 problem" in refused.output, refused.output


@pytest.mark.usefixtures("full")
def test_what_runs_goes_on(machine: QemuMachine) -> None:
    await_answer(machine, "shared-whisper.service")
    assert failed_units(machine) == ""


@pytest.mark.usefixtures("full")
def test_a_run_with_room_again_changes_nothing(machine: QemuMachine) -> None:
    machine.run(MAKE_ROOM)
    assert run_pyinfra().changed == []
