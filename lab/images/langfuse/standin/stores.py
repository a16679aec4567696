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

import bcrypt
import psycopg
import redis

from . import tables
from .settings import Bucket, Settings

Row = dict[str, Any]
QUEUE = "langfuse-standin:ingestion"
TIMEOUT_S = 5
CACHED_S = 300  # LANGFUSE_CACHE_API_KEY_TTL_SECONDS


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
                # A key of that name stays as it is; another with the same secret ends the start.
                self.execute(
                    "INSERT INTO api_keys (id, note, public_key, hashed_secret_key, fast_hashed_secret_key,"
                    " display_secret_key, project_id) VALUES (%s, 'Provisioned API Key', %s, %s, %s, %s, %s)"
                    " ON CONFLICT (public_key) DO NOTHING",
                    (number(), public, slowly_hashed(secret), hashed(secret, salt), shown(secret), project),
                )
        email, password = initial.get("USER_EMAIL", "").lower(), initial.get("USER_PASSWORD")
        if email and password:
            self.execute(
                "INSERT INTO users (id, email, name, password) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (number(), email, initial.get("USER_NAME", "Provisioned User"), slowly_hashed(password)),
            )
            self.execute(
                "INSERT INTO organization_memberships (id, org_id, user_id, role)"
                " SELECT %s, %s, id, 'OWNER' FROM users WHERE email = %s"
                " ON CONFLICT (org_id, user_id) DO UPDATE SET role = 'OWNER'",
                (number(), organisation, email),
            )

    def key(self, column: str, value: str) -> Row | None:
        """The key pair with this public key, or this quick hash.

        :param column: "public_key" or "fast_hashed_secret_key"
        """
        found = self.execute(
            "SELECT to_jsonb(api_keys) || jsonb_build_object('org_id', coalesce(projects.org_id, organization_id))"  # noqa: S608
            f" FROM api_keys LEFT JOIN projects ON projects.id = project_id WHERE {column} = %s",
            (value,),
        )
        return dict(found[0][0]) if found else None

    def note_hash(self, public_key: str, quick: str) -> None:
        """Keep the quick hash of a key that was found by its slow one."""
        self.execute(
            "UPDATE api_keys SET fast_hashed_secret_key = %s WHERE public_key = %s", (quick, public_key)
        )

    def project_name(self, project: str) -> str | None:
        """What a project is called, if there is one."""
        found = self.execute("SELECT name FROM projects WHERE id = %s", (project,))
        return str(found[0][0]) if found else None


def number() -> str:
    """A new id."""
    return f"c{secrets.token_hex(12)}"


def shown(secret: str) -> str:
    """What a page shows of a secret key."""
    return f"{secret[:6]}...{secret[-4:]}"


def slowly_hashed(secret: str) -> str:
    """How Langfuse keeps passwords, and secret keys beside their quick hash."""
    return bcrypt.hashpw(secret.encode(), bcrypt.gensalt(11)).decode()


def is_hash_of(secret: str, slow: str) -> bool:
    """Whether a secret is the one that was hashed slowly; what is no such hash is nothing's."""
    try:
        return bcrypt.checkpw(secret.encode(), slow.encode())
    except ValueError:
        return False


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


class Cache:
    """Keys that were asked for lately, in Redis, under their quick hash; each question makes an entry last longer."""

    ABSENT = "api-key-non-existent"

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(url, socket_connect_timeout=TIMEOUT_S)

    def get(self, quick: str) -> Row | str | None:
        """What was kept: a key, or that there is none (`ABSENT`)."""
        with _named("Redis"):
            found: Any = self._redis.getex(f"api-key:{quick}", ex=CACHED_S)
        return json.loads(found) if found else None

    def put(self, quick: str, key: Row | str) -> None:
        with _named("Redis"):
            self._redis.set(f"api-key:{quick}", json.dumps(key), ex=CACHED_S)


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
        text = error.read(2000).decode(errors="replace").strip()
        raise OSError(f"{error.code} {error.reason} {text}".strip()) from None
