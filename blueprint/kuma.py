"""Monitors of Uptime Kuma with their secrets, and the heartbeat files of the cron jobs."""

from __future__ import annotations

import secrets as random
from collections.abc import Iterable
from urllib.parse import quote

from blueprint.model import Monitor
from blueprint.model.types import fill
from blueprint.monitoring import heartbeat
from blueprint.secrets import Secrets
from specs.files import Directory, Entry, File
from specs.uptime_kuma import HttpCheck, KumaMonitor, PushCheck, RedisCheck, TcpCheck, TelegramNotification


def monitors(monitors: Iterable[Monitor], secrets: Secrets) -> list[KumaMonitor]:
    """The monitors with their checks. Missing secrets are generated."""
    return [
        KumaMonitor(
            name=monitor.name,
            check=_check(monitor, secrets),
            interval_s=monitor.interval_s,
            retries=monitor.retries,
            retry_interval_s=monitor.retry_interval_s,
        )
        for monitor in monitors
    ]


def telegram(secrets: Secrets) -> TelegramNotification:
    """The owner's chat."""
    return TelegramNotification(
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


def _check(monitor: Monitor, secrets: Secrets) -> HttpCheck | TcpCheck | RedisCheck | PushCheck:
    if monitor.url is not None:
        return HttpCheck(monitor.url, monitor.timeout_s)
    if monitor.tcp is not None:
        hostname, _, port = monitor.tcp.rpartition(":")
        return TcpCheck(hostname, int(port))
    if monitor.connection is not None:
        values = {name: quote(secrets.generated(name), safe="") for name in monitor.secrets_used}
        return RedisCheck(fill(monitor.connection, values))
    return PushCheck(_token(monitor, secrets))


def _token(monitor: Monitor, secrets: Secrets) -> str:
    # 32 characters, which is what Uptime Kuma makes and has room for.
    (name,) = monitor.secrets_used
    return secrets.generated(name, lambda: random.token_hex(16))
