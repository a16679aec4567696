"""How data is saved, and what is watched: the choices that the owner has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from blueprint.model.declaration import Declaration, checking

_REPOSITORY = re.compile(r"\S+")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SECRET = re.compile(r"[a-z0-9_-]+(/[a-z0-9_.-]+)+")


@dataclass(frozen=True, kw_only=True)
class PostgresData(Declaration):
    """Databases of a Postgres server, saved by its own programs on its own socket, where no password is asked for.

    :param superuser: role that may read everything
    :param databases: databases that it has at least; those of shared-postgres are declared by themselves
    """

    superuser: str = "postgres"
    databases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        with checking("PostgresData") as check:
            for key, names in (("superuser", [self.superuser]), ("databases", self.databases)):
                for name in names:
                    check.matches(key, name, _NAME, "lower-case letters, digits and _")


@dataclass(frozen=True)
class RedisData(Declaration):
    """Keys of a Redis server, saved as one of its replicas would get them.

    :param user: user that may do so
    :param password: secret with its password
    """

    user: str
    password: str

    def __post_init__(self) -> None:
        with checking("RedisData") as check:
            check.name("user", self.user)
            check.matches("password", self.password, _SECRET, "the name of a secret")


@dataclass(frozen=True)
class ClickHouseData(Declaration):
    """Tables of a ClickHouse server, saved through its HTTP interface.

    :param user: user that may read them
    :param password: secret with its password
    :param database: where they are
    :param tables: tables that there are at least (requirements 5.5)
    """

    user: str
    password: str
    database: str = field(default="default", kw_only=True)
    tables: tuple[str, ...] = field(default=("traces", "observations", "scores"), kw_only=True)

    def __post_init__(self) -> None:
        with checking("ClickHouseData") as check:
            check.name("user", self.user)
            check.matches("password", self.password, _SECRET, "the name of a secret")
            for key, names in (("database", [self.database]), ("tables", self.tables)):
                for name in names:
                    check.matches(key, name, _NAME, "lower-case letters, digits and _")


@dataclass(frozen=True)
class BucketData(Declaration):
    """Objects of one bucket, saved through S3: how the server keeps them is its own affair.

    :param user: access key
    :param password: secret with the secret key
    :param bucket: its name
    """

    user: str
    password: str
    bucket: str

    def __post_init__(self) -> None:
        with checking("BucketData") as check:
            check.name("user", self.user)
            check.matches("password", self.password, _SECRET, "the name of a secret")
            check.matches("bucket", self.bucket, _BUCKET, "the name of a bucket")


Data = PostgresData | RedisData | ClickHouseData | BucketData


@dataclass(frozen=True, kw_only=True)
class Restic(Declaration):
    """An encrypted copy of all backups elsewhere; the secret `restic/password` encrypts it.

    :param repository: where, as restic writes it ("sftp:user@host:/backups", "s3:https://…")
    :param keep_days: how long a copy is kept there
    :param environment: variables that restic needs for that place, from provided secrets
    """

    repository: str
    keep_days: int = 30
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with checking("restic") as check:
            check.matches("repository", self.repository, _REPOSITORY, "a repository without spaces")
            check.integer("keep_days", self.keep_days, 1, 3650, "days")


@dataclass(frozen=True, kw_only=True)
class Backups(Declaration):
    """How a host is backed up (requirements 5.5).

    :param root: folder of the backups
    :param retention_days: older ones go, but never the last good one
    :param shrink_percent: a backup with less than this share of the one before is told of
    :param reserve_mib: what a backup leaves free on the disk
    :param max_age_h: hours after which the newest good backup is too old
    :param restic: a copy elsewhere, or None
    """

    root: str
    retention_days: int = 7
    shrink_percent: int = 50
    reserve_mib: int = 1024
    max_age_h: int = 26
    restic: Restic | None = None

    def __post_init__(self) -> None:
        with checking("backups") as check:
            check.path("root", self.root)
            check.integer("retention_days", self.retention_days, 1, 3650, "days")
            check.integer("shrink_percent", self.shrink_percent, 0, 100)
            check.integer("reserve_mib", self.reserve_mib, 0, 1024 * 1024, "MiB")
            check.integer("max_age_h", self.max_age_h, 1, 24 * 365, "hours")
