"""Roles, databases and columns of vectors as they are to be in a Postgres server."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

VERIFIER = re.compile(r"SCRAM-SHA-256\$[1-9][0-9]*:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]{44}:[A-Za-z0-9+/=]{44}")


@dataclass(frozen=True)
class LoginRole:
    """A role that logs in, and may do nothing else on its own.

    :param verifier: SCRAM-SHA-256 verifier of its password, set as it is
    :param member_of: roles whose privileges it has
    :param connection_limit: connections that it may have at once, -1 for any number
    """

    name: str
    verifier: str = field(repr=False)
    member_of: tuple[str, ...] = ()
    connection_limit: int = -1

    def __post_init__(self) -> None:
        _check_name(self.name)
        for other in self.member_of:
            _check_name(other)
        if not VERIFIER.fullmatch(self.verifier):
            raise ValueError(f"role {self.name}: its verifier is none of SCRAM-SHA-256")

    @property
    def sha256(self) -> str:
        """Hash of the verifier: the fact returns no more."""
        return hashlib.sha256(self.verifier.encode()).hexdigest()


@dataclass(frozen=True)
class OwnedDatabase:
    """A database with its owner; nobody may connect but the owner and `connect`.

    :param owner: role that owns it
    :param extensions: names of the extensions that it has
    :param connect: further roles that may connect, and nothing more
    """

    name: str
    owner: LoginRole
    extensions: tuple[str, ...] = ()
    connect: tuple[LoginRole, ...] = ()

    def __post_init__(self) -> None:
        _check_name(self.name)
        # psql takes such a name for a whole connection string.
        if "=" in self.name or "://" in self.name:
            raise ValueError(f"{self.name!r} is no name for a database: it has a = or :// in it")
        for extension in self.extensions:
            _check_name(extension)


def _check_name(name: str) -> None:
    if not name or not name.isprintable() or len(name.encode()) > 63:
        raise ValueError(f"{name!r} is no name for Postgres: expected 1 to 63 printable characters")


@dataclass(frozen=True)
class HnswColumn:
    """A column of vectors that is searched by cosine distance through an HNSW index.

    :param table: its name
    :param column: its name
    :param dimensions: of each vector
    :param m: connections of each element in the index
    :param ef_construction: candidates that are looked at when one is added
    """

    table: str
    column: str
    dimensions: int
    m: int
    ef_construction: int

    @property
    def options(self) -> frozenset[str]:
        """As the index has them."""
        return frozenset({f"m={self.m}", f"ef_construction={self.ef_construction}"})
