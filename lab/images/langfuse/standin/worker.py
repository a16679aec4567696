"""The worker: takes queued events from the bucket into ClickHouse, and answers on port 3030 whether it is healthy."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from http.server import ThreadingHTTPServer
from typing import Any

from . import VERSION, ingestion, settings
from .answering import Answer, JsonHandler, say
from .stores import ClickHouse, Objects, Postgres, Queue, Row, StoreError

WAIT_S = 2


class Worker:
    """One job after the other."""

    def __init__(self, postgres: Postgres, clickhouse: ClickHouse, queue: Queue, objects: Objects) -> None:
        self.postgres, self.clickhouse, self.queue, self.objects = postgres, clickhouse, queue, objects
        self.stopping = False

    def step(self) -> bool:
        """Do the next job; False if there was none.

        :raises StoreError: a store failed; the job is queued again
        """
        job = self.queue.take(WAIT_S)
        if job is None:
            return False
        try:
            self.ingest(job)
        except StoreError:
            self.queue.put(job)
            raise
        return True

    def ingest(self, job: Row) -> None:
        """Turn the events of one trace, observation or score into its row."""
        table, project, entity = ingestion.TABLES[job["kind"]], job["project"], job["entity"]
        events = json.loads(self.objects.get(job["key"]))
        found = self.clickhouse.query(
            f"SELECT * FROM {table} FINAL WHERE project_id = {{project:String}} AND id = {{entity:String}}",  # noqa: S608
            {"project": project, "entity": entity},
        )
        row = ingestion.merged(events, entity, project, found[0] if found else None)
        self.clickhouse.insert(table, [row])
        log = {
            "id": f"{project}-{job['key']}",
            "project_id": project,
            "entity_type": job["kind"],
            "entity_id": entity,
            "event_id": job["event"],
            "bucket_name": job["bucket"],
            "bucket_path": job["key"],
            "event_ts": row["event_ts"],
            "is_deleted": 0,
        }
        self.clickhouse.insert("blob_storage_file_log", [log])

    def run(self) -> None:
        """Until told to stop; a store that fails is waited for."""
        while not self.stopping:
            try:
                self.step()
            except StoreError as error:
                say(f"error: {error}")
                time.sleep(1)


class Server(ThreadingHTTPServer):
    """Health."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], worker: Worker) -> None:
        self.worker = worker
        super().__init__(address, Handler)


class Handler(JsonHandler):
    """One request."""

    server: Server

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
        worker = self.server.worker
        if (method, path) not in (("GET", "/api/health"), ("GET", "/api/ready")):
            return Answer(404, {"error": "Not found"})
        if worker.stopping and (path == "/api/ready" or query.get("failIfSigterm") == "true"):
            return Answer(500, {"status": "SIGTERM / SIGINT received, shutting down"})
        try:
            worker.postgres.ping()
            worker.queue.ping()
        except StoreError as error:
            return Answer(500, {"status": "error", "error": str(error)})
        return Answer(200, {"status": "ok"})


def main() -> int:
    """Work until SIGTERM."""
    try:
        config = settings.read(os.environ, worker=True)
    except settings.SettingsError as error:
        say(f"Invalid environment variables:\n{error}")
        return 1
    worker = Worker(
        Postgres(config.database_url), ClickHouse(config), Queue(config.redis_url), Objects(config.bucket)
    )
    stores: dict[str, Any] = {"Postgres": worker.postgres, "ClickHouse": worker.clickhouse}
    for name, store in stores.items():
        try:
            store.ping()
        except StoreError as error:
            say(f"{name} is not there: {error}")
            return 1

    def stop(*_: object) -> None:
        worker.stopping = True
        threading.Thread(target=server.shutdown).start()

    server = Server((config.host, config.port), worker)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    jobs = threading.Thread(target=worker.run)
    jobs.start()
    say(f"Langfuse worker {VERSION} (stand-in) listening: http://localhost:{config.port}")
    server.serve_forever()
    jobs.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
