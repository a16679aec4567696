"""The scaffolding of the projects: settings, wires, health, and what the lab builds from its folders."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from files.scaffold.python.scaffold import __main__ as program
from files.scaffold.python.scaffold import llm, probe, web, wires
from files.scaffold.python.scaffold.health import Health
from files.scaffold.python.scaffold.settings import GROQ, Settings, SettingsError, read
from files.scaffold.python.scaffold.wires import Wire, WireError
from lab.images import pipeline
from operations.script import FILES
from tests.unit.served import serving

PYTHON, NODE = FILES / "scaffold" / "python", FILES / "scaffold" / "node"
ROOT = FILES.parent

# --- what is built


@pytest.mark.parametrize("folder", [PYTHON, NODE])
def test_the_lab_builds_the_owner_s_folder_under_his_names(folder: Path) -> None:
    name = f"scaffold-{folder.name}"
    assert (pipeline.HERE / name).resolve() == folder
    assert pipeline.references()[name] == tuple((folder / "reference").read_text().split())


def test_the_lock_names_every_package_and_no_registry() -> None:
    manifest = json.loads((NODE / "package.json").read_text())
    lock = json.loads((NODE / "package-lock.json").read_text())
    assert lock["packages"][""]["dependencies"] == manifest["dependencies"]
    packages = {path: package for path, package in lock["packages"].items() if path}
    assert [path for path, package in packages.items() if "integrity" not in package] == []
    assert [path for path, package in packages.items() if "resolved" in package] == []


def test_the_image_has_the_versions_that_are_tested_here() -> None:
    def pins(text: str) -> dict[str, str]:
        return dict(re.findall(r"(?m)^\s*\"?([A-Za-z0-9_-]+)(?:\[\w+\])?==([0-9.]+)", text))

    required = pins((PYTHON / "requirements.in").read_text())
    locked = pins((PYTHON / "requirements.txt").read_text())
    tested = pins((ROOT / "pyproject.toml").read_text())
    assert required and required.items() <= locked.items()
    assert required.items() <= tested.items()


# --- settings

ENVIRONMENT = {
    "PORT": "3001",
    "DATABASE_URL": "postgresql://coach:x@pgbouncer:6432/coach_credit",
    "REDIS_URL": "redis://coach-credit:x@shared-redis:6379/6",
    "LITELLM_HOST": "http://litellm:4000/",
    "LITELLM_API_KEY": "sk-0123456789abcdef",
    "OLLAMA_HEAVY_URL": "http://host.docker.internal:11434",
    "LANGFUSE_BASE_URL": "http://langfuse:3000",
    "LANGFUSE_PUBLIC_KEY": "pk-lf-1",
    "LANGFUSE_SECRET_KEY": "sk-lf-1",
    "SHARED_WHISPER_URL": "http://shared-whisper:9000",
}


def test_both_names_of_a_thing_are_understood() -> None:
    found = read(ENVIRONMENT)
    assert (found.port, found.litellm_url) == (3001, "http://litellm:4000")
    assert (found.langfuse_url, found.whisper_url) == ("http://langfuse:3000", "http://shared-whisper:9000")
    assert found.ollama_urls == {"heavy": "http://host.docker.internal:11434"}
    assert found.groq_url == GROQ
    renamed = {
        {
            "LITELLM_HOST": "LITELLM_URL",
            "LANGFUSE_BASE_URL": "LANGFUSE_HOST",
            "SHARED_WHISPER_URL": "WHISPER_URL",
        }.get(name, name): value
        for name, value in ENVIRONMENT.items()
    }
    assert read(renamed) == found


def test_all_problems_are_reported_at_once_and_no_value_with_them() -> None:
    wrong = {
        "PORT": "http",
        "DATABASE_URL": "mysql://secret",
        "LITELLM_URL": "litellm:4000",
        "LANGFUSE_HOST": "http://langfuse:3000",
        "LLM_PROVIDER": "groq",
        "CELERY_QUEUES": "etl, ",
        "CELERY_CONCURRENCY": "0",
    }
    with pytest.raises(SettingsError) as refused:
        read(wrong)
    lines = str(refused.value).splitlines()
    assert {line.partition(":")[0] for line in lines} == {
        *{
            "PORT",
            "DATABASE_URL",
            "LITELLM_URL",
            "LITELLM_API_KEY",
            "LANGFUSE_PUBLIC_KEY",
            "LANGFUSE_SECRET_KEY",
        },
        *{"LLM_PROVIDER", "CELERY_BROKER_URL", "CELERY_CONCURRENCY"},
    }
    assert "secret" not in str(refused.value).replace("LANGFUSE_SECRET_KEY", "")


@pytest.mark.parametrize(
    ("environment", "role"),
    [
        ({"CELERY_QUEUES": "etl", "CELERY_BROKER_URL": "redis://u:p@r:6379/5"}, "worker"),
        ({"BACKEND_URL": "http://backend:3001"}, "frontend"),
        ({"REDIS_URL": "redis://u:p@r:6379/5"}, "backend"),
    ],
)
def test_a_container_has_the_role_of_its_environment(environment: dict[str, str], role: str) -> None:
    assert program.role(read(environment)) == role


@pytest.mark.parametrize(
    ("environment", "arguments", "code", "message"),
    [
        ({}, [], 1, "no wire is configured"),
        ({"PORT": "http"}, [], 1, "PORT: must be a number"),
        ({"REDIS_URL": "redis://r"}, ["worker"], 1, "CELERY_QUEUES: must be set"),
        ({"REDIS_URL": "redis://r"}, ["database"], 2, "usage"),
    ],
)
def test_the_program_refuses_before_it_serves(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(sys, "argv", ["scaffold", *arguments])
    assert program.main() == code
    assert message in capsys.readouterr().err


# --- completions


class Providers:
    """LiteLLM, Ollama and Groq on one port; `down` names those that fail with 503."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """As it is before a test."""
        self.down: set[str] = set()
        self.requests: list[tuple[str, str, Any]] = []

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/litellm/chat/completions", self._answer("litellm", self._chat), methods=["POST"]),
                Route("/groq/chat/completions", self._answer("groq", self._chat), methods=["POST"]),
                Route(
                    "/ollama/api/tags", self._answer("ollama", lambda _: {"models": [{"name": "qwen3:8b"}]})
                ),
                Route("/ollama/api/generate", self._answer("ollama", self._generate), methods=["POST"]),
            ]
        )

    def _answer(self, name: str, content: Callable[[Any], Any]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> JSONResponse:
            body = json.loads(await request.body() or b"null")
            self.requests.append((name, request.headers.get("Authorization", ""), body))
            if name in self.down:
                return JSONResponse({"error": "sk-do-not-tell"}, status_code=503)
            return JSONResponse(content(body))

        return answer

    def _chat(self, body: Any) -> Any:
        text = f"<think>\nwell\n</think>\n{body['model']} says yes"
        return {"model": body["model"], "choices": [{"message": {"content": text}}]}

    def _generate(self, body: Any) -> Any:
        return {"response": f"{body['model']} says yes"}


@pytest.fixture(scope="module")
def served_providers() -> Iterator[tuple[Providers, httpx.Client, Settings]]:
    fake = Providers()
    with serving(fake.application()) as client:
        base = str(client.base_url).rstrip("/")
        yield (
            fake,
            client,
            Settings(
                litellm_url=f"{base}/litellm",
                litellm_api_key="sk-project",
                ollama_url=f"{base}/ollama",
                groq_url=f"{base}/groq",
                groq_api_key="gsk-1",
            ),
        )


@pytest.fixture
def providers(
    served_providers: tuple[Providers, httpx.Client, Settings],
) -> tuple[Providers, httpx.Client, Settings]:
    served_providers[0].reset()
    return served_providers


def test_the_gateway_is_asked_for_our_own_model_with_the_project_s_key(
    providers: tuple[Providers, httpx.Client, Settings],
) -> None:
    fake, client, settings = providers
    answer = llm.complete(client, settings, "ready?")
    assert (answer.text, answer.provider) == ("cheap says yes", "litellm")
    assert [(name, key, body["model"]) for name, key, body in fake.requests] == [
        ("litellm", "Bearer sk-project", "cheap")
    ]
    fake.down = {"litellm"}
    with pytest.raises(llm.LlmError, match=r"^litellm: HTTP 503$"):
        llm.complete(client, settings, "ready?")
    assert {name for name, _, _ in fake.requests} == {"litellm"}


@pytest.mark.parametrize(
    ("down", "provider", "model"),
    [
        (set(), "ollama", "qwen3:8b"),
        ({"ollama"}, "groq", llm.GROQ_MODEL),
        ({"litellm"}, "ollama", "qwen3:8b"),
    ],
)
def test_the_rollback_goes_around_the_gateway(
    providers: tuple[Providers, httpx.Client, Settings], down: set[str], provider: str, model: str
) -> None:
    fake, client, settings = providers
    fake.down = down
    answer = llm.complete(client, changed(settings, llm_provider="ollama"), "ready?")
    assert (answer.provider, answer.model) == (provider, model)
    assert "litellm" not in {name for name, _, _ in fake.requests}


def test_the_rollback_says_who_failed(providers: tuple[Providers, httpx.Client, Settings]) -> None:
    fake, client, settings = providers
    fake.down = {"ollama", "groq"}
    rolled = changed(settings, llm_provider="ollama")
    with pytest.raises(llm.LlmError, match=r"^ollama: HTTP 503; groq: HTTP 503$"):
        llm.complete(client, rolled, "ready?")
    with pytest.raises(llm.LlmError, match="GROQ_API_KEY is not set"):
        llm.complete(client, changed(rolled, groq_api_key=""), "ready?")


def changed(settings: Settings, **values: Any) -> Settings:
    return Settings(**(vars(settings) | values))


# --- wires


@pytest.mark.checklist("4.2", "5.2")
def test_a_wire_for_everything_that_is_set() -> None:
    everything = ENVIRONMENT | {
        "DIRECT_DATABASE_URL": "postgresql://coach:x@shared-postgres:5432/coach_credit",
        "CELERY_BROKER_URL": "redis://u:p@r:6379/5",
        "CELERY_RESULT_BACKEND": "redis://u:p@r:6379/9",
        "BACKEND_URL": "http://backend:3001",
    }
    with httpx.Client() as client:
        found = {wire.name: wire for wire in wires.configured_wires(read(everything), client)}
    assert [name for name, wire in found.items() if wire.required] == [
        *(
            "postgres",
            "postgres-direct",
            "redis",
            "broker",
            "results",
            "llm",
            "whisper",
            "langfuse",
            "backend",
        )
    ]
    assert [name for name, wire in found.items() if not wire.required] == ["ollama-heavy"]
    assert [name for name, wire in found.items() if wire.every_s] == ["llm"]


class Connection:
    """A Postgres that logs everybody in as one role to one database."""

    def __init__(self, role: str, database: str) -> None:
        self.role, self.database, self.prepared = role, database, 0

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, statement: str, values: tuple[int], *, prepare: bool) -> Connection:
        self.prepared += prepare
        self.row = (self.role, self.database, values[0] * 2)
        return self

    def fetchone(self) -> tuple[str, str, int]:
        return self.row


def test_postgres_is_the_url_s_role_and_database(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection("coach", "coach_credit")
    monkeypatch.setattr(psycopg, "connect", lambda url, **_: connection)
    wires.postgres(ENVIRONMENT["DATABASE_URL"])
    assert connection.prepared == 2
    with pytest.raises(WireError, match="is coach_credit as coach, not coach_credit as augmenter"):
        wires.postgres("postgresql://augmenter:x@pgbouncer:6432/coach_credit")


def test_a_refusing_postgres_is_reported_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise psycopg.OperationalError("connection failed:\nFATAL: password authentication failed")

    monkeypatch.setattr(psycopg, "connect", refuse)
    with pytest.raises(WireError, match=r"^FATAL: password authentication failed$"):
        wires.postgres("postgresql://u:hidden@h/d")


def test_nobody_listens() -> None:
    with httpx.Client() as client:
        with pytest.raises(WireError, match="ConnectError"):
            wires.answers(client, "http://127.0.0.1:1/docs")
        with pytest.raises(WireError):
            wires.write_key("redis://u:p@127.0.0.1:1/0")


def test_langfuse_is_asked_with_the_keys() -> None:
    def projects(request: Request) -> JSONResponse:
        known = request.headers.get("Authorization") == "Basic cGstbGYtMTpzay1sZi0x"
        return JSONResponse({"data": []}, status_code=200 if known else 401)

    with serving(Starlette(routes=[Route("/api/public/projects", projects)])) as client:
        settings = Settings(
            langfuse_url=str(client.base_url).rstrip("/"),
            langfuse_public_key="pk-lf-1",
            langfuse_secret_key="sk-lf-1",  # noqa: S106 - of this test
        )
        wires.langfuse(settings, client)
        with pytest.raises(WireError, match="HTTP 401"):
            wires.langfuse(changed(settings, langfuse_public_key="another"), client)


# --- health


class Check:
    """A check that counts, and fails while it has a problem."""

    def __init__(self, problem: str = "") -> None:
        self.problem, self.count = problem, 0

    def __call__(self) -> None:
        self.count += 1
        if self.problem:
            raise WireError(self.problem)


def entries(health: Health) -> dict[str, Any]:
    found = health.report()[1]["wires"]
    assert isinstance(found, dict)
    return found


def test_one_required_wire_is_enough_to_be_unhealthy() -> None:
    redis, ollama = Check(), Check("ConnectError")
    now = [0.0]
    health = Health([Wire("redis", redis), Wire("ollama", ollama, required=False)], lambda: now[0])
    assert health.report() == (
        True,
        {
            "status": "ok",
            "wires": {"redis": {"ok": True}, "ollama": {"ok": False, "problem": "ConnectError"}},
        },
    )
    redis.problem = "NOAUTH"
    assert health.report()[0], "a report is good for a moment"
    now[0] += 3
    assert health.report()[0] is False
    assert redis.count == 2


def test_a_dear_check_is_made_at_the_start_and_then_rarely() -> None:
    model, loaded = Check(), threading.Event()
    now = [0.0]

    def ask() -> None:
        assert loaded.wait(5)
        model()

    health = Health([Wire("llm", ask, every_s=600)], lambda: now[0])

    def becomes(entry: dict[str, object]) -> None:
        """The check runs in the background, so its result comes with one of the next reports."""
        deadline = time.monotonic() + 5
        while entries(health)["llm"] != entry:
            assert time.monotonic() < deadline
            now[0] += 0.01

    assert health.report()[0] is False, "not healthy before its first answer"
    loaded.set()
    becomes({"ok": True})
    now[0] = 590
    health.report()
    assert model.count == 1
    model.problem = "litellm: HTTP 401"
    now[0] = 610
    becomes({"ok": False, "problem": "litellm: HTTP 401"})
    model.problem = ""
    now[0] += 15  # what failed is tried again soon
    becomes({"ok": True})
    assert model.count == 3


def test_a_check_that_breaks_is_a_failure_without_details() -> None:
    def broken() -> None:
        raise KeyError("sk-secret")

    assert entries(Health([Wire("redis", broken)]))["redis"] == {"ok": False, "problem": "the check failed"}


@pytest.mark.parametrize(("problem", "status"), [("", 200), ("NOAUTH", 503)])
def test_health_over_http(problem: str, status: int) -> None:
    with serving(web.application(Health([Wire("redis", Check(problem))]), "backend")) as client:
        answer = client.get("/api/health")
        assert (answer.status_code, answer.json()["wires"]["redis"]["ok"]) == (status, not problem)
        assert "Scaffolding" in client.get("/").text


def test_the_probe_of_a_worker(tmp_path: Path) -> None:
    status = tmp_path / "status.json"
    assert probe.verdict(status, 100) == (1, "not ready yet")
    wires = {"redis": {"ok": True}, "queues": {"ok": False, "problem": "not consumed: etl"}}
    status.write_text(json.dumps({"healthy": False, "at": 90, "wires": wires}))
    assert probe.verdict(status, 100) == (1, "queues: not consumed: etl")
    status.write_text(json.dumps({"healthy": True, "at": 90, "wires": {}}))
    assert probe.verdict(status, 100) == (0, "ok")
    assert probe.verdict(status, 190) == (1, "no report for 100 s")
