"""A Celery worker that says how it is: its wires, and whether it is consuming its queues."""

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
from .wires import Wire, WireError, laid

STATUS = Path(os.environ.get("SCAFFOLD_STATUS", "/tmp/scaffold-health.json"))  # noqa: S108 - a container's own
EVERY_S = 15.0
HEARTBEAT_S = 30.0  # Celery's event loop beats every 2 s while it has its broker
INSPECT_S = 5.0
_log = logging.getLogger("scaffold.worker")


class Watcher:
    """Writes how the worker is to a file, for `scaffold-health`.

    :param name: the worker's among all that share its broker, NAME@HOST
    """

    def __init__(self, settings: Settings, name: str, status: Path = STATUS) -> None:
        self._settings, self._name, self._status = settings, name, status
        self._beat = time.monotonic()
        self._client = httpx.Client()
        self._health = Health([*laid(settings, self._client), Wire("queues", self._consuming)])

    def beat(self, **_: object) -> None:
        """The event loop is alive, and so is its connection."""
        self._beat = time.monotonic()

    def start(self, **_: object) -> None:
        """Write from now on, beside the worker."""
        threading.Thread(target=self._write, name="scaffold-health", daemon=True).start()

    def write(self) -> None:
        """Write once, whole or not at all."""
        well, content = self._health.report()
        temporary = self._status.with_suffix(".new")
        temporary.write_text(json.dumps({"well": well, "at": time.time(), **content}))
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
            found = app.control.inspect(destination=[self._name], timeout=INSPECT_S).active_queues() or {}
        except Exception as error:  # whatever the transport raises
            raise WireError(f"cannot be asked: {type(error).__name__}") from None
        names = {queue["name"] for queue in found.get(self._name, [])}
        if missing := sorted({*self._settings.queues} - names):
            raise WireError(f"not consumed: {', '.join(missing)}")


def run(settings: Settings) -> int:
    """Work until SIGTERM, then finish what was begun.

    Jobs run in threads: what they do here is to wait for the network, and a process for each would cost its memory.
    """
    name = f"{settings.queues[0]}@{socket.gethostname()}"
    watcher = Watcher(settings, name)
    STATUS.unlink(missing_ok=True)  # of the container's last life
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
