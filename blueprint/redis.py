"""shared-redis: which user may go to which index, and the server's files (notes 6)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from blueprint.model.data_plane import RedisIndex, RedisServer

# Beside the users of the table: ours for reloads and backups, and one that can only look.
ADMIN = "admin"
MONITOR = "monitor"
CONFIG_FOLDER = "/etc/redis"
ADMIN_PASSWORD = f"{CONFIG_FOLDER}/admin.password"

# An ACL of Redis knows no index but through SELECT's argument: what moves keys to another index without it is denied.
# Of @dangerous, clients need INFO (BullMQ reads the version and the eviction policy of it when it connects, LiteLLM and
# ioredis the version) and CLIENT LIST (BullMQ's list of workers, which Bull Board shows).
_PROJECT = "~* &* +@all -@dangerous +info +client|list -move -copy -swapdb -select"
# What a threshold, a queue's length and name (Celery's is a member of a set), missing TTLs and a dashboard are read by.
_MONITOR = (
    "~* resetchannels -@all +@connection -@dangerous +info +client|list +dbsize +scan +type +ttl +pttl +llen +zcard "
    "+scard +smembers +hlen +xlen +memory|usage +slowlog|len"
)


def users(indexes: Iterable[RedisIndex]) -> dict[str, tuple[int, ...]]:
    """The users of the table and the indexes of each, in order."""
    table = sorted(indexes, key=lambda index: index.index)
    names = sorted({user for index in table for user in index.users})
    return {name: tuple(index.index for index in table if name in index.users) for name in names}


def settings(server: RedisServer) -> dict[str, str]:
    """Directives of redis.conf. The append-only file is what lasts; a snapshot is made by the backup."""
    return {
        "bind": "* -::*",
        "port": "6379",
        "dir": "/data",
        "aclfile": f"{CONFIG_FOLDER}/users.acl",
        "databases": "16",
        "maxmemory": f"{server.maxmemory_mib}mb",
        "maxmemory-policy": server.policy,
        "lazyfree-lazy-eviction": "yes",
        "lazyfree-lazy-expire": "yes",
        "lazyfree-lazy-server-del": "yes",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        # Who listens to a channel on which nothing is heard for a while is not thrown out, a dead client is.
        "tcp-keepalive": "60",
    }


def redis_conf(server: RedisServer) -> str:
    """The file of `settings`, without comments after values: Redis takes those for more of the value."""
    return "".join(f"{name} {value or chr(34) * 2}\n" for name, value in settings(server).items())


def users_acl(indexes: Sequence[RedisIndex], password: Callable[[str], str]) -> str:
    """Who may do what. Nobody without a password; each user of the table in its own indexes.

    Known gap: a connection begins in index 0 before any SELECT, which no rule of Redis 7 can forbid.

    :param password: of a user
    """
    rules = {ADMIN: "~* &* +@all", MONITOR: _MONITOR}
    for user, numbers in users(indexes).items():
        rules[user] = " ".join([_PROJECT, *(f"+select|{number}" for number in numbers)])
    lines = ["user default off resetpass resetkeys resetchannels -@all"]
    for user, rule in rules.items():
        digest = hashlib.sha256(password(user).encode()).hexdigest()
        lines.append(f"user {user} on #{digest} {rule}")
    return "\n".join(lines) + "\n"
