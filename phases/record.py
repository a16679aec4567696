"""What a host has been given, recorded on the host: later phases and checks expect that and no more."""

from __future__ import annotations

from blueprint import Blueprint
from operations import files
from operations.files import Directory, File


def folder(blueprint: Blueprint) -> str:
    """Where a host keeps the names of the phases that it has been given."""
    return f"{blueprint.paths.state}/phases"


def record(phase: str, blueprint: Blueprint) -> None:
    """Note on the host that a phase is complete."""
    files.tree(
        name=f"Record of phase {phase}",
        entries=[
            Directory(folder(blueprint), mode="0700"),
            File(f"{folder(blueprint)}/{phase}", "complete\n"),
        ],
    )
