"""Servers that a project had of its own, before it shared ours (requirements 12, phase 2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field

from blueprint.model import types
from blueprint.model.declaration import Conflict, Declaration, conflicts, declaration


@declaration(kw_only=False)
class Predecessor(Declaration):
    """A container whose data a run copies into the shared servers once; then it stops the container, and keeps it.

    :param container: its name
    :param databases: databases of a Postgres that are copied into shared-postgres, each for its owner there
    :param after: by database, a file of this project with SQL that its copy needs before use
    """

    container: types.ContainerName
    databases: tuple[types.Identifier, ...] = ()
    after: Mapping[str, types.SqlFile] = field(default_factory=dict)

    @conflicts
    def _conflicts(self) -> Iterator[Conflict]:
        for database in self.after.keys() - set(self.databases):
            yield Conflict(f"after.{database}", f"one of {', '.join(sorted(self.databases))}", database)
