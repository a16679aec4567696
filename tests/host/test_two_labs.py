"""A second checkout's lab beside the first: they do not meet, a killed one is repaired, and it leaves no trace."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lab import nspawn, overlay, upstream
from lab.backends import server
from lab.machine import Machine
from lab.paths import Lab, lab
from tests.copies import copy_checkout


def up(checkout: Path) -> None:
    subprocess.run([sys.executable, "-m", "tests.host.second_lab"], cwd=checkout, check=True, timeout=900)


def down(checkout: Path) -> None:
    subprocess.run([sys.executable, "-m", "lab", "down"], cwd=checkout, check=True, timeout=600)


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The lab of a copy of this checkout."""
    checkout = tmp_path_factory.mktemp("checkout")
    copy_checkout(checkout)
    try:
        up(checkout)
        yield lab(checkout)
    finally:
        down(checkout)
        shutil.rmtree(checkout)  # its addresses are free again


def traces(one: Lab) -> list[str]:
    """Everything on this machine that is a lab's: interfaces, namespaces, routes, mounts, processes, control groups."""
    machines = (one.name, f"{one.name}-upstream")
    parts = {f"{one.name}br", f"{one.name}o", f"{one.name}out", f"vb-{one.name}", one.subnet4, one.subnet6}
    output = [
        *lines("ip", "-brief", "link"),
        *lines("ip", "netns"),
        *lines("ip", "-4", "route", "show", "table", "all"),
        *lines("ip", "-6", "route", "show", "table", "all"),
    ]
    found = [line for line in output if parts & {word.partition("@")[0] for word in line.split()}]
    found += [str(mount) for mount in overlay.mounts() if one.checkout in mount.parents]
    inside = re.compile(rf"(?m):/({'|'.join(machines)})(/|$)")
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile
            arguments = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            started = any(f"--machine={name}" in arguments for name in machines)
            if started or inside.search((process / "cgroup").read_text()):
                found.append(f"process {process.name}: {' '.join(arguments)}")
    groups = Path("/sys/fs/cgroup")
    return found + [
        str(group) for name in machines for group in (*groups.glob(name), *groups.glob(f"*/{name}"))
    ]


def lines(*command: str) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def test_two_labs_have_nothing_in_common(machine: Machine, second: Lab) -> None:
    assert {second.name, second.subnet4, second.subnet6}.isdisjoint(
        {machine.lab.name, machine.lab.subnet4, machine.lab.subnet6}
    )
    for one in (machine, server(second)):
        assert upstream.ready(one.lab)
        address = one.run("ip -4 -brief address show host0").stdout.split()[2]
        assert address == f"{one.lab.machine}/24"
    # The second one's stranger finds its own server, and no way to the first one's.
    stranger = ["ip", "netns", "exec", f"{second.name}out", "bash", "-c"]
    knock = "exec 3<>/dev/tcp/{}/22 && head -c 4 <&3"
    own = subprocess.run(
        [*stranger, knock.format(second.machine)], capture_output=True, timeout=60, check=False
    )
    other = subprocess.run(
        [*stranger, knock.format(machine.lab.machine)], capture_output=True, timeout=60, check=False
    )
    assert own.stdout == b"SSH-"
    assert other.returncode != 0, other.stdout


def test_a_killed_lab_is_repaired(second: Lab) -> None:
    for state in (second.state / "machine", second.state / "upstream"):
        supervisor = int((state / "supervisor").read_text().split()[0])
        os.kill(supervisor, signal.SIGKILL)
    os.kill(nspawn.leader(second.name), signal.SIGKILL)
    subprocess.run(["ip", "link", "delete", f"{second.name}br"], check=True)
    up(second.checkout)
    assert server(second).run("systemctl is-active docker ssh || true").stdout.split()[-1] == "active"
    assert upstream.ready(second)


def test_a_lab_goes_without_trace_and_leaves_the_other_alone(machine: Machine, second: Lab) -> None:
    killed = second.state / "killed"  # a test, with what it had mounted
    overlay.mount(second.state / "layers", killed / "upper", killed / "root")
    assert len(traces(second)) > 8, "the search finds what is there"
    down(second.checkout)
    assert traces(second) == []
    assert not any((second.state / name).exists() for name in ("lab.json", "ssh_config")), (
        "packets would leave"
    )
    assert machine.run("true").returncode == 0
    assert upstream.ready(machine.lab)
