"""A reboot that goes through firmware and kernel: the firewall is there first, and everything comes back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from group_data.all import paths
from lab.qemu_machine import QemuMachine
from tests.host.conftest import Outside, all_warm, await_true, listening_ports, run_pyinfra
from tests.host.test_firewall import declared_open, reached
from tests.host.test_reboot import SSH, listeners, poll  # noqa: F401 - a fixture, too
from tests.vm.conftest import failed_units


@dataclass(frozen=True)
class Boot:
    """What a stranger reached while the machine rebooted, and how often all ports were tried."""

    opened: set[int]
    rounds: int


@pytest.fixture(scope="module")
def rebooted(machine: QemuMachine, listeners: set[int]) -> Iterator[Boot]:  # noqa: F811 - the fixture imported above
    polling = poll(machine, {*listeners, SSH})
    try:
        machine.reboot()
        await_true(lambda: listeners <= listening_ports(machine), 300, f"listeners on {listeners}")
        output, _ = polling.communicate("enough\n", timeout=120)
        lines = [line.split() for line in output.splitlines()]
        yield Boot(
            opened={int(line[2]) for line in lines if len(line) == 3},
            rounds=sum(line[1] == "round" for line in lines),
        )
    finally:
        polling.kill()
        polling.wait()


def test_the_firewall_was_closed_at_every_moment(rebooted: Boot) -> None:
    assert rebooted.rounds > 5
    assert rebooted.opened == {SSH}


@pytest.mark.usefixtures("rebooted")
def test_the_firewall_is_there_before_the_network(machine: QemuMachine) -> None:
    def since_boot(unit: str) -> int:
        return int(machine.run(f"systemctl show --value -p ActiveEnterTimestampMonotonic {unit}").stdout)

    firewall = since_boot("host-firewall.service")
    assert 0 < firewall < since_boot("systemd-networkd.service")
    assert firewall < since_boot("docker.service")


@pytest.mark.usefixtures("rebooted")
def test_a_stranger_reaches_no_more_after_a_reboot(machine: QemuMachine, outside: Outside) -> None:
    found = reached(machine, outside)
    assert [what for what, ports in found.items() if ports - declared_open()[what]] == [], found
    assert SSH in found["tcp over IPv4"]


@pytest.mark.usefixtures("rebooted")
def test_every_unit_is_back(machine: QemuMachine) -> None:
    await_true(lambda: all_warm(machine), 300, "model on its card in every instance")
    assert failed_units(machine) == ""


@pytest.mark.usefixtures("rebooted")
def test_both_swaps_are_back(machine: QemuMachine) -> None:
    """zram needs its module, which nothing but the unit loads; the file needs its disk."""
    names = machine.run("swapon --show=NAME --noheadings --raw").stdout.split()
    assert sorted(names) == ["/dev/zram0", paths.swap_file]


@pytest.mark.usefixtures("rebooted")
def test_a_run_after_a_reboot_changes_nothing(machine: QemuMachine) -> None:
    assert run_pyinfra().changed == []
