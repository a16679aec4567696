"""Monitors for the operation on Uptime Kuma, and the heartbeat files of the cron jobs."""

from __future__ import annotations

import secrets as random
from collections.abc import Iterable
from urllib.parse import quote

from blueprint.model import Monitor
from blueprint.model.types import fill
from blueprint.monitoring import heartbeat
from blueprint.secrets import Secrets
from operations import uptime_kuma as kuma
from specs.files import Directory, Entry, File


def wanted(monitors: Iterable[Monitor], secrets: Secrets) -> list[kuma.Monitor]:
    """What `operations.uptime_kuma.monitors` is asked for. Generates the secrets that are not there yet."""
    return [
        kuma.Monitor(
            name=monitor.name,
            asks=_asks(monitor, secrets),
            interval_s=monitor.interval_s,
            retries=monitor.retries,
            retry_interval_s=monitor.retry_interval_s,
        )
        for monitor in monitors
    ]


def telegram(secrets: Secrets) -> kuma.Telegram:
    """The owner's chat."""
    return kuma.Telegram(
        "Telegram of the platform", secrets.provided("telegram/token"), secrets.provided("telegram/chat")
    )


def heartbeats(monitors: Iterable[Monitor], secrets: Secrets, folder: str, port: int) -> list[Entry]:
    """A file for each push monitor, by its name: the address that its job calls (files/monitoring/heartbeat.sh).

    :param folder: theirs, "/etc/sourcefast/heartbeats"
    :param port: of Uptime Kuma on the host's loopback
    """
    return [
        Directory(folder, mode="0700"),
        *(
            File(
                f"{folder}/{monitor.name}",
                heartbeat(_token(monitor, secrets), port),
                mode="0600",
                secret=True,
            )
            for monitor in monitors
            if monitor.push
        ),
    ]


def _asks(monitor: Monitor, secrets: Secrets) -> kuma.Http | kuma.Port | kuma.Redis | kuma.Push:
    if monitor.url is not None:
        return kuma.Http(monitor.url, monitor.timeout_s)
    if monitor.tcp is not None:
        hostname, _, port = monitor.tcp.rpartition(":")
        return kuma.Port(hostname, int(port))
    if monitor.connection is not None:
        values = {name: quote(secrets.generated(name), safe="") for name in monitor.secrets_used}
        return kuma.Redis(fill(monitor.connection, values))
    return kuma.Push(_token(monitor, secrets))


def _token(monitor: Monitor, secrets: Secrets) -> str:
    # 32 characters, which is what Uptime Kuma makes and has room for.
    (name,) = monitor.secrets_used
    return secrets.generated(name, lambda: random.token_hex(16))
