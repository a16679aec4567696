"""The root of the lab's server: a stack of read-only layers under one writable one.

base (bootstrapped Debian, shared cache) ← prepared (what this lab's machine is delivered with) ← snapshots ← upper.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from lab import authority, overlay, roots, upstream
from lab.hardware import install as hardware
from lab.paths import Lab

ROOTFS = Path(__file__).parent / "rootfs"

# A bare server as a hoster delivers it. python3 is there for the simulated hardware, which exists before any deploy.
PACKAGES = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "kmod",
    "less",
    "locales-all",
    "openssh-server",
    "procps",
    "python3-minimal",
    "systemd",
    "systemd-sysv",
    "udev",
)

NETWORK = """\
[Match]
Name=host0

[Network]
Address={address4}/24
Address={address6}/64
Gateway={gateway}
LinkLocalAddressing=no
IPv6DuplicateAddressDetection=0
IPv6AcceptRA=no
"""


def prepared(lab: Lab) -> list[Path]:
    """The lower layers of a fresh machine, topmost first; made on first use and whenever what is in them changed."""
    base = roots.root("machine", PACKAGES)
    layer = lab.state / "layers" / _fingerprint(base)
    if not layer.is_dir():
        building = layer.with_name("building")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        root = lab.state / "preparing"
        overlay.unmount(root)
        overlay.mount(base, building, root)
        try:
            _prepare(lab, root)
        finally:
            overlay.unmount(root)
        building.rename(layer)
    return [layer, base]


def _fingerprint(base: Path) -> str:
    key = hashlib.sha256(base.name.encode())
    here = Path(__file__).parent
    for folder in ("rootfs", "hardware", "upstream", "layers.py", "authority.py"):
        for file in sorted([*(here / folder).rglob("*"), here / folder]):
            if file.is_file() and "__pycache__" not in file.parts:
                key.update(f"{file.relative_to(here)}\0".encode() + file.read_bytes())
    return key.hexdigest()[:16]


def _prepare(lab: Lab, root: Path) -> None:
    shutil.copytree(ROOTFS, root, symlinks=True, dirs_exist_ok=True)
    files = {
        "/etc/hostname": "sourcefast\n",
        "/etc/hosts": "127.0.0.1 localhost sourcefast\n::1 localhost ip6-localhost\n",
        "/etc/systemd/network/10-host0.network": NETWORK.format(
            address4=lab.machine, address6=lab.address6(2), gateway=lab.outside
        ),
        "/root/.ssh/authorized_keys": key_pair(lab).with_suffix(".pub").read_text(),
        **upstream.machine_files(lab),
    }
    for name, content in files.items():
        target = root / name.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # /etc/resolv.conf may be a link
        target.write_text(content)
    (root / "root/.ssh").chmod(0o700)
    hardware.install(root)
    authority.install(root)
    for command in (
        ["ssh-keygen", "-A"],
        ["systemctl", "enable", "systemd-networkd", "lab-boot.service"],
        ["systemctl", "mask", "systemd-networkd-wait-online.service", "systemd-resolved.service"],
        ["systemd-machine-id-setup"],
        ["apt-get", "-q", "update"],
    ):
        subprocess.run(["chroot", str(root), *command], check=True, capture_output=True)


def key_pair(lab: Lab) -> Path:
    """The private key that opens the lab, made on first use."""
    key = lab.state / "id_ed25519"
    if not key.exists():
        lab.state.mkdir(mode=0o700, exist_ok=True)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", lab.name, "-f", str(key)], check=True
        )
    return key
