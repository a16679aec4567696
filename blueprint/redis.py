"""shared-redis: which user may go to which index, and the server's files (requirements 6)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from blueprint.model.data_plane import RedisIndex, RedisServer
from blueprint.names import BULL_BOARD

# Beside the users of the table: ours for reloads and backups, and one that can only look.
ADMIN = "admin"
MONITOR = "monitor"
CONFIG_FOLDER = "/etc/redis"
ADMIN_PASSWORD = f"{CONFIG_FOLDER}/admin.password"

# What a user may do in its own databases. A list of what is allowed: commands of other kinds that a later version adds
# are denied. Clients need INFO (BullMQ reads the version and the eviction policy, LiteLLM and ioredis the version), and
# EVAL and its kin (BullMQ's every step, Celery's locks), with LOAD for the scripts of a pipeline.
_USER = (
    "-@all +@read +@write +@keyspace +@transaction -@scripting -@admin -@dangerous -copy -move"
    " +auth +hello +select +ping +echo +reset +quit +command +time +info"
    " +client|id +client|info +client|getname +client|setname"
    " +eval +eval_ro +evalsha +evalsha_ro +script|exists +script|load"
    " +publish +subscribe +unsubscribe +psubscribe +punsubscribe"
)
# Bull Board shows the workers of a queue, which BullMQ finds by their connections' names.
_LISTS_CLIENTS = "+client|list"
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
        # Clients that do not read what they asked for are thrown out before their buffers drive out everybody's keys.
        "maxmemory-clients": "25%",
        # A script that runs for longer is ended by the health check (files/redis/health.sh).
        "busy-reply-threshold": "20000",
        # Valkey alone has it: read what Redis 7.4 and 8 wrote, as long as nothing is in it that Valkey does not know.
        **({"rdb-version-check": "relaxed"} if server.acl_databases else {}),
        # Who listens to a channel on which nothing is heard for a while is not thrown out, a dead client is.
        "tcp-keepalive": "60",
    }


def redis_conf(server: RedisServer) -> str:
    """The file of `settings`, without comments after values: Redis takes those for more of the value."""
    return "".join(f"{name} {value or chr(34) * 2}\n" for name, value in settings(server).items())


def users_acl(server: RedisServer, indexes: Sequence[RedisIndex], password: Callable[[str], str]) -> str:
    """Who may do what. Nobody without a password; each user of the table in its own indexes, on its own channels.

    Known gap of a server whose ACLs do not know databases: a connection begins in index 0 before any SELECT, which no
    rule can forbid.

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
        # A selector of its own: PSUBSCRIBE, which would hear all of them, is not in it.
        yield f"(resetchannels {' '.join(f'&{channel}' for channel in named)} +publish +subscribe)"


def channels(user: str, own: Iterable[RedisIndex]) -> tuple[str, ...]:
    """Patterns of the channels of a user: those of its own prefix, and those of its indexes."""
    return tuple(dict.fromkeys([f"{user}:*", *(channel for index in own for channel in index.channels)]))
