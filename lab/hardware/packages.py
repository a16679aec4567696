"""Debian packages of the simulated NVIDIA driver and container toolkit, under the names and with the relations of the
real ones (Debian 13 non-free and contrib; NVIDIA's container toolkit repository).

What the real ones need and a deploy has to name itself, it has to name here too: as in Debian, `nvidia-driver` only
*recommends* nvidia-persistenced, and does not bring nvidia-smi.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from lab.hardware.gpusim.nvidia_ctk import VERSION as TOOLKIT
from lab.hardware.install import launcher

DRIVER = "550.163.01"
EPOCH = "1735689600"  # 2025-01-01: the same bytes at every build

PERSISTENCED_UNIT = """\
[Unit]
Description=NVIDIA Persistence Daemon

[Service]
ExecStart=/usr/bin/nvidia-persistenced
Restart=always

[Install]
WantedBy=multi-user.target
"""
# What debhelper writes for a package with a unit.
ENABLE_UNIT = """\
#!/bin/sh
set -e
if [ "$1" = configure ]; then
    deb-systemd-helper enable nvidia-persistenced.service
    if [ -d /run/systemd/system ]; then
        systemctl --system daemon-reload
        deb-systemd-invoke start nvidia-persistenced.service || true
    fi
fi
"""
STOP_UNIT = """\
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    deb-systemd-invoke stop nvidia-persistenced.service
fi
"""
# Stands for building and loading the kernel module; a test that wants a reboot first says `gpu-sim unload-driver`.
LOAD_DRIVER = f"""\
#!/bin/sh
set -e
if [ "$1" = configure ]; then
    echo {DRIVER} >/var/lib/gpu-sim/driver
fi
"""
UNLOAD_DRIVER = """\
#!/bin/sh
set -e
if [ "$1" = remove ]; then
    rm -f /var/lib/gpu-sim/driver
fi
"""


@dataclass(frozen=True)
class Package:
    """One binary package. `files` by path without leading slash; what is in a bin folder is executable."""

    name: str
    version: str
    section: str
    description: str
    depends: tuple[str, ...] = ()
    recommends: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)
    architecture: str = "amd64"

    @property
    def file_name(self) -> str:
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"

    @property
    def control(self) -> str:
        fields = {
            "Package": self.name,
            "Version": self.version,
            "Architecture": self.architecture,
            "Maintainer": "Lab <root@localhost>",
            "Section": self.section,
            "Priority": "optional",
            "Depends": ", ".join(self.depends),
            "Recommends": ", ".join(self.recommends),
            "Provides": ", ".join(self.provides),
            "Description": f"{self.description} (simulated)",
        }
        return "".join(f"{name}: {value}\n" for name, value in fields.items() if value)


def driver() -> list[Package]:
    """What Debian's own archive has."""
    version = f"{DRIVER}-2"
    same = f"(= {version})"
    return [
        Package(
            "nvidia-driver",
            version,
            "non-free/x11",
            "NVIDIA metapackage",
            depends=(f"nvidia-driver-bin {same}", f"nvidia-kernel-dkms {same}"),
            recommends=("nvidia-persistenced (>= 550)",),
            provides=("nvidia-driver-any",),
        ),
        Package("libcuda1", version, "non-free/libs", "NVIDIA CUDA Driver Library"),
        Package("nvidia-driver-bin", version, "non-free/x11", "NVIDIA driver support binaries"),
        Package(
            "nvidia-kernel-dkms",
            version,
            "non-free/kernel",
            "NVIDIA binary kernel module DKMS source",
            depends=(f"firmware-nvidia-gsp (= {DRIVER})",),
            recommends=(f"nvidia-driver (>= {DRIVER})",),
            provides=(f"nvidia-kernel-{DRIVER}",),
            files={f"usr/src/nvidia-current-{DRIVER}/dkms.conf": f'PACKAGE_VERSION="{DRIVER}"\n'},
            scripts={"postinst": LOAD_DRIVER, "prerm": UNLOAD_DRIVER},
        ),
        Package(
            "firmware-nvidia-gsp",
            version,
            "non-free-firmware/kernel",
            "NVIDIA GSP firmware",
            provides=(f"firmware-nvidia-gsp (= {DRIVER})",),
        ),
        Package(
            "nvidia-smi",
            version,
            "non-free/utils",
            "NVIDIA System Management Interface",
            depends=("python3",),
            files={"usr/bin/nvidia-smi": launcher("nvidia_smi")},
        ),
        Package(
            "nvidia-persistenced",
            f"{DRIVER}-1",
            "contrib/utils",
            "daemon to maintain persistent software state in the NVIDIA driver",
            depends=("python3",),
            files={
                "usr/bin/nvidia-persistenced": launcher("persistenced"),
                "usr/lib/systemd/system/nvidia-persistenced.service": PERSISTENCED_UNIT,
            },
            scripts={"postinst": ENABLE_UNIT, "prerm": STOP_UNIT},
        ),
    ]


def toolkit() -> list[Package]:
    """What NVIDIA's own repository has."""
    version = f"{TOOLKIT}-1"
    same = f"(= {version})"
    return [
        Package(
            "nvidia-container-toolkit",
            version,
            "utils",
            "NVIDIA Container toolkit",
            depends=(f"nvidia-container-toolkit-base {same}", f"libnvidia-container-tools {same}"),
            files={"usr/bin/nvidia-container-runtime-hook": launcher("container", "hook")},
        ),
        Package(
            "nvidia-container-toolkit-base",
            version,
            "utils",
            "NVIDIA Container Toolkit Base",
            depends=("python3",),
            files={
                "usr/bin/nvidia-ctk": launcher("nvidia_ctk"),
                "usr/bin/nvidia-container-runtime": launcher("container", "runtime"),
            },
        ),
        Package(
            "libnvidia-container-tools",
            version,
            "utils",
            "NVIDIA container runtime library (command-line tools)",
            depends=(f"libnvidia-container1 (>= {version})",),
        ),
        Package("libnvidia-container1", version, "libs", "NVIDIA container runtime library"),
    ]


def headers(kernel: str) -> list[Package]:
    """Kernel headers of a kernel that may be in no archive, as this machine's own, and their metapackage."""
    release = f"usr/src/linux-headers-{kernel}/include/config/kernel.release"
    name = f"linux-headers-{kernel}"
    return [
        Package(name, "1", "kernel", f"header files for Linux {kernel}", files={release: f"{kernel}\n"}),
        Package("linux-headers-amd64", "1", "kernel", "header files for Linux amd64", depends=(name,)),
    ]


def build(out: Path, kernel: str) -> list[Path]:
    """Build all packages, the same bytes every time.

    :param out: folder that receives the .deb files
    :param kernel: release of the kernel that gets headers
    :return: the files
    """
    out.mkdir(parents=True, exist_ok=True)
    return [_build(package, out) for package in [*driver(), *toolkit(), *headers(kernel)]]


def _build(package: Package, out: Path) -> Path:
    target = out / package.file_name
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "package"
        documentation = {
            f"usr/share/doc/{package.name}/copyright": "Simulated for a test lab; nothing of NVIDIA's.\n"
        }
        scripts = {f"DEBIAN/{name}": text for name, text in package.scripts.items()}
        for name, text in {
            **package.files,
            **documentation,
            "DEBIAN/control": package.control,
            **scripts,
        }.items():
            file = tree / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            executable = file.parent.name == "bin" or name in scripts
            file.chmod(0o755 if executable else 0o644)
        for folder in [tree, *(entry for entry in tree.rglob("*") if entry.is_dir())]:
            folder.chmod(0o755)
        subprocess.run(
            [
                "dpkg-deb",
                "--root-owner-group",
                "--uniform-compression",
                "-Zxz",
                "--build",
                str(tree),
                f"{scratch}/new.deb",
            ],
            check=True,
            capture_output=True,
            env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH},
        )
        shutil.move(f"{scratch}/new.deb", target)
    return target
