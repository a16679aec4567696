"""Stacks for the operation, from the blueprint's."""

from __future__ import annotations

from pathlib import Path

from blueprint import model
from blueprint.stacks import ResolvedStack, paths
from operations.files import Directory, File
from operations.stacks import COMPOSE_FILE, Build, Outline, Stack

_PROJECT = Path(__file__).resolve().parent.parent


def wanted(resolved: ResolvedStack) -> Stack:
    """What `operations.stacks.up` is asked for."""
    return Stack(
        name=resolved.name,
        folder=resolved.folder,
        project=resolved.project,
        files=(
            *(Directory(path, mode="0700", owner=owner) for path, owner in resolved.directories),
            *(
                File(file.path, file.text, mode="0600", owner=file.owner, secret=file.secret)
                for file in resolved.files
            ),
        ),
        reload=resolved.reload,
        stateful=resolved.stateful,
        networks=resolved.networks,
        builds={
            reference: Build(_PROJECT / folder, arguments)
            for reference, (folder, arguments) in resolved.builds.items()
        },
        adopts=True,  # phases/adoption.py, before every phase
    )


def outline(root: str, declared: model.Stack) -> Outline:
    """What `operations.stacks.report_undeclared` is asked about.

    :param root: folder that the folders of all stacks are in
    """
    return Outline(
        declared.name,
        frozenset(service.name for service in declared.services),
        frozenset(alias for service in declared.services for alias in service.names[1:]),
        frozenset([f"{root}/{declared.name}/{COMPOSE_FILE}", *paths(root, declared)]),
        frozenset(service.name for service in declared.services if service.stateful),
    )
