"""Servers that a project had of its own, before it shared ours (requirements 12, phase 2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field

from blueprint.model import types
from blueprint.model.declaration import Conflict, Declaration, conflicts, declaration


@declaration(kw_only=False)
class Predecessor(Declaration):
    """A container whose data the shared servers take over, once; afterwards it is stopped and kept.

    :param container: its name
    :param databases: of a Postgres, those that are copied into shared-postgres, each for the role that owns it there
    :param after: by database, a file of this project with SQL that its copy needs before it is used
    """

    container: types.ContainerName
    databases: tuple[types.Identifier, ...] = ()
    after: Mapping[str, types.SqlFile] = field(default_factory=dict)

    @conflicts
    def _conflicts(self) -> Iterator[Conflict]:
        for database in self.after.keys() - set(self.databases):
            yield Conflict(f"after.{database}", f"one of {', '.join(sorted(self.databases))}", database)
