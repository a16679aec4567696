"""Monitors that follow from what is declared elsewhere: services, Ollama, whisper, cron jobs (requirements 10.3)."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from blueprint.model import CronJob, Http, Monitor, OllamaInstance, Service, Whisper
from blueprint.model.cron import MINUTES_A_WEEK, minutes_of_week
from blueprint.names import REDIS

# Seconds that a job's heartbeat may be late, beyond the job's declared duration.
LATE_S = 120


def service_monitors(services: Iterable[Service], excluded: Collection[str] = ()) -> list[Monitor]:
    """A monitor for each service with a port: the URL of its health check, or the port if that check is a command.

    :param excluded: names of services without one, because another monitor covers them
    """
    monitors = []
    for service in services:
        if service.name in excluded:
            continue
        health = service.health
        if isinstance(health, Http):
            address = f"{service.name}:{health.port or service.port}"
            monitors.append(Monitor(name=service.name, url=f"http://{address}{health.path}"))
        elif service.port is not None:
            monitors.append(Monitor(name=service.name, tcp=f"{service.name}:{service.port}"))
    return monitors


def ollama_monitors(instances: Iterable[OllamaInstance]) -> list[Monitor]:
    """A monitor for each instance, at the address that containers use."""
    return [
        Monitor(name=f"ollama-{instance.name}", url=f"http://host.docker.internal:{instance.port}/api/tags")
        for instance in instances
    ]


def whisper_monitor(whisper: Whisper) -> Monitor:
    """A monitor of the recogniser's page, which it serves once its model is loaded."""
    return Monitor(name=whisper.name, url=f"{whisper.url}/docs")


def redis_monitor(user: str) -> Monitor:
    """A monitor that sends PING to Redis.

    :param user: a user that may send PING only; its password is the secret `redis/<user>`
    """
    return Monitor(name=REDIS, connection=f"redis://{user}:{{redis/{user}}}@{REDIS}:6379")


def web_monitor() -> Monitor:
    """A monitor of the web proxy on the host, our own or Coolify's."""
    return Monitor(name="proxy", tcp="host.docker.internal:443")


def job_monitors(jobs: Iterable[CronJob]) -> list[Monitor]:
    """A monitor for each cron job: down when the job failed, or did not end in time."""
    return [
        Monitor(name=job.name, push=True, interval_s=heartbeat_interval_s(job), retries=0) for job in jobs
    ]


def heartbeat_interval_s(job: CronJob) -> int:
    """Maximal seconds from the end of one run of a job to the end of the next."""
    starts = sorted(minutes_of_week(job.schedule))
    gaps = [
        later - earlier
        for earlier, later in zip(starts, [*starts[1:], starts[0] + MINUTES_A_WEEK], strict=True)
    ]
    return 60 * (max(gaps) + job.lasts_min) + job.wait_s + LATE_S


def heartbeat(token: str, port: int) -> str:
    """Address of a job's heartbeat, as curl's `--config` for files/monitoring/heartbeat.sh.

    :param token: of its push monitor
    :param port: of Uptime Kuma on the host's loopback
    """
    return f'url = "http://127.0.0.1:{port}/api/push/{token}"\n'
