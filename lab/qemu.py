"""QEMU, a kernel and its first file system, from a bootstrapped Debian root: nothing of them is installed here."""

from __future__ import annotations

import hashlib
import json
import lzma
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from lab import roots
from lab.paths import CACHE

PACKAGES = (
    "busybox-static",
    "ca-certificates",  # of every bootstrapped root
    "e2fsprogs",
    "linux-image-cloud-amd64",
    "qemu-system-x86",
    "qemu-utils",
)
INIT = Path(__file__).parent / "vm" / "init"
# What the disks and the network are driven by, and the file system on the disks.
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "ext4")
LIBRARIES = ("usr/lib/x86_64-linux-gnu", "usr/lib")
KVM = Path("/dev/kvm")
PROBE = "lab-kernel-answers"
# A kernel takes two seconds under a KVM that is of use, and more than a minute under one that is not.
PROBE_S = 20


def root() -> Path:
    """The bootstrapped root, made on first use."""
    return roots.root("qemu", PACKAGES)


def program(name: str, *arguments: str) -> list[str]:
    """The command line of a program of the root, which runs here with the root's own libraries.

    :param name: path of the program below the root's folder
    """
    folder = root()
    libraries = ":".join(str(folder / path) for path in LIBRARIES)
    return [
        str(folder / "lib64/ld-linux-x86-64.so.2"),
        "--library-path",
        libraries,
        str(folder / name),
        *arguments,
    ]


def image(*arguments: str) -> None:
    """Run qemu-img."""
    subprocess.run(program("usr/bin/qemu-img", *arguments), check=True, stdout=subprocess.DEVNULL)


def file_system(folder: Path, target: Path, size_gib: int, label: str) -> None:
    """Make an ext4 image of the files in a folder; the image takes no more room than they do."""
    options = ["-q", "-t", "ext4", "-L", label, "-E", "lazy_journal_init=1", "-d", str(folder)]
    config = {"MKE2FS_CONFIG": str(root() / "etc/mke2fs.conf")}
    command = program("usr/sbin/mke2fs", *options, str(target), f"{size_gib}G")
    subprocess.run(command, check=True, env=config)


def kernel() -> str:
    """Release of the kernel."""
    return next(path.name for path in (root() / "usr/lib/modules").iterdir())


def modules() -> Path:
    """Folder of its modules."""
    return root() / "usr/lib/modules" / kernel()


def boot(arguments: Sequence[str], parameters: str, console: Path) -> subprocess.Popen[bytes]:
    """Start QEMU with the kernel, and return at once.

    :param arguments: processor, memory and devices, as QEMU's command line has them
    :param parameters: of the kernel
    :param console: file that receives what it says
    """
    folder = root()
    command = program(
        "usr/bin/qemu-system-x86_64",
        *("-L", str(folder / "usr/share/qemu"), "-L", str(folder / "usr/share/seabios")),
        *("-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35"),
        *("-kernel", str(folder / f"boot/vmlinuz-{kernel()}"), "-initrd", str(_initrd())),
        *("-append", f"console=ttyS0 panic=-1 mitigations=off tsc=reliable {parameters}"),
        *("-serial", f"file:{console}"),
        *arguments,
    )
    with console.with_name("qemu.log").open("wb") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={"QEMU_MODULE_DIR": str(folder / "usr/lib/x86_64-linux-gnu/qemu")},
            start_new_session=True,
        )


@cache
def accelerator() -> str:
    """What runs the machine's instructions: "kvm" where a kernel boots with it within seconds, else "tcg".

    Nested virtualization may have a KVM that answers and is slower than emulation, so it is tried, once after each boot
    of this machine.
    """
    record = CACHE / "accelerator.json"
    this_boot = [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), kernel()]
    if record.exists():
        boot_and_kernel, found = json.loads(record.read_text())
        if boot_and_kernel == this_boot:
            return str(found)
    found = "kvm" if KVM.exists() and _answers_under_kvm() else "tcg"
    record.write_text(json.dumps([this_boot, found]))
    return found


def _answers_under_kvm() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        console = Path(folder, "console.log")
        process = boot(
            ["-accel", "kvm", "-cpu", "host", "-m", "512", "-no-reboot"], f"lab.probe={PROBE}", console
        )
        deadline = time.monotonic() + PROBE_S
        try:
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
        finally:
            process.kill()
            process.wait()
        return console.exists() and f"\n{PROBE}" in console.read_text(errors="replace")


def _initrd() -> Path:
    """The first file system, made on first use: busybox, `init`, and the modules that it loads."""
    key = hashlib.sha256(f"{root().name} {MODULES}".encode() + INIT.read_bytes()).hexdigest()[:16]
    target = CACHE / "roots" / f"initrd-{key}"
    if not target.exists():
        with tempfile.TemporaryDirectory() as scratch:
            _fill(Path(scratch))
            files = sorted(str(path.relative_to(scratch)) for path in Path(scratch).rglob("*"))
            archive = subprocess.run(
                [str(root() / "usr/bin/busybox"), "cpio", "-o", "-H", "newc"],
                cwd=scratch,
                input="\n".join(files).encode(),
                capture_output=True,
                check=True,
            ).stdout
        building = target.with_name(f".{target.name}")
        building.write_bytes(archive)
        building.rename(target)
    return target


def _fill(folder: Path) -> None:
    (folder / "bin").mkdir()
    (folder / "modules").mkdir()
    shutil.copy(root() / "usr/bin/busybox", folder / "bin")
    shutil.copy(INIT, folder)
    names = []
    for path in _in_order(MODULES):
        name = path.name.removesuffix(".xz")
        content = path.read_bytes()
        (folder / "modules" / name).write_bytes(lzma.decompress(content) if path.suffix == ".xz" else content)
        names.append(name)
    (folder / "modules/order").write_text("\n".join(names))


def _in_order(names: Sequence[str]) -> list[Path]:
    """The files of modules that are not built in, each after those that it needs (modules.dep(5))."""
    lines = (modules() / "modules.dep").read_text().splitlines()
    needs = {line.partition(":")[0]: line.partition(":")[2].split() for line in lines}
    files = {Path(path).name.partition(".")[0]: path for path in needs}
    found: dict[str, None] = {}
    for name in names:
        if path := files.get(name):
            found |= dict.fromkeys([*reversed(needs[path]), path])
    return [modules() / path for path in found]
