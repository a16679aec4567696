"""Buckets: the operation, and its script against a server that answers as MinIO does."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pyinfra.api.exceptions import OperationValueError

from facts.s3 import Storage, StorageState
from operations import s3
from tests.unit.hosts import commands
from tests.unit.paths import CHECKOUT

SCRIPT = CHECKOUT / "files/s3/create-bucket.sh"
KEYS = {"access_key": "minio user", "secret_key": 'quo"te\\d'}


def test_a_bucket_that_is_there_is_left_alone() -> None:
    desired = {"bucket": "langfuse", "container": "minio", "port": 9000, **KEYS}
    actual = StorageState(frozenset({"langfuse", "other"}))
    assert commands(s3.bucket, {Storage: actual}, **desired) == []
    [command] = commands(s3.bucket, {Storage: StorageState(frozenset({"other"}))}, **desired)
    assert command.payload == 'minio user\nquo"te\\d\n'
    assert "quo" not in str(command) and "quo" not in command.get_raw_value()


@pytest.mark.parametrize("name", ["", "ab", "Langfuse", "a_b", "-abc", "a/b", "x" * 64])
def test_a_name_that_s3_does_not_allow_is_refused(name: str) -> None:
    with pytest.raises(OperationValueError, match="3 to 63"):
        commands(s3.bucket, {}, bucket=name, container="minio", port=9000, **KEYS)


def test_a_key_of_two_lines_is_refused() -> None:
    keys = {"access_key": "a", "secret_key": "b\nc"}
    with pytest.raises(OperationValueError, match="line break"):
        commands(s3.bucket, {}, bucket="langfuse", container="minio", port=9000, **keys)


def test_the_fact_lists_folders(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\nshift 2\nexec "$@"\n')
    docker.chmod(0o755)
    (tmp_path / "data/langfuse").mkdir(parents=True)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}

    def ask(directory: Path) -> StorageState:
        command = Storage().command("minio", str(directory)).get_raw_value()
        done = subprocess.run(
            ["sh", "-c", command], check=True, capture_output=True, text=True, env=environment
        )
        return Storage().process(done.stdout.splitlines())

    assert ask(tmp_path / "data") == StorageState(frozenset({"langfuse"}))
    assert ask(tmp_path / "gone") == Storage.default()
    # MinIO keeps each in a folder of his name.
    for path in ("users/eve", "service-accounts/KEY1", "policies/readall", "sts/short", "format"):
        (tmp_path / "data/.minio.sys/config/iam" / path).mkdir(parents=True)
    found = ask(tmp_path / "data")
    assert found.buckets == {"langfuse"}
    assert found.identities == {("users", "eve"), ("service-accounts", "KEY1"), ("policies", "readall")}


def test_who_logs_in_beside_its_root_is_a_problem_and_the_rest_is_reported() -> None:
    strangers = {("users", "eve"), ("service-accounts", "KEY1"), ("policies", "readall")}
    found = StorageState(frozenset({"langfuse", "loot"}), frozenset(strangers))
    assert [problem.what for problem in s3.right_problems("minio", found)] == [
        "minio: access key KEY1",
        "minio: user eve",
    ]
    assert [sentence.partition(";")[0] for sentence in s3.stray_sentences("minio", ["langfuse"], found)] == [
        "buckets of minio that are not declared: loot",
        "policies of minio that are not declared: readall",
    ]
    as_declared = StorageState(frozenset({"langfuse"}))
    assert not [
        *s3.right_problems("minio", as_declared),
        *s3.stray_sentences("minio", ["langfuse"], as_declared),
    ]


class Server(ThreadingHTTPServer):
    """Answers PUT and HEAD with what a test wants."""

    def __init__(self, put: int, output: str = "", head: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.put, self.output, self.head = put, output, head
        self.requests: list[tuple[str, str, str]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_PUT(self) -> None:
        authorization = self.headers["Authorization"]
        assert "SignedHeaders=host;x-amz-content-sha256;x-amz-date," in authorization
        self.server.requests.append((self.command, self.path, authorization.partition("/")[0]))
        put = self.command == "PUT"
        content = self.server.output.encode() if put else b""
        self.send_response(self.server.put if put else self.server.head)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_HEAD = do_PUT  # noqa: N815 - the name http.server wants

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment with a docker whose containers are at 127.0.0.1."""
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\necho '127.0.0.1 10.9.9.9 '\n")
    program.chmod(0o755)
    yield {"PATH": f"{tmp_path}:/usr/bin:/bin"}


def create(environment: dict[str, str], storage: Server) -> subprocess.CompletedProcess[str]:
    threading.Thread(target=storage.serve_forever, args=(0.02,), daemon=True).start()
    try:
        return subprocess.run(
            ["bash", str(SCRIPT), "minio", str(storage.server_port), "langfuse"],
            input="user\nsecret word\n",
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
        )
    finally:
        storage.shutdown()
        storage.server_close()


@pytest.mark.parametrize(
    ("status", "output"),
    [(200, ""), (409, "<Code>BucketAlreadyOwnedByYou</Code>"), (409, "BucketAlreadyExists")],
)
def test_the_bucket_is_created_with_a_signed_request(
    docker: dict[str, str], status: int, output: str
) -> None:
    storage = Server(status, output)
    done = create(docker, storage)
    assert done.returncode == 0, done.stderr
    signed = "AWS4-HMAC-SHA256 Credential=user"
    assert storage.requests == [("PUT", "/langfuse", signed), ("HEAD", "/langfuse", signed)]


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        (lambda: Server(403, "AccessDenied"), "refuses the keys"),
        (lambda: Server(409, "OperationAborted"), "OperationAborted"),
        (lambda: Server(507, "full"), "answers 507: full"),
        (lambda: Server(200, head=404), "does not exist after"),
    ],
)
def test_a_refusal_is_reported(docker: dict[str, str], storage: type[Server], message: str) -> None:
    done = create(docker, storage())  # type: ignore[call-arg]
    assert done.returncode == 1
    assert message in done.stderr and "secret word" not in done.stdout + done.stderr
