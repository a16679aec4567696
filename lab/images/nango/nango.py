"""A stand-in for nango-server: settings, migrations with their lock, health, the dashboard's door; no integrations.

Sources: NangoHQ/nango, docs (free self-hosting: configuration), packages/utils/lib/environment, packages/database/lib;
knex's migrations (https://knexjs.org/guide/migrations.html), whose tables and lock these are.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

import psycopg
import redis
import uvicorn
from psycopg import sql
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

VERSION = "0.58.0"
MIGRATIONS = "_nango_auth_migrations"
LOCK = f"{MIGRATIONS}_lock"
ATTEMPTS, PAUSE_S = 4, 0.5  # of a migration, and how much longer each pause is
KEY_BYTES = 32
TIMEOUT_S = 5

# File of each migration, and what it does. As the real ones of 0.58.0: none looks whether its table is there already,
# and the accounts need an extension, which the server's own role makes.
_MOMENT = "timestamptz NOT NULL DEFAULT now()"
_ROW = f"id serial PRIMARY KEY, created_at {_MOMENT}, updated_at {_MOMENT}"
_KEY = "uuid NOT NULL UNIQUE DEFAULT {schema}.uuid_generate_v4()"
_TEXT = "varchar(255) NOT NULL"
SCHEMA = {
    "20221026075018_create_connection.cjs": (
        f"CREATE TABLE {{schema}}._nango_connections ({_ROW}, provider_config_key {_TEXT}, connection_id {_TEXT},"
        " credentials json NOT NULL, UNIQUE (provider_config_key, connection_id))",
    ),
    "20221026075019_create_config.cjs": (
        f"CREATE TABLE {{schema}}._nango_configs ({_ROW}, unique_key {_TEXT} UNIQUE, provider {_TEXT},"
        f" oauth_client_id {_TEXT}, oauth_client_secret {_TEXT}, oauth_scopes {_TEXT})",
    ),
    "20221223094334_add_connection_config.cjs": (
        "ALTER TABLE {schema}._nango_connections ADD connection_config jsonb",
    ),
    "20230208124114_create_account.cjs": (
        'CREATE EXTENSION IF NOT EXISTS "uuid-ossp" SCHEMA {schema}',
        f"CREATE TABLE {{schema}}._nango_accounts ({_ROW}, secret_key {_KEY}, public_key {_KEY}, email {_TEXT} UNIQUE)",
    ),
}


class StartError(Exception):
    """Why the server does not start."""


@dataclass(frozen=True)
class Config:
    """The settings that the stand-in looks at."""

    database_url: str
    schema: str
    redis_url: str | None
    port: int
    user: str
    password: str


def configure(environment: Mapping[str, str]) -> Config:
    """:raises StartError: the real one would refuse these settings"""

    def value(name: str, default: str = "") -> str:
        return environment.get(name) or default

    port = value("SERVER_PORT") or value("NANGO_PORT", "3003")
    if not port.isdecimal():
        raise StartError("SERVER_PORT: Expected number, received nan")
    for name, schemes in (
        ("NANGO_SERVER_URL", ("http://", "https://")),
        ("NANGO_DATABASE_URL", ("postgres://", "postgresql://")),
        ("NANGO_REDIS_URL", ("redis://", "rediss://")),
    ):
        if value(name) and not value(name).startswith(schemes):
            raise StartError(f"{name}: Invalid url")
    if key := value("NANGO_ENCRYPTION_KEY"):
        check_key(key)
    ssl = value("NANGO_DB_SSL", "false")
    if ssl not in ("true", "false"):
        raise StartError("NANGO_DB_SSL: must be true or false")
    host, database = value("NANGO_DB_HOST", "localhost"), value("NANGO_DB_NAME", "nango")
    user, password = value("NANGO_DB_USER", "nango"), value("NANGO_DB_PASSWORD", "nango")
    url = (
        f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@{host}:{value('NANGO_DB_PORT', '5432')}"
        f"/{quote(database, safe='')}?sslmode={'require' if ssl == 'true' else 'disable'}"
    )
    open_to_all = value("FLAG_AUTH_ENABLED", "false") != "true"
    return Config(
        database_url=value("NANGO_DATABASE_URL", url),
        schema=value("NANGO_DB_SCHEMA", "nango"),
        redis_url=value("NANGO_REDIS_URL") or None,
        port=int(port),
        user=value("NANGO_DASHBOARD_USERNAME") if open_to_all else "",
        password=value("NANGO_DASHBOARD_PASSWORD") if open_to_all else "",
    )


def check_key(key: str) -> None:
    """:raises StartError: not 32 bytes in base64, of either alphabet, padded or not, as Node reads it"""
    text = key.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        size = len(base64.b64decode(text + "=" * (-len(text) % 4)))
    except binascii.Error:
        size = 0
    if size != KEY_BYTES:
        raise StartError("Encryption key must be base64-encoded and 256-bit long")


def migrate(
    connection: psycopg.Connection[tuple[object, ...]], schema: str, batch: int | None = None
) -> list[str]:
    """Run the migrations that are not recorded, under knex's lock; the names of those that ran.

    :raises StartError: somebody has the lock, or had it when it died
    """
    names = {
        "schema": sql.Identifier(schema),
        "log": sql.Identifier(MIGRATIONS),
        "lock": sql.Identifier(LOCK),
    }

    def run(statement: str, values: tuple[object, ...] = ()) -> psycopg.Cursor[tuple[object, ...]]:
        return connection.execute(sql.SQL(statement).format(**names), values)

    run("CREATE SCHEMA IF NOT EXISTS {schema}")
    run(
        "CREATE TABLE IF NOT EXISTS {schema}.{log} (id serial PRIMARY KEY, name varchar(255), batch integer,"
        " migration_time timestamptz)"
    )
    run("CREATE TABLE IF NOT EXISTS {schema}.{lock} (index serial PRIMARY KEY, is_locked integer)")
    if run("SELECT count(*) FROM {schema}.{lock}").fetchone() == (0,):
        run("INSERT INTO {schema}.{lock} (is_locked) VALUES (0)")
    done = {row[0] for row in run("SELECT name FROM {schema}.{log}").fetchall()}
    pending = [name for name in sorted(SCHEMA) if name not in done]
    if not pending:
        return []
    if run("UPDATE {schema}.{lock} SET is_locked = 1 WHERE is_locked = 0").rowcount != 1:
        raise StartError("MigrationLocked: Migration table is already locked")
    try:
        last = run("SELECT coalesce(max(batch), 0)::integer FROM {schema}.{log}").fetchone()
        number = batch or (last[0] if last and isinstance(last[0], int) else 0) + 1
        for name in pending:
            try:
                with connection.transaction():
                    for statement in SCHEMA[name]:
                        run(statement)
                    run(
                        "INSERT INTO {schema}.{log} (name, batch, migration_time) VALUES (%s, %s, now())",
                        (name, number),
                    )
            except psycopg.Error as error:
                raise StartError(f'migration file "{name}" failed: {error}') from None
    finally:
        run("UPDATE {schema}.{lock} SET is_locked = 0")
    return pending


def prepare(config: Config, sleep: Callable[[float], None] = time.sleep) -> list[str]:
    """Migrate, with some patience; the names of the migrations that ran.

    :raises StartError: it cannot be done
    """
    problem = ""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with psycopg.connect(
                config.database_url, connect_timeout=TIMEOUT_S, autocommit=True
            ) as connection:
                return migrate(connection, config.schema)
        except (psycopg.Error, StartError) as error:
            problem = str(error).strip()
            say(f"attempt {attempt}: {problem}")
            sleep(PAUSE_S * attempt)
    raise StartError(problem)


def reach(url: str) -> None:
    """:raises StartError: Redis does not answer, or refuses the user or the index"""
    try:
        with redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        ) as connection:
            connection.set("nango:standin:start", VERSION, ex=60)
    except redis.RedisError as error:
        raise StartError(f"Redis: {error}") from None


def application(config: Config) -> Starlette:
    """The server's doors: health for everybody, the dashboard for its user, the API for nobody."""

    def health(_: Request) -> Response:
        return JSONResponse({"result": "ok"})

    def dashboard(request: Request) -> Response:
        if config.user:
            credentials = request.headers.get("Authorization", "").removeprefix("Basic ")
            expected = base64.b64encode(f"{config.user}:{config.password}".encode()).decode()
            if not secrets.compare_digest(credentials.encode(), expected.encode()):
                realm = {"WWW-Authenticate": 'Basic realm="Nango"'}
                return Response("Authentication required", status_code=401, headers=realm)
        return HTMLResponse("<!DOCTYPE html><title>Nango</title><h1>Nango (stand-in)</h1>")

    def api(_: Request) -> Response:
        message = "Authentication failed. The request is missing the Authorization header."
        error = {"code": "missing_auth_header", "message": message}
        return JSONResponse({"error": error}, status_code=401)

    refused = [Route(f"/{name}{{rest:path}}", api) for name in ("connection", "config", "proxy", "providers")]
    return Starlette(routes=[Route("/health", health), Route("/", dashboard), *refused])


def say(text: str) -> None:
    """A line of the log."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def main() -> int:
    """Migrate, then serve; or exit 1 with the reason."""
    try:
        config = configure(os.environ)
        ran = prepare(config)
        if config.redis_url:
            reach(config.redis_url)
    except StartError as error:
        say(f"nango: {error}")
        return 1
    say(f"migrations: {len(ran)} applied" if ran else "no pending migrations")
    say(f"Nango Server {VERSION} (stand-in) is listening on port {config.port}")
    uvicorn.run(application(config), host="0.0.0.0", port=config.port, access_log=False, log_level="warning")  # noqa: S104
    return 0


if __name__ == "__main__":
    sys.exit(main())
