"""The board is exchanged: the machine really has the cores and the memory of the other profile."""

from __future__ import annotations

import pytest

from group_data.i7_9700k import profile
from lab.qemu_machine import QemuMachine
from tests.host.conftest import CompletedRun, all_warm, await_true, run_pyinfra
from tests.host.test_profile import parallel
from tests.vm.conftest import failed_units
from tests.vm.test_memory import GIB, swaps

UPGRADED = ("--data", f"hardware_profile={profile.name}")


@pytest.fixture(scope="module")
def upgraded(machine: QemuMachine) -> CompletedRun:
    """The run after the boards were exchanged, with the power off."""
    machine.stop()
    machine.present(profile.name)
    machine.start()
    return run_pyinfra(*UPGRADED)


def test_only_what_depends_on_it_is_changed(upgraded: CompletedRun) -> None:
    assert upgraded.changed == [
        "Phase 0: hardware | Ollama | Units and environment of the instances",
        "Phase 0: hardware | Ollama | Ollama instances",
    ]


@pytest.mark.usefixtures("upgraded")
def test_cores_memory_and_compressed_swap_are_the_new_ones(machine: QemuMachine) -> None:
    assert int(machine.run("nproc").stdout) == profile.cores
    size, _, _ = swaps(machine)["/dev/zram0"]
    assert size == pytest.approx(profile.ram_gib * GIB * profile.zram_percent / 100, rel=0.05)
    assert parallel(machine) == profile.ollama_parallel
    await_true(lambda: all_warm(machine), 600, "warm instance")
    assert failed_units(machine) == ""


@pytest.mark.usefixtures("upgraded")
def test_the_next_run_changes_nothing() -> None:
    assert run_pyinfra(*UPGRADED).changed == []
