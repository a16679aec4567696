"""The lab's server: a Debian machine with real systemd, sshd and Docker, in a systemd-nspawn container."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import group_data.lab
from lab import layers, network, nspawn, overlay, profile
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
    """A command on the machine failed; the message has what it said."""


class Machine:
    """The server of one lab and its disks: `upper` (what changed since its layers), `lower` (their paths, the topmost
    first) and `docker` (Docker's data, which needs a real file system below it).

    :param disks: name of its disks. A lab runs one machine at a time; another one boots from other disks in its place
    """

    def __init__(self, lab: Lab, disks: str = "machine") -> None:
        self.lab = lab
        self.disks = lab.state / disks
        self.root = lab.state / "root"

    @property
    def running(self) -> bool:
        return nspawn.running(self.disks)

    def start(self) -> None:
        """Boot the machine as it was left, or a fresh one; returns when it is up."""
        if self.running:
            return
        self.stop(hard=True)  # whatever a killed run, or the machine of other disks, left in its place
        if not (self.disks / "lower").exists():
            self._fresh(layers.prepared(self.lab))
            profile.present(self.disks / "upper", group_data.lab.hardware_profile)
        overlay.mount(_layers(self.disks), self.disks / "upper", self.root)
        midday(self.root)
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
        self._await_ssh(timeout=180)
        # Its sshd answers before all of it is up. Whether that succeeds is for others to say.
        self.run("timeout 300 systemctl is-system-running --wait", check=False, timeout=360)

    def stop(self, *, hard: bool = False) -> None:
        """Power off; `hard` pulls the plug."""
        self._hang_up()
        nspawn.stop(self.lab.name, self.disks, seconds=0 if hard else 180)
        network.unplug(self.lab)
        overlay.unmount(self.root)

    def reboot(self, timeout: float = 300) -> None:
        """Have the system inside reboot; returns when its sshd answers again.

        :param timeout: seconds for going down and coming up
        :raises SystemExit: it does not
        """
        before = nspawn.leader(self.lab.name)
        self.run("systemctl reboot", check=False)
        self._hang_up()
        deadline = time.monotonic() + timeout
        while self._leader() in (None, before) and time.monotonic() < deadline:
            time.sleep(0.1)
        self._await_ssh(timeout=deadline - time.monotonic())

    def reset(self) -> None:
        """A fresh machine: what was written since delivery is gone."""
        self.stop(hard=True)
        _remove(self.disks)
        self.start()

    def scrap(self) -> None:
        """Pull the plug and remove the disks."""
        self.stop(hard=True)
        _remove(self.disks)

    def snapshot(self, name: str) -> None:
        """Keep the machine's disks under a name. It is shut down for that, and boots again."""
        self.stop()
        layer = self.lab.state / "layers" / f"snapshot-{time.time_ns()}"
        kept = self.lab.state / "snapshots" / name
        building = kept.with_name(f".{name}")
        _remove(building)
        building.mkdir(parents=True)
        layer.parent.mkdir(exist_ok=True)
        _copy(self.disks / "upper", layer)
        _copy(self.disks / "docker", building / "docker")
        (building / "lower").write_text("\n".join(map(str, [layer, *_layers(self.disks)])))
        _remove(kept)
        building.rename(kept)
        self._remove_unused_layers()
        self.start()

    def restore(self, name: str) -> None:
        """Return to a snapshot.

        :raises SystemExit: there is none of that name
        """
        kept = self.lab.state / "snapshots" / name
        if not kept.is_dir():
            raise SystemExit(f"no snapshot {name!r}; there are: {', '.join(self.snapshots()) or 'none'}")
        self.stop(hard=True)
        _remove(self.disks)
        self._fresh(_layers(kept))
        shutil.rmtree(self.disks / "docker")
        _copy(kept / "docker", self.disks / "docker")
        self.start()

    def snapshots(self) -> list[str]:
        return sorted(path.name for path in (self.lab.state / "snapshots").glob("[!.]*"))

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

    def _fresh(self, lower: Iterable[Path]) -> None:
        self.disks.mkdir(parents=True, exist_ok=True)
        for part in ("upper", "docker"):
            (self.disks / part).mkdir(exist_ok=True)
        (self.disks / "lower").write_text("\n".join(map(str, lower)))

    def _remove_unused_layers(self) -> None:
        """Remove the layers of snapshots on which neither a machine nor a snapshot stands any more."""
        state = self.lab.state
        users = [*state.glob("[!.]*/lower"), *state.glob("snapshots/[!.]*/lower")]
        used = {layer for user in users for layer in _layers(user.parent)}
        for layer in set(state.glob("layers/snapshot-*")) - used:
            _remove(layer)

    def _leader(self) -> int | None:
        with suppress(nspawn.NspawnError, FileNotFoundError):
            return nspawn.leader(self.lab.name)
        return None

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
        host_key = (self.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2]
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


def midday(root: Path) -> None:
    """Give a machine the time zone in which it is noon: whenever the tests run, what cron does at night is hours away.

    :param root: the machine's root folder
    """
    ahead = 12 - time.gmtime().tm_hour
    clock = root / "etc/localtime"
    clock.unlink(missing_ok=True)
    clock.symlink_to(f"/usr/share/zoneinfo/Etc/GMT{-ahead:+d}")  # these names count westwards


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(target)], check=True)


def _layers(folder: Path) -> list[Path]:
    """The layers on which the disks in `folder` stand, topmost first."""
    return [Path(line) for line in (folder / "lower").read_text().splitlines()]


def _remove(folder: Path) -> None:
    """Have a folder gone at once. Its files go in the background: a provisioned machine has tens of thousands."""
    # A rename first: a removal that is interrupted leaves nothing that looks whole, and the next one completes it.
    if folder.exists():
        folder.rename(folder.with_name(f"{TRASH}{os.getpid()}-{time.monotonic_ns()}"))
    if trash := list(folder.parent.glob(f"{TRASH}*")):
        subprocess.Popen(["rm", "-rf", *map(str, trash)], stderr=subprocess.DEVNULL, start_new_session=True)
