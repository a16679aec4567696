"""Monitors that follow from other declarations, and what becomes of them."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from blueprint import kuma
from blueprint.model import Command, CronJob, Http, Monitor, OllamaInstance, Service
from blueprint.monitoring import (
    heartbeat,
    heartbeat_interval_s,
    job_monitors,
    ollama_monitors,
    redis_monitor,
    service_monitors,
)
from blueprint.problems import DeclarationError
from blueprint.secrets import Secrets
from operations.script import FILES
from specs.files import Directory, File
from specs.uptime_kuma import HttpCheck, KumaMonitor, PushCheck, RedisCheck, TcpCheck


def service(name: str, health: Http | Command, port: int | None = None) -> Service:
    return Service(name=name, image=f"acme/{name}:1", memory="64m", health=health, port=port)


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return Secrets.open("lab", tmp_path / "secrets", {})


# --- what follows -----------------------------------------------------------------------------------------


def test_a_service_is_asked_what_its_health_asks() -> None:
    services = [
        service("litellm-proxy", Http("/health/liveliness"), 4000),
        service("langfuse-worker", Http("/api/health", port=3030)),
        service("pgbouncer", Command(("pg_isready",)), 6432),
        service("celery", Command(("celery", "inspect", "ping"))),
        service("shared-redis", Command(("redis-cli", "ping")), 6379),
    ]
    assert service_monitors(services, excluded=("shared-redis",)) == [
        Monitor(name="litellm-proxy", url="http://litellm-proxy:4000/health/liveliness"),
        Monitor(name="langfuse-worker", url="http://langfuse-worker:3030/api/health"),
        Monitor(name="pgbouncer", tcp="pgbouncer:6432"),
    ]


def test_an_instance_is_asked_on_the_host() -> None:
    heavy = OllamaInstance(name="heavy", gpu="GPU-bdb1f5e4", port=11434, model="qwen3:8b")
    (monitor,) = ollama_monitors([heavy])
    assert (monitor.name, monitor.url) == ("ollama-heavy", "http://host.docker.internal:11434/api/tags")


@pytest.mark.parametrize(
    ("schedule", "lasts_min", "wait_s", "seconds"),
    [
        ("*/5 * * * *", 0, 0, 5 * 60 + 120),
        ("0 3 * * *", 60, 0, 25 * 3600 + 120),
        ("0 4 * * *", 15, 240, 24 * 3600 + 15 * 60 + 240 + 120),
        ("0 5 * * 0", 0, 0, 7 * 24 * 3600 + 120),
        ("0 1,5 * * *", 0, 0, 20 * 3600 + 120),
    ],
)
def test_a_heartbeat_may_take_as_long_as_the_job_s_longest_pause(
    schedule: str, lasts_min: int, wait_s: int, seconds: int
) -> None:
    job = CronJob(name="job", schedule=schedule, lasts_min=lasts_min, wait_s=wait_s)
    assert heartbeat_interval_s(job) == seconds
    assert job_monitors([job]) == [Monitor(name="job", push=True, interval_s=seconds, retries=0)]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "none"),
        ({"url": "http://a/", "push": True}, "url and push"),
        ({"url": "redis:6379"}, "a URL"),
        ({"url": "http://user:password@litellm:4000/"}, "without secrets"),
        ({"tcp": "redis"}, "host:port"),
        ({"connection": "redis://user:clear-text@shared-redis:6379"}, "a secret in braces"),
        ({"push": True, "interval_s": 5}, "interval_s"),
    ],
)
def test_nonsense_is_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(DeclarationError, match=says):
        Monitor(name="it", **values)


# --- for the operation ------------------------------------------------------------------------------------


def test_secrets_are_filled_in_where_they_belong(secrets: Secrets) -> None:
    secrets.generated("redis/kuma", lambda: "p@ss/word")
    monitors = [
        Monitor(name="web", url="http://web:80/", timeout_s=5),
        Monitor(name="pgbouncer", tcp="pgbouncer:6432"),
        redis_monitor("kuma"),
        Monitor(name="backup", push=True, interval_s=3600, retries=0),
    ]
    desired = {each.name: each for each in kuma.monitors(monitors, secrets)}
    token = secrets.provided("uptime_kuma/push/backup")
    assert desired["web"].check == HttpCheck("http://web:80/", 5)
    assert desired["pgbouncer"].check == TcpCheck("pgbouncer", 6432)
    assert desired["shared-redis"].check == RedisCheck("redis://kuma:p%40ss%2Fword@shared-redis:6379")
    assert desired["backup"] == KumaMonitor("backup", PushCheck(token), interval_s=3600, retries=0)
    assert len(token) == 32
    assert kuma.monitors(monitors, secrets) == list(desired.values())


def test_each_job_finds_its_heartbeat(secrets: Secrets) -> None:
    monitors = [Monitor(name="web", url="http://web/"), Monitor(name="backup", push=True)]
    folder, file = kuma.heartbeats(monitors, secrets, "/etc/platform/heartbeats", 3002)
    assert folder == Directory("/etc/platform/heartbeats", mode="0700")
    assert isinstance(file, File)
    assert (file.path, file.mode, file.secret) == ("/etc/platform/heartbeats/backup", "0600", True)
    assert file.content == heartbeat(secrets.provided("uptime_kuma/push/backup"), 3002)


# --- the script that reports -----------------------------------------------------------------------------


@pytest.fixture
def received() -> Iterator[tuple[int, list[str]]]:
    """A port where somebody listens, and the paths that were asked for."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, paths
    server.shutdown()
    server.server_close()


def report(folder: Path, job: str, status: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(FILES / "monitoring/heartbeat.sh"), job, str(status)],
        env={"PATH": os.environ["PATH"], "HEARTBEATS": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("status", "state", "message"), [(0, "up", "OK"), (3, "down", "ended with status 3")]
)
def test_a_job_s_end_is_reported(
    tmp_path: Path, received: tuple[int, list[str]], status: int, state: str, message: str
) -> None:
    port, paths = received
    (tmp_path / "backup").write_text(heartbeat("token", port))
    assert report(tmp_path, "backup", status).returncode == 0
    (path,) = paths
    assert urlsplit(path).path == "/api/push/token"
    assert parse_qs(urlsplit(path).query) == {"status": [state], "msg": [message]}


def test_a_round_that_was_left_out_is_not_reported(tmp_path: Path, received: tuple[int, list[str]]) -> None:
    port, paths = received
    (tmp_path / "backup").write_text(heartbeat("token", port))
    assert report(tmp_path, "backup", 75).returncode == 0
    assert report(tmp_path, "another", 0).returncode == 0
    assert paths == []


def test_a_job_is_not_failed_by_a_dead_uptime_kuma(tmp_path: Path) -> None:
    (tmp_path / "backup").write_text(heartbeat("token", 1))
    done = report(tmp_path, "backup", 0)
    assert done.returncode == 0
    assert "heartbeat of backup did not arrive" in done.stderr
    assert "token" not in done.stderr
