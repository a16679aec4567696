"""Scripts on the host, and the cron jobs that call them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from blueprint import Blueprint, contents
from specs.files import Entry, File

FILES = Path(__file__).resolve().parents[1] / "files"


def scripts(blueprint: Blueprint, names: Iterable[str]) -> list[Entry]:
    """Scripts of files/ in the host's folder of scripts, executable.

    :param names: paths below files/
    """
    return [
        File(f"{blueprint.paths.scripts}/{Path(name).name}", (FILES / name).read_text(), mode="0755")
        for name in names
    ]


def cron(blueprint: Blueprint, phase: str) -> list[Entry]:
    """A file for each cron job of a phase."""
    return [
        File(f"/etc/cron.d/{job.name}", contents.cron(blueprint, job))
        for job in blueprint.cron_jobs
        if job.phase == phase
    ]
