"""What is on a host and no longer declared: told after every run, removed where that is asked for by name."""

from __future__ import annotations

from pyinfra.api.deploy import deploy

from blueprint import Blueprint
from operations import stacks
from phases.stacks import outline

# Below the folder of the backups.
ARCHIVES = "removed"


@deploy("Removal")
def remove(blueprint: Blueprint) -> None:
    """Remove what `remove` names; before the phases, which may need the names and ports that this frees."""
    stacks.removed(
        name=f"Without {', '.join(blueprint.removed)}",
        root=blueprint.paths.stacks,
        names=blueprint.removed,
        saved=f"{blueprint.backups.root}/{ARCHIVES}" if blueprint.remove_volumes else None,
    )


def report(blueprint: Blueprint) -> None:
    """Name what nobody declares any more."""
    stacks.report_undeclared(
        name="What is no longer declared",
        root=blueprint.paths.stacks,
        declared=[outline(blueprint.paths.stacks, stack) for stack in blueprint.stacks],
        remedy="it stays, or goes with --data remove=NAME",
    )
