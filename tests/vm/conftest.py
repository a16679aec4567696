"""The server on QEMU: deployed once through power cuts, then tried in an order that shares boots."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.paths import Lab
from lab.qemu_machine import QemuMachine
from tests.host.conftest import kill_after, outside, pyinfra_command, run_pyinfra, the_lab  # noqa: F401 - fixtures

# Each goes on with the machine as the one before it leaves it; the last one leaves other hardware.
ORDER = ("test_deploy", "test_reboot", "test_memory", "test_full_disk", "test_power_cut", "test_upgrade")

# The words of the first run at which the power fails: dpkg in the middle of it, a model on its way to the disk.
MOMENTS = (
    ("Packages of the base system", "Unpacking cron"),
    ("Ollama | Models", "pulling through"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The modules in their order."""
    items.sort(key=lambda item: ORDER.index(item.path.stem))


@pytest.fixture(scope="session")
def fresh(the_lab: Lab) -> Iterator[QemuMachine]:  # noqa: F811 - the fixture imported above
    """A machine of its own as it was delivered; the lab's keeps its data, and stays shut down."""
    QemuMachine(the_lab).stop()
    machine = QemuMachine(the_lab, "tested")
    machine.reset()
    yield machine
    machine.scrap()


@pytest.fixture(scope="session")
def replays(fresh: QemuMachine) -> list[str]:
    """What the kernel says of the system's disk at each boot after the power failed in the middle of the first run."""
    found = []
    for operation, words in MOMENTS:
        kill_after(pyinfra_command(), operation, words, patience_s=1800)
        fresh.stop(hard=True)
        fresh.start()
        found.append(replay(fresh))
    return found


@pytest.fixture(scope="session")
def machine(fresh: QemuMachine, replays: list[str]) -> QemuMachine:
    """With phase hardware, by the run after the last power cut."""
    done = run_pyinfra()
    assert done.rc == 0, done.output
    return fresh


def replay(machine: QemuMachine) -> str:
    """What the kernel says of the journals that it replayed at this boot."""
    return machine.run("dmesg | grep 'EXT4-fs.*recovery complete'", check=False).stdout


def failed_units(machine: QemuMachine) -> str:
    return machine.run("systemctl --failed --plain --no-legend").stdout
