"""Settings: what is saved, and what is expected to be there (/etc/sourcefast/backup.json)."""

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
    """A cluster. `databases` are those that the host was given; what else there is gets saved too.

    `min_kib`: by database, what a dump of it has at least.
    """

    container: str
    login: Login
    databases: tuple[str, ...]
    min_kib: Mapping[str, int]


@dataclass(frozen=True)
class Redis:
    """A server. `password_file`: in its container, with the password as the server has read it."""

    container: str
    login: Login
    password_file: str


@dataclass(frozen=True)
class ClickHouse:
    """One database of a server. `tables` are those that it has at least, `variables` as of `login_in`."""

    container: str
    login: Login
    port: int
    database: str
    tables: tuple[str, ...]
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Bucket:
    """One bucket of an S3 server. `variables` as of `login_in`."""

    container: str
    login: Login
    port: int
    bucket: str
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Volume:
    """What a container keeps under a path of its own."""

    container: str
    path: str


@dataclass(frozen=True)
class Folder:
    """A folder of the host."""

    path: str


@dataclass(frozen=True)
class Restic:
    """An encrypted copy elsewhere. `environment`: private file with the keys of where that is, NAME=VALUE a line."""

    repository: str
    password_file: str
    environment: str
    keep_days: int


@dataclass(frozen=True)
class Settings:
    """`retention_days`: older backups go, but never the last good one. `shrink_percent`: less than this share of the
    one before is no good backup. `reserve_mib`: what stays free on the disk. `stacks`: folder of the Compose
    projects that are ours."""

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
    """How a server is logged in to that took its login from its environment when its container was made.

    After a rotation that is another login than the declared one, until the container has been made anew; and before
    that is done, its data is saved. `server.variables` names the variables with the "user" and the "password".

    :param container: Docker's account of the running container
    """
    own = dict(variable.partition("=")[::2] for variable in container["Config"]["Env"] or ())
    return Login(
        own.get(server.variables.get("user", ""), server.login.user),
        own.get(server.variables.get("password", ""), server.login.password),
    )


def read(path: Path) -> Settings:
    """:raises ConfigurationError: with the file's name"""
    said, logins = configuration.read(path)
    try:
        return _settings(said, logins)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{path}: {type(error).__name__}: {error}") from error


def _settings(said: Mapping[str, Any], logins: Mapping[str, Login]) -> Settings:
    def login(container: str, user: str = "") -> Login:
        return logins.get(container, Login(user, ""))

    return Settings(
        root=Path(said["root"]),
        state=Path(said["state"]),
        stacks=said["stacks"],
        telegram=Telegram.of(said["alert"], Path(said["state"])),
        retention_days=int(said["retention_days"]),
        shrink_percent=int(said["shrink_percent"]),
        reserve_mib=int(said["reserve_mib"]),
        postgres=tuple(
            Postgres(
                each["container"],
                login(each["container"], "postgres"),
                tuple(each["databases"]),
                {name: int(size) for name, size in each["min_kib"].items()},
            )
            for each in said["postgres"]
        ),
        redis=tuple(
            Redis(each["container"], login(each["container"]), each["password_file"])
            for each in said["redis"]
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
            for each in said["clickhouse"]
        ),
        buckets=tuple(
            Bucket(
                each["container"],
                login(each["container"]),
                int(each["port"]),
                each["bucket"],
                each["variables"],
            )
            for each in said["buckets"]
        ),
        volumes=tuple(Volume(each["container"], each["path"]) for each in said["volumes"]),
        folders=tuple(Folder(path) for path in said["folders"]),
        restic=Restic(**said["restic"]) if said["restic"] else None,
    )
