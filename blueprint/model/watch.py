"""The watch: everything that has a limit, and what its checks need to know (requirements 10.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from blueprint.model.declaration import Declaration, checking


@dataclass(frozen=True, kw_only=True)
class Watch(Declaration):
    """The limits above which the watch notifies the owner. The age of backups has its limit in `Backups`.

    :param disk_alert_percent: disk used; the preflight refuses a phase at `Thresholds.disk_refuse_percent`
    :param postgres_connections_percent: of Postgres' max_connections
    :param redis_memory_percent: of Redis' maxmemory
    :param celery_queue: tasks waiting in a queue
    :param ollama_latency_p95_s: seconds
    :param fallback_percent: calls answered by a cloud model
    :param certificate_days: a certificate that has fewer days left is not being renewed
    :param caches: Redis indexes in which every key must expire, and how many keys may exist that do not
    :param direct_groups: fallbacks of our models whose answers do not count as fallbacks, because projects also call
        these models by name; a model that is no fallback of ours never counts
    :param window_min: minutes of LiteLLM's calls that are evaluated
    :param min_calls: calls in these minutes from which a share or a percentile is meaningful
    :param unmeasured_runs: failures of a check in a row, five minutes apart, before the owner is notified
    :param restart_quiet_min: minutes without another restart of a container after which its incident is over
    """

    disk_alert_percent: int
    postgres_connections_percent: int
    redis_memory_percent: int
    celery_queue: int
    ollama_latency_p95_s: int
    fallback_percent: int
    certificate_days: int = 14
    caches: Mapping[int, int] = field(default_factory=dict)
    direct_groups: tuple[str, ...] = ()
    window_min: int = 15
    min_calls: int = 5
    unmeasured_runs: int = 2
    restart_quiet_min: int = 30

    def __post_init__(self) -> None:
        with checking("watch") as check:
            for key in (one.name for one in fields(self) if one.type == "int"):
                check.integer(key, getattr(self, key), 1, 100 if key.endswith("_percent") else 1_000_000)
            for index, allowed in self.caches.items():
                check.integer("caches", index, 0, 15, "a Redis index")
                check.integer(f"caches.{index}", allowed, 0, 1_000_000, "keys")
