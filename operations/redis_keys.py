"""Keys that are left in a replaced Redis."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import logger
from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.redis_keys import KeysState, RedisKeys


def sentence(container: str, actual: KeysState) -> str | None:
    """A sentence about its keys; None where it has none."""
    if actual.status is None:
        return None
    if actual.status != "running":
        return None  # looked at when it was stopped
    if actual.answer != "PONG":
        return f"{container}: cannot be looked into, it answers {actual.answer or 'nothing'}"
    if not actual.keys:
        return None
    keys = ", ".join(f"{count} keys in index {index}" for index, count in sorted(actual.keys.items()))
    return f"{container}: {keys} are not taken over; queues fill again by themselves, and it is kept"


@operation()
def report(container: str) -> Generator[StringCommand, None, None]:
    """Report the keys of a Redis as long as it runs. Nothing of it is changed.

    + container: in which it runs
    """
    if text := sentence(container, host.get_fact(RedisKeys, container=container)):
        host.log_styled(text, fg="yellow", log_func=logger.warning)
    host.noop("reported")
    yield from ()
