"""What the checks ask of the system under everything, in one question."""

from __future__ import annotations

from typing import Any

from blueprint.applied import Applied
from checks.server import Server
from operations.firewall import TIMER
from operations.firewall import UNIT as FIREWALL
from phases.hardware.nvidia import POWER_LIMITS
from phases.hardware.ollama import FILTER

SWAPPINESS = "vm.swappiness"
# Units of the distribution that have to run, and of ours that are no Ollama instance.
RUNNING = (
    "cron.service",
    "docker.service",
    "nvidia-persistenced.service",
    "systemd-journald.service",
    "unattended-upgrades.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    FIREWALL,
    TIMER,
    FILTER,
)
SWAP = ("zramswap.service", "swapfile.service")


def running_units(applied: Applied) -> tuple[str, ...]:
    """Units that have to be active."""
    blueprint = applied.blueprint
    limits = (POWER_LIMITS,) if any(gpu.power_limit_w is not None for gpu in blueprint.gpus) else ()
    return (*RUNNING, *limits, *(one.unit for one in blueprint.ollama_instances), blueprint.whisper.unit)


def owned_paths(applied: Applied) -> tuple[str, ...]:
    """Folders and files that are ours, the folders with everything below them."""
    paths = applied.blueprint.paths
    jobs = (f"/etc/cron.d/{job.name}" for job in applied.blueprint.cron_jobs if job.phase in applied.phases)
    folders = (paths.config, paths.state, paths.stacks, paths.scripts, paths.logs, paths.ollama_env)
    return (*(f"{folder}/" for folder in folders), *jobs, paths.swap_file)


def system(server: Server) -> Any:
    """Answer of probes/system.py."""
    applied = server.applied
    return server.probe(
        "system.py",
        {
            "units": [*running_units(applied), *SWAP],
            "sysctl": [SWAPPINESS],
            "files": owned_paths(applied),
            "domains": [domain for service in applied.services for domain in service.domains],
        },
    )
