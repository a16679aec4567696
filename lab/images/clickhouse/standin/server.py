"""ClickHouse's HTTP interface over its own engine (chdb), with the official image's environment.

The engine is real: SQL, formats, MergeTree, BACKUP and RESTORE, configuration files, memory limits. Made here: HTTP,
who may ask, the native protocol's hello (native.py). Queries run one at a time, and all as one user.
Source: https://clickhouse.com/docs/interfaces/http
"""

from __future__ import annotations

import base64
import gzip
import hmac
import os
import re
import signal
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from .native import NativeServer

CONFIG = "/etc/clickhouse-server/config.xml"
DATA = "/var/lib/clickhouse"
INITIAL = "/docker-entrypoint-initdb.d"
THREADS = 800  # of an idle server: its pools are filled when it starts, that of schedules alone with 512
PIDS = Path("/sys/fs/cgroup/pids.max")
VERSION = "25.8.0.0 (stand-in)"
AUTHENTICATION_FAILED, REQUIRED_PASSWORD = 516, 194
# What the real server answers to an error, by the error's number; 500 for all others.
STATUS = {
    400: (6, 27, 26, 38, 41, 43, 53, 62, 72, 117, 130, 386, 456, 457, 36, 42, 201),
    404: (46, 47, 50, 56, 60, 63, 73, 81, 115),
    413: (307, 396),
    501: (48,),
    401: (REQUIRED_PASSWORD,),
    403: (AUTHENTICATION_FAILED, 192, 193, 164, 497, 291),
}
# Parameters of a request that are no settings of the query.
PARAMETERS = frozenset(
    [
        "query",
        "user",
        "password",
        "database",
        "default_format",
        "query_id",
        "session_id",
        "session_timeout",
        "session_check",
        "quota_key",
        "compress",
        "decompress",
        "role",
        "wait_end_of_query",
        "buffer_size",
        "http_write_exception_in_output_format",
        "enable_http_compression",
        "http_zlib_compression_level",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "client_protocol_version",
    ]
)


class QueryError(Exception):
    """A query failed; `code` is ClickHouse's number of the error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Engine(Protocol):
    """What runs queries."""

    def run(self, query: bytes, output: str, parameters: Mapping[str, str]) -> bytes:
        """:raises QueryError: the query failed"""
        ...


class Chdb:
    """The engine itself, in this process, on the folders of the real server."""

    def __init__(self, data: str, config: str) -> None:
        from chdb.session import Session  # type: ignore[import-not-found,unused-ignore]  # only in the image

        self._session = Session(f"{data}?config-file={config}")

    def run(self, query: bytes, output: str, parameters: Mapping[str, str]) -> bytes:
        try:
            result: Any = self._session.query(query, output, params=dict(parameters))
        except Exception as error:  # the engine's own class; its text carries number and name
            message = str(error)
            number = re.search(r"Code: (\d+)\.", message)
            raise QueryError(int(number[1]) if number else 1001, message) from None
        return bytes(result.bytes() or b"")


@dataclass(frozen=True)
class Account:
    """The one user that may ask, as the image's entry point makes it of the environment."""

    user: str
    password: str
    anywhere: bool

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Account:
        """Without user and password there is `default`, who may only come from this machine."""
        user, password = environment.get("CLICKHOUSE_USER", ""), environment.get("CLICKHOUSE_PASSWORD", "")
        skip = environment.get("CLICKHOUSE_SKIP_USER_SETUP", "0") == "1"
        return cls(
            user or "default", password, anywhere=skip or bool((user and user != "default") or password)
        )

    def refusal(self, user: str, password: str, address: str) -> tuple[int, str] | None:
        """Number and text of the error for somebody who may not in."""
        user = user or "default"
        right = hmac.compare_digest(f"{user}\0{password}".encode(), f"{self.user}\0{self.password}".encode())
        local = address.removeprefix("::ffff:").startswith("127.") or address == "::1"
        if right and (self.anywhere or local):
            return None
        return AUTHENTICATION_FAILED, (
            f"{user}: Authentication failed: password is incorrect, or there is no user with such name."
            " (AUTHENTICATION_FAILED)"
        )


class Database:
    """The engine for many clients: one query at a time, each with its own database and settings."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._one = threading.Lock()

    def query(
        self,
        query: bytes,
        output: str,
        database: str = "",
        settings: Mapping[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> bytes:
        """Run one query.

        :param output: format of an answer whose query names none
        :param database: for names without one
        :param settings: for this query alone
        :param parameters: values of `{name:Type}` in the query
        :raises QueryError: it failed
        """
        with self._one, self._circumstances(database, settings or {}):
            return self._engine.run(query, output, parameters or {})

    @contextmanager
    def _circumstances(self, database: str, settings: Mapping[str, str]) -> Iterator[None]:
        done: list[str] = []
        try:
            if database and database != "default":
                self._do(f"USE {quoted(database, '`')}")
                done.append("USE `default`")
            for name, value in settings.items():
                self._do(f"SET {quoted(name, '`')} = {quoted(value, chr(39))}")
                done.append(f"SET {quoted(name, '`')} = DEFAULT")
            yield
        finally:
            for undo in done:
                self._do(undo)

    def _do(self, statement: str) -> None:
        self._engine.run(statement.encode(), "Null", {})


def quoted(text: str, mark: str) -> str:
    """A name or a string of SQL."""
    return mark + text.replace("\\", "\\\\").replace(mark, "\\" + mark) + mark


def status(code: int) -> int:
    """HTTP status of an error."""
    return next((http for http, codes in STATUS.items() if code in codes), 500)


class Server(ThreadingHTTPServer):
    """The HTTP interface."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], database: Database, account: Account) -> None:
        self.database, self.account = database, account
        super().__init__(address, Handler)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self._serve(readonly=True)

    def do_POST(self) -> None:
        self._serve(readonly=False)

    do_HEAD = do_GET  # noqa: N815 - the name http.server wants

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing, as the server does: queries are in the address."""

    def _serve(self, readonly: bool) -> None:
        body = self._body()
        address = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(address.query, keep_blank_values=True).items()}
        if address.path in ("/ping", "/replicas_status"):
            return self._send(200, b"Ok.\n")
        if address.path == "/play":
            return self._send(200, b"The stand-in has no play page.\n")
        if address.path != "/":
            message = f"There is no handle {address.path}\n\nUse / or /ping for health checks.\n"
            return self._send(404, message.encode())
        if not query.get("query") and not body and readonly:
            return self._send(200, b"Ok.\n")
        user, password = self._credentials(query)
        refused = self.server.account.refusal(user, password, str(self.client_address[0]))
        try:
            if refused:
                raise QueryError(*refused)
            answer = self._query(query, body, readonly)
        except QueryError as error:
            message = str(error).strip()
            if not message.startswith("Code:"):
                message = f"Code: {error.code}. DB::Exception: {message}"
            text = f"{message} (version {VERSION})\n"
            return self._send(
                status(error.code), text.encode(), {"X-ClickHouse-Exception-Code": str(error.code)}
            )
        return self._send(200, answer, {"X-ClickHouse-Format": query.get("default_format", "TabSeparated")})

    def _query(self, query: Mapping[str, str], body: bytes, readonly: bool) -> bytes:
        statement = query.get("query", "").encode()
        statement = statement + b"\n" + body if statement and body else statement or body
        settings = {
            name: value
            for name, value in query.items()
            if name not in PARAMETERS and not name.startswith("param_")
        }
        if readonly:
            settings.setdefault("readonly", "2")
        if query.get("compress") == "1" or query.get("decompress") == "1":
            raise QueryError(48, "the stand-in does not know ClickHouse's own compression (NOT_IMPLEMENTED)")
        encoding = self.headers.get("Content-Encoding", "gzip")
        if encoding not in ("gzip", "identity"):  # the engine would take it for no rows at all
            raise QueryError(48, f"the stand-in does not know the encoding {encoding} (NOT_IMPLEMENTED)")
        return self.server.database.query(
            statement,
            self.headers.get("X-ClickHouse-Format") or query.get("default_format") or "TabSeparated",
            self.headers.get("X-ClickHouse-Database") or query.get("database", ""),
            settings,
            {
                name.removeprefix("param_"): value
                for name, value in query.items()
                if name.startswith("param_")
            },
        )

    def _credentials(self, query: Mapping[str, str]) -> tuple[str, str]:
        if "X-ClickHouse-User" in self.headers or "X-ClickHouse-Key" in self.headers:
            return self.headers.get("X-ClickHouse-User", ""), self.headers.get("X-ClickHouse-Key", "")
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            with suppress(ValueError):
                user, _, password = base64.b64decode(value).decode().partition(":")
                return user, password
        return query.get("user", ""), query.get("password", "")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _send(self, code: int, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {
            "Content-Type": "text/plain; charset=UTF-8",
            "Content-Length": str(len(content)),
            "X-ClickHouse-Server-Display-Name": "clickhouse",
            "X-ClickHouse-Query-Id": self.headers.get("query_id") or str(uuid.uuid4()),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def initialise(database: Database, environment: Mapping[str, str], folder: Path) -> None:
    """What the image does with an empty data folder: the database of the environment, then the scripts of `folder`."""
    if name := environment.get("CLICKHOUSE_DB"):
        database.query(f"CREATE DATABASE IF NOT EXISTS {quoted(name, '`')}".encode(), "Null")
    for script in sorted(folder.glob("*.sql")):
        say(f"running {script}")
        database.query(script.read_bytes(), "Null")


def starts(limit: Path = PIDS) -> bool:
    """Whether the container may have as many threads as the real server makes when it starts."""
    allowed = limit.read_text().strip() if limit.exists() else "max"
    return allowed == "max" or int(allowed) > THREADS


def say(text: str) -> None:
    """One line of the log."""
    sys.stderr.write(f"<Information> {text}\n")
    sys.stderr.flush()


def main() -> int:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if not starts():
        say("<Fatal> BackgroundSchedulePool/BgSchPool: Couldn't get 512 threads from global thread pool")
        return 1
    account = Account.of(os.environ)
    fresh = not (Path(DATA) / "metadata").is_dir()
    os.umask(0o027)
    database = Database(Chdb(DATA, CONFIG))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # again: the engine has handlers of its own
    if fresh:
        initialise(database, os.environ, Path(INITIAL))
    native = NativeServer(("0.0.0.0", 9000), account.refusal)  # noqa: S104 - inside its container
    threading.Thread(target=native.serve_forever, daemon=True).start()
    say(
        f"Ready for connections: 8123, 9000. User {account.user}{'' if account.anywhere else ', from here only'}."
    )
    Server(("0.0.0.0", 8123), database, account).serve_forever()  # noqa: S104
    return 0


if __name__ == "__main__":
    sys.exit(main())
