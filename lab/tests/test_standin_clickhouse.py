"""The stand-in for ClickHouse's server: who may ask, what is passed to the engine, and the native hello."""

from __future__ import annotations

import gzip
import http.client
import socket
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path

import pytest

from lab.images.clickhouse.standin import native
from lab.images.clickhouse.standin.server import (
    Account,
    Database,
    QueryError,
    Server,
    initialise,
    starts,
    status,
)

ACCOUNT = Account.of({"CLICKHOUSE_USER": "langfuse", "CLICKHOUSE_PASSWORD": "pass word"})
LOGIN = {"X-ClickHouse-User": "langfuse", "X-ClickHouse-Key": "pass word"}


class Engine:
    """Remembers what it was asked; knows two errors."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.formats: list[str] = []
        self.parameters: dict[str, str] = {}

    def run(self, query: bytes, output: str, parameters: Mapping[str, str]) -> bytes:
        self.asked.append(query)
        self.formats.append(output)
        self.parameters = dict(parameters)
        if b"nope" in query:
            raise QueryError(60, "Code: 60. DB::Exception: Table nope does not exist. (UNKNOWN_TABLE)")
        if b"selec 1" in query:
            raise QueryError(62, "Code: 62. DB::Exception: Syntax error. (SYNTAX_ERROR)")
        return b"1\n"


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def client(engine: Engine) -> Iterator[http.client.HTTPConnection]:
    with Server(("127.0.0.1", 0), Database(engine), ACCOUNT) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
        server.shutdown()


Answer = tuple[int, bytes, http.client.HTTPMessage]


def ask(
    client: http.client.HTTPConnection,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] = LOGIN,
    method: str = "POST",
) -> Answer:
    client.request(method, path, body, dict(headers))
    answer = client.getresponse()
    return answer.status, answer.read(), answer.headers


def test_ping_needs_no_user(client: http.client.HTTPConnection) -> None:
    assert ask(client, "/ping", headers={}, method="GET")[:2] == (200, b"Ok.\n")
    assert ask(client, "/elsewhere", headers={}, method="GET")[0] == 404


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-ClickHouse-User": "langfuse", "X-ClickHouse-Key": "wrong"},
        {"X-ClickHouse-User": "default", "X-ClickHouse-Key": "pass word"},
        {"Authorization": "Basic bm9ib2R5Om5vdGhpbmc="},
        {"Authorization": "Basic %%%"},
    ],
)
def test_nobody_else_may_ask(
    client: http.client.HTTPConnection, engine: Engine, headers: dict[str, str]
) -> None:
    code, text, answered = ask(client, "/", b"SELECT 1", headers)
    assert code == 403 and b"Code: 516." in text and b"AUTHENTICATION_FAILED" in text
    assert answered["X-ClickHouse-Exception-Code"] == "516"
    assert engine.asked == []


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", LOGIN),
        ("/", {"Authorization": f"Basic {b64encode(b'langfuse:pass word').decode()}"}),
        ("/?user=langfuse&password=pass+word", {}),
    ],
)
def test_its_user_may_ask(
    client: http.client.HTTPConnection, path: str, headers: dict[str, str], engine: Engine
) -> None:
    assert ask(client, path, b"SELECT 1", headers)[:2] == (200, b"1\n")
    assert engine.asked == [b"SELECT 1"]


def test_a_query_in_the_address_comes_before_the_data(
    client: http.client.HTTPConnection, engine: Engine
) -> None:
    ask(client, "/?query=INSERT+INTO+t+FORMAT+Native", b"\x01\x00\xff")
    ask(
        client, "/?query=INSERT+INTO+t+FORMAT+TSV", gzip.compress(b"x"), {**LOGIN, "Content-Encoding": "gzip"}
    )
    assert engine.asked == [b"INSERT INTO t FORMAT Native\n\x01\x00\xff", b"INSERT INTO t FORMAT TSV\nx"]


def test_database_settings_and_parameters_are_those_of_one_request(
    client: http.client.HTTPConnection, engine: Engine
) -> None:
    ask(
        client,
        "/?database=lf&max_threads=2&param_id=a'b&default_format=JSON&query_id=x",
        b"SELECT {id:String}",
    )
    assert engine.asked == [
        b"USE `lf`",
        b"SET `max_threads` = '2'",
        b"SELECT {id:String}",
        b"USE `default`",
        b"SET `max_threads` = DEFAULT",
    ]
    assert engine.formats[2] == "JSON"
    engine.asked.clear()
    ask(client, "/?database=lf", b"SELECT nope")
    assert engine.asked == [b"USE `lf`", b"SELECT nope", b"USE `default`"]


def test_reading_requests_do_not_write(client: http.client.HTTPConnection, engine: Engine) -> None:
    ask(client, "/?query=SELECT+1", method="GET")
    assert engine.asked[0] == b"SET `readonly` = '2'"


@pytest.mark.parametrize(("query", "code", "number"), [(b"SELECT nope", 404, "60"), (b"selec 1", 400, "62")])
def test_errors_keep_number_and_status(
    client: http.client.HTTPConnection, query: bytes, code: int, number: str
) -> None:
    answered = ask(client, "/", query)
    assert (answered[0], answered[2]["X-ClickHouse-Exception-Code"]) == (code, number)
    assert answered[1].startswith(f"Code: {number}. DB::Exception".encode())


def test_clickhouse_s_own_compression_is_refused_as_unknown(
    client: http.client.HTTPConnection, engine: Engine
) -> None:
    assert ask(client, "/?compress=1", b"SELECT 1")[0] == 501
    for encoding in ("lz4", "zstd"):  # of which the engine would make no rows, and no error
        assert ask(client, "/", b"x", {**LOGIN, "Content-Encoding": encoding})[0] == 501
    assert not engine.asked
    assert status(1001) == 500


@pytest.mark.parametrize(
    ("environment", "login", "address", "may"),
    [
        ({}, ("default", ""), "127.0.0.1", True),
        ({}, ("", ""), "::1", True),
        ({}, ("default", ""), "10.0.1.7", False),
        ({"CLICKHOUSE_SKIP_USER_SETUP": "1"}, ("default", ""), "10.0.1.7", True),
        ({"CLICKHOUSE_PASSWORD": "x"}, ("default", "x"), "10.0.1.7", True),
        ({"CLICKHOUSE_PASSWORD": "x"}, ("default", ""), "127.0.0.1", False),
    ],
)
def test_accounts_follow_the_image_s_environment(
    environment: dict[str, str], login: tuple[str, str], address: str, may: bool
) -> None:
    assert (Account.of(environment).refusal(*login, address) is None) == may


def test_an_empty_data_folder_gets_the_database_of_the_environment(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "1.sql").write_text("CREATE TABLE t")
    (tmp_path / "readme").write_text("no")
    initialise(Database(engine), {"CLICKHOUSE_DB": "lf`x"}, tmp_path)
    assert engine.asked == [b"CREATE DATABASE IF NOT EXISTS `lf\\`x`", b"CREATE TABLE t"]


@pytest.mark.parametrize(("limit", "enough"), [("max\n", True), ("4096\n", True), ("512\n", False)])
def test_it_wants_as_many_threads_as_the_real_server(tmp_path: Path, limit: str, enough: bool) -> None:
    (tmp_path / "pids.max").write_text(limit)
    assert starts(tmp_path / "pids.max") == enough
    assert starts(tmp_path / "none")


@pytest.mark.parametrize("value", [0, 1, 127, 128, 54058, 2**35])
def test_numbers_of_the_native_protocol(value: int) -> None:
    assert native.read_number(BytesIO(native.number(value))) == value


def test_the_native_port_says_hello_to_its_user_and_refuses_others() -> None:
    def login(password: str, *more: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=5) as client:
            version = b"".join(map(native.number, (1, 0, 54054)))
            texts = b"".join(map(native.text, ("default", "langfuse", password)))
            client.sendall(native.number(0) + native.text("test") + version + texts + b"".join(more))
            client.shutdown(socket.SHUT_WR)
            return client.makefile("rb").read()

    with native.NativeServer(("127.0.0.1", 0), ACCOUNT.refusal) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        assert login("pass word", native.number(native.PING)) == native.hello() + native.number(native.PONG)
        assert login("pass word", native.number(native.QUERY)).startswith(native.hello() + b"\x02")
        refused = login("wrong")
        assert refused[0] == 2 and int.from_bytes(refused[1:5], "little") == 516
        server.shutdown()
