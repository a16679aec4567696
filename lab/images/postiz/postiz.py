"""A stand-in for Postiz: settings, its tables, the pages' and the API's door, Temporal at its start; it posts nothing.

Sources: docs.postiz.com (Docker Compose, configuration reference, migration to 2.12), gitroomhq/postiz-app.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import psycopg
import redis
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

VERSION = "2.12.0"
PORT = 5000
TIMEOUT_S = 5
TEMPORAL_S = 30  # that Temporal may take to answer at the start
REQUIRED = (
    *("DATABASE_URL", "REDIS_URL", "JWT_SECRET"),
    *("FRONTEND_URL", "NEXT_PUBLIC_BACKEND_URL", "BACKEND_INTERNAL_URL"),
)
SYSTEM_INFO = "/temporal.api.workflowservice.v1.WorkflowService/GetSystemInfo"
SEARCH_ATTRIBUTES = "/temporal.api.operatorservice.v1.OperatorService/{}SearchAttributes"
TEXT = b"\x10\x01"  # the second field of a map's entry: this type
NAMESPACE, ATTRIBUTES = b"default", (b"organizationId", b"postId")

# Of the real schema, the tables that an operator meets first; `prisma db push` makes what is missing.
TABLES = (
    'CREATE TABLE IF NOT EXISTS "Organization" (id text PRIMARY KEY, name text NOT NULL, "createdAt" timestamp(3)'
    " NOT NULL DEFAULT now())",
    'CREATE TABLE IF NOT EXISTS "User" (id text PRIMARY KEY, email text NOT NULL, password text, "providerName" text'
    ' NOT NULL, "createdAt" timestamp(3) NOT NULL DEFAULT now(), UNIQUE (email, "providerName"))',
    'CREATE TABLE IF NOT EXISTS "Integration" (id text PRIMARY KEY, "organizationId" text NOT NULL REFERENCES'
    ' "Organization" (id), name text NOT NULL, "providerIdentifier" text NOT NULL, token text NOT NULL)',
    'CREATE TABLE IF NOT EXISTS "Post" (id text PRIMARY KEY, state text NOT NULL DEFAULT \'QUEUE\', "publishDate"'
    ' timestamp(3) NOT NULL, "organizationId" text NOT NULL REFERENCES "Organization" (id), "integrationId" text'
    ' NOT NULL REFERENCES "Integration" (id), content text NOT NULL)',
)


class StartError(Exception):
    """Why it does not start."""


@dataclass(frozen=True)
class Config:
    """The settings that the stand-in looks at."""

    database_url: str
    redis_url: str
    temporal: str
    uploads: Path | None


def configure(environment: Mapping[str, str]) -> Config:
    """:raises StartError: one line for each setting that is missing or cannot be"""
    problems = [f"{name} is not set" for name in REQUIRED if not environment.get(name)]
    for name, schemes in (("DATABASE_URL", ("postgresql", "postgres")), ("REDIS_URL", ("redis", "rediss"))):
        if environment.get(name) and urlsplit(environment[name]).scheme not in schemes:
            problems.append(f"{name} must be a {schemes[0]}:// URL")
    for name in ("FRONTEND_URL", "NEXT_PUBLIC_BACKEND_URL"):
        value = environment.get(name, "")
        if value and (urlsplit(value).scheme not in ("http", "https") or value.endswith("/")):
            problems.append(f"{name} must be a URL without a slash at its end")
    storage = environment.get("STORAGE_PROVIDER", "local")
    uploads = environment.get("UPLOAD_DIRECTORY")
    if storage not in ("local", "cloudflare"):
        problems.append("STORAGE_PROVIDER must be local or cloudflare")
    elif storage == "local" and not uploads:
        problems.append("UPLOAD_DIRECTORY is not set, and STORAGE_PROVIDER is local")
    if problems:
        raise StartError("\n".join(problems))
    return Config(
        database_url=environment["DATABASE_URL"].partition("?")[0],  # behind it stands what only Prisma knows
        redis_url=environment["REDIS_URL"],
        temporal=environment.get("TEMPORAL_ADDRESS") or "localhost:7233",
        uploads=Path(uploads) if uploads and storage == "local" else None,
    )


def start(config: Config) -> None:
    """Tables, Redis, uploads, Temporal: what the real one has before it answers.

    :raises StartError: one of them is not to be had
    """
    try:
        with psycopg.connect(config.database_url, connect_timeout=TIMEOUT_S) as connection:
            for statement in TABLES:
                connection.execute(statement)
    except psycopg.Error as error:
        raise StartError(f"prisma db push: {str(error).strip()}") from None
    try:
        with redis.Redis.from_url(
            config.redis_url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        ) as connection:
            connection.set("postiz:standin:start", VERSION, ex=60)
    except redis.RedisError as error:
        raise StartError(f"Redis: {error}") from None
    if config.uploads and not os.access(config.uploads, os.W_OK):
        raise StartError(f"{config.uploads}: cannot be written to")
    temporal(config, TEMPORAL_S)


def temporal(config: Config, within_s: float) -> None:
    """Have the search attributes of posts, as the real one does at each start.

    :raises StartError: Temporal does not answer, or does not take them
    """
    try:
        with grpc.insecure_channel(config.temporal) as channel:
            channel.unary_unary(SYSTEM_INFO)(b"", timeout=within_s, wait_for_ready=True)
            listed = channel.unary_unary(SEARCH_ATTRIBUTES.format("List"))
            found = listed(_field(1, NAMESPACE), timeout=TIMEOUT_S)
            entries = [_field(1, name) + TEXT for name in ATTRIBUTES if _field(1, name) not in found]
            if entries:
                request = b"".join(_field(1, entry) for entry in entries) + _field(2, NAMESPACE)
                channel.unary_unary(SEARCH_ATTRIBUTES.format("Add"))(request, timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        raise StartError(f"Temporal at {config.temporal}: {error.details()}") from None


def _field(number: int, content: bytes) -> bytes:
    """A short field of a protobuf message."""
    return bytes([number << 3 | 2, len(content)]) + content


def application(config: Config) -> Starlette:
    """Pages at /, the API below /api/."""

    def home(_: Request) -> Response:
        return RedirectResponse("/auth", status_code=307)

    def sign_in(_: Request) -> Response:
        return HTMLResponse("<!DOCTYPE html><title>Postiz</title><h1>Postiz (stand-in)</h1>")

    def running(_: Request) -> Response:
        return PlainTextResponse("App is running!")

    def queue(request: Request) -> Response:
        name = request.path_params["name"]
        return JSONResponse({"status": "success", "message": f"Queue {name} is healthy."})

    def refuse(_: Request) -> Response:
        return JSONResponse({"statusCode": 401, "message": "Unauthorized"}, status_code=401)

    return Starlette(
        routes=[
            Route("/", home),
            Route("/auth", sign_in),
            Route("/api", running),
            Route("/api/", running),
            Route("/api/monitor/queue/{name}", queue),
            Route("/api/{path:path}", refuse, methods=["GET", "POST", "PUT", "DELETE"]),
        ]
    )


def main() -> int:
    """Start and serve; or exit 1 with the reason."""
    try:
        config = configure(os.environ)
        start(config)
    except StartError as error:
        sys.stderr.write(f"postiz: {error}\n")
        return 1
    sys.stderr.write(f"Postiz {VERSION} (stand-in) is listening on port {PORT}\n")
    uvicorn.run(application(config), host="0.0.0.0", port=PORT, access_log=False, log_level="warning")  # noqa: S104
    return 0


if __name__ == "__main__":
    sys.exit(main())
