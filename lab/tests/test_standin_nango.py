"""The stand-in for nango-server: settings, its migrations under knex's lock, its doors."""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import psycopg
import pytest

from lab.images.nango import nango
from tests.unit.served import serving

ENVIRONMENT = {
    "NANGO_DB_HOST": "shared-postgres",
    "NANGO_DB_USER": "nango",
    "NANGO_DB_PASSWORD": "p/ss",
    "NANGO_DB_NAME": "nango",
    "NANGO_DB_SSL": "false",
    "NANGO_ENCRYPTION_KEY": base64.b64encode(bytes(32)).decode(),
    "NANGO_REDIS_URL": "redis://nango:x@shared-redis:6379/3",
    "NANGO_SERVER_URL": "https://nango.augmenter.pro",
    "SERVER_PORT": "3003",
}


def test_settings_as_the_server_reads_them() -> None:
    config = nango.configure(ENVIRONMENT)
    assert config.database_url == "postgresql://nango:p%2Fss@shared-postgres:5432/nango?sslmode=disable"
    assert (config.schema, config.port, config.redis_url) == ("nango", 3003, ENVIRONMENT["NANGO_REDIS_URL"])
    url = "postgresql://a:b@c/d"
    assert nango.configure(ENVIRONMENT | {"NANGO_DATABASE_URL": url}).database_url == url


@pytest.mark.parametrize(
    ("name", "value", "output"),
    [
        ("NANGO_ENCRYPTION_KEY", base64.b64encode(bytes(31)).decode(), "256-bit"),
        ("NANGO_ENCRYPTION_KEY", "00" * 32, "256-bit"),
        ("NANGO_REDIS_URL", "shared-redis:6379", "NANGO_REDIS_URL: Invalid url"),
        ("NANGO_SERVER_URL", "nango.augmenter.pro", "NANGO_SERVER_URL: Invalid url"),
        ("NANGO_DB_SSL", "no", "NANGO_DB_SSL"),
        ("SERVER_PORT", "http", "SERVER_PORT"),
    ],
)
def test_it_does_not_start_with(name: str, value: str, output: str) -> None:
    with pytest.raises(nango.StartError, match=output):
        nango.configure(ENVIRONMENT | {name: value})


@pytest.mark.parametrize("key", [base64.urlsafe_b64encode(b"\xff" * 32).decode().rstrip("="), "A" * 43])
def test_a_key_in_node_s_eyes(key: str) -> None:
    nango.check_key(key)


class Cursor:
    """The rows of one statement."""

    def __init__(self, rows: Sequence[tuple[object, ...]] = (), rowcount: int = -1) -> None:
        self._rows, self.rowcount = rows, rowcount

    def fetchone(self) -> tuple[object, ...] | None:
        return self._rows[0] if self._rows else None

    def fetchall(self) -> list[tuple[object, ...]]:
        return list(self._rows)


class Database:
    """As much of Postgres as the migrations use: which of them are recorded, which tables there are, and the lock."""

    def __init__(self, *, tables: Collection[str] = (), locked: int = 0) -> None:
        self.done: set[str] = set()
        self.tables, self.locked = set(tables), locked
        self.batches: set[object] = set()

    def transaction(self) -> AbstractContextManager[None]:
        return nullcontext()

    def execute(self, statement: Any, values: tuple[object, ...] = ()) -> Cursor:
        text = statement.as_string(None)
        if text.startswith("SELECT name"):
            return Cursor([(name,) for name in self.done])
        if text.startswith("SELECT coalesce"):
            return Cursor([(7,)])
        if text.startswith("SELECT count"):
            return Cursor([(1,)])
        if text.endswith("SET is_locked = 1 WHERE is_locked = 0"):
            free, self.locked = not self.locked, 1
            return Cursor(rowcount=int(free))
        if text.endswith("SET is_locked = 0"):
            self.locked = 0
        if text.startswith("INSERT") and "_migrations" in text:
            self.done.add(str(values[0]))
            self.batches.add(values[1])
        if text.startswith("CREATE TABLE") and "IF NOT EXISTS" not in text:
            table = text.split(".", 1)[1].split()[0]
            if table in self.tables:
                raise psycopg.errors.DuplicateTable(f'relation "{table}" already exists')
            self.tables.add(table)
        return Cursor()


def migrate(database: Database) -> list[str]:
    return nango.migrate(database, "nango")  # type: ignore[arg-type] # stands for a connection


def test_migrations_run_once() -> None:
    database = Database()
    assert migrate(database) == sorted(nango.SCHEMA)
    assert (database.done, database.batches, database.locked) == (set(nango.SCHEMA), {8}, 0)
    assert migrate(database) == []


def test_a_lock_that_a_dead_server_left_stops_it_until_somebody_opens_it() -> None:
    database = Database(locked=1)
    with pytest.raises(nango.StartError, match="MigrationLocked: Migration table is already locked"):
        migrate(database)
    assert database.locked == 1
    database.locked = 0
    assert migrate(database)


def test_tables_without_the_record_of_their_migrations_stop_it() -> None:
    database = Database(tables={"_nango_configs"})
    with pytest.raises(nango.StartError, match=r'create_config\.cjs" failed: .*already exists'):
        migrate(database)
    assert database.locked == 0


def test_it_tries_four_times_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise psycopg.OperationalError("connection refused")

    monkeypatch.setattr(psycopg, "connect", refuse)
    slept: list[float] = []
    with pytest.raises(nango.StartError, match="connection refused"):
        nango.prepare(nango.configure(ENVIRONMENT), slept.append)
    assert slept == [0.5, 1.0, 1.5, 2.0]


def test_health_is_for_everybody_and_the_dashboard_for_its_user() -> None:
    door = {"NANGO_DASHBOARD_USERNAME": "admin", "NANGO_DASHBOARD_PASSWORD": "secret"}
    with serving(nango.application(nango.configure(ENVIRONMENT | door))) as client:
        assert client.get("/health").json() == {"result": "ok"}
        assert client.get("/").status_code == 401
        assert client.get("/", auth=("admin", "wrong")).status_code == 401
        assert client.get("/", auth=("admin", "secret")).status_code == 200
        assert client.get("/connection/x").json()["error"]["code"] == "missing_auth_header"
    with serving(nango.application(nango.configure(ENVIRONMENT))) as client:
        assert client.get("/").status_code == 200
