"""The lab's server in a systemd-nspawn container, which shares this machine's kernel."""

from __future__ import annotations

import platform
import shutil
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import group_data.lab
from lab import layers, network, nspawn, overlay, profile
from lab.machine import Machine, layers_of, midday
from lab.paths import Lab


class NspawnMachine(Machine):
    """Its disks are folders: `upper` (what changed since its layers), and `docker` (Docker's data, which needs a real
    file system below it)."""

    def __init__(self, lab: Lab, disks: str = "machine") -> None:
        super().__init__(lab, lab.state, disks)
        self.root = lab.state / "root"

    @property
    def description(self) -> str:
        return "systemd-nspawn"

    @property
    def kernel(self) -> str:
        return platform.release()

    @property
    def running(self) -> bool:
        return nspawn.running(self.disks)

    def present(self, name: str) -> None:
        profile.present(self.root, name)

    def stop(self, *, hard: bool = False) -> None:
        self._hang_up()
        nspawn.stop(self.lab.name, self.disks, seconds=0 if hard else 180)
        network.unplug(self.lab)
        overlay.unmount(self.root)

    def reboot(self, timeout: float = 300) -> None:
        before = nspawn.leader(self.lab.name)
        self.run("systemctl reboot", check=False)
        self._hang_up()
        deadline = time.monotonic() + timeout
        while self._leader() in (None, before) and time.monotonic() < deadline:
            time.sleep(0.1)
        self._await_ssh(timeout=deadline - time.monotonic())

    def _deliver(self) -> None:
        self._fresh(layers.prepared(self.lab))
        profile.present(self.disks / "upper", group_data.lab.hardware_profile)

    def _boot(self) -> None:
        overlay.mount(layers_of(self.disks), self.disks / "upper", self.root)
        clock = self.root / "etc/localtime"
        clock.unlink(missing_ok=True)
        clock.symlink_to(f"/usr/share/zoneinfo/{midday()}")
        nspawn.start(
            self.lab.name,
            self.root,
            self.disks,
            [
                f"--network-bridge={network.bridge(self.lab)}",
                f"--bind={self.disks / 'docker'}:/var/lib/docker",
                "--timezone=off",  # it has its own
            ],
        )

    def _host_key(self) -> str:
        return (self.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text()

    def _keep(self, layer: Path, kept: Path) -> None:
        _copy(self.disks / "upper", layer)
        _copy(self.disks / "docker", kept / "docker")

    def _return_to(self, kept: Path) -> None:
        self._fresh(layers_of(kept))
        shutil.rmtree(self.disks / "docker")
        _copy(kept / "docker", self.disks / "docker")

    def _fresh(self, lower: Iterable[Path]) -> None:
        for part in ("upper", "docker"):
            (self.disks / part).mkdir(parents=True, exist_ok=True)
        (self.disks / "lower").write_text("\n".join(map(str, lower)))

    def _leader(self) -> int | None:
        with suppress(nspawn.NspawnError, FileNotFoundError):
            return nspawn.leader(self.lab.name)
        return None


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(target)], check=True)
