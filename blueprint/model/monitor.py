"""What Uptime Kuma monitors (requirements 10.3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from blueprint.model import types
from blueprint.model.declaration import Conflict, Declaration, conflicts, declaration
from blueprint.model.types import secret_names
from blueprint.validation import Whole


@declaration()
class Monitor(Declaration):
    """One thing that is up or down. Uptime Kuma checks it in one of four ways.

    :param name: its name for people, and for the files and secrets of a push monitor
    :param url: up while it answers with a status of 200 to 299
    :param tcp: "host:port", up while it accepts connections
    :param connection: up while Redis answers PING: "redis://user:{redis/user}@host:6379", with the name of a secret in
        braces
    :param push: up while something reports to it at least once an interval (`blueprint.monitoring.heartbeat`)
    :param interval_s: seconds between two checks, or between two pushes at most
    :param retries: failures in a row before the owner is notified
    :param retry_interval_s: seconds between these
    :param timeout_s: seconds that an answer of `url` may take
    """

    name: types.PlainName
    url: types.MonitoredUrl | None = None
    tcp: types.Address | None = None
    connection: types.RedisLogin | None = None
    push: bool = False
    interval_s: types.Interval = 60
    retries: Annotated[int, Whole(0, 100)] = 2
    retry_interval_s: types.Interval = 20
    timeout_s: Annotated[int, Whole(1, 600, "seconds")] = 30

    @conflicts
    def _conflicts(self) -> Iterator[Conflict]:
        ways = [way for way in ("url", "tcp", "connection", "push") if getattr(self, way)]
        if len(ways) != 1:
            yield Conflict("url, tcp, connection and push", "just one of them", " and ".join(ways) or "none")

    @property
    def secrets_used(self) -> tuple[str, ...]:
        """Names of the generated secrets that it needs: a login, or the token of its push."""
        if self.push:
            return (f"uptime_kuma/push/{self.name}",)
        return tuple(secret_names(self.connection)) if self.connection else ()
