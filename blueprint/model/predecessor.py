"""Servers that a project had of its own, before it shared ours (requirements 12, phase 2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from blueprint.model.declaration import Declaration, checking

_CONTAINER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_DATABASE = re.compile(r"[a-z][a-z0-9_]{0,49}")
_FILE = re.compile(r"files/[A-Za-z0-9._/-]+\.sql")


@dataclass(frozen=True)
class Predecessor(Declaration):
    """A container whose data the shared servers take over, once; afterwards it is stopped and kept.

    :param container: its name
    :param databases: of a Postgres, those that are copied into shared-postgres, each for the role that owns it there
    :param after: by database, a file of this project with SQL that its copy needs before it is used
    """

    container: str
    databases: tuple[str, ...] = ()
    after: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with checking(f"Predecessor {self.container}") as check:
            check.matches("container", self.container, _CONTAINER, "the name of a container")
            for database in self.databases:
                check.matches("databases", database, _DATABASE, "names of databases")
            for database, file in self.after.items():
                check.one_of(f"after[{database!r}]", database, self.databases)
                check.matches(f"after[{database!r}]", file, _FILE, "an SQL file of this project below files/")
