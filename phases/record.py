"""What a host has been given, recorded on the host: later phases and checks expect that and no more."""

from __future__ import annotations

from blueprint import Blueprint
from operations import files
from operations.files import Directory, File


def folder(plan: Blueprint) -> str:
    """Where a host keeps the names of the phases that it has been given."""
    return f"{plan.paths.state}/phases"


def record(phase: str, plan: Blueprint) -> None:
    """Note on the host that a phase is complete."""
    files.tree(
        name=f"Record of phase {phase}",
        entries=[Directory(folder(plan), mode="0700"), File(f"{folder(plan)}/{phase}", "complete\n")],
    )
