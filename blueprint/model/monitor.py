"""What Uptime Kuma looks after (requirements 10.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from blueprint.model.declaration import Declaration, checking
from blueprint.model.service import secret_names

_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_URL = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9/._~?&=%-]*)?")
_ADDRESS = re.compile(r"[a-z0-9.-]+:[0-9]{1,5}")
_CONNECTION = re.compile(r"redis://[A-Za-z0-9_.-]+:\{[a-z0-9_./-]+\}@[a-z0-9.-]+:[0-9]{1,5}")


@dataclass(frozen=True, kw_only=True)
class Monitor(Declaration):
    """One thing that is up or down. It is asked in one of four ways.

    :param name: how people call it; files and secrets of a push monitor are called so, too
    :param url: up while it answers with a status of 200 to 299
    :param tcp: "host:port", up while it accepts connections
    :param connection: up while Redis answers PING: "redis://user:{redis/user}@host:6379", with the name of a secret in
        braces
    :param push: up while something tells it so at least once an interval (`blueprint.monitoring.heartbeat`)
    :param interval_s: seconds from one question to the next, or that a push may take
    :param retries: failures in a row before the owner is told
    :param retry_interval_s: seconds between these
    :param timeout_s: seconds that an answer of `url` may take
    """

    name: str
    url: str | None = None
    tcp: str | None = None
    connection: str | None = None
    push: bool = False
    interval_s: int = 60
    retries: int = 2
    retry_interval_s: int = 20
    timeout_s: int = 30

    def __post_init__(self) -> None:
        with checking(f"Monitor {self.name}") as check:
            check.matches(
                "name", self.name, _NAME, "lower-case letters, digits and -, beginning with a letter"
            )
            ways = [way for way in ("url", "tcp", "connection", "push") if getattr(self, way)]
            check.that(
                len(ways) == 1, "url, tcp, connection and push", ", ".join(ways) or "none", "just one of them"
            )
            if self.url is not None:
                check.matches(
                    "url", self.url, _URL, "a URL without secrets, such as http://litellm:4000/health"
                )
            if self.tcp is not None:
                check.matches("tcp", self.tcp, _ADDRESS, "host:port")
            if self.connection is not None:
                expected = (
                    'such as "redis://user:{redis/user}@shared-redis:6379", its password a secret in braces'
                )
                check.matches("connection", self.connection, _CONNECTION, expected)
            # Uptime Kuma's own bounds.
            check.integer("interval_s", self.interval_s, 20, 24 * 24 * 3600, "seconds")
            check.integer("retries", self.retries, 0, 100)
            check.integer("retry_interval_s", self.retry_interval_s, 20, 24 * 24 * 3600, "seconds")
            check.integer("timeout_s", self.timeout_s, 1, 600, "seconds")

    @property
    def secrets_used(self) -> tuple[str, ...]:
        """Names of the generated secrets that it needs: a login, or the token of its push."""
        if self.push:
            return (f"uptime_kuma/push/{self.name}",)
        return tuple(secret_names(self.connection)) if self.connection else ()
