"""A jump host: sshd of the lab's Debian root on the stranger's host, which may forward connections and nothing else."""

from __future__ import annotations

import shutil
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

from lab import layers, network, overlay
from lab.paths import Lab
from tests.host.conftest import await_true

PORT = 2022
SETTINGS = f"""\
Port {PORT}
HostKey /etc/ssh/bastion
AllowUsers jump
PasswordAuthentication no
PermitTTY no
ForceCommand /usr/sbin/nologin
PidFile none
"""


class Bastion:
    """The jump host of a lab.

    :param lab: its lab, which is up
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.disks = lab.state / "bastion"
        self.root = self.disks / "root"
        self.sshd: subprocess.Popen[bytes] | None = None

    def start(self, key: str) -> None:
        """Serve SSH to the user `jump`.

        :param key: his public key
        """
        self.stop()
        overlay.mount(layers.prepared(self.lab), self.disks / "upper", self.root)
        for path, text in {
            "etc/ssh/bastion_config": SETTINGS,
            "home/jump/.ssh/authorized_keys": f"{key}\n",
        }.items():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(text)
        new_key(self.root / "etc/ssh/bastion")
        inside = ["chroot", str(self.root)]
        subprocess.run([*inside, "useradd", "--password=*", "jump"], check=True)
        subprocess.run([*inside, "install", "--directory", "/run/sshd"], check=True)
        # It ends with this process, even one that is killed: the next jump host has the same port.
        space = ["setpriv", "--pdeathsig=KILL", "ip", "netns", "exec", network.outside_namespace(self.lab)]
        with (self.disks / "sshd.log").open("wb") as log:
            self.sshd = subprocess.Popen(
                [*space, *inside, "/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/bastion_config"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        await_true(self._answers, 30, f"jump host; see {log.name}")

    def stop(self) -> None:
        """End it, and leave nothing of it."""
        if self.sshd is not None:
            self.sshd.terminate()
            self.sshd.wait(timeout=30)
            self.sshd = None
        overlay.unmount(self.root)
        shutil.rmtree(self.disks, ignore_errors=True)

    @property
    def host_key(self) -> str:
        """Its public key."""
        return (self.root / "etc/ssh/bastion.pub").read_text().strip()

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection((self.lab.outside, PORT), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
        return False


def new_key(path: Path) -> str:
    """Make a pair of keys, and give the public one."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)], check=True
    )
    return path.with_suffix(".pub").read_text().strip()
