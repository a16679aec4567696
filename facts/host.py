"""What kind of machine a host is, and the state it is in: everything a preflight looks at."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from facts import script
from facts.gpu import pci_address

DISPLAY_CLASS = "03"
UNNAMED = "unnamed"
PCI_DEVICE = re.compile(
    r"(?P<address>\S+) .*?\[(?P<class>[0-9a-f]{4})\]: (?P<name>.+) \[(?P<id>[0-9a-f]{4}:[0-9a-f]{4})\]"
)
# What systemd-detect-virt calls a container (systemd-detect-virt(1)).
CONTAINERS = frozenset(
    {
        *(
            "openvz",
            "lxc",
            "lxc-libvirt",
            "systemd-nspawn",
            "docker",
            "podman",
            "rkt",
            "wsl",
            "proot",
            "pouch",
        ),
        "container-other",
    }
)


@dataclass(frozen=True)
class Disk:
    """Room of the file system that a path is on, in bytes. `free` is what users other than root may still take."""

    path: str
    size: int
    used: int
    free: int

    @property
    def percent(self) -> int:
        """How full it is as df shows it: of what users may take, rounded up."""
        usable = self.used + self.free
        return -(-100 * self.used // usable) if usable else 0


@dataclass(frozen=True)
class Listener:
    """A TCP port that something listens on.

    :param process: None where `ss` may not or cannot see it (the kernel)
    :param unit: of systemd, that the process belongs to; None for a process outside of all
    """

    port: int
    process: str | None
    pid: int | None
    unit: str | None = None


@dataclass(frozen=True)
class Display:
    """A display adapter: lspci's short address ("03:00.0"), vendor and device ("10de:2206"), and name."""

    bus: str
    id: str
    name: str


@dataclass(frozen=True)
class HostState:
    """A host. None means that it could not be asked: a program is missing, or it gave no answer.

    :param os: ID of os-release, "debian"
    :param os_version: VERSION_ID, "13"
    :param os_name: PRETTY_NAME
    :param machine: `uname -m`, "x86_64"
    :param cores: logical processors
    :param memory: bytes
    :param headers: kernel headers of the running kernel: "installed", "available" (in apt) or "missing"
    :param clock_offset_s: seconds that the host's clock is ahead of the controller's
    :param listeners: listening TCP ports, None without `ss`
    :param displays: display adapters on the PCI bus
    :param virtualization: as systemd-detect-virt names it, "none" on bare metal
    :param coolify: its own container runs here
    """

    os: str
    os_version: str
    os_name: str
    kernel: str
    machine: str
    uid: int
    cpu: str
    cores: int
    memory: int
    root_disk: Disk
    docker_disk: Disk
    headers: str
    nouveau: bool
    secure_boot: bool | None
    clock_offset_s: float
    listeners: tuple[Listener, ...] | None
    displays: tuple[Display, ...]
    reboot_required: bool
    virtualization: str | None
    coolify: bool = False

    @property
    def container(self) -> bool:
        """It shares another system's kernel, so modules, headers and swap are not its own."""
        return self.virtualization in CONTAINERS


def parse_os_release(lines: Iterable[str]) -> dict[str, str]:
    """The assignments of os-release(5), quotes taken off."""
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {key: "".join(shlex.split(value)[:1]) for key, _, value in pairs}


def parse_listeners(lines: Iterable[str], units: Mapping[int, str] | None = None) -> tuple[Listener, ...]:
    """The output of `ss -Hltnp`.

    :param units: name of the unit that a process belongs to, by its id
    """
    units = units or {}
    listeners = []
    for line in lines:
        columns = line.split(maxsplit=5)
        if len(columns) < 5:
            continue
        port = columns[3].rpartition(":")[2]
        user = re.search(r'\("(?P<name>[^"]*)",pid=(?P<pid>\d+)', columns[5] if len(columns) > 5 else "")
        pid = int(user["pid"]) if user else None
        listeners.append(
            Listener(
                int(port),
                user["name"] if user else None,
                pid,
                units.get(pid) if pid else None,
            )
        )
    return tuple(listeners)


def parse_displays(lines: Iterable[str]) -> tuple[Display, ...]:
    """The display adapters in the output of `lspci -Dnn`."""
    devices = (PCI_DEVICE.match(line) for line in lines)
    return tuple(
        Display(pci_address(device["address"]), device["id"], device["name"])
        for device in devices
        if device and device["class"].startswith(DISPLAY_CLASS)
    )


def parse(output: Iterable[str], now: float) -> HostState:
    """The answer of files/facts/host.sh.

    :param now: the controller's clock when the sections came, in seconds since 1970
    """
    sections = dict(script.sections(output))

    def first(section: str) -> str | None:
        return next((line.strip() for line in sections.get(section, []) if line.strip()), None)

    system = parse_os_release(sections["os-release"])
    cpu = [line.partition(":") for line in sections["cpu"]]
    root, docker = (_disk(line) for line in sections["disks"])
    units = {
        int(line.split()[0]): line.split()[1] for line in sections.get("units", []) if " " in line.strip()
    }
    return HostState(
        os=system.get("ID", "unknown"),
        os_version=system.get("VERSION_ID", ""),
        os_name=system.get("PRETTY_NAME", "unknown"),
        kernel=first("kernel") or "",
        machine=first("machine") or "",
        uid=int(first("uid") or -1),
        cpu=next((value.strip() for key, _, value in cpu if key.strip() == "model name"), "unknown"),
        cores=sum(key.strip() == "processor" for key, _, _ in cpu),
        memory=int((first("memory") or "MemTotal: 0 kB").split()[1]) * 1024,
        root_disk=root,
        docker_disk=docker,
        headers=first("headers") or "missing",
        nouveau=first("modules") == "nouveau",
        secure_boot=_secure_boot(sections["secure-boot"]),
        clock_offset_s=int(first("clock") or 0) - now,
        listeners=parse_listeners(sections["listeners"], units) if "listeners" in sections else None,
        displays=parse_displays(sections.get("pci", [])),
        reboot_required=first("reboot") == "required",
        virtualization=first("virtualization"),
        coolify=first("coolify") == "true",
    )


def _disk(line: str) -> Disk:
    path, size, used, free = line.rsplit(maxsplit=3)
    return Disk(path, int(size), int(used), int(free))


def _secure_boot(lines: Iterable[str]) -> bool | None:
    """From the firmware's variable (a number) or mokutil's sentence, whichever was readable."""
    for line in map(str.strip, lines):
        if line.isdigit():
            return line == "1"
        if line.startswith("SecureBoot "):
            return line.endswith("enabled")
    return None


class Host(FactBase[HostState]):
    """System, processor, memory, disks, ports, display adapters, driver, engine and clock in one question."""

    def command(self) -> StringCommand:
        """The script and its arguments."""
        return script.command("host.sh")

    def process(self, output: list[str]) -> HostState:
        """Read the answer of `command`."""
        return parse(output, time.time())
