"""Booting a Debian root in systemd-nspawn: the same for the server and for the simulated internet.

nspawn ends when the system inside reboots, so a small supervising process boots it again. That process is the
one whose identity is recorded; it ends when the system inside powers off, or is stopped.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lab import processes
from lab.paths import CHECKOUT

REBOOT = 133  # what nspawn exits with when the system inside asked for a reboot
SUPERVISOR = "supervisor"  # record of that process
CONTAINERS_NEED = "add_key keyctl bpf"  # system calls that nspawn filters and a container engine makes


class NspawnError(RuntimeError):
    """A machine did not start or stop; the message says where its console is."""


def legacy_cgroups() -> bool:
    """Whether memory can only be limited through the cgroup v1 hierarchy on this machine."""
    for controllers in ("cgroup.controllers", "unified/cgroup.controllers"):
        with suppress(FileNotFoundError):
            return "memory" not in (Path("/sys/fs/cgroup") / controllers).read_text().split()
    return True


def environment() -> dict[str, str]:
    """The environment nspawn is started with."""
    legacy = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "0"} if legacy_cgroups() else {}
    return {**os.environ, **legacy}


def boot_command(name: str, root: Path, arguments: Sequence[str] = ()) -> list[str]:
    """The nspawn command line that boots `root`.

    :param name: machine name, unique on this machine
    :param root: mounted root folder, writable
    :param arguments: further nspawn options (binds, network)
    """
    command = [
        "systemd-nspawn",
        "--quiet",
        f"--directory={root}",
        f"--machine={name}",
        "--boot",
        "--register=no",
        "--capability=all",
        f"--system-call-filter={CONTAINERS_NEED}",
        "--console=pipe",
        *arguments,
    ]
    if not Path("/run/systemd/system").is_dir():
        command.append("--keep-unit")  # no systemd here that could give it a scope: see `_enter_cgroup`
    if legacy_cgroups():
        command += [
            "systemd.unified_cgroup_hierarchy=0",
            "systemd.legacy_systemd_cgroup_controller=1",
            "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1",
        ]
    return command


def start(name: str, root: Path, state: Path, arguments: Sequence[str] = ()) -> None:
    """Boot `root` under a supervising process and return at once; does nothing where it already runs.

    :param name: machine name, unique on this machine
    :param root: mounted root folder, writable
    :param state: folder for the supervisor's identity (`supervisor`) and the console (`console.log`)
    :param arguments: further nspawn options (binds, network)
    """
    if running(state):
        return
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    _remove_cgroups(name)
    with (state / "console.log").open("wb") as console:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "lab.nspawn", name, *boot_command(name, root, arguments)],
            cwd=CHECKOUT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
        )
    processes.record(state / SUPERVISOR, supervisor.pid)


def running(state: Path) -> bool:
    """Whether the machine whose `state` folder this is has a living supervisor."""
    return processes.recorded(state / SUPERVISOR) is not None


def stop(name: str, state: Path, seconds: float = 30) -> None:
    """Power the machine off; after `seconds`, or where it was left without a supervisor, pull its plug.

    :param seconds: 0 pulls the plug at once
    """
    supervisor = state / SUPERVISOR
    pid = processes.recorded(supervisor)
    if pid is not None and seconds:
        os.kill(pid, signal.SIGTERM)
        processes.gone(supervisor, seconds)
    # nspawn's own death does not take the machine along, and a dead supervisor does not take nspawn along:
    # the first process inside goes first (all others go with it), then whatever is left.
    with suppress(NspawnError, ProcessLookupError):
        os.kill(leader(name), signal.SIGKILL)
    if pid is not None and not processes.gone(supervisor, 30):
        os.killpg(pid, signal.SIGKILL)
        if not processes.gone(supervisor, 30):
            raise NspawnError(f"machine {name} survives SIGKILL to process group {pid}")
    for left in [*_processes(f"--machine={name}"), *_members(name)]:
        with suppress(ProcessLookupError):
            os.kill(left, signal.SIGKILL)
    supervisor.unlink(missing_ok=True)
    _remove_cgroups(name)


def leader(name: str) -> int:
    """Process id, on this machine, of PID 1 inside the machine `name`."""
    for nspawn in _processes(f"--machine={name}"):
        children = Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split()
        if children:
            return int(children[-1])
    raise NspawnError(f"machine {name} is not running")


def inside(name: str, command: Sequence[str]) -> list[str]:
    """The command line that runs `command` as root inside the machine `name`."""
    namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wdns=/"]
    return ["nsenter", f"--target={leader(name)}", *namespaces, "--", *command]


def supervise(name: str, command: Sequence[str]) -> int:
    """Run `command` (nspawn) in a cgroup of its own, again after every reboot of the system inside.

    :return: status of the last boot: 0 after a power-off
    """
    _enter_cgroup(name)
    stopping = False
    nspawn: subprocess.Popen[bytes] | None = None

    def power_off(*_: object) -> None:
        nonlocal stopping
        stopping = True
        if nspawn is not None:
            nspawn.terminate()

    signal.signal(signal.SIGTERM, power_off)
    status = REBOOT
    while status == REBOOT and not stopping:
        nspawn = subprocess.Popen(command)
        if stopping:  # told between two boots
            nspawn.terminate()
        status = nspawn.wait()
    return status


def _processes(argument: str) -> list[int]:
    """Processes of nspawn that have `argument` in their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
            if arguments[0].endswith(b"systemd-nspawn") and argument.encode() in arguments:
                found.append(int(entry.name))
    return found


def _cgroup_mounts() -> list[Path]:
    lines = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return [Path(fields[1]) for fields in lines if fields[2] in ("cgroup", "cgroup2")]


def _enter_cgroup(name: str) -> None:
    """Move this process into cgroups of its own, which become the roots of those inside the machine.

    Without them two machines would share `system.slice` and kill each other's services. Where systemd runs,
    nspawn gets a scope from it instead.
    """
    if Path("/run/systemd/system").is_dir():
        return
    for mount in _cgroup_mounts():
        group = mount / name
        group.mkdir(exist_ok=True)
        for inherited in (
            "cpuset.cpus",
            "cpuset.mems",
        ):  # v1: empty in a new group, which then takes no process
            if (group / inherited).exists() and (mount / inherited).exists():
                (group / inherited).write_text((mount / inherited).read_text())
        (group / "cgroup.procs").write_text(str(os.getpid()))


def _members(name: str) -> set[int]:
    """Processes in the machine's own cgroups: those inside it, once nspawn is gone."""
    found: set[int] = set()
    for mount in _cgroup_mounts():
        for listed in (mount / name).rglob("cgroup.procs"):
            with suppress(OSError):
                found.update(map(int, listed.read_text().split()))
    return found


def _remove_cgroups(name: str) -> None:
    deadline = time.monotonic() + 30
    while _members(name) and time.monotonic() < deadline:  # killed, but not all gone yet
        time.sleep(0.02)
    for mount in _cgroup_mounts():
        # Deepest first; rmdir is all the kernel offers, and it refuses a group that still has a process.
        for folder, _, _ in os.walk(mount / name, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[1], sys.argv[2:]))
