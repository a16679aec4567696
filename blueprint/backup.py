"""Settings of the backups, which follow from the phases that the host has."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from blueprint.alert import alert
from blueprint.applied import Applied
from blueprint.model import BucketData, ClickHouseData, Paths, PostgresData, RedisData, Service
from blueprint.redis import ADMIN_PASSWORD

# Names of the files below `Paths.config`.
SETTINGS = "backup.json"
CREDENTIALS = "backup-credentials.json"
RESTIC_PASSWORD = "restic-password"  # noqa: S105 - a file's name
RESTIC_ENVIRONMENT = "restic.env"


@dataclass(frozen=True)
class Login:
    """Login to a server."""

    user: str
    password: str = field(repr=False)


def databases(applied: Applied, service: Service) -> tuple[str, ...]:
    """Databases of a Postgres container; those of shared-postgres are declared by themselves."""
    if service.name == applied.blueprint.pgbouncer.host:
        return tuple(database.name for database in applied.databases)
    return service.data.databases if isinstance(service.data, PostgresData) else ()


def pieces(applied: Applied) -> dict[str, tuple[str, ...]]:
    """Names of the required backups in the store, by the container that has the data."""
    return {service.name: _pieces(applied, service) for service in applied.services if service.stateful}


def held(applied: Applied) -> dict[str, tuple[str, ...]]:
    """Kind and name of each container with data, such as "postgres/shared-postgres", without its databases."""
    return {
        container: tuple(dict.fromkeys(name.rpartition("/")[0] for name in names))
        for container, names in pieces(applied).items()
    }


def _pieces(applied: Applied, service: Service) -> tuple[str, ...]:
    match service.data:
        case PostgresData():
            names = ("_globals", *databases(applied, service))
            return tuple(f"postgres/{service.name}/{name}" for name in names)
        case RedisData():
            return (f"redis/{service.name}/all",)
        case ClickHouseData(database=database):
            return (f"clickhouse/{service.name}/{database}",)
        case BucketData(bucket=bucket):
            return (f"s3/{service.name}/{bucket}",)
        case None:
            return tuple(f"volume/{service.name}/{_slug(path)}" for path in service.volumes.values())


def folders(paths: Paths) -> tuple[str, ...]:
    """Folders of the host that are backed up, with the keys and salts that some databases are encrypted with."""
    return (paths.config, paths.stacks)


def all_pieces(applied: Applied) -> list[str]:
    """Names of all required backups."""
    return [
        *(name for names in pieces(applied).values() for name in names),
        *(f"folder/host/{_slug(path)}" for path in folders(applied.blueprint.paths)),
    ]


def settings_json(applied: Applied, host: str) -> str:
    """/etc/sourcefast/backup.json, without a secret in it.

    :param applied: what the host has and backs up
    :param host: its name in messages
    """
    paths, backups = applied.blueprint.paths, applied.blueprint.backups
    stateful = [service for service in applied.services if service.stateful]
    restic = backups.restic and {
        "repository": backups.restic.repository,
        "password_file": f"{paths.config}/{RESTIC_PASSWORD}",
        "environment": f"{paths.config}/{RESTIC_ENVIRONMENT}" if backups.restic.environment else "",
        "keep_days": backups.restic.keep_days,
    }
    value = {
        "root": backups.root,
        "state": paths.state,
        "stacks": paths.stacks,
        "credentials": f"{paths.config}/{CREDENTIALS}",
        "alert": alert(paths, host),
        "retention_days": backups.retention_days,
        "shrink_percent": backups.shrink_percent,
        "reserve_mib": backups.reserve_mib,
        "postgres": [
            {
                "container": service.name,
                "databases": list(databases(applied, service)),
                "min_kib": _min_kib(applied, service),
            }
            for service in stateful
            if isinstance(service.data, PostgresData)
        ],
        "redis": [
            {"container": service.name, "password_file": ADMIN_PASSWORD}
            for service in stateful
            if isinstance(service.data, RedisData)
        ],
        "clickhouse": [
            {
                "container": service.name,
                "port": service.port,
                "database": service.data.database,
                "tables": list(service.data.tables),
                "variables": login_variables(service),
            }
            for service in stateful
            if isinstance(service.data, ClickHouseData)
        ],
        "buckets": [
            {
                "container": service.name,
                "port": service.port,
                "bucket": service.data.bucket,
                "variables": login_variables(service),
            }
            for service in stateful
            if isinstance(service.data, BucketData)
        ],
        "volumes": [
            {"container": service.name, "path": path}
            for service in stateful
            if service.data is None
            for path in service.volumes.values()
        ],
        "folders": list(folders(paths)),
        "restic": restic,
    }
    return _json(value)


def logins(applied: Applied, secret: Callable[[str], str]) -> dict[str, Login]:
    """Login to each container that a backup needs.

    :param secret: a secret by its name
    """
    found: dict[str, Login] = {}
    for service in applied.services:
        match service.data:
            case PostgresData(superuser=user):
                found[service.name] = Login(user, "")
            case RedisData() | ClickHouseData() | BucketData() as data:
                found[service.name] = Login(data.user, secret(data.password))
    return found


def login_variables(service: Service) -> dict[str, str]:
    """Variables from which a server reads the login to its data at its start.

    A running server keeps that login, even if the declaration has changed since.
    """
    if not isinstance(service.data, ClickHouseData | BucketData):
        return {}
    sources = {
        "user": (service.env, service.data.user),
        "password": (service.generated_secrets, service.data.password),
    }
    named = {
        key: [name for name, value in source.items() if value == declared]
        for key, (source, declared) in sources.items()
    }
    return {key: names[0] for key, names in named.items() if len(names) == 1}


def credentials_json(logins: Mapping[str, Login]) -> str:
    """The private file with the logins, by container."""
    return _json({name: {"user": login.user, "password": login.password} for name, login in logins.items()})


def _min_kib(applied: Applied, service: Service) -> dict[str, int]:
    if service.name != applied.blueprint.pgbouncer.host:
        return {}
    return {
        database.name: database.min_dump_kib
        for database in applied.databases
        if database.min_dump_kib and database.name not in applied.blueprint.without_data
    }


def _slug(path: str) -> str:
    return path.strip("/").replace("/", "_")


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"
