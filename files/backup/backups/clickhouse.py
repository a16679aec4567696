"""The tables of a ClickHouse database, over its HTTP interface.

Rows are read as text with a row a line, not in the format Native. The number of lines is the exact number of rows that
were read; a separate count could differ, because merges go on in the background.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

from containers import ScriptError, address_of, require_running

from backups import scratch
from backups.http import connected, request
from backups.piece import Contents, differences
from backups.settings import ClickHouse, Login, login_in
from backups.store import CHUNK, compressed, decompressed

FORMAT = "TabSeparatedWithNamesAndTypes"
HEADER_LINES = 2
BATCH = 32 * CHUNK
# Engines that store rows; the others are views of these, or read from elsewhere.
STORED = re.compile(r".*MergeTree|Log|TinyLog|StripeLog|Memory|Join|Set|EmbeddedRocksDB")
TABLES = (
    "SELECT name, engine, create_table_query FROM system.tables"
    " WHERE database = {database} AND NOT is_temporary ORDER BY name FORMAT JSONCompactEachRow"
)
BYTES = (
    "SELECT sum(data_uncompressed_bytes) FROM system.parts WHERE active AND database = {database} FORMAT TSV"
)


@dataclass(frozen=True)
class _Table:
    name: str
    engine: str
    create: str

    @property
    def stored(self) -> bool:
        return bool(STORED.fullmatch(self.engine))


@dataclass(frozen=True)
class _Session:
    connection: HTTPConnection = field(repr=False)
    login: Login

    def query(self, sql: str, data: bytes = b"") -> HTTPResponse:
        headers = {"X-ClickHouse-User": self.login.user, "X-ClickHouse-Key": self.login.password}
        # With this option the status is that of the whole query: the server answers only at its end.
        return request(self.connection, "POST", "/?wait_end_of_query=1", headers, sql.encode() + data)

    def text(self, sql: str) -> str:
        return self.query(sql).read().decode()


@contextmanager
def _session(container: Mapping[str, Any], server: ClickHouse) -> Iterator[_Session]:
    with connected(address_of(container), server.port) as connection:
        yield _Session(connection, login_in(container, server))


@dataclass(frozen=True)
class Tables:
    """One database of a server, with all its tables."""

    server: ClickHouse
    min_bytes = 0
    may_shrink = False

    @property
    def name(self) -> str:
        return f"clickhouse/{self.server.container}/{self.server.database}"

    def estimate(self) -> int:
        with self._running() as session:
            return int(session.text(BYTES.format(database=_text(self.server.database))) or 0)

    def save(self, folder: Path) -> Contents:
        with self._running() as session:
            tables = self._tables(session)
            missing = sorted(set(self.server.tables) - {table.name for table in tables})
            rows = {table.name: self._save_table(session, folder, table) for table in tables if table.stored}
            return {
                "version": session.text("SELECT version() FORMAT TSV").strip(),
                "rows": rows,
                "lacks": [f"table {name}" for name in missing],
                "tables": [[table.name, table.engine, table.create] for table in tables],
            }

    def check(self, folder: Path, contents: Mapping[str, Any]) -> None:
        for table, rows in contents["rows"].items():
            with decompressed(folder / _file(table)) as file:
                lines = 0
                while data := file.read(CHUNK):
                    lines += data.count(b"\n")
            if lines - HEADER_LINES != rows:
                raise ScriptError(f"{_file(table)} has {lines - HEADER_LINES} rows, not {rows}")

    def test(self, folder: Path, contents: Mapping[str, Any]) -> list[str]:
        with scratch.server(self.server.container) as container:
            scratch.await_answer(lambda: self._ping(container), "the scratch ClickHouse")
            with _session(container, self.server) as session:
                return self._restore(session, folder, contents)

    def _ping(self, container: Mapping[str, Any]) -> None:
        with _session(container, self.server) as session:
            session.text("SELECT 1")

    def _restore(self, session: _Session, folder: Path, contents: Mapping[str, Any]) -> list[str]:
        database = _name(self.server.database)
        session.text(f"CREATE DATABASE IF NOT EXISTS {database}")
        tables = [_Table(*table) for table in contents["tables"]]
        for table in tables:
            if table.stored:
                session.text(table.create)
                session.text(f"SYSTEM STOP MERGES {database}.{_name(table.name)}")
                self._fill(session, folder, table)
        # Only now: a view that is filled from a table would get every row twice.
        for table in tables:
            if not table.stored:
                session.text(table.create)
        actual = {
            table.name: int(session.text(f"SELECT count() FROM {database}.{_name(table.name)} FORMAT TSV"))  # noqa: S608
            for table in tables
            if table.stored
        }
        return differences("table", contents["rows"], actual)

    def _fill(self, session: _Session, folder: Path, table: _Table) -> None:
        # Without this setting the insert would drop duplicates, which are rows of the backup.
        sql = (
            f"INSERT INTO {_name(self.server.database)}.{_name(table.name)}"
            f" SETTINGS optimize_on_insert=0, date_time_input_format='best_effort' FORMAT {FORMAT}\n"
        )
        with decompressed(folder / _file(table.name)) as file:
            header = b"".join(file.readline() for _ in range(HEADER_LINES))
            while lines := file.readlines(BATCH):
                session.query(sql, header + b"".join(lines)).read()

    def _save_table(self, session: _Session, folder: Path, table: _Table) -> int:
        # ISO times are in UTC: no hour of a change to winter time is ambiguous.
        answer = session.query(
            f"SELECT * FROM {_name(self.server.database)}.{_name(table.name)} FORMAT {FORMAT}"  # noqa: S608
            " SETTINGS date_time_output_format='iso'"
        )
        lines = 0
        with compressed(folder / _file(table.name)) as file:
            while data := answer.read(CHUNK):
                lines += data.count(b"\n")
                file.write(data)
        return lines - HEADER_LINES

    def _tables(self, session: _Session) -> list[_Table]:
        lines = session.text(TABLES.format(database=_text(self.server.database)))
        return [_Table(*json.loads(line)) for line in lines.splitlines()]

    @contextmanager
    def _running(self) -> Iterator[_Session]:
        with _session(require_running(self.server.container), self.server) as session:
            yield session


def _file(table: str) -> str:
    """Name of a table's file; characters that it cannot have are written as their numbers."""
    return re.sub(r"[^A-Za-z0-9_.-]|^\.", lambda match: f"%{ord(match[0]):02X}", table) + ".tsv.zst"


def _name(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
