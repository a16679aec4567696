"""How the data of containers is backed up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, field
from typing import Annotated

from blueprint.model import types
from blueprint.model.declaration import Declaration, declaration
from blueprint.validation import Whole


@declaration()
class PostgresData(Declaration):
    """Databases of a Postgres server. Its own programs dump them over its own socket, which needs no password.

    :param superuser: role that may read everything
    :param databases: databases that a backup must have; each `Database` of shared-postgres is one anyway
    """

    superuser: types.Identifier = "postgres"
    databases: tuple[types.Identifier, ...] = ()


@declaration(kw_only=False)
class RedisData(Declaration):
    """Keys of a Redis server. A backup gets them as a replica does.

    :param user: user that may replicate
    :param password: secret with its password
    """

    user: types.Name
    password: types.SecretName


@declaration(kw_only=False)
class ClickHouseData(Declaration):
    """Tables of a ClickHouse server. A backup reads them over HTTP.

    :param user: user that may read them
    :param password: secret with its password
    :param database: database of the tables
    :param tables: tables that a backup must have (requirements 5.5)
    """

    user: types.Name
    password: types.SecretName
    _: KW_ONLY
    database: types.Identifier = "default"
    tables: tuple[types.Identifier, ...] = ("traces", "observations", "scores")


@declaration(kw_only=False)
class BucketData(Declaration):
    """Objects of one bucket. A backup reads them over S3, and not the server's own files.

    :param user: access key
    :param password: secret with the secret key
    :param bucket: name of the bucket
    """

    user: types.Name
    password: types.SecretName
    bucket: types.BucketName


Data = PostgresData | RedisData | ClickHouseData | BucketData


@declaration()
class Restic(Declaration):
    """An encrypted copy of all backups on another machine. The secret `restic/password` encrypts it.

    :param repository: restic's name of its place ("sftp:user@host:/backups", "s3:https://…")
    :param keep_days: days that a copy is kept
    :param environment: variables that restic needs there, with the provided secrets of their values
    """

    repository: types.ResticRepository
    keep_days: types.Days = 30
    environment: Mapping[types.EnvName, types.SecretName] = field(default_factory=dict)


@declaration()
class BackupPolicy(Declaration):
    """How a host is backed up (requirements 5.5).

    :param root: folder of the backups
    :param retention_days: days after which a backup is deleted, except the last good one
    :param shrink_percent: a backup with less than this share of the one before is reported
    :param reserve_mib: space that a backup leaves free on the disk
    :param max_age_h: hours after which the newest good backup is too old
    :param restic: a copy on another machine, or None
    """

    root: types.OwnPath
    retention_days: types.Days = 7
    shrink_percent: Annotated[int, Whole(0, 100, "%")] = 50
    reserve_mib: types.ReservedMebibytes = 1024
    max_age_h: Annotated[int, Whole(1, 24 * 365, "hours")] = 26
    restic: Restic | None = None
