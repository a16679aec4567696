"""Settings for a ClickHouse with little memory and limited logs.

Source: https://clickhouse.com/docs/operations/server-configuration-parameters/settings
"""

from __future__ import annotations

from blueprint.render import render

# Path in the folder of its stack.
LIMITS = "clickhouse/limits.xml"

# The logs about itself that its default configuration enables.
_DROPPED = (
    "asynchronous_metric_log",
    "asynchronous_insert_log",
    "latency_log",
    "metric_log",
    "opentelemetry_span_log",
    "processors_profile_log",
    "query_metric_log",
    "query_thread_log",
    "query_views_log",
    "text_log",
    "trace_log",
)
_KEPT = ("error_log", "part_log", "query_log")
_KEPT_DAYS = 7


def limits_xml(memory_mib: int) -> str:
    """A file of /etc/clickhouse-server/config.d.

    :param memory_mib: limit of the container, of which its queries, caches and merges get six sevenths
    """
    return render(
        "clickhouse/limits.xml.j2",
        memory_mib=memory_mib,
        server_mib=memory_mib * 6 // 7,
        cache_mib=memory_mib // 16,
        dropped=_DROPPED,
        kept=_KEPT,
        days=_KEPT_DAYS,
    )
