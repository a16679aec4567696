"""The four stores, each with the few things that Langfuse does to it."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import secrets
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import redis

from . import tables
from .settings import Bucket, Settings

Row = dict[str, Any]
QUEUE = "langfuse-standin:ingestion"
TIMEOUT_S = 5


class StoreError(Exception):
    """A store does not answer or refuses; the message names it."""


@contextmanager
def _named(store: str) -> Iterator[None]:
    try:
        yield
    except (psycopg.Error, redis.RedisError, OSError, http.client.HTTPException) as error:
        raise StoreError(f"{store}: {str(error).strip() or type(error).__name__}") from None


class Postgres:
    """Organisations, projects, users and API keys, in the tables of the real schema."""

    def __init__(self, url: str) -> None:
        self._url = url

    def execute(self, statement: str, values: Iterable[object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement on a connection of its own.

        :raises StoreError: it failed
        """
        with (
            _named("Postgres"),
            psycopg.connect(
                self._url, connect_timeout=TIMEOUT_S, autocommit=True, client_encoding="utf8"
            ) as connection,
        ):
            cursor = connection.execute(statement, tuple(values) or None)
            return list(cursor.fetchall()) if cursor.description else []

    def ping(self) -> None:
        """:raises StoreError: there is no answer"""
        self.execute("SELECT 1")

    def prepare(self, salt: str, initial: Mapping[str, str]) -> None:
        """The tables, and what LANGFUSE_INIT_* asks for; what is there already stays as it is."""
        for statement in tables.POSTGRES:
            self.execute(statement)
        organisation, project = initial.get("ORG_ID"), initial.get("PROJECT_ID")
        if not organisation:
            return
        self.execute(
            "INSERT INTO organizations (id, name) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            (organisation, initial.get("ORG_NAME", "Provisioned Org")),
        )
        if project:
            self.execute(
                "INSERT INTO projects (id, name, org_id) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (project, initial.get("PROJECT_NAME", "Provisioned Project"), organisation),
            )
            public, secret = initial.get("PROJECT_PUBLIC_KEY"), initial.get("PROJECT_SECRET_KEY")
            if public and secret:
                self.execute(
                    "DELETE FROM api_keys WHERE public_key = %s AND project_id <> %s", (public, project)
                )
                self.execute(
                    "INSERT INTO api_keys (id, note, public_key, fast_hashed_secret_key, project_id)"
                    " VALUES (%s, 'Provisioned API Key', %s, %s, %s) ON CONFLICT DO NOTHING",
                    (secrets.token_hex(12), public, hashed(secret, salt), project),
                )
        email, password = initial.get("USER_EMAIL", "").lower(), initial.get("USER_PASSWORD")
        if email and password:
            self.execute(
                "INSERT INTO users (id, email, name, password) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (
                    secrets.token_hex(12),
                    email,
                    initial.get("USER_NAME", "Provisioned User"),
                    hashed(password, secrets.token_hex(8)),
                ),
            )

    def project(self, public_key: str, secret_key: str, salt: str) -> tuple[str, str] | None:
        """Id and name of the project that a pair of keys opens."""
        found = self.execute(
            "SELECT p.id, p.name, k.fast_hashed_secret_key FROM api_keys k JOIN projects p ON p.id = k.project_id"
            " WHERE k.public_key = %s",
            (public_key,),
        )
        if not found or not hmac.compare_digest(str(found[0][2]), hashed(secret_key, salt)):
            return None
        return str(found[0][0]), str(found[0][1])


def hashed(secret: str, salt: str) -> str:
    """How Langfuse keeps a secret key for quick comparison."""
    inner = hashlib.sha256(salt.encode()).hexdigest()
    return hashlib.sha256(secret.encode() + inner.encode()).hexdigest()


class ClickHouse:
    """Traces, observations and scores."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def query(self, statement: str, parameters: Mapping[str, object] | None = None) -> list[Row]:
        """Rows of a SELECT; `parameters` are `{name:Type}` in it."""
        query = {"default_format": "JSONEachRow", "output_format_json_quote_64bit_integers": "0"}
        query |= {f"param_{name}": str(value) for name, value in (parameters or {}).items()}
        return [json.loads(line) for line in self._ask(query, statement.encode()).splitlines()]

    def insert(self, table: str, rows: Iterable[Row]) -> None:
        """Add rows."""
        lines = "\n".join(json.dumps(row) for row in rows).encode()
        statement = f"INSERT INTO {table} FORMAT JSONEachRow"
        self._ask({"query": statement, "date_time_input_format": "best_effort"}, lines)

    def ping(self) -> None:
        """:raises StoreError: there is no answer, or not for this user"""
        self.query("SELECT 1")

    def prepare(self) -> None:
        """The tables. The real migration speaks the native protocol: its address and login are tried as well."""
        self._knock()
        for statement in tables.CLICKHOUSE:
            self._ask({}, statement.encode())

    def _knock(self) -> None:
        address = urlsplit(self._settings.clickhouse_migration_url)
        with (
            _named("ClickHouse (CLICKHOUSE_MIGRATION_URL)"),
            socket.create_connection((address.hostname or "", address.port or 9000), TIMEOUT_S) as connection,
        ):
            login = (
                self._settings.clickhouse_database,
                self._settings.clickhouse_user,
                self._settings.clickhouse_password,
            )
            texts = b"".join(bytes([len(each.encode())]) + each.encode() for each in login)
            connection.sendall(b"\0\x07migrate\x01\x00\xa6\xa6\x03" + texts)  # hello, name, version, revision
            answer = connection.recv(4096)
            if answer[:1] != b"\0":
                raise OSError(answer[5:].decode(errors="replace") or "closed the connection")

    def _ask(self, query: Mapping[str, str], body: bytes) -> bytes:
        address = f"{self._settings.clickhouse_url}/?{urllib.parse.urlencode(query)}"
        headers = {
            "X-ClickHouse-User": self._settings.clickhouse_user,
            "X-ClickHouse-Key": self._settings.clickhouse_password,
            "X-ClickHouse-Database": self._settings.clickhouse_database,
        }
        with _named("ClickHouse"):
            return _http("POST", address, headers, body)


class Queue:
    """What the worker has to do, in Redis."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(url, socket_connect_timeout=TIMEOUT_S)

    def put(self, job: Row) -> None:
        with _named("Redis"):
            self._redis.rpush(QUEUE, json.dumps(job))

    def take(self, seconds: int) -> Row | None:
        """The next job, once there is one; None after `seconds` without."""
        with _named("Redis"):
            found: Any = self._redis.blpop([QUEUE], timeout=seconds)
        return json.loads(found[1]) if found else None

    def ping(self) -> None:
        """:raises StoreError: there is no answer"""
        with _named("Redis"):
            self._redis.ping()


class Objects:
    """The bucket with the events, over S3's API."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def put(self, key: str, content: bytes) -> None:
        self._ask("PUT", key, content)

    def get(self, key: str) -> bytes:
        return self._ask("GET", key)

    def ping(self) -> None:
        """:raises StoreError: there is no answer, or no such bucket"""
        self._ask("HEAD", "")

    def _ask(self, method: str, key: str, body: bytes = b"") -> bytes:
        path = quote(f"/{self._bucket.name}/{key}" if key else f"/{self._bucket.name}")
        with _named(f"S3 bucket {self._bucket.name}"):
            headers = signed(self._bucket, method, path, body, time.gmtime())
            return _http(method, self._bucket.endpoint + path, headers, body)


def signed(bucket: Bucket, method: str, path: str, body: bytes, now: time.struct_time) -> dict[str, str]:
    """Headers of a request with AWS's signature, version 4."""
    moment, day = time.strftime("%Y%m%dT%H%M%SZ", now), time.strftime("%Y%m%d", now)
    content = hashlib.sha256(body).hexdigest()
    headers = {
        "host": urlsplit(bucket.endpoint).netloc,
        "x-amz-content-sha256": content,
        "x-amz-date": moment,
    }
    names = ";".join(headers)
    canonical = "\n".join(
        [method, path, "", *(f"{name}:{value}" for name, value in headers.items()), "", names, content]
    )
    scope = f"{day}/{bucket.region}/s3/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{bucket.secret_key}".encode()
    for part in (*scope.split("/"), to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    credential = f"{bucket.access_key}/{scope}"
    authorization = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={key.hex()}"
    return {**headers, "authorization": authorization}


def _http(method: str, address: str, headers: Mapping[str, str], body: bytes) -> bytes:
    request = urllib.request.Request(address, data=body or None, headers=dict(headers), method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - http, by the settings
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        said = error.read(2000).decode(errors="replace").strip()
        raise OSError(f"{error.code} {error.reason} {said}".strip()) from None
