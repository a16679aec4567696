"""Releases that were unpacked on a host."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.facts import FactBase


@dataclass(frozen=True)
class ReleaseState:
    """Answer of `Release`: what the stamp says (None without a stamp), and which paths there are."""

    stamp: str | None = None
    present: frozenset[str] = field(default_factory=frozenset)


class Release(FactBase[ReleaseState]):
    """Which release is unpacked, and whether it is all there.

    :param stamp: path of the file that was written when it was
    :param paths: absolute paths that belong to it
    """

    def command(self, stamp: str, paths: Iterable[str]) -> StringCommand:
        """The stamp's first line, and one line for each path that exists."""
        return StringCommand(
            *("head -n 1 --", QuoteString(stamp), "2>/dev/null | sed 's/^/stamp:/';"),
            *("for path in", *(QuoteString(path) for path in paths), ";"),
            'do [ -e "$path" ] && printf "present:%s\\n" "$path"; done; true',
        )

    @staticmethod
    def default() -> ReleaseState:
        """Nothing is there."""
        return ReleaseState()

    def process(self, output: list[str]) -> ReleaseState:
        """Read the answer of `command`."""
        answers = [line.partition(":") for line in output]
        stamps = [text for kind, _, text in answers if kind == "stamp"]
        present = frozenset(text for kind, _, text in answers if kind == "present")
        return ReleaseState(stamps[0] if stamps else None, present)
