"""How data is saved, and what is watched: the choices that the owner has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, field
from typing import Annotated

from blueprint.model import types
from blueprint.model.declaration import Declaration, declaration
from blueprint.validation import Whole


@declaration()
class PostgresData(Declaration):
    """Databases of a Postgres server, saved by its own programs on its own socket, where no password is asked for.

    :param superuser: role that may read everything
    :param databases: databases that it has at least; those of shared-postgres are declared by themselves
    """

    superuser: types.Identifier = "postgres"
    databases: tuple[types.Identifier, ...] = ()


@declaration(kw_only=False)
class RedisData(Declaration):
    """Keys of a Redis server, saved as one of its replicas would get them.

    :param user: user that may do so
    :param password: secret with its password
    """

    user: types.Name
    password: types.SecretName


@declaration(kw_only=False)
class ClickHouseData(Declaration):
    """Tables of a ClickHouse server, saved through its HTTP interface.

    :param user: user that may read them
    :param password: secret with its password
    :param database: where they are
    :param tables: tables that there are at least (requirements 5.5)
    """

    user: types.Name
    password: types.SecretName
    _: KW_ONLY
    database: types.Identifier = "default"
    tables: tuple[types.Identifier, ...] = ("traces", "observations", "scores")


@declaration(kw_only=False)
class BucketData(Declaration):
    """Objects of one bucket, saved through S3: how the server keeps them is its own affair.

    :param user: access key
    :param password: secret with the secret key
    :param bucket: its name
    """

    user: types.Name
    password: types.SecretName
    bucket: types.BucketName


Data = PostgresData | RedisData | ClickHouseData | BucketData


@declaration()
class Restic(Declaration):
    """An encrypted copy of all backups elsewhere; the secret `restic/password` encrypts it.

    :param repository: where, as restic writes it ("sftp:user@host:/backups", "s3:https://…")
    :param keep_days: how long a copy is kept there
    :param environment: variables that restic needs for that place, from provided secrets
    """

    repository: types.ResticRepository
    keep_days: types.Days = 30
    environment: Mapping[types.EnvName, types.SecretName] = field(default_factory=dict)


@declaration()
class Backups(Declaration):
    """How a host is backed up (requirements 5.5).

    :param root: folder of the backups
    :param retention_days: older ones go, but never the last good one
    :param shrink_percent: a backup with less than this share of the one before is reported
    :param reserve_mib: what a backup leaves free on the disk
    :param max_age_h: hours after which the newest good backup is too old
    :param restic: a copy elsewhere, or None
    """

    root: types.OwnPath
    retention_days: types.Days = 7
    shrink_percent: Annotated[int, Whole(0, 100, "%")] = 50
    reserve_mib: types.ReservedMebibytes = 1024
    max_age_h: Annotated[int, Whole(1, 24 * 365, "hours")] = 26
    restic: Restic | None = None
