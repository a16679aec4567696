"""The record of a host's phases, on the host itself: later phases and checks expect these, and no others."""

from __future__ import annotations

from pyinfra.context import host

from blueprint import Blueprint
from facts.folder import Names
from operations import files
from specs.files import Directory, File


def folder(blueprint: Blueprint) -> str:
    """Folder of the host with a file for each phase that it has."""
    return f"{blueprint.paths.state}/phases"


def recorded(blueprint: Blueprint) -> frozenset[str]:
    """Names of the phases that are complete on the current host."""
    names: list[str] = host.get_fact(Names, folder=folder(blueprint))
    return frozenset(names)


def record(phase: str, blueprint: Blueprint) -> None:
    """Record on the host that a phase is complete."""
    files.tree(
        name=f"Record of phase {phase}",
        entries=[
            Directory(folder(blueprint), mode="0700"),
            File(f"{folder(blueprint)}/{phase}", "complete\n"),
        ],
    )
