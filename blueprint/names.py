"""Containers that others speak to by name: in addresses, and in operations that act in them.

A declaration that calls one of them otherwise is refused (`stack_problems.spoken_of`), since whoever speaks to it
would not know.
"""

POSTGRES, POOLER, REDIS = "shared-postgres", "pgbouncer", "shared-redis"
LANGFUSE, MINIO, KUMA = "langfuse-web", "minio", "uptime-kuma"

# Users of Redis that only look at queues: those of the dashboards.
BULL_BOARD, FLOWER = "bull-board", "flower"
