"""Scripts of the phase, which units, cron jobs and people call on the host."""

from __future__ import annotations

from blueprint import Blueprint
from phases import jobs
from specs.files import Entry

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


def scripts(blueprint: Blueprint) -> list[Entry]:
    """All of them, executable."""
    return jobs.scripts(blueprint, SCRIPTS)
