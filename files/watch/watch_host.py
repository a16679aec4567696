"""The checks of the watch about the machine itself: file systems, memory, clock, packages, the next boot."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from containers import ScriptError
from watch_model import Config, Findings

PROGRAM_S = 60
DRIVER = "nvidia*.ko*"


def run(*command: str) -> str:
    """Standard output of a program that only asks, whatever its exit status.

    :raises ScriptError: it does not start or does not end
    """
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", timeout=PROGRAM_S
        )
    except subprocess.TimeoutExpired:
        raise ScriptError(f"{command[0]} gave no answer within {PROGRAM_S} s") from None
    except OSError as error:
        raise ScriptError(f"{command[0]}: {error.strerror}") from None
    return done.stdout


# --- file systems


def mounted(mounts: str) -> Iterator[str]:
    """Where file systems of a disk or of the memory are mounted that can be written to.

    :param mounts: what /proc/self/mounts says
    """
    for line in mounts.splitlines():
        source, path, kind, options, *_ = line.split()
        if (source.startswith("/dev/") or kind in ("tmpfs", "zfs")) and "rw" in options.split(","):
            yield re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def disks(config: Config, findings: Findings) -> None:
    """Space as `df` has it, of what others than root may use, and inodes. Folders on one disk are one disk."""
    seen: set[int] = set()
    limits = config.limits
    for path in dict.fromkeys([*config.disks, *mounted((config.proc / "self" / "mounts").read_text())]):
        try:
            stat, device = os.statvfs(path), Path(path).stat().st_dev
        except OSError as error:
            if path not in config.disks:
                continue  # unmounted meanwhile, or somebody's own
            raise ScriptError(f"{path}: {error.strerror}") from None
        used, inodes = stat.f_blocks - stat.f_bfree, stat.f_files - stat.f_ffree
        if device in seen or not used + stat.f_bavail:
            continue
        seen.add(device)
        percent = 100 * used / (used + stat.f_bavail)
        free = stat.f_bavail * stat.f_frsize / 2**30
        text = f"disk of {path} is {percent:.0f} % full, {free:.1f} GiB are free"
        findings.report_above(path, percent, limits.disk_alert_percent, text)
        if inodes + stat.f_favail:  # some file systems make them as they are needed
            percent = 100 * inodes / (inodes + stat.f_favail)
            text = f"disk of {path} has {percent:.0f} % of its inodes in use: there are too many files"
            findings.report_above(f"{path} inodes", percent, limits.inodes_percent, text)


# --- memory


def swap_percent(meminfo: str) -> float:
    """Used share of the swap; 0 where there is none.

    :param meminfo: what /proc/meminfo says
    """
    total, free = (
        int(match[1]) if (match := re.search(rf"^{name}:\s+(\d+)", meminfo, re.MULTILINE)) else 0
        for name in ("SwapTotal", "SwapFree")
    )
    return 100 * (total - free) / total if total else 0.0


def stalled_percent(pressure: str) -> float:
    """Share of the last five minutes in which some process waited for memory.

    :param pressure: what /proc/pressure/memory says; https://docs.kernel.org/accounting/psi.html
    """
    match = re.search(r"^some .*\bavg300=([0-9.]+)", pressure, re.MULTILINE)
    return float(match[1]) if match else 0.0


def host_memory(config: Config, findings: Findings) -> None:
    swap = swap_percent((config.proc / "meminfo").read_text())
    text = f"the swap is {swap:.0f} % full: `ps -eo rss,args --sort=-rss` shows who has the memory"
    findings.report_above("swap", swap, config.limits.swap_percent, text)
    pressure = config.proc / "pressure" / "memory"
    if pressure.exists():  # not in every kernel
        stalled = stalled_percent(pressure.read_text())
        text = f"for {stalled:.0f} % of the last five minutes, processes waited for memory"
        findings.report_above("pressure", stalled, config.limits.memory_pressure_percent, text)


# --- clock, packages, the next boot


def clock(config: Config, findings: Findings) -> None:
    """Certificates, tokens and backups go by the clock. A container has its host's."""
    if run("systemd-detect-virt", "--container").strip() != "none":
        return
    synchronised = run("timedatectl", "show", "--property=NTPSynchronized", "--value").strip()
    if synchronised == "no" and findings.lasts("synchronised", config.limits.pending_min):
        text = "the clock is not synchronised: see `systemctl status systemd-timesyncd`"
        findings.report("synchronised", text)


def packages(config: Config, findings: Findings) -> None:
    """What dpkg has begun and not completed: it keeps security upgrades out. An upgrade may run, so it must last."""
    names = re.findall(r"^ (\S+)", run("dpkg", "--audit"), re.MULTILINE)
    if names and findings.lasts("half installed", config.limits.pending_min):
        text = f"packages are half installed: {', '.join(names)}; `dpkg --configure --pending` completes them"
        findings.report("half installed", text)


def boot(config: Config, findings: Findings) -> None:
    """A pending reboot, and a kernel that would boot next without the driver of the cards."""
    kernels = [path.name for path in config.modules.glob("*") if (path / "modules.dep").exists()]
    newest = max(kernels, key=_version, default="")
    with_driver = {name for name in kernels if any((config.modules / name).rglob(DRIVER))}
    # While a kernel is installed, its module is built last.
    missing = newest and with_driver and newest not in with_driver
    if missing and findings.lasts("driver", config.limits.pending_min):
        text = f"do not reboot: the next kernel, {newest}, has no NVIDIA driver; `apt install linux-headers-{newest}`"
        findings.report("driver", text)
    if config.reboot_required.exists():
        listed = config.reboot_required.with_name(f"{config.reboot_required.name}.pkgs")
        names = sorted(set(listed.read_text().split())) if listed.exists() else []
        findings.report("pending", f"the host wants a reboot{': ' if names else ''}{', '.join(names)}")


def _version(kernel: str) -> list[int]:
    """Order of kernels' names, such as 6.12.117-amd64."""
    return [int(number) for number in re.findall(r"\d+", kernel)]
