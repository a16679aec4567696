"""Settings: what is saved, and what must exist (/etc/sourcefast/backup.json)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import configuration
from configuration import Login as Login
from incidents import ConfigurationError, Telegram

MIB = 1024 * 1024


@dataclass(frozen=True)
class Postgres:
    """A cluster. `databases`: the declared ones; any other database is saved as well.

    `min_kib`: least size of a dump, by database.
    """

    container: str
    login: Login
    databases: tuple[str, ...]
    min_kib: Mapping[str, int]


@dataclass(frozen=True)
class Redis:
    """A server. `password_file`: path in its container of the password that the server has read."""

    container: str
    login: Login
    password_file: str


@dataclass(frozen=True)
class ClickHouse:
    """One database of a server. `tables`: those that must exist. `variables`: see `login_in`."""

    container: str
    login: Login
    port: int
    database: str
    tables: tuple[str, ...]
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Bucket:
    """One bucket of an S3 server. `variables`: see `login_in`."""

    container: str
    login: Login
    port: int
    bucket: str
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Volume:
    """The volume of a container at one of its paths."""

    container: str
    path: str


@dataclass(frozen=True)
class Folder:
    """A folder of the host."""

    path: str


@dataclass(frozen=True)
class Restic:
    """An encrypted copy elsewhere. `environment`: private file with the keys of that place, NAME=VALUE a line."""

    repository: str
    password_file: str
    environment: str
    keep_days: int


@dataclass(frozen=True)
class Settings:
    """`retention_days`: older backups are removed, but never the last good one. `shrink_percent`: a backup with less
    than this share of the one before is doubtful. `reserve_mib`: space that stays free on the disk. `stacks`: folder of
    our Compose projects."""

    root: Path
    state: Path
    stacks: str
    telegram: Telegram
    retention_days: int
    shrink_percent: int
    reserve_mib: int
    postgres: tuple[Postgres, ...] = ()
    redis: tuple[Redis, ...] = ()
    clickhouse: tuple[ClickHouse, ...] = ()
    buckets: tuple[Bucket, ...] = ()
    volumes: tuple[Volume, ...] = ()
    folders: tuple[Folder, ...] = ()
    restic: Restic | None = field(default=None)


def login_in(container: Mapping[str, Any], server: ClickHouse | Bucket) -> Login:
    """The login of a server that took it from its environment when its container was created.

    After a rotation the declared login differs from it until the container is recreated, and the data is saved before
    that. `server.variables` names the variables with the "user" and the "password".

    :param container: what `docker inspect` says about the running container
    """
    environment = dict(variable.partition("=")[::2] for variable in container["Config"]["Env"] or ())
    return Login(
        environment.get(server.variables.get("user", ""), server.login.user),
        environment.get(server.variables.get("password", ""), server.login.password),
    )


def read(path: Path) -> Settings:
    """:raises ConfigurationError: with the file's name"""
    values, logins = configuration.read(path)
    try:
        return _settings(values, logins)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{path}: {type(error).__name__}: {error}") from error


def _settings(values: Mapping[str, Any], logins: Mapping[str, Login]) -> Settings:
    def login(container: str, user: str = "") -> Login:
        return logins.get(container, Login(user, ""))

    return Settings(
        root=Path(values["root"]),
        state=Path(values["state"]),
        stacks=values["stacks"],
        telegram=Telegram.of(values["alert"], Path(values["state"])),
        retention_days=int(values["retention_days"]),
        shrink_percent=int(values["shrink_percent"]),
        reserve_mib=int(values["reserve_mib"]),
        postgres=tuple(
            Postgres(
                each["container"],
                login(each["container"], "postgres"),
                tuple(each["databases"]),
                {name: int(size) for name, size in each["min_kib"].items()},
            )
            for each in values["postgres"]
        ),
        redis=tuple(
            Redis(each["container"], login(each["container"]), each["password_file"])
            for each in values["redis"]
        ),
        clickhouse=tuple(
            ClickHouse(
                each["container"],
                login(each["container"], "default"),
                int(each["port"]),
                each["database"],
                tuple(each["tables"]),
                each["variables"],
            )
            for each in values["clickhouse"]
        ),
        buckets=tuple(
            Bucket(
                each["container"],
                login(each["container"]),
                int(each["port"]),
                each["bucket"],
                each["variables"],
            )
            for each in values["buckets"]
        ),
        volumes=tuple(Volume(each["container"], each["path"]) for each in values["volumes"]),
        folders=tuple(Folder(path) for path in values["folders"]),
        restic=Restic(**values["restic"]) if values["restic"] else None,
    )
