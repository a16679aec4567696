"""The stand-in for Langfuse: what it refuses to start without, its API, and the way of a trace to ClickHouse."""

from __future__ import annotations

import hashlib
import re
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import bcrypt
import httpx
import pytest

from blueprint.model import Service
from lab.images.langfuse.standin import ingestion, settings, stores, tables
from lab.images.langfuse.standin import web as webserver
from lab.images.langfuse.standin import worker as background
from tests.unit.declared import declared

ENVIRONMENT = {
    "DATABASE_URL": "postgresql://langfuse:p%40ss@shared-postgres:5432/langfuse",
    "SALT": "salt",
    "ENCRYPTION_KEY": "0" * 64,
    "NEXTAUTH_URL": "https://langfuse.augmenter.pro",
    "NEXTAUTH_SECRET": "secret",
    "CLICKHOUSE_URL": "http://clickhouse:8123",
    "CLICKHOUSE_MIGRATION_URL": "clickhouse://clickhouse:9000",
    "CLICKHOUSE_USER": "clickhouse",
    "CLICKHOUSE_PASSWORD": "password",
    "CLICKHOUSE_CLUSTER_ENABLED": "false",
    "LANGFUSE_S3_EVENT_UPLOAD_BUCKET": "langfuse",
    "LANGFUSE_S3_EVENT_UPLOAD_ENDPOINT": "http://minio:9000",
    "LANGFUSE_S3_EVENT_UPLOAD_ACCESS_KEY_ID": "user",
    "LANGFUSE_S3_EVENT_UPLOAD_SECRET_ACCESS_KEY": "secret key",
    "LANGFUSE_S3_EVENT_UPLOAD_FORCE_PATH_STYLE": "true",
    "LANGFUSE_S3_EVENT_UPLOAD_PREFIX": "events/",
    "REDIS_CONNECTION_STRING": "redis://langfuse:x@shared-redis:6379/4",
}
KEYS = ("pk-lf-1", "sk-lf-1")
EVERYWHERE = "0.0.0.0"  # noqa: S104 - compared only
BATCH: list[dict[str, Any]] = [
    {
        "id": "e1",
        "type": "trace-create",
        "timestamp": "2026-02-25T20:00:00.000Z",
        "body": {
            "id": "t1",
            "name": "jury",
            "input": {"song": 1},
            "tags": ["project:voicejury"],
            "userId": "u",
        },
    },
    {
        "id": "e2",
        "type": "generation-create",
        "timestamp": "2026-02-25T20:00:00.100Z",
        "body": {
            "id": "g1",
            "traceId": "t1",
            "name": "litellm",
            "model": "qwen3-heavy",
            "startTime": "2026-02-25T20:00:00.100Z",
            "usage": {"promptTokens": 3, "completionTokens": 4, "totalCost": 0.25},
            "metadata": {"route": "heavy", "depth": 2},
        },
    },
    {
        "id": "e3",
        "type": "generation-update",
        "timestamp": "2026-02-25T20:00:31.600Z",
        "body": {"id": "g1", "endTime": "2026-02-25T20:00:31.600Z", "output": "encore"},
    },
    {
        "id": "e4",
        "type": "score-create",
        "timestamp": "2026-02-25T20:01:00Z",
        "body": {"id": "s1", "traceId": "t1", "name": "quality", "value": 0.5},
    },
]


@pytest.fixture(autouse=True)
def quick_bcrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hash with the fewest rounds that bcrypt takes: Langfuse's take these tests ten times as long."""
    gensalt = bcrypt.gensalt

    def quick(rounds: int) -> bytes:
        assert rounds == 11
        return gensalt(4)

    monkeypatch.setattr(bcrypt, "gensalt", quick)


# --- settings


def test_a_whole_environment_is_enough() -> None:
    found = settings.read(ENVIRONMENT, worker=False)
    assert (found.host, found.port, found.clickhouse_database) == (EVERYWHERE, 3000, "default")
    for worker in (False, True):
        assert settings.read(ENVIRONMENT | {"HOSTNAME": "3f2a"}, worker=worker).host == "3f2a"
    without = {name: value for name, value in ENVIRONMENT.items() if name not in settings.WEB_ONLY}
    assert settings.read(without, worker=True).port == 3030


def declared_container(name: str) -> Service:
    services = (service for stack in declared().shared_stacks for service in stack.services)
    (service,) = (service for service in services if service.name == name)
    return service


@pytest.mark.parametrize("name", ["langfuse-web", "langfuse-worker"])
def test_the_declared_containers_have_their_memory_for_node_s_heap(name: str) -> None:
    service = declared_container(name)
    assert service.env["NODE_OPTIONS"] == f"--max-old-space-size={service.memory_mib}"


@pytest.mark.parametrize("name", ["langfuse-web", "langfuse-worker"])
def test_the_declared_containers_answer_their_own_health_check(name: str) -> None:
    service = declared_container(name)
    # As Docker has it: its own HOSTNAME, unless the container is given another.
    environment = {"HOSTNAME": name} | {key: str(value) for key, value in service.env.items()}
    assert settings.read(ENVIRONMENT | environment, worker=name == "langfuse-worker").host == EVERYWHERE


@pytest.mark.parametrize("missing", sorted({*ENVIRONMENT} - {"LANGFUSE_S3_EVENT_UPLOAD_PREFIX"}))
@pytest.mark.parametrize("left", ["empty", "absent"])
def test_it_does_not_start_without(missing: str, left: str) -> None:
    environment = ENVIRONMENT | {missing: ""}
    if left == "absent":
        del environment[missing]
    name = "REDIS_HOST" if missing == "REDIS_CONNECTION_STRING" else missing
    with pytest.raises(settings.SettingsError, match=f"^{name}: "):
        settings.read(environment, worker=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENCRYPTION_KEY", "0" * 63),
        ("ENCRYPTION_KEY", "g" * 64),
        ("DATABASE_URL", "mysql://x"),
        ("CLICKHOUSE_MIGRATION_URL", "http://clickhouse:8123"),
        ("CLICKHOUSE_CLUSTER_ENABLED", "true"),
        ("LANGFUSE_S3_EVENT_UPLOAD_FORCE_PATH_STYLE", "false"),
    ],
)
def test_it_does_not_start_with(name: str, value: str) -> None:
    with pytest.raises(settings.SettingsError, match=name) as refused:
        settings.read(ENVIRONMENT | {name: value}, worker=False)
    assert "p%40ss" not in str(refused.value)


def test_redis_in_parts() -> None:
    parts = {
        "REDIS_CONNECTION_STRING": "",
        "REDIS_HOST": "shared-redis",
        "REDIS_AUTH": "a/b@c",
        "REDIS_USERNAME": "lf",
    }
    assert (
        settings.read(ENVIRONMENT | parts, worker=False).redis_url
        == "redis://lf:a%2Fb%40c@shared-redis:6379/0"
    )


# --- stores in memory


@dataclass
class Store:
    """A store that answers, or does not."""

    down: str = ""

    def ping(self) -> None:
        if self.down:
            raise stores.StoreError(self.down)


@dataclass
class Postgres(Store):
    """A project with a key pair, and whatever a test adds."""

    keys: list[dict[str, Any]] = field(default_factory=lambda: [key_row(*KEYS, "shared")])

    def key(self, column: str, value: str) -> dict[str, Any] | None:
        self.ping()
        return next((dict(key) for key in self.keys if key[column] == value), None)

    def note_hash(self, public_key: str, quick: str) -> None:
        for key in self.keys:
            if key["public_key"] == public_key:
                key["fast_hashed_secret_key"] = quick

    def project_name(self, project: str) -> str | None:
        return {"shared": "SourceFast"}.get(project)


def key_row(public: str, secret: str, project: str | None, quick: bool = True) -> dict[str, Any]:
    """A pair as the database has it; as an old version left it without the quick hash."""
    return {
        "public_key": public,
        "hashed_secret_key": stores.slowly_hashed(secret),
        "fast_hashed_secret_key": stores.hashed(secret, "salt") if quick else None,
        "project_id": project,
        "org_id": "sourcefast",
    }


@dataclass
class Cache(Store):
    """Redis."""

    content: dict[str, Any] = field(default_factory=dict)

    def get(self, quick: str) -> Any:
        return self.content.get(quick)

    def put(self, quick: str, key: Any) -> None:
        self.content[quick] = key


@dataclass
class Objects(Store):
    """A bucket."""

    content: dict[str, bytes] = field(default_factory=dict)

    def put(self, key: str, content: bytes) -> None:
        self.ping()
        self.content[key] = content

    def get(self, key: str) -> bytes:
        return self.content[key]


@dataclass
class Queue(Store):
    """What is to be done."""

    jobs: list[dict[str, Any]] = field(default_factory=list)

    def put(self, job: dict[str, Any]) -> None:
        self.jobs.append(job)

    def take(self, seconds: int) -> dict[str, Any] | None:
        return self.jobs.pop(0) if self.jobs else None


@dataclass
class ClickHouse(Store):
    """Tables that keep the newest row of an id; understands the conditions that the stand-in writes."""

    tables: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def insert(self, table: str, rows: list[dict[str, Any]]) -> None:
        self.ping()
        defaults = {"created_at": "2026-02-25 20:02:00.000", "updated_at": "2026-02-25 20:02:00.000"}
        self.tables.setdefault(table, {}).update({row["id"]: defaults | row for row in rows})

    def query(self, statement: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        self.ping()
        self.asked.append(statement)
        found = re.search(
            r"FROM (\w+) FINAL WHERE (.*?)(?: ORDER BY (\w+) DESC LIMIT (\d+) OFFSET (\d+))?$", statement
        )
        assert found and parameters
        rows = [
            row for row in self.tables.get(found[1], {}).values() if self._meets(row, found[2], parameters)
        ]
        if "count()" in statement:
            return [{"n": len(rows)}]
        if found[3]:
            rows.sort(key=lambda row: str(row[found[3]]), reverse=True)
            return rows[int(found[5]) : int(found[5]) + int(found[4])]
        return rows

    @staticmethod
    def _meets(row: dict[str, Any], where: str, values: Mapping[str, object]) -> bool:
        for condition in where.split(" AND "):
            column, operator, value = condition.split(" ")
            expected, actual = str(values[value.strip("{}").partition(":")[0]]), str(row.get(column))
            if not {"=": actual == expected, ">=": actual >= expected, "<": actual < expected}[operator]:
                return False
        return True


@dataclass
class Langfuse:
    """Web and worker over one set of stores."""

    postgres: Postgres
    clickhouse: ClickHouse
    queue: Queue
    objects: Objects
    cache: Cache
    api: httpx.Client
    web: webserver.Langfuse
    worker: background.Worker

    def work(self) -> None:
        while self.worker.step():
            pass


@pytest.fixture
def langfuse() -> Iterator[Langfuse]:
    parts: tuple[Any, Any, Any, Any] = (Postgres(), ClickHouse(), Queue(), Objects())
    cache: Any = Cache()
    web = webserver.Langfuse(*parts, cache, settings.read(ENVIRONMENT, worker=False))
    with webserver.Server(("127.0.0.1", 0), web) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}", auth=KEYS) as api:
            yield Langfuse(*parts, cache, api, web, background.Worker(*parts))
        server.shutdown()


# --- the API


def test_health_needs_no_key_and_no_store(langfuse: Langfuse) -> None:
    langfuse.postgres.down = "Postgres: gone"
    assert httpx.get(langfuse.api.base_url.join("/api/public/health")).json() == {
        "status": "OK",
        "version": "3.112.0",
    }
    failing = langfuse.api.get("/api/public/health?failIfDatabaseUnavailable=true")
    assert failing.status_code == 503 and failing.json()["error"] == "Postgres: gone"


@pytest.mark.parametrize("store", ["postgres", "clickhouse", "queue", "objects"])
def test_ready_means_every_store(langfuse: Langfuse, store: str) -> None:
    assert langfuse.api.get("/api/public/ready").status_code == 200
    getattr(langfuse, store).down = f"{store} is gone"
    unready = langfuse.api.get("/api/public/ready")
    assert unready.status_code == 503 and unready.json()["errors"] == [f"{store} is gone"]


def test_it_is_not_ready_while_it_ends(langfuse: Langfuse) -> None:
    langfuse.web.stopping = True
    assert langfuse.api.get("/api/public/ready").status_code == 500


@pytest.mark.parametrize(
    "authorization",
    ["", "Basic", "Basic %%%", f"Bearer {KEYS[1]}", f"Basic {b64encode(b'pk-lf-1:wrong').decode()}"],
)
def test_others_keys_are_refused(langfuse: Langfuse, authorization: str) -> None:
    for method, path in (("POST", "ingestion"), ("GET", "traces"), ("GET", "projects"), ("GET", "nothing")):
        address = langfuse.api.base_url.join(f"/api/public/{path}")
        answer = httpx.request(
            method, address, headers={"Authorization": authorization} if authorization else {}
        )
        assert answer.status_code == 401 and answer.json()["error"] == "UnauthorizedError"


def test_the_secret_key_alone_decides_and_is_found_in_the_cache_from_then_on(langfuse: Langfuse) -> None:
    assert langfuse.api.get("/api/public/projects", auth=("pk-lf-any", KEYS[1])).status_code == 200
    langfuse.postgres.keys.clear()
    assert langfuse.api.get("/api/public/projects").status_code == 200
    langfuse.cache.content.clear()
    assert langfuse.api.get("/api/public/projects").status_code == 401


def test_a_pair_that_there_was_not_stays_unknown_until_the_cache_has_forgotten_it(langfuse: Langfuse) -> None:
    later = ("pk-lf-2", "sk-lf-2")
    assert langfuse.api.get("/api/public/projects", auth=later).status_code == 401
    langfuse.postgres.keys.append(key_row(*later, "shared"))
    assert langfuse.api.get("/api/public/projects", auth=later).status_code == 401
    del langfuse.cache.content[stores.hashed("sk-lf-2", "salt")]
    assert langfuse.api.get("/api/public/projects", auth=later).status_code == 200


def test_a_pair_of_an_old_version_is_found_by_its_slow_hash_once(langfuse: Langfuse) -> None:
    langfuse.postgres.keys[:] = [key_row(*KEYS, "shared", quick=False)]
    assert langfuse.api.get("/api/public/projects", auth=(KEYS[0], "sk-lf-2")).status_code == 401
    assert langfuse.api.get("/api/public/projects").status_code == 200
    assert langfuse.postgres.keys[0]["fast_hashed_secret_key"] == stores.hashed(KEYS[1], "salt")


def test_projects_are_made_with_a_licence_only(langfuse: Langfuse) -> None:
    organisation = ("pk-lf-o", "sk-lf-o")
    langfuse.postgres.keys.append(key_row(*organisation, None))
    of_project = langfuse.api.post("/api/public/projects", json={"name": "shop"})
    assert (of_project.status_code, "Organization-scoped" in of_project.json()["message"]) == (403, True)
    licensed = langfuse.api.post("/api/public/projects", json={"name": "shop"}, auth=organisation)
    assert licensed.json() == {"error": "This feature is not available on your current plan."}
    assert langfuse.api.get("/api/public/projects", auth=organisation).status_code == 403
    assert langfuse.api.get("/api/public/traces", auth=organisation).status_code == 401


def test_the_page_says_what_it_is(langfuse: Langfuse) -> None:
    assert "stand-in" in langfuse.api.get("/").text
    assert langfuse.api.get("/nothing").status_code == 404
    assert langfuse.api.get("/api/public/ingestion").status_code == 405
    assert langfuse.api.get("/api/public/prompts").status_code == 404
    assert langfuse.api.get("/api/public/projects").json()["data"][0]["id"] == "shared"


def test_events_go_to_the_bucket_and_are_queued(langfuse: Langfuse) -> None:
    bad = [{"id": "b1", "type": "nothing"}, {"id": "b2", "type": "trace-create"}, 7]
    ignored = [{"id": "log", "type": "sdk-log", "timestamp": "2026-02-25T20:00:00Z", "body": {}}]
    answer = langfuse.api.post(
        "/api/public/ingestion", json={"batch": [*BATCH, *bad, *ignored], "metadata": {}}
    )
    assert answer.status_code == 207
    assert [each["id"] for each in answer.json()["successes"]] == ["e1", "e2", "e3", "e4", "log"]
    assert [(each["id"], each["status"]) for each in answer.json()["errors"]] == [
        ("b1", 400),
        ("b2", 400),
        ("", 400),
    ]
    assert set(langfuse.objects.content) == {
        "events/shared/trace/t1/e1.json",
        "events/shared/observation/g1/e2.json",
        "events/shared/observation/g1/e3.json",
        "events/shared/score/s1/e4.json",
    }
    assert langfuse.clickhouse.tables == {}


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"batch": {}}'])
def test_something_else_than_a_batch_is_refused(langfuse: Langfuse, body: str) -> None:
    assert langfuse.api.post("/api/public/ingestion", content=body).status_code == 400


def test_a_bucket_that_does_not_answer_loses_nothing_silently(langfuse: Langfuse) -> None:
    langfuse.objects.down = "S3 bucket langfuse: 404 Not Found"
    answer = langfuse.api.post("/api/public/ingestion", json={"batch": BATCH})
    assert answer.status_code == 500 and "404" in answer.json()["error"] and not langfuse.queue.jobs


def test_the_worker_makes_rows_of_them(langfuse: Langfuse) -> None:
    langfuse.api.post("/api/public/ingestion", json={"batch": BATCH})
    langfuse.work()
    trace = langfuse.api.get("/api/public/traces/t1").json()
    assert (trace["name"], trace["tags"], trace["input"]) == ("jury", ["project:voicejury"], {"song": 1})
    assert trace["totalCost"] == 0.25 and [score["value"] for score in trace["scores"]] == [0.5]
    [generation] = trace["observations"]
    assert generation["type"] == "GENERATION" and generation["model"] == "qwen3-heavy"
    assert (generation["output"], generation["latency"]) == ("encore", 31.5)
    assert generation["usageDetails"] == {"input": 3, "output": 4, "total": 7}
    assert generation["metadata"] == {"route": "heavy", "depth": "2"}
    assert len(langfuse.clickhouse.tables["blob_storage_file_log"]) == 4


def test_lists_are_filtered_and_paged(langfuse: Langfuse) -> None:
    langfuse.api.post("/api/public/ingestion", json={"batch": BATCH})
    langfuse.work()

    def names(query: str) -> list[str]:
        return [each["id"] for each in langfuse.api.get(f"/api/public/{query}").json()["data"]]

    assert names("observations?type=GENERATION&traceId=t1") == ["g1"]
    assert names("observations?fromStartTime=2026-02-25T20:00:00Z&toStartTime=2026-02-25T20:00:01Z") == ["g1"]
    assert names("observations?fromStartTime=2026-02-25T20:00:01Z") == []
    assert names("traces?userId=u&name=jury") == ["t1"]
    assert names("traces?userId=nobody") == []
    assert names("v2/scores") == ["s1"]
    meta = langfuse.api.get("/api/public/traces?page=2&limit=1").json()["meta"]
    assert meta == {"page": 2, "limit": 1, "totalItems": 1, "totalPages": 1}
    for wrong in ("page=0", "limit=101", "limit=x", "fromTimestamp=yesterday"):
        assert langfuse.api.get(f"/api/public/traces?{wrong}").status_code == 400
    assert langfuse.api.get("/api/public/traces/gone").status_code == 404


# What the OpenAPI description of release 3.112.0 requires: of a trace, in a list or alone, an observation, a score.
REQUIRED = {
    "traces": {"id", "timestamp", "htmlPath", "latency", "observations", "scores", "totalCost"},
    "observations": {"id", "level", "startTime", "type"},
    "scores": {"createdAt", "id", "name", "source", "timestamp", "traceId", "updatedAt", "value"},
    "v2/scores": {"createdAt", "id", "name", "source", "timestamp", "updatedAt", "value"},
}


def test_answers_have_what_the_vendor_s_description_requires(langfuse: Langfuse) -> None:
    taken = langfuse.api.post("/api/public/ingestion", json={"batch": [*BATCH, {"id": "e"}]}).json()
    assert all({"id", "status"} <= set(each) for each in [*taken["successes"], *taken["errors"]])
    assert taken["errors"], "nothing was wrong"
    langfuse.work()
    for name, required in REQUIRED.items():
        answer = langfuse.api.get(f"/api/public/{name}").json()
        assert set(answer["meta"]) == {"page", "limit", "totalItems", "totalPages"}
        assert answer["data"] and all(required <= set(each) for each in answer["data"]), name
    [trace] = langfuse.api.get("/api/public/traces").json()["data"]
    assert (trace["observations"], trace["scores"], trace["latency"]) == (["g1"], ["s1"], 31.5)
    whole = langfuse.api.get("/api/public/traces/t1").json()
    assert REQUIRED["traces"] <= set(whole)
    assert all(REQUIRED[part] <= set(each) for part in ("observations", "scores") for each in whole[part])
    [project] = langfuse.api.get("/api/public/projects").json()["data"]
    assert {"id", "name", "metadata"} <= set(project)
    assert set(langfuse.api.get("/api/public/health").json()) == {"status", "version"}


# --- the worker


def test_a_job_whose_store_fails_is_not_lost(langfuse: Langfuse) -> None:
    langfuse.api.post("/api/public/ingestion", json={"batch": BATCH[:1]})
    langfuse.clickhouse.down = "ClickHouse: gone"
    with pytest.raises(stores.StoreError):
        langfuse.worker.step()
    langfuse.clickhouse.down = ""
    assert langfuse.worker.step() and not langfuse.worker.step()
    assert set(langfuse.clickhouse.tables["traces"]) == {"t1"}


def test_the_worker_is_healthy_with_postgres_and_redis(langfuse: Langfuse) -> None:
    with background.Server(("127.0.0.1", 0), langfuse.worker) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}") as api:
            assert api.get("/api/health").json() == {"status": "ok"}
            assert api.get("/").status_code == 404
            langfuse.queue.down = "Redis: gone"
            assert api.get("/api/health").status_code == 500
            langfuse.queue.down = ""
            langfuse.worker.stopping = True
            assert [api.get(f"/api/{path}").status_code for path in ("health", "ready")] == [200, 500]
        server.shutdown()


# --- details


def test_an_update_keeps_what_it_does_not_say() -> None:
    first = ingestion.merged(BATCH[1:2], "g1", "shared", None)
    second = ingestion.merged(BATCH[2:3], "g1", "shared", first)
    assert (
        second["start_time"] == "2026-02-25 20:00:00.100" and second["end_time"] == "2026-02-25 20:00:31.600"
    )
    assert second["trace_id"] == "t1" and second["provided_model_name"] == "qwen3-heavy"


def test_requests_to_s3_are_signed_as_curl_signs_them() -> None:
    received: dict[str, str] = {}

    class Storage(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            received.update({name.lower(): value for name, value in self.headers.items()})
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Storage) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        signer = ("--aws-sigv4", "aws:amz:eu-west-3:s3", "--user", "user:a secret/key")
        content = (
            f"x-amz-content-sha256: {hashlib.sha256().hexdigest()}"  # curl before 8 does not say it by itself
        )
        address = f"{endpoint}/langfuse/a/b.json"
        subprocess.run(["curl", "-sS", "--noproxy", "*", *signer, "-H", content, address], check=True)
        server.shutdown()
    bucket = settings.Bucket(endpoint, "langfuse", "user", "a secret/key", "eu-west-3", "")
    now = time.strptime(received["x-amz-date"], "%Y%m%dT%H%M%SZ")
    ours = stores.signed(bucket, "GET", "/langfuse/a/b.json", b"", now)
    assert ours["authorization"].rpartition("=")[2] == received["authorization"].rpartition("=")[2]


def test_every_table_that_is_filled_is_created() -> None:
    created = {re.search(r"EXISTS (\w+)", statement)[1] for statement in tables.CLICKHOUSE}  # type: ignore[index]
    assert {*ingestion.TABLES.values(), "blob_storage_file_log"} < created


def test_secret_keys_are_hashed_as_langfuse_hashes_them() -> None:
    # node's crypto, over the lines of packages/shared/src/server/auth/apiKeys.ts
    vector = "ed6818ada09bdad405a74ac72773dde1708dd3fc6fe8bb81b59927400419d227"
    assert stores.hashed("sk-lf-1234567890", "salt") == vector
    assert stores.is_hash_of("sk-lf-1", stores.slowly_hashed("sk-lf-1"))
    assert not stores.is_hash_of("sk-lf-1", "no hash")
