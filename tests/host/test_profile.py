"""Another processor in the same machine: the profile changes what depends on it, and restarts no more than that."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from group_data import celeron_g4930, i7_9700k
from group_data.gpu import ollama_instances
from lab.machine import Machine
from tests.host.conftest import CompletedRun, Deploy, all_warm, await_true, repair_instances, run_pyinfra

pytestmark = pytest.mark.usefixtures("quiet")
UPGRADED = ("--data", "hardware_profile=i7_9700k")
UNITS = [
    *(instance.unit for instance in ollama_instances),
    *("docker.service", "shared-whisper.service", "cron.service", "systemd-journald.service"),
]


def starts(machine: Machine) -> dict[str, str]:
    """An identity of one start of a unit."""
    output = machine.run(f"systemctl show --property=Id,InvocationID {' '.join(UNITS)}").stdout
    blocks = [
        dict(line.split("=", 1) for line in block.splitlines()) for block in output.strip().split("\n\n")
    ]
    return {block["Id"]: block["InvocationID"] for block in blocks}


def parallel(machine: Machine) -> dict[str, int]:
    """The number of parallel requests of each running process."""
    found = {}
    for instance in ollama_instances:
        pid = machine.run(f"systemctl show --value -p MainPID {instance.unit}").stdout.strip()
        environment = machine.run(f"cat /proc/{pid}/environ").stdout.split("\0")
        value = next(line for line in environment if line.startswith("OLLAMA_NUM_PARALLEL="))
        found[instance.name] = int(value.partition("=")[2])
    return found


@pytest.mark.checklist("0.5", "V.4", "V.5")
def test_a_profile_that_is_not_the_machines_is_refused(machine: Machine, deploy: Deploy) -> None:
    before = starts(machine)
    refused = deploy(*UPGRADED)
    assert refused.rc != 0
    assert "2 problems" in refused.output, refused.output
    assert "found:    Intel(R) Celeron(R) G4930" in refused.output
    assert "expected: i7-9700K with 8 cores" in refused.output
    assert "Traceback" not in refused.output
    assert starts(machine) == before


@pytest.fixture(scope="module")
def before_upgrade(machine: Machine) -> dict[str, str]:
    repair_instances(machine)
    return starts(machine)


@pytest.fixture(scope="module")
def upgraded(machine: Machine, before_upgrade: dict[str, str]) -> Iterator[CompletedRun]:
    """The run after the processor was exchanged; the old one is back afterwards."""
    machine.present("i7_9700k")
    yield run_pyinfra(*UPGRADED)
    machine.present("celeron_g4930")
    back = run_pyinfra()
    assert back.rc == 0, back.output
    assert parallel(machine) == celeron_g4930.profile.ollama_parallel
    await_true(lambda: all_warm(machine), 300, "warm instance")


def test_the_new_profile_restarts_what_depends_on_it_only(
    machine: Machine, before_upgrade: dict[str, str], upgraded: CompletedRun
) -> None:
    assert upgraded.changed == [
        "Phase 0: hardware | Ollama | Units and environment of the instances",
        "Phase 0: hardware | Ollama | Ollama instances",
    ]
    after = starts(machine)
    restarted = {unit for unit in after if after[unit] != before_upgrade[unit]}
    assert restarted == {"ollama@heavy.service", "ollama@light.service"}


@pytest.mark.checklist("0.7", "0.8", "F.10", "F.11")
def test_the_new_profile_is_in_force(machine: Machine, upgraded: CompletedRun) -> None:
    assert upgraded.rc == 0
    assert parallel(machine) == i7_9700k.profile.ollama_parallel
    await_true(lambda: all_warm(machine), 300, "warm instance")


def test_the_new_profile_is_where_the_next_run_begins(upgraded: CompletedRun, deploy: Deploy) -> None:
    again = deploy(*UPGRADED)
    assert again.changed == []
