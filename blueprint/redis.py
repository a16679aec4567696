"""shared-redis: the indexes of each user, and the server's files (requirements 6)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from blueprint.model.datastores import RedisIndex, RedisServer
from blueprint.names import BULL_BOARD

# Users beside those of the table: one of ours for reloads and backups, and one that may only read the state.
ADMIN = "admin"
MONITOR = "monitor"
CONFIG_FOLDER = "/etc/redis"
ADMIN_PASSWORD = f"{CONFIG_FOLDER}/admin.password"

# Commands that a user may run in its own databases. Commands of other kinds, which a later version may add, are denied.
# Clients need INFO (BullMQ reads the version and the eviction policy, LiteLLM and ioredis the version), and EVAL
# and EVALSHA (each step of BullMQ, Celery's locks), with LOAD for the scripts of a pipeline.
_USER = (
    "-@all +@read +@write +@keyspace +@transaction -@scripting -@admin -@dangerous -copy -move"
    " +auth +hello +select +ping +echo +reset +quit +command +time +info"
    " +client|id +client|info +client|getname +client|setname"
    " +eval +eval_ro +evalsha +evalsha_ro +script|exists +script|load"
    " +publish +subscribe +unsubscribe +psubscribe +punsubscribe"
)
# Bull Board shows the workers of a queue, and BullMQ finds them by the names of their connections.
_LISTS_CLIENTS = "+client|list"
# Commands to read a threshold, a queue's length and name (Celery's is a member of a set), missing TTLs, and dashboards.
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
    """Directives of redis.conf. The append-only file persists the data; only the backup takes snapshots."""
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
        # A client that does not read its answers is disconnected before its buffers evict the keys of all users.
        "maxmemory-clients": "25%",
        # The health check ends a script that runs longer (files/redis/health.sh).
        "busy-reply-threshold": "20000",
        # For Valkey alone: it reads files of Redis 7.4 and 8 that have nothing unknown to it.
        **({"rdb-version-check": "relaxed"} if server.acl_databases else {}),
        # A subscriber of a quiet channel stays connected, a dead client does not.
        "tcp-keepalive": "60",
    }


def redis_conf(server: RedisServer) -> str:
    """The file with `settings`, without comments after values, which Redis would take for a part of the value."""
    return "".join(f"{name} {value or chr(34) * 2}\n" for name, value in settings(server).items())


def users_acl(server: RedisServer, indexes: Sequence[RedisIndex], password: Callable[[str], str]) -> str:
    """The users' rights: a password for each user, and each user of the table in its own indexes and channels.

    A server without ACLs of databases has a known gap: a connection starts in index 0, and no rule can forbid that.

    :param password: of a user
    """
    rules = {ADMIN: "~* &* +@all", MONITOR: _MONITOR}
    for user, numbers in users(indexes).items():
        rules[user] = " ".join(_rules(server, user, numbers, indexes))
    lines = ["user default off resetpass resetkeys resetchannels -@all"]
    for user, rule in rules.items():
        digest = hashlib.sha256(password(user).encode()).hexdigest()
        lines.append(f"user {user} on #{digest} {rule}")
    return "\n".join(lines) + "\n"


def _rules(
    server: RedisServer, user: str, numbers: Sequence[int], indexes: Iterable[RedisIndex]
) -> Iterator[str]:
    own = [index for index in indexes if user in index.users]
    yield from ("~*", "resetchannels", *(f"&{channel}" for channel in channels(user, own)))
    if server.acl_databases:
        yield f"resetdbs db={','.join(map(str, numbers))}"
    yield _USER
    if user == BULL_BOARD:
        yield _LISTS_CLIENTS
    if server.acl_databases:
        yield "+client|setinfo"  # Redis 7.0 does not know it yet
    else:
        yield from ("-select", *(f"+select|{number}" for number in numbers))
    if named := dict.fromkeys(channel for index in own for channel in index.named_channels):
        # A selector of its own, without PSUBSCRIBE, which would receive the messages of all channels.
        yield f"(resetchannels {' '.join(f'&{channel}' for channel in named)} +publish +subscribe)"


def channels(user: str, own: Iterable[RedisIndex]) -> tuple[str, ...]:
    """Patterns of a user's channels: with the user's own prefix, and with its indexes."""
    return tuple(dict.fromkeys([f"{user}:*", *(channel for index in own for channel in index.channels)]))
