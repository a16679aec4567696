"""The stand-in for Postiz: settings, and Temporal, which it cannot be without."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import psycopg
import pytest

from lab.images.postiz import postiz
from lab.images.temporal.temporal import server, setup
from tests.unit.served import serving

ENVIRONMENT = {
    "DATABASE_URL": "postgresql://postiz:x@shared-postgres:5432/postiz",
    "REDIS_URL": "redis://postiz:x@shared-redis:6379/8",
    "JWT_SECRET": "secret",
    "FRONTEND_URL": "https://postiz.augmenter.pro",
    "NEXT_PUBLIC_BACKEND_URL": "https://postiz.augmenter.pro/api",
    "BACKEND_INTERNAL_URL": "http://localhost:3000",
    "UPLOAD_DIRECTORY": "/uploads",
    "TEMPORAL_ADDRESS": "temporal:7233",
}


def test_a_whole_environment_is_enough() -> None:
    config = postiz.configure(ENVIRONMENT)
    assert (config.temporal, config.uploads) == ("temporal:7233", Path("/uploads"))
    assert postiz.configure(ENVIRONMENT | {"TEMPORAL_ADDRESS": ""}).temporal == "localhost:7233"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "") for name in postiz.REQUIRED),
        ("UPLOAD_DIRECTORY", ""),
        ("STORAGE_PROVIDER", "s3"),
        ("REDIS_URL", "shared-redis:6379"),
        ("FRONTEND_URL", "https://postiz.augmenter.pro/"),
    ],
)
def test_it_does_not_start_with(name: str, value: str) -> None:
    with pytest.raises(postiz.StartError, match=name):
        postiz.configure(ENVIRONMENT | {name: value})


def test_it_names_postgres_where_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise psycopg.OperationalError("password authentication failed")

    monkeypatch.setattr(psycopg, "connect", refuse)
    with pytest.raises(postiz.StartError, match="prisma db push: password authentication failed"):
        postiz.start(postiz.configure(ENVIRONMENT))


def test_it_has_its_search_attributes_in_temporal_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, int] = {}
    added: list[dict[str, int]] = []

    def add(_: setup.Config, attributes: Mapping[str, int]) -> None:
        kept.update(attributes)
        added.append(dict(attributes))

    monkeypatch.setattr(setup, "search_attributes", lambda config: (kept, {"RunId": 2}))
    monkeypatch.setattr(setup, "add_search_attributes", add)
    running, port = server.serve(setup.configure({"DB": "postgres12", "POSTGRES_SEEDS": "x"}), "127.0.0.1", 0)
    config = postiz.configure(ENVIRONMENT | {"TEMPORAL_ADDRESS": f"127.0.0.1:{port}"})
    for _ in range(2):
        postiz.temporal(config, 10)
    assert added == [{"organizationId": 1, "postId": 1}]
    running.stop(None).wait()
    with pytest.raises(postiz.StartError, match=r"Temporal at 127\.0\.0\.1"):
        postiz.temporal(config, 1)


def test_its_doors() -> None:
    with serving(postiz.application(postiz.configure(ENVIRONMENT))) as client:
        assert client.get("/").headers["location"] == "/auth"
        assert client.get("/api/").text == "App is running!"
        assert client.get("/api/monitor/queue/main").json()["status"] == "success"
        assert client.get("/api/posts").status_code == 401
