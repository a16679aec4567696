"""Monitors that follow from what is declared elsewhere: services, Ollama, whisper, cron jobs (requirements 10.3)."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from blueprint.model import CronJob, Http, Monitor, OllamaInstance, Service, Whisper
from blueprint.model.cron import MINUTES_A_WEEK, minutes_of_week
from blueprint.names import REDIS

# Seconds that a job's heartbeat may be late beyond what it is known to take.
LATE_S = 120


def service_monitors(services: Iterable[Service], besides: Collection[str] = ()) -> list[Monitor]:
    """One for each service: what its health asks, seen from another container; its port where that is a command.

    A service that listens on no port cannot be asked, and has none.

    :param besides: names of services that have none, because another monitor asks them more
    """
    monitors = []
    for service in services:
        if service.name in besides:
            continue
        health = service.health
        if isinstance(health, Http):
            address = f"{service.name}:{health.port or service.port}"
            monitors.append(Monitor(name=service.name, url=f"http://{address}{health.path}"))
        elif service.port is not None:
            monitors.append(Monitor(name=service.name, tcp=f"{service.name}:{service.port}"))
    return monitors


def ollama_monitors(instances: Iterable[OllamaInstance]) -> list[Monitor]:
    """One for each instance, on the host, as containers reach it."""
    return [
        Monitor(name=f"ollama-{instance.name}", url=f"http://host.docker.internal:{instance.port}/api/tags")
        for instance in instances
    ]


def whisper_monitor(whisper: Whisper) -> Monitor:
    """The recogniser's page, which it serves once its model is loaded."""
    return Monitor(name=whisper.name, url=f"{whisper.url}/docs")


def redis_monitor(user: str) -> Monitor:
    """Redis answers PING.

    :param user: one that may do just that; its password is the secret `redis/<user>`
    """
    return Monitor(name=REDIS, connection=f"redis://{user}:{{redis/{user}}}@{REDIS}:6379")


def web_monitor() -> Monitor:
    """Somebody serves the web on the host, our proxy or Coolify's."""
    return Monitor(name="proxy", tcp="host.docker.internal:443")


def job_monitors(jobs: Iterable[CronJob]) -> list[Monitor]:
    """One for each cron job: down when it failed, and when it did not end in time."""
    return [
        Monitor(name=job.name, push=True, interval_s=heartbeat_interval_s(job), retries=0) for job in jobs
    ]


def heartbeat_interval_s(job: CronJob) -> int:
    """Seconds from the end of one run of a job to that of the next, at the longest."""
    starts = sorted(minutes_of_week(job.schedule))
    gaps = [
        later - earlier
        for earlier, later in zip(starts, [*starts[1:], starts[0] + MINUTES_A_WEEK], strict=True)
    ]
    return 60 * (max(gaps) + job.lasts_min) + job.wait_s + LATE_S


def heartbeat(token: str, port: int) -> str:
    """Where a job's heartbeat goes, as curl reads it (`--config`): for files/monitoring/heartbeat.sh.

    :param token: of its push monitor
    :param port: of Uptime Kuma on the host's loopback
    """
    return f'url = "http://127.0.0.1:{port}/api/push/{token}"\n'
