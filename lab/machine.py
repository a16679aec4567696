"""The lab's server: a Debian machine with real systemd, sshd and Docker. What it runs in is for its backend.

`nspawn_machine` boots it in a container, `qemu_machine` on a processor and a kernel of its own; `backends` chooses.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path

from lab.paths import Lab

# The shared connection is a socket, whose path ends at 108 bytes: a checkout may lie deeper.
SSH_CONFIG = """\
Host lab
    HostName {address}
    User root
    IdentityFile {state}/id_ed25519
    IdentitiesOnly yes
    UserKnownHostsFile {state}/known_hosts
    StrictHostKeyChecking yes
    ControlMaster auto
    ControlPath /run/{name}-%C
    ControlPersist 60
"""


TRASH = ".trash-"


class CommandError(RuntimeError):
    """A command on the machine failed; the message has its output."""


class Machine(ABC):
    """The server of one lab and its disks, which stand on layers: `lower` has their paths, the topmost first.
    `boot_s` is what a boot may take, in seconds.

    :param folder: of the disks and snapshots of this backend
    :param disks: name of its disks. A lab runs one machine at a time; another one boots from other disks in its place
    """

    boot_s = 180.0

    def __init__(self, lab: Lab, folder: Path, disks: str) -> None:
        self.lab = lab
        self.folder = folder
        self.disks = folder / disks

    @property
    @abstractmethod
    def description(self) -> str:
        """What it runs in."""

    @property
    @abstractmethod
    def kernel(self) -> str:
        """Release of its kernel."""

    @property
    @abstractmethod
    def running(self) -> bool:
        """Whether it runs, from these disks."""

    @abstractmethod
    def present(self, name: str) -> None:
        """Present itself as the hardware of a profile.

        :param name: of a profile in group_data/
        """

    @abstractmethod
    def stop(self, *, hard: bool = False) -> None:
        """Power off; `hard` pulls the plug. Whatever a killed run, or the machine of other disks, left goes too."""

    @abstractmethod
    def reboot(self, timeout: float = 300) -> None:
        """Have the system inside reboot; returns when its sshd answers again.

        :param timeout: seconds for going down and coming up
        :raises SystemExit: it does not
        """

    @abstractmethod
    def _deliver(self) -> None:
        """Make the disks of a fresh machine."""

    @abstractmethod
    def _boot(self) -> None:
        """Boot from the disks; returns at once."""

    @abstractmethod
    def _host_key(self) -> str:
        """Public key of its sshd."""

    @abstractmethod
    def _keep(self, layer: Path, kept: Path) -> None:
        """Keep what changed since the layers below.

        :param layer: folder to make, of the files that others will stand on
        :param kept: folder of the snapshot, for what is copied whole
        """

    @abstractmethod
    def _return_to(self, kept: Path) -> None:
        """Make disks that stand on a snapshot."""

    def start(self) -> None:
        """Boot the machine as it was left, or a fresh one; returns when it is up."""
        if self.running:
            return
        self.stop(hard=True)
        if not (self.disks / "lower").exists():
            self._deliver()
        self._boot()
        self._await_ssh(timeout=self.boot_s)
        # Its sshd answers before all of it is up. Whether that succeeds is for others to say.
        self.run("timeout 300 systemctl is-system-running --wait", check=False, timeout=360)

    def reset(self) -> None:
        """A fresh machine: what was written since delivery is gone."""
        self.scrap()
        self.start()

    def scrap(self) -> None:
        """Pull the plug and remove the disks."""
        self.stop(hard=True)
        remove(self.disks)

    def snapshot(self, name: str) -> None:
        """Keep the machine's disks under a name. It is shut down for that, and boots again."""
        self.stop()
        layer = self.folder / "layers" / f"snapshot-{time.time_ns()}"
        kept = self.folder / "snapshots" / name
        building = kept.with_name(f".{name}")
        remove(building)
        building.mkdir(parents=True)
        layer.parent.mkdir(exist_ok=True)
        lower = [layer, *layers_of(self.disks)]
        self._keep(layer, building)
        (building / "lower").write_text("\n".join(map(str, lower)))
        remove(kept)
        building.rename(kept)
        self._remove_unused_layers()
        self.start()

    def restore(self, name: str) -> None:
        """Return to a snapshot.

        :raises SystemExit: there is none of that name
        """
        kept = self.folder / "snapshots" / name
        if not kept.is_dir():
            raise SystemExit(f"no snapshot {name!r}; there are: {', '.join(self.snapshots()) or 'none'}")
        self.scrap()
        self._return_to(kept)
        self.start()

    def snapshots(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "snapshots").glob("[!.]*"))

    def run(
        self, command: str, *, check: bool = True, timeout: float = 300, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command on the machine as root, over SSH.

        :raises CommandError: it failed, and `check` is set
        """
        done = subprocess.run(
            ["ssh", "-F", str(self.lab.state / "ssh_config"), "lab", command],
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
            input=input,
        )
        if check and done.returncode:
            output = (done.stdout + done.stderr)[-2000:]
            raise CommandError(f"{command}\nended with {done.returncode}\n{output}")
        return done

    def _remove_unused_layers(self) -> None:
        """Remove the layers of snapshots on which neither a machine nor a snapshot stands any more."""
        users = [*self.folder.glob("[!.]*/lower"), *self.folder.glob("snapshots/[!.]*/lower")]
        used = {layer for user in users for layer in layers_of(user.parent)}
        for layer in set(self.folder.glob("layers/snapshot-*")) - used:
            remove(layer)

    def _hang_up(self) -> None:
        """End the shared SSH connection: once the machine's network is gone, nothing tells it that it is dead."""
        config = self.lab.state / "ssh_config"
        if config.exists():
            command = ["ssh", "-F", str(config), "-O", "exit", "lab"]
            subprocess.run(command, check=False, capture_output=True)

    def _await_ssh(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                with socket.create_connection((self.lab.machine, 22), timeout=1) as connection:
                    # An emulated one greets late, and more connections delay it further.
                    connection.settimeout(30)
                    if connection.recv(8).startswith(b"SSH-"):
                        self._write_access()
                        return
            except OSError:
                pass
            if not self.running:
                break
            time.sleep(0.1)
        raise SystemExit(f"the lab's machine did not come up; its console is in {self.disks / 'console.log'}")

    def forget_access(self) -> None:
        """Remove what says where it is. Once the lab's routes are gone, packets to it would leave this machine."""
        for name in ("lab.json", "ssh_config"):
            (self.lab.state / name).unlink(missing_ok=True)

    def _write_access(self) -> None:
        state = self.lab.state
        host_key = self._host_key().split()[:2]
        (state / "known_hosts").write_text(f"{self.lab.machine} {' '.join(host_key)}\n")
        config = SSH_CONFIG.format(address=self.lab.machine, state=state, name=self.lab.name)
        (state / "ssh_config").write_text(config)
        access = {
            "address": self.lab.machine,
            "port": 22,
            "user": "root",
            "key": ".lab/id_ed25519",
            "known_hosts": ".lab/known_hosts",
        }
        (state / "lab.json").write_text(json.dumps(access, indent=2) + "\n")


def midday() -> str:
    """The time zone in which it is noon: whenever the tests run, what cron does at night is hours away."""
    ahead = 12 - time.gmtime().tm_hour
    return f"Etc/GMT{-ahead:+d}"  # these names count westwards


def layers_of(folder: Path) -> list[Path]:
    """The layers on which the disks in `folder` stand, topmost first."""
    return [Path(line) for line in (folder / "lower").read_text().splitlines()]


def remove(folder: Path) -> None:
    """Have a folder gone at once. Its files go in the background: a provisioned machine has tens of thousands."""
    # A rename first: a removal that is interrupted leaves nothing that looks whole, and the next one completes it.
    if folder.exists():
        folder.rename(folder.with_name(f"{TRASH}{os.getpid()}-{time.monotonic_ns()}"))
    if trash := list(folder.parent.glob(f"{TRASH}*")):
        subprocess.Popen(["rm", "-rf", *map(str, trash)], stderr=subprocess.DEVNULL, start_new_session=True)
