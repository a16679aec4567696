"""What the containers must be told, and what they say when they are not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

WEB_ONLY = ("NEXTAUTH_URL", "NEXTAUTH_SECRET", "CLICKHOUSE_MIGRATION_URL")
REQUIRED = (
    *("DATABASE_URL", "SALT", "ENCRYPTION_KEY", *WEB_ONLY),
    *("CLICKHOUSE_URL", "CLICKHOUSE_USER", "CLICKHOUSE_PASSWORD"),
    *("LANGFUSE_S3_EVENT_UPLOAD_BUCKET", "LANGFUSE_S3_EVENT_UPLOAD_ENDPOINT"),
    *("LANGFUSE_S3_EVENT_UPLOAD_ACCESS_KEY_ID", "LANGFUSE_S3_EVENT_UPLOAD_SECRET_ACCESS_KEY"),
)
URLS = {
    "DATABASE_URL": ("postgres", "postgresql"),
    "NEXTAUTH_URL": ("http", "https"),
    "CLICKHOUSE_URL": ("http", "https"),
    "CLICKHOUSE_MIGRATION_URL": ("clickhouse",),
    "LANGFUSE_S3_EVENT_UPLOAD_ENDPOINT": ("http", "https"),
    "REDIS_CONNECTION_STRING": ("redis", "rediss"),
}


class SettingsError(ValueError):
    """The environment is not one to start in; the message has a line for each variable."""


@dataclass(frozen=True)
class Bucket:
    """Where events are kept."""

    endpoint: str
    name: str
    access_key: str
    secret_key: str
    region: str
    prefix: str


@dataclass(frozen=True)
class Settings:
    """A checked environment. Passwords are in it: it is never printed."""

    database_url: str
    salt: str
    clickhouse_url: str
    clickhouse_migration_url: str
    clickhouse_user: str
    clickhouse_password: str
    clickhouse_database: str
    redis_url: str
    bucket: Bucket
    initial: Mapping[str, str]
    host: str
    port: int


def read(environment: Mapping[str, str], worker: bool) -> Settings:
    """The settings in an environment.

    :raises SettingsError: something is missing or cannot be right
    """
    env = {name: value for name, value in environment.items() if value}  # empty ones count as unset
    required = [name for name in REQUIRED if not (worker and name in WEB_ONLY)]
    problems = [f"{name}: Required" for name in required if name not in env]
    for name, schemes in URLS.items():
        if name in env and urlsplit(env[name]).scheme not in schemes:
            problems.append(f"{name}: Invalid url")
    if "ENCRYPTION_KEY" in env and not re.fullmatch(r"[0-9a-fA-F]{64}", env["ENCRYPTION_KEY"]):
        problems.append(
            "ENCRYPTION_KEY: must be 256 bits, 64 string characters in hex format,"
            " generate via: openssl rand -hex 32"
        )
    if "REDIS_CONNECTION_STRING" not in env and "REDIS_HOST" not in env:
        problems.append("REDIS_HOST: Required (or REDIS_CONNECTION_STRING)")
    if env.get("CLICKHOUSE_CLUSTER_ENABLED", "true") != "false":
        problems.append(
            "CLICKHOUSE_CLUSTER_ENABLED: defaults to true, which needs a cluster named 'default':"
            " Requested cluster 'default' not found (CLUSTER_DOESNT_EXIST)"
        )
    if env.get("LANGFUSE_S3_EVENT_UPLOAD_FORCE_PATH_STYLE", "false") != "true":
        problems.append(
            "LANGFUSE_S3_EVENT_UPLOAD_FORCE_PATH_STYLE: without it the bucket is part of the host's name,"
            " which does not resolve"
        )
    if problems:
        raise SettingsError("\n".join(problems))
    port = 3030 if worker else 3000
    return Settings(
        database_url=env["DATABASE_URL"].partition("?")[0],  # behind it stands what only Prisma knows
        salt=env["SALT"],
        clickhouse_url=env["CLICKHOUSE_URL"].rstrip("/"),
        clickhouse_migration_url=env.get("CLICKHOUSE_MIGRATION_URL", ""),
        clickhouse_user=env["CLICKHOUSE_USER"],
        clickhouse_password=env["CLICKHOUSE_PASSWORD"],
        clickhouse_database=env.get("CLICKHOUSE_DB", "default"),
        redis_url=env.get("REDIS_CONNECTION_STRING") or _redis_url(env),
        bucket=Bucket(
            endpoint=env["LANGFUSE_S3_EVENT_UPLOAD_ENDPOINT"].rstrip("/"),
            name=env["LANGFUSE_S3_EVENT_UPLOAD_BUCKET"],
            access_key=env["LANGFUSE_S3_EVENT_UPLOAD_ACCESS_KEY_ID"],
            secret_key=env["LANGFUSE_S3_EVENT_UPLOAD_SECRET_ACCESS_KEY"],
            region=env.get("LANGFUSE_S3_EVENT_UPLOAD_REGION", "auto"),
            prefix=env.get("LANGFUSE_S3_EVENT_UPLOAD_PREFIX", ""),
        ),
        initial={
            name.removeprefix("LANGFUSE_INIT_"): value
            for name, value in env.items()
            if name.startswith("LANGFUSE_INIT_")
        },
        # Both listen on the address HOSTNAME resolves to, which Docker sets to the container's own: not loopback.
        host=env.get("HOSTNAME", "0.0.0.0"),  # noqa: S104 - inside its container
        port=int(env.get("PORT", port)),
    )


def _redis_url(env: Mapping[str, str]) -> str:
    user, password = quote(env.get("REDIS_USERNAME", ""), safe=""), quote(env.get("REDIS_AUTH", ""), safe="")
    login = f"{user}:{password}@" if password else ""
    return f"redis://{login}{env['REDIS_HOST']}:{env.get('REDIS_PORT', '6379')}/0"
