"""Names of containers in addresses, and in operations that run commands in them.

A declaration with another name is refused (`stack_problems.missing_names`), because these addresses would be wrong.
"""

POSTGRES, POOLER, REDIS = "shared-postgres", "pgbouncer", "shared-redis"
LANGFUSE, MINIO, KUMA = "langfuse-web", "minio", "uptime-kuma"

# Users of Redis that may only read queues: those of the dashboards.
BULL_BOARD, FLOWER = "bull-board", "flower"
