"""Packages, memory and maintenance of the system itself (requirements 1.1, 11.4 and 11.5)."""

from __future__ import annotations

from pyinfra.api.deploy import deploy

from blueprint import Blueprint, contents, render
from blueprint.model import System
from operations import apt, files, systemd
from operations.apt import Package
from operations.systemd import Unit
from phases import jobs
from specs.files import Directory, Entry, File

SYSCTL = "/etc/sysctl.d/90-swappiness.conf"
ZRAM = "/etc/default/zramswap"
JOURNALD = "/etc/systemd/journald.conf.d/size.conf"
SYSTEMD = "/etc/systemd/system"
WEB_SERVER = (
    "nginx.service"  # of the distribution's nginx: it would serve the web's ports, which are the proxy's
)

# What units, cron jobs and people call on the host.
SCRIPTS = (
    "base/swapfile.sh",
    "cleanup/docker-cleanup.sh",
    "common/incidents.py",
    "gpu/gpu-power-limits.sh",
    "gpu/gpu-watchdog.sh",
    "gpu/gpu_watchdog.py",
    "gpu/wait-for-gpu.sh",
    "monitoring/heartbeat.sh",
    "ollama/ollama-filter.sh",
    "ollama/ollama-maintenance.sh",
    "ollama/ollama-warmup.sh",
)


@deploy("Base system")
def base(blueprint: Blueprint, system: System) -> None:
    """Packages, security upgrades, swap in memory and on disk, journal, folders."""
    # The recommended packages include a mail server.
    apt.packages(
        name="Packages of the base system",
        present=[*system.base, *(Package(package, masks=(WEB_SERVER,)) for package in system.nginx)],
        no_recommends=True,
    )
    files.tree(name="Settings of the base system", entries=entries(blueprint))
    systemd.units(
        name="Swap, kernel settings, journal, cron and upgrades",
        units=[
            Unit("systemd-sysctl.service", enabled=None, restart_on=(SYSCTL,)),
            Unit("systemd-journald.service", enabled=None, restart_on=(JOURNALD,)),
            Unit("zramswap.service", restart_on=(ZRAM,)),
            Unit("swapfile.service"),
            Unit("cron.service"),
            Unit("unattended-upgrades.service"),
        ],
    )


def entries(blueprint: Blueprint) -> list[Entry]:
    """Settings files, and the folders that later steps write to."""
    paths = blueprint.paths
    return [
        Directory(paths.state, mode="0700"),
        Directory(paths.stacks, mode="0700"),
        Directory(paths.locks, mode="0700"),
        Directory(paths.scripts),
        Directory(paths.logs, mode="0750"),
        Directory(f"{SYSTEMD}/zramswap.service.d"),
        Directory("/etc/systemd/journald.conf.d"),
        File(SYSCTL, contents.sysctl(blueprint)),
        File(ZRAM, contents.zramswap(blueprint)),
        # zram belongs to the kernel: in a container, which has none of its own, the unit is skipped and does not fail.
        File(f"{SYSTEMD}/zramswap.service.d/container.conf", render("base/not-in-containers.conf.j2")),
        File(JOURNALD, contents.journald(blueprint)),
        File(
            f"{SYSTEMD}/swapfile.service",
            render(
                "base/swapfile.service.j2",
                path=paths.swap_file,
                size_gib=blueprint.swap_gib,
                scripts=paths.scripts,
            ),
        ),
        File("/etc/apt/apt.conf.d/20auto-upgrades", render("base/20auto-upgrades.j2")),
        File("/etc/apt/apt.conf.d/52security-upgrades", render("base/52security-upgrades.j2")),
        *jobs.scripts(blueprint, SCRIPTS),
    ]
