"""The watch: everything that has a limit, and what its checks need to know (requirements 10.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated

from blueprint.model import types
from blueprint.model.declaration import Declaration, declaration
from blueprint.validation import Whole


@declaration()
class Watch(Declaration):
    """The limits above which the watch notifies the owner. The age of backups has its limit in `BackupPolicy`.

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
    :param pending_min: minutes that a problem of a container, a package or the clock must last before it is an incident
    :param inodes_percent: of a disk, used
    :param swap_percent: swap used
    :param memory_pressure_percent: share of five minutes in which some process waited for memory
    """

    disk_alert_percent: types.Percent
    postgres_connections_percent: types.Percent
    redis_memory_percent: types.Percent
    celery_queue: types.Limit
    ollama_latency_p95_s: types.Limit
    fallback_percent: types.Percent
    certificate_days: types.Limit = 14
    caches: Mapping[types.RedisIndexNumber, Annotated[int, Whole(0, 1_000_000, "keys")]] = field(
        default_factory=dict
    )
    direct_groups: tuple[str, ...] = ()
    window_min: types.Limit = 15
    min_calls: types.Limit = 5
    unmeasured_runs: types.Limit = 2
    restart_quiet_min: types.Limit = 30
    pending_min: types.Limit = 10
    inodes_percent: types.Percent = 90
    swap_percent: types.Percent = 80
    memory_pressure_percent: types.Percent = 20
