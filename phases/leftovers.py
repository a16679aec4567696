"""Stacks on a host that are no longer declared: reported after every run, removed only by name (`remove`)."""

from __future__ import annotations

from pyinfra.api.deploy import deploy

from blueprint import Blueprint
from blueprint.stacks import outline
from operations import stacks

# Below the folder of the backups.
ARCHIVES = "removed"


@deploy("Removal")
def remove(blueprint: Blueprint) -> None:
    """Remove what `remove` names, before the phases: they may need the freed names and ports."""
    stacks.removed(
        name=f"Removal of {', '.join(blueprint.removed)}",
        root=blueprint.paths.stacks,
        names=blueprint.removed,
        saved=f"{blueprint.backups.root}/{ARCHIVES}" if blueprint.remove_volumes else None,
    )


def report(blueprint: Blueprint) -> None:
    """Report what is no longer declared."""
    stacks.report_undeclared(
        name="Stacks that are no longer declared",
        root=blueprint.paths.stacks,
        declared=[outline(blueprint.paths.stacks, stack) for stack in blueprint.stacks],
        remedy="keep it, or remove it with --data remove=NAME",
    )
