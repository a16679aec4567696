"""How many keys a Redis in a container has, ours or not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from facts import script

_KEYSPACE = re.compile(r"db(\d+):keys=(\d+),")


@dataclass(frozen=True)
class KeysState:
    """Answer of `RedisKeys`.

    :param status: of the container; None where there is none
    :param answer: its reply to PING; PONG where the login succeeded
    :param keys: by index
    """

    status: str | None = None
    answer: str = ""
    keys: Mapping[int, int] = field(default_factory=dict)


class RedisKeys(FactBase[KeysState]):
    """The keys by index.

    :param container: in which it runs
    """

    def command(self, container: str) -> StringCommand:
        """The script and its argument."""
        return script.command("redis-keys.sh", container)

    @staticmethod
    def default() -> KeysState:
        """No such container."""
        return KeysState()

    def process(self, output: list[str]) -> KeysState:
        """Read the answer of `command`."""
        return read_keys(output)


def read_keys(output: Iterable[str]) -> KeysState:
    """Read what files/facts/redis-keys.sh prints."""
    sections = {title: [line for line in lines if line] for title, lines in script.sections(output)}
    keyspace = "\n".join(sections.get("keyspace", ()))
    return KeysState(
        status=next(iter(sections.get("status", ())), None),
        answer=next(iter(sections.get("ping", ())), ""),
        keys={int(index): int(count) for index, count in _KEYSPACE.findall(keyspace)},
    )
