"""Swap and memory limits, which belong to the kernel: how they are set, and that they hold."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from group_data.all import paths, swappiness, zram_algorithm, zram_priority
from group_data.celeron_g4930 import profile
from group_data.lab import swap_gib
from lab.qemu_machine import QemuMachine
from tests.host.conftest import CompletedRun, run_pyinfra
from tests.vm.conftest import failed_units

GIB = 1024**3
BASE = "Phase 0: hardware | Base system"
SWAPS = "swapon --show=NAME,SIZE,USED,PRIO --bytes --noheadings --raw"
# Takes 128 MiB, of which each page is another one, and which compress well.
TAKES = "held = [bytes([n % 251]) * 4096 for n in range(32768)]"
CONTAINER_MIB = 64


def swaps(machine: QemuMachine) -> dict[str, tuple[int, int, int]]:
    """Size and use in bytes, and priority of each swap."""
    lines = [line.split() for line in machine.run(SWAPS).stdout.splitlines()]
    return {name: (int(size), int(used), int(priority)) for name, size, used, priority in lines}


def test_the_compressed_swap_has_its_share_of_the_memory(machine: QemuMachine) -> None:
    name, algorithm, size = machine.run(
        "zramctl --bytes --raw --noheadings --output NAME,ALGORITHM,DISKSIZE"
    ).stdout.split()
    memory = int(machine.run("awk '/^MemTotal:/ { print $2 }' /proc/meminfo").stdout) * 1024
    assert algorithm == zram_algorithm
    assert round(100 * int(size) / memory) == profile.zram_percent
    assert swaps(machine)[name][2] == zram_priority
    assert machine.run("cat /proc/sys/vm/swappiness").stdout.strip() == str(swappiness)


def test_memory_is_compressed_before_it_goes_to_the_disk(machine: QemuMachine) -> None:
    limited = "systemd-run --quiet --pipe --wait --property=MemoryMax=64M"
    output = machine.run(
        f"{limited} python3 -c \"{TAKES}; print(open('/proc/swaps').read())\"", timeout=600
    ).stdout
    used = {line.split()[0]: int(line.split()[3]) for line in output.splitlines()[1:] if line}
    assert used["/dev/zram0"] > 40 * 1024, output
    assert used[paths.swap_file] == 0, output


@pytest.fixture(scope="module")
def resized(machine: QemuMachine) -> Iterator[CompletedRun]:
    """The run with another size; the declared one is back afterwards."""
    yield run_pyinfra("--data", f"swap_gib={swap_gib + 1}")
    back = run_pyinfra()
    assert back.rc == 0, back.output
    assert swaps(machine)[paths.swap_file][0] == pytest.approx(swap_gib * GIB, abs=4096)


def test_the_swap_file_is_resized_while_it_is_in_use(machine: QemuMachine, resized: CompletedRun) -> None:
    assert resized.changed == [
        f"{BASE} | Settings of the base system",
        f"{BASE} | Swap, kernel settings, journal, cron and upgrades",
    ]
    size, _, priority = swaps(machine)[paths.swap_file]
    assert size == pytest.approx((swap_gib + 1) * GIB, abs=4096)  # the header takes a page
    assert priority < zram_priority


@pytest.fixture(scope="module")
def eater(machine: QemuMachine) -> Iterator[str]:
    """The name of a container that took more than its limit."""
    image = machine.run("docker inspect --format '{{.Image}}' shared-whisper").stdout.strip()
    limits = f"--memory {CONTAINER_MIB}m --memory-swap {CONTAINER_MIB}m"
    machine.run(
        f"docker run --name eater {limits} --entrypoint python3 {image} -c '{TAKES}'",
        check=False,
        timeout=600,
    )
    yield "eater"
    machine.run("docker rm -f eater")


def test_a_container_beyond_its_limit_is_killed_and_nothing_else(machine: QemuMachine, eater: str) -> None:
    state = machine.run(f"docker inspect --format '{{{{.State.OOMKilled}}}} {{{{.State.ExitCode}}}}' {eater}")
    assert state.stdout.split() == ["true", "137"]
    kills = machine.run("dmesg | grep oom-kill:").stdout.splitlines()
    container = machine.run(f"docker inspect --format '{{{{.Id}}}}' {eater}").stdout.strip()
    assert kills
    assert all("CONSTRAINT_MEMCG" in kill and container in kill for kill in kills), kills
    assert failed_units(machine) == ""


def test_limits_are_those_of_the_second_hierarchy(machine: QemuMachine) -> None:
    """A unit's limit is what the kernel enforces, and Docker uses the same hierarchy."""
    assert machine.run("docker info --format '{{.CgroupVersion}} {{.CgroupDriver}}'").stdout.split() == [
        "2",
        "systemd",
    ]
    declared = machine.run("systemctl show --value --property=MemoryMax ollama-filter").stdout.strip()
    enforced = machine.run("cat /sys/fs/cgroup/system.slice/ollama-filter.service/memory.max").stdout.strip()
    assert enforced == declared
    assert int(enforced) <= GIB
