"""The web container: the public API, health, and a page that says that there is no UI."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from typing import Any

from . import VERSION, ingestion, keys, settings
from .answering import Answer, JsonHandler, say
from .stores import Cache, ClickHouse, Objects, Postgres, Queue, Row, StoreError

PAGE = (
    "<!DOCTYPE html><html><head><title>Langfuse</title></head><body><h1>Langfuse (stand-in)</h1>"
    "<p>The lab has Langfuse's API, not its pages.</p></body></html>\n"
)
FILTERS = {
    # Query parameter → condition on the list's table.
    "name": "name = {name:String}",
    "userId": "user_id = {userId:String}",
    "sessionId": "session_id = {sessionId:String}",
    "traceId": "trace_id = {traceId:String}",
    "type": "type = {type:String}",
    "level": "level = {level:String}",
    "environment": "environment = {environment:String}",
    "parentObservationId": "parent_observation_id = {parentObservationId:String}",
}
TIMES = {
    "fromTimestamp": ("timestamp", ">="),
    "toTimestamp": ("timestamp", "<"),
    "fromStartTime": ("start_time", ">="),
    "toStartTime": ("start_time", "<"),
}
LISTS = {
    "/api/public/traces": ("traces", "timestamp", ("name", "userId", "sessionId", "environment")),
    "/api/public/observations": (
        "observations",
        "start_time",
        ("name", "traceId", "type", "level", "environment", "parentObservationId"),
    ),
    "/api/public/scores": ("scores", "timestamp", ("name", "environment")),
    "/api/public/v2/scores": ("scores", "timestamp", ("name", "environment")),
}
PARTS = ("observations", "scores")  # of a trace
MAX_LIMIT = 100


@dataclass(frozen=True)
class Project:
    """Whose keys a request came with."""

    id: str
    name: str


class Langfuse:
    """The API over the stores."""

    def __init__(
        self,
        postgres: Postgres,
        clickhouse: ClickHouse,
        queue: Queue,
        objects: Objects,
        cache: Cache,
        config: settings.Settings,
    ) -> None:
        self.postgres, self.clickhouse, self.queue, self.objects = postgres, clickhouse, queue, objects
        self.cache, self.config = cache, config
        self.stopping = False

    def health(self, query: Mapping[str, str]) -> Answer:
        """Alive; with `failIfDatabaseUnavailable=true` Postgres must be, too."""
        if query.get("failIfDatabaseUnavailable") == "true":
            try:
                self.postgres.ping()
            except StoreError as error:
                return Answer(
                    503, {"status": "Database not available", "error": str(error), "version": VERSION}
                )
        return Answer(200, {"status": "OK", "version": VERSION})

    def ready(self) -> Answer:
        """Ready for traffic. The real one looks at its shutdown alone; this one asks every store as well."""
        if self.stopping:
            return Answer(500, {"status": "SIGTERM / SIGINT received, shutting down", "version": VERSION})
        failed = []
        for store in (self.postgres, self.clickhouse, self.queue, self.objects):
            try:
                store.ping()
            except StoreError as error:
                failed.append(str(error))
        if failed:
            return Answer(503, {"status": "Readiness check failed", "errors": failed, "version": VERSION})
        return Answer(200, {"status": "OK", "version": VERSION})

    def scope(self, authorization: str) -> keys.Scope:
        """What the keys of a request open.

        :raises keys.RefusedError: nothing
        """
        return keys.scope(authorization, self.postgres, self.cache, self.config.salt)

    def project(self, scope: keys.Scope) -> Project:
        """The project that keys open.

        :raises keys.RefusedError: they are those of an organisation
        """
        if scope.project is None:
            raise keys.RefusedError("Access denied - need to use basic auth with secret key")
        return Project(scope.project, self.postgres.project_name(scope.project) or "")

    def projects(self, scope: keys.Scope) -> Answer:
        """The project that the keys are of; keys of an organisation have none."""
        if scope.project is None:
            return Answer(403, {"message": "Invalid API key. Are you using an organization key?"})
        project = self.project(scope)
        return Answer(200, {"data": [{"id": project.id, "name": project.name, "metadata": {}}]})

    def new_project(self, scope: keys.Scope) -> Answer:
        """Refused: an organisation's keys may do it, with a licence (entitlement `admin-api`)."""
        if scope.project is not None:
            message = "Invalid API key. Organization-scoped API key required for this operation."
            return Answer(403, {"message": message})
        return Answer(403, {"error": "This feature is not available on your current plan."})

    def ingest(self, project: Project, body: bytes) -> Answer:
        """A batch of events: valid ones go to the bucket and are queued, each other is refused by itself."""
        try:
            batch = json.loads(body)["batch"]
            if not isinstance(batch, list):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            return Answer(400, {"message": "Invalid request data", "errors": ["batch: Required"]})
        successes, errors = [], []
        for event in batch:
            try:
                number, kind, entity = ingestion.check(event)
            except ingestion.EventError as error:
                number = str(event.get("id", "")) if isinstance(event, dict) else ""
                errors.append(
                    {"id": number, "status": 400, "message": "Invalid request data", "error": str(error)}
                )
                continue
            if kind:
                bucket = self.config.bucket
                key = f"{bucket.prefix}{project.id}/{kind}/{entity}/{number}.json"
                self.objects.put(key, json.dumps([event]).encode())
                job = {"kind": kind, "entity": entity, "event": number, "key": key, "bucket": bucket.name}
                self.queue.put({**job, "project": project.id})
            successes.append({"id": number, "status": 201})
        return Answer(207, {"successes": successes, "errors": errors})

    def listed(self, path: str, project: Project, query: Mapping[str, str]) -> Answer:
        """A page of traces, observations or scores, the newest first."""
        table, order, filters = LISTS[path]
        try:
            page, limit = int(query.get("page", 1)), int(query.get("limit", 50))
            if page < 1 or not 1 <= limit <= MAX_LIMIT:
                raise ValueError
        except ValueError:
            return Answer(
                400, {"message": "Invalid request data", "error": f"page from 1, limit from 1 to {MAX_LIMIT}"}
            )
        conditions = ["project_id = {project:String}", *(FILTERS[name] for name in filters if name in query)]
        values: dict[str, object] = {"project": project.id, **{n: query[n] for n in filters if n in query}}
        for name, (column, comparison) in TIMES.items():
            if name in query and column == order:
                try:
                    values[name] = ingestion.milliseconds(query[name])
                except ingestion.EventError as error:
                    return Answer(400, {"message": "Invalid request data", "error": str(error)})
                conditions.append(f"{column} {comparison} {{{name}:DateTime64(3)}}")
        where = " AND ".join(conditions)
        counted = self.clickhouse.query(f"SELECT count() AS n FROM {table} FINAL WHERE {where}", values)  # noqa: S608
        total = int(counted[0]["n"])
        rows = self.clickhouse.query(
            f"SELECT * FROM {table} FINAL WHERE {where} ORDER BY {order} DESC"  # noqa: S608
            f" LIMIT {limit} OFFSET {(page - 1) * limit}",
            values,
        )
        meta = {"page": page, "limit": limit, "totalItems": total, "totalPages": -(-total // limit)}
        data = [shown(row) for row in rows]
        if table == "traces":  # of its parts, a list has the ids
            for each in data:
                each |= self._details(project, each["id"])
                each |= {part: [one["id"] for one in each[part]] for part in PARTS}
        return Answer(200, {"data": data, "meta": meta})

    def trace(self, project: Project, number: str) -> Answer:
        """One trace with its observations and scores."""
        values = {"project": project.id, "id": number}
        found = self.clickhouse.query(
            "SELECT * FROM traces FINAL WHERE project_id = {project:String} AND id = {id:String}", values
        )
        if not found:
            message = f"Trace {number} not found within authorized project"
            return Answer(404, {"message": message, "error": "LangfuseNotFoundError"})
        return Answer(200, shown(found[0]) | self._details(project, number))

    def _details(self, project: Project, number: str) -> dict[str, Any]:
        """What a trace is made of, what it cost and how long it took, in seconds."""
        values = {"project": project.id, "id": number}
        of_trace = "FINAL WHERE project_id = {project:String} AND trace_id = {id:String}"
        found = {table: self.clickhouse.query(f"SELECT * FROM {table} {of_trace}", values) for table in PARTS}  # noqa: S608
        parts = {table: [shown(row) for row in rows] for table, rows in found.items()}
        begun = [ingestion.moment(row["start_time"]) for row in found["observations"]]
        ended = [ingestion.moment(row.get("end_time") or row["start_time"]) for row in found["observations"]]
        return {
            **parts,
            "totalCost": sum(float(each["totalCost"] or 0) for each in parts["observations"]),
            "latency": (max(ended) - min(begun)).total_seconds() if begun else 0,
            "htmlPath": f"/project/{project.id}/traces/{number}",
        }


def shown(row: Row) -> dict[str, Any]:
    """A row as the API shows it: names in camel case, times of ISO 8601, durations in seconds."""
    hidden = ("is_deleted", "event_ts", "project_id")
    answer: dict[str, Any] = {"projectId": row["project_id"]}
    for name, value in row.items():
        first, *rest = name.split("_")
        if name in hidden:
            continue
        time = value and (name in ("timestamp", "created_at", "updated_at") or name.endswith("_time"))
        answer[first + "".join(part.title() for part in rest)] = (
            f"{value.replace(' ', 'T')}Z" if time else value
        )
    for name in ("input", "output"):
        if isinstance(row.get(name), str):
            with suppress(ValueError):
                answer[name] = json.loads(row[name])
    if "start_time" in row:
        answer["model"] = row.get("provided_model_name")
        begin, end = row["start_time"], row.get("end_time")
        answer["latency"] = (ingestion.moment(end) - ingestion.moment(begin)).total_seconds() if end else None
    return answer


class Server(ThreadingHTTPServer):
    """The web server."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], langfuse: Langfuse) -> None:
        self.langfuse = langfuse
        super().__init__(address, Handler)


class Handler(JsonHandler):
    """One request."""

    server: Server

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
        langfuse = self.server.langfuse
        match method, path:
            case "GET", "/api/public/health":
                return langfuse.health(query)
            case "GET", "/api/public/ready":
                return langfuse.ready()
            case "GET", "/" | "/auth/sign-in":
                return Answer(200, PAGE)
        if not path.startswith("/api/public/"):
            return Answer(404, {"message": "Not found"} if path.startswith("/api/") else PAGE)
        try:
            scope = langfuse.scope(self.headers.get("Authorization", ""))
            match method, path:
                case "GET", "/api/public/projects":
                    return langfuse.projects(scope)
                case "POST", "/api/public/projects":
                    return langfuse.new_project(scope)
            return self._entitled(langfuse.project(scope), method, path, query, body)
        except keys.RefusedError as error:
            return Answer(401, {"error": "UnauthorizedError", "message": str(error)})
        except StoreError as error:
            say(f"error: {error}")
            return Answer(500, {"message": "Internal Server Error", "error": str(error)})

    def _entitled(
        self, project: Project, method: str, path: str, query: dict[str, str], body: bytes
    ) -> Answer:
        langfuse = self.server.langfuse
        match method, path.split("/")[3:]:
            case "POST", ["ingestion"]:
                return langfuse.ingest(project, body)
            case "GET", ["traces", number]:
                return langfuse.trace(project, number)
            case "GET", _ if path in LISTS:
                return langfuse.listed(path, project, query)
        if path in LISTS or path in ("/api/public/ingestion", "/api/public/projects"):
            return Answer(405, {"message": "Method not allowed", "error": "MethodNotAllowedError"})
        return Answer(404, {"message": "The stand-in has no such endpoint", "error": "NotFoundError"})


def main() -> int:
    """Migrate, then serve until SIGTERM."""
    try:
        config = settings.read(os.environ, worker=False)
    except settings.SettingsError as error:
        say(f"Invalid environment variables:\n{error}")
        return 1
    langfuse = Langfuse(
        Postgres(config.database_url),
        ClickHouse(config),
        Queue(config.redis_url),
        Objects(config.bucket),
        Cache(config.redis_url),
        config,
    )
    try:
        langfuse.postgres.prepare(config.salt, config.initial)
    except StoreError as error:
        say(
            f"{error}\nApplying database migrations failed. This is mostly caused by the database being unavailable.\n"
            "Exiting..."
        )
        return 1
    try:
        langfuse.clickhouse.prepare()
    except StoreError as error:
        say(f"{error}\nApplying clickhouse migrations failed. Exiting...")
        return 1
    for store in (langfuse.queue, langfuse.objects):  # the real one notices when it needs them
        try:
            store.ping()
        except StoreError as error:
            say(f"warning: {error}")

    def stop(*_: object) -> None:
        langfuse.stopping = True
        threading.Thread(target=server.shutdown).start()

    server = Server((config.host, config.port), langfuse)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    say(f"Langfuse {VERSION} (stand-in) ready: http://{config.host}:{config.port}")
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
