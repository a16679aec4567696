"""What is plugged in, and who holds how much of its memory.

Two places, because they live differently:

- the *hardware* (`/var/lib/gpu-sim/gpus.json`): cards, their order, which are taken away. Survives a reboot.
- the *driver's memory* (`/dev/shm/gpu-sim/runtime.json`): allocations, power limits, persistence mode. Gone after a
  reboot, and writable for every user and every sandboxed unit, as /dev/nvidia* is.

`GPU_SIM_STATE` moves both into one folder, so that tests run without root.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HELD = 0
"""Pid of memory that no process of the machine holds (`gpu-sim fill`): it counts as used until it is freed."""


def state_folder() -> Path:
    """Folder of the hardware's description."""
    return Path(os.environ.get("GPU_SIM_STATE", "/var/lib/gpu-sim"))


def runtime_folder() -> Path:
    """Folder of what the driver forgets at a reboot."""
    override = os.environ.get("GPU_SIM_STATE")
    return Path(override) / "run" if override else Path("/dev/shm/gpu-sim")  # noqa: S108 - see the module's docstring


@dataclass(frozen=True)
class Gpu:
    """One card. `bus` as lspci prints it; memory in MiB, of which the driver keeps `reserved_mib`; power in watts.

    A `data_center` card has no fan, and has ECC and MIG.
    """

    bus: str
    uuid: str
    name: str
    memory_mib: int
    reserved_mib: int
    pci_device: str
    pci_subsystem: str
    pci_audio: str
    power_default_w: int
    power_min_w: int
    power_max_w: int
    data_center: bool = False
    present: bool = True

    @property
    def bus_id(self) -> str:
        """PCI address as nvidia-smi prints it."""
        return f"00000000:{self.bus.upper()}"


@dataclass
class Machine:
    """All cards in the order in which the driver enumerates them, the absent ones included."""

    driver_version: str
    cuda_version: str
    gpus: list[Gpu]

    @property
    def present(self) -> list[Gpu]:
        """The cards that are plugged in; the place in this list is the card's index."""
        return [gpu for gpu in self.gpus if gpu.present]

    def find(self, identifier: str) -> Gpu | None:
        """The present card with this index, full UUID or PCI address (with or without domain)."""
        if identifier.isdecimal():
            index = int(identifier)
            return self.present[index] if index < len(self.present) else None
        for gpu in self.present:
            if identifier.lower() in (gpu.uuid.lower(), gpu.bus, f"0000:{gpu.bus}", gpu.bus_id.lower()):
                return gpu
        return None


def load(folder: Path | None = None) -> Machine:
    """The machine's hardware as it is now, described in `folder` (this machine's by default)."""
    raw = json.loads(((folder or state_folder()) / "gpus.json").read_text())
    return Machine(raw["driver_version"], raw["cuda_version"], [Gpu(**gpu) for gpu in raw["gpus"]])


def save(machine: Machine) -> None:
    """Replace the hardware's description."""
    target = state_folder() / "gpus.json"
    staged = target.with_suffix(".new")
    staged.write_text(json.dumps(asdict(machine), indent=2) + "\n")
    staged.replace(target)


def driver_loaded() -> bool:
    """Whether a driver was installed (its package leaves a marker) and its module is in the kernel."""
    return (state_folder() / "driver").exists() and not (runtime_folder() / "driver-unloaded").exists()


@dataclass
class Allocation:
    """Memory of one card held by one process. `started` tells the process from a later one with the same pid."""

    uuid: str
    pid: int
    started: str
    process: str
    mib: int

    @property
    def alive(self) -> bool:
        return self.pid == HELD or _started(self.pid) == self.started


@dataclass
class Runtime:
    """What the loaded driver knows."""

    allocations: list[Allocation] = field(default_factory=list)
    power_limits_w: dict[str, float] = field(default_factory=dict)
    persistent: list[str] = field(default_factory=list)

    def used_mib(self, gpu: Gpu) -> int:
        return sum(allocation.mib for allocation in self.allocations if allocation.uuid == gpu.uuid)

    def processes(self, gpu: Gpu) -> list[Allocation]:
        """What processes hold on a card, as far as nvidia-smi can name them."""
        return [a for a in self.allocations if a.uuid == gpu.uuid and a.pid != HELD]

    def free_mib(self, gpu: Gpu) -> int:
        return gpu.memory_mib - gpu.reserved_mib - self.used_mib(gpu)


@contextmanager
def runtime() -> Iterator[Runtime]:
    """The driver's memory, locked; changes are kept. What dead processes held is free again."""
    folder = runtime_folder()
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(
            0o777
        )  # never sticky: the kernel would then refuse to open other users' files for writing
    # Written in place, not renamed: the file is the lock, and belongs to the first process.
    handle = os.open(folder / "runtime.json", os.O_RDWR | os.O_CREAT, 0o666)
    with os.fdopen(handle, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        text = file.read()
        known = _runtime(json.loads(text)) if text else Runtime()
        if not text and os.fstat(file.fileno()).st_uid == os.geteuid():
            os.fchmod(file.fileno(), 0o666)
        yield known
        file.seek(0)
        file.truncate()
        json.dump(asdict(known), file)


def _runtime(raw: dict[str, Any]) -> Runtime:
    allocations = [Allocation(**allocation) for allocation in raw["allocations"]]
    return Runtime([a for a in allocations if a.alive], raw["power_limits_w"], raw["persistent"])


def allocate(uuid: str, mib: int, process: str, pid: int | None = None) -> bool:
    """Take memory of a card for a process, if that much is free.

    :param uuid: full UUID of the card
    :param mib: MiB to take
    :param process: name of the process as nvidia-smi shows it
    :param pid: the process; this one by default
    :return: False where CUDA would say `out of memory` or `no device`
    """
    gpu = load().find(uuid)
    if gpu is None:
        return False
    owner = os.getpid() if pid is None else pid
    with runtime() as known:
        if mib > known.free_mib(gpu):
            return False
        known.allocations.append(Allocation(uuid, owner, _started(owner), process, mib))
    return True


def release(uuid: str, pid: int | None = None, mib: int | None = None) -> None:
    """Give back what a process holds on a card.

    :param uuid: full UUID of the card
    :param pid: the process; this one by default
    :param mib: size of the one allocation to give back; all of them by default
    """
    owner = os.getpid() if pid is None else pid
    with runtime() as known:
        for allocation in [a for a in known.allocations if (a.uuid, a.pid) == (uuid, owner)]:
            if mib is None or allocation.mib == mib:
                known.allocations.remove(allocation)
                if mib is not None:
                    return


def _started(pid: int) -> str:
    """Start time of a process in clock ticks since the kernel's boot; empty if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]
