"""The lab's server on QEMU: processor, memory, clock, disks and kernel of its own, and a plug that can be pulled."""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import group_data.lab
from blueprint.model import HardwareProfile
from lab import layers, network, overlay, processes, qemu
from lab.machine import Machine, layers_of, midday, remove
from lab.paths import Lab

# Sizes in GiB, by label. The system is on the first; Docker's data has a disk of its own.
DISKS = {"system": 32, "docker": 16}
FSTAB = """\
LABEL=system / ext4 defaults 0 1
LABEL=docker /var/lib/docker ext4 defaults 0 2
"""
# Its name in the lab's container, so that everything else is the same.
LINK = """\
[Match]
Driver=virtio_net

[Link]
Name=host0
"""


class QemuMachine(Machine):
    """Its disks are images that have what changed since those of the layers (qcow2).

    `clock` is what its own says at the next start, in UTC as QEMU writes it.
    """

    boot_s = 600.0  # by emulation, beside other work

    def __init__(self, lab: Lab, disks: str = "machine") -> None:
        super().__init__(lab, lab.state / "qemu", disks)
        self.clock = "utc"

    @property
    def description(self) -> str:
        return f"QEMU with {qemu.accelerator()}, Linux {self.kernel}"

    @property
    def kernel(self) -> str:
        return qemu.kernel()

    @property
    def running(self) -> bool:
        return processes.recorded(self.disks / "process") is not None

    def present(self, name: str) -> None:
        """At the next start: its processor and memory are exchanged while it is off."""
        (self.disks / "profile").write_text(name)

    def stop(self, *, hard: bool = False) -> None:
        if self.running and not hard:
            with suppress(subprocess.TimeoutExpired):
                self.run("systemctl poweroff", check=False, timeout=60)
            processes.gone(self.disks / "process", 180)
        self._hang_up()
        for record in self.folder.glob("*/process"):
            if pid := processes.recorded(record):
                os.kill(pid, signal.SIGKILL)
                processes.gone(record, 30)
            record.unlink()
        network.unplug(self.lab)

    def reboot(self, timeout: float = boot_s) -> None:
        before = self._boot_id()
        self.run("systemctl reboot", check=False)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            self._hang_up()
            self._await_ssh(timeout=deadline - time.monotonic())
            if self._boot_id() not in ("", before):
                return
            time.sleep(0.5)
        raise SystemExit(f"the lab's machine did not reboot; its console is in {self.disks / 'console.log'}")

    def _boot_id(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            return self.run("cat /proc/sys/kernel/random/boot_id", check=False, timeout=30).stdout
        return ""

    def _deliver(self) -> None:
        self._stand_on([self._delivered()])
        self.present(group_data.lab.hardware_profile)

    def _boot(self) -> None:
        profile: HardwareProfile = importlib.import_module(
            f"group_data.{(self.disks / 'profile').read_text()}"
        ).profile
        accelerator = qemu.accelerator()
        model = f"Intel(R) {profile.cpu_model} CPU @ 3.20GHz"
        arguments = [
            *("-accel", "kvm" if accelerator == "kvm" else "tcg,thread=multi,tb-size=1024"),
            *("-cpu", f"{'host' if accelerator == 'kvm' else 'max'},model-id={model}"),
            *("-smp", str(profile.cores), "-m", f"{profile.ram_gib}G"),
            # Memory is taken from this machine when it is written to, and not before.
            *("-object", f"memory-backend-ram,id=memory,size={profile.ram_gib}G,reserve=off"),
            *("-machine", "memory-backend=memory"),
            *("-rtc", f"base={self.clock}"),
            *("-netdev", f"tap,id=lab,ifname={network.plug(self.lab)},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=lab,romfile=,mac=52:54:00:00:{self.lab.number:02x}:02"),
        ]
        for label in DISKS:
            image = f"file={self.disks / label}.qcow2,format=qcow2,if=virtio"
            # What the machine flushes reaches this machine's cache, which outlives QEMU: nothing else loses power.
            arguments += ["-drive", f"{image},cache=unsafe,discard=unmap,detect-zeroes=unmap"]
        process = qemu.boot(arguments, f"lab.timezone={midday()}", self.disks / "console.log")
        processes.record(self.disks / "process", process.pid)

    def _host_key(self) -> str:
        return (layers_of(self.disks)[-1] / "host_key.pub").read_text()

    def _keep(self, layer: Path, kept: Path) -> None:
        lower = layers_of(self.disks)
        (self.disks / "lower").unlink()  # whatever happens now, these are no longer whole disks
        layer.mkdir()
        shutil.copy(self.disks / "profile", kept)
        for label in DISKS:
            (self.disks / f"{label}.qcow2").rename(layer / f"{label}.qcow2")
        self._stand_on([layer, *lower])

    def _return_to(self, kept: Path) -> None:
        self._stand_on(layers_of(kept))
        shutil.copy(kept / "profile", self.disks)

    def _stand_on(self, lower: Sequence[Path]) -> None:
        self.disks.mkdir(parents=True, exist_ok=True)
        for label in DISKS:
            _image_above(lower[0] / f"{label}.qcow2", "qcow2", self.disks / f"{label}.qcow2")
        (self.disks / "lower").write_text("\n".join(map(str, lower)))

    def _delivered(self) -> Path:
        """The layer of a fresh machine: what the container's are, with kernel modules, on disks."""
        prepared = layers.prepared(self.lab)
        made_from = [*map(str, prepared), str(qemu.root()), str(DISKS), FSTAB, LINK]
        layer = self.folder / "layers" / hashlib.sha256("\n".join(made_from).encode()).hexdigest()[:16]
        if not layer.is_dir():
            building = layer.with_name("building")
            root = building / "root"
            overlay.unmount(root)
            remove(building)
            building.mkdir(parents=True)
            overlay.mount(prepared, building / "upper", root)
            try:
                self._prepare(root)
                qemu.file_system(root, building / "system.raw", DISKS["system"], "system")
                shutil.copy(root / "etc/ssh/ssh_host_ed25519_key.pub", building / "host_key.pub")
            finally:
                overlay.unmount(root)
            empty = building / "empty"
            empty.mkdir()
            qemu.file_system(empty, building / "docker.raw", DISKS["docker"], "docker")
            for label in DISKS:
                _image_above(Path(f"{label}.raw"), "raw", building / f"{label}.qcow2")
            for leftover in (root, empty, building / "upper", building / "upper.work"):
                shutil.rmtree(leftover)
            building.rename(layer)
        return layer

    def _prepare(self, root: Path) -> None:
        folder = root / "usr/lib/modules"
        folder.mkdir(exist_ok=True)
        subprocess.run(["cp", "-a", str(qemu.modules()), str(folder)], check=True)
        (root / "etc/fstab").write_text(FSTAB)
        (root / "var/lib/docker").mkdir(mode=0o710, exist_ok=True)
        (root / "etc/systemd/network/10-host0.link").write_text(LINK)
        # Headers are offered for this kernel now; and a clock of its own needs what sets it right.
        for command in (["update"], ["install", "--yes", "--no-install-recommends", "systemd-timesyncd"]):
            subprocess.run(["chroot", str(root), "apt-get", "-q", *command], check=True, capture_output=True)


def _image_above(below: Path, kind: str, target: Path) -> None:
    """Make an image that has nothing of its own yet.

    :param below: the image that it stands on, which is not written any more
    :param kind: of that, "raw" or "qcow2"
    """
    qemu.image("create", "-q", "-f", "qcow2", "-F", kind, "-b", str(below), str(target))
