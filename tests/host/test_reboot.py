"""A reboot after which the driver lists the cards in another order: everything comes back where it was."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from group_data.gpu import ollama_instances
from lab.machine import Machine
from lab.network import outside_namespace
from tests.host.conftest import (
    Deploy,
    Outside,
    all_warm,
    await_true,
    cards,
    computing,
    declared_placement,
    listening_ports,
    repair_instances,
)
from tests.host.test_firewall import declared_open, reached
from tests.host.test_ollama_filter import serves

pytestmark = pytest.mark.usefixtures("quiet")
POLL = str(Path(__file__).with_name("poll.py"))
EARLY, PUBLISHED, OLLAMA, SSH = 8003, 4001, ollama_instances[0].port, 22

# Listens before there is a network, so that a firewall which comes late is seen.
EARLY_LISTENER = f"""\
[Unit]
DefaultDependencies=no
Before=network-pre.target
[Socket]
ListenStream={EARLY}
Accept=yes
[Install]
WantedBy=sysinit.target
"""


@dataclass(frozen=True)
class Boot:
    """What was seen of a reboot. `opened`: ports a stranger reached meanwhile; `rounds`: how often all were tried."""

    opened: set[int]
    rounds: int
    order_before: list[str]
    placement_before: dict[str, str]


@pytest.fixture(scope="module")
def listeners(machine: Machine) -> Iterator[set[int]]:
    """Ports that would be open if it were not for the firewall; two of them on all addresses, early in a boot."""
    image = machine.run("docker inspect --format '{{.Image}}' shared-whisper").stdout.strip()
    serve = f"--entrypoint python3 {image} -m http.server 80"
    machine.run(f"docker run -d --init --restart always --name published -p {PUBLISHED}:80 {serve}")
    machine.run("cat >/etc/systemd/system/early-listener.socket", input=EARLY_LISTENER)
    machine.run("cat >/etc/systemd/system/early-listener@.service", input="[Service]\nExecStart=/bin/true\n")
    machine.run("systemctl enable early-listener.socket")
    yield {EARLY, PUBLISHED, OLLAMA}
    machine.run("docker rm -f published; systemctl disable --now early-listener.socket")
    machine.run("rm /etc/systemd/system/early-listener*; systemctl daemon-reload")


def poll(machine: Machine, ports: set[int]) -> subprocess.Popen[str]:
    """Have a stranger try ports again and again, from both families."""
    addresses = (machine.lab.machine, machine.lab.address6(2))
    program = [sys.executable, POLL, ",".join(map(str, ports)), *addresses]
    space = ["ip", "netns", "exec", outside_namespace(machine.lab)]
    return subprocess.Popen([*space, *program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def rebooted(machine: Machine, listeners: set[int]) -> Iterator[Boot]:
    repair_instances(machine)
    order, placement = cards(machine), computing(machine)
    machine.run("gpu-sim reorder 4,2,0,1,3")
    polling = poll(machine, {*listeners, SSH})
    try:
        machine.reboot()
        await_true(
            lambda: listeners <= listening_ports(machine), 300, f"listeners on {listeners} after the reboot"
        )
        output, _ = polling.communicate("enough\n", timeout=120)
        assert polling.returncode == 0
        lines = [line.split() for line in output.splitlines()]
        yield Boot(
            opened={int(line[2]) for line in lines if len(line) == 3},
            rounds=sum(line[1] == "round" for line in lines),
            order_before=order,
            placement_before=placement,
        )
    finally:
        polling.kill()
        polling.wait()
        repair_instances(machine)


def test_each_model_is_on_the_card_it_was_on(machine: Machine, rebooted: Boot) -> None:
    assert cards(machine) != rebooted.order_before, "the order was to be another one"
    assert sorted(cards(machine)) == sorted(rebooted.order_before)
    await_true(lambda: all_warm(machine), 300, "model on its card in every instance")
    assert computing(machine) == rebooted.placement_before == declared_placement(machine)


@pytest.mark.usefixtures("rebooted")
def test_no_unit_has_failed_after_a_reboot(machine: Machine) -> None:
    await_true(
        lambda: (
            machine.run("systemctl is-system-running", check=False).stdout.strip() in ("running", "degraded")
        ),
        300,
        "end of the boot",
    )
    assert machine.run("systemctl --failed --plain --no-legend").stdout == ""


@pytest.mark.usefixtures("rebooted")
def test_containers_reach_ollama_after_a_reboot(machine: Machine) -> None:
    await_true(lambda: serves(machine), 300, "answer of every instance to a container")


@pytest.mark.usefixtures("rebooted")
def test_whisper_is_back_after_a_reboot(machine: Machine) -> None:
    await_true(
        lambda: machine.run("curl -fso /dev/null http://127.0.0.1:9000/docs", check=False).returncode == 0,
        300,
        "answer of whisper",
    )


def test_the_firewall_was_closed_at_every_moment(
    machine: Machine, rebooted: Boot, listeners: set[int]
) -> None:
    # They do listen, one since before there was a network: what is not seen from outside is the firewall's doing.
    assert listeners <= listening_ports(machine)

    def since_boot(unit: str) -> int:
        return int(machine.run(f"systemctl show --value -p ActiveEnterTimestampMonotonic {unit}").stdout)

    assert 0 < since_boot("early-listener.socket") < since_boot("systemd-networkd.service")
    assert rebooted.rounds > 5  # a look takes a fifth of a second, or more on a busy machine
    assert rebooted.opened == {SSH}


@pytest.mark.usefixtures("rebooted")
def test_a_stranger_reaches_no_more_after_a_reboot(machine: Machine, outside: Outside) -> None:
    found = reached(machine, outside)
    # The web's ports are open, and nobody listens on them here.
    assert [what for what, ports in found.items() if ports - declared_open()[what]] == [], found
    assert SSH in found["tcp over IPv4"]
    assert machine.run("systemctl is-active host-firewall-repair.timer").stdout.strip() == "active"


@pytest.mark.usefixtures("rebooted")
def test_a_run_after_a_reboot_changes_nothing(deploy: Deploy) -> None:
    again = deploy()
    assert again.changed == []
