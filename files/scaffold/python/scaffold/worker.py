"""A Celery worker that reports its health: its wires, and whether it consumes its queues."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from pathlib import Path

import httpx
from celery import signals

from .health import Health
from .jobs import app
from .settings import Settings
from .wires import Wire, WireError, configured_wires

STATUS = Path(os.environ.get("SCAFFOLD_STATUS", "/tmp/scaffold-health.json"))  # noqa: S108 - a container's own
EVERY_S = 15.0
HEARTBEAT_S = 30.0  # Celery's event loop beats every 2 s while it has its broker
INSPECT_S = 5.0
_log = logging.getLogger("scaffold.worker")


class Watcher:
    """Writes the health of the worker to a file, for `scaffold-health`.

    :param name: name of the worker, NAME@HOST, unique among the workers of a broker
    """

    def __init__(self, settings: Settings, name: str, status: Path = STATUS) -> None:
        self._settings, self._name, self._status = settings, name, status
        self._beat = time.monotonic()
        self._client = httpx.Client()
        self._health = Health([*configured_wires(settings, self._client), Wire("queues", self._consuming)])

    def beat(self, **_: object) -> None:
        """Note that the event loop and its connection are alive."""
        self._beat = time.monotonic()

    def start(self, **_: object) -> None:
        """Write from now on, in a thread beside the worker."""
        threading.Thread(target=self._write, name="scaffold-health", daemon=True).start()

    def write(self) -> None:
        """Write once, atomically."""
        healthy, content = self._health.report()
        temporary = self._status.with_suffix(".new")
        temporary.write_text(json.dumps({"healthy": healthy, "at": time.time(), **content}))
        temporary.replace(self._status)

    def _write(self) -> None:
        while True:
            try:
                self.write()
            except OSError:
                _log.exception("cannot write %s", self._status)
            time.sleep(EVERY_S)

    def _consuming(self) -> None:
        silent = time.monotonic() - self._beat
        if silent > HEARTBEAT_S:
            raise WireError(f"no heartbeat for {silent:.0f} s")
        try:
            active = app.control.inspect(destination=[self._name], timeout=INSPECT_S).active_queues() or {}
        except Exception as error:  # whatever the transport raises
            raise WireError(f"no inspection: {type(error).__name__}") from None
        names = {queue["name"] for queue in active.get(self._name, [])}
        if missing := sorted({*self._settings.queues} - names):
            raise WireError(f"not consumed: {', '.join(missing)}")


def run(settings: Settings) -> int:
    """Work until SIGTERM, then finish the jobs that have begun.

    Jobs run in threads, because they mostly wait for the network, and a process for each would take more memory.
    """
    name = f"{settings.queues[0]}@{socket.gethostname()}"
    watcher = Watcher(settings, name)
    STATUS.unlink(missing_ok=True)  # of the container's last run
    signals.heartbeat_sent.connect(watcher.beat, weak=False)
    signals.worker_ready.connect(watcher.start, weak=False)
    app.worker_main(
        [
            "worker",
            f"--hostname={name}",
            f"--queues={','.join(settings.queues)}",
            f"--concurrency={settings.concurrency}",
            "--pool=threads",
            "--loglevel=INFO",
            "--without-mingle",
        ]
    )
    return 0
