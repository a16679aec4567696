"""Unowned containers, and variables that look like a mistake: reported, never touched."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from pyinfra.context import host

from facts.orphans import Orphan, Orphans
from operations.notices import notice


def findings(orphans: Iterable[Orphan], root: str, known: Collection[str]) -> Iterator[str]:
    """A sentence for each kind of unowned containers, and for each container with stray variables.

    :param root: folder that our own projects are started from
    :param known: names of containers that are there for a reason of their own
    """
    orphans = list(orphans)
    strangers = [
        f"{container.name} ({container.status}{f', of {container.project}' if container.project else ''})"
        for container in orphans
        if not container.folder.startswith(f"{root}/")
        and not container.managed
        and container.name not in known
    ]
    if strangers:
        names = ", ".join(strangers)
        yield f"containers that belong to nobody here: {names}; docker rm NAME, once you know what they were"
    for container in orphans:
        if container.stray:
            where = "remove them in Coolify" if container.managed else "remove them where it is declared"
            yield f"variables of {container.name} that look like a mistake: {', '.join(container.stray)}; {where}"


@notice
def report(root: str, known: Collection[str] = ()) -> Iterable[str]:
    """Report containers without an owner, and variables that look like a mistake.

    + root: folder that our own projects are started from
    + known: names of containers that are there for a reason of their own
    """
    orphans: list[Orphan] = host.get_fact(Orphans)
    return findings(orphans, root, known)
