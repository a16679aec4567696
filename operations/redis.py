"""Settings and users of a Redis server in a container, which runs on while they change."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Iterator, Mapping

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationValueError
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from facts.cache import cached_fact
from facts.redis import Redis, RedisState
from operations import script
from operations.checks import check, poll, polling
from specs.problems import Problem

_SIZE = re.compile(r"([0-9]+)(k|kb|m|mb|g|gb)?", re.IGNORECASE)
_FACTORS = {"k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}


def same(one: str, other: str) -> bool:
    """Whether two values of a setting mean the same: 256mb is 268435456."""
    return _normal(one) == _normal(other)


def _normal(value: str) -> object:
    if match := _SIZE.fullmatch(value):
        return int(match[1]) * _FACTORS.get((match[2] or "").lower(), 1)
    return value.strip('"')


def settings_difference(desired: Mapping[str, str], redis: RedisState) -> dict[str, str]:
    """The settings whose values differ on the running server, with their desired values."""
    return {
        name: value
        for name, value in desired.items()
        if name not in redis.settings or not same(redis.settings[name], value)
    }


def users_difference(acl: str, redis: RedisState) -> list[str]:
    """Users that differ between the server and the text of an ACL file; all of them where its file is another."""
    if hashlib.sha256(acl.encode()).hexdigest() != redis.file_sha256:
        return sorted(line.split()[1] for line in acl.splitlines() if line.startswith("user "))
    names = redis.declared.keys() | redis.users.keys()
    return sorted(name for name in names if redis.declared.get(name) != redis.users.get(name))


@operation()
def server(
    container: str, settings: Mapping[str, str], acl: str, user: str, password_file: str
) -> Generator[StringCommand, None, None]:
    """Run the server with these settings and users. The caller has written its files before.

    Settings are set while it runs, users are loaded from its ACL file. It is restarted only for a setting that it
    takes at its start alone, and when the server's own password for us differs from the file's.

    + container: in which it runs
    + settings: directives of its redis.conf
    + acl: content of its ACL file; shown nowhere
    + user: user of the ACL that may do everything
    + password_file: file in the container with that user's password
    """
    for name, value in settings.items():
        if not re.fullmatch(r"[a-z-]+", name) or not value.isprintable():
            raise OperationValueError(f"{name!r} {value!r} is no setting of Redis")

    def silent(redis: RedisState) -> list[str]:
        return [container] if state.is_executing and redis.answer is None else []

    arguments = {
        "container": container,
        "settings": list(settings),
        "user": user,
        "password_file": password_file,
    }
    redis: RedisState = poll(lambda: cached_fact(Redis, **arguments), silent)
    changed = settings_difference(settings, redis) if redis.answers else {}
    if redis.answers and not changed and not users_difference(acl, redis):
        host.noop(f"{container} runs with its settings and users")
        return
    lines = "".join(f"{name} {value}\n" for name, value in changed.items())
    yield script.run("database/redis-reload.sh", container, user, password_file, payload=lines, stream=True)


@check
@polling()
def redis(
    container: str, settings: Mapping[str, str], acl: str, user: str, password_file: str
) -> Iterator[Problem]:
    """The server answers and runs with these settings and users. Arguments as of `server`."""
    actual: RedisState = cached_fact(
        Redis, container=container, settings=list(settings), user=user, password_file=password_file
    )
    logs = f"docker logs --tail 20 {container}"
    if not actual.answers:
        yield Problem(container, actual.answer or actual.refusal or "no Redis that answers", "PONG", logs)
        return
    for name, value in settings_difference(settings, actual).items():
        yield Problem(f"{container}: {name}", actual.settings.get(name, "nothing"), value, logs)
    for name in users_difference(acl, actual):
        state = "there" if name in actual.users else "missing"
        yield Problem(
            f"{container}: user {name}", f"{state}, not as in its ACL file", "as in its ACL file", logs
        )
