"""The Celery application, and the job that every queue accepts.

`celery -A scaffold.jobs …` works in the image as well, with the environment of the container.
"""

from __future__ import annotations

import os
import socket
import time

from celery import Celery

from .settings import Settings, read

RESULT_EXPIRES_S = 3600


def application(settings: Settings) -> Celery:
    """Celery with the broker and the results of the settings.

    A job is acknowledged once it is done, so a worker that dies loses no job. Results expire.
    """
    app = Celery("scaffold", broker=settings.broker_url, backend=settings.result_backend)
    app.conf.update(
        broker_connection_retry_on_startup=True,
        result_expires=RESULT_EXPIRES_S,
        task_acks_late=True,
        task_default_queue=settings.queues[0] if settings.queues else "default",
        task_track_started=True,
        worker_concurrency=settings.concurrency,
        worker_hijack_root_logger=False,
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,  # Flower shows every job
        task_send_sent_event=True,
    )
    app.task(name="scaffold.ping")(ping)
    from .voicejury import pipeline

    app.task(name=pipeline.NAME)(pipeline.job)
    return app


def ping(value: str = "pong") -> dict[str, object]:
    """Return the worker of this job, and the time (seconds since the epoch)."""
    return {"value": value, "worker": socket.gethostname(), "at": time.time()}


app = application(read(os.environ))
